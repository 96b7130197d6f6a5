//! Which backup of each member is restored.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::{BackupId, BackupKind, PointMode, RepositoryName, RunId, SourceName, chain};
use crate::repository::points::{RecoveryPoint, point_label, recovery_points};
use crate::repository::{BackupRecord, CLOCK_TOLERANCE, Inventory};
use crate::restore::Refusal;
use crate::text::{approximate_duration, format_time, quoted_list};

/// How many ids a refusal names.
const NAMED: usize = 5;

/// Which recovery point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PointSelector {
    /// The last one that is restorable.
    Latest,
    /// The beginning of its id.
    Prefix(String),
    /// Of every member what is nearest before this time.
    Time(DateTime<Utc>),
    /// Of every member the newest.
    Newest,
}

/// A member that is to be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSource {
    pub name: SourceName,
    /// Whether its WAL is archived, so that any time can be reached.
    pub has_wal: bool,
    pub prefers: Prefers,
}

/// What a database is restored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefers {
    /// A new database on a server.
    Database,
    /// A data directory.
    Directory,
    /// Whichever loses least.
    Either,
}

/// What of a member is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberBackup {
    /// A dump, or content.
    Whole(BackupId),
    /// A base backup and the WAL after it.
    Cluster {
        /// `None`: the last before the time.
        backup: Option<BackupId>,
        /// `None`: the end of the archived WAL.
        until: Option<DateTime<Utc>>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedMember {
    pub source: SourceName,
    pub backup: MemberBackup,
    /// The time whose data it has; `None`: as much as there is.
    pub time: Option<DateTime<Utc>>,
}

/// The backups that are restored together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The recovery point; `None`: they were not taken as one.
    pub point: Option<RunId>,
    /// That of the first member.
    pub time: Option<DateTime<Utc>>,
    /// How well they fit together.
    pub label: String,
    /// In the order of the recovery point.
    pub members: Vec<SelectedMember>,
    /// For the operator.
    pub notes: Vec<String>,
}

/// Selects what is restored of each member. Pure.
pub fn select(
    inventory: &Inventory,
    members: &[MemberSource],
    selector: &PointSelector,
    from: Option<&RepositoryName>,
    now: DateTime<Utc>,
) -> Result<Selection, Vec<Refusal>> {
    match selector {
        PointSelector::Latest => latest(inventory, members, from, now).map_err(|refusal| vec![refusal]),
        PointSelector::Prefix(prefix) => {
            named(inventory, members, prefix, from).map_err(|refusal| vec![refusal])
        }
        PointSelector::Time(time) => separate(inventory, members, Some(*time), from, now),
        PointSelector::Newest => separate(inventory, members, None, from, now),
    }
}

fn within(from: Option<&RepositoryName>) -> String {
    from.map(|name| format!(" in repository `{name}`")).unwrap_or_default()
}

/// Returns the points that have all members, newest first.
fn points(
    inventory: &Inventory,
    members: &[MemberSource],
    from: Option<&RepositoryName>,
) -> Vec<RecoveryPoint> {
    let names: Vec<RepositoryName> = from.into_iter().cloned().collect();
    let mut points = recovery_points(inventory, &names);
    // What a run took without saying that it belongs together is a point only where it is everything.
    points.retain(|point| {
        point.mode != PointMode::Independent
            || members.iter().all(|member| point.members.iter().any(|found| found.source == member.name))
    });
    points
}

/// Returns why a point cannot be restored.
fn obstacle(
    point: &RecoveryPoint,
    members: &[MemberSource],
    from: Option<&RepositoryName>,
) -> Option<String> {
    let is_wanted = |source: &SourceName| members.iter().any(|member| member.name == *source);
    let lacks: Vec<&SourceName> = match from {
        Some(name) => {
            let copy = point.copies.iter().find(|copy| copy.repository == *name);
            copy.into_iter().flat_map(|copy| &copy.lacks).filter(|source| is_wanted(source)).collect()
        }
        None => {
            let lost = point.members.iter().filter(|member| !member.is_restorable);
            lost.map(|member| &member.source).filter(|source| is_wanted(source)).collect()
        }
    };
    let unknown =
        members.iter().filter(|member| point.members.iter().all(|found| found.source != member.name));
    let lacks: Vec<&SourceName> = lacks.into_iter().chain(unknown.map(|member| &member.name)).collect();
    (!lacks.is_empty()).then(|| format!("it lacks {}{}", quoted_list(&lacks), within(from)))
}

fn latest(
    inventory: &Inventory,
    members: &[MemberSource],
    from: Option<&RepositoryName>,
    now: DateTime<Utc>,
) -> Result<Selection, Refusal> {
    let points = points(inventory, members, from);
    let within = within(from);
    if points.is_empty() {
        let message = format!("there is no recovery point{within}");
        return Err(Refusal::nothing("no-point", message));
    }
    let mut passed_over = Vec::new();
    for point in &points {
        let why = match obstacle(point, members, from) {
            Some(why) => why,
            None if point.id.begun() > now + CLOCK_TOLERANCE => {
                "it is dated in the future: some host's clock is wrong".to_owned()
            }
            None => {
                let mut selection = of_point(inventory, point, members, from);
                selection.notes.splice(0..0, passed_over);
                return Ok(selection);
            }
        };
        passed_over.push(format!("recovery point {} is newer and is not used: {why}", point.id));
    }
    let listed: Vec<_> =
        passed_over.iter().take(NAMED).map(|why| why.replace(" is newer and is not used", "")).collect();
    Err(Refusal::nothing(
        "no-whole-point",
        format!("no recovery point{within} can be restored: {}", listed.join("; ")),
    ))
}

fn named(
    inventory: &Inventory,
    members: &[MemberSource],
    prefix: &str,
    from: Option<&RepositoryName>,
) -> Result<Selection, Refusal> {
    let points = points(inventory, members, from);
    let found: Vec<_> = points.iter().filter(|point| point.id.as_str().starts_with(prefix)).collect();
    let ids = |points: &[&RecoveryPoint]| {
        quoted_list(&points.iter().take(NAMED).map(|point| &point.id).collect::<Vec<_>>())
    };
    match found[..] {
        [point] => match obstacle(point, members, from) {
            Some(why) => Err(Refusal::nothing(
                "broken-point",
                format!("recovery point {} cannot be restored: {why}", point.id),
            )),
            None => Ok(of_point(inventory, point, members, from)),
        },
        [] => {
            let newest = match points.is_empty() {
                true => "there is none".to_owned(),
                false => format!("the newest are {}", ids(&points.iter().collect::<Vec<_>>())),
            };
            Err(Refusal::usage(
                "no-point",
                format!("no recovery point has an id that begins with `{prefix}`; {newest}"),
            ))
        }
        _ => Err(Refusal::usage(
            "ambiguous-point",
            format!("`{prefix}` is the beginning of several recovery points: {}", ids(&found)),
        )),
    }
}

/// Takes the wanted members of a point.
fn of_point(
    inventory: &Inventory,
    point: &RecoveryPoint,
    members: &[MemberSource],
    from: Option<&RepositoryName>,
) -> Selection {
    let mut selected = Vec::new();
    for found in &point.members {
        let Some(member) = members.iter().find(|member| member.name == found.source) else { continue };
        let whole: Vec<&BackupRecord> = found
            .backups
            .iter()
            .filter_map(|id| inventory.find(id))
            .filter(|record| is_whole(inventory, record, from))
            .collect();
        let is_base = |record: &&&BackupRecord| record.manifest.kind == BackupKind::Base;
        let base = whole.iter().find(is_base);
        let other = whole.iter().find(|record| !is_base(record));
        let chosen = match member.prefers {
            Prefers::Directory => base.or(other),
            Prefers::Database | Prefers::Either => other.or(base),
        };
        let Some(record) = chosen else { continue };
        let time = record.manifest.recovery_point;
        let backup = match record.manifest.kind {
            BackupKind::Base => {
                MemberBackup::Cluster { backup: Some(record.id().clone()), until: Some(time) }
            }
            _ => MemberBackup::Whole(record.id().clone()),
        };
        selected.push(SelectedMember { source: member.name.clone(), backup, time: Some(time) });
    }
    Selection {
        point: Some(point.id.clone()),
        time: Some(point.time),
        label: point.label(),
        members: selected,
        notes: vec![],
    }
}

fn is_whole(inventory: &Inventory, record: &BackupRecord, from: Option<&RepositoryName>) -> bool {
    match from {
        Some(name) => record.is_held_by(name) && inventory.chain_in(record, name).is_ok(),
        None => {
            let find = |id: &BackupId| inventory.find(id).map(|record| &record.manifest);
            !record.holders.is_empty() && chain(&record.manifest, find).is_ok()
        }
    }
}

/// Takes of every member what is nearest before a time, or the newest.
fn separate(
    inventory: &Inventory,
    members: &[MemberSource],
    until: Option<DateTime<Utc>>,
    from: Option<&RepositoryName>,
    now: DateTime<Utc>,
) -> Result<Selection, Vec<Refusal>> {
    let (mut selected, mut refusals, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for member in members {
        if member.has_wal && member.prefers != Prefers::Database {
            let backup = MemberBackup::Cluster { backup: None, until };
            selected.push(SelectedMember { source: member.name.clone(), backup, time: until });
            continue;
        }
        let usable = inventory.backups_of(&member.name).filter(|record| {
            let limit = until.unwrap_or(now + CLOCK_TOLERANCE);
            record.manifest.kind != BackupKind::Base
                && record.manifest.recovery_point <= limit
                && is_whole(inventory, record, from)
        });
        let Some(record) = usable.max_by_key(|record| record.manifest.recovery_point) else {
            let message = match until {
                Some(time) => format!(
                    "no backup of `{}`{} that can be restored has data of {} or earlier",
                    member.name,
                    within(from),
                    format_time(time)
                ),
                None => format!("no backup of `{}`{} can be restored", member.name, within(from)),
            };
            refusals.push(Refusal::nothing("no-backup", message));
            continue;
        };
        let time = record.manifest.recovery_point;
        if let Some(distance) =
            until.and_then(|until| (until - time).to_std().ok()).filter(|far| far.as_secs() > 0)
        {
            notes.push(format!(
                "`{}` can only be restored as it was at {}, {} earlier",
                member.name,
                format_time(time),
                approximate_duration(distance)
            ));
        }
        let backup = MemberBackup::Whole(record.id().clone());
        selected.push(SelectedMember { source: member.name.clone(), backup, time: Some(time) });
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let times = || selected.iter().filter_map(|member| member.time);
    let spread =
        times().max().zip(times().min()).and_then(|(newest, oldest)| (newest - oldest).to_std().ok());
    Ok(Selection {
        point: None,
        time: until.or_else(|| selected.first().and_then(|first| first.time)),
        label: point_label(PointMode::Independent, spread.unwrap_or(Duration::ZERO)),
        members: selected,
        notes,
    })
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::model::PointFacts;
    use crate::repository::fixtures::{backup, noon};

    fn name(name: &str) -> SourceName {
        name.parse().unwrap()
    }

    /// A member's backup of the run that began at that minute.
    fn record(minute: i64, source: &str, kind: BackupKind, holders: &[&str]) -> BackupRecord {
        let mut manifest = backup(minute).0;
        let members = vec![name("database"), name("uploads")];
        let position = members.iter().position(|member| *member == name(source)).unwrap();
        let at = noon() + TimeDelta::minutes(minute) + TimeDelta::seconds(position as i64 * 10);
        manifest.id = BackupId::new(at, &name(source), kind, 3);
        (manifest.source, manifest.kind, manifest.recovery_point) = (name(source), kind, at);
        manifest.point = Some(PointFacts { mode: PointMode::Paused, members, position });
        BackupRecord { manifest, holders: holders.iter().map(|name| name.parse().unwrap()).collect() }
    }

    fn inventory(mut backups: Vec<BackupRecord>) -> Inventory {
        backups.sort_by(|one, other| other.id().cmp(one.id()));
        Inventory { backups, rejected: vec![] }
    }

    fn members(has_wal: bool, prefers: Prefers) -> [MemberSource; 2] {
        [
            MemberSource { name: name("database"), has_wal, prefers },
            MemberSource { name: name("uploads"), has_wal: false, prefers: Prefers::Either },
        ]
    }

    const BOTH: [&str; 2] = ["primary", "west"];

    fn two_points() -> Inventory {
        use BackupKind::{Base, Files, Logical};
        inventory(vec![
            record(0, "database", Logical, &BOTH),
            record(0, "database", Base, &BOTH),
            record(0, "uploads", Files, &BOTH),
            record(60, "database", Logical, &BOTH),
            record(60, "uploads", Files, &BOTH[..1]),
            record(90, "database", Logical, &BOTH),
        ])
    }

    fn minutes(selection: &Selection) -> Vec<i64> {
        let times = selection.members.iter().filter_map(|member| member.time);
        times.map(|time| (time - noon()).num_minutes()).collect()
    }

    #[test]
    fn the_last_point_that_is_whole_is_taken_and_newer_ones_are_named() {
        let (all, wanted) = (two_points(), members(false, Prefers::Either));
        let latest = |from: Option<&str>| {
            let from = from.map(|name| name.parse().unwrap());
            select(&all, &wanted, &PointSelector::Latest, from.as_ref(), noon() + TimeDelta::hours(3))
                .unwrap()
        };
        let selection = latest(None);
        assert_eq!((minutes(&selection), selection.label.as_str()), (vec![60, 60], "paused"));
        assert_eq!(selection.notes.len(), 1, "{:?}", selection.notes);
        assert!(selection.notes[0].contains("it lacks `uploads`"), "{:?}", selection.notes);
        assert_eq!(minutes(&latest(Some("west"))), [0, 0]);
    }

    #[test]
    fn a_directory_takes_the_base_backup_of_a_point_and_a_database_its_dump() {
        let all = two_points();
        let of = |prefers| {
            let prefix = PointSelector::Prefix("20261120T120000Z".to_owned());
            let selection = select(&all, &members(true, prefers), &prefix, None, noon()).unwrap();
            selection.members[0].backup.clone()
        };
        assert!(matches!(of(Prefers::Directory), MemberBackup::Cluster { backup: Some(_), until: Some(_) }));
        assert!(matches!(of(Prefers::Database), MemberBackup::Whole(_)));
        assert!(matches!(of(Prefers::Either), MemberBackup::Whole(_)));
    }

    #[test]
    fn a_time_takes_of_each_member_what_is_nearest_before() {
        let all = two_points();
        let at = |minutes, has_wal| {
            let time = noon() + TimeDelta::minutes(minutes);
            select(&all, &members(has_wal, Prefers::Either), &PointSelector::Time(time), None, time)
        };
        let selection = at(75, false).unwrap();
        assert_eq!((minutes(&selection), selection.point.clone()), (vec![60, 60], None));
        assert_eq!(selection.notes.len(), 2);
        assert!(selection.label.starts_with("independent"));
        let with_wal = at(75, true).unwrap();
        assert_eq!(
            with_wal.members[0].backup,
            MemberBackup::Cluster { backup: None, until: Some(noon() + TimeDelta::minutes(75)) }
        );
        let refused = at(-5, false).unwrap_err();
        assert_eq!(refused.len(), 2, "every member is named at once: {refused:?}");
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        let all = two_points();
        let wanted = members(false, Prefers::Either);
        let refused = |selector: &PointSelector| {
            let refused = select(&all, &wanted, selector, None, noon()).unwrap_err();
            (refused[0].code, refused[0].message.clone())
        };
        let prefix = |prefix: &str| PointSelector::Prefix(prefix.to_owned());
        assert_eq!(refused(&prefix("2025")).0, "no-point");
        assert_eq!(refused(&prefix("20261120T1")).0, "ambiguous-point");
        let (code, message) = refused(&prefix("20261120T133000Z"));
        assert_eq!(code, "broken-point");
        assert!(message.contains("it lacks `uploads`"), "{message}");
        let empty = select(&Inventory::default(), &wanted, &PointSelector::Latest, None, noon()).unwrap_err();
        assert_eq!(empty[0].code, "no-point");
    }
}
