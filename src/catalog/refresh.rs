use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use futures_util::stream;

use super::{Catalog, CatalogError};
use crate::model::{BackupId, CopyCheck, RepositoryName, RunId, SystemName};
use crate::repository::journal::{JournalError, JournalRecord, ProvenCopy};
use crate::repository::{
    Listing, ManifestError, ObjectStamp, RejectedManifest, Repositories, Repository, RepositoryListing,
    Unavailable, journal, layout, manifest,
};
use crate::store::StoreErrorKind;

/// Manifests or records that are read concurrently; each is at most a few MiB.
const PARALLEL: usize = 8;

/// The extent of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Only what is not known yet.
    New,
    /// Everything: the facts about reachable repositories are deleted first, except those about lost copies.
    Whole,
}

/// A record of the journal that cannot be read, and that no other repository has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRecord {
    pub repository: RepositoryName,
    pub key: String,
    pub reason: String,
}

/// The result of a refresh.
#[derive(Debug, Default)]
pub struct Refreshed {
    /// Repositories that were read completely.
    pub seen: Vec<RepositoryName>,
    /// Repositories that were not, and why: the facts about them are kept, and may be outdated.
    pub lost: Vec<Unavailable>,
    /// Copies that were not known before.
    pub found: BTreeSet<(RepositoryName, BackupId)>,
    /// Those of them that had been there before, and had vanished.
    pub returned: BTreeSet<(RepositoryName, BackupId)>,
    /// Known copies that have vanished, but for those that retention removed.
    pub vanished: Vec<(RepositoryName, BackupId)>,
    /// Rejected manifests: not backups of this system.
    pub refused: Vec<RejectedManifest>,
    /// Journal records that are unreadable, or not what is known of their run, as text.
    pub unread: Vec<String>,
    /// Those of which no repository and no catalog knows what they say.
    pub unknown_records: Vec<UnknownRecord>,
    pub runs: usize,
}

impl Refreshed {
    /// Returns whether every repository was read completely, and everything in it accepted.
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty() && self.refused.is_empty()
    }
}

/// Updates the catalog to the contents of the repositories.
///
/// `repositories` is the policy's complete set, as returned by [`Repositories::for_reading`].
///
/// # Errors
/// Only errors of the catalog itself: a failed repository is in [`Refreshed::lost`].
pub async fn refresh(
    catalog: &Catalog,
    system: &SystemName,
    repositories: &Repositories,
    depth: Depth,
    now: DateTime<Utc>,
) -> Result<Refreshed, CatalogError> {
    let Listing { repositories: listings, unlisted } = Listing::of_system(repositories, system).await;
    let lost = repositories.lost().iter().cloned().chain(unlisted).collect();
    let mut refreshed = Refreshed { lost, ..Refreshed::default() };
    if depth == Depth::Whole {
        catalog.clear_runs().await?;
    }
    let mut journals = Vec::new();
    for RepositoryListing { repository, backups, runs, stamps } in listings {
        let mut before = BTreeMap::new();
        if depth == Depth::Whole {
            // Vanished copies are not in the repository to be read: they alone must not be forgotten.
            before = catalog.known_in(&repository.name).await?;
            before.retain(|backup, _| !backups.contains(backup));
            catalog.clear_repository(&repository.name).await?;
        }
        let listed = ListedBackups { backups, stamps: &stamps };
        enter(catalog, system, repositories, &repository, listed, now, &mut refreshed).await?;
        for (backup, vanished) in before {
            catalog.record_gone(&backup, &repository.name, vanished.unwrap_or(now)).await?;
        }
        journals.push(ListedJournal { repository, runs, stamps });
    }
    if depth == Depth::Whole {
        catalog.clear_orphans().await?;
    }
    for lost in &refreshed.lost {
        catalog.record_problem(&lost.name, &lost.reason()).await?;
    }
    catalog.record_marked(repositories, now).await?;
    read_journal(catalog, system, journals, &mut refreshed).await?;
    if !refreshed.vanished.is_empty() {
        let removed = journal::Tombstones::new(&catalog.runs(None).await?);
        refreshed.vanished.retain(|(name, backup)| !removed.has_backup(name, backup));
    }
    apply_checks(catalog, &refreshed).await?;
    Ok(refreshed)
}

/// What a repository lists of backups.
struct ListedBackups<'a> {
    backups: BTreeSet<BackupId>,
    stamps: &'a BTreeMap<String, ObjectStamp>,
}

/// Enters the backups that a repository lists. Manifests that are not known yet, or were changed since they
/// were accepted, are read. A known copy whose manifest is not accepted any more counts as vanished.
async fn enter(
    catalog: &Catalog,
    system: &SystemName,
    repositories: &Repositories,
    repository: &Repository,
    ListedBackups { backups: listed, stamps }: ListedBackups<'_>,
    now: DateTime<Utc>,
    refreshed: &mut Refreshed,
) -> Result<(), CatalogError> {
    let (name, repository_id) = (&repository.name, repositories.id());
    let (known, gone) = catalog.held_by(name).await?;
    let accepted_stamps = catalog.stamps(name).await?;
    let stamp_of = |backup: &BackupId| {
        let key = layout::manifest(system, backup);
        let stamp = stamps.get(&key).map(ToString::to_string);
        (key, stamp.unwrap_or_default())
    };
    let is_unread = |backup: &&BackupId| {
        let (key, stamp) = stamp_of(backup);
        !known.contains(*backup) || accepted_stamps.get(&key) != Some(&stamp)
    };
    let mut accepted_now = Vec::new();
    let to_read: Vec<BackupId> = listed.iter().filter(is_unread).cloned().collect();
    let mut reads = stream::iter(to_read)
        .map(async |backup| {
            let read = manifest::read(&*repository.store, system, &backup).await;
            (backup, read)
        })
        .buffer_unordered(PARALLEL);
    let mut unread = None;
    while let Some((backup, read)) = reads.next().await {
        let fault = match &read {
            Err(ManifestError::Read { source, .. }) => Some(source.kind),
            _ => None,
        };
        match fault {
            None | Some(StoreErrorKind::TooLarge) => {}
            // It was deleted meanwhile: the next listing shows that.
            Some(StoreErrorKind::NotFound) => continue,
            // A failure to read it is no evidence about it.
            Some(_) => {
                unread = read.err();
                continue;
            }
        }
        let read = read.map(|(manifest, _)| manifest).and_then(|manifest| {
            let Some(id) = repository_id else { return Ok(manifest) };
            manifest::check_repository(&manifest, id).map(|()| manifest)
        });
        let accepted = match read {
            Ok(manifest) => match catalog.manifest(&backup).await? {
                Some(standing) if standing != manifest => {
                    let location = repository.store.location();
                    Err(ManifestError::Differs { backup: backup.clone(), location })
                }
                _ => Ok(manifest),
            },
            Err(error) => Err(error),
        };
        match accepted {
            Ok(_) if known.contains(&backup) => accepted_now.push(stamp_of(&backup)),
            Ok(manifest) => {
                accepted_now.push(stamp_of(&backup));
                catalog.record_backup(&manifest, std::slice::from_ref(name)).await?;
                if gone.contains(&backup) {
                    refreshed.returned.insert((name.clone(), backup.clone()));
                }
                refreshed.found.insert((name.clone(), backup));
            }
            Err(error) => {
                if known.contains(&backup) {
                    catalog.record_vanished(&backup, name, now).await?;
                }
                refreshed.refused.push(RejectedManifest { repository: name.clone(), backup, error })
            }
        }
    }
    catalog.record_stamps(name, &accepted_now).await?;
    for backup in known.difference(&listed) {
        catalog.record_vanished(backup, name, now).await?;
        refreshed.vanished.push((name.clone(), backup.clone()));
    }
    match unread {
        Some(error) => refreshed.lost.push(Unavailable::new(repository, error)),
        None => {
            // A store without a marker does not belong to a system yet.
            let marked = repositories.marked().any(|marked| marked.name == *name);
            let id = repository_id.filter(|_| marked);
            catalog.record_seen(name, &repository.store.location(), id, now).await?;
            refreshed.seen.push(name.clone());
        }
    }
    Ok(())
}

/// The journal of a repository, as listed.
struct ListedJournal {
    repository: Repository,
    runs: BTreeSet<RunId>,
    stamps: BTreeMap<String, ObjectStamp>,
}

/// Reads the records of runs that are not known yet, and those that were changed since they were accepted. An
/// unreadable record costs its contents, not the refresh.
async fn read_journal(
    catalog: &Catalog,
    system: &SystemName,
    journals: Vec<ListedJournal>,
    refreshed: &mut Refreshed,
) -> Result<(), CatalogError> {
    let known = catalog.run_ids().await?;
    let mut junk: Vec<(RunId, UnknownRecord)> = Vec::new();
    for ListedJournal { repository, runs, stamps } in journals {
        let accepted_stamps = catalog.stamps(&repository.name).await?;
        let (mut accepted_now, mut to_read) = (Vec::new(), Vec::new());
        for run in runs {
            let key = layout::journal_record(system, &run);
            let Some(stamp) = stamps.get(&key) else { continue };
            let (accepted, size) = (accepted_stamps.get(&key), stamp.size);
            let stamp = stamp.to_string();
            if accepted == Some(&stamp) && known.contains(&run) {
                continue;
            }
            // What another repository had of it was accepted, and its bytes are the same in each.
            let record = catalog.run_record(&run).await?;
            let has_its_size = |record: &JournalRecord| {
                journal::serialise(record).is_ok_and(|bytes| bytes.len() as u64 == size)
            };
            match accepted.is_none() && record.as_ref().is_some_and(has_its_size) {
                true => accepted_now.push((key, stamp)),
                false => to_read.push((run, key, stamp)),
            }
        }
        let mut reads = stream::iter(to_read)
            .map(async |(run, key, stamp)| {
                let read = journal::read(&*repository.store, system, &run).await;
                (run, key, stamp, read)
            })
            .buffered(PARALLEL);
        while let Some((run, key, stamp, read)) = reads.next().await {
            let run_id = run.clone();
            let accepted = match (read, catalog.run_record(&run).await?) {
                // It was deleted meanwhile.
                (Err(JournalError::Read { source, .. }), _) if source.kind == StoreErrorKind::NotFound => {
                    continue;
                }
                (Err(error), _) => Err(error),
                (Ok((record, _)), Some(standing)) if !record.says_the_same(&standing) => {
                    Err(JournalError::Differs { run })
                }
                (Ok(_), Some(_)) => Ok(()),
                (Ok((record, _)), None) => {
                    catalog.record_run(&record).await?;
                    refreshed.runs += 1;
                    Ok(())
                }
            };
            match accepted {
                Ok(()) => accepted_now.push((key, stamp)),
                Err(error) => {
                    let reason = Unavailable::new(&repository, error).reason();
                    refreshed.unread.push(reason.clone());
                    junk.push((run_id, UnknownRecord { repository: repository.name.clone(), key, reason }));
                }
            }
        }
        catalog.record_stamps(&repository.name, &accepted_now).await?;
    }
    // What another repository has of a run says what it did.
    let known = catalog.run_ids().await?;
    let unknown = junk.into_iter().filter(|(run, _)| !known.contains(run)).map(|(_, record)| record);
    refreshed.unknown_records.extend(unknown);
    Ok(())
}

/// What a run found out about a copy.
enum Finding<'r> {
    Checked(&'r CopyCheck),
    Proven(&'r ProvenCopy),
}

impl Finding<'_> {
    fn copy(&self) -> (RepositoryName, BackupId) {
        match self {
            Self::Checked(check) => (check.repository.clone(), check.backup.clone()),
            Self::Proven(copy) => (copy.repository.clone(), copy.backup.clone()),
        }
    }
}

/// Applies what was found out about copies that are found only now, in order of time: the run may have been recorded
/// before, while their repository was unreachable.
async fn apply_checks(catalog: &Catalog, refreshed: &Refreshed) -> Result<(), CatalogError> {
    let Some(oldest) = refreshed.found.iter().map(|(_, backup)| backup.begun()).min() else {
        return Ok(());
    };
    let runs = catalog.runs(Some(oldest)).await?;
    let mut findings = Vec::new();
    for run in &runs {
        findings.extend(run.detail.checks.iter().map(|check| (check.at, Finding::Checked(check))));
        findings.extend(run.detail.proven.iter().map(|copy| (run.ended, Finding::Proven(copy))));
    }
    findings.sort_by_key(|(at, _)| *at);
    for (at, finding) in findings {
        let copy = finding.copy();
        // What was found of a copy that vanished and was recreated does not apply to the new one.
        if !refreshed.found.contains(&copy) || refreshed.returned.contains(&copy) {
            continue;
        }
        match finding {
            Finding::Checked(check) => catalog.record_check(check).await?,
            Finding::Proven(copy) => catalog.record_proven(copy, at).await?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::catalog::{CatalogLocation, Filter};
    use crate::model::{AssuranceLevel, CheckDepth, CopyFault, ObjectFault, Outcome};
    use crate::repository::fixtures::{noon, repositories, store_backup, system};
    use crate::repository::journal::Detail;
    use crate::repository::run_record;
    use crate::store::PutOptions;

    async fn catalog(root: &std::path::Path) -> Catalog {
        Catalog::open(&CatalogLocation::Sqlite(root.join("state/catalog.db")), &system()).await.unwrap()
    }

    async fn run(catalog: &Catalog, set: &Repositories, depth: Depth) -> Refreshed {
        refresh(catalog, &system(), set, depth, noon()).await.unwrap()
    }

    fn check(backup: &BackupId, repository: &str, faults: Vec<ObjectFault>) -> CopyCheck {
        let repository = repository.parse().unwrap();
        CopyCheck { backup: backup.clone(), repository, at: noon(), depth: CheckDepth::Stored, faults }
    }

    fn verified(checks: Vec<CopyCheck>) -> JournalRecord {
        let begun = noon() + chrono::TimeDelta::hours(1);
        JournalRecord {
            format: String::new(),
            run: RunId::new(begun, 5),
            verb: "verify".to_owned(),
            begun,
            ended: begun,
            host: "b".to_owned(),
            outcome: Outcome::Succeeded,
            previous: None,
            detail: Detail { checks, ..Detail::default() },
        }
    }

    #[tokio::test]
    async fn hosts_that_share_a_repository_see_each_others_backups_and_checks() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy"]).await;
        let (primary, copy) = (set.iter().next().unwrap(), set.iter().nth(1).unwrap());
        let older = store_backup(primary, 0).await;
        store_backup(copy, 0).await;
        let newer = store_backup(primary, 5).await;
        let bad = ObjectFault { object: "x".into(), fault: CopyFault::Short, detail: String::new() };
        let checks = vec![check(&older.id, "primary", vec![]), check(&older.id, "copy", vec![bad])];
        run_record::append(&set, &system(), verified(checks)).await.unwrap();

        let catalog = catalog(root.path()).await;
        let refreshed = run(&catalog, &set, Depth::New).await;
        assert_eq!((refreshed.found.len(), refreshed.runs), (3, 1));
        let entries = catalog.backups(&Filter::default()).await.unwrap();
        assert_eq!(entries.iter().map(|entry| &entry.manifest).collect::<Vec<_>>(), [&newer, &older]);
        assert_eq!(entries[0].copies.len(), 1);
        let older = &entries[1];
        assert_eq!(older.copy(&primary.name).unwrap().state, AssuranceLevel::Checked);
        assert!(!older.copy(&copy.name).unwrap().is_good());
        // Nothing is read a second time.
        let again = run(&catalog, &set, Depth::New).await;
        assert_eq!((again.found.len(), again.runs), (0, 0));
        let sources = Filter { source: Some("files".parse().unwrap()), ..Filter::default() };
        assert!(catalog.backups(&sources).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_lost_catalog_is_made_anew_from_the_repositories() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy"]).await;
        let manifest = store_backup(set.iter().next().unwrap(), 0).await;
        run_record::append(&set, &system(), verified(vec![check(&manifest.id, "primary", vec![])]))
            .await
            .unwrap();
        let first = catalog(root.path()).await;
        run(&first, &set, Depth::New).await;
        let before = first.backups(&Filter::default()).await.unwrap();
        first.close().await;
        std::fs::remove_dir_all(root.path().join("state")).unwrap();

        let second = catalog(root.path()).await;
        run(&second, &set, Depth::Whole).await;
        assert_eq!(second.backups(&Filter::default()).await.unwrap(), before);
        run(&second, &set, Depth::Whole).await;
        assert_eq!(second.backups(&Filter::default()).await.unwrap(), before);
    }

    #[tokio::test]
    async fn what_is_known_of_an_unreachable_repository_is_kept_and_said() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy"]).await;
        for repository in set.iter() {
            store_backup(repository, 0).await;
        }
        let catalog = catalog(root.path()).await;
        run(&catalog, &set, Depth::New).await;
        std::fs::rename(root.path().join("primary"), root.path().join("away")).unwrap();
        for depth in [Depth::New, Depth::Whole] {
            let refreshed = run(&catalog, &set, depth).await;
            assert_eq!(refreshed.lost.len(), 1);
            assert_eq!(refreshed.vanished, []);
            let entries = catalog.backups(&Filter::default()).await.unwrap();
            assert!(entries[0].copies.iter().all(|copy| copy.is_held()), "{entries:?}");
            let known = catalog.repositories().await.unwrap();
            let primary = known.iter().find(|entry| entry.name.as_str() == "primary").unwrap();
            assert!(primary.problem.as_ref().unwrap().contains("no such bucket"), "{primary:?}");
        }
    }

    #[tokio::test]
    async fn a_backup_that_vanished_is_marked_and_found_again() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy"]).await;
        for repository in set.iter() {
            store_backup(repository, 0).await;
        }
        let catalog = catalog(root.path()).await;
        run(&catalog, &set, Depth::New).await;
        let copy = set.iter().nth(1).unwrap();
        let id = catalog.backups(&Filter::default()).await.unwrap().remove(0).manifest.id;
        let bad = ObjectFault { object: "x".into(), fault: CopyFault::Missing, detail: String::new() };
        catalog.record_run(&verified(vec![check(&id, "copy", vec![bad])])).await.unwrap();

        let key = layout::manifest(&system(), &id);
        crate::store::delete_object(&*copy.store, &key).await.unwrap();
        let refreshed = run(&catalog, &set, Depth::New).await;
        assert_eq!(refreshed.vanished, [(copy.name.clone(), id.clone())]);
        // It is not forgotten, however often the repositories are read, and read whole.
        for depth in [Depth::New, Depth::Whole, Depth::Whole] {
            assert_eq!(run(&catalog, &set, depth).await.vanished, []);
            let entry = catalog.find(id.as_str()).await.unwrap();
            assert_eq!(entry.copy(&copy.name).unwrap().vanished, Some(noon()), "{depth:?}");
        }
        let entry = catalog.find(id.as_str()).await.unwrap();
        assert_eq!(entry.copy(&copy.name).unwrap().vanished, Some(noon()));
        assert!(entry.is_held());

        // What was found about the copy that went says nothing about the one that came.
        let bytes = manifest::serialise(&entry.manifest).unwrap();
        copy.store.put(&key, bytes, &PutOptions::absent()).await.unwrap();
        run(&catalog, &set, Depth::New).await;
        assert!(catalog.find(id.as_str()).await.unwrap().copy(&copy.name).unwrap().is_good());
    }

    #[tokio::test]
    async fn a_backup_that_is_gone_from_everywhere_is_known_after_the_catalog_was_rebuilt() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary"]).await;
        let manifest = store_backup(set.iter().next().unwrap(), 0).await;
        let mut record = verified(vec![]);
        (record.verb, record.detail.backups) = ("backup".to_owned(), vec![manifest.id.clone()]);
        run_record::append(&set, &system(), record).await.unwrap();
        let known = catalog(root.path()).await;
        run(&known, &set, Depth::New).await;
        let key = layout::manifest(&system(), &manifest.id);
        crate::store::delete_object(&*set.iter().next().unwrap().store, &key).await.unwrap();
        let with_gone = Filter { vanished: true, ..Filter::default() };
        for depth in [Depth::New, Depth::Whole] {
            run(&known, &set, depth).await;
            assert!(known.backups(&Filter::default()).await.unwrap().is_empty());
            assert_eq!(known.backups(&with_gone).await.unwrap()[0].manifest, manifest);
        }
        // Without the catalog the journal is left.
        known.close().await;
        std::fs::remove_dir_all(root.path().join("state")).unwrap();
        let rebuilt = catalog(root.path()).await;
        run(&rebuilt, &set, Depth::New).await;
        assert_eq!(rebuilt.history().await.unwrap().taken, BTreeSet::from([manifest.id.clone()]));
        // One that was removed on purpose is said to be.
        let mut record = verified(vec![]);
        let removed = journal::Removal {
            backup: manifest.id.clone(),
            repository: "primary".parse().unwrap(),
            objects: vec![],
            reason: "gone".to_owned(),
        };
        (record.verb, record.run) = ("expire".to_owned(), RunId::new(record.begun, 9));
        record.detail.removals = vec![removed];
        run_record::append(&set, &system(), record).await.unwrap();
        run(&rebuilt, &set, Depth::New).await;
        assert!(rebuilt.history().await.unwrap().is_removed(&manifest.id, &"primary".parse().unwrap()));
    }

    #[tokio::test]
    async fn what_cannot_be_decoded_stays_bad_until_it_is_opened_again() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary"]).await;
        let id = store_backup(set.iter().next().unwrap(), 0).await.id;
        let catalog = catalog(root.path()).await;
        run(&catalog, &set, Depth::New).await;
        let bad = ObjectFault { object: "x".into(), fault: CopyFault::Undecodable, detail: String::new() };
        let later = |minutes, depth, faults| CopyCheck {
            at: noon() + chrono::TimeDelta::minutes(minutes),
            depth,
            ..check(&id, "primary", faults)
        };
        let is_good = async || catalog.find(id.as_str()).await.unwrap().copies[0].is_good();
        catalog.record_check(&later(0, CheckDepth::Plain, vec![bad])).await.unwrap();
        catalog.record_check(&later(1, CheckDepth::Stored, vec![])).await.unwrap();
        assert!(!is_good().await);
        catalog.record_check(&later(2, CheckDepth::Plain, vec![])).await.unwrap();
        assert!(is_good().await);
    }

    /// Runs in order of time, by the hour: a check that found the copy good or bad, or a drill that proved it.
    fn findings(backup: &BackupId, story: &str) -> Vec<JournalRecord> {
        let runs = (0..).zip(story.split(' ')).map(|(hour, word)| {
            let at = noon() + chrono::TimeDelta::hours(hour);
            let bad = ObjectFault { object: "x".into(), fault: CopyFault::Short, detail: String::new() };
            let proven = ProvenCopy { backup: backup.clone(), repository: "primary".parse().unwrap() };
            let mut record = verified(vec![]);
            match word {
                "drill" => record.detail.proven.push(proven),
                _ => {
                    let faults = if word == "bad" { vec![bad] } else { vec![] };
                    record.detail.checks.push(CopyCheck { at, ..check(backup, "primary", faults) });
                }
            }
            let verb = if word == "drill" { journal::DRILL } else { "verify" };
            let run = RunId::new(at, 5);
            JournalRecord { run, verb: verb.to_owned(), begun: at, ended: at, ..record }
        });
        runs.collect()
    }

    #[tokio::test]
    async fn a_drill_proves_a_copy_that_no_later_check_refutes_in_whichever_order_they_are_known() {
        let stories = [
            ("drill", AssuranceLevel::Proven),
            ("drill bad", AssuranceLevel::Stored),
            ("bad drill", AssuranceLevel::Proven),
            ("drill good", AssuranceLevel::Proven),
            ("drill bad good", AssuranceLevel::Checked),
            ("drill bad drill", AssuranceLevel::Proven),
            ("good bad drill", AssuranceLevel::Proven),
        ];
        for (story, expected) in stories {
            let root = tempfile::tempdir().unwrap();
            let set = repositories(root.path(), &["primary"]).await;
            let id = store_backup(set.iter().next().unwrap(), 0).await.id;
            let runs = findings(&id, story);
            let state = async |catalog: &Catalog| catalog.find(id.as_str()).await.unwrap().copies[0].state;
            for backwards in [false, true] {
                let memory = Catalog::open(&CatalogLocation::Memory, &system()).await.unwrap();
                run(&memory, &set, Depth::New).await;
                let mut known = runs.clone();
                if backwards {
                    known.reverse();
                }
                for record in &known {
                    memory.record_run(record).await.unwrap();
                }
                assert_eq!(state(&memory).await, expected, "{story}, backwards: {backwards}");
            }
            for record in runs {
                run_record::append(&set, &system(), record).await.unwrap();
            }
            let catalog = catalog(root.path()).await;
            for depth in [Depth::New, Depth::Whole, Depth::Whole] {
                run(&catalog, &set, depth).await;
                assert_eq!(state(&catalog).await, expected, "{story}, {depth:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_known_manifest_that_was_changed_in_place_is_noticed_until_it_is_as_it_was() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy"]).await;
        let (primary, copy) = (set.iter().next().unwrap(), set.iter().nth(1).unwrap());
        let known = store_backup(primary, 0).await;
        store_backup(copy, 0).await;
        let catalog = catalog(root.path()).await;
        run(&catalog, &set, Depth::New).await;

        let path = root.path().join("copy").join(layout::manifest(&system(), &known.id));
        let bytes = std::fs::read(&path).unwrap();
        let mut other = known.clone();
        other.host = "someone-else".to_owned();
        let changed = [bytes[..40].to_vec(), vec![], serde_json::to_vec(&other).unwrap()];
        for changed in changed {
            std::fs::write(&path, changed).unwrap();
            for _ in 0..2 {
                let refreshed = run(&catalog, &set, Depth::New).await;
                let refused: Vec<_> =
                    refreshed.refused.iter().map(|refused| (&refused.repository, &refused.backup)).collect();
                assert_eq!(refused, [(&copy.name, &known.id)]);
                let entry = catalog.backups(&Filter::default()).await.unwrap().remove(0);
                assert!(entry.copy(&primary.name).unwrap().is_held());
                assert!(!entry.copy(&copy.name).unwrap().is_held());
            }
            std::fs::write(&path, &bytes).unwrap();
            let refreshed = run(&catalog, &set, Depth::New).await;
            assert!(refreshed.refused.is_empty() && refreshed.returned.len() == 1, "{refreshed:?}");
        }
        // Touched, it is read once, and is the same.
        std::fs::write(&path, &bytes).unwrap();
        let refreshed = run(&catalog, &set, Depth::New).await;
        assert!(refreshed.refused.is_empty() && refreshed.found.is_empty(), "{refreshed:?}");
    }

    #[tokio::test]
    async fn a_known_record_of_the_journal_that_is_junk_in_one_repository_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy"]).await;
        let record = verified(vec![]);
        run_record::append(&set, &system(), record.clone()).await.unwrap();
        let catalog = catalog(root.path()).await;
        let path = |name: &str| root.path().join(name).join(layout::journal_record(&system(), &record.run));
        let bytes = std::fs::read(path("copy")).unwrap();
        // The first repository has it as it was written; the copy never did.
        std::fs::write(path("copy"), &bytes[..9]).unwrap();
        let refreshed = run(&catalog, &set, Depth::New).await;
        assert_eq!((refreshed.runs, refreshed.unread.len()), (1, 1), "{refreshed:?}");
        std::fs::write(path("copy"), &bytes).unwrap();
        assert_eq!(run(&catalog, &set, Depth::New).await.unread, [""; 0]);
        // Another outcome in the same number of bytes, written later.
        let other = String::from_utf8(bytes).unwrap().replace("verify", "verifx");
        std::fs::write(path("primary"), other).unwrap();
        for _ in 0..2 {
            let refreshed = run(&catalog, &set, Depth::New).await;
            assert!(refreshed.unread[0].contains("not the one that is known"), "{refreshed:?}");
        }
    }

    #[tokio::test]
    async fn a_manifest_that_cannot_be_accepted_is_reported_and_not_listed() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy"]).await;
        let (primary, copy) = (set.iter().next().unwrap(), set.iter().nth(1).unwrap());
        let good = store_backup(primary, 0).await;
        // The copy's says something else, and another one stands under a key that is not its own.
        let mut other = good.clone();
        other.host = "someone-else".to_owned();
        let body = |manifest| Bytes::from(serde_json::to_vec(manifest).unwrap());
        let options = PutOptions::absent();
        copy.store.put(&layout::manifest(&system(), &good.id), body(&other), &options).await.unwrap();
        let elsewhere = good.id.as_str().replace("T120000Z", "T130000Z").parse().unwrap();
        primary.store.put(&layout::manifest(&system(), &elsewhere), body(&good), &options).await.unwrap();

        let catalog = catalog(root.path()).await;
        let refreshed = run(&catalog, &set, Depth::New).await;
        assert_eq!(refreshed.refused.len(), 2, "{refreshed:?}");
        let entries = catalog.backups(&Filter::default()).await.unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].copies.len(), 1);
        assert_eq!(entries[0].manifest, good);
    }
}
