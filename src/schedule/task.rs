use std::fmt::{self, Display};

use chrono_tz::Tz;
use serde::{Serialize, Serializer};

use crate::model::{BackupKind, SourceName};
use crate::policy::{BackupTimes, CronLine, Policy};

/// Something that is done at the times of the schedule. Tasks that are due together are performed in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// Of the sources of the recovery point, as one.
    Point {
        /// The first of them, whose time is the point's.
        first: SourceName,
        /// Of sources that have several.
        kind: Option<BackupKind>,
    },
    Backup {
        source: SourceName,
        kind: BackupKind,
    },
    /// Has no times of its own: it is due when a repository lacks a backup that another has.
    Copies,
    /// Of the newest backup of each source and kind: reading every backup every night costs more than they do.
    Verify,
    Retention,
    Drill,
}

impl Task {
    /// Returns the arguments of drctl that perform it.
    pub fn command(&self) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self {
            Self::Point { kind: None, .. } => words(&["backup", "--point"]),
            Self::Point { kind: Some(kind), .. } => words(&["backup", "--point", "--kind", kind.as_str()]),
            Self::Backup { source, kind } => words(&["backup", source.as_str(), "--kind", kind.as_str()]),
            Self::Copies => words(&["copies", "sync"]),
            Self::Verify => words(&["verify", "--latest"]),
            Self::Retention => words(&["retention", "apply"]),
            Self::Drill => words(&["drill", "run", "--scheduled"]),
        }
    }

    /// Returns the name of its lease: like no source's, since it has dots.
    pub fn lease(&self) -> String {
        match self {
            Self::Point { .. } => "due.point".to_owned(),
            Self::Backup { source, kind } => format!("due.backup.{}.{source}", kind.as_str()),
            Self::Copies => "due.copies".to_owned(),
            Self::Verify => "due.verify".to_owned(),
            Self::Retention => "due.retention".to_owned(),
            Self::Drill => "due.drill".to_owned(),
        }
    }
}

impl Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Point { .. } => f.write_str("recovery point"),
            Self::Backup { source, kind } => write!(f, "backup of {source} ({})", kind.as_str()),
            Self::Copies => f.write_str("copies"),
            Self::Verify => f.write_str("verify"),
            Self::Retention => f.write_str("retention"),
            Self::Drill => f.write_str("drill"),
        }
    }
}

impl Serialize for Task {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A task with its times.
#[derive(Clone, Debug)]
pub struct ScheduledTask {
    pub task: Task,
    /// Never empty, but for [`Task::Copies`].
    pub lines: Vec<CronLine>,
    pub zone: Tz,
    /// The source whose backups it works on; `None`: every one.
    pub source: Option<SourceName>,
}

/// Returns everything that the policy schedules, in the order of [`Task`].
pub fn scheduled_tasks(policy: &Policy) -> Vec<ScheduledTask> {
    let schedule = &policy.schedule;
    let zone = schedule.timezone;
    let mut tasks: Vec<_> = schedule
        .backups
        .iter()
        .filter(|times| !times.in_point)
        .map(|times| ScheduledTask {
            task: Task::Backup { source: times.source.clone(), kind: times.kind },
            lines: times.lines.clone(),
            zone,
            source: Some(times.source.clone()),
        })
        .collect();
    tasks.extend(point_task(policy));
    let drill = policy.drill.as_ref();
    let others = [
        (Task::Verify, schedule.verify.clone(), None),
        (Task::Retention, schedule.retention.clone(), None),
        (
            Task::Drill,
            drill.map(|drill| drill.schedule.clone()).unwrap_or_default(),
            drill.map(|drill| drill.source.clone()),
        ),
    ];
    let others = others.into_iter().filter(|(_, lines, _)| !lines.is_empty());
    tasks.extend(others.map(|(task, lines, source)| ScheduledTask { task, lines, zone, source }));
    if policy.repositories.len() > 1 && !tasks.is_empty() {
        tasks.push(ScheduledTask { task: Task::Copies, lines: vec![], zone, source: None });
    }
    tasks.sort_by(|one, other| one.task.cmp(&other.task));
    tasks
}

fn point_task(policy: &Policy) -> Option<ScheduledTask> {
    let schedule = &policy.schedule;
    let of_point = || schedule.backups.iter().filter(|times| times.in_point);
    let first = of_point().next().filter(|_| !schedule.point.is_empty())?.source.clone();
    let has_several =
        |times: &&BackupTimes| policy.source(&times.source).is_some_and(|source| source.kinds.len() > 1);
    let kind = of_point().find(has_several).map(|times| times.kind);
    let (lines, zone) = (schedule.point.clone(), schedule.timezone);
    Some(ScheduledTask { task: Task::Point { first: first.clone(), kind }, lines, zone, source: Some(first) })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_recovery_point_is_one_task_and_takes_the_dump_of_what_has_several_methods() {
        let text = "[system]\nname = \"shop\"\n[objectives]\nrto = \"4h\"\nrpo = \"1h\"\n[repository.primary]\ndirectory = \"/b\"\n\
            [encryption]\ndanger_unencrypted = true\n[sources.database]\nkind = \"postgres\"\nurl = \"postgres://h/shop\"\n\
            methods = [\"base\", \"wal\", \"logical\"]\n[sources.uploads]\nkind = \"files\"\npaths = [\"/srv\"]\n\
            [recovery_point]\nsources = [\"database\", \"uploads\"]\n\
            [schedule]\nrecovery_point = \"15 * * * *\"\nsources.database = { base = \"0 3 * * *\" }\n";
        let policy = crate::policy::parse(Path::new("shop.toml"), text).unwrap();
        let tasks: Vec<_> = scheduled_tasks(&policy).into_iter().map(|task| task.task).collect();
        let commands: Vec<_> = tasks.iter().map(|task| task.command().join(" ")).collect();
        assert_eq!(commands, ["backup --point --kind logical", "backup database --kind base"]);
        let orphan = text.replace("[recovery_point]\nsources = [\"database\", \"uploads\"]\n", "");
        let faults = crate::policy::parse(Path::new("shop.toml"), &orphan).unwrap_err();
        assert_eq!(faults.faults[0].key, "schedule.recovery_point");
    }
}
