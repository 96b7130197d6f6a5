//! What a store can do, found by trying it.

pub mod capability;
pub mod checksum;
