use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chrono::{DateTime, Days, Months, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::layout;
use super::manifest::{FormatError, FormatVersion};
use crate::event::PhaseSeconds;
use crate::model::{
    BackupId, CopyCheck, Outcome, PointMode, RepositoryName, RunId, Segment, Sha256Hex, SourceName,
    SystemIdentifier, SystemName, WalCheck, WalName,
};
use crate::store::list_all;
use crate::store::{PutOptions, Store, StoreError, StoreErrorKind};

/// Each record names every repository; records of older versions may name a single one.
const LOOKED_BACK: usize = 8;
/// The maximum size of a record.
pub const RECORD_LIMIT: u64 = 16 * 1024 * 1024;

/// One run that changed or proved something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalRecord {
    pub format: String,
    pub run: RunId,
    /// `backup`, `restore`, `verify`, `copies-sync`, …
    pub verb: String,
    pub begun: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    pub host: String,
    pub outcome: Outcome,
    /// SHA-256 of the previous newest record, as stored.
    pub previous: Option<Sha256Hex>,
    /// The details of the verb; nothing secret.
    #[serde(default)]
    pub detail: Detail,
}

impl JournalRecord {
    /// Creates the record of a run that ends now.
    pub fn new(
        run: &RunId,
        verb: &str,
        (begun, ended): (DateTime<Utc>, DateTime<Utc>),
        host: &str,
        outcome: Outcome,
        detail: Detail,
    ) -> Self {
        let (run, verb, host) = (run.clone(), verb.to_owned(), host.to_owned());
        let format = FormatVersion::CURRENT.to_string();
        Self { format, run, verb, begun, ended, host, outcome, previous: None, detail }
    }
}

impl JournalRecord {
    /// Returns whether both are of the same run with the same result, apart from what is filled in when a
    /// record is written.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let bare = |record: &Self| {
            let mut bare = Self { format: String::new(), previous: None, ..record.clone() };
            bare.detail.repositories.clear();
            // A number of seconds may be written in another way where it was read and written again.
            bare.detail.phases.clear();
            bare
        };
        bare(self) == bare(other)
    }
}

impl Detail {
    /// Creates the details of a run that restored backups.
    pub fn restored(
        method: &str,
        backups: Vec<BackupId>,
        phases: &[PhaseSeconds],
        reasons: Vec<String>,
    ) -> Self {
        Self {
            method: Some(method.to_owned()),
            backups,
            phases: phases.iter().map(|phase| (phase.phase.as_str().to_owned(), phase.seconds)).collect(),
            reasons,
            ..Self::default()
        }
    }
}

/// What a run did, by kind. Readers ignore unknown fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// Copies that were verified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CopyCheck>,
    /// WAL that was verified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_checks: Vec<WalCheck>,
    /// Backups that were taken, copied or restored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<BackupId>,
    /// How a restore was done: `logical`, `physical`, `rds`, `aws-backup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Why it failed or is degraded, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Settings that a restore changed on request: `class=db.r6g.large`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// Every repository that the system is known to have, whether reachable or not.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub repositories: BTreeSet<RepositoryName>,
    /// Seconds of each phase, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<(String, f64)>,
    /// Tombstones: backups that are removed after this record was written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removals: Vec<Removal>,
    /// Tombstones of WAL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wal_removals: Vec<WalRemoval>,
    /// Copies of backups that a drill restored and found good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proven: Vec<ProvenCopy>,
    /// The digest of a drill's record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Sha256Hex>,
    /// Tombstones of snapshots and recovery points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cloud_removals: Vec<CloudRemoval>,
    /// The runbook that was run or rehearsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<RunbookRun>,
    /// The digest of the rules that retention applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// The task of the schedule that a run of it could not perform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The recovery point that a run took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<PointRecord>,
    /// What trying the locks of repositories showed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<LockProof>,
}

/// Backups of several sources that were taken as one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointRecord {
    pub mode: PointMode,
    /// In the order they were taken.
    pub members: Vec<SourceName>,
    /// Those that have no backup in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<SourceName>,
    /// From the oldest to the newest data of its members.
    pub spread_seconds: u64,
    /// How long the application was paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_seconds: Option<f64>,
}

/// Whether a store refused to delete what was locked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockProof {
    pub repository: RepositoryName,
    /// Where it was then.
    #[serde(default)]
    pub location: String,
    /// Of the lock that was tried: `governance`, `compliance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Why the lock protects nothing; absent where it held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuted: Option<String>,
}

/// A copy of a backup that was restored and passed every check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenCopy {
    pub backup: BackupId,
    pub repository: RepositoryName,
}

/// A run of a runbook, from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunbookRun {
    pub runbook: String,
    /// Of its text.
    pub sha256: Sha256Hex,
    /// The incident; absent in a drill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// `incident`, `rehearsal`, `drill`
    pub kind: String,
    pub by: String,
    /// Steps that were run, done or rehearsed.
    pub steps: Vec<String>,
    /// Steps that failed at least once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// The verb of records that say what a host and its stores can do.
pub const DOCTOR: &str = "doctor";
/// The verb of records of drills.
pub const DRILL: &str = "drill";
/// The verb of records that say what came of retention.
pub const RETENTION: &str = "retention";
/// The verb of records of tasks of the schedule that failed.
pub const RUN_DUE: &str = "run-due";
/// The verb of records that hold tombstones.
pub const TOMBSTONES: &str = "tombstones";

/// One backup that is removed from one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    pub backup: BackupId,
    pub repository: RepositoryName,
    /// Names of its objects, beside the manifest; empty where something else than drctl removed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<String>,
    pub reason: String,
}

/// Segments of one timeline that are removed from one repository: every file of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalRemoval {
    pub source: SourceName,
    pub repository: RepositoryName,
    pub system_identifier: SystemIdentifier,
    /// Names of the first and the last segment.
    pub first: String,
    pub last: String,
}

/// A snapshot or recovery point that is deleted from one region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudRemoval {
    pub backup: BackupId,
    pub region: String,
    pub arn: String,
    /// Vault of AWS Backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<String>,
    pub reason: String,
}

/// What tombstones say was removed on purpose, so that it is neither missed nor copied back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombstones {
    /// Whether any of them names the objects.
    backups: BTreeMap<(RepositoryName, BackupId), bool>,
    wal: Vec<WalRemoval>,
    /// By ARN.
    cloud: BTreeSet<(BackupId, String)>,
}

impl Tombstones {
    pub fn new<'r>(records: impl IntoIterator<Item = &'r JournalRecord>) -> Self {
        let mut tombstones = Self::default();
        for record in records {
            for one in &record.detail.removals {
                let key = (one.repository.clone(), one.backup.clone());
                *tombstones.backups.entry(key).or_default() |= !one.objects.is_empty();
            }
            tombstones.wal.extend(record.detail.wal_removals.iter().cloned());
            let cloud = record.detail.cloud_removals.iter();
            tombstones.cloud.extend(cloud.map(|one| (one.backup.clone(), one.arn.clone())));
        }
        tombstones
    }

    pub fn has_backup(&self, repository: &RepositoryName, backup: &BackupId) -> bool {
        self.backups.contains_key(&(repository.clone(), backup.clone()))
    }

    /// Whether it is written down already: another record of it says nothing new.
    pub fn has_removal(&self, removal: &Removal) -> bool {
        let known = self.backups.get(&(removal.repository.clone(), removal.backup.clone()));
        known.is_some_and(|names_objects| *names_objects || removal.objects.is_empty())
    }

    /// The same of WAL.
    pub fn has_wal_removal(&self, removal: &WalRemoval) -> bool {
        self.wal.iter().any(|known| {
            let (first, last) = (removal.first.as_str(), removal.last.as_str());
            let is_of_it = (&known.repository, &known.source) == (&removal.repository, &removal.source)
                && known.system_identifier == removal.system_identifier;
            // Names of one timeline sort as its segments do.
            let is_of_timeline = known.first.get(..8) == first.get(..8);
            is_of_it && is_of_timeline && known.first.as_str() <= first && last <= known.last.as_str()
        })
    }

    /// Whether a snapshot or recovery point of a backup was removed.
    pub fn has_cloud_copy(&self, backup: &BackupId, arn: &str) -> bool {
        self.cloud.contains(&(backup.clone(), arn.to_owned()))
    }

    /// Whether a file of WAL was removed from a repository, by its key.
    pub fn has_wal(&self, system: &SystemName, repository: &RepositoryName, key: &str) -> bool {
        let Some(key) = layout::parse_wal_key(system, key) else { return false };
        let segment = match key.name {
            WalName::History(_) => return false,
            WalName::Segment(segment) | WalName::Partial(segment) => segment,
            WalName::Piece { segment, .. } | WalName::BackupLabel { segment, .. } => segment,
        };
        self.has_segment(repository, &key.source, key.cluster, segment)
    }

    /// Whether a segment was removed from a repository.
    pub fn has_segment(
        &self,
        repository: &RepositoryName,
        source: &SourceName,
        cluster: SystemIdentifier,
        segment: Segment,
    ) -> bool {
        // Names of one timeline sort as its segments do.
        let (name, timeline) = (segment.to_string(), segment.timeline.in_names());
        self.wal.iter().any(|gone| {
            gone.repository == *repository
                && gone.source == *source
                && gone.system_identifier == cluster
                && gone.first.starts_with(&timeline)
                && (gone.first.as_str()..=gone.last.as_str()).contains(&name.as_str())
        })
    }
}

#[derive(Debug, Error)]
pub enum JournalError {
    #[error("failed to read the journal")]
    List(#[source] StoreError),
    #[error("failed to read the journal's record of run `{run}`")]
    Read { run: RunId, source: StoreError },
    #[error("failed to write the journal's record of run `{run}`")]
    Write { run: RunId, source: StoreError },
    #[error("failed to understand the journal's record of run `{run}`")]
    Json { run: RunId, source: serde_json::Error },
    #[error("failed to accept the journal's record of run `{run}`")]
    Format { run: RunId, source: FormatError },
    #[error("failed to accept the journal's record of run `{run}`: it is of run `{found}`")]
    OtherRun { run: RunId, found: RunId },
    #[error("failed to accept the journal's record of run `{run}`: it is not the one that is known of it")]
    Differs { run: RunId },
}

/// Returns the bytes of a record, the same for every repository.
pub(crate) fn serialise(record: &JournalRecord) -> Result<Bytes, JournalError> {
    let mut bytes = serde_json::to_vec_pretty(record)
        .map_err(|source| JournalError::Json { run: record.run.clone(), source })?;
    bytes.push(b'\n');
    Ok(Bytes::from(bytes))
}

/// Writes a record unchanged; an equal existing one is a success.
pub async fn write(
    store: &dyn Store,
    system: &SystemName,
    run: &RunId,
    bytes: Bytes,
) -> Result<(), JournalError> {
    let key = layout::journal_record(system, run);
    let refused = |source| JournalError::Write { run: run.clone(), source };
    match store.put(&key, bytes.clone(), &PutOptions::absent()).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind == StoreErrorKind::Exists => {
            match store.get(&key, RECORD_LIMIT).await.map_err(refused)?.0 == bytes {
                true => Ok(()),
                false => Err(refused(error)),
            }
        }
        Err(error) => Err(refused(error)),
    }
}

/// Lists the runs that have a record, oldest first.
pub async fn runs(store: &dyn Store, system: &SystemName) -> Result<Vec<RunId>, JournalError> {
    let objects = list_all(store, &layout::journal(system)).await.map_err(JournalError::List)?;
    let mut runs: Vec<_> =
        objects.iter().filter_map(|object| layout::parse_journal_record(&object.key)).collect();
    runs.sort();
    Ok(runs)
}

/// Reads a record, with its exact bytes.
pub async fn read(
    store: &dyn Store,
    system: &SystemName,
    run: &RunId,
) -> Result<(JournalRecord, Bytes), JournalError> {
    let (bytes, _) = store
        .get(&layout::journal_record(system, run), RECORD_LIMIT)
        .await
        .map_err(|source| JournalError::Read { run: run.clone(), source })?;
    Ok((parse(&bytes, run)?, bytes))
}

fn parse(bytes: &[u8], run: &RunId) -> Result<JournalRecord, JournalError> {
    #[derive(Deserialize)]
    struct Header {
        format: String,
    }
    let json = |source| JournalError::Json { run: run.clone(), source };
    let header: Header = serde_json::from_slice(bytes).map_err(json)?;
    let version = header.format.parse::<FormatVersion>().and_then(FormatVersion::readable);
    version.map_err(|source| JournalError::Format { run: run.clone(), source })?;
    let record: JournalRecord = serde_json::from_slice(bytes).map_err(json)?;
    if record.run == *run {
        Ok(record)
    } else {
        Err(JournalError::OtherRun { run: run.clone(), found: record.run })
    }
}

/// Finds the newest record, going back one month at a time, so that a long journal costs no long listing;
/// after two months without a run everything is listed.
pub(super) async fn newest(
    store: &dyn Store,
    system: &SystemName,
    run: &RunId,
) -> Result<Option<(Sha256Hex, BTreeSet<RepositoryName>)>, JournalError> {
    let before = run.begun().checked_sub_months(Months::new(1)).unwrap_or(run.begun() - Days::new(31));
    let mut newest = None;
    for prefix in [
        layout::journal_month(system, run.begun()),
        layout::journal_month(system, before),
        layout::journal(system),
    ] {
        let objects = list_all(store, &prefix).await.map_err(JournalError::List)?;
        newest = objects.iter().filter_map(|object| layout::parse_journal_record(&object.key)).max();
        if newest.is_some() {
            break;
        }
    }
    let Some(newest) = newest else { return Ok(None) };
    let (bytes, _) = store
        .get(&layout::journal_record(system, &newest), RECORD_LIMIT)
        .await
        .map_err(|source| JournalError::Read { run: newest.clone(), source })?;
    let named = parse(&bytes, &newest).map(|record| record.detail.repositories).unwrap_or_default();
    Ok(Some((Sha256Hex::digest(&bytes), named)))
}

/// Returns the repositories in the newest records, and the time of these.
pub async fn repositories(
    store: &dyn Store,
    system: &SystemName,
) -> Result<BTreeMap<RepositoryName, DateTime<Utc>>, JournalError> {
    let mut named = BTreeMap::new();
    for run in runs(store, system).await?.iter().rev().take(LOOKED_BACK) {
        let Ok((record, _)) = read(store, system, run).await else { continue };
        let checked = record.detail.checks.iter().map(|check| &check.repository);
        for name in record.detail.repositories.iter().chain(checked) {
            named.entry(name.clone()).or_insert(record.ended);
        }
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::fixtures::{noon, system};

    fn record(minutes: i64) -> JournalRecord {
        let begun = noon() + chrono::TimeDelta::minutes(minutes);
        JournalRecord {
            format: String::new(),
            run: RunId::new(begun, 1),
            verb: "backup".to_owned(),
            begun,
            ended: begun,
            host: "a".to_owned(),
            outcome: Outcome::Succeeded,
            previous: None,
            detail: Detail::default(),
        }
    }

    #[test]
    fn tombstones_name_backups_and_segments_of_one_repository() {
        let removal = Removal {
            backup: "20261120T030000Z-db-base-2222".parse().unwrap(),
            repository: "primary".parse().unwrap(),
            objects: vec![],
            reason: String::new(),
        };
        let wal = WalRemoval {
            source: "db".parse().unwrap(),
            repository: "primary".parse().unwrap(),
            system_identifier: SystemIdentifier(7),
            first: "000000010000000000000003".to_owned(),
            last: "0000000100000000000000FF".to_owned(),
        };
        let mut tombstone = record(0);
        tombstone.detail =
            Detail { removals: vec![removal.clone()], wal_removals: vec![wal], ..Detail::default() };
        let tombstones = Tombstones::new([&record(1), &tombstone]);
        let (primary, copy) = ("primary".parse().unwrap(), "copy".parse().unwrap());
        assert!(
            tombstones.has_backup(&primary, &removal.backup)
                && !tombstones.has_backup(&copy, &removal.backup)
        );
        let has = |repository: &RepositoryName, cluster: u64, name: &str| {
            let key = format!("shop/db/wal/{cluster}/{}/{name}.zst.age", &name[..8]);
            tombstones.has_wal(&system(), repository, &key)
        };
        assert!(has(&primary, 7, "000000010000000000000003") && has(&primary, 7, "00000001000000000000000A"));
        assert!(has(&primary, 7, "0000000100000000000000FF.00000028.backup"));
        assert!(
            !has(&primary, 7, "000000010000000000000002") && !has(&primary, 7, "000000010000000100000000")
        );
        assert!(!has(&copy, 7, "000000010000000000000003") && !has(&primary, 8, "000000010000000000000003"));
        assert!(!has(&primary, 7, "000000020000000000000004") && !has(&primary, 7, "00000002.history"));
    }
}
