//! Restoring an RDS database: into a new instance, or cluster, that an application can use.
//!
//! ```text
//! survey ─▶ plan ─▶ create ─▶ available ─▶ settings ─▶ (members) ─▶ backups on ─▶ login ─▶ hydrate ─▶ backed up
//! ```
//!
//! The plan is the list of [steps](RdsRestoreStep) that is shown and executed.
//!
//! *Invariants.*
//! - Only new instances are created; nothing that exists is changed, except what an earlier run of the very
//!   same restore created: that is resumed, so that a killed run costs no second instance.
//! - Only what was created for a limited time is ever deleted, identified by its tags and its RDS resource
//!   id.
//! - The settings come from what was recorded with the backup, and not from a region that may be lost. What
//!   RDS does not take is reported before anything is created. [`Overrides`] are given each time, and never
//!   recorded as the database's own.
//! - RDS reports an instance as available before it was used. It counts as usable only after a login that
//!   read, as hydrated only when RDS has no more blocks to fetch, and as backed up only when RDS's first
//!   backup is complete; each has a time of its own.
//! - An instance is created without automated backups, which RDS would take at once, for hours, before it
//!   accepts changes. They are turned on when it is configured, or when it replaces production, and never for
//!   a temporary one.
//! - Aurora's API creates a cluster without instances, which cannot be logged in to: the recorded ones are
//!   created, and only missing ones.
//!
//! *Not here.* Taking snapshots ([`crate::source::rds_snapshot`]).

mod cluster_plan;
mod cluster_survey;
mod execute;
mod execution;
mod first_backup;
mod identifier;
pub(crate) mod login;
mod members;
mod overrides;
mod parameter_groups;
mod plan;
mod recorded_settings;
mod report;
mod request;
mod restore_source;
mod select;
pub(crate) mod settings;
mod survey;
mod teardown;

use chrono::{DateTime, Utc};

use super::{AwsRestoreError, CreatedObject, Executed, Method, Refusal, RestoreProgress, Restorer};
use crate::run::RunContext;

pub(crate) use identifier::is_identifier;
pub use overrides::{Changed, OverrideError, OverrideKey, Overrides};
pub use parameter_groups::NewGroup;
pub use plan::{Backups, RdsRestorePlan, RdsRestoreStep, plan};
pub use report::{Milestones, RdsAftermath, RdsDetails, RdsEndpoint};
pub use request::{Lifetime, RdsRestoreRequest, RdsTarget};
pub use restore_source::{RestoreSource, SelectedBackup};
pub use settings::PlannedSetting;
pub use survey::RdsSurvey;

impl Restorer for RdsRestoreRequest {
    const METHOD: Method = Method::Rds;
    type Survey = RdsSurvey;
    type Plan = RdsRestorePlan;
    type Details = RdsDetails;
    type Error = AwsRestoreError;
    type Aftermath = RdsAftermath;

    async fn survey(&self, run: &RunContext) -> Result<RdsSurvey, AwsRestoreError> {
        survey::survey(run, self).await
    }

    fn plan(
        &self,
        survey: RdsSurvey,
        _now: DateTime<Utc>,
        _seed: u32,
    ) -> Result<RdsRestorePlan, Vec<Refusal>> {
        plan::plan(self, survey)
    }

    async fn execute(
        run: &RunContext,
        plan: &RdsRestorePlan,
        progress: &mut RestoreProgress<'_>,
    ) -> Executed<Self> {
        execute::execute(run, plan, progress).await
    }

    async fn remove(&self, run: &RunContext, object: &CreatedObject) -> Result<(), String> {
        teardown::remove(run, self, object).await
    }
}
