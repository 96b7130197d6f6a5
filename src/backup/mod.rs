//! Taking backups: [`plan`] selects what is requested, each source's turn is decided by the state of the
//! service, the repositories and the server ([`SourcePlan`], [`incremental`](crate::source::incremental)),
//! [`execute`] acts. [`preview`] makes the same decisions without taking a backup.
//!
//! *Invariants.* A backup is reported as stored only when its manifest is committed, and as succeeded only
//! when it is in every repository of the policy; otherwise it is degraded, with the missing locations and
//! reasons. A source that fails does not stop the others, and leaves nothing that looks like a backup. What
//! AWS completes after a run was killed is resumed by the next run, and not created twice. The parent of an
//! incremental base backup is in every repository that this run writes to. The members of a recovery point are taken in the
//! policy's order, and an application that was paused for them is resumed whatever becomes of them.
//!
//! *Not here.* Where the bytes come from ([`crate::source`]) and how they are written
//! ([`crate::repository`]).

mod artifact_sink;
mod capture;
mod clock_skew;
mod error;
mod execute;
mod incremental;
mod lease;
mod lineage;
mod lineage_check;
mod orphaned_uploads;
mod plan;
mod planned_source;
mod point;
mod preview;
mod record;
mod report;
mod repository_changes;
mod resume;
mod run;
mod wait_for_wal;
mod wal_archive_check;

pub use error::BackupError;
pub use execute::execute;
pub use plan::{BackupPlan, PlanError, SourcePlan, plan, plan_point};
pub use planned_source::PlannedSource;
pub use point::PlannedPoint;
pub use preview::{BackupPreview, BackupStep, SourcePreview, preview};
pub use report::{BackupReport, MissingRepository, PointReport, SourceOutcome, SourceReport};
pub use run::BackupContext;
