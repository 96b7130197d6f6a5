//! Where a system stands: what each repository could give back right now, and how old it is.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::catalog::BackupEntry;
use crate::model::{AssuranceLevel, BackupId, Excluded, RepositoryName, SourceName};
use crate::recoverability::cloud::{
    AutomatedReach, CloudInventory, ForeignBackup, LiveDatabase, NewestPoint, RegionInventory, Regions,
};
use crate::recoverability::wal::{ForeignCluster, WalArchivesStatus, WalReach, WalStatus};
use crate::wal::TimelineDivergence;

/// A repository of the policy, and whether it could be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRepository {
    pub name: RepositoryName,
    /// False where what is known of it may be old.
    pub reached: bool,
}

/// Where backups of a source are: a repository of the policy, or a region where AWS keeps them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocationSet {
    Repository(RepositoryName),
    Region(String),
}

impl LocationSet {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Repository(name) => name.as_str(),
            Self::Region(name) => name,
        }
    }

    pub fn is_region(&self) -> bool {
        matches!(self, Self::Region(_))
    }
}

impl fmt::Display for LocationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceStatus {
    pub source: SourceName,
    pub verdict: ObjectiveVerdict,
    /// Regions first, where there are any.
    pub places: Vec<LocationStatus>,
    /// What the loss of each place, now, would cost.
    pub if_lost: Vec<LossImpact>,
}

impl SourceStatus {
    /// The places it stands or falls by: where AWS keeps its backups, the regions.
    pub fn deciding(&self) -> impl Iterator<Item = &LocationStatus> {
        deciding(&self.places)
    }
}

fn deciding(places: &[LocationStatus]) -> impl Iterator<Item = &LocationStatus> {
    let has_regions = places.iter().any(|place| place.keeper.is_region());
    places.iter().filter(move |place| place.keeper.is_region() == has_regions)
}

/// A place is gone, and what it protected with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LossImpact {
    #[serde(flatten)]
    pub keeper: LocationSet,
    /// The other one that would bring back the most; `None`: none that was reached could bring back anything.
    pub left: Option<String>,
    /// Others that could not be reached, so that nothing is promised of them.
    pub unknown: Vec<String>,
    /// Data of this long would be lost with it.
    pub loses_seconds: Option<u64>,
}

/// One source in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LocationStatus {
    #[serde(flatten)]
    pub keeper: LocationSet,
    pub verdict: ObjectiveVerdict,
    /// The newest that can be restored from there. A base backup counts only with the log it needs.
    pub newest: Option<Newest>,
    /// What archived log adds to it.
    pub log: Option<WalReach>,
    /// What RDS's automated backups bring back there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automated: Option<AutomatedReach>,
    /// The newest of AWS Backup there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub point: Option<NewestPoint>,
    /// The server was told that this file is archived, and it is not there.
    pub lost: Option<String>,
    /// What keeps the server's log from coming, by its own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled: Option<String>,
    /// The server is another cluster than the one whose base backups are there: those bring nothing of it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stranger: Option<ForeignCluster>,
    /// Another database has the name now than the one that the newest of what AWS has there is of: that brings
    /// nothing of it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<ReplacedCluster>,
    /// The newest log there is not of the server's own timeline, and counts for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<TimelineDivergence>,
    /// Files of the log that were bad when they were last read.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub bad_log: BTreeSet<String>,
    /// The data of this long would be lost if this place, alone, were restored from now.
    pub loses_seconds: Option<u64>,
    /// A newer one is elsewhere.
    pub behind: bool,
    /// Newer ones there that cannot be restored: the last check found them bad.
    pub bad: usize,
    /// Newer base backups there that cannot be restored yet, and why.
    pub waiting: Vec<(BackupId, String)>,
    /// What the server has and the newest that can be restored from there does not hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Excluded>,
}

impl LocationStatus {
    /// Of the newest backup, whoever made it.
    fn recovery_point(&self) -> Option<DateTime<Utc>> {
        let newest = self.newest.as_ref().map(|newest| newest.recovery_point);
        newest.max(self.point.as_ref().map(|point| point.created))
    }

    pub fn loses(&self) -> Option<Duration> {
        self.loses_seconds.map(Duration::from_secs)
    }
}

/// Two databases that had the name one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplacedCluster {
    /// The resource id of the one that has it now.
    pub live: String,
    /// The newest that is there of the other.
    #[serde(flatten)]
    pub kept: ForeignBackup,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Newest {
    pub backup: BackupId,
    pub recovery_point: DateTime<Utc>,
    pub state: AssuranceLevel,
}

/// From best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveVerdict {
    Ok,
    /// Three quarters of the objective are gone.
    Late,
    /// Inside the objective, but a newer backup is elsewhere.
    Behind,
    /// Inside the objective, and the server's log does not come any more.
    Stalled,
    /// It could not be reached, so nothing is promised.
    NotReached,
    /// What is archived now cannot be recovered: some log before it is missing.
    Gap,
    /// Some log was bad when it was last read: what comes after it cannot be recovered.
    BadLog,
    /// The server was told that some log is archived there, and it is not.
    Lost,
    /// Restoring it now would lose more than the objective allows.
    ObjectiveMissed,
    /// What there is to restore is of another cluster than the server of the policy, or of another database than
    /// the one that has its name now.
    OtherCluster,
    /// There is nothing to restore.
    Nothing,
}

impl ObjectiveVerdict {
    /// Where restoring would lose so much.
    pub(crate) fn of_loss(loses: Duration, rpo: Duration) -> Self {
        match loses {
            loses if loses > rpo => Self::ObjectiveMissed,
            loses if loses > rpo * 3 / 4 => Self::Late,
            _ => Self::Ok,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Late => "late",
            Self::Behind => "behind",
            Self::Stalled => "stalled",
            Self::NotReached => "not reached",
            Self::Gap => "gap",
            Self::BadLog => "bad log",
            Self::Lost => "lost",
            Self::ObjectiveMissed => "objective missed",
            Self::OtherCluster => "another cluster",
            Self::Nothing => "nothing to restore",
        }
    }
}

/// Judges each source in each repository. A source is as good as its worst place, since any of the others may
/// be the one that is lost; but it has nothing to restore only where every place that was reached has nothing.
///
/// `logs`: of every source and place whose log was asked. Without it a base backup counts for nothing.
/// `regions`: of every source whose backups AWS keeps. It stands or falls by them: of those backups the
/// repositories hold only how the database was set up.
pub fn assess(
    sources: &[SourceName],
    places: &[KnownRepository],
    entries: &[BackupEntry],
    (logs, regions): (&WalArchivesStatus, &Regions),
    rpo: Duration,
    now: DateTime<Utc>,
) -> Vec<SourceStatus> {
    let assess = |source| assess_source(source, places, entries, (logs, regions.get(source)), rpo, now);
    sources.iter().map(assess).collect()
}

/// Whether a repository holds it, and no check found it bad there.
pub(crate) fn is_restorable(entry: &BackupEntry, repository: &RepositoryName) -> bool {
    entry.copy(repository).is_some_and(|copy| copy.is_held() && copy.is_good())
}

fn assess_source(
    source: &SourceName,
    places: &[KnownRepository],
    entries: &[BackupEntry],
    (logs, kept): (&WalArchivesStatus, Option<&CloudInventory>),
    rpo: Duration,
    now: DateTime<Utc>,
) -> SourceStatus {
    let mut own: Vec<_> = entries.iter().filter(|entry| entry.manifest.source == *source).collect();
    own.sort_by_key(|entry| std::cmp::Reverse((entry.manifest.recovery_point, entry.id().clone())));
    let regions = kept.iter().flat_map(|kept| &kept.regions);
    let live = kept.and_then(|kept| kept.live.as_ref());
    let mut standings: Vec<_> = regions.map(|region| assess_region(region, live, &own, rpo, now)).collect();
    mark_behind(&mut standings);
    if kept.is_none_or(|kept| kept.is_dumped) {
        own.retain(|entry| kept.is_none() || entry.manifest.managed.is_none());
        let log = |place: &KnownRepository| logs.get(&(source.clone(), place.name.clone()));
        let mut repositories: Vec<_> =
            places.iter().map(|place| assess_place(place, &own, log(place), rpo, now)).collect();
        mark_behind(&mut repositories);
        standings.append(&mut repositories);
    }
    let has_any = deciding(&standings).any(|place| place.loses_seconds.is_some());
    let worst = deciding(&standings).map(|place| match place.verdict {
        // A place that has nothing misses the objective; the source has something elsewhere.
        ObjectiveVerdict::Nothing if has_any => ObjectiveVerdict::ObjectiveMissed,
        verdict => verdict,
    });
    let worst = worst.max().unwrap_or(ObjectiveVerdict::Nothing);
    let verdict =
        if !has_any && deciding(&standings).any(|place| place.verdict == ObjectiveVerdict::NotReached) {
            ObjectiveVerdict::NotReached
        } else {
            worst
        };
    let if_lost = standings.iter().map(|place| if_lost(&place.keeper, &standings)).collect();
    SourceStatus { source: source.clone(), verdict, places: standings, if_lost }
}

/// Log goes on while copies of it are on their way: only the backups themselves are compared.
fn mark_behind(standings: &mut [LocationStatus]) {
    let best = standings.iter().filter_map(LocationStatus::recovery_point).max();
    for place in standings {
        place.behind = place.recovery_point() < best;
        if place.behind && matches!(place.verdict, ObjectiveVerdict::Ok | ObjectiveVerdict::Late) {
            place.verdict = ObjectiveVerdict::Behind;
        }
    }
}

fn if_lost(lost: &LocationSet, standings: &[LocationStatus]) -> LossImpact {
    let others = standings.iter().filter(|place| place.keeper != *lost);
    let (unknown, known): (Vec<_>, Vec<_>) =
        others.partition(|place| place.verdict == ObjectiveVerdict::NotReached);
    let left = known
        .into_iter()
        .filter_map(|place| Some((place.loses_seconds?, &place.keeper)))
        .min_by_key(|(seconds, _)| *seconds);
    LossImpact {
        keeper: lost.clone(),
        left: left.map(|(_, keeper)| keeper.to_string()),
        unknown: unknown.into_iter().map(|place| place.keeper.to_string()).collect(),
        loses_seconds: left.map(|(seconds, _)| seconds),
    }
}

/// `own`: newest first. `live`: the database that has the name now, where it is known. A snapshot without its
/// manifest is not a backup yet; a recovery point that AWS Backup calls whole can be restored without one.
fn assess_region(
    region: &RegionInventory,
    live: Option<&LiveDatabase>,
    own: &[&BackupEntry],
    rpo: Duration,
    now: DateTime<Utc>,
) -> LocationStatus {
    let of_another = |entry: &BackupEntry| {
        let id = entry.manifest.managed.as_ref()?.resource_id.as_ref()?;
        live?
            .is_another_than(id)
            .then(|| ForeignBackup { resource_id: id.clone(), until: entry.manifest.recovery_point })
    };
    let newest = own.iter().filter(|entry| of_another(entry).is_none()).find_map(|entry| {
        let held = entry.manifest.managed.as_ref().and_then(|managed| managed.held_in(&region.region));
        let is_point =
            held.is_some_and(|held| Some(&held.arn) == region.point.as_ref().map(|point| &point.arn));
        (is_point || region.backups.contains(entry.id())).then_some(())?;
        let (backup, recovery_point) = (entry.id().clone(), entry.manifest.recovery_point);
        Some(Newest { backup, recovery_point, state: entry.state()? })
    });
    let point = newest.as_ref().map(|newest| newest.recovery_point);
    let until = point.max(region.automated.map(|automated| automated.until));
    let until = until.max(region.point.as_ref().map(|point| point.created));
    let loses = until.map(|until| (now - until).to_std().unwrap_or_default());
    let others = own.iter().filter(|entry| region.backups.contains(entry.id()));
    let other = others.filter_map(|entry| of_another(entry)).chain(region.of_other.clone());
    let other = other.max_by_key(|other| other.until).filter(|other| Some(other.until) > until);
    let replaced =
        live.zip(other).map(|(live, kept)| ReplacedCluster { live: live.resource_id.clone(), kept });
    LocationStatus {
        keeper: LocationSet::Region(region.region.clone()),
        verdict: match loses {
            _ if region.unknown.is_some() => ObjectiveVerdict::NotReached,
            None if replaced.is_some() => ObjectiveVerdict::OtherCluster,
            loses => by_age(loses, rpo),
        },
        newest,
        log: None,
        automated: region.automated,
        point: region.point.clone(),
        lost: None,
        stalled: None,
        stranger: None,
        replaced,
        beside: None,
        bad_log: BTreeSet::new(),
        loses_seconds: loses.map(|loses| loses.as_secs()),
        behind: false,
        bad: 0,
        waiting: vec![],
        left_out: vec![],
    }
}

fn by_age(loses: Option<Duration>, rpo: Duration) -> ObjectiveVerdict {
    loses.map_or(ObjectiveVerdict::Nothing, |loses| ObjectiveVerdict::of_loss(loses, rpo))
}

fn assess_place(
    place: &KnownRepository,
    own: &[&BackupEntry],
    log: Option<&WalStatus>,
    rpo: Duration,
    now: DateTime<Utc>,
) -> LocationStatus {
    let held: Vec<_> = own
        .iter()
        .filter_map(|entry| Some((entry, entry.copy(&place.name).filter(|copy| copy.is_held())?)))
        .collect();
    let reach = log.and_then(|log| log.reach.clone());
    let stranger = log.and_then(|log| log.stranger);
    let is_strange = |entry: &BackupEntry| {
        stranger.is_some_and(|stranger| entry.manifest.cluster() == Some(stranger.kept))
    };
    // Of base backups the log says which is the newest that can be restored.
    let counts = |entry: &BackupEntry| match &entry.manifest.physical {
        None => !is_strange(entry),
        Some(_) => reach.as_ref().is_some_and(|reach| reach.base == *entry.id()),
    };
    let newest = held.iter().find(|(entry, copy)| copy.is_good() && counts(entry));
    let point = newest.map(|(entry, _)| entry.manifest.recovery_point);
    let bad = held
        .iter()
        .filter(|(entry, copy)| !copy.is_good() && Some(entry.manifest.recovery_point) > point)
        .count();
    let until = point.max(reach.as_ref().map(|reach| reach.until));
    let loses = until.map(|until| (now - until).to_std().unwrap_or_default());
    let verdict = match loses {
        _ if !place.reached || log.is_some_and(|log| log.unknown.is_some()) => ObjectiveVerdict::NotReached,
        Some(loses) if loses > rpo => ObjectiveVerdict::ObjectiveMissed,
        None if stranger.is_some() => ObjectiveVerdict::OtherCluster,
        Some(_) if log.is_some_and(|log| log.lost.is_some()) => ObjectiveVerdict::Lost,
        Some(_) if log.is_some_and(|log| !log.bad.is_empty()) => ObjectiveVerdict::BadLog,
        Some(_) if reach.as_ref().is_some_and(|reach| reach.gap.is_some()) => ObjectiveVerdict::Gap,
        Some(loses) if loses <= rpo && log.is_some_and(|log| log.stalled.is_some()) => {
            ObjectiveVerdict::Stalled
        }
        loses => by_age(loses, rpo),
    };
    LocationStatus {
        keeper: LocationSet::Repository(place.name.clone()),
        verdict,
        newest: newest.map(|(entry, copy)| Newest {
            backup: entry.id().clone(),
            recovery_point: entry.manifest.recovery_point,
            state: copy.state,
        }),
        log: reach,
        automated: None,
        point: None,
        lost: log.and_then(|log| log.lost.clone()),
        stalled: log.and_then(|log| log.stalled.clone()),
        stranger,
        replaced: None,
        beside: log.and_then(|log| log.beside),
        bad_log: log.map(|log| log.bad.clone()).unwrap_or_default(),
        loses_seconds: loses.map(|loses| loses.as_secs()),
        behind: false,
        bad,
        waiting: log.map(|log| log.waiting.clone()).unwrap_or_default(),
        left_out: newest
            .and_then(|(entry, _)| entry.manifest.physical.as_ref())
            .map(|physical| physical.left_out.clone())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CopyEntry;
    use crate::model::{CheckDepth, CopyCheck, CopyFault, ObjectFault};
    use crate::recoverability::cloud::Service;
    use crate::repository::fixtures::{backup, noon};
    use chrono::TimeDelta;

    const RPO: Duration = Duration::from_secs(3600);

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
        let standing =
            assess(&[source], &places, entries, (&WalArchivesStatus::new(), &Regions::new()), RPO, now)
                .remove(0);
        (standing.verdict, standing.places[0].verdict, standing.places[1].verdict)
    }

    #[test]
    fn each_place_is_judged_by_the_newest_it_could_give_back() {
        use ObjectiveVerdict::{Behind, Late, NotReached, Nothing, ObjectiveMissed, Ok};
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
        assert_eq!(verdicts(&bad, all, 50), (Behind, Ok, Behind));
        // A clock that was set back does not make it older.
        assert_eq!(verdicts(&[entry(30, &both)], all, 0), (Ok, Ok, Ok));
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
            assess(std::slice::from_ref(&source), &places, &entries, (&logs, &Regions::new()), RPO, now)
                .remove(0);
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
            assess(std::slice::from_ref(&source), &places, &entries, (&logs, &Regions::new()), RPO, now)
                .remove(0);
        assert_eq!(standing.places[0].verdict, ObjectiveVerdict::Ok);
        assert_eq!(standing.places[1].verdict, ObjectiveVerdict::NotReached);
        assert_eq!(standing.if_lost[0].unknown, ["copy"]);
        // Without having asked for the log, nothing is promised of base backups.
        let standing =
            assess(&[source], &places, &entries, (&WalArchivesStatus::new(), &Regions::new()), RPO, now)
                .remove(0);
        assert_eq!(standing.verdict, ObjectiveVerdict::Nothing);
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
            assess(sources, &places, entries, (&WalArchivesStatus::new(), &kept), RPO, now).remove(0)
        };
        let verdicts =
            |standing: &SourceStatus| standing.places.iter().map(|place| place.verdict).collect::<Vec<_>>();
        // A snapshot two hours old, and automated backups that reach further in each region.
        let standing = judge(vec![holding("east", true, Some(115)), holding("west", true, Some(70))], false);
        assert_eq!(verdicts(&standing), [ObjectiveVerdict::Ok, ObjectiveVerdict::Late]);
        assert_eq!(standing.verdict, ObjectiveVerdict::Late);
        let east = &standing.if_lost[0];
        assert_eq!((east.keeper.as_str(), east.left.as_deref()), ("east", Some("west")));
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
            let standing =
                assess(sources, &[], entries, (&WalArchivesStatus::new(), &kept), RPO, minute(30)).remove(0);
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
