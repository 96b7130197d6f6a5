//! Completes copies: backups that one repository holds and another lacks are copied unchanged, without keys.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

use crate::catalog::{BackupEntry, BackupHistory, CopyEntry};
use crate::event::{Event, Phase};
use crate::model::{
    BackupId, CheckDepth, CopyCheck, CopyFault, Manifest, ObjectFault, Outcome, RepositoryName, RunId,
    SourceName,
};
use crate::pipeline::Identities;
use crate::policy::Transfer;
use crate::repository::journal::{self, Detail, JournalError};
use crate::repository::{
    Copier, CopyOutcome, ManifestError, ObjectCopyError, Repositories, Repository, Unavailable, layout,
    manifest,
};
use crate::run::RunContext;
use crate::store::PutOptions;
use crate::text::error_chain;
use crate::verify::read_copy::{Examined, examine};

/// The verb of the journal's records.
pub const VERB: &str = "copies-sync";

/// A backup that a repository lacks, completely or in part.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncItem {
    pub manifest: Manifest,
    pub to: RepositoryName,
    /// Its manifest exists, and the last check found objects missing or altered: objects that differ from
    /// what was stored are replaced, and the copy is verified afterwards.
    pub is_repair: bool,
    /// Why it cannot be repaired from another copy.
    pub unrepairable: Option<String>,
    /// Repositories with a copy not known to be damaged, best verified first.
    pub from: Vec<RepositoryName>,
}

/// Plans the missing copies, oldest backup first: an interrupted run leaves no gap.
///
/// `names`: the policy's reachable repositories, in its order. What was removed on purpose is not copied
/// again.
pub fn plan(entries: &[BackupEntry], names: &[RepositoryName], history: &BackupHistory) -> Vec<SyncItem> {
    let mut items = Vec::new();
    for entry in entries {
        let mut good: Vec<_> =
            names.iter().filter_map(|name| entry.copy(name).filter(|copy| copy.is_good())).collect();
        good.sort_by_key(|copy| std::cmp::Reverse(copy.state));
        let from: Vec<_> = good.into_iter().map(|copy| copy.repository.clone()).collect();
        for to in names {
            let held = entry.copy(to).filter(|copy| copy.is_held());
            let is_repair = held.is_some_and(|copy| !copy.is_good());
            let is_wanted = held.is_none() && !history.is_removed(entry.id(), to);
            if entry.is_held() && (is_wanted || is_repair) {
                let (manifest, to, from) = (entry.manifest.clone(), to.clone(), from.clone());
                let unrepairable = held.and_then(not_repairable);
                items.push(SyncItem { manifest, to, is_repair, unrepairable, from });
            }
        }
    }
    items.sort_by(|a, b| a.manifest.id.cmp(&b.manifest.id));
    items
}

/// Returns why other copies do not help; `None`: they do, or nothing is wrong with it.
fn not_repairable(copy: &CopyEntry) -> Option<String> {
    let faults = copy.last_check.as_ref().map(|check| check.faults.as_slice()).unwrap_or_default();
    let of_its_own = |fault: &&ObjectFault| {
        fault.fault == CopyFault::Undecodable
            || (fault.object == layout::MANIFEST && fault.fault != CopyFault::Missing)
    };
    let fault = faults.iter().find(of_its_own)?;
    Some(match fault.fault {
        CopyFault::Undecodable => {
            format!("`{}` was stored as it is, and cannot be decoded: every copy is the same", fault.object)
        }
        _ => {
            format!("`{}` there is not the one that is known, and a manifest is never replaced", fault.object)
        }
    })
}

#[derive(Debug, Error)]
pub enum SyncError {
    #[error("the copy is bad and cannot be repaired: {0}")]
    Unrepairable(String),
    #[error("failed to find a good copy in a repository that can be reached")]
    NoSource,
    #[error("failed to accept the manifest in `{repository}`")]
    Manifest { repository: RepositoryName, source: ManifestError },
    #[error("failed to accept the manifest in `{0}`: it is not the one that is known of this backup")]
    OtherManifest(RepositoryName),
    #[error("failed to copy from `{from}` to `{to}`")]
    Copy { from: RepositoryName, to: RepositoryName, source: ObjectCopyError },
    #[error("failed to commit the copy")]
    Commit(#[source] ManifestError),
    #[error("failed to go on: the run was interrupted")]
    Interrupted,
}

/// The result of one item.
#[derive(Debug)]
pub struct SyncedBackup {
    pub backup: BackupId,
    pub to: RepositoryName,
    /// The copy existed, and was damaged.
    pub is_repair: bool,
    pub result: Result<BackupCopy, SyncError>,
    /// The failures of other sources that were tried before.
    pub tried: Vec<SyncError>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupCopy {
    pub from: RepositoryName,
    /// Stored bytes that were sent.
    pub bytes: u64,
    /// Objects that existed already, unchanged.
    pub stood: usize,
    /// Objects that differed from what was stored, and were replaced.
    pub replaced: usize,
}

#[derive(Debug)]
pub struct SyncReport {
    pub backups: Vec<SyncedBackup>,
    /// Journal records that were copied.
    pub records: usize,
    /// Records that could not be copied, as text.
    pub records_failed: Vec<String>,
    pub interrupted: bool,
    pub unrecorded: Vec<Unavailable>,
}

impl SyncReport {
    pub fn is_complete(&self) -> bool {
        !self.interrupted
            && self.records_failed.is_empty()
            && self.backups.iter().all(|synced| synced.result.is_ok())
    }
}

/// Copies the planned backups, then the journal's records that a repository lacks, and records the run.
///
/// `run.repositories` must come from [`Repositories::for_writing`]: the marker has to exist first. `locks`:
/// how the objects of each source are written to each repository; [`PutOptions::absent`] for those not listed.
pub async fn execute(
    run: &RunContext,
    plan: Vec<SyncItem>,
    transfer: Transfer,
    locks: &[(SourceName, RepositoryName, PutOptions)],
) -> SyncReport {
    run.events.emit(&Event::RunBegan { run: run.id.clone(), verb: VERB });
    let copier_for = |item: &SyncItem| {
        let repository = run.repositories.find(&item.to)?;
        let lock = locks
            .iter()
            .find(|(source, name, _)| *source == item.manifest.source && *name == repository.name);
        let options = lock.map_or_else(PutOptions::absent, |(.., options)| options.clone());
        Some(Copier::new(repository.clone(), transfer, options, run.cancel.clone()))
    };
    let mut backups = Vec::with_capacity(plan.len());
    let mut checks = Vec::new();
    for item in plan {
        if run.cancel.is_cancelled() {
            break;
        }
        let mut tried = Vec::new();
        let copier = copier_for(&item);
        let result = match &copier {
            Some(copier) => sync(run, copier, &item, &mut tried).await,
            None => Err(SyncError::NoSource),
        };
        let mut result = result;
        if let (true, Ok(_), Some(copier)) = (item.is_repair, &result, &copier) {
            let check = check_again(run, copier.repository(), &item.manifest).await;
            let left = match &check {
                None => Some("it could not be read again after it was copied".to_owned()),
                Some(check) => check.faults.first().map(|fault| {
                    format!("`{}` is {} after it was copied", fault.object, fault.fault.as_str())
                }),
            };
            if let Some(left) = left {
                result = Err(SyncError::Unrepairable(left));
            }
            checks.extend(check);
        }
        backups.push(SyncedBackup {
            backup: item.manifest.id,
            to: item.to,
            is_repair: item.is_repair,
            result,
            tried,
        });
    }
    let (mut records, mut records_failed) = (0, Vec::new());
    if !run.cancel.is_cancelled() {
        records = sync_journal(run, &mut records_failed).await;
    }

    let failures = backups.iter().filter_map(|synced| {
        let error = synced.result.as_ref().err()?;
        Some(format!("{}: {}: {}", synced.to, synced.backup, error_chain(error)))
    });
    let reasons: Vec<_> = failures.chain(records_failed.iter().cloned()).collect();
    let done = backups.iter().filter(|synced| synced.result.is_ok());
    let done: BTreeSet<_> = done.map(|synced| synced.backup.clone()).collect();
    let interrupted = run.cancel.is_cancelled();
    let outcome = match () {
        () if interrupted => Outcome::Interrupted,
        () if reasons.is_empty() => Outcome::Succeeded,
        () if done.is_empty() => Outcome::Failed,
        () => Outcome::Degraded,
    };
    let detail = Detail { checks, backups: done.into_iter().collect(), reasons, ..Detail::default() };
    let unrecorded = run.conclude(VERB, outcome, detail).await;
    SyncReport { backups, records, records_failed, interrupted, unrecorded }
}

async fn sync(
    run: &RunContext,
    copier: &Copier,
    item: &SyncItem,
    tried: &mut Vec<SyncError>,
) -> Result<BackupCopy, SyncError> {
    if let Some(reason) = &item.unrepairable {
        return Err(SyncError::Unrepairable(reason.clone()));
    }
    let mut last = SyncError::NoSource;
    for name in &item.from {
        let Some(from) = run.repositories.find(name) else { continue };
        match copy_backup(run, copier, from, item).await {
            Ok(copied) => {
                let holders = [item.to.clone()];
                if let Some(catalog) = &run.catalog
                    && let Err(error) = catalog.record_backup(&item.manifest, &holders).await
                {
                    run.events.warning(format!(
                        "the catalog does not know {} in {} yet: {}",
                        item.manifest.id,
                        item.to,
                        error_chain(&error)
                    ));
                }
                return Ok(copied);
            }
            // Only a failure of the source may be avoided with another one.
            Err(
                error @ (SyncError::Manifest { .. }
                | SyncError::OtherManifest(_)
                | SyncError::Copy { source: ObjectCopyError::Source(_), .. }),
            ) => {
                if !matches!(last, SyncError::NoSource) {
                    tried.push(last);
                }
                last = error;
            }
            Err(SyncError::Copy { source: ObjectCopyError::Interrupted, .. }) => {
                return Err(SyncError::Interrupted);
            }
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

async fn copy_backup(
    run: &RunContext,
    copier: &Copier,
    from: &Repository,
    item: &SyncItem,
) -> Result<BackupCopy, SyncError> {
    let expected = &item.manifest;
    let (to, id) = (copier.repository(), &expected.id);
    let refused = |source| SyncError::Manifest { repository: from.name.clone(), source };
    // The exact bytes: a manifest is the same in every repository.
    let (standing, bytes) = manifest::read(&*from.store, &run.system, id).await.map_err(refused)?;
    manifest::check_writable(&standing).map_err(refused)?;
    if standing != *expected {
        return Err(SyncError::OtherManifest(from.name.clone()));
    }
    run.events.emit(&Event::PhaseBegan { phase: Phase::Copy });
    let folder = layout::backup(&run.system, id);
    let (total, done) = (expected.stored_size(), AtomicU64::new(0));
    let progress = |more: u64| {
        let bytes = done.fetch_add(more, Ordering::Relaxed) + more;
        let subject = format!("{} {id}", to.name);
        run.events.emit(&Event::Progress { subject, bytes, total: Some(total), estimated: false });
    };
    let failed = |source| SyncError::Copy { from: from.name.clone(), to: to.name.clone(), source };
    let mut copied = BackupCopy { from: from.name.clone(), bytes: 0, stood: 0, replaced: 0 };
    for object in expected.artifacts.iter().flat_map(|artifact| &artifact.objects) {
        let kept = match item.is_repair {
            true => copier.repair(from, &folder, object, &progress).await,
            false => copier.copy(from, &folder, object, &progress).await,
        };
        match kept.map_err(failed)? {
            CopyOutcome::Copied => copied.bytes += object.stored.size,
            CopyOutcome::Replaced => {
                copied.bytes += object.stored.size;
                copied.replaced += 1;
            }
            CopyOutcome::Stood => copied.stood += 1,
        }
    }
    manifest::commit(&*to.store, &run.system, id, bytes, copier.options())
        .await
        .map_err(SyncError::Commit)?;
    let repositories = vec![to.name.clone()];
    run.events.emit(&Event::BackupStored { backup: id.clone(), repositories });
    Ok(copied)
}

/// Verifies a copy again: a finding is replaced by another one, never dropped.
async fn check_again(run: &RunContext, repository: &Repository, manifest: &Manifest) -> Option<CopyCheck> {
    let identities = Identities::default();
    let Examined { faults, unread, depth, .. } =
        examine(repository, manifest, &identities, &run.cancel, &|_, _| {}).await;
    (unread.is_empty() || !faults.is_empty()).then(|| CopyCheck {
        backup: manifest.id.clone(),
        repository: repository.name.clone(),
        at: run.clock.now(),
        depth: depth.unwrap_or(CheckDepth::Stored),
        faults,
    })
}

/// Copies missing records, which are small and the same everywhere.
async fn sync_journal(run: &RunContext, failed: &mut Vec<String>) -> usize {
    let mut held: Vec<(&Repository, BTreeSet<RunId>)> = Vec::new();
    for repository in run.repositories.iter() {
        match journal::runs(&*repository.store, &run.system).await {
            Ok(runs) => held.push((repository, runs.into_iter().collect())),
            Err(error) => failed.push(Unavailable::new(repository, error).reason()),
        }
    }
    let all: BTreeSet<_> = held.iter().flat_map(|(_, runs)| runs).cloned().collect();
    let mut copied = 0;
    for id in all {
        let Some((from, _)) = held.iter().find(|(_, runs)| runs.contains(&id)) else { continue };
        let lacking: Vec<_> = held.iter().filter(|(_, runs)| !runs.contains(&id)).collect();
        if lacking.is_empty() {
            continue;
        }
        if run.cancel.is_cancelled() {
            break;
        }
        for (to, _) in lacking {
            match copy_record(run, from, to, &id).await {
                Ok(()) => copied += 1,
                Err(error) => failed.push(format!("{}: {}", to.name, error_chain(&error))),
            }
        }
    }
    copied
}

async fn copy_record(
    run: &RunContext,
    from: &Repository,
    to: &Repository,
    id: &RunId,
) -> Result<(), JournalError> {
    let (_, bytes) = journal::read(&*from.store, &run.system, id).await?;
    journal::write(&*to.store, &run.system, id, bytes).await
}

/// Returns the names that [`plan`] takes.
pub fn names(repositories: &Repositories) -> Vec<RepositoryName> {
    repositories.iter().map(|repository| repository.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::AssuranceLevel;
    use crate::store::list_all;
    use crate::verify::backups;
    use crate::verify::fixtures::{TestBench, transfer};

    async fn sync_all(bench: &TestBench) -> SyncReport {
        let plan = plan(&bench.entries().await, &names(&bench.run.repositories), &BackupHistory::default());
        execute(&bench.run, plan, transfer(), &[]).await
    }

    async fn keys(bench: &TestBench, n: usize) -> Vec<(String, u64)> {
        let repository = bench.run.repositories.iter().nth(n).unwrap();
        let objects = list_all(&*repository.store, "shop/database/").await.unwrap();
        objects.into_iter().map(|object| (object.key, object.size)).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_copy_lacks_is_completed_without_keys_and_then_verifies() {
        let bench = TestBench::new(&["primary", "copy"]).await;
        bench.store(0, &["primary"]).await;
        bench.store(1, &["primary", "copy"]).await;
        bench.store(2, &["copy"]).await;
        let report = sync_all(&bench).await;
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(report.backups.len(), 2);
        assert_eq!(keys(&bench, 0).await, keys(&bench, 1).await);
        let entries = bench.entries().await;
        assert!(entries.iter().all(|entry| entry.copies.len() == 2));
        let checked =
            backups::execute(&bench.run, bench.verify_plan().await, &[], &bench.identity.identities()).await;
        assert!(checked.is_good());
        // Nothing is left to do.
        assert_eq!(plan(&entries, &names(&bench.run.repositories), &BackupHistory::default()), []);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_bad_source_is_passed_over_for_a_good_one_and_never_copied() {
        let bench = TestBench::new(&["primary", "copy", "third"]).await;
        let manifest = bench.store(0, &["primary", "copy"]).await;
        let object = &manifest.artifacts[0].objects[1].name;
        let flip = |repository: &str| {
            let path = bench.path(repository, &manifest, object);
            let mut bytes = fs::read(&path).unwrap();
            bytes[9] ^= 4;
            fs::write(path, bytes).unwrap();
        };
        flip("primary");
        let report = sync_all(&bench).await;
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(report.backups[0].result.as_ref().unwrap().from.as_str(), "copy");

        // With no good one left nothing appears.
        let other = bench.store(1, &["primary"]).await;
        let path = bench.path("primary", &other, &other.artifacts[0].objects[1].name);
        let mut bytes = fs::read(&path).unwrap();
        bytes.pop();
        fs::write(&path, bytes).unwrap();
        let report = sync_all(&bench).await;
        assert!(!report.is_complete());
        assert!(report.backups.iter().all(|synced| synced.result.is_err()));
        for name in ["copy", "third"] {
            assert!(!bench.path(name, &other, layout::MANIFEST).exists());
            assert!(!bench.path(name, &other, &other.artifacts[0].objects[1].name).exists());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn objects_that_stand_are_kept_when_equal_and_refused_when_different() {
        let bench = TestBench::new(&["primary", "copy"]).await;
        let manifest = bench.store(0, &["primary"]).await;
        let name = &manifest.artifacts[0].objects[0].name;
        let (from, to) = (bench.path("primary", &manifest, name), bench.path("copy", &manifest, name));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(&to, "something else").unwrap();
        let report = sync_all(&bench).await;
        let error = report.backups[0].result.as_ref().unwrap_err();
        assert!(matches!(error, SyncError::Copy { source: ObjectCopyError::Different(_), .. }), "{error:?}");
        assert_eq!(fs::read(&to).unwrap(), b"something else");
        assert!(!bench.path("copy", &manifest, layout::MANIFEST).exists());

        fs::copy(&from, &to).unwrap();
        let mut again = bench.run.clone();
        again.id = RunId::new(manifest.begun, 3);
        let plan = plan(&bench.entries().await, &names(&again.repositories), &BackupHistory::default());
        let report = execute(&again, plan, transfer(), &[]).await;
        assert_eq!(report.backups[0].result.as_ref().unwrap().stood, 1);
        assert!(report.is_complete(), "{report:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn missing_objects_are_put_back_and_the_copy_is_read_again() {
        let bench = TestBench::new(&["primary", "copy"]).await;
        let manifest = bench.store(0, &["primary", "copy"]).await;
        fs::remove_file(bench.path("copy", &manifest, &manifest.artifacts[0].objects[1].name)).unwrap();
        let items = bench.verify_plan().await;
        assert!(!backups::execute(&bench.run, items, &[], &Identities::default()).await.is_good());
        let mut later = bench.run.clone();
        later.id = RunId::new(manifest.begun, 3);
        let plan = plan(&bench.entries().await, &names(&later.repositories), &BackupHistory::default());
        assert!(plan[0].is_repair);
        let report = execute(&later, plan, transfer(), &[]).await;
        assert!(report.is_complete(), "{report:?}");
        let entry = bench.entries().await.remove(0);
        let copy = entry.copy(&"copy".parse().unwrap()).unwrap();
        assert!(copy.is_good() && copy.state == AssuranceLevel::Checked, "{copy:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_altered_is_replaced_by_what_was_stored_and_only_that() {
        let bench = TestBench::new(&["primary", "copy"]).await;
        let manifest = bench.store(0, &["primary", "copy"]).await;
        let large = bench.path("copy", &manifest, &manifest.artifacts[0].objects[0].name);
        let small = bench.path("copy", &manifest, &manifest.artifacts[1].name);
        let untouched = bench.path("copy", &manifest, &manifest.artifacts[0].objects[1].name);
        let modified = |path: &std::path::Path| fs::metadata(path).unwrap().modified().unwrap();
        let before = modified(&untouched);
        let mut bytes = fs::read(&large).unwrap();
        bytes[25_000] ^= 1;
        fs::write(&large, bytes).unwrap();
        fs::write(&small, "short").unwrap();
        let items = bench.verify_plan().await;
        assert!(!backups::execute(&bench.run, items, &[], &Identities::default()).await.is_good());
        let mut later = bench.run.clone();
        later.id = RunId::new(manifest.begun, 3);
        let planned = plan(&bench.entries().await, &names(&later.repositories), &BackupHistory::default());
        let report = execute(&later, planned, transfer(), &[]).await;
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(report.backups[0].result.as_ref().unwrap().replaced, 2);
        assert_eq!(modified(&untouched), before);
        assert!(bench.entries().await[0].copies.iter().all(CopyEntry::is_good));
        later.id = RunId::new(manifest.begun, 4);
        let checked =
            backups::execute(&later, bench.verify_plan().await, &[], &bench.identity.identities()).await;
        assert!(checked.is_good(), "{checked:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_copy_that_no_other_one_repairs_is_never_said_to_be_complete() {
        let bench = TestBench::new(&["primary", "copy"]).await;
        let manifest = bench.store(0, &["primary", "copy"]).await;
        for name in ["primary", "copy"] {
            fs::write(bench.path(name, &manifest, &manifest.artifacts[1].name), "short").unwrap();
        }
        let items = bench.verify_plan().await;
        backups::execute(&bench.run, items, &[], &Identities::default()).await;
        let report = sync_all(&bench).await;
        assert!(!report.is_complete());
        assert_eq!(report.backups.len(), 2);
        assert!(
            report.backups.iter().all(|synced| matches!(synced.result, Err(SyncError::NoSource))),
            "{report:?}"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_removed_on_purpose_is_not_copied_back() {
        let bench = TestBench::new(&["primary", "copy"]).await;
        let [first, second] = [bench.store(0, &["primary"]).await, bench.store(1, &["primary"]).await];
        let mut history = BackupHistory::default();
        history.removed.insert((first.id, "copy".parse().unwrap()));
        let planned = plan(&bench.entries().await, &names(&bench.run.repositories), &history);
        assert_eq!(planned.iter().map(|item| &item.manifest.id).collect::<Vec<_>>(), [&second.id]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_journal_is_completed_too() {
        let bench = TestBench::new(&["primary", "copy"]).await;
        bench.store(0, &["primary"]).await;
        let alone = bench.run.repositories.clone().only(&"primary".parse().unwrap());
        let mut run = bench.run.clone();
        (run.repositories, run.id) = (alone, RunId::new(bench.run.id.begun(), 1));
        let items = bench.verify_plan().await;
        backups::execute(&run, items, &[], &Identities::default()).await;
        let report = sync_all(&bench).await;
        assert_eq!((report.records, report.records_failed.len()), (1, 0));
        let copy = bench.run.repositories.iter().nth(1).unwrap();
        assert_eq!(journal::runs(&*copy.store, &bench.run.system).await.unwrap().len(), 2);
    }
}
