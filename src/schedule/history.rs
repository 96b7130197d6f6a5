use chrono::{DateTime, Utc};

use super::task::{ScheduledTask, Task};
use crate::catalog::{BackupEntry, CopyEntry};
use crate::copies::backups::VERB as COPIES;
use crate::model::{Outcome, SourceName};
use crate::recoverability::time_check::is_future;
use crate::repository::journal::{DRILL, JournalRecord, RETENTION};
use crate::verify::backups::VERB as VERIFY;

/// One time that a task was performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Performance {
    pub begun: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    pub succeeded: bool,
}

/// What the manifests and the journal know of earlier runs.
#[derive(Clone, Debug, Default)]
pub struct TaskHistory {
    pub entries: Vec<BackupEntry>,
    pub runs: Vec<JournalRecord>,
    /// How many backups a repository that was reached lacks, and another has.
    pub missing_copies: usize,
}

impl TaskHistory {
    /// Returns when a task was performed, oldest first. A backup that failed leaves no manifest, and is none of them;
    /// neither is a run that was interrupted, nor one dated in the future.
    pub fn performances(&self, task: &ScheduledTask, now: DateTime<Utc>) -> Vec<Performance> {
        let mut all: Vec<_> = match &task.task {
            Task::Backup { source, kind } => {
                let is_own =
                    |entry: &&BackupEntry| entry.id().source() == source && entry.id().kind() == *kind;
                let is_good = |entry: &&BackupEntry| entry.copies.iter().any(CopyEntry::is_good);
                let own = self.entries.iter().filter(is_own).filter(is_good).map(|entry| entry.id().begun());
                own.map(|begun| Performance { begun, ended: begun, succeeded: true }).collect()
            }
            Task::Copies => self.runs_of(COPIES, None),
            Task::Verify => self.runs_of(VERIFY, None),
            Task::Retention => self.runs_of(RETENTION, None),
            Task::Drill => self.runs_of(DRILL, task.source.as_ref()),
        };
        all.retain(|performance| !is_future(performance.begun, now));
        all.sort_by_key(|performance| performance.begun);
        all
    }

    fn runs_of(&self, verb: &str, source: Option<&SourceName>) -> Vec<Performance> {
        let is_own = |run: &&JournalRecord| {
            let is_of_source =
                run.detail.backups.iter().all(|backup| source.is_none_or(|source| backup.source() == source));
            run.verb == verb && run.outcome != Outcome::Interrupted && is_of_source
        };
        let own = self.runs.iter().filter(is_own);
        own.map(|run| Performance {
            begun: run.begun,
            ended: run.ended,
            succeeded: run.outcome == Outcome::Succeeded,
        })
        .collect()
    }

    /// Returns when the first backup was taken that a task could work on.
    pub fn first_backup(&self, source: Option<&SourceName>) -> Option<DateTime<Utc>> {
        let is_own = |entry: &&BackupEntry| source.is_none_or(|source| entry.id().source() == source);
        self.entries.iter().filter(is_own).map(|entry| entry.id().begun()).min()
    }
}
