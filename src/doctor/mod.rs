//! Can this host do what its policy asks? Looks at everything a backup or restore will need, by trying
//! it, and says what to do about what is wrong.
//!
//! *Invariants.* Every check ends in findings, also one that could not be made. What is written to a store
//! to try it is deleted again. The database is only read.
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
pub use run::examine;
