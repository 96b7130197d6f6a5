//! Taking backups: [`plan`] decides, [`execute`] acts.
//!
//! *Invariants.* A backup is reported stored only when its manifest stands, and succeeded only when it
//! stands in every repository of the policy; otherwise it is degraded, and says where it is missing and why.
//! A source that fails does not stop the others, and leaves nothing that looks like a backup.
//! What AWS makes, and goes on with after a run was killed, is finished by the next run, and not made twice.
//! A base backup of what changed builds only on what stands in every repository that this run writes to.
//!
//! *Not here.* Where the bytes come from ([`crate::source`]) and how they are written
//! ([`crate::repository`]).

mod artifact_sink;
mod execute;
mod incremental;
mod plan;
mod report;
mod resume;
mod wait_for_wal;
mod wal_archive_check;

pub use execute::{BackupError, execute};
pub use plan::{BackupPlan, PlanError, PlannedSource, plan};
pub use report::{BackupReport, MissingRepository, SourceOutcome, SourceReport};
