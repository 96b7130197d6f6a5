//! Restoring a resource from AWS Backup: a restore job of AWS creates a new one from a recovery point.
//!
//! *Invariants.*
//! - A lost region is not queried: what a restore needs was recorded with the backup, and is read from the
//!   repositories; everything else is queried in the region of the restore.
//! - The new resource gets its name with the request. AWS Backup refuses a name that is taken, and skips the
//!   objects that a bucket has; nothing that exists is overwritten. A key that the kind of resource does not
//!   take is refused before AWS is called.
//! - A job started by a killed run is resumed, and a completed one is not started again unless requested: AWS
//!   would create a second resource.
//! - `COMPLETED` with a message is reported, and does not count as success.
//! - Only a database created by a job of this very run is ever deleted.
//!
//! *Not here.* Creating recovery points ([`crate::source::aws_backup`]).

mod execute;
mod kind;
mod metadata;
mod plan;
mod report;
mod request;
mod select;
mod survey;
mod teardown;

use chrono::{DateTime, Utc};

use super::{AwsRestoreError, CreatedObject, Executed, Method, Refusal, RestoreProgress, Restorer};
use crate::run::RunContext;

pub use metadata::{InvalidMetadata, OmittedSetting};
pub use plan::{EarlierJob, ResourceRestorePlan, ResourceRestoreStep, plan};
pub use report::{ResourceAftermath, ResourceDetails};
pub use request::{ResourceRestoreRequest, assignment};
pub use survey::ResourceSurvey;

impl Restorer for ResourceRestoreRequest {
    const METHOD: Method = Method::AwsBackup;
    type Survey = ResourceSurvey;
    type Plan = ResourceRestorePlan;
    type Details = ResourceDetails;
    type Error = AwsRestoreError;
    type Aftermath = ResourceAftermath;

    async fn survey(&self, run: &RunContext) -> Result<ResourceSurvey, AwsRestoreError> {
        survey::survey(run, self).await
    }

    fn plan(
        &self,
        survey: ResourceSurvey,
        now: DateTime<Utc>,
        _seed: u32,
    ) -> Result<ResourceRestorePlan, Vec<Refusal>> {
        plan::plan(self, survey, now)
    }

    async fn execute(
        run: &RunContext,
        plan: &ResourceRestorePlan,
        progress: &mut RestoreProgress<'_>,
    ) -> Executed<Self> {
        execute::execute(run, plan, progress).await
    }

    async fn remove(&self, run: &RunContext, object: &CreatedObject) -> Result<(), String> {
        teardown::remove(run, self, object).await
    }
}
