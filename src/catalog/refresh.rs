use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use futures_util::stream;

use super::{Catalog, CatalogError};
use crate::model::{BackupId, RepositoryName, RunId, SystemName};
use crate::repository::{
    Lost, ManifestError, Repositories, Repository, StoreError, journal, layout, list_all, manifest,
};

/// Manifests or records that are read at a time; each is at most a few MiB.
const PARALLEL: usize = 8;

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What is not known yet.
    New,
    /// Everything: what is known of the repositories that can be reached is dropped first.
    Whole,
}

/// What a refresh found.
#[derive(Debug, Default)]
pub struct Refreshed {
    /// Repositories that were listed whole.
    pub seen: Vec<RepositoryName>,
    /// Repositories that were not, and why: what is known of them is kept, and may be old.
    pub lost: Vec<Lost>,
    /// Copies that were not known.
    pub found: BTreeSet<(RepositoryName, BackupId)>,
    /// Those of them that had been there before, and gone.
    pub returned: BTreeSet<(RepositoryName, BackupId)>,
    /// Copies that were known and are gone.
    pub vanished: Vec<(RepositoryName, BackupId)>,
    /// Manifests that stand in a repository and cannot be accepted: not backups of this system.
    pub refused: Vec<Refused>,
    /// Records of the journal that could not be read, in words.
    pub unread: Vec<String>,
    pub runs: usize,
}

impl Refreshed {
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty()
    }
}

/// A manifest that was not entered.
#[derive(Debug)]
pub struct Refused {
    pub repository: RepositoryName,
    pub backup: BackupId,
    pub error: ManifestError,
}

/// Brings the catalog up to what the repositories hold.
///
/// `repositories` is the policy's whole set, as [`Repositories::for_reading`] left it.
///
/// # Errors
/// Only the catalog's own: a repository that fails is in [`Refreshed::lost`].
pub async fn refresh(
    catalog: &Catalog,
    system: &SystemName,
    repositories: &Repositories,
    depth: Depth,
    now: DateTime<Utc>,
) -> Result<Refreshed, CatalogError> {
    let mut refreshed = Refreshed { lost: repositories.lost().to_vec(), ..Refreshed::default() };
    let listings = stream::iter(repositories.iter().cloned()).map(async |repository| {
        let listing = list(&repository, system).await;
        (repository, listing)
    });
    let listings: Vec<_> = listings.buffered(PARALLEL).collect().await;

    if depth == Depth::Whole {
        catalog.clear_runs().await?;
    }
    let mut runs = BTreeMap::new();
    for (repository, listing) in listings {
        match listing {
            Ok(listing) => {
                if depth == Depth::Whole {
                    catalog.clear_repository(&repository.name).await?;
                }
                enter(catalog, system, repositories.id(), &repository, listing.backups, now, &mut refreshed)
                    .await?;
                for run in listing.runs {
                    runs.entry(run).or_insert_with(|| repository.clone());
                }
            }
            Err(error) => refreshed.lost.push(Lost::new(&repository, error)),
        }
    }
    if depth == Depth::Whole {
        catalog.clear_orphans().await?;
    }
    for lost in &refreshed.lost {
        catalog.record_problem(&lost.name, &lost.reason()).await?;
    }
    read_journal(catalog, system, runs, &mut refreshed).await?;
    apply_checks(catalog, &refreshed).await?;
    Ok(refreshed)
}

/// What a repository holds, by its keys.
struct Listing {
    backups: BTreeSet<BackupId>,
    runs: Vec<RunId>,
}

async fn list(repository: &Repository, system: &SystemName) -> Result<Listing, StoreError> {
    let objects = list_all(&*repository.store, &layout::system(system)).await?;
    let keys = || objects.iter().map(|object| object.key.as_str());
    Ok(Listing {
        backups: keys().filter_map(layout::parse_manifest).collect(),
        runs: keys().filter_map(layout::parse_journal_record).collect(),
    })
}

async fn enter(
    catalog: &Catalog,
    system: &SystemName,
    repository_id: Option<&str>,
    repository: &Repository,
    listed: BTreeSet<BackupId>,
    now: DateTime<Utc>,
    refreshed: &mut Refreshed,
) -> Result<(), CatalogError> {
    let name = &repository.name;
    let (known, gone) = catalog.held_by(name).await?;
    let mut reads = stream::iter(listed.difference(&known).cloned())
        .map(async |backup| {
            let read = manifest::read(&*repository.store, system, &backup).await;
            (backup, read)
        })
        .buffer_unordered(PARALLEL);
    while let Some((backup, read)) = reads.next().await {
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
            Ok(manifest) => {
                catalog.record_backup(&manifest, std::slice::from_ref(name)).await?;
                if gone.contains(&backup) {
                    refreshed.returned.insert((name.clone(), backup.clone()));
                }
                refreshed.found.insert((name.clone(), backup));
            }
            Err(error) => refreshed.refused.push(Refused { repository: name.clone(), backup, error }),
        }
    }
    for backup in known.difference(&listed) {
        catalog.record_vanished(backup, name, now).await?;
        refreshed.vanished.push((name.clone(), backup.clone()));
    }
    catalog.record_seen(name, &repository.store.location(), repository_id, now).await?;
    refreshed.seen.push(name.clone());
    Ok(())
}

/// A record that cannot be read costs what it says, not the refresh.
async fn read_journal(
    catalog: &Catalog,
    system: &SystemName,
    mut runs: BTreeMap<RunId, Repository>,
    refreshed: &mut Refreshed,
) -> Result<(), CatalogError> {
    for known in catalog.run_ids().await? {
        runs.remove(&known);
    }
    let mut reads = stream::iter(runs)
        .map(async |(run, repository)| {
            let read = journal::read(&*repository.store, system, &run).await;
            (repository, read)
        })
        .buffered(PARALLEL);
    while let Some((repository, read)) = reads.next().await {
        match read {
            Ok((record, _)) => {
                catalog.record_run(&record).await?;
                refreshed.runs += 1;
            }
            Err(error) => refreshed.unread.push(Lost::new(&repository, error).reason()),
        }
    }
    Ok(())
}

/// A run may have been known before the copy it checked was: the repository could not be reached then.
async fn apply_checks(catalog: &Catalog, refreshed: &Refreshed) -> Result<(), CatalogError> {
    let Some(oldest) = refreshed.found.iter().map(|(_, backup)| backup.begun()).min() else {
        return Ok(());
    };
    for run in catalog.runs(Some(oldest)).await? {
        for check in &run.detail.checks {
            let copy = (check.repository.clone(), check.backup.clone());
            // What was found about a copy that went and came back says nothing about the new one.
            if refreshed.found.contains(&copy) && !refreshed.returned.contains(&copy) {
                catalog.record_check(check).await?;
            }
        }
    }
    Ok(())
}
