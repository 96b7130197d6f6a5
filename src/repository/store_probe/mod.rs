//! What a store can do, found by trying it.

mod answer;
pub mod capability;
pub mod checksum;
