//! What there is, as far as it decides what is kept. Plain data: [`super::survey`] fills it in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::reason::KeepReason;
use super::refusal::Refusal;
use crate::model::{
    Ancestor, AssuranceLevel, BackupId, CloudBackupCopy, Lsn, RepositoryName, SegmentSize, SourceName,
    SystemIdentifier, Timeline, WalName,
};
use crate::store::LifecycleRule;

/// Everything that a plan is made from.
#[derive(Clone, Debug, Default)]
pub struct RetentionSurvey {
    /// In the policy's order.
    pub repositories: Vec<RepositoryHoldings>,
    /// By source, then in the order of its copies.
    pub regions: Vec<RegionHoldings>,
    /// Those that are not released, of every repository.
    pub holds: Vec<Hold>,
    /// What runs now and may read or write backups of a source.
    pub active: Vec<ActiveRun>,
    /// The digest of the rules that were applied last; `None`: none ever were.
    pub applied_rules: Option<String>,
    /// Why nothing may be removed anywhere.
    pub refusals: Vec<Refusal>,
    /// By which rules the buckets remove objects themselves.
    pub lifecycle: BTreeMap<RepositoryName, Vec<LifecycleRule>>,
    /// Repositories whose rules cannot be read, and why.
    pub lifecycle_unknown: Vec<(RepositoryName, String)>,
    /// How long the backup took that took longest.
    pub longest_backup: Option<Duration>,
}

/// One repository.
#[derive(Clone, Debug)]
pub struct RepositoryHoldings {
    pub name: RepositoryName,
    /// By source; those that the policy does not have any more too.
    pub sources: BTreeMap<SourceName, SourceHoldings>,
    /// Why nothing may be removed there at all.
    pub refusals: Vec<Refusal>,
}

/// What AWS keeps of one source in one region.
#[derive(Clone, Debug)]
pub struct RegionHoldings {
    pub source: SourceName,
    pub region: String,
    pub holdings: SourceHoldings,
    /// It could be listed.
    pub is_known: bool,
    /// The policy has backups there; otherwise only old ones are.
    pub is_in_policy: bool,
    /// Backups that had a copy there, which retention removed.
    pub removed: BTreeSet<BackupId>,
    pub quota: Option<SnapshotQuota>,
}

/// Manual snapshots of one kind of database in a region, of the whole account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotQuota {
    pub used: u64,
    pub most: u64,
}

impl SnapshotQuota {
    /// What an account may have where RDS does not report it.
    pub const USUAL: u64 = 100;

    /// Returns whether what is left once so many are removed may soon end the backups.
    pub fn is_nearly_used_up(self, removed: u64) -> bool {
        self.used.saturating_sub(removed) * 5 >= self.most * 4
    }
}

/// A snapshot or recovery point.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldCloudCopy {
    pub copy: CloudBackupCopy,
    /// AWS has it.
    pub is_there: bool,
    /// Why it stays whatever the rules say.
    pub stays: Option<KeepReason>,
}

/// What one repository or region has of one source.
#[derive(Clone, Debug, Default)]
pub struct SourceHoldings {
    /// In any order.
    pub backups: Vec<HeldBackup>,
    /// One for each cluster.
    pub wal: Vec<HeldWal>,
    /// Why nothing of it may be removed there.
    pub refusals: Vec<Refusal>,
    /// Parts of a region that cannot be queried: what they have stays.
    pub left: Vec<LeftAlone>,
}

/// A part of a region of which it is not known what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftAlone {
    /// `vault old`, `eu-west-1`.
    pub what: String,
    pub why: String,
    /// The policy has backups there: then it is a fault.
    pub is_in_policy: bool,
}

/// A backup whose manifest is in the repository, or that AWS keeps in the region.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldBackup {
    pub id: BackupId,
    pub recovery_point: DateTime<Utc>,
    /// Stored.
    pub bytes: u64,
    pub level: AssuranceLevel,
    /// The last check of this copy found it bad.
    pub is_bad: bool,
    pub cluster: Option<SystemIdentifier>,
    pub major: Option<u32>,
    pub physical: Option<HeldPhysical>,
    /// The backup that it builds on.
    pub parent: Option<BackupId>,
    /// The store refuses to delete it before.
    pub locked_until: Option<DateTime<Utc>>,
    /// In a region: what AWS has.
    pub cloud: Option<HeldCloudCopy>,
}

/// The WAL that a base backup needs.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldPhysical {
    pub timeline: Timeline,
    pub start: Lsn,
    pub stop: Lsn,
    pub segment_size: SegmentSize,
}

impl HeldPhysical {
    /// Returns the numbers of the first and the last segment without which it cannot be restored.
    pub fn required(&self) -> (u64, u64) {
        let last_byte = Lsn(self.stop.0.saturating_sub(1)).max(self.start);
        (self.segment_size.number_of(self.start), self.segment_size.number_of(last_byte))
    }
}

/// The WAL of one cluster in one repository.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldWal {
    pub cluster: SystemIdentifier,
    pub segment_size: SegmentSize,
    /// In any order.
    pub files: Vec<WalFile>,
    /// Where the timelines came from. One whose history cannot be read is not among them.
    pub parents: BTreeMap<Timeline, Ancestor>,
}

/// A file of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WalFile {
    pub name: WalName,
    pub bytes: u64,
    /// By the store's clock.
    pub modified: DateTime<Utc>,
}

/// Keeps backups whatever the rules say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub id: String,
    pub on: HeldScope,
    pub reason: String,
    /// Who placed it.
    pub by: String,
    pub placed: DateTime<Utc>,
    /// It ends by itself then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

/// What a hold keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldScope {
    Backup(BackupId),
    /// Every backup of the source that there is, and its WAL.
    Source(SourceName),
}

impl Hold {
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.until.is_some_and(|until| until < now)
    }

    pub fn keeps(&self, backup: &BackupId) -> bool {
        match &self.on {
            HeldScope::Backup(held) => held == backup,
            HeldScope::Source(source) => source == backup.source(),
        }
    }
}

/// A run that has the lease of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveRun {
    pub source: SourceName,
    /// `backup`, `restore`.
    pub verb: String,
    pub host: String,
}

impl RetentionSurvey {
    /// Returns the backups that a region still has once those of `gone` are deleted there.
    pub(super) fn in_regions_beside(&self, gone: &BTreeSet<(String, BackupId)>) -> BTreeSet<BackupId> {
        let is_left = |region: &RegionHoldings, backup: &HeldBackup| {
            let is_there = backup.cloud.as_ref().is_some_and(|cloud| cloud.is_there);
            is_there && !gone.contains(&(region.region.clone(), backup.id.clone()))
        };
        let of_region = |region: &RegionHoldings| {
            let backups = region.holdings.backups.iter().filter(|backup| is_left(region, backup));
            backups.map(|backup| backup.id.clone()).collect::<Vec<_>>()
        };
        self.regions.iter().flat_map(of_region).collect()
    }
}

impl SourceHoldings {
    /// Returns the clusters that backups and WAL are of.
    pub fn clusters(&self) -> BTreeSet<SystemIdentifier> {
        let of_backups = self.backups.iter().filter_map(|backup| backup.cluster);
        of_backups.chain(self.wal.iter().map(|wal| wal.cluster)).collect()
    }
}
