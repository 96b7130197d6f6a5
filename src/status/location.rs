//! One source in one location: what can be restored, and obstacles.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::ObjectiveVerdict;
use crate::catalog::{BackupEntry, CopyEntry};
use crate::model::{AssuranceLevel, BackupId, Excluded, Location, RepositoryName};
use crate::recoverability::assess::LocationRecoverability;
use crate::recoverability::missing_copies::MissingCopy;
use crate::recoverability::region::{
    AutomatedReach, ForeignBackup, LiveDatabase, NewestPoint, RegionInventory,
};
use crate::recoverability::time_check::{is_dated_in_future, is_future};
use crate::recoverability::wal::{ForeignCluster, WalReach, WalStatus};
use crate::wal::TimelineDivergence;

/// One source in one location.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LocationStatus {
    #[serde(flatten)]
    pub location: Location,
    pub verdict: ObjectiveVerdict,
    /// The newest restorable backup there. A base backup counts only with the WAL it needs.
    pub newest: Option<Newest>,
    /// What archived WAL adds to it.
    pub log: Option<WalReach>,
    /// The range of RDS's automated backups there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automated: Option<AutomatedReach>,
    /// The newest recovery point of AWS Backup there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub point: Option<NewestPoint>,
    /// A file whose archiving was confirmed to the server, and that is missing.
    pub lost: Option<String>,
    /// What blocks the server's WAL, as reported by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled: Option<String>,
    /// The server is of another cluster than the base backups there, which do not restore it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stranger: Option<ForeignCluster>,
    /// Another database has the name now than the one of the newest AWS-managed backup there, which does not
    /// restore it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<ReplacedCluster>,
    /// The newest WAL is not of the server's own timeline, and does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<TimelineDivergence>,
    /// WAL files that were damaged when they were last read.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub bad_log: BTreeSet<String>,
    /// The time of the newest data that can be restored from this location alone.
    pub restorable_until: Option<DateTime<Utc>>,
    /// Seconds of data that would be lost by a restore from this location alone, now.
    pub loses_seconds: Option<u64>,
    /// A newer backup exists elsewhere.
    pub behind: bool,
    /// The number of copies there that the last check found damaged.
    pub bad: usize,
    /// The damaged backups, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bad_backups: Vec<BackupId>,
    /// Base backups there with damaged pages: as new as the one that counts, or that one itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<BackupId>,
    /// Backups there that are dated in the future: they do not count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub future: Vec<BackupId>,
    /// Backups that are missing there, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingCopy>,
    /// Newer base backups there that the archived WAL is not of, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_history: Vec<(BackupId, String)>,
    /// Why it is not known whether the WAL is of the server that the base backup that counts was taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unproven: Option<String>,
    /// Newer base backups there that are not restorable yet, and why.
    pub waiting: Vec<(BackupId, String)>,
    /// What the server has and the newest restorable backup there lacks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Excluded>,
}

impl LocationStatus {
    fn new(
        recoverable: &LocationRecoverability,
        verdict: ObjectiveVerdict,
        newest: Option<Newest>,
        objective: Objective,
    ) -> Self {
        Self {
            location: recoverable.location.clone(),
            verdict,
            newest,
            log: None,
            automated: None,
            point: None,
            lost: None,
            stalled: None,
            stranger: None,
            replaced: None,
            beside: None,
            bad_log: BTreeSet::new(),
            restorable_until: recoverable.newest(),
            loses_seconds: recoverable.age(objective.now).map(|age| age.as_secs()),
            behind: false,
            bad: 0,
            bad_backups: vec![],
            damaged: vec![],
            future: vec![],
            missing: vec![],
            other_history: vec![],
            unproven: None,
            waiting: vec![],
            left_out: vec![],
        }
    }

    /// Returns the time of the newest backup, drctl's or a plan's.
    pub(super) fn recovery_point(&self) -> Option<DateTime<Utc>> {
        let newest = self.newest.as_ref().map(|newest| newest.recovery_point);
        newest.max(self.point.as_ref().map(|point| point.created))
    }

    /// Returns whether the base backup that counts has damaged pages.
    pub(super) fn newest_is_damaged(&self) -> bool {
        self.log.as_ref().is_some_and(|log| self.damaged.contains(&log.base))
    }

    pub fn loses(&self) -> Option<Duration> {
        self.loses_seconds.map(Duration::from_secs)
    }
}

/// Two databases that had the name one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplacedCluster {
    /// The resource id of the current owner.
    pub live: String,
    /// The newest backup of the other one.
    #[serde(flatten)]
    pub kept: ForeignBackup,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Newest {
    pub backup: BackupId,
    pub recovery_point: DateTime<Utc>,
    pub state: AssuranceLevel,
}

/// The objective, and the time of the assessment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Objective {
    pub(super) rpo: Duration,
    pub(super) now: DateTime<Utc>,
}

/// Judges a source in a region. `own`: newest first. `live`: the current owner of the name, where known.
pub(super) fn in_region(
    recoverable: &LocationRecoverability,
    region: &RegionInventory,
    live: Option<&LiveDatabase>,
    own: &[&BackupEntry],
    objective: Objective,
) -> LocationStatus {
    let of_another = |entry: &BackupEntry| {
        let id = entry.manifest.managed.as_ref()?.resource_id.as_ref()?;
        live?
            .is_another_than(id)
            .then(|| ForeignBackup { resource_id: id.clone(), until: entry.manifest.recovery_point })
    };
    let others = own.iter().filter(|entry| region.backups.contains(entry.id()));
    let other = others.filter_map(|entry| of_another(entry)).chain(region.of_other.clone());
    let other = other.max_by_key(|other| other.until);
    let other = other.filter(|other| Some(other.until) > recoverable.newest());
    let replaced =
        live.zip(other).map(|(live, kept)| ReplacedCluster { live: live.resource_id.clone(), kept });
    let verdict = match recoverable.age(objective.now) {
        _ if recoverable.is_unknown => ObjectiveVerdict::NotReached,
        None if replaced.is_some() => ObjectiveVerdict::OtherCluster,
        age => ObjectiveVerdict::of_age(age, objective.rpo),
    };
    let newest = newest(recoverable, own, BackupEntry::state);
    let there = own.iter().filter(|entry| region.backups.contains(entry.id()));
    LocationStatus {
        future: dated_in_future(there, objective),
        automated: region.automated,
        point: region.point.clone(),
        replaced,
        ..LocationStatus::new(recoverable, verdict, newest, objective)
    }
}

/// Judges a source in a repository. `own`: newest first. `archive`: its WAL there, where it was queried.
pub(super) fn in_repository(
    recoverable: &LocationRecoverability,
    repository: &RepositoryName,
    own: &[&BackupEntry],
    archive: Option<&WalStatus>,
    objective: Objective,
) -> LocationStatus {
    let known = archive.cloned().unwrap_or_default();
    let verdict = match recoverable.age(objective.now) {
        _ if recoverable.is_unknown => ObjectiveVerdict::NotReached,
        Some(age) if age > objective.rpo => ObjectiveVerdict::ObjectiveMissed,
        None if known.stranger.is_some() => ObjectiveVerdict::OtherCluster,
        Some(_) if known.lost.is_some() => ObjectiveVerdict::Lost,
        Some(_) if !known.bad.is_empty() => ObjectiveVerdict::BadLog,
        Some(_) if recoverable.windows.iter().any(|window| window.gap.is_some()) => ObjectiveVerdict::Gap,
        Some(_) if known.stalled.is_some() => ObjectiveVerdict::Stalled,
        age => ObjectiveVerdict::of_age(age, objective.rpo),
    };
    let state = |entry: &BackupEntry| entry.copy(repository).map(|copy| copy.state);
    let newest = newest(recoverable, own, state);
    let is_bad = |copy: &CopyEntry| copy.is_held() && !copy.is_good();
    let bad = own.iter().filter(|entry| entry.copy(repository).is_some_and(is_bad));
    let bad: Vec<_> = bad.map(|entry| entry.id().clone()).collect();
    let good = own.iter().filter(|entry| entry.copy(repository).is_some_and(CopyEntry::is_good));
    let mut future = dated_in_future(good, objective);
    // WAL is dated by other clocks than its base backup.
    future.extend(
        known
            .reach
            .iter()
            .filter(|reach| is_future(reach.until, objective.now))
            .map(|reach| reach.base.clone()),
    );
    let of_newest = own.iter().find(|entry| Some(entry.id()) == recoverable.newest_backup());
    let physical = of_newest.and_then(|entry| entry.manifest.physical.as_ref());
    LocationStatus {
        bad: bad.len(),
        bad_backups: bad,
        damaged: known.damaged,
        future,
        left_out: physical.map(|physical| physical.left_out.clone()).unwrap_or_default(),
        log: known.reach,
        lost: known.lost,
        stalled: known.stalled,
        stranger: known.stranger,
        beside: known.beside,
        bad_log: known.bad,
        other_history: known.other_history,
        unproven: known.unproven,
        waiting: known.waiting,
        ..LocationStatus::new(recoverable, verdict, newest, objective)
    }
}

fn dated_in_future<'e>(
    entries: impl Iterator<Item = &'e &'e BackupEntry>,
    objective: Objective,
) -> Vec<BackupId> {
    let future = entries.filter(|entry| is_dated_in_future(&entry.manifest, objective.now));
    future.map(|entry| entry.id().clone()).collect()
}

fn newest(
    recoverable: &LocationRecoverability,
    own: &[&BackupEntry],
    state: impl Fn(&BackupEntry) -> Option<AssuranceLevel>,
) -> Option<Newest> {
    let backup = recoverable.newest_backup()?;
    let entry = own.iter().find(|entry| entry.id() == backup)?;
    let recovery_point = entry.manifest.recovery_point;
    Some(Newest { backup: backup.clone(), recovery_point, state: state(entry)? })
}
