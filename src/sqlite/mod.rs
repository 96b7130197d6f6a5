//! Consistent copies of SQLite databases, and what is in them.
//!
//! *Invariants.*
//! - A copy is made by SQLite's backup API inside one read transaction: other connections may write meanwhile, and it
//!   is the state of one point in time, what is only in the `-wal` included. The copy has the pages of the original:
//!   rowids, journal mode and layout.
//! - Nothing is executed in the source but queries, and no file of drctl stays beside it ([`open_live`]).
//! - No file of a database is opened beside SQLite's own connection to it: closing it would release SQLite's locks.
//! - What is inspected ([`inspect`]) is a copy that no other process knows: it is opened as immutable, so that neither
//!   `-wal` nor `-shm` appears beside it.
//!
//! *Not here.* Where copies are kept ([`crate::source`], [`crate::restore`]); the catalog, which sqlx opens.

mod connect;
mod copy;
mod error;
mod inspect;
mod snapshot;

pub use connect::{SqliteHeader, check_file, open_live};
pub use copy::{CopiedDatabase, copy_database};
pub use error::SqliteError;
pub use inspect::{Inspection, inspect, open_copy};

/// The endings of the files that belong to a database file.
pub const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];
