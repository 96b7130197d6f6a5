//! The resources that every use case shares.

mod context;

pub use context::{Interrupted, RunContext};
