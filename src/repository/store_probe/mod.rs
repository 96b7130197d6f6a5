//! Probes what a store can do.

mod answer;
pub mod capability;
pub mod checksum;
