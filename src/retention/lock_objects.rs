//! Has stores lock objects of backups that stay, and hold those that are on hold.
//!
//! The manifest comes last: where it is locked so long, so is everything that it needs.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use serde::Serialize;

use super::hold_store::Holds;
use super::holding::Hold;
use super::lock_plan::PlannedLock;
use super::plan::RetentionPlan;
use super::refusal::RefusalCode;
use super::report::{ApplyReport, FailedLock, LockedBackup};
use crate::catalog::BackupEntry;
use crate::model::{
    BackupId, Encoding, Location, Manifest, RepositoryName, Segment, SystemName, WalName, parent,
};
use crate::repository::{Repository, layout};
use crate::run::RunContext;
use crate::store::{Lock, StoreAdmin, StoreError, StoreErrorKind, require_admin};
use crate::text::error_chain;
use crate::wal::Archive;

/// Objects that are locked at once.
const AT_ONCE: usize = 8;
/// A lock that ends so little earlier is long enough.
const LENIENCE: TimeDelta = TimeDelta::hours(1);

/// Extends the locks that end before the plan says so. Not where the rules are new and nobody confirmed them: a lock
/// cannot be taken back.
pub(super) async fn extend_locks(
    run: &RunContext,
    plan: &RetentionPlan,
    entries: &[BackupEntry],
    is_confirmed: bool,
    report: &mut ApplyReport,
) {
    for planned in &plan.locks {
        if run.cancel.is_cancelled() {
            return;
        }
        if !may_lock(plan, planned, is_confirmed) {
            continue;
        }
        let repository = run.repositories.writable().find(|one| one.name == planned.repository);
        let entry = entries.iter().find(|entry| *entry.id() == planned.backup);
        let Some((repository, entry)) = repository.zip(entry) else { continue };
        let location = Location::Repository(planned.repository.clone());
        match extend(repository, &run.system, &entry.manifest, planned).await {
            Ok(false) => {}
            Ok(true) => report.extended.push(LockedBackup {
                location,
                backup: planned.backup.clone(),
                until: Some(planned.until),
            }),
            Err(error) => report.failed_locks.push(FailedLock {
                location,
                backup: planned.backup.clone(),
                reason: error_chain(&error),
            }),
        }
    }
}

fn may_lock(plan: &RetentionPlan, planned: &PlannedLock, is_confirmed: bool) -> bool {
    let of_repository = plan.repositories.iter().filter(|(name, _)| *name == planned.repository);
    let mut refusals = plan.refusals.iter().chain(of_repository.flat_map(|(_, refusals)| refusals));
    !refusals.any(|refusal| match refusal.code {
        RefusalCode::RulesChanged => !is_confirmed,
        RefusalCode::ClockSkew => true,
        _ => false,
    })
}

/// Returns whether it was locked less long before.
async fn extend(
    repository: &Repository,
    system: &SystemName,
    manifest: &Manifest,
    planned: &PlannedLock,
) -> Result<bool, StoreError> {
    let admin = require_admin(&*repository.store)?;
    let key = layout::manifest(system, &manifest.id);
    let least = planned.until - LENIENCE;
    let is_manifest_locked = !is_locked_less(admin, &key, least).await?;
    let mut keys = needed_keys(system, manifest);
    if is_manifest_locked {
        // Objects have the lock of their manifest from their upload on; WAL has one for the window alone.
        let checks = required_wal(system, manifest).into_iter();
        let checks = checks.map(|key| async move { Ok((is_locked_less(admin, &key, least).await?, key)) });
        let checked: Vec<Result<(bool, String), StoreError>> =
            futures_util::stream::iter(checks).buffer_unordered(AT_ONCE).collect().await;
        let checked = checked.into_iter().collect::<Result<Vec<_>, _>>()?;
        keys = checked.into_iter().filter(|(is_less, _)| *is_less).map(|(_, key)| key).collect();
    }
    if is_manifest_locked && keys.is_empty() {
        return Ok(false);
    }
    let lock = Lock { mode: planned.mode, until: planned.until };
    let mut placing = futures_util::stream::iter(keys)
        .map(|key| async move { admin.place_lock(&key, lock).await })
        .buffer_unordered(AT_ONCE);
    while let Some(placed) = placing.next().await {
        placed?;
    }
    drop(placing);
    admin.place_lock(&key, lock).await?;
    Ok(true)
}

async fn is_locked_less(admin: &dyn StoreAdmin, key: &str, least: DateTime<Utc>) -> Result<bool, StoreError> {
    Ok(admin.retained_until(key).await?.is_none_or(|until| until < least))
}

/// What came of holding the objects of one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldObjects {
    pub repository: RepositoryName,
    /// Objects that the store does not delete while they are on hold, or does again.
    pub objects: u64,
    /// This host may not have the store hold objects: only retention keeps them.
    pub is_denied: bool,
    /// Why not all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// Has the stores that can hold the objects of backups, and of what they build on, or release them. `is_of_it`: the backups
/// of the hold; `keeps_on`: those that another hold keeps. Repositories whose store cannot are not named.
pub async fn hold_objects<'r>(
    repositories: impl Iterator<Item = &'r Repository>,
    system: &SystemName,
    entries: &[BackupEntry],
    is_held: bool,
    is_of_it: impl Fn(&BackupId) -> bool,
    keeps_on: impl Fn(&BackupId) -> bool,
) -> Vec<HeldObjects> {
    let of_it = with_parents(entries, is_of_it);
    let kept = if is_held { vec![] } else { with_parents(entries, keeps_on) };
    // Base backups that were taken at the same time share WAL.
    let stays: BTreeSet<String> = kept.iter().flat_map(|entry| all_keys(system, entry)).collect();
    let mut outcomes = Vec::new();
    for repository in repositories {
        let Ok(admin) = require_admin(&*repository.store) else { continue };
        let mut outcome =
            HeldObjects { repository: repository.name.clone(), objects: 0, is_denied: false, failed: None };
        match admin.protection().await {
            Ok(protection) if protection.locks_objects == Some(true) => {}
            Ok(_) => continue,
            Err(error) => {
                outcome.failed = Some(error_chain(&error));
                outcomes.push(outcome);
                continue;
            }
        }
        let there = of_it.iter().filter(|entry| {
            let is_there = entry.copy(&repository.name).is_some_and(|copy| copy.is_held());
            is_there && !kept.iter().any(|kept| kept.id() == entry.id())
        });
        let keys: BTreeSet<String> = there.flat_map(|entry| all_keys(system, entry)).collect();
        let keys: Vec<String> = keys.into_iter().filter(|key| !stays.contains(key)).collect();
        let mut setting = futures_util::stream::iter(keys)
            .map(|key| async move { admin.set_legal_hold(&key, is_held).await })
            .buffer_unordered(AT_ONCE);
        while let Some(set) = setting.next().await {
            match set {
                Ok(()) => outcome.objects += 1,
                // Of WAL that is not there none can be deleted.
                Err(error) if error.kind == StoreErrorKind::NotFound => {}
                Err(error) if error.kind == StoreErrorKind::Forbidden => outcome.is_denied = true,
                Err(error) => outcome.failed = outcome.failed.or_else(|| Some(error_chain(&error))),
            }
        }
        drop(setting);
        outcomes.push(outcome);
    }
    outcomes
}

/// Returns a hold that kept a backup and is over or was released, whose store was not told.
pub(super) fn ended_hold<'h>(
    holds: &'h Holds,
    entries: &[BackupEntry],
    backup: &BackupId,
) -> Option<&'h Hold> {
    let keeps =
        |hold: &&Hold| with_parents(entries, |id| hold.keeps(id)).iter().any(|kept| kept.id() == backup);
    holds.all.iter().rev().find(keeps)
}

/// Returns these backups, and all that they build on.
fn with_parents(entries: &[BackupEntry], is_meant: impl Fn(&BackupId) -> bool) -> Vec<&BackupEntry> {
    let mut found: Vec<&BackupEntry> = entries.iter().filter(|entry| is_meant(entry.id())).collect();
    let mut known: BTreeSet<&BackupId> = found.iter().map(|entry| entry.id()).collect();
    let mut n = 0;
    while let Some(child) = found.get(n).copied() {
        let parent =
            parent(&child.manifest).and_then(|parent| entries.iter().find(|entry| entry.id() == parent));
        found.extend(parent.filter(|parent| known.insert(parent.id())));
        n += 1;
    }
    found
}

fn all_keys(system: &SystemName, entry: &BackupEntry) -> Vec<String> {
    let mut keys = needed_keys(system, &entry.manifest);
    keys.push(layout::manifest(system, entry.id()));
    keys
}

/// Returns the keys of everything that a backup is restored from, beside its manifest and what it builds on.
fn needed_keys(system: &SystemName, manifest: &Manifest) -> Vec<String> {
    let objects = manifest.artifacts.iter().flat_map(|artifact| &artifact.objects);
    let mut keys: Vec<String> =
        objects.map(|object| layout::object(system, &manifest.id, &object.name)).collect();
    keys.extend(required_wal(system, manifest));
    keys
}

/// Returns the keys of the WAL between the start and the stop of a base backup.
fn required_wal(system: &SystemName, manifest: &Manifest) -> Vec<String> {
    let (Some(physical), Some(cluster)) = (&manifest.physical, manifest.cluster()) else { return vec![] };
    let archive = Archive { system: system.clone(), source: manifest.source.clone(), cluster };
    let is_encrypted = manifest.artifacts.iter().any(|artifact| artifact.encoding.contains(&Encoding::Age));
    let suffix = if is_encrypted { ".zst.age" } else { ".zst" };
    let size = physical.segment_size;
    let last_byte = crate::model::Lsn(physical.stop.0.saturating_sub(1)).max(physical.start);
    let segments = size.number_of(physical.start)..=size.number_of(last_byte);
    let key = |number| {
        let segment = Segment::new(physical.timeline, number, size);
        archive.key(WalName::Segment(segment), suffix)
    };
    segments.map(key).collect()
}
