//! The one way through this method.

use chrono::{DateTime, Utc};

use super::execute::execute;
use super::survey::survey;
use super::teardown::teardown;
use super::{
    DumpAftermath, DumpDetails, DumpRestoreError, DumpRestorePlan, DumpRestoreRequest, DumpSurvey, plan,
};
use crate::restore::{CreatedObject, Executed, Method, Refusal, RestoreProgress, Restorer, TeardownReport};
use crate::run::RunContext;

impl Restorer for DumpRestoreRequest {
    const METHOD: Method = Method::Logical;
    type Survey = DumpSurvey;
    type Plan = DumpRestorePlan;
    type Details = DumpDetails;
    type Error = DumpRestoreError;
    type Aftermath = DumpAftermath;

    async fn survey(&self, run: &RunContext) -> Result<DumpSurvey, DumpRestoreError> {
        survey(run, self).await
    }

    fn plan(
        &self,
        survey: DumpSurvey,
        now: DateTime<Utc>,
        seed: u32,
    ) -> Result<DumpRestorePlan, Vec<Refusal>> {
        plan(self, survey, now, seed)
    }

    async fn execute(
        run: &RunContext,
        plan: &DumpRestorePlan,
        progress: &mut RestoreProgress<'_>,
    ) -> Executed<Self> {
        execute(run, plan, progress).await
    }

    async fn teardown(&self, run: &RunContext, created: &[CreatedObject]) -> TeardownReport {
        teardown(run, self, created).await
    }
}
