//! Queries the repositories for the facts that assessments need.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::try_join_all;

use super::archive::{ArchiveStatus, assess_archive, base_after_gaps};
use super::evidence::{Evidence, ListedWal, Question};
use super::missing_wal::{MissingWal, Obstacle, missing_required, with_broken_chains};
use super::servers::Servers;
use super::wal::{WalArchivesStatus, WalStatus, assess_wal};
use crate::model::{
    BackupId, BackupKind, Manifest, Physical, RepositoryName, Segment, SourceName, WalCheck, WalName,
};
use crate::pipeline::Identities;
use crate::platform::{Clock as _, SystemClock};
use crate::repository::{Inventory, Listing, Repositories, Repository};
use crate::store::Store;
use crate::text::error_chain;
use crate::wal::cluster::ClusterError;
use crate::wal::{
    Archive, ArchiverFacts, LastArchived, ListError, Provenance, WalInventory, damage, holdings, modified,
    moment, tags,
};

/// The time limit for the listing that determines whether base backups are restorable.
const LISTED_WITHIN: Duration = Duration::from_secs(60);
/// How long after a segment an earlier one may follow: they are uploaded concurrently, and a listing takes
/// time.
const GAP_MAY_CLOSE: TimeDelta = TimeDelta::seconds(5);
/// Concurrent queries for the metadata of segments.
const TAGS_AT_ONCE: usize = 64;
const LIST_AGAIN: Duration = Duration::from_millis(250);

/// Queries a repository until an assessment has all facts that it needs.
pub async fn settle<T>(
    repository: &Repository,
    evidence: &mut Evidence,
    assess: impl Fn(&Evidence) -> Result<T, Question>,
) -> Result<T, ListError> {
    loop {
        match assess(evidence) {
            Ok(assessed) => return Ok(assessed),
            Err(question) => answer(repository, question, evidence).await?,
        }
    }
}

async fn answer(
    repository: &Repository,
    question: Question,
    evidence: &mut Evidence,
) -> Result<(), ListError> {
    let store = &*repository.store;
    match question {
        Question::Wal { archive, since } => {
            let listed = match settled_holdings(store, &archive, since).await {
                Ok(held) => ListedWal::Held(held),
                Err(ListError::Never { .. }) => ListedWal::None("no WAL has been archived there".to_owned()),
                // The server was recreated and never archived: WAL of its predecessor still counts.
                Err(ListError::Cluster(ClusterError::Other { recorded, .. })) => {
                    ListedWal::None(format!("the WAL there is of another cluster, {recorded}"))
                }
                Err(error) => return Err(error),
            };
            evidence.enter_wal(archive, since, listed);
        }
        Question::CommitTimes { archive, range } => {
            let times = moment(store, &archive, &range).await.map_err(ListError::Store)?;
            evidence.enter_times(archive, range, times);
        }
        Question::Damage { archive, segments } => {
            let found = damage(store, &archive, &segments).await.map_err(ListError::Store)?;
            evidence.enter_damage(archive, found);
        }
        Question::Tags { archive, segments } => {
            for some in segments.chunks(TAGS_AT_ONCE) {
                let asked = some.iter().map(|segment| tags(store, &archive, WalName::Segment(*segment)));
                let found = try_join_all(asked).await.map_err(ListError::Store)?;
                for (segment, tags) in some.iter().zip(found) {
                    evidence.enter_tags(archive.clone(), *segment, tags);
                }
            }
        }
        Question::Written { archive, file } => {
            let written = modified(store, &archive, file).await.map_err(ListError::Store)?;
            evidence.enter_written(archive, file, written);
        }
    }
    Ok(())
}

/// Lists the WAL, and again while a gap before a segment that was just written may still close: what is being
/// uploaded is not missing.
async fn settled_holdings(
    store: &dyn Store,
    archive: &Archive,
    since: Option<Segment>,
) -> Result<WalInventory, ListError> {
    loop {
        let held = holdings(store, archive, since, &Identities::default()).await?;
        let mut is_recent = false;
        for gap in held.timelines().filter_map(|timeline| held.gaps(timeline).pop()) {
            let Some(after) = held.after(gap) else { continue };
            let written =
                modified(store, archive, WalName::Segment(after)).await.map_err(ListError::Store)?;
            let age = written.map(|written| SystemClock.now() - written);
            is_recent |= age.is_some_and(|age| (TimeDelta::zero()..GAP_MAY_CLOSE).contains(&age));
        }
        if !is_recent {
            return Ok(held);
        }
        tokio::time::sleep(LIST_AGAIN).await;
    }
}

/// Assesses the WAL of every source with base backups in every repository in use. `inventory`: intact copies.
/// `checks`: the findings of WAL verification.
pub async fn wal_archives(
    repositories: &Repositories,
    inventory: &Inventory,
    servers: &Servers,
    checks: &[WalCheck],
) -> WalArchivesStatus {
    let bases = inventory.backups.iter().filter(|record| record.manifest.physical.is_some());
    let mut of_sources: BTreeMap<&SourceName, Vec<_>> = BTreeMap::new();
    for record in bases {
        of_sources.entry(&record.manifest.source).or_default().push(record);
    }
    let mut archives = WalArchivesStatus::new();
    for (source, mut own) in of_sources {
        own.sort_by_key(|record| std::cmp::Reverse(record.manifest.recovery_point));
        let server = servers.asked.get(source).map(|said| &said.facts);
        for repository in repositories.iter() {
            let there = own.iter().filter(|record| record.is_held_by(&repository.name));
            let bases: Vec<&Manifest> = there.map(|record| &record.manifest).collect();
            let of_it = |check: &&WalCheck| check.source == *source && check.repository == repository.name;
            let checks: Vec<_> = checks.iter().filter(of_it).collect();
            let mut evidence = Evidence::default();
            let status =
                settle(repository, &mut evidence, |known| assess_wal(&bases, known, server, &checks)).await;
            let status = status.unwrap_or_else(|error| WalStatus {
                unknown: Some(error_chain(&error)),
                ..WalStatus::default()
            });
            archives.insert((source.clone(), repository.name.clone()), status);
        }
    }
    archives
}

/// Adds the files whose archiving was confirmed to the servers and that are missing, and stalls.
pub async fn enter_server_reports(
    servers: &Servers,
    repositories: &Repositories,
    archives: &mut WalArchivesStatus,
) {
    for (source, said) in &servers.asked {
        let is_nowhere = match &said.acknowledged {
            Some(last_archived) => last_archived.is_nowhere(repositories).await,
            None => false,
        };
        for repository in repositories.iter() {
            let status = archives.entry((source.clone(), repository.name.clone())).or_default();
            status.stalled = said.stall.as_ref().map(ToString::to_string);
            let Some(last_archived) = &said.acknowledged else { continue };
            // The server was confirmed its own WAL, which does not belong there.
            if status.stranger.is_some() {
                continue;
            }
            match last_archived.is_lost_from(repository).await {
                Ok(is_lost) if is_lost || is_nowhere => status.lost = Some(last_archived.file.to_string()),
                Ok(_) => {}
                Err(error) => status.unknown = status.unknown.take().or(Some(error_chain(&error))),
            }
        }
    }
}

/// Queries the state of a cluster's WAL in one repository. The server must have been queried before;
/// `server`: its facts, if it is of the same cluster.
///
/// # Errors
/// Why it is unknown, or that there is none, as text.
pub async fn archive_status(
    repository: &Repository,
    archive: &Archive,
    last_archived: Option<&LastArchived>,
    server: Option<&ArchiverFacts>,
) -> Result<ArchiveStatus, String> {
    let mut evidence = Evidence::default();
    let assessed = settle(repository, &mut evidence, |known| assess_archive(archive, known, server)).await;
    let mut status = assessed.map_err(|error| error_chain(&error))??;
    if let Some(last_archived) = last_archived {
        let is_lost = last_archived.is_lost_from(repository).await.map_err(|error| error_chain(&error))?;
        status.lost = is_lost.then_some(last_archived.file);
    }
    let listed = evidence.wal(archive, None);
    if let (Ok(ListedWal::Held(held)), Some(reach), true) = (listed, &status.reach, status.has_gaps()) {
        let alone = Repositories::new(vec![repository.clone()]);
        let listing = Listing::of_source(&alone, &archive.system, &archive.source).await;
        if let Some(unlisted) = listing.unlisted.first() {
            return Err(format!("failed to look for base backups: {}", unlisted.reason()));
        }
        // `drctl verify` reports unreadable manifests.
        let inventory = Inventory::load(&listing, &archive.system, &[BackupKind::Base]).await;
        let (intact, reach) = (status.intact(held), reach.clone());
        let mut bases: Vec<&Manifest> = inventory.backups.iter().map(|record| &record.manifest).collect();
        status.base = loop {
            let found = base_after_gaps(archive, &intact, &reach, bases.iter().copied()).cloned();
            let physical = bases.iter().find(|base| Some(&base.id) == found.as_ref());
            let Some(physical) = physical.and_then(|base| base.physical.as_ref()) else { break found };
            let judged = settle(repository, &mut evidence, |known| known.provenance(archive, physical)).await;
            match judged.map_err(|error| error_chain(&error))? {
                Provenance::Other(_) => bases.retain(|base| Some(&base.id) != found.as_ref()),
                Provenance::Same | Provenance::Unknown(_) => break found,
            }
        };
    }
    Ok(status)
}

/// Returns what prevents these base backups from being restored from each repository with an intact copy of
/// them. `inventory`: intact copies of all possible parents. Unused repositories are not queried.
pub async fn missing_wal(
    repositories: &Repositories,
    inventory: &Inventory,
    backups: &[&BackupId],
    names: impl Iterator<Item = &RepositoryName>,
) -> MissingWal {
    let mut missing = with_broken_chains(inventory, backups, names);
    for repository in repositories.iter() {
        // One listing, from the oldest begin, serves all backups of a cluster.
        let mut clusters: Vec<(Archive, Vec<(&BackupId, &Physical)>)> = Vec::new();
        for record in backups.iter().filter_map(|id| inventory.find(id)) {
            let (Some(archive), Some(physical)) =
                (Archive::from_manifest(&record.manifest), &record.manifest.physical)
            else {
                continue;
            };
            if !record.is_held_by(&repository.name) {
                continue;
            }
            match clusters.iter_mut().find(|(known, _)| *known == archive) {
                Some((_, bases)) => bases.push((record.id(), physical)),
                None => clusters.push((archive, vec![(record.id(), physical)])),
            }
        }
        for (archive, bases) in clusters {
            for (backup, obstacle) in obstacles(repository, &archive, &bases).await {
                missing.enter(backup, &repository.name, obstacle);
            }
        }
    }
    missing
}

async fn obstacles<'b>(
    repository: &Repository,
    archive: &Archive,
    bases: &[(&'b BackupId, &Physical)],
) -> Vec<(&'b BackupId, Obstacle)> {
    let mut evidence = Evidence::default();
    let asked = settle(repository, &mut evidence, |known| missing_required(archive, bases, known));
    let unknown = |reason: String| {
        bases.iter().map(move |(backup, _)| (*backup, Obstacle::Unknown(reason.clone()))).collect()
    };
    match tokio::time::timeout(LISTED_WITHIN, asked).await {
        Ok(Ok(missing)) => missing,
        Ok(Err(error)) => unknown(error_chain(&error)),
        Err(_) => unknown(format!("its WAL was not listed within {} s", LISTED_WITHIN.as_secs())),
    }
}

/// Returns why a base backup cannot be restored with the WAL of a repository; `None`: it has all that is needed.
pub async fn missing_of(repository: &Repository, archive: &Archive, base: &Manifest) -> Option<Obstacle> {
    let physical = base.physical.as_ref()?;
    let obstacles = obstacles(repository, archive, &[(&base.id, physical)]).await;
    obstacles.into_iter().next().map(|(_, obstacle)| obstacle)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::SystemTime;

    use super::*;
    use crate::model::{SegmentSize, SystemIdentifier, Timeline};
    use crate::repository::fixtures::{noon, repositories, system};
    use crate::store::PutOptions;
    use crate::wal::cluster;

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn archive() -> Archive {
        Archive { system: system(), source: "database".parse().unwrap(), cluster: SystemIdentifier(7) }
    }

    fn key(number: u64) -> String {
        archive().key(WalName::Segment(Segment::new(Timeline::FIRST, number, SIZE)), ".zst")
    }

    /// Writes these segments just now.
    async fn write(repository: &Repository, numbers: &[u64]) {
        for number in numbers {
            let body = "at least sixteen bytes of WAL".into();
            repository.store.put(&key(*number), body, &PutOptions::absent()).await.unwrap();
        }
    }

    async fn archived(root: &Path, numbers: &[u64]) -> Repository {
        let set = repositories(root, &["primary"]).await;
        let repository = set.iter().next().unwrap().clone();
        cluster::record(&repository, &archive(), SIZE, "id", noon(), false).await.unwrap();
        write(&repository, numbers).await;
        repository
    }

    fn gaps(held: &WalInventory) -> usize {
        held.gaps(Timeline::FIRST).len()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_gap_before_a_segment_that_was_just_written_closes_while_it_is_listed_again() {
        let root = tempfile::tempdir().unwrap();
        let repository = archived(root.path(), &[3, 5]).await;
        let archive = archive();
        let listed_once = holdings(&*repository.store, &archive, None, &Identities::default()).await.unwrap();
        assert_eq!(gaps(&listed_once), 1);
        let closing = async {
            tokio::time::sleep(LIST_AGAIN * 2).await;
            write(&repository, &[4]).await;
        };
        let (held, ()) = tokio::join!(settled_holdings(&*repository.store, &archive, None), closing);
        assert_eq!(gaps(&held.unwrap()), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_old_gap_is_reported_at_once_and_a_young_one_once_it_is_old() {
        let root = tempfile::tempdir().unwrap();
        let repository = archived(root.path(), &[3, 5]).await;
        let archive = archive();
        let written = |ago: Duration| {
            let path = root.path().join("primary").join(key(5));
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::from(SystemClock.now()) - ago).unwrap();
        };
        written(Duration::from_secs(60));
        // Listed a second time it would have none.
        let closing = async {
            tokio::time::sleep(LIST_AGAIN * 4).await;
            write(&repository, &[4]).await;
        };
        let (held, ()) = tokio::join!(settled_holdings(&*repository.store, &archive, None), closing);
        assert_eq!(gaps(&held.unwrap()), 1);

        write(&repository, &[7]).await;
        let begun = std::time::Instant::now();
        let held = settled_holdings(&*repository.store, &archive, None).await.unwrap();
        assert_eq!(gaps(&held), 1);
        assert!(begun.elapsed() >= LIST_AGAIN, "it was listed again");
    }
}
