//! What came of carrying out a plan.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::holding::LeftAlone;
use super::refusal::Refusal;
use crate::model::{BackupId, Location, SourceName};
use crate::repository::Unavailable;

/// Reasons that the journal's record names.
const REASONS: usize = 100;

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct ApplyReport {
    pub removed: Vec<RemovedBackup>,
    /// AWS is deleting them: a later run removes their manifests.
    pub deleting: Vec<RemovedBackup>,
    pub wal: Vec<RemovedWal>,
    /// Objects of no backup that were removed.
    pub leftover_objects: u64,
    pub leftover_bytes: u64,
    /// Uploads that never ended and were aborted.
    pub aborted_uploads: u64,
    /// The store keeps them: they are tried again by the next run.
    pub locked: Vec<LockedBackup>,
    /// The same of WAL.
    pub locked_wal: Vec<LockedWal>,
    /// Holds that keep nothing any more, and that stores still have: a person with more rights has them taken off.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ended_holds: Vec<EndedHold>,
    /// Backups that stay, and that the store keeps longer now.
    pub extended: Vec<LockedBackup>,
    pub failed_locks: Vec<FailedLock>,
    pub refused: Vec<RefusedSource>,
    /// Repositories and regions of which it is not known what they have, so that nothing could be planned there.
    pub skipped: Vec<SkippedLocation>,
    /// Parts of regions that cannot be queried: what they have stays.
    pub left: Vec<LeftAlone>,
    pub failed: Vec<FailedRemoval>,
    pub interrupted: bool,
    #[serde(skip)]
    pub unrecorded: Vec<Unavailable>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RemovedBackup {
    #[serde(flatten)]
    pub location: Location,
    pub backup: BackupId,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RemovedWal {
    #[serde(flatten)]
    pub location: Location,
    pub source: SourceName,
    pub files: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LockedBackup {
    #[serde(flatten)]
    pub location: Location,
    pub backup: BackupId,
    /// `None`: until a hold is taken off, or the store does not say.
    pub until: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LockedWal {
    #[serde(flatten)]
    pub location: Location,
    pub source: SourceName,
    pub files: u64,
    /// Of the oldest of them; `None`: until a hold is taken off, or the store does not say.
    pub until: Option<DateTime<Utc>>,
}

/// A hold that is over or was released, and that a store still has on objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndedHold {
    #[serde(flatten)]
    pub location: Location,
    pub hold: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedSource {
    #[serde(flatten)]
    pub location: Location,
    pub source: SourceName,
    pub refusals: Vec<Refusal>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SkippedLocation {
    #[serde(flatten)]
    pub location: Location,
    pub refusals: Vec<Refusal>,
}

/// Something that could not be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedRemoval {
    #[serde(flatten)]
    pub location: Location,
    /// A backup, or `12 WAL files of database`.
    pub what: String,
    pub reason: String,
    /// The host may not delete there.
    pub is_denied: bool,
}

/// A backup that stays, and that the store was to keep longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedLock {
    #[serde(flatten)]
    pub location: Location,
    pub backup: BackupId,
    pub reason: String,
}

impl ApplyReport {
    /// Returns whether everything that the plan names was removed.
    pub fn is_complete(&self) -> bool {
        self.refused.is_empty()
            && self.skipped.is_empty()
            && self.failed.is_empty()
            && self.failed_locks.is_empty()
            && !self.left.iter().any(|left| left.is_in_policy)
            && !self.interrupted
    }

    pub fn removed_anything(&self) -> bool {
        !self.removed.is_empty()
            || !self.deleting.is_empty()
            || !self.wal.is_empty()
            || self.leftover_objects > 0
    }

    /// Returns why not, a line each, for the journal.
    pub(super) fn reasons(&self) -> Vec<String> {
        let refused = self.refused.iter().flat_map(|refused| {
            let told = |refusal: &Refusal| {
                format!(
                    "{} in {}: {}: {}",
                    refused.source,
                    refused.location,
                    refusal.code.as_str(),
                    refusal.message
                )
            };
            refused.refusals.iter().map(told).collect::<Vec<_>>()
        });
        let skipped = self.skipped.iter().flat_map(|skipped| {
            let told = |refusal: &Refusal| {
                format!("{}: {}: {}", skipped.location, refusal.code.as_str(), refusal.message)
            };
            skipped.refusals.iter().map(told).collect::<Vec<_>>()
        });
        let failed = self.failed.iter();
        let failed =
            failed.map(|failed| format!("{} in {}: {}", failed.what, failed.location, failed.reason));
        let locks = self.failed_locks.iter();
        let locks = locks.map(|failed| {
            format!("{} in {} was not locked longer: {}", failed.backup, failed.location, failed.reason)
        });
        let mut reasons: Vec<String> = refused.chain(skipped).chain(failed).chain(locks).collect();
        if reasons.len() > REASONS {
            let more = reasons.len() - REASONS;
            reasons.truncate(REASONS);
            reasons.push(format!("and {more} more"));
        }
        reasons
    }
}
