//! Has stores lock objects of backups that stay, and hold those that are on hold.
//!
//! The manifest comes last: where it is locked so long, so is everything that it needs.

use chrono::TimeDelta;
use futures_util::StreamExt as _;
use serde::Serialize;

use super::lock_plan::PlannedLock;
use super::plan::RetentionPlan;
use super::refusal::RefusalCode;
use super::report::{ApplyReport, FailedLock, LockedBackup};
use crate::catalog::BackupEntry;
use crate::model::{BackupId, Encoding, Location, Manifest, RepositoryName, Segment, SystemName, WalName};
use crate::repository::{Repository, layout};
use crate::run::RunContext;
use crate::store::{Lock, StoreError, StoreErrorKind, require_admin};
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
    if admin.locked_until(&key).await?.is_some_and(|until| until >= planned.until - LENIENCE) {
        return Ok(false);
    }
    let lock = Lock { mode: planned.mode, until: planned.until };
    let mut placing = futures_util::stream::iter(needed_keys(system, manifest))
        .map(|key| async move { admin.place_lock(&key, lock).await })
        .buffer_unordered(AT_ONCE);
    while let Some(placed) = placing.next().await {
        placed?;
    }
    drop(placing);
    admin.place_lock(&key, lock).await?;
    Ok(true)
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

/// Has the stores that can hold the objects of backups, or release them. `keeps_on`: backups that another hold keeps.
/// Repositories whose store cannot are not named.
pub async fn hold_objects<'r>(
    repositories: impl Iterator<Item = &'r Repository>,
    system: &SystemName,
    entries: &[&BackupEntry],
    is_held: bool,
    keeps_on: impl Fn(&BackupId) -> bool,
) -> Vec<HeldObjects> {
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
        let there = entries.iter().filter(|entry| {
            entry.copy(&repository.name).is_some_and(|copy| copy.is_held())
                && (is_held || !keeps_on(entry.id()))
        });
        let keys = there.flat_map(|entry| {
            let mut keys = needed_keys(system, &entry.manifest);
            keys.push(layout::manifest(system, entry.id()));
            keys
        });
        let keys: Vec<String> = keys.collect();
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
