//! Judges recoverability by the objectives: each source in each location. Pure.

use std::cmp::Reverse;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::location::{LocationStatus, Objective, in_region, in_repository};
use super::{ObjectiveVerdict, StatusSurvey};
use crate::catalog::{BackupEntry, CopyEntry};
use crate::model::{Location, SourceName};
use crate::recoverability::assess::{KnownRepository, Recoverability};
use crate::recoverability::missing_copies::MissingCopy;
use crate::recoverability::region::CloudInventory;
use crate::recoverability::time_check::countable_copies;
use crate::repository::Inventory;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceStatus {
    pub source: SourceName,
    pub verdict: ObjectiveVerdict,
    /// Regions first, if any.
    pub places: Vec<LocationStatus>,
    /// The loss if each location were lost now.
    pub if_lost: Vec<LossImpact>,
}

impl SourceStatus {
    /// Returns the locations that decide its verdict: the regions, for AWS-managed backups.
    pub fn deciding(&self) -> impl Iterator<Item = &LocationStatus> {
        deciding(&self.places)
    }
}

fn deciding(places: &[LocationStatus]) -> impl Iterator<Item = &LocationStatus> {
    let has_regions = places.iter().any(|place| place.location.is_region());
    places.iter().filter(move |place| place.location.is_region() == has_regions)
}

/// The loss of a location, and of the source that it protects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LossImpact {
    #[serde(flatten)]
    pub location: Location,
    /// The other location with the latest data; `None`: none that was reached has any.
    pub left: Option<String>,
    /// Others that could not be reached, so that nothing is promised for them.
    pub unknown: Vec<String>,
    /// Seconds of data that would be lost with it.
    pub loses_seconds: Option<u64>,
}

/// Judges each source in each location. A source is as good as its worst location, since any of the others
/// may be the one that is lost; but it has nothing to restore only where every reached location has nothing.
///
/// A source with AWS-managed backups is judged by its regions: of those backups the repositories hold only
/// the settings of the database.
pub fn assess(
    sources: &[SourceName],
    repositories: &[KnownRepository],
    entries: &[BackupEntry],
    survey: &StatusSurvey,
    rpo: Duration,
    now: DateTime<Utc>,
) -> Vec<SourceStatus> {
    let now = survey.now(now);
    let inventory = countable_copies(entries, now);
    let objective = Objective { rpo, now };
    let assess = |source| assess_source(source, repositories, (entries, &inventory), survey, objective);
    sources.iter().map(assess).collect()
}

fn assess_source(
    source: &SourceName,
    repositories: &[KnownRepository],
    (entries, inventory): (&[BackupEntry], &Inventory),
    survey: &StatusSurvey,
    objective: Objective,
) -> SourceStatus {
    let cloud = survey.cloud.get(source);
    let recoverable =
        crate::recoverability::assess::assess(source, repositories, inventory, &survey.wal, cloud);
    let mut places = locations(source, &recoverable, cloud, entries, survey, objective);
    let regions = places.iter().filter(|place| place.location.is_region()).count();
    let (in_regions, in_repositories) = places.split_at_mut(regions);
    mark_behind(in_regions);
    mark_behind(in_repositories);
    let has_any = deciding(&places).any(|place| place.loses_seconds.is_some());
    let worst = deciding(&places).map(|place| match place.verdict {
        // A location without data misses the objective; the source has some elsewhere.
        ObjectiveVerdict::Nothing if has_any => ObjectiveVerdict::ObjectiveMissed,
        verdict => verdict,
    });
    let worst = worst.max().unwrap_or(ObjectiveVerdict::Nothing);
    let is_unknown = deciding(&places).any(|place| place.verdict == ObjectiveVerdict::NotReached);
    SourceStatus {
        source: source.clone(),
        verdict: if !has_any && is_unknown { ObjectiveVerdict::NotReached } else { worst },
        if_lost: places.iter().map(|place| if_lost(&place.location, &recoverable, objective.now)).collect(),
        places,
    }
}

fn locations(
    source: &SourceName,
    recoverable: &Recoverability,
    cloud: Option<&CloudInventory>,
    entries: &[BackupEntry],
    survey: &StatusSurvey,
    objective: Objective,
) -> Vec<LocationStatus> {
    let mut own: Vec<_> = entries.iter().filter(|entry| entry.manifest.source == *source).collect();
    own.sort_by_key(|entry| Reverse((entry.manifest.recovery_point, entry.id().clone())));
    let mut in_repositories = own.clone();
    in_repositories.retain(|entry| cloud.is_none() || entry.manifest.managed.is_none());
    let assessed = recoverable.locations.iter().filter_map(|location| match &location.location {
        Location::Region(name) => {
            let cloud = cloud?;
            let region = cloud.regions.iter().find(|region| region.region == *name)?;
            let status = in_region(location, region, cloud.live.as_ref(), &own, objective);
            Some(with_defects(status, survey, false))
        }
        Location::Repository(name) => {
            let archive = survey.wal.get(&(source.clone(), name.clone()));
            let status = in_repository(location, name, &in_repositories, archive, objective);
            let missing = survey.missing.iter().filter(|missing| {
                let is_kept_by_aws = cloud.is_some() && missing.backup.kind().is_managed();
                missing.repository == *name && missing.backup.source() == source && !is_kept_by_aws
            });
            let status = LocationStatus { missing: missing.cloned().collect(), ..status };
            let has_base = in_repositories.iter().any(|entry| {
                entry.manifest.physical.is_some() && entry.copy(name).is_some_and(CopyEntry::is_good)
            });
            let wants_base = survey.wants_base.contains(source) && (survey.wal_asked || !has_base);
            Some(with_defects(status, survey, wants_base))
        }
    });
    assessed.collect()
}

/// Lowers the verdict to the worst defect of the location, whatever the age of its newest data is.
fn with_defects(mut place: LocationStatus, survey: &StatusSurvey, wants_base: bool) -> LocationStatus {
    use ObjectiveVerdict as Verdict;
    if place.verdict == Verdict::NotReached {
        return place;
    }
    // A backup dated in the future is restorable: only its age is unknown.
    if place.verdict == Verdict::Nothing && !place.future.is_empty() {
        place.verdict = Verdict::WrongClock;
    }
    let is_unmarked = survey.unmarked.iter().any(|name| place.location == Location::Repository(name.clone()));
    let defects = [
        (place.missing.iter().any(|missing| missing_counts(missing, &place)), Verdict::MissingCopy),
        (place.bad > 0 || !place.damaged.is_empty() || !place.other_history.is_empty(), Verdict::BadCopy),
        (is_unmarked, Verdict::NoMarker),
        (!survey.clocks.is_empty() || !place.future.is_empty(), Verdict::WrongClock),
        (place.newest_is_damaged(), Verdict::DamagedPages),
        (wants_base && place.log.is_none(), Verdict::NoBase),
    ];
    let found = defects.into_iter().filter(|(is_found, _)| *is_found).map(|(_, verdict)| verdict);
    place.verdict = found.fold(place.verdict, Ord::max);
    place
}

/// Returns whether a missing copy is a defect. A newer backup that was never there is still to be copied: the
/// location is behind.
fn missing_counts(missing: &MissingCopy, place: &LocationStatus) -> bool {
    let is_newer = place.newest.as_ref().is_none_or(|newest| missing.backup.begun() > newest.backup.begun());
    missing.is_gone() || !is_newer
}

/// Compares only the backups: WAL grows while its copies are in progress.
fn mark_behind(standings: &mut [LocationStatus]) {
    let best = standings.iter().filter_map(LocationStatus::recovery_point).max();
    for place in standings {
        place.behind = place.recovery_point() < best;
        if place.behind && matches!(place.verdict, ObjectiveVerdict::Ok | ObjectiveVerdict::Late) {
            place.verdict = ObjectiveVerdict::Behind;
        }
    }
}

fn if_lost(lost: &Location, recoverable: &Recoverability, now: DateTime<Utc>) -> LossImpact {
    let loss = recoverable.loss_if_lost(std::slice::from_ref(lost), now);
    LossImpact {
        location: lost.clone(),
        left: loss.left.map(ToString::to_string),
        unknown: loss.unknown.iter().map(ToString::to_string).collect(),
        loses_seconds: loss.age.map(|age| age.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AssuranceLevel, CheckDepth, CopyCheck, CopyFault, ObjectFault, RepositoryName};
    use crate::recoverability::region::{
        AutomatedReach, ForeignBackup, LiveDatabase, NewestPoint, RegionInventory, Regions, Service,
    };
    use crate::recoverability::wal::{WalArchivesStatus, WalReach, WalStatus};
    use crate::repository::fixtures::{backup, noon};
    use chrono::TimeDelta;

    use crate::model::BackupId;

    const RPO: Duration = Duration::from_secs(3600);

    fn with_wal(wal: &WalArchivesStatus) -> StatusSurvey {
        StatusSurvey { wal: wal.clone(), ..StatusSurvey::default() }
    }

    fn in_cloud(cloud: &Regions) -> StatusSurvey {
        StatusSurvey { cloud: cloud.clone(), ..StatusSurvey::default() }
    }

    fn entry(minutes: i64, copies: &[(&str, bool)]) -> BackupEntry {
        let manifest = backup(minutes).0;
        let copies = copies.iter().map(|(name, good)| {
            let fault = ObjectFault { object: "x".into(), fault: CopyFault::Short, detail: String::new() };
            let repository: RepositoryName = name.parse().unwrap();
            let check = CopyCheck {
                backup: manifest.id.clone(),
                repository: repository.clone(),
                at: noon(),
                depth: CheckDepth::Stored,
                faults: vec![fault],
            };
            let last_check = (!good).then_some(check);
            CopyEntry { repository, state: AssuranceLevel::Stored, vanished: None, last_check }
        });
        BackupEntry { copies: copies.collect(), manifest }
    }

    fn verdicts(
        entries: &[BackupEntry],
        reached: [bool; 2],
        minutes: i64,
    ) -> (ObjectiveVerdict, ObjectiveVerdict, ObjectiveVerdict) {
        let place = |name: &str, reached| KnownRepository { name: name.parse().unwrap(), reached };
        let places = [place("primary", reached[0]), place("copy", reached[1])];
        let source = "database".parse().unwrap();
        let now = noon() + TimeDelta::minutes(minutes);
        let standing = assess(&[source], &places, entries, &StatusSurvey::default(), RPO, now).remove(0);
        (standing.verdict, standing.places[0].verdict, standing.places[1].verdict)
    }

    #[test]
    fn each_place_is_judged_by_the_newest_it_could_give_back() {
        use ObjectiveVerdict::{BadCopy, Behind, Late, NotReached, Nothing, ObjectiveMissed, Ok};
        let both = [("primary", true), ("copy", true)];
        let all = [true, true];
        assert_eq!(verdicts(&[entry(0, &both)], all, 45), (Ok, Ok, Ok));
        assert_eq!(verdicts(&[entry(0, &both)], all, 60), (Late, Late, Late));
        assert_eq!(
            verdicts(&[entry(0, &both)], all, 61),
            (ObjectiveMissed, ObjectiveMissed, ObjectiveMissed)
        );
        // A copy that lags is behind, then too old; one that has nothing misses the objective.
        let lagging = [entry(0, &both), entry(30, &both[..1])];
        assert_eq!(verdicts(&lagging, all, 50), (Behind, Ok, Behind));
        assert_eq!(verdicts(&lagging, all, 70), (ObjectiveMissed, Ok, ObjectiveMissed));
        assert_eq!(verdicts(&[entry(0, &both[..1])], all, 5), (ObjectiveMissed, Ok, Nothing));
        assert_eq!(verdicts(&[], all, 5), (Nothing, Nothing, Nothing));
        // What could not be reached is not promised, and not condemned.
        assert_eq!(verdicts(&[entry(0, &both)], [true, false], 5), (NotReached, Ok, NotReached));
        assert_eq!(verdicts(&[], [true, false], 5), (NotReached, Nothing, NotReached));
        // A backup known to be bad does not count.
        let bad = [entry(0, &both), entry(30, &[("primary", true), ("copy", false)])];
        assert_eq!(verdicts(&bad, all, 50), (BadCopy, Ok, BadCopy));
        // A clock that is a little behind does not make it older.
        assert_eq!(verdicts(&[entry(3, &both)], all, 0), (Ok, Ok, Ok));
    }

    fn base(minutes: i64, copies: &[(&str, bool)]) -> BackupEntry {
        let mut entry = entry(minutes, copies);
        let id = entry.manifest.id.as_str().replace("-logical-", "-base-");
        entry.manifest.id = id.parse().unwrap();
        let (start, stop) = (crate::model::Lsn(0x200_0028), crate::model::Lsn(0x200_0138));
        entry.manifest.physical = Some(crate::model::Physical::sample(1, start, stop));
        entry
    }

    #[test]
    fn log_counts_from_a_base_backup_that_has_what_it_needs() {
        let both = [("primary", true), ("copy", true)];
        let (old, new) = (base(0, &both), base(100, &both));
        let source: SourceName = "database".parse().unwrap();
        let name = |text: &str| text.parse::<RepositoryName>().unwrap();
        let reach = |base: &BackupEntry, minutes| WalStatus {
            reach: Some(WalReach {
                base: base.id().clone(),
                until: noon() + TimeDelta::minutes(minutes),
                newest_commit: None,
                gap: None,
                branch: None,
                damaged_at: None,
                is_minimal: false,
            }),
            ..WalStatus::default()
        };
        let mut logs = WalArchivesStatus::new();
        logs.insert((source.clone(), name("primary")), reach(&new, 119));
        let mut lagging = reach(&old, 90);
        lagging.waiting.push((new.id().clone(), "segment 000000010000000000000002".to_owned()));
        logs.insert((source.clone(), name("copy")), lagging);
        let places = ["primary", "copy"].map(|text| KnownRepository { name: name(text), reached: true });
        let now = noon() + TimeDelta::minutes(120);
        let entries = [old, new];
        let standing =
            assess(std::slice::from_ref(&source), &places, &entries, &with_wal(&logs), RPO, now).remove(0);
        let [primary, copy] = &standing.places[..] else { panic!("{standing:?}") };
        assert_eq!((primary.verdict, primary.loses_seconds), (ObjectiveVerdict::Ok, Some(60)));
        assert_eq!((copy.verdict, copy.loses_seconds), (ObjectiveVerdict::Behind, Some(30 * 60)));
        assert_eq!(copy.newest.as_ref().unwrap().backup, *entries[0].id());
        let costs: Vec<_> = standing.if_lost.iter().map(|lost| lost.loses_seconds).collect();
        assert_eq!(costs, [Some(30 * 60), Some(60)]);
        // Where the log could not be asked nothing is promised of this source, and the other place still counts.
        let unknown = WalStatus { unknown: Some("timed out".to_owned()), ..WalStatus::default() };
        logs.insert((source.clone(), name("copy")), unknown);
        let standing =
            assess(std::slice::from_ref(&source), &places, &entries, &with_wal(&logs), RPO, now).remove(0);
        assert_eq!(standing.places[0].verdict, ObjectiveVerdict::Ok);
        assert_eq!(standing.places[1].verdict, ObjectiveVerdict::NotReached);
        assert_eq!(standing.if_lost[0].unknown, ["copy"]);
        // Without having asked for the log, nothing is promised of base backups.
        let standing = assess(&[source], &places, &entries, &StatusSurvey::default(), RPO, now).remove(0);
        assert_eq!(standing.verdict, ObjectiveVerdict::Nothing);
    }

    /// One source in `primary` and `copy`, at that minute.
    fn judged(entries: &[BackupEntry], survey: &StatusSurvey, minutes: i64) -> SourceStatus {
        let places =
            ["primary", "copy"].map(|name| KnownRepository { name: name.parse().unwrap(), reached: true });
        let source = "database".parse().unwrap();
        assess(&[source], &places, entries, survey, RPO, noon() + TimeDelta::minutes(minutes)).remove(0)
    }

    fn shown(status: &SourceStatus) -> Vec<(ObjectiveVerdict, Option<BackupId>)> {
        let row =
            |place: &LocationStatus| (place.verdict, place.newest.as_ref().map(|new| new.backup.clone()));
        status.places.iter().map(row).collect()
    }

    #[test]
    fn a_copy_that_is_missing_is_never_ok_whatever_the_age_of_the_others() {
        use crate::recoverability::missing_copies::MissingCopy;
        use ObjectiveVerdict::{Behind, Ok};
        const MISSING: ObjectiveVerdict = ObjectiveVerdict::MissingCopy;
        let both = [("primary", true), ("copy", true)];
        let entries = [entry(0, &both), entry(30, &both)];
        let missing = |minutes, since: Option<DateTime<Utc>>, is_lost| MissingCopy {
            backup: backup(minutes).0.id,
            repository: "copy".parse().unwrap(),
            since,
            is_lost,
            is_elsewhere: !is_lost,
        };
        let with = |missing: MissingCopy| StatusSurvey::default().with_missing(vec![missing]);
        let verdicts = |entries: &[BackupEntry], survey: &StatusSurvey| {
            judged(entries, survey, 40).places.iter().map(|place| place.verdict).collect::<Vec<_>>()
        };
        for survey in [
            with(missing(10, Some(noon()), false)),
            with(missing(10, None, false)),
            with(missing(35, Some(noon()), true)),
            with(missing(35, None, true)),
        ] {
            assert_eq!(verdicts(&entries, &survey), [Ok, MISSING], "{survey:?}");
        }
        // One that is on its way is behind, as long as it was not there before.
        let lagging = [entry(0, &both), entry(30, &both[..1])];
        assert_eq!(verdicts(&lagging, &with(missing(30, None, false))), [Ok, Behind]);
        assert_eq!(verdicts(&lagging, &with(missing(30, Some(noon()), false))), [Ok, MISSING]);
    }

    #[test]
    fn what_was_found_bad_in_every_repository_is_not_the_newest_and_not_ok() {
        use ObjectiveVerdict::{BadCopy, ObjectiveMissed};
        let both = [("primary", true), ("copy", true)];
        let bad = [("primary", false), ("copy", false)];
        let entries = [entry(0, &both), entry(30, &bad)];
        let status = judged(&entries, &StatusSurvey::default(), 40);
        let good = Some(entries[0].id().clone());
        assert_eq!(shown(&status), [(BadCopy, good.clone()), (BadCopy, good)]);
        assert_eq!((status.verdict, status.places[0].loses_seconds), (BadCopy, Some(40 * 60)));
        assert_eq!(status.places[0].bad_backups, [entries[1].id().clone()]);
        // The objective is judged by the good one.
        assert_eq!(judged(&entries, &StatusSurvey::default(), 61).verdict, ObjectiveMissed);
        // An older one that is bad is not ok, either.
        let older = [entry(0, &bad), entry(30, &both)];
        assert_eq!(judged(&older, &StatusSurvey::default(), 40).verdict, BadCopy);
    }

    #[test]
    fn a_backup_that_is_dated_in_the_future_does_not_count_and_a_clock_that_is_wrong_is_never_ok() {
        use ObjectiveVerdict::{ObjectiveMissed, Ok, WrongClock};
        let both = [("primary", true), ("copy", true)];
        let entries = [entry(0, &both), entry(300, &both)];
        let status = judged(&entries, &StatusSurvey::default(), 40);
        let old = Some(entries[0].id().clone());
        assert_eq!(shown(&status), [(WrongClock, old.clone()), (WrongClock, old)]);
        assert_eq!(status.places[0].loses_seconds, Some(40 * 60));
        assert_eq!(judged(&entries, &StatusSurvey::default(), 70).verdict, ObjectiveMissed);
        assert_eq!(judged(&entries, &StatusSurvey::default(), 301).verdict, Ok);
        // All of them: they can be restored, and nobody knows how old they are.
        assert_eq!(judged(&entries[1..], &StatusSurvey::default(), 40).verdict, WrongClock);
        // A host whose clock is behind the store's judges by the store's.
        let behind = |minutes| StatusSurvey {
            clocks: vec![crate::repository::ClockSkew {
                repository: "copy".parse().unwrap(),
                ahead: -TimeDelta::minutes(minutes),
            }],
            ..StatusSurvey::default()
        };
        let status = judged(&entries[..1], &behind(20), 10);
        assert_eq!((status.verdict, status.places[1].loses_seconds), (WrongClock, Some(30 * 60)));
        assert_eq!(judged(&entries[..1], &behind(120), 10).verdict, ObjectiveMissed);
        assert_eq!(judged(&entries[..1], &behind(-20), 10).verdict, WrongClock);
    }

    #[test]
    fn where_base_backups_are_wanted_a_dump_alone_is_not_ok() {
        use ObjectiveVerdict::{NoBase, Nothing, Ok};
        let both = [("primary", true), ("copy", true)];
        let source: SourceName = "database".parse().unwrap();
        let wanting = |wal_asked| StatusSurvey {
            wants_base: [source.clone()].into(),
            wal_asked,
            ..StatusSurvey::default()
        };
        let dump = entry(30, &both);
        for wal_asked in [true, false] {
            assert_eq!(judged(std::slice::from_ref(&dump), &wanting(wal_asked), 40).verdict, NoBase);
        }
        assert_eq!(judged(&[], &wanting(true), 40).verdict, Nothing);
        // One that is there and whose WAL is not counts for nothing; without asking for the WAL nobody knows.
        let with_base = [dump, base(20, &both)];
        assert_eq!(judged(&with_base, &wanting(true), 40).verdict, NoBase);
        assert_eq!(judged(&with_base, &wanting(false), 40).verdict, Ok);
        let mut survey = wanting(true);
        for name in ["primary", "copy"] {
            let reach = WalReach {
                base: with_base[1].id().clone(),
                until: noon() + TimeDelta::minutes(39),
                newest_commit: None,
                gap: None,
                branch: None,
                damaged_at: None,
                is_minimal: false,
            };
            let status = WalStatus { reach: Some(reach), ..WalStatus::default() };
            survey.wal.insert((source.clone(), name.parse().unwrap()), status);
        }
        assert_eq!(judged(&with_base, &survey, 40).verdict, Ok);
    }

    #[test]
    fn a_repository_without_its_marker_and_a_base_with_damaged_pages_are_not_ok() {
        use ObjectiveVerdict::{BadCopy, DamagedPages, NoMarker, Ok};
        let both = [("primary", true), ("copy", true)];
        let unmarked = StatusSurvey { unmarked: ["copy".parse().unwrap()].into(), ..StatusSurvey::default() };
        let status = judged(&[entry(0, &both)], &unmarked, 10);
        assert_eq!(
            (status.verdict, status.places[0].verdict, status.places[1].verdict),
            (NoMarker, Ok, NoMarker)
        );

        let (old, new) = (base(0, &both), base(10, &both));
        let survey = |counts: &BackupEntry| {
            let mut survey = StatusSurvey::default();
            for name in ["primary", "copy"] {
                let reach = WalReach {
                    base: counts.id().clone(),
                    until: noon() + TimeDelta::minutes(19),
                    newest_commit: None,
                    gap: None,
                    branch: None,
                    damaged_at: None,
                    is_minimal: false,
                };
                let damaged = vec![new.id().clone()];
                let status = WalStatus { reach: Some(reach), damaged, ..WalStatus::default() };
                survey.wal.insert(("database".parse().unwrap(), name.parse().unwrap()), status);
            }
            survey
        };
        let entries = [old.clone(), new.clone()];
        assert_eq!(judged(&entries, &survey(&old), 20).verdict, BadCopy);
        assert_eq!(judged(&entries, &survey(&new), 20).verdict, DamagedPages);
    }

    #[test]
    fn what_aws_keeps_stands_or_falls_by_its_regions() {
        let both = [("primary", true), ("copy", true)];
        let mut snapshot = entry(0, &both);
        snapshot.manifest.managed = Some(crate::model::CloudBackup {
            resource: "arn:aws:rds:us-east-1:123456789012:db:shop".to_owned(),
            resource_id: None,
            encrypted: true,
            allocated_gib: None,
            held: vec![],
            plan: None,
        });
        let source: SourceName = "database".parse().unwrap();
        let holding = |region: &str, has_snapshot: bool, until: Option<i64>| RegionInventory {
            region: region.to_owned(),
            backups: if has_snapshot { vec![snapshot.id().clone()] } else { vec![] },
            automated: until.map(|minutes| AutomatedReach {
                earliest: None,
                until: noon() + TimeDelta::minutes(minutes),
            }),
            of_other: None,
            point: None,
            continuous_since: None,
            unread: vec![],
            unknown: None,
        };
        let places =
            ["primary", "copy"].map(|name| KnownRepository { name: name.parse().unwrap(), reached: true });
        let judge = |regions: Vec<RegionInventory>, is_dumped| {
            let kept = Regions::from([(
                source.clone(),
                CloudInventory { service: Service::Rds, live: None, regions, is_dumped },
            )]);
            let now = noon() + TimeDelta::minutes(120);
            let sources = std::slice::from_ref(&source);
            let entries = std::slice::from_ref(&snapshot);
            assess(sources, &places, entries, &in_cloud(&kept), RPO, now).remove(0)
        };
        let verdicts =
            |standing: &SourceStatus| standing.places.iter().map(|place| place.verdict).collect::<Vec<_>>();
        // A snapshot two hours old, and automated backups that reach further in each region.
        let standing = judge(vec![holding("east", true, Some(115)), holding("west", true, Some(70))], false);
        assert_eq!(verdicts(&standing), [ObjectiveVerdict::Ok, ObjectiveVerdict::Late]);
        assert_eq!(standing.verdict, ObjectiveVerdict::Late);
        let east = &standing.if_lost[0];
        assert_eq!((east.location.as_str(), east.left.as_deref()), ("east", Some("west")));
        assert_eq!(east.loses_seconds, Some(50 * 60));
        // Snapshots alone lose two hours, one that is not there everything.
        let standing = judge(vec![holding("east", true, Some(115)), holding("west", true, None)], false);
        assert_eq!(verdicts(&standing), [ObjectiveVerdict::Ok, ObjectiveVerdict::ObjectiveMissed]);
        let standing = judge(vec![holding("east", true, Some(115)), holding("west", false, None)], false);
        assert_eq!(verdicts(&standing), [ObjectiveVerdict::Ok, ObjectiveVerdict::Nothing]);
        assert_eq!(standing.verdict, ObjectiveVerdict::ObjectiveMissed);
        // A region that cannot be asked promises nothing.
        let away = RegionInventory { unknown: Some("timed out".to_owned()), ..holding("west", true, None) };
        let standing = judge(vec![holding("east", true, Some(115)), away], false);
        assert_eq!(
            (standing.verdict, &standing.if_lost[0].unknown[..]),
            (ObjectiveVerdict::NotReached, &["west".to_owned()][..])
        );
        // What a plan of AWS Backup had made counts, though no manifest knows it.
        let created = noon() + TimeDelta::minutes(100);
        let point = NewestPoint { arn: "arn".to_owned(), vault: "v".to_owned(), created, of_plan: true };
        let planned = RegionInventory { point: Some(point), ..holding("west", false, None) };
        let standing = judge(vec![holding("east", true, None), planned], false);
        assert_eq!(verdicts(&standing), [ObjectiveVerdict::ObjectiveMissed, ObjectiveVerdict::Ok]);
        assert!(standing.places[0].behind && !standing.places[1].behind, "{standing:?}");
        // Of dumps there are rows for repositories too, which do not decide; a snapshot is none.
        let standing = judge(vec![holding("east", true, Some(115))], true);
        assert_eq!(
            verdicts(&standing),
            [ObjectiveVerdict::Ok, ObjectiveVerdict::Nothing, ObjectiveVerdict::Nothing]
        );
        assert_eq!(standing.verdict, ObjectiveVerdict::Ok);
    }

    #[test]
    fn what_is_of_a_database_that_was_replaced_protects_nothing() {
        let mut snapshot = entry(0, &[("primary", true)]);
        snapshot.manifest.managed = Some(crate::model::CloudBackup {
            resource: "arn:aws:rds:us-east-1:123456789012:db:shop".to_owned(),
            resource_id: Some("db-old".to_owned()),
            encrypted: true,
            allocated_gib: None,
            held: vec![],
            plan: None,
        });
        let source: SourceName = "database".parse().unwrap();
        let minute = |minutes| noon() + TimeDelta::minutes(minutes);
        let judge = |live: Option<(&str, bool)>, automated: Option<i64>, of_other: Option<i64>| {
            let live = live.map(|(id, is_restored)| LiveDatabase {
                resource_id: id.to_owned(),
                is_restored,
                predecessors: vec![],
            });
            let automated =
                automated.map(|minutes| AutomatedReach { earliest: None, until: minute(minutes) });
            let of_other = of_other
                .map(|minutes| ForeignBackup { resource_id: "db-old".to_owned(), until: minute(minutes) });
            let backups = vec![snapshot.id().clone()];
            let east = RegionInventory {
                region: "east".to_owned(),
                backups,
                automated,
                of_other,
                ..RegionInventory::default()
            };
            let kept = CloudInventory { service: Service::Rds, live, regions: vec![east], is_dumped: false };
            let kept = Regions::from([(source.clone(), kept)]);
            let (sources, entries) = (std::slice::from_ref(&source), std::slice::from_ref(&snapshot));
            let standing = assess(sources, &[], entries, &in_cloud(&kept), RPO, minute(30)).remove(0);
            let place = standing.places[0].clone();
            assert_eq!(standing.verdict, place.verdict);
            (place.verdict, place.loses_seconds, place.replaced.map(|replaced| replaced.kept.until))
        };
        let other = ObjectiveVerdict::OtherCluster;
        assert_eq!(judge(Some(("db-new", false)), None, None), (other, None, Some(minute(0))));
        assert_eq!(judge(Some(("db-new", false)), None, Some(20)), (other, None, Some(minute(20))));
        // Its own automated backups are all that protects it, and then the others are of no interest.
        assert_eq!(
            judge(Some(("db-new", false)), Some(25), Some(20)),
            (ObjectiveVerdict::Ok, Some(300), None)
        );
        // One that drctl restored has what its snapshot has; what came after is lost.
        assert_eq!(judge(Some(("db-new", true)), None, None), (ObjectiveVerdict::Ok, Some(1800), None));
        // The same one; and one that cannot be asked.
        assert_eq!(judge(Some(("db-old", false)), Some(25), None), (ObjectiveVerdict::Ok, Some(300), None));
        assert_eq!(judge(None, Some(25), None), (ObjectiveVerdict::Ok, Some(300), None));
        assert_eq!(judge(None, None, None), (ObjectiveVerdict::Ok, Some(1800), None));
    }
}
