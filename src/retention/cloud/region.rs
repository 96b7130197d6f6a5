use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use thiserror::Error;

use super::listing::{RecordedCopy, RegionListing};
use crate::aws::{AwsError, AwsFailure, FailureKind};
use crate::model::{BackupId, CloudBackupCopy, Manifest, SourceName};
use crate::retention::reason::KeepReason;

/// What AWS keeps of one source in one region.
#[async_trait]
pub trait CloudRegion: Send + Sync {
    fn source(&self) -> &SourceName;

    fn region(&self) -> &str;

    /// The policy has backups there, and not only old ones are there.
    fn is_in_policy(&self) -> bool;

    /// Whether a listing would show this copy, were it there.
    fn would_list(&self, copy: &CloudBackupCopy) -> bool;

    /// How long a throttled call is put off.
    fn pause(&self) -> Duration;

    /// Lists what there is of these backups, of all their copies.
    async fn list(&self, manifests: &[&Manifest]) -> Result<RegionListing, CloudRemovalError>;

    /// Returns which of these are not to be deleted, as far as it takes a query of each.
    async fn objections(
        &self,
        going: &[RecordedCopy<'_>],
    ) -> Result<BTreeMap<BackupId, KeepReason>, CloudRemovalError>;

    /// Deletes one, if what it is now allows it.
    async fn remove(&self, going: RecordedCopy<'_>) -> Result<RemovedCopy, CloudRemovalError>;
}

/// What came of one deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemovedCopy {
    Gone,
    /// AWS is deleting it.
    Begun,
    /// AWS keeps it until then; `None`: it does not say until when.
    Locked(Option<DateTime<Utc>>),
    Stays(KeepReason),
}

#[derive(Debug, Error)]
pub enum CloudRemovalError {
    #[error("failed to speak to AWS")]
    Client(#[from] AwsError),
    #[error(transparent)]
    Aws(#[from] AwsFailure),
    #[error(
        "AWS said that it deleted {arn}, and it is still there: the role lacks a permission to delete it"
    )]
    Kept { arn: String },
    #[error("{arn} is not the ARN of a {what}")]
    Arn { arn: String, what: &'static str },
}

impl CloudRemovalError {
    pub(super) fn is_throttled(&self) -> bool {
        matches!(self, Self::Aws(failure) if failure.kind == FailureKind::Throttled)
    }

    /// Returns whether the host may not delete there.
    pub(super) fn is_denied(&self) -> bool {
        match self {
            Self::Aws(failure) => failure.kind == FailureKind::Forbidden,
            Self::Kept { .. } => true,
            Self::Client(_) | Self::Arn { .. } => false,
        }
    }
}
