use std::collections::BTreeMap;
use std::time::Duration;

use super::catalog_view::{CatalogView, copy_word};
use crate::catalog::{BackupEntry, CopyEntry};
use crate::model::{BackupId, Manifest, Physical, RepositoryName, chain};
use crate::pipeline::Identities;
use crate::repository::Repository;
use crate::status::assess::KnownRepository;
use crate::text::error_chain;
use crate::wal::{self, Archive, ListError};

const ASKED_WITHIN: Duration = Duration::from_secs(60);

/// Where a base backup is and could not be restored from, for want of write-ahead log or of a backup that it
/// builds on.
#[derive(Default)]
pub(super) struct MissingWal(BTreeMap<(BackupId, RepositoryName), Want>);

struct Want {
    word: &'static str,
    reason: String,
}

impl MissingWal {
    /// A copy in one word.
    pub(super) fn word(&self, entry: &BackupEntry, place: &KnownRepository) -> &'static str {
        match self.of(entry.id(), &place.name) {
            Some(want) => want.word,
            None => copy_word(entry.copy(&place.name), place.reached),
        }
    }

    pub(super) fn reason(&self, backup: &BackupId, repository: &RepositoryName) -> Option<&str> {
        self.of(backup, repository).map(|want| want.reason.as_str())
    }

    fn of(&self, backup: &BackupId, repository: &RepositoryName) -> Option<&Want> {
        self.0.get(&(backup.clone(), repository.clone()))
    }
}

impl CatalogView {
    /// Asks each repository for the log that the base backups it has need. With `--offline` nobody is asked,
    /// and nothing said about it. `all`: what they may build on is among these.
    pub(super) async fn lacking(&self, entries: &[&BackupEntry], all: &[BackupEntry]) -> MissingWal {
        let mut lacking = MissingWal::default();
        for place in self.places() {
            for entry in entries.iter().filter(|entry| is_good(entry, &place.name)) {
                if let Err(broken) = chain(&entry.manifest, |id| find(all, id, &place.name)) {
                    let want = Want { word: "broken", reason: broken.to_string() };
                    lacking.0.insert((entry.id().clone(), place.name.clone()), want);
                }
            }
        }
        for repository in self.repositories.iter() {
            let held = entries.iter().filter(|entry| is_good(entry, &repository.name));
            // One listing, from where the oldest begins, does for all backups of a cluster.
            let mut clusters: Vec<(Archive, Vec<(&BackupEntry, &Physical)>)> = Vec::new();
            for (entry, archive, physical) in held.filter_map(|entry| base(entry)) {
                match clusters.iter_mut().find(|(known, _)| *known == archive) {
                    Some((_, backups)) => backups.push((entry, physical)),
                    None => clusters.push((archive, vec![(entry, physical)])),
                }
            }
            for (archive, backups) in clusters {
                for (entry, want) in wants(repository, &archive, &backups).await {
                    // That it cannot be put together stays said.
                    lacking.0.entry((entry.id().clone(), repository.name.clone())).or_insert(want);
                }
            }
        }
        lacking
    }
}

fn is_good(entry: &BackupEntry, repository: &RepositoryName) -> bool {
    entry.copy(repository).is_some_and(CopyEntry::is_good)
}

fn find<'e>(all: &'e [BackupEntry], id: &BackupId, repository: &RepositoryName) -> Option<&'e Manifest> {
    let entry = all.iter().find(|entry| entry.id() == id && is_good(entry, repository));
    entry.map(|entry| &entry.manifest)
}

fn base(entry: &BackupEntry) -> Option<(&BackupEntry, Archive, &Physical)> {
    let manifest = &entry.manifest;
    let physical = manifest.physical.as_ref()?;
    Some((entry, Archive::of(manifest)?, physical))
}

async fn wants<'a>(
    repository: &Repository,
    archive: &Archive,
    backups: &[(&'a BackupEntry, &Physical)],
) -> Vec<(&'a BackupEntry, Want)> {
    let since = backups.iter().map(|(_, physical)| wal::first_segment(physical)).min();
    let identities = Identities::default();
    let asked = wal::holdings(&*repository.store, archive, since, &identities);
    let unknown = |reason: String| Want { word: "unknown", reason };
    let all = |want: &dyn Fn(&Physical) -> Option<Want>| {
        backups.iter().filter_map(|(entry, physical)| Some((*entry, want(physical)?))).collect()
    };
    let not_yet = |reason: String| Want { word: "not yet restorable", reason };
    match tokio::time::timeout(ASKED_WITHIN, asked).await {
        Ok(Ok(holdings)) => {
            all(&|physical| holdings.lacks(physical).map(|lacking| not_yet(lacking.to_string())))
        }
        Ok(Err(error @ ListError::Never { .. })) => all(&|_| Some(not_yet(error_chain(&error)))),
        Ok(Err(error)) => all(&|_| Some(unknown(error_chain(&error)))),
        Err(_) => all(&|_| Some(unknown("it did not say what write-ahead log it has".to_owned()))),
    }
}
