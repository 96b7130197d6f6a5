//! The one way through this method.

use chrono::{DateTime, Utc};

use super::execute::execute;
use super::survey::survey;
use super::teardown::teardown;
use super::{
    DirectoryCleanup, PhysicalDetails, PhysicalRestoreError, PhysicalRestorePlan, PhysicalRestoreRequest,
    PhysicalSurvey, plan,
};
use crate::restore::{CreatedObject, Executed, Method, Refusal, RestoreProgress, Restorer, TeardownReport};
use crate::run::RunContext;

impl Restorer for PhysicalRestoreRequest {
    const METHOD: Method = Method::Physical;
    type Survey = PhysicalSurvey;
    type Plan = PhysicalRestorePlan;
    type Details = PhysicalDetails;
    type Error = PhysicalRestoreError;
    type Aftermath = DirectoryCleanup;

    async fn survey(&self, run: &RunContext) -> Result<PhysicalSurvey, PhysicalRestoreError> {
        survey(run, self).await
    }

    fn plan(
        &self,
        survey: PhysicalSurvey,
        now: DateTime<Utc>,
        _seed: u32,
    ) -> Result<PhysicalRestorePlan, Vec<Refusal>> {
        plan(self, survey, now)
    }

    async fn execute(
        run: &RunContext,
        plan: &PhysicalRestorePlan,
        progress: &mut RestoreProgress<'_>,
    ) -> Executed<Self> {
        execute(run, plan, progress).await
    }

    async fn teardown(&self, run: &RunContext, created: &[CreatedObject]) -> TeardownReport {
        teardown(run, self, created).await
    }
}
