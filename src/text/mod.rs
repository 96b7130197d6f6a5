//! Values as a person reads them, one way each: durations, sizes, times, error chains, suggestions.
//!
//! *Not here.* Colours and columns: [`crate::cli`]. The formats of stored files: each module that stores one.

mod duration;
mod error_chain;
mod list;
mod size;
mod suggest;
mod time;
mod visible;

pub use duration::{approximate_duration, format_duration};
pub use error_chain::error_chain;
pub use list::{bullet_list, count, quoted_list};
pub use size::format_size;
pub use suggest::{nearest, suggest};
pub use time::format_time;
pub use visible::visible;
