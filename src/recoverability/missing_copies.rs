//! Backups that a repository is known to have had, or should have, and that are missing there. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::assess::KnownRepository;
use crate::catalog::{BackupEntry, BackupHistory};
use crate::model::{BackupId, RepositoryName};
use crate::text::format_time;

/// A backup that a repository lacks, and that was not removed on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissingCopy {
    pub backup: BackupId,
    pub repository: RepositoryName,
    /// When a listing first showed it as missing; `None`: it is not known to have been there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// No repository holds it any more.
    pub is_lost: bool,
    /// Another repository is known to hold it. Where neither is so, one that could not be queried may.
    #[serde(skip)]
    pub is_elsewhere: bool,
}

impl MissingCopy {
    /// Returns whether it was there before, as opposed to a copy not created yet.
    pub fn is_gone(&self) -> bool {
        self.since.is_some() || self.is_lost
    }
}

impl fmt::Display for MissingCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.since, self.is_lost) {
            (Some(since), false) => write!(f, "it is missing since {}", format_time(since)),
            (Some(since), true) => {
                write!(f, "it is missing since {}, and no repository has it", format_time(since))
            }
            (None, true) => f.write_str("the journal has its record, and no repository has it"),
            (None, false) if self.is_elsewhere => f.write_str("another repository has it"),
            (None, false) => f.write_str(
                "the journal has its record, and only a repository that could not be queried may have it",
            ),
        }
    }
}

/// Returns the missing copies in these repositories, newest first. `entries`: also those that no repository
/// holds any more. For a repository that could not be queried, only earlier findings are returned.
pub fn missing_copies(
    entries: &[BackupEntry],
    history: &BackupHistory,
    repositories: &[KnownRepository],
) -> Vec<MissingCopy> {
    let known: BTreeMap<&BackupId, &BackupEntry> = entries.iter().map(|entry| (entry.id(), entry)).collect();
    let ids: BTreeSet<&BackupId> = known.keys().copied().chain(&history.taken).collect();
    // Removed wherever it was: a repository that never had it does not lack it.
    let removed: BTreeSet<&BackupId> = history.removed.iter().map(|(id, _)| id).collect();
    // A repository that could not be queried may hold it.
    let all_reached = repositories.iter().all(|repository| repository.reached);
    let mut missing = Vec::new();
    for id in ids.into_iter().rev() {
        let entry = known.get(id);
        let is_elsewhere = entry.is_some_and(|entry| entry.is_held());
        let is_lost = !is_elsewhere && all_reached;
        for repository in repositories {
            let copy = entry.and_then(|entry| entry.copy(&repository.name));
            let since = copy.and_then(|copy| copy.vanished);
            let is_held = copy.is_some_and(|copy| copy.is_held());
            let was_removed = history.is_removed(id, &repository.name)
                || (since.is_none() && is_lost && removed.contains(id));
            if is_held || was_removed || (since.is_none() && !repository.reached) {
                continue;
            }
            let (backup, repository) = (id.clone(), repository.name.clone());
            missing.push(MissingCopy { backup, repository, since, is_lost, is_elsewhere });
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CopyEntry;
    use crate::model::AssuranceLevel;
    use crate::repository::fixtures::{backup, noon};

    fn entry(minutes: i64, copies: &[(&str, bool)]) -> BackupEntry {
        let copies = copies.iter().map(|(name, is_held)| CopyEntry {
            repository: name.parse().unwrap(),
            state: AssuranceLevel::Stored,
            vanished: (!is_held).then(noon),
            last_check: None,
        });
        BackupEntry { manifest: backup(minutes).0, copies: copies.collect() }
    }

    fn both(west_reached: bool) -> [KnownRepository; 2] {
        [("primary", true), ("west", west_reached)]
            .map(|(name, reached)| KnownRepository { name: name.parse().unwrap(), reached })
    }

    /// Minutes, repository, whether it was there, whether it is nowhere.
    fn shown(missing: &[MissingCopy]) -> Vec<(i64, &str, bool, bool)> {
        let rows = missing.iter().map(|copy| {
            let minutes = (copy.backup.begun() - noon()).num_minutes();
            (minutes, copy.repository.as_str(), copy.since.is_some(), copy.is_lost)
        });
        rows.collect()
    }

    #[test]
    fn a_copy_is_missing_until_it_is_there_again_or_was_removed_on_purpose() {
        let entries = [
            entry(0, &[("primary", true), ("west", true)]),
            entry(1, &[("primary", true), ("west", false)]),
            entry(2, &[("primary", true)]),
            entry(3, &[("primary", false), ("west", false)]),
        ];
        let mut history = BackupHistory::default();
        // Only the journal knows of it.
        history.taken.extend([backup(0).0.id, backup(4).0.id]);
        let found = missing_copies(&entries, &history, &both(true));
        let expected = [
            (4, "primary", false, true),
            (4, "west", false, true),
            (3, "primary", true, true),
            (3, "west", true, true),
            (2, "west", false, false),
            (1, "west", true, false),
        ];
        assert_eq!(shown(&found), expected);
        assert!(!found[4].is_gone() && found[5].is_gone() && found[0].is_gone());
        for minutes in [1, 3, 4] {
            for name in ["primary", "west"] {
                history.removed.insert((backup(minutes).0.id, name.parse().unwrap()));
            }
        }
        assert_eq!(shown(&missing_copies(&entries, &history, &both(true))), [(2, "west", false, false)]);
    }

    #[test]
    fn of_what_could_not_be_asked_only_what_was_known_is_said() {
        let entries = [entry(0, &[("primary", true)]), entry(1, &[("primary", false), ("west", false)])];
        let found = missing_copies(&entries, &BackupHistory::default(), &both(false));
        assert_eq!(shown(&found), [(1, "primary", true, false), (1, "west", true, false)]);
        // Only the journal knows of it: whether another repository has it is not known.
        let mut history = BackupHistory::default();
        history.taken.insert(backup(2).0.id);
        let found = missing_copies(&entries, &history, &both(false));
        assert_eq!(shown(&found)[0], (2, "primary", false, false));
        assert!(found[0].to_string().contains("could not be queried may have it"), "{}", found[0]);
        let elsewhere = missing_copies(&[entry(3, &[("west", true)])], &history, &both(false));
        assert_eq!(elsewhere[0].to_string(), "another repository has it");
    }
}
