//! Probes the capabilities of a store.

mod answer;
pub mod capability;
pub mod checksum;
pub mod lock;
