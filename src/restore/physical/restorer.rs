//! The one way through this method.

use chrono::{DateTime, Utc};

use super::execute::execute;
use super::survey::survey;
use super::{
    DirectoryCleanup, PhysicalDetails, PhysicalRestoreError, PhysicalRestorePlan, PhysicalRestoreRequest,
    PhysicalSurvey, plan,
};
use crate::restore::{Method, Refusal, RestoreProgress, Restored, Restorer, Stopped};
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
    ) -> Result<Restored<PhysicalDetails>, Stopped<PhysicalRestoreError, DirectoryCleanup>> {
        execute(run, plan, progress).await
    }
}
