//! What is kept, what is removed, and the proof of what can still be restored then.
//!
//! [`survey()`] asks the repositories what there is and [`survey_regions()`] what AWS keeps, [`plan()`] decides,
//! [`execute()`] carries the plan out, and [`simulate()`] plays the rules forward.
//!
//! *Invariants.* Deciding is pure; nothing is removed that the plan does not name, and nothing that drctl did not write.
//! The newest good backup, a floor of good backups, everything that a kept backup needs, and holds stay whatever the
//! rules say, in each repository and region. Nothing of a source is removed from where its proof does not hold, or where
//! what there is is not known for certain.
//!
//! *Not here.* What the rules are ([`crate::policy`]), and when retention runs.

mod apply;
#[cfg(test)]
mod apply_tests;
pub mod cloud;
#[cfg(test)]
mod cloud_apply_tests;
mod day_mark;
mod diverged;
pub mod hold_store;
mod holding;
mod leftover;
mod lock_objects;
mod lock_plan;
mod manifest_fate;
mod plan;
#[cfg(test)]
mod plan_tests;
mod planned_policy;
mod proof;
mod reason;
mod refusal;
#[cfg(test)]
mod region_plan_tests;
mod report;
pub mod rule;
mod simulate;
#[cfg(test)]
mod simulation_tests;
mod source_plan;
mod survey;
mod tombstone;
mod wal_plan;
mod wal_runs;

pub use crate::model::{Bucket, Period};
pub use apply::{ApplyParts, execute};
pub use cloud::{CloudRegion, inspect_removals, open_regions, survey_regions};
pub use day_mark::{DayMark, day_marks};
pub use holding::{
    ActiveRun, HeldBackup, HeldCloudCopy, HeldPhysical, HeldScope, HeldWal, Hold, LeftAlone, RegionHoldings,
    RepositoryHoldings, RetentionSurvey, SnapshotQuota, SourceHoldings, WalFile,
};
pub use leftover::Leftover;
pub use lock_objects::{HeldObjects, hold_objects};
pub use lock_plan::PlannedLock;
pub use plan::{PlannedPolicy, RetentionPlan, plan};
pub use planned_policy::planned_policy;
pub use proof::Proof;
pub use reason::{KeepReason, RemoveReason};
pub use refusal::{Refusal, RefusalCode};
pub use report::{
    ApplyReport, EndedHold, FailedLock, FailedRemoval, LockedBackup, LockedWal, RefusedSource, RemovedBackup,
    RemovedWal, SkippedLocation,
};
pub use simulate::{Simulated, SimulatedDay, SimulatedKind, Simulation, simulate};
pub use source_plan::{Fate, PlannedBackup, SourcePlan};
pub use survey::{KnownBackups, Surveyed, VERB, survey};
pub use wal_plan::{WalPlan, WalRange, WalRule};
pub use wal_runs::{RunEnd, WalRuns};
