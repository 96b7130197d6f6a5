use std::fmt::{self, Display};

use chrono_tz::Tz;
use serde::{Serialize, Serializer};

use crate::model::{BackupKind, SourceName};
use crate::policy::{CronLine, Policy};

/// Something that is done at the times of the schedule. Tasks that are due together are performed in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
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
        .map(|times| ScheduledTask {
            task: Task::Backup { source: times.source.clone(), kind: times.kind },
            lines: times.lines.clone(),
            zone,
            source: Some(times.source.clone()),
        })
        .collect();
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
