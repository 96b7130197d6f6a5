//! Restoring data: one module for each method.
//!
//! | module | from | into |
//! |---|---|---|
//! | [`logical`] | a dump | a new database |
//! | [`physical`] | a base backup and the WAL after it | a data directory, at any point in time |
//! | [`rds`] | a snapshot or automated backups of RDS | a new RDS instance or Aurora cluster |
//! | [`aws_backup`] | a recovery point of AWS Backup | a new resource |
//! | [`content`] | files, SQLite, Redis, Git, buckets, output of commands | a new file, directory, server or bucket |
//!
//! Each implements [`Restorer`]: `survey` reads everything that the decision needs and changes nothing,
//! `plan` decides and is pure, `execute` executes the plan and nothing else, `teardown` removes what was
//! created. [`prepare()`] and [`PreparedRestore::run`] are the only entry points: every restore ends with a
//! [`RestoreReport`] whose verdict is the worst of its checks, the method's own and the policy's.

mod aws;
pub mod aws_backup;
pub mod content;
pub mod logical;
pub mod physical;
mod prepare;
pub mod rds;
mod refusal;
mod report;
mod scheduled_jobs;
mod teardown;

pub use aws::AwsRestoreError;
pub use prepare::{
    Concluded, Executed, Performed, PlanDocument, PreparedRestore, RestorePlan, RestoreProgress, Restorer,
    prepare,
};
pub use refusal::{Refusal, RefusalClass};
pub use report::{
    Aftermath, Method, PlanSummary, RestoreError, RestoreFailed, RestoreReport, Restored, Stopped, VERB,
};
pub use scheduled_jobs::InactiveJob;
pub use teardown::{CreatedObject, LeftObject, TeardownReport};
