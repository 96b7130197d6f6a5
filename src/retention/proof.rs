//! What one source can be restored to from one repository alone: before anything is removed, and after. Pure.
//!
//! Times up to which WAL leads are when its last segment was written, by the store's clock: that is all that someone
//! who may not read backups can know.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::holding::{HeldBackup, HeldWal, WalFile};
use super::wal_runs::{RunEnd, WalRuns};
use crate::model::{BackupId, SystemIdentifier, WalName};
use crate::recoverability::window::RecoveryWindow;

/// What can be restored, and what it takes up.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Proof {
    pub backups: u64,
    /// Those that can be restored.
    pub good_backups: u64,
    /// Those of them that need no other backup.
    pub independent: u64,
    pub oldest_point: Option<DateTime<Utc>>,
    pub newest_point: Option<DateTime<Utc>>,
    pub newest_backup: Option<BackupId>,
    /// Any time in them can be recovered. The newest first.
    pub windows: Vec<RecoveryWindow>,
    pub wal_files: u64,
    pub bytes: u64,
    /// Those that can be restored.
    #[serde(skip)]
    pub good: BTreeSet<BackupId>,
}

impl Proof {
    /// Returns up to when data can be brought back.
    pub fn newest(&self) -> Option<DateTime<Utc>> {
        self.windows.iter().map(|window| window.until).chain(self.newest_point).max()
    }
}

/// A base backup that can be restored, where recovery from it comes to, and when the last WAL on that way was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReachedBase<'h> {
    pub(super) base: &'h HeldBackup,
    pub(super) end: RunEnd,
    pub(super) until: DateTime<Utc>,
}

/// Assesses what these backups and the WAL that `stays` bring back.
pub(super) fn assess(
    backups: &[&HeldBackup],
    wal: &[HeldWal],
    stays: &impl Fn(SystemIdentifier, &WalFile) -> bool,
    now: DateTime<Utc>,
) -> Proof {
    let runs: BTreeMap<SystemIdentifier, WalRuns> =
        wal.iter().map(|wal| (wal.cluster, WalRuns::new(wal, |file| stays(wal.cluster, file)))).collect();
    let good = good_backups(backups, &runs);
    let mut proof = Proof { backups: backups.len() as u64, ..Proof::default() };
    proof.bytes = backups.iter().map(|backup| backup.bytes).sum();
    for wal in wal {
        for file in wal.files.iter().filter(|file| stays(wal.cluster, file)) {
            proof.wal_files += 1;
            proof.bytes += file.bytes;
        }
    }
    let restorable = || backups.iter().filter(|backup| good.contains(&backup.id));
    let points = || restorable().filter(|backup| backup.recovery_point <= now);
    proof.good_backups = good.len() as u64;
    proof.independent = restorable().filter(|backup| parent(backup).is_none()).count() as u64;
    proof.oldest_point = points().map(|backup| backup.recovery_point).min();
    let newest = points().max_by_key(|backup| (backup.recovery_point, &backup.id));
    proof.newest_point = newest.map(|backup| backup.recovery_point);
    proof.newest_backup = newest.map(|backup| backup.id.clone());
    for wal in wal {
        let Some(runs) = runs.get(&wal.cluster) else { continue };
        let bases: Vec<_> = restorable().copied().filter(|base| base.cluster == Some(wal.cluster)).collect();
        proof.windows.extend(windows(&reached(&bases, wal, runs)));
    }
    proof.windows.sort_by_key(|window| std::cmp::Reverse((window.until, window.from)));
    proof.good = good.into_iter().cloned().collect();
    proof
}

/// Returns the backups that can be restored: not known to be bad, with everything they build on, and with the WAL
/// that they need.
pub(super) fn good_backups<'h>(
    backups: &[&'h HeldBackup],
    runs: &BTreeMap<SystemIdentifier, WalRuns>,
) -> BTreeSet<&'h BackupId> {
    let mut bases: Vec<&HeldBackup> =
        backups.iter().copied().filter(|backup| backup.physical.is_some()).collect();
    // What builds on another one begins after it.
    bases.sort_by_key(|base| base.physical.as_ref().map(|physical| physical.start));
    let mut whole: BTreeMap<&BackupId, &HeldBackup> = BTreeMap::new();
    let mut good: BTreeSet<&BackupId> = BTreeSet::new();
    for base in bases {
        let Some(physical) = &base.physical else { continue };
        let has_parent = base.parent.as_ref().is_none_or(|parent| {
            whole.get(parent).is_some_and(|parent| {
                let starts = parent.physical.as_ref().map(|parent| parent.start);
                parent.cluster.is_some()
                    && parent.cluster == base.cluster
                    && parent.major == base.major
                    && starts < Some(physical.start)
            })
        });
        if base.is_bad || !has_parent {
            continue;
        }
        whole.insert(&base.id, base);
        let runs = base.cluster.and_then(|cluster| runs.get(&cluster));
        if runs.is_some_and(|runs| runs.covers(physical)) {
            good.insert(&base.id);
        }
    }
    let mut others: Vec<&HeldBackup> =
        backups.iter().copied().filter(|backup| backup.physical.is_none() && !backup.is_bad).collect();
    others.sort_by_key(|backup| &backup.id);
    for backup in others {
        if backup.parent.as_ref().is_none_or(|parent| good.contains(parent)) {
            good.insert(&backup.id);
        }
    }
    good
}

fn parent(backup: &HeldBackup) -> Option<&BackupId> {
    backup.parent.as_ref()
}

/// `bases`: of the cluster, and restorable.
pub(super) fn reached<'h>(bases: &[&'h HeldBackup], wal: &HeldWal, runs: &WalRuns) -> Vec<ReachedBase<'h>> {
    let ends: Vec<(&HeldBackup, RunEnd)> =
        bases.iter().filter_map(|base| Some((*base, runs.reach(base.physical.as_ref()?)))).collect();
    let mut written: BTreeMap<RunEnd, Option<DateTime<Utc>>> =
        ends.iter().map(|(_, end)| (*end, None)).collect();
    for file in &wal.files {
        let WalName::Segment(segment) = file.name else { continue };
        let Some(number) = segment.number(wal.segment_size) else { continue };
        if let Some(at) = written.get_mut(&RunEnd { timeline: segment.timeline, next: number + 1 }) {
            *at = Some(file.modified);
        }
    }
    ends.into_iter()
        .map(|(base, end)| {
            let at = written.get(&end).copied().flatten();
            ReachedBase { base, end, until: at.unwrap_or(base.recovery_point).max(base.recovery_point) }
        })
        .collect()
}

/// Bases from which recovery comes to the same end share a window, which the oldest begins.
fn windows(bases: &[ReachedBase<'_>]) -> Vec<RecoveryWindow> {
    let mut lines: BTreeMap<RunEnd, RecoveryWindow> = BTreeMap::new();
    for reached in bases {
        let (from, until) = (reached.base.recovery_point, reached.until);
        let window = lines.entry(reached.end).or_insert_with(|| RecoveryWindow {
            from: Some(from),
            until,
            backup: Some(reached.base.id.clone()),
            gap: None,
        });
        window.until = window.until.max(until);
        if Some(from) < window.from {
            (window.from, window.backup) = (Some(from), Some(reached.base.id.clone()));
        }
    }
    lines.into_values().collect()
}

/// Returns a time since `since` that could be recovered before and cannot be after.
pub(super) fn lost_time(before: &Proof, after: &Proof, since: DateTime<Utc>) -> Option<DateTime<Utc>> {
    for window in &before.windows {
        let mut at = window.from.unwrap_or(since).max(since);
        while at <= window.until {
            let covering = after.windows.iter().filter(|window| window.contains(at));
            match covering.map(|window| window.until).max() {
                None => return Some(at),
                Some(until) if until >= window.until => break,
                // Its end is covered; the next instant may not be.
                Some(until) => at = until + chrono::TimeDelta::nanoseconds(1),
            }
        }
    }
    None
}
