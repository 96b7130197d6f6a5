//! What one kind of backup has of its own.

use std::fmt::Debug;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::bucket::BucketObjects;
use super::chroma::ChromaDirectory;
use super::command::CommandOutput;
use super::fetch::ArtifactFetch;
use super::files::FilesTree;
use super::git::GitRepository;
use super::redis::RedisDump;
use super::sqlite::SqliteDatabase;
use super::survey::ChainLink;
use super::{ContentRestoreError, ContentRestorePlan, ContentRestoreRequest};
use crate::checks::CheckResult;
use crate::model::BackupKind;
use crate::restore::{CreatedObject, Refusal};
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

/// The implementation for a kind; `None` for kinds with a method of restore of their own.
pub(super) fn of_kind(kind: BackupKind) -> Option<Box<dyn ContentMethod>> {
    match kind {
        BackupKind::Files => Some(Box::new(FilesTree)),
        BackupKind::Sqlite => Some(Box::new(SqliteDatabase)),
        BackupKind::Chroma => Some(Box::new(ChromaDirectory)),
        BackupKind::Redis => Some(Box::new(RedisDump)),
        BackupKind::Command => Some(Box::new(CommandOutput)),
        BackupKind::Bucket => Some(Box::new(BucketObjects)),
        BackupKind::Git => Some(Box::new(GitRepository)),
        _ => None,
    }
}

/// What was found of the target.
#[derive(Clone, Debug, Default)]
pub(super) struct TargetSurvey {
    /// Where to, as text: an absolute path, a URL without a password.
    pub(super) to: String,
    /// Every reason against it.
    pub(super) refusals: Vec<Refusal>,
    /// For the operator.
    pub(super) notes: Vec<String>,
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
