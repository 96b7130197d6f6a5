//! Since when somebody hides or overwrites backups, as the versions of a store tell, and what a store had before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::model::{BackupId, RepositoryName, SourceName, SystemName};
use crate::repository::Repositories;
use crate::repository::journal::Tombstones;
use crate::repository::layout;
use crate::store::{MARKER, ObjectVersion, Store, StoreError, VersionsByKey, list_versions};
use crate::text::error_chain;

/// As many backups that are hidden within [`TOGETHER`] are no accident.
const MANY: usize = 3;
const TOGETHER: TimeDelta = TimeDelta::hours(1);
/// A writer that got no answer writes the same again.
const RETRIED_WITHIN: TimeDelta = TimeDelta::minutes(10);
/// The resolution of the times of stores.
const JUST_BEFORE: TimeDelta = TimeDelta::milliseconds(1);

/// The hiding or overwriting of many backups of one repository, or of its marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MassHiding {
    pub repository: RepositoryName,
    /// By the store's clock.
    pub since: DateTime<Utc>,
    /// The backups, and the marker, that were hidden or overwritten since.
    pub objects: usize,
}

/// Repositories as they were at an earlier time.
#[derive(Clone, Debug)]
pub struct EarlierView {
    /// Only read.
    pub repositories: Repositories,
    pub time: DateTime<Utc>,
    pub found: LookedBack,
}

/// What the versions of several repositories tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookedBack {
    pub hidings: Vec<MassHiding>,
    /// Repositories that keep no versions, as far as is known: what is overwritten there is lost.
    pub without_versions: Vec<RepositoryName>,
    /// Repositories whose versions were not read, and why.
    pub unread: Vec<String>,
}

impl LookedBack {
    /// Returns the newest moment before anything was hidden; `now` where nothing was.
    pub fn last_intact(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let first = self.hidings.iter().map(|hiding| hiding.since).min();
        first.map_or(now, |first| first - JUST_BEFORE)
    }
}

/// Reads the versions of the backups of a source, and of the markers. `removed`: what retention removed, which is no
/// attack.
pub async fn look_back(
    stores: &[(RepositoryName, Arc<dyn Store>)],
    system: &SystemName,
    source: &SourceName,
    removed: &Tombstones,
) -> LookedBack {
    let mut found = LookedBack::default();
    for (name, store) in stores {
        match versions(&**store, system, source).await {
            Ok(versions) => {
                if !keeps_versions(&versions) {
                    found.without_versions.push(name.clone());
                }
                let is_removed = |backup: &BackupId| removed.has_backup(name, backup);
                let hiding = mass_hiding(system, &versions, is_removed);
                let of_repository =
                    |(since, objects)| MassHiding { repository: name.clone(), since, objects };
                found.hidings.extend(hiding.map(of_repository));
            }
            Err(error) => {
                found.without_versions.push(name.clone());
                let why = error_chain(&error);
                found.unread.push(format!("the versions in `{name}` were not read: {why}"));
            }
        }
    }
    found
}

async fn versions(
    store: &dyn Store,
    system: &SystemName,
    source: &SourceName,
) -> Result<VersionsByKey, StoreError> {
    let mut versions = list_versions(store, &layout::backups(system, source)).await?;
    versions.extend(list_versions(store, MARKER).await?);
    Ok(versions)
}

/// Whether a store gives what is written now a version of its own. One that keeps none names none, or calls each `null`,
/// as what was written before it kept them.
fn keeps_versions(versions: &VersionsByKey) -> bool {
    let all = versions.iter().flat_map(|(_, versions)| versions);
    let newest = all.max_by_key(|version| version.modified);
    newest.and_then(|version| version.id.as_ref()).is_some_and(|id| id != "null")
}

/// What is hidden or overwritten as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Struck {
    Backup(BackupId),
    Marker,
}

/// Returns since when many backups that nobody removed on purpose were hidden or overwritten together, and how many were
/// since. One marker is many. A backup is struck with any of its objects: without one of them it is none.
fn mass_hiding(
    system: &SystemName,
    versions: &VersionsByKey,
    is_removed: impl Fn(&BackupId) -> bool,
) -> Option<(DateTime<Utc>, usize)> {
    // What has no manifest was no backup: an interrupted run takes back what it wrote.
    let with_manifest = versions.iter().filter(|(_, versions)| versions.iter().any(|one| !one.is_marker()));
    let backups: BTreeSet<BackupId> =
        with_manifest.filter_map(|(key, _)| layout::parse_manifest(key)).collect();
    let mut times: BTreeMap<Struck, DateTime<Utc>> = BTreeMap::new();
    for (key, versions) in versions {
        let (struck, at) = match layout::parse_object(system, key) {
            Some((backup, _)) if !backups.contains(&backup) || is_removed(&backup) => continue,
            Some((backup, layout::MANIFEST)) => (Struck::Backup(backup), hidden_at(versions)),
            Some((backup, _)) => (Struck::Backup(backup), lost_at(versions)),
            None if key == MARKER => (Struck::Marker, hidden_at(versions)),
            None => continue,
        };
        if let Some(at) = at {
            let first = times.entry(struck).or_insert(at);
            *first = at.min(*first);
        }
    }
    let threshold = MANY.min(backups.len()).max(1);
    let mut sorted: Vec<(DateTime<Utc>, bool)> =
        times.iter().map(|(struck, at)| (*at, *struck == Struck::Marker)).collect();
    sorted.sort();
    let is_mass = |(at, is_marker): &&(DateTime<Utc>, bool)| {
        let together = sorted.iter().filter(|(other, _)| (*at..=*at + TOGETHER).contains(other));
        *is_marker || together.count() >= threshold
    };
    let since = sorted.iter().find(is_mass)?.0;
    Some((since, sorted.iter().filter(|(at, _)| *at >= since).count()))
}

/// Returns when an object, which is written once, was first hidden by a delete marker or overwritten.
fn hidden_at(versions: &[ObjectVersion]) -> Option<DateTime<Utc>> {
    changed_at(versions, |version, first| {
        version.size != first.size || version.modified - first.modified > RETRIED_WITHIN
    })
}

/// Returns the same of an object of a backup. One of the same size is no such thing: a repair writes it again.
fn lost_at(versions: &[ObjectVersion]) -> Option<DateTime<Utc>> {
    changed_at(versions, |version, first| version.size != first.size)
}

fn changed_at(
    versions: &[ObjectVersion],
    is_change: impl Fn(&ObjectVersion, &ObjectVersion) -> bool,
) -> Option<DateTime<Utc>> {
    let first =
        versions.iter().filter(|version| version.size.is_some()).min_by_key(|version| version.modified)?;
    let later = versions.iter().filter(|version| version.modified >= first.modified);
    later.filter(|version| is_change(version, first)).map(|version| version.modified).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        "2026-11-20T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(minutes)
    }

    fn manifest(n: u32) -> String {
        format!("shop/database/backups/20261120T12{n:02}00Z-database-logical-2222/manifest.json")
    }

    /// The versions of a key, the newest first: minute, and size or a marker.
    fn versions(key: String, all: &[(i64, Option<u64>)]) -> (String, Vec<ObjectVersion>) {
        let of = |(minutes, size): &(i64, Option<u64>)| ObjectVersion {
            id: None,
            modified: at(*minutes),
            size: *size,
            is_latest: false,
            etag: String::new(),
        };
        (key, all.iter().map(of).collect())
    }

    fn found(all: &VersionsByKey) -> Option<(DateTime<Utc>, usize)> {
        mass_hiding(&"shop".parse().unwrap(), all, |_| false)
    }

    #[test]
    fn many_that_are_hidden_or_overwritten_together_are_no_accident() {
        let hidden = |n, minutes| versions(manifest(n), &[(minutes, None), (0, Some(9))]);
        let intact = |n| versions(manifest(n), &[(0, Some(9))]);
        // Two of five may have been removed by hand, also on different days.
        assert_eq!(found(&vec![hidden(1, 100), hidden(2, 101), intact(3), intact(4), intact(5)]), None);
        let far = vec![hidden(1, 100), hidden(2, 500), hidden(3, 900), intact(4)];
        assert_eq!(found(&far), None);
        let overwritten = versions(manifest(3), &[(150, Some(10)), (0, Some(9))]);
        let attack = vec![hidden(1, 5000), hidden(2, 102), overwritten, hidden(4, 110), intact(5)];
        assert_eq!(found(&attack), Some((at(102), 4)));
        // What retention removed is none of it.
        let mine = |backup: &BackupId| backup.begun() == at(2);
        assert_eq!(mass_hiding(&"shop".parse().unwrap(), &attack, mine), None);
        // The only backup that there was, and the marker.
        assert_eq!(found(&vec![hidden(1, 7)]), Some((at(7), 1)));
        let marker = versions(MARKER.to_owned(), &[(8, None), (0, Some(3))]);
        assert_eq!(found(&vec![marker, intact(1), intact(2), intact(3)]), Some((at(8), 1)));
    }

    #[test]
    fn data_that_is_hidden_under_manifests_that_are_there_is_no_accident_either() {
        let data = |n: u32, all: &[(i64, Option<u64>)]| {
            versions(manifest(n).replace("manifest.json", "database.dump.zst.age"), all)
        };
        let intact = |n| versions(manifest(n), &[(0, Some(9))]);
        let mut attack: VersionsByKey = (1..6).map(intact).collect();
        attack.extend([
            data(1, &[(102, None), (0, Some(50))]),
            data(2, &[(105, Some(60)), (0, Some(50))]),
            // Two objects of one backup are one backup.
            data(3, &[(110, None), (0, Some(50))]),
            versions(manifest(3).replace("manifest.json", "details.json.zst"), &[(104, None), (0, Some(4))]),
        ]);
        assert_eq!(found(&attack), Some((at(102), 3)));
        // Repaired: the same bytes again.
        let mut repaired: VersionsByKey = (1..6).map(intact).collect();
        repaired.extend((1..6).map(|n| data(n, &[(300, Some(50)), (0, Some(50))])));
        assert_eq!(found(&repaired), None);
        // Taken back by the run that wrote it, which came to no manifest.
        let mut leftovers: VersionsByKey = (6..9).map(|n| data(n, &[(9, None), (0, Some(50))])).collect();
        leftovers.push(intact(1));
        assert_eq!(found(&leftovers), None);
    }

    #[test]
    fn a_store_that_names_what_is_written_now_keeps_versions() {
        let of = |minutes: i64, id: Option<&str>| {
            let mut one = versions(manifest(1), &[(minutes, Some(9))]);
            one.1[0].id = id.map(str::to_owned);
            one
        };
        assert!(keeps_versions(&vec![of(1, Some("null")), of(2, Some("b"))]));
        // Suspended, it keeps no more.
        assert!(!keeps_versions(&vec![of(1, Some("a")), of(2, Some("null"))]));
        assert!(!keeps_versions(&vec![of(1, None)]) && !keeps_versions(&vec![]));
    }

    #[test]
    fn what_a_writer_repeated_is_not_overwritten_and_other_objects_do_not_count() {
        let retried = versions(manifest(1), &[(1, Some(9)), (0, Some(9))]);
        assert_eq!(found(&vec![retried]), None);
        let lease = versions("shop/leases/database.json".to_owned(), &[(5, Some(8)), (0, Some(9))]);
        assert_eq!(found(&vec![lease]), None);
    }

    #[test]
    fn the_last_intact_moment_is_before_the_first_hiding() {
        let hiding =
            |minutes| MassHiding { repository: "west".parse().unwrap(), since: at(minutes), objects: 3 };
        let found = LookedBack { hidings: vec![hiding(9), hiding(4)], ..LookedBack::default() };
        assert!(found.last_intact(at(60)) < at(4) && found.last_intact(at(60)) > at(3));
        assert_eq!(LookedBack::default().last_intact(at(60)), at(60));
    }
}
