use std::collections::BTreeMap;
use std::time::Duration;

use super::known::{Known, copy_word};
use crate::catalog::BackupEntry;
use crate::event::told;
use crate::model::{BackupId, Physical, RepositoryName};
use crate::pipeline::Identities;
use crate::repository::Repository;
use crate::upkeep::standing::Place;
use crate::wal::{self, Archive, ListError};

const ASKED_WITHIN: Duration = Duration::from_secs(60);

/// Where a base backup is and could not be restored from, for want of write-ahead log.
#[derive(Default)]
pub(super) struct Lacking(BTreeMap<(BackupId, RepositoryName), Want>);

struct Want {
    word: &'static str,
    reason: String,
}

impl Lacking {
    /// A copy in one word.
    pub(super) fn word(&self, entry: &BackupEntry, place: &Place) -> &'static str {
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

impl Known {
    /// Asks each repository for the log that the base backups it has need. With `--offline` nobody is asked,
    /// and nothing said about it.
    pub(super) async fn lacking(&self, entries: &[&BackupEntry]) -> Lacking {
        let mut lacking = Lacking::default();
        for repository in self.repositories.iter() {
            let held = entries.iter().filter(|entry| {
                entry.copy(&repository.name).is_some_and(|copy| copy.is_held() && copy.is_good())
            });
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
                    lacking.0.insert((entry.id().clone(), repository.name.clone()), want);
                }
            }
        }
        lacking
    }
}

fn base(entry: &BackupEntry) -> Option<(&BackupEntry, Archive, &Physical)> {
    let manifest = &entry.manifest;
    let physical = manifest.physical.as_ref()?;
    let cluster = manifest.server.as_ref()?.system_identifier.as_ref()?.parse().ok()?;
    Some((
        entry,
        Archive { system: manifest.system.clone(), source: manifest.source.clone(), cluster },
        physical,
    ))
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
        Ok(Err(error @ ListError::Never { .. })) => all(&|_| Some(not_yet(told(&error)))),
        Ok(Err(error)) => all(&|_| Some(unknown(told(&error)))),
        Err(_) => all(&|_| Some(unknown("it did not say what write-ahead log it has".to_owned()))),
    }
}
