//! The one way through this method.

use chrono::{DateTime, Utc};

use super::execute::execute;
use super::survey::survey;
use super::teardown::teardown;
use super::{
    ResourceAftermath, ResourceDetails, ResourceRestoreError, ResourceRestorePlan, ResourceRestoreRequest,
    ResourceSurvey, plan,
};
use crate::restore::{CreatedObject, Executed, Method, Refusal, RestoreProgress, Restorer, TeardownReport};
use crate::run::RunContext;

impl Restorer for ResourceRestoreRequest {
    const METHOD: Method = Method::AwsBackup;
    type Survey = ResourceSurvey;
    type Plan = ResourceRestorePlan;
    type Details = ResourceDetails;
    type Error = ResourceRestoreError;
    type Aftermath = ResourceAftermath;

    async fn survey(&self, run: &RunContext) -> Result<ResourceSurvey, ResourceRestoreError> {
        survey(run, self).await
    }

    fn plan(
        &self,
        survey: ResourceSurvey,
        now: DateTime<Utc>,
        _seed: u32,
    ) -> Result<ResourceRestorePlan, Vec<Refusal>> {
        plan(self, survey, now)
    }

    async fn execute(
        run: &RunContext,
        plan: &ResourceRestorePlan,
        progress: &mut RestoreProgress<'_>,
    ) -> Executed<Self> {
        execute(run, plan, progress).await
    }

    async fn teardown(&self, run: &RunContext, created: &[CreatedObject]) -> TeardownReport {
        teardown(run, self, created).await
    }
}
