//! The backups of each source, kind and repository, counted. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::catalog::BackupEntry;
use crate::model::{AssuranceLevel, BackupId, BackupKind, Manifest, RepositoryName, SourceName};
use crate::recoverability::time_check::is_dated_in_future;

/// Sizes of backups that are older say nothing of today's.
const SIZES_OF: TimeDelta = TimeDelta::days(30);
/// Fewer have no median that means anything.
const FEWEST: usize = 3;

/// The backups of one kind of one source in one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackupStock {
    pub source: SourceName,
    pub kind: BackupKind,
    pub repository: RepositoryName,
    /// Those that are held.
    pub count: usize,
    pub stored_bytes: u64,
    /// The newest that no check found damaged.
    pub newest: Option<NewestBackup>,
    /// Half of the median of the full backups of 30 days before the newest one. `None`: they are too few, or the newest
    /// is incremental.
    pub least_expected_bytes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewestBackup {
    pub backup: BackupId,
    pub begun: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    pub stored_bytes: u64,
    pub state: AssuranceLevel,
}

/// Counts the backups of each source, kind and repository. One that is dated in the future counts for its size only.
pub fn stocks(entries: &[BackupEntry], now: DateTime<Utc>) -> Vec<BackupStock> {
    let mut held: BTreeMap<(&SourceName, BackupKind, &RepositoryName), Vec<&BackupEntry>> = BTreeMap::new();
    for entry in entries {
        for copy in entry.copies.iter().filter(|copy| copy.is_held()) {
            held.entry((&entry.manifest.source, entry.manifest.kind, &copy.repository))
                .or_default()
                .push(entry);
        }
    }
    held.into_iter()
        .map(|((source, kind, repository), own)| stock((source, kind, repository), &own, now))
        .collect()
}

fn stock(
    (source, kind, repository): (&SourceName, BackupKind, &RepositoryName),
    own: &[&BackupEntry],
    now: DateTime<Utc>,
) -> BackupStock {
    let good = own.iter().filter_map(|entry| {
        let copy = entry.copy(repository).filter(|copy| copy.is_good())?;
        (!is_dated_in_future(&entry.manifest, now)).then_some((&entry.manifest, copy.state))
    });
    let newest = good.max_by_key(|(manifest, _)| (manifest.begun, &manifest.id));
    BackupStock {
        source: source.clone(),
        kind,
        repository: repository.clone(),
        count: own.len(),
        stored_bytes: own.iter().map(|entry| entry.manifest.stored_size()).sum(),
        least_expected_bytes: newest.and_then(|(manifest, _)| least_expected(manifest, own)),
        newest: newest.map(|(manifest, state)| NewestBackup {
            backup: manifest.id.clone(),
            begun: manifest.begun,
            ended: manifest.ended,
            stored_bytes: manifest.stored_size(),
            state,
        }),
    }
}

fn is_full(manifest: &Manifest) -> bool {
    let of_base = manifest.physical.as_ref().and_then(|physical| physical.parent.as_ref());
    manifest.parent.is_none() && of_base.is_none()
}

fn least_expected(newest: &Manifest, own: &[&BackupEntry]) -> Option<u64> {
    let since = newest.begun - SIZES_OF;
    let is_earlier = |manifest: &&Manifest| since <= manifest.begun && manifest.begun < newest.begun;
    let earlier = own.iter().map(|entry| &entry.manifest).filter(is_earlier).filter(|one| is_full(one));
    let mut sizes: Vec<u64> = earlier.map(Manifest::stored_size).collect();
    sizes.sort_unstable();
    let median = *sizes.get(sizes.len() / 2)?;
    (is_full(newest) && sizes.len() >= FEWEST).then_some(median / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CopyEntry;
    use crate::model::{CheckDepth, CopyCheck, CopyFault, ObjectFault};
    use crate::repository::fixtures::{backup, noon};

    fn entry(minutes: i64, size: u64, copies: &[(&str, bool)]) -> BackupEntry {
        let mut manifest = backup(minutes).0;
        manifest.artifacts[0].objects.truncate(1);
        manifest.artifacts[0].objects[0].stored.size = size;
        let copy = |(name, is_good): &(&str, bool)| {
            let repository: RepositoryName = name.parse().unwrap();
            let fault = ObjectFault { object: "x".into(), fault: CopyFault::Short, detail: String::new() };
            let check = CopyCheck {
                backup: manifest.id.clone(),
                repository: repository.clone(),
                at: noon(),
                depth: CheckDepth::Stored,
                faults: vec![fault],
            };
            let last_check = (!is_good).then_some(check);
            CopyEntry { repository, state: AssuranceLevel::Stored, vanished: None, last_check }
        };
        BackupEntry { copies: copies.iter().map(copy).collect(), manifest }
    }

    #[test]
    fn the_newest_good_copy_counts_and_all_that_are_held_have_a_size() {
        let both = [("primary", true), ("west", true)];
        let mut gone = entry(40, 9, &both);
        gone.copies[0].vanished = Some(noon());
        let entries = [gone, entry(30, 7, &[("primary", false)]), entry(10, 5, &both)];
        let found = stocks(&entries, noon() + TimeDelta::hours(2));
        let told: Vec<_> = found
            .iter()
            .map(|stock| {
                let begun = stock.newest.as_ref().map(|newest| (newest.begun - noon()).num_minutes());
                (stock.repository.as_str(), stock.count, stock.stored_bytes, begun)
            })
            .collect();
        assert_eq!(told, [("primary", 2, 12, Some(10)), ("west", 2, 14, Some(40))]);
        // One of a wrong clock is no newest backup.
        let found = stocks(&entries, noon());
        assert_eq!(found[0].newest, None);
    }

    #[test]
    fn a_backup_is_measured_by_those_before_it() {
        let both = [("primary", true)];
        let entries = |last: u64| [entry(40, last, &both), entry(30, 100, &both), entry(20, 110, &both)];
        let now = noon() + TimeDelta::hours(2);
        assert_eq!(stocks(&entries(10), now)[0].least_expected_bytes, None, "two are too few");
        let mut four = entries(10).to_vec();
        four.push(entry(10, 4000, &both));
        assert_eq!(stocks(&four, now)[0].least_expected_bytes, Some(55));
        four[0].manifest.parent = Some(four[1].manifest.id.clone());
        assert_eq!(stocks(&four, now)[0].least_expected_bytes, None, "an incremental one is small");
    }
}
