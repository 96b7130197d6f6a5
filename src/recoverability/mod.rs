//! What each location (a repository, a region) can give back, and up to when.

pub mod aws_backup;
pub mod cloud;
pub mod rds;
pub mod servers;
pub mod wal;
