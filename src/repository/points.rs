//! Recovery points: backups of several sources that belong together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::inventory::{BackupRecord, Inventory};
use crate::model::{BackupId, PointMode, RepositoryName, RunId, SourceName};
use crate::text::approximate_duration;

/// Backups of several sources that a run took as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecoveryPoint {
    /// The run that took it.
    pub id: RunId,
    /// That of the first member that is there.
    pub time: DateTime<Utc>,
    /// The worst of its members.
    pub mode: PointMode,
    #[serde(rename = "spread_seconds", serialize_with = "seconds")]
    pub spread: Duration,
    /// In the order they were taken.
    pub members: Vec<MemberBackups>,
    /// What each repository could give back alone, in the order of the policy.
    pub copies: Vec<PointCopy>,
}

/// A source of a recovery point, with its backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberBackups {
    pub source: SourceName,
    /// One for each method; empty: no repository has any.
    pub backups: Vec<BackupId>,
    /// Whether one of them can be restored, from whichever repositories.
    pub is_restorable: bool,
}

/// A repository, and what it lacks to give a point back alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PointCopy {
    pub repository: RepositoryName,
    /// Members that cannot be restored from it alone; empty: the point is restorable from there.
    pub lacks: Vec<SourceName>,
}

impl RecoveryPoint {
    /// Returns how well its members fit together, like `ordered (spread 3m 12s)`.
    pub fn label(&self) -> String {
        point_label(self.mode, self.spread)
    }

    /// Returns the members of which no backup is left.
    pub fn missing(&self) -> impl Iterator<Item = &SourceName> {
        self.members.iter().filter(|member| member.backups.is_empty()).map(|member| &member.source)
    }

    /// Returns whether each member can be restored, from whichever repositories.
    pub fn is_restorable(&self) -> bool {
        self.members.iter().all(|member| member.is_restorable)
    }

    pub fn is_restorable_from(&self, repository: &RepositoryName) -> bool {
        self.copies.iter().any(|copy| copy.repository == *repository && copy.lacks.is_empty())
    }
}

/// Returns how well backups fit together, with the time from the oldest to the newest data where that is not of one time.
pub fn point_label(mode: PointMode, spread: Duration) -> String {
    match mode {
        PointMode::Ordered | PointMode::Independent if spread.as_secs() > 0 => {
            format!("{mode} (spread {})", approximate_duration(spread))
        }
        _ => mode.to_string(),
    }
}

/// Returns the recovery points, newest first: what a run took as one, and where a run took several sources without saying
/// so, these as independent. Pure.
pub fn recovery_points(inventory: &Inventory, repositories: &[RepositoryName]) -> Vec<RecoveryPoint> {
    let mut by_run: BTreeMap<&RunId, Vec<&BackupRecord>> = BTreeMap::new();
    for record in &inventory.backups {
        by_run.entry(&record.manifest.run).or_default().push(record);
    }
    let points =
        by_run.into_iter().filter_map(|(run, records)| point(run, &records, inventory, repositories));
    let mut points: Vec<_> = points.collect();
    points.sort_by(|one, other| (other.time, &other.id).cmp(&(one.time, &one.id)));
    points
}

fn point(
    run: &RunId,
    records: &[&BackupRecord],
    inventory: &Inventory,
    repositories: &[RepositoryName],
) -> Option<RecoveryPoint> {
    // What the run took besides is no part of the point.
    let of_point: Vec<_> = records.iter().copied().filter(|record| record.manifest.point.is_some()).collect();
    let facts = of_point.iter().filter_map(|record| record.manifest.point.as_ref());
    let (records, members, mode) = match facts.clone().next() {
        Some(first) => {
            let mode = facts.map(|facts| facts.mode).max().unwrap_or(PointMode::Independent);
            (of_point, first.members.clone(), mode)
        }
        None => {
            let mut begun: Vec<_> = records.to_vec();
            begun.sort_by_key(|record| record.id());
            let (mut members, mut seen) = (Vec::new(), BTreeSet::new());
            for record in begun {
                if seen.insert(&record.manifest.source) {
                    members.push(record.manifest.source.clone());
                }
            }
            if members.len() < 2 {
                return None;
            }
            (records.to_vec(), members, PointMode::Independent)
        }
    };
    let of = |member: &SourceName| {
        let member = member.clone();
        records.iter().copied().filter(move |record| record.manifest.source == member)
    };
    let is_whole_in = |record: &BackupRecord, repository: &RepositoryName| {
        record.is_held_by(repository) && inventory.chain_in(record, repository).is_ok()
    };
    // Each link of a chain may be read from another repository.
    let is_whole = |record: &&BackupRecord| {
        let find = |id: &BackupId| inventory.find(id).map(|record| &record.manifest);
        !record.holders.is_empty() && crate::model::chain(&record.manifest, find).is_ok()
    };
    let copies = repositories.iter().map(|repository| PointCopy {
        repository: repository.clone(),
        lacks: members
            .iter()
            .filter(|member| !of(member).any(|record| is_whole_in(record, repository)))
            .cloned()
            .collect(),
    });
    let copies: Vec<_> = copies.collect();
    let times = || records.iter().map(|record| record.manifest.recovery_point);
    let spread =
        times().max().zip(times().min()).and_then(|(newest, oldest)| (newest - oldest).to_std().ok());
    Some(RecoveryPoint {
        id: run.clone(),
        time: members
            .iter()
            .find_map(|member| of(member).map(|record| record.manifest.recovery_point).min())?,
        mode,
        spread: spread.unwrap_or_default(),
        members: members
            .iter()
            .map(|member| MemberBackups {
                source: member.clone(),
                backups: of(member).map(|record| record.id().clone()).collect(),
                is_restorable: of(member).any(|record| is_whole(&record)),
            })
            .collect(),
        copies,
    })
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{BackupKind, PointFacts};
    use crate::repository::fixtures::{backup, noon};

    const SOURCES: [&str; 3] = ["database", "uploads", "search"];

    fn names(names: &[&str]) -> Vec<RepositoryName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    /// A backup of the run that began at that minute, taken so many seconds after it.
    fn record(minute: i64, source: usize, mode: Option<PointMode>, holders: &[&str]) -> BackupRecord {
        let mut manifest = backup(minute).0;
        let name: SourceName = SOURCES[source].parse().unwrap();
        let at = noon() + TimeDelta::minutes(minute) + TimeDelta::seconds(96 * source as i64);
        let kind = if source == 0 { BackupKind::Logical } else { BackupKind::Files };
        manifest.id = BackupId::new(at, &name, kind, 7);
        manifest.kind = kind;
        manifest.source = name;
        manifest.recovery_point = at;
        let members = SOURCES.iter().map(|name| name.parse().unwrap()).collect();
        manifest.point = mode.map(|mode| PointFacts { mode, members, position: source });
        BackupRecord { manifest, holders: names(holders) }
    }

    fn inventory(mut backups: Vec<BackupRecord>) -> Inventory {
        backups.sort_by(|one, other| other.id().cmp(one.id()));
        Inventory { backups, rejected: vec![] }
    }

    #[test]
    fn a_point_says_what_it_is_and_which_copy_has_all_of_it() {
        use PointMode::{Ordered, Paused};
        let both = ["primary", "west"];
        let inventory = inventory(vec![
            record(0, 0, Some(Paused), &both),
            record(0, 1, Some(Paused), &both),
            record(0, 2, Some(Ordered), &both[..1]),
            record(60, 0, Some(Paused), &both),
            record(60, 2, Some(Paused), &both),
            // A backup of its own, and two that one run took by themselves.
            record(90, 0, None, &both),
            record(120, 0, None, &both[1..]),
            record(120, 1, None, &both[1..]),
        ]);
        let points = recovery_points(&inventory, &names(&both));
        let labels: Vec<_> = points.iter().map(RecoveryPoint::label).collect();
        assert_eq!(labels, ["independent (spread 1m 36s)", "paused", "ordered (spread 3m 12s)"]);
        let whole = |point: &RecoveryPoint| {
            (point.is_restorable(), names(&both).iter().map(|name| point.is_restorable_from(name)).collect())
        };
        let whole: Vec<(bool, Vec<bool>)> = points.iter().map(whole).collect();
        assert_eq!(whole[0], (true, vec![false, true]));
        assert_eq!(whole[1], (false, vec![false, false]));
        assert_eq!(whole[2], (true, vec![true, false]));
        let missing: Vec<_> = points[1].missing().map(SourceName::as_str).collect();
        assert_eq!(missing, ["uploads"]);
        assert_eq!(points[1].time, noon() + TimeDelta::minutes(60));
    }

    #[test]
    fn a_member_without_what_it_builds_on_is_not_restorable() {
        let mut child = record(60, 1, Some(PointMode::Ordered), &["primary"]);
        let full = record(0, 1, None, &["west"]);
        child.manifest.parent = Some(full.id().clone());
        let rest = [0, 2].map(|source| record(60, source, Some(PointMode::Ordered), &["primary"]));
        let point =
            |backups: Vec<BackupRecord>| recovery_points(&inventory(backups), &names(&["primary"])).remove(0);
        let whole = point([rest.to_vec(), vec![child.clone(), full]].concat());
        // The parent is in another repository: together they have it.
        assert_eq!((whole.is_restorable(), whole.copies[0].lacks.len()), (true, 1));
        let broken = point([rest.to_vec(), vec![child]].concat());
        assert!(!broken.is_restorable());
    }

    proptest! {
        /// Whatever backups are there, a copy has a point only if it has each member, and losing one never adds a point.
        #[test]
        fn a_copy_has_a_point_only_with_every_member(
            all in prop::collection::vec((0i64..4, 0usize..3, 0usize..4, any::<bool>()), 0..20),
            lost in 0usize..20,
        ) {
            let holders: [&[&str]; 4] = [&["primary"], &["west"], &["primary", "west"], &[]];
            let mut records: Vec<BackupRecord> = vec![];
            for (minute, source, held, is_point) in all {
                let mode = is_point.then_some(PointMode::Ordered);
                let record = record(minute * 30, source, mode, holders[held]);
                if records.iter().all(|other| other.id() != record.id()) {
                    records.push(record);
                }
            }
            let repositories = names(&["primary", "west"]);
            let before = recovery_points(&inventory(records.clone()), &repositories);
            for point in &before {
                for copy in &point.copies {
                    let has_all = point.members.iter().all(|member| {
                        records.iter().any(|record| {
                            member.backups.contains(record.id()) && record.is_held_by(&copy.repository)
                        })
                    });
                    prop_assert_eq!(copy.lacks.is_empty(), has_all);
                    prop_assert!(!has_all || point.is_restorable());
                }
            }
            if lost < records.len() {
                records.remove(lost);
                let after = recovery_points(&inventory(records), &repositories);
                for point in after.iter().filter(|point| point.is_restorable() && point.mode != PointMode::Independent) {
                    prop_assert!(before.iter().any(|was| was.id == point.id && was.is_restorable()));
                }
            }
        }
    }
}
