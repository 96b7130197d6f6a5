//! A dump of one database by `pg_dump`, with what it held, as of one snapshot.
//!
//! drctl opens a transaction, exports its snapshot, and has `pg_dump` read that snapshot while it counts
//! rows in it. So the counts are those of the dump, whatever is written meanwhile.
//!
//! *Invariants.* A database that cannot be dumped whole is refused by [`prepare`], before anything is stored.
//! [`capture`] fails when `pg_dump` does, and stops it when anything else fails.
//!
//! *Not here.* Getting a dump back: [`crate::restore`].

mod capture;
mod error;
mod prepare;

pub use capture::capture;
pub use error::LogicalError;
pub use prepare::{Prepared, prepare};

/// Names of the artifacts, without the endings of their encoding.
pub const DATABASE: &str = "database.dump";
pub const GLOBALS: &str = "globals.sql";
pub const DETAILS: &str = "details.json";
