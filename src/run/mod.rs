//! The resources that every use case shares, and what holds an application still for one.

mod context;
pub mod pause;

pub use context::{Interrupted, RunContext};
