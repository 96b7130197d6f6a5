//! What can be restored from each location, and what is lost with it. Pure.

use std::cmp::Reverse;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::region::{CloudInventory, LiveDatabase, RegionInventory};
use super::wal::{WalArchivesStatus, WalReach, WalStatus};
use super::window::RecoveryWindow;
use crate::model::{BackupId, Location, RepositoryName, SourceName};
use crate::repository::{BackupRecord, Inventory};

/// A repository of the policy, and whether it was reachable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRepository {
    pub name: RepositoryName,
    /// False where the facts about it may be outdated.
    pub reached: bool,
}

/// What can be recovered of one source, from each location alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Recoverability {
    /// Regions first, if any.
    pub locations: Vec<LocationRecoverability>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LocationRecoverability {
    pub location: Location,
    /// Windows in which any point in time is recoverable. Newest first.
    pub windows: Vec<RecoveryWindow>,
    /// Backups that can be restored as they are. Newest first.
    pub points: Vec<RecoverablePoint>,
    /// It could not be queried, so that nothing is promised for it.
    pub is_unknown: bool,
}

/// The recoverable data of one point in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecoverablePoint {
    /// `None`: a recovery point of AWS Backup without a manifest.
    pub backup: Option<BackupId>,
    pub at: DateTime<Utc>,
}

/// The best way to recover to a point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'r> {
    pub location: &'r Location,
    /// `None`: it is recovered from an AWS-managed backup.
    pub backup: Option<&'r BackupId>,
    /// The newest recoverable data, at or before the requested time.
    pub at: DateTime<Utc>,
}

/// The cost of losing locations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss<'r> {
    /// The remaining location with the latest data; `None`: none that is known to have any.
    pub left: Option<&'r Location>,
    /// The age of that data, which is the time span lost.
    pub age: Option<Duration>,
    /// Remaining locations that could not be queried.
    pub unknown: Vec<&'r Location>,
}

/// Assesses one source. `inventory`: intact copies. `archives`: queried WAL; a base backup does not count
/// without it. `cloud`: for a source with AWS-managed backups.
pub fn assess(
    source: &SourceName,
    repositories: &[KnownRepository],
    inventory: &Inventory,
    archives: &WalArchivesStatus,
    cloud: Option<&CloudInventory>,
) -> Recoverability {
    let mut own: Vec<&BackupRecord> = inventory.backups_of(source).collect();
    own.sort_by_key(|record| Reverse((record.manifest.recovery_point, record.id())));
    let live = cloud.and_then(|cloud| cloud.live.as_ref());
    let regions = cloud.iter().flat_map(|cloud| &cloud.regions);
    let mut locations: Vec<_> = regions.map(|region| in_region(region, live, &own)).collect();
    // Of AWS-managed backups, repositories have only the settings of the database.
    if cloud.is_none_or(|cloud| cloud.is_dumped) {
        own.retain(|record| cloud.is_none() || record.manifest.managed.is_none());
        locations.extend(repositories.iter().map(|repository| {
            in_repository(repository, &own, archives.get(&(source.clone(), repository.name.clone())))
        }));
    }
    Recoverability { locations }
}

/// Assesses a region. A snapshot without its manifest is not a backup yet; a recovery point that AWS Backup
/// reports as complete is restorable without one.
fn in_region(
    region: &RegionInventory,
    live: Option<&LiveDatabase>,
    own: &[&BackupRecord],
) -> LocationRecoverability {
    let there = own.iter().filter(|record| {
        let managed = record.manifest.managed.as_ref();
        let id = managed.and_then(|managed| managed.resource_id.as_ref());
        let is_of_another = live.zip(id).is_some_and(|(live, id)| live.is_another_than(id));
        let held = managed.and_then(|managed| managed.held_in(&region.region));
        let is_newest_point =
            held.is_some_and(|held| region.point.as_ref().is_some_and(|point| point.arn == held.arn));
        !is_of_another && (is_newest_point || region.backups.contains(record.id()))
    });
    let mut points: Vec<_> = there.map(|record| point(record)).collect();
    if let Some(point) = &region.point {
        points.push(RecoverablePoint { backup: None, at: point.created });
        points.sort_by_key(|point| Reverse(point.at));
    }
    let windows = region.automated.map(|automated| RecoveryWindow {
        from: automated.earliest,
        until: automated.until,
        backup: None,
        gap: None,
    });
    LocationRecoverability {
        location: Location::Region(region.region.clone()),
        windows: windows.into_iter().collect(),
        points,
        is_unknown: region.unknown.is_some(),
    }
}

fn in_repository(
    repository: &KnownRepository,
    own: &[&BackupRecord],
    archive: Option<&WalStatus>,
) -> LocationRecoverability {
    let reach = archive.and_then(|archive| archive.reach.as_ref());
    let foreign = archive.and_then(|archive| archive.stranger);
    let counts = |record: &BackupRecord| match &record.manifest.physical {
        None => foreign.is_none_or(|foreign| record.manifest.cluster() != Some(foreign.kept)),
        // The WAL determines the newest restorable one.
        Some(_) => reach.is_some_and(|reach| reach.base == *record.id()),
    };
    let there = own.iter().filter(|record| record.is_held_by(&repository.name) && counts(record));
    let from = |reach: &WalReach| {
        let base = own.iter().find(|record| *record.id() == reach.base);
        base.map_or(reach.until, |base| base.manifest.recovery_point)
    };
    LocationRecoverability {
        location: Location::Repository(repository.name.clone()),
        windows: reach.map(|reach| reach.window(from(reach))).into_iter().collect(),
        points: there.map(|record| point(record)).collect(),
        is_unknown: !repository.reached || archive.is_some_and(|archive| archive.unknown.is_some()),
    }
}

fn point(record: &BackupRecord) -> RecoverablePoint {
    RecoverablePoint { backup: Some(record.id().clone()), at: record.manifest.recovery_point }
}

impl LocationRecoverability {
    /// Returns the time of the latest recoverable data.
    pub fn newest(&self) -> Option<DateTime<Utc>> {
        let windows = self.windows.iter().map(|window| window.until);
        windows.chain(self.points.iter().map(|point| point.at)).max()
    }

    /// Returns the newest restorable backup.
    pub fn newest_backup(&self) -> Option<&BackupId> {
        self.points.iter().find_map(|point| point.backup.as_ref())
    }

    /// Returns the age of the newest data, 0 if it is in the future.
    pub fn age(&self, now: DateTime<Utc>) -> Option<Duration> {
        self.newest().map(|newest| (now - newest).to_std().unwrap_or_default())
    }

    fn route(&self, time: DateTime<Utc>) -> Option<Route<'_>> {
        let route = |backup, at| Route { location: &self.location, backup, at };
        let windows = self.windows.iter().filter(|window| window.from.is_none_or(|from| from <= time));
        let windows = windows.map(|window| route(window.backup.as_ref(), window.until.min(time)));
        let points = self.points.iter().filter(|point| point.at <= time);
        let points = points.map(|point| route(point.backup.as_ref(), point.at));
        windows.chain(points).max_by_key(|route| route.at)
    }
}

impl Recoverability {
    /// Returns the location and route to the latest data at or before a time. `None`: nothing from before it
    /// is recoverable.
    pub fn can_reach(&self, time: DateTime<Utc>) -> Option<Route<'_>> {
        let routes = self.locations.iter().rev().filter_map(|location| location.route(time));
        routes.max_by_key(|route| route.at)
    }

    /// Returns the recoverability without these locations.
    pub fn without(&self, lost: &[Location]) -> Self {
        let left = self.locations.iter().filter(|location| !lost.contains(&location.location));
        Self { locations: left.cloned().collect() }
    }

    /// Returns the loss if these locations, and the source with them, were lost now.
    pub fn loss_if_lost(&self, lost: &[Location], now: DateTime<Utc>) -> Loss<'_> {
        let left = self.locations.iter().filter(|location| !lost.contains(&location.location));
        let (unknown, known): (Vec<_>, Vec<_>) = left.partition(|location| location.is_unknown);
        let aged = known.into_iter().filter_map(|known| Some((known.age(now)?, &known.location)));
        let best = aged.min_by_key(|(age, _)| age.as_secs());
        Loss {
            left: best.map(|(_, location)| location),
            age: best.map(|(age, _)| age),
            unknown: unknown.into_iter().map(|unknown| &unknown.location).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::TimeDelta;

    use super::*;
    use crate::model::{
        Checkpoint, Digest, Lsn, Manifest, Physical, Segment, SegmentSize, ServerFacts, Timeline, WalName,
    };
    use crate::postgres::Checkpoints;
    use crate::recoverability::archive::assess_archive;
    use crate::recoverability::evidence::{Evidence, ListedWal, Question};
    use crate::recoverability::missing_wal::{Obstacle, missing_required};
    use crate::recoverability::wal::{assess_wal, wal_windows};
    use crate::repository::fixtures::{backup, noon};
    use crate::wal::{Archive, CommitTimes, SegmentTags, WalFault, WalInventory};

    const SIZE: SegmentSize = SegmentSize::DEFAULT;
    const MINUTES: u64 = 40;

    fn minute(minutes: u64) -> DateTime<Utc> {
        noon() + TimeDelta::minutes(i64::try_from(minutes).unwrap())
    }

    /// A segment of WAL is written a minute; a base backup takes one, and may build on an earlier one.
    fn base(at: u64, on: Option<u64>) -> Manifest {
        let id = |at: u64| -> BackupId {
            let dump = backup(i64::try_from(at).unwrap()).0.id;
            dump.as_str().replace("-logical-", "-base-").parse().unwrap()
        };
        let mut manifest = backup(i64::try_from(at).unwrap()).0;
        manifest.id = id(at);
        manifest.server = Some(ServerFacts {
            version: "17.5".to_owned(),
            major: 17,
            system_identifier: Some("7".to_owned()),
            address: None,
            replaces: None,
        });
        let start = SIZE.begin_of(at);
        let physical = Physical::sample(1, Lsn(start.0 + 40), Lsn(start.0 + 300));
        manifest.physical = Some(Physical { parent: on.map(id), ..physical });
        manifest
    }

    /// The checkpoint that a base backup of that minute was taken after.
    fn checkpoint(at: u64) -> Checkpoint {
        let begin = SIZE.begin_of(at).0;
        Checkpoint { at: Lsn(begin + 64), redo: Lsn(begin + 40), timeline: Timeline::FIRST, time: minute(at) }
    }

    /// A segment without a checkpoint: production's, where a clone was backed up.
    const WITHOUT_CHECKPOINT: u64 = 12;

    /// `damaged`: where recovery ends in a segment that is archived.
    fn answer(
        question: Question,
        segments: &BTreeSet<u64>,
        damaged: Option<(Lsn, WalFault)>,
        evidence: &mut Evidence,
    ) {
        match question {
            Question::Damage { archive, segments } => {
                let found = segments.into_iter().map(|segment| {
                    (segment, damaged.filter(|(at, _)| segment.number(SIZE) == Some(SIZE.number_of(*at))))
                });
                evidence.enter_damage(archive, found);
            }
            Question::Tags { archive, segments } => {
                for segment in segments {
                    let number = segment.number(SIZE).unwrap();
                    let listed = (number != WITHOUT_CHECKPOINT).then(|| checkpoint(number));
                    let checkpoints = Checkpoints { newest: listed.into_iter().collect(), has_older: false };
                    let tags = SegmentTags {
                        plain: Digest::compute(b""),
                        stored: None,
                        completed: minute(number),
                        witnessed: true,
                        known_until: None,
                        newest_commit: None,
                        notable: None,
                        damaged: None,
                        minimal: None,
                        checkpoints: Some(checkpoints),
                        parent: None,
                    };
                    evidence.enter_tags(archive.clone(), segment, Some(tags));
                }
            }
            Question::Wal { archive, since } => {
                let segment = |number: &u64| WalName::Segment(Segment::new(Timeline::FIRST, *number, SIZE));
                let held = WalInventory::new(SIZE, segments.iter().map(segment));
                evidence.enter_wal(archive, since, ListedWal::Held(held));
            }
            Question::CommitTimes { archive, range } => {
                let complete = Some(minute(SIZE.number_of(range.end.lsn)));
                evidence.enter_times(archive, range, CommitTimes { complete, newest_commit: None });
            }
            Question::Written { archive, file } => evidence.enter_written(archive, file, None),
        }
    }

    fn settled<T>(segments: &BTreeSet<u64>, assess: impl Fn(&Evidence) -> Result<T, Question>) -> T {
        settled_with_damage(segments, None, assess)
    }

    fn settled_with_damage<T>(
        segments: &BTreeSet<u64>,
        damaged: Option<(Lsn, WalFault)>,
        assess: impl Fn(&Evidence) -> Result<T, Question>,
    ) -> T {
        let mut evidence = Evidence::default();
        loop {
            match assess(&evidence) {
                Ok(assessed) => return assessed,
                Err(question) => answer(question, segments, damaged, &mut evidence),
            }
        }
    }

    fn windows(bases: &[Manifest], segments: &BTreeSet<u64>) -> Vec<RecoveryWindow> {
        let bases: Vec<&Manifest> = bases.iter().rev().collect();
        settled(segments, |evidence| wal_windows(&bases, evidence, None, &[]))
    }

    fn shown(windows: &[RecoveryWindow]) -> Vec<(i64, i64)> {
        let minutes = |time: DateTime<Utc>| (time - noon()).num_minutes();
        windows.iter().map(|window| (minutes(window.from.unwrap()), minutes(window.until))).collect()
    }

    #[test]
    fn a_window_goes_from_the_oldest_backup_that_leads_through_it_to_what_is_missing() {
        let all: BTreeSet<u64> = (1..20).collect();
        let bases = [base(2, None), base(5, Some(2)), base(12, None)];
        assert_eq!(shown(&windows(&bases, &all)), [(2, 20)]);
        let with_gap = &all - &BTreeSet::from([8]);
        let found = windows(&bases, &with_gap);
        assert_eq!(shown(&found), [(12, 20), (2, 8)]);
        assert!(found[0].gap.is_none() && found[1].gap.as_ref().unwrap().contains("08"), "{found:?}");
        // Without the full one the other cannot be restored.
        assert_eq!(shown(&windows(&bases[1..], &with_gap)), [(12, 20)]);
        // One whose own WAL is missing leads nowhere.
        assert_eq!(shown(&windows(&bases, &(&all - &BTreeSet::from([12])))), [(2, 12)]);
    }

    fn in_segment(number: u64, offset: u64) -> Option<(Lsn, WalFault)> {
        Some((Lsn(SIZE.begin_of(number).0 + offset), WalFault::Damaged))
    }

    #[test]
    fn a_backup_of_a_clone_does_not_count_however_much_wal_of_production_there_is() {
        let all: BTreeSet<u64> = (1..20).collect();
        let with_checkpoint = |at: u64| {
            let mut manifest = base(at, None);
            manifest.physical.as_mut().unwrap().checkpoint = Some(checkpoint(at));
            manifest
        };
        let bases = [base(2, None), with_checkpoint(5), with_checkpoint(WITHOUT_CHECKPOINT)];
        assert_eq!(shown(&windows(&bases, &all)), [(2, 20)]);
        assert_eq!(shown(&windows(&bases[2..], &all)), []);
        let newest_first: Vec<&Manifest> = bases.iter().rev().collect();
        let status = settled(&all, |evidence| assess_wal(&newest_first, evidence, None, &[]));
        assert_eq!((status.reach.unwrap().base, status.unproven), (bases[1].id.clone(), None));
        let [(id, why)] = &status.other_history[..] else { panic!("{:?}", status.other_history) };
        assert!(*id == bases[2].id && why.contains("is of another server"), "{why}");
        let archive = Archive::from_manifest(&bases[2]).unwrap();
        let of_each: Vec<_> = bases.iter().map(|base| (&base.id, base.physical.as_ref().unwrap())).collect();
        let missing = settled(&all, |evidence| missing_required(&archive, &of_each, evidence));
        assert!(
            matches!(&missing[..], [(id, Obstacle::OtherHistory(_))] if **id == bases[2].id),
            "{missing:?}"
        );
        // Of an older one it is not known, and said.
        let status = settled(&all, |evidence| assess_wal(&newest_first[2..], evidence, None, &[]));
        assert!(status.reach.is_some() && status.unproven.is_some());
    }

    #[test]
    fn wal_of_a_minimal_level_is_where_recovery_from_before_it_ends() {
        let all: BTreeSet<u64> = (1..20).collect();
        let bases = [base(2, None), base(12, None)];
        let minimal = in_segment(8, 5000).map(|(at, _)| (at, WalFault::Minimal));
        let newest_first: Vec<&Manifest> = bases.iter().rev().collect();
        let found =
            settled_with_damage(&all, minimal, |evidence| wal_windows(&newest_first, evidence, None, &[]));
        assert_eq!(shown(&found), [(12, 20), (2, 8)]);
        let status = settled_with_damage(&all, minimal, |evidence| {
            assess_wal(&newest_first[1..], evidence, None, &[])
        });
        let reach = status.reach.unwrap();
        assert!(reach.is_minimal && reach.damaged_at == minimal.map(|(at, _)| at), "{reach:?}");
        let status =
            settled_with_damage(&all, minimal, |evidence| assess_wal(&newest_first, evidence, None, &[]));
        assert_eq!(status.reach.unwrap().gap, None);
    }

    #[test]
    fn a_window_ends_where_wal_was_damaged_before_it_was_archived() {
        let all: BTreeSet<u64> = (1..20).collect();
        let bases = [base(2, None), base(5, None), base(12, None)];
        let newest_first: Vec<&Manifest> = bases.iter().rev().collect();
        let found = settled_with_damage(&all, in_segment(8, 5000), |evidence| {
            wal_windows(&newest_first, evidence, None, &[])
        });
        assert_eq!(shown(&found), [(12, 20), (2, 8)]);
        let name = Segment::new(Timeline::FIRST, 8, SIZE).to_string();
        assert!(found[1].gap.as_ref().unwrap().contains(&name), "{found:?}");
        let older: Vec<&Manifest> = bases[..2].iter().rev().collect();
        let status = settled_with_damage(&all, in_segment(8, 5000), |evidence| {
            assess_wal(&older, evidence, None, &[])
        });
        let reach = status.reach.unwrap();
        assert_eq!((reach.until, reach.damaged_at.is_some()), (minute(8), true));
        // A backup whose own WAL is damaged is not restorable.
        let status =
            settled_with_damage(&all, in_segment(5, 200), |evidence| assess_wal(&older, evidence, None, &[]));
        assert_eq!(status.reach.unwrap().base, bases[0].id);
    }

    #[test]
    fn wal_status_counts_only_what_leads_to_the_end_behind_damage() {
        let all: BTreeSet<u64> = (1..20).collect();
        let archive = Archive::from_manifest(&base(2, None)).unwrap();
        let status = |damaged| {
            settled_with_damage(&all, damaged, |evidence| assess_archive(&archive, evidence, None)).unwrap()
        };
        let intact = status(None);
        assert!(!intact.has_gaps() && intact.contiguous_since.unwrap().lsn == SIZE.begin_of(1));
        let damaged = status(in_segment(8, 5000));
        assert!(damaged.is_broken() && damaged.damaged.len() == 1);
        assert_eq!(damaged.contiguous_since.unwrap().lsn, SIZE.begin_of(9));
        assert_eq!(damaged.reach.unwrap().end, intact.reach.unwrap().end);
        // Nothing behind the newest segment is counted as complete.
        assert_eq!(status(in_segment(19, 5000)).reach.unwrap().end.lsn, SIZE.begin_of(19));
    }

    #[test]
    fn without_a_backup_or_a_segment_no_window_is_larger() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..300 {
            let mut bases: Vec<Manifest> = Vec::new();
            let mut earlier: Vec<u64> = Vec::new();
            for at in 1..MINUTES {
                if random.u8(..) < 40 {
                    let on = earlier.last().copied().filter(|_| random.bool());
                    bases.push(base(at, on));
                    earlier.push(at);
                }
            }
            let segments: BTreeSet<u64> = (1..MINUTES).filter(|_| random.u8(..) > 20).collect();
            let before = windows(&bases, &segments);
            let is_inside = |after: &[RecoveryWindow]| {
                let inside = |window: &RecoveryWindow| {
                    before.iter().any(|had| had.contains(window.from.unwrap()) && had.contains(window.until))
                };
                after.iter().all(inside)
            };
            for n in 0..bases.len() {
                let mut left = bases.clone();
                left.remove(n);
                let after = windows(&left, &segments);
                assert!(is_inside(&after), "without {n}: {before:?}\n{after:?}");
            }
            for segment in &segments {
                let after = windows(&bases, &(&segments - &BTreeSet::from([*segment])));
                assert!(is_inside(&after), "without {segment}: {before:?}\n{after:?}");
            }
        }
    }

    #[test]
    fn the_newest_window_is_what_status_says() {
        let segments: BTreeSet<u64> = (1..20).filter(|number| *number != 15).collect();
        let bases = [base(2, None), base(12, None), base(15, None)];
        let newest_first: Vec<&Manifest> = bases.iter().rev().collect();
        let status = settled(&segments, |evidence| assess_wal(&newest_first, evidence, None, &[]));
        let reach = status.reach.unwrap();
        assert_eq!((reach.base, reach.until), (bases[1].id.clone(), minute(15)));
        assert_eq!(status.waiting.len(), 1);
        assert_eq!(windows(&bases, &segments)[0].until, reach.until);
    }

    fn newest_first(bases: &[Manifest]) -> Vec<&Manifest> {
        bases.iter().rev().collect()
    }

    fn damage(mut manifest: Manifest) -> Manifest {
        let page = crate::model::DamagedPage { file: "base/5/1259".to_owned(), block: Some(0) };
        manifest.physical.as_mut().unwrap().damaged.push(page);
        manifest
    }

    #[test]
    fn a_base_with_damaged_pages_counts_only_where_no_other_leads_anywhere() {
        let segments: BTreeSet<u64> = (1..20).collect();
        let status = |bases: &[Manifest]| {
            let bases = newest_first(bases);
            settled(&segments, |evidence| assess_wal(&bases, evidence, None, &[]))
        };
        // So does one that builds on it.
        let bases = [base(2, None), damage(base(8, None)), base(12, Some(8))];
        let found = status(&bases);
        assert_eq!(found.reach.unwrap().base, bases[0].id);
        assert_eq!(found.damaged, [bases[2].id.clone(), bases[1].id.clone()]);
        let found = status(&bases[1..]);
        assert_eq!(found.reach.unwrap().base, bases[2].id);
        assert_eq!(found.damaged, [bases[2].id.clone()]);
        // An older one that is damaged stands in nobody's way.
        let found = status(&[damage(base(2, None)), base(8, None)]);
        assert!(found.damaged.is_empty(), "{:?}", found.damaged);
    }

    #[test]
    fn of_two_servers_that_archive_the_base_of_the_policys_own_timeline_counts() {
        let segments: BTreeSet<u64> = (1..20).collect();
        let server = crate::wal::ArchiverFacts {
            asked: minute(20),
            system_identifier: crate::model::SystemIdentifier(7),
            timeline: Timeline::FIRST,
            lsn: SIZE.begin_of(20),
            segment_size: SIZE,
            is_standby: false,
            archive_mode: "on".to_owned(),
            archive_command: None,
            host: crate::wal::ServerHost::ELSEWHERE,
            archive_timeout: Duration::ZERO,
            last_archived: None,
            last_archived_file: None,
            failed_count: 0,
            last_failed: None,
            last_failed_file: None,
            slots: vec![],
            backlog: crate::wal::Waiting::default(),
        };
        let mut other = base(12, None);
        other.physical.as_mut().unwrap().timeline = Timeline::new(2).unwrap();
        let bases = [base(2, None), other];
        let assess = |server: Option<&crate::wal::ArchiverFacts>| {
            let bases = newest_first(&bases);
            settled(&segments, |evidence| assess_wal(&bases, evidence, server, &[]))
        };
        let found = assess(Some(&server));
        assert_eq!(found.reach.unwrap().base, bases[0].id);
        let divergence = found.beside.unwrap();
        assert_eq!((divergence.newest, divergence.server), (Timeline::new(2).unwrap(), Timeline::FIRST));
        assert_eq!(found.waiting.len(), 1, "{:?}", found.waiting);
        assert!(found.waiting[0].1.contains("timeline 2"), "{:?}", found.waiting);
    }

    fn location(name: &str, points: &[u64], window: Option<(u64, u64)>) -> LocationRecoverability {
        let points = points.iter().rev().map(|at| RecoverablePoint { backup: None, at: minute(*at) });
        let window = window.map(|(from, until)| RecoveryWindow {
            from: Some(minute(from)),
            until: minute(until),
            backup: None,
            gap: None,
        });
        LocationRecoverability {
            location: Location::Repository(name.parse().unwrap()),
            windows: window.into_iter().collect(),
            points: points.collect(),
            is_unknown: false,
        }
    }

    fn lost(names: &[&str]) -> Vec<Location> {
        names.iter().map(|name| Location::Repository(name.parse().unwrap())).collect()
    }

    #[test]
    fn a_moment_is_reached_from_where_the_least_is_lost() {
        let locations = vec![location("west", &[3, 9], None), location("east", &[5], Some((5, 20)))];
        let all = Recoverability { locations };
        let route = |all: &Recoverability, at: u64| {
            all.can_reach(minute(at)).map(|route| (route.location.to_string(), route.at))
        };
        assert_eq!(route(&all, 2), None);
        assert_eq!(route(&all, 4), Some(("west".to_owned(), minute(3))));
        assert_eq!(route(&all, 7), Some(("east".to_owned(), minute(7))));
        // The first of two that are as good.
        assert_eq!(route(&all, 9), Some(("west".to_owned(), minute(9))));
        assert_eq!(route(&all, 30), Some(("east".to_owned(), minute(20))));
        assert_eq!(route(&all.without(&lost(&["east"])), 30), Some(("west".to_owned(), minute(9))));
    }

    #[test]
    fn the_more_is_lost_the_less_is_left() {
        let mut random = fastrand::Rng::with_seed(5);
        let now = minute(60);
        for _ in 0..500 {
            let names = ["a", "b", "c", "d"];
            let locations = names.map(|name| {
                let points: Vec<u64> = (0..50).filter(|_| random.u8(..) < 20).collect();
                let from = random.u64(0..50);
                let window = random.bool().then(|| (from, random.u64(from..60)));
                let is_unknown = random.u8(..) < 40;
                LocationRecoverability { is_unknown, ..location(name, &points, window) }
            });
            let all = Recoverability { locations: locations.to_vec() };
            let some: Vec<_> = lost(&names).into_iter().filter(|_| random.bool()).collect();
            let more: Vec<_> = some.iter().cloned().chain(lost(&names[..1])).collect();
            let age = |lost: &[Location]| all.loss_if_lost(lost, now).age.unwrap_or(Duration::MAX);
            assert!(age(&some) <= age(&more), "{all:?}");
            let left = all.without(&some);
            assert_eq!(left.loss_if_lost(&[], now), all.loss_if_lost(&some, now));
            let at = minute(random.u64(0..60));
            let reached = |of: &Recoverability| of.can_reach(at).map(|route| route.at);
            assert!(reached(&all.without(&more)) <= reached(&left), "{all:?}");
        }
    }
}
