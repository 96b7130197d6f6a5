//! Snapshots of an RDS database, and their copies in other regions. RDS keeps the bytes; in the repositories
//! lies how the database was set up, for a restore when its region cannot be queried.
//!
//! *Invariants.* What was begun is known by its tags and its identifier, in RDS itself: a run that was killed
//! anywhere leaves a snapshot that the next one resumes ([`Source::in_flight`](super::Source::in_flight)), and makes no
//! second one. Identifiers follow from the backup's id, so a call whose answer was lost is found again; what has the
//! identifier and is not this backup is refused, never adopted. Nothing is changed but what this backup made, and
//! nothing is deleted.
//! A copy that fails costs the copy, not the backup.
//!
//! *Not here.* Restoring one, and removing old ones.

mod await_snapshot;
mod capture;
mod copies;
mod error;
mod manual_restore;
mod name;
mod prepare;
mod source;

pub use error::SnapshotError;
pub use name::{backup_of, identifier, identifier_prefixes, is_recorded};
pub(super) use source::RdsBackups;
