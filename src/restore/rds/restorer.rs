//! The one way through this method.

use chrono::{DateTime, Utc};

use super::execute::execute;
use super::survey::survey;
use super::teardown::teardown;
use super::{RdsAftermath, RdsDetails, RdsRestoreError, RdsRestorePlan, RdsRestoreRequest, RdsSurvey, plan};
use crate::restore::{CreatedObject, Executed, Method, Refusal, RestoreProgress, Restorer, TeardownReport};
use crate::run::RunContext;

impl Restorer for RdsRestoreRequest {
    const METHOD: Method = Method::Rds;
    type Survey = RdsSurvey;
    type Plan = RdsRestorePlan;
    type Details = RdsDetails;
    type Error = RdsRestoreError;
    type Aftermath = RdsAftermath;

    async fn survey(&self, run: &RunContext) -> Result<RdsSurvey, RdsRestoreError> {
        survey(run, self).await
    }

    fn plan(
        &self,
        survey: RdsSurvey,
        _now: DateTime<Utc>,
        _seed: u32,
    ) -> Result<RdsRestorePlan, Vec<Refusal>> {
        plan(self, survey)
    }

    async fn execute(
        run: &RunContext,
        plan: &RdsRestorePlan,
        progress: &mut RestoreProgress<'_>,
    ) -> Executed<Self> {
        execute(run, plan, progress).await
    }

    async fn teardown(&self, run: &RunContext, created: &[CreatedObject]) -> TeardownReport {
        teardown(run, self, created).await
    }
}
