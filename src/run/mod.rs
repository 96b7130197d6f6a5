//! What every use case works with.

pub mod context;

pub use context::{Run, RunError};
