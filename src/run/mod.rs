//! What every use case works with.

mod context;

pub use context::{Interrupted, RunContext};
