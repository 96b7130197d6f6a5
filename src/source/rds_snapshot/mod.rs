//! Snapshots of an RDS database, and their copies in other regions. RDS keeps the bytes; the repositories
//! have the database's settings, for a restore when its region cannot be queried.
//!
//! *Invariants.* A started snapshot is identified by its tags and its identifier, in RDS itself: a run killed
//! at any point leaves a snapshot that the next one resumes
//! ([`Source::in_flight`](super::Source::in_flight)), without creating a second one. Identifiers are derived
//! from the backup's id, so a call whose answer was lost is found again; a snapshot with the identifier that
//! is not this backup is refused, never adopted. Only what this backup created is changed, and nothing is
//! deleted. A copy that fails costs the copy, not the backup.
//!
//! *Not here.* Restoring one, and deleting old ones: retention.

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
