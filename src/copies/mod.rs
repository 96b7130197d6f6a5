//! Completing copies: what one repository holds and another lacks is copied as it is, without keys.
//!
//! *Invariants.* No object that exists is changed or deleted, but for one that is proven not to be what was stored,
//! which an intact copy replaces.

pub mod backups;
pub mod missing_wal;
mod sync;
pub mod wal;
pub mod wal_repair;

pub use sync::{CopiesReport, SourceWal, sync};
