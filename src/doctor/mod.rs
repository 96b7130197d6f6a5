//! Checks whether this host can do what its policy requires. Tries everything that a backup or restore will
//! need, and returns remedies for what is wrong.
//!
//! *Invariants.* Every check returns findings, including one that could not be made. Objects written to a
//! store as a test are deleted again. The database is only read.
//!
//! *Not here.* Repairing anything.

mod archiving;
mod aws_backup;
mod caller;
mod database;
mod finding;
mod host;
mod iam_token;
mod rds;
mod repository;
mod restores;
mod run;

pub use finding::{Area, DoctorFinding, FindingSeverity};
pub use run::{Examined, examine};
