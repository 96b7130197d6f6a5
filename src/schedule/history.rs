use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::task::{ScheduledTask, Task};
use crate::catalog::{BackupEntry, CopyEntry};
use crate::copies::backups::VERB as COPIES;
use crate::model::{BackupKind, Outcome, SourceName};
use crate::recoverability::time_check::is_future;
use crate::repository::journal::{DRILL, JournalRecord, RETENTION, RUN_DUE};
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
    /// Returns when a task was performed, or was tried and failed, oldest first. A run that was interrupted is none of them,
    /// nor is one dated in the future, or one that did less than the task does.
    pub fn performances(&self, task: &ScheduledTask, now: DateTime<Utc>) -> Vec<Performance> {
        let mut all: Vec<Performance> = match &task.task {
            Task::Backup { source, kind } => {
                let is_own =
                    |entry: &&BackupEntry| entry.id().source() == source && entry.id().kind() == *kind;
                let is_good = |entry: &&BackupEntry| entry.copies.iter().any(CopyEntry::is_good);
                let own = self.entries.iter().filter(is_own).filter(is_good).map(|entry| entry.id().begun());
                own.map(|begun| Performance { begun, ended: begun, succeeded: true }).collect()
            }
            Task::Point { first, .. } => self.points(first),
            Task::Copies => self.runs_of(COPIES, |_| true),
            Task::Verify => self.runs_of(VERIFY, |run| self.covers_the_newest(run)),
            Task::Retention => self.runs_of(RETENTION, |_| true),
            Task::Drill => self.runs_of(DRILL, |run| {
                run.detail.backups.iter().all(|backup| Some(backup.source()) == task.source.as_ref())
            }),
        };
        // What failed before it could leave a record of its own.
        let name = task.task.to_string();
        let failed = self.runs_of(RUN_DUE, |run| run.detail.task.as_ref() == Some(&name));
        let is_recorded = |run: &Performance| {
            all.iter().any(|own| run.begun <= own.begun && own.begun <= run.ended && !own.succeeded)
        };
        let failed: Vec<_> = failed.into_iter().filter(|run| !is_recorded(run)).collect();
        all.extend(failed);
        all.retain(|performance| !is_future(performance.begun, now));
        all.sort_by_key(|performance| performance.begun);
        all
    }

    /// Returns when a whole recovery point was taken that begins with this source.
    fn points(&self, first: &SourceName) -> Vec<Performance> {
        let good = |entry: &&BackupEntry| entry.copies.iter().any(CopyEntry::is_good);
        let of_points: Vec<_> =
            self.entries.iter().filter(good).filter(|entry| entry.manifest.point.is_some()).collect();
        let is_whole = |entry: &&&BackupEntry| {
            let (run, facts) = (&entry.manifest.run, entry.manifest.point.as_ref());
            facts.into_iter().flat_map(|facts| &facts.members).all(|member| {
                of_points.iter().any(|other| other.manifest.run == *run && other.manifest.source == *member)
            })
        };
        let firsts = of_points.iter().filter(|entry| entry.manifest.source == *first).filter(is_whole);
        firsts
            .map(|entry| {
                let begun = entry.id().begun();
                Performance { begun, ended: begun, succeeded: true }
            })
            .collect()
    }

    fn runs_of(&self, verb: &str, counts: impl Fn(&JournalRecord) -> bool) -> Vec<Performance> {
        let is_own =
            |run: &&JournalRecord| run.verb == verb && run.outcome != Outcome::Interrupted && counts(run);
        let own = self.runs.iter().filter(is_own);
        own.map(|run| Performance {
            begun: run.begun,
            ended: run.ended,
            succeeded: run.outcome == Outcome::Succeeded,
        })
        .collect()
    }

    /// Returns whether a verification read the newest backup of each source and kind, or a newer one that was removed since.
    /// Of what AWS keeps no bytes are read.
    fn covers_the_newest(&self, run: &JournalRecord) -> bool {
        let mut newest: BTreeMap<(&SourceName, BackupKind), DateTime<Utc>> = BTreeMap::new();
        let ids = self.entries.iter().filter(|entry| entry.is_held()).map(BackupEntry::id);
        for id in ids.filter(|id| id.begun() < run.begun && !id.kind().is_managed()) {
            let at = newest.entry((id.source(), id.kind())).or_insert(id.begun());
            *at = (*at).max(id.begun());
        }
        newest.into_iter().all(|((source, kind), begun)| {
            let mut checked = run.detail.checks.iter().map(|check| &check.backup);
            checked.any(|id| (id.source(), id.kind()) == (source, kind) && id.begun() >= begun)
        })
    }

    /// Returns when the first backup was taken that a task could work on.
    pub fn first_backup(&self, source: Option<&SourceName>) -> Option<DateTime<Utc>> {
        let is_own = |entry: &&BackupEntry| source.is_none_or(|source| entry.id().source() == source);
        self.entries.iter().filter(is_own).map(|entry| entry.id().begun()).min()
    }
}
