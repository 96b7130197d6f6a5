//! Stores for tests.

pub mod faulty;
pub mod memory;
