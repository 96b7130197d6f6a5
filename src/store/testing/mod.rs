//! Stores for tests.

pub mod faulty;
