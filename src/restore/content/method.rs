//! What one kind of backup has of its own.

use std::fmt::Debug;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::fetch::ArtifactFetch;
use super::surveyed::ChainLink;
pub(super) use super::surveyed::TargetSurvey;
use super::{ContentRestoreError, ContentRestorePlan, ContentRestoreRequest};
use crate::checks::CheckResult;
use crate::restore::CreatedObject;
use crate::run::RunContext;

/// How one kind of content comes back.
#[async_trait(?Send)]
pub(super) trait ContentMethod: Debug + Send + Sync {
    /// Inspects the target and this host's programs. Changes nothing. `chain`: the full backup first, the chosen one last.
    async fn survey(
        &self,
        run: &RunContext,
        request: &ContentRestoreRequest,
        chain: &[ChainLink],
    ) -> Result<TargetSurvey, ContentRestoreError>;

    /// Restores the plan's chain into the target that was surveyed, and compares it with what was recorded. Adds to
    /// `created` what teardown has to remove as soon as it exists.
    async fn restore(
        &self,
        fetch: &ArtifactFetch<'_>,
        plan: &ContentRestorePlan,
        created: &mut Vec<CreatedObject>,
    ) -> Result<RestoredContent, ContentRestoreError>;

    /// Removes an object that a restore created, and verifies that it is gone; `Err`: why it is left.
    async fn remove(&self, run: &RunContext, object: &CreatedObject) -> Result<(), String>;
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub(super) struct RestoredContent {
    /// Counts for the report, like `1,204 files` or `3 keys`.
    pub(super) counts: Vec<String>,
    pub(super) checks: Vec<CheckResult>,
    /// What the original had and the restored one lacks.
    pub(super) left_out: Vec<String>,
    pub(super) notes: Vec<String>,
    /// The time of its data, where it is not the backup's recovery point.
    pub(super) recovery_point: Option<DateTime<Utc>>,
}
