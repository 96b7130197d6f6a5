//! Completes copies: what one repository holds and another lacks is copied unchanged, without keys.
//!
//! *Invariants.* No existing object is changed or deleted, except one that is proven to differ from what was
//! stored, which is replaced with an intact copy.

pub mod backups;
pub mod missing_wal;
mod sync;
pub mod wal;
pub mod wal_repair;

pub use sync::{CopiesReport, SourceWal, sync};
