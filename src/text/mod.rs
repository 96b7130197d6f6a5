//! Values for display, one format each: durations, sizes, times, error chains, suggestions.

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
