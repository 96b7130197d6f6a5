//! What people are told of the result of a run, or of where things stand: a file for each. Pure.

mod backup;
mod copies;
mod drill;
mod retention;
mod status;
mod verify;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::catalog::{BackupEntry, Notice};
use crate::model::{RunId, SourceName};
use crate::policy::{Job, Policy, Severity};
use crate::text::format_duration;

pub use backup::backup;
pub use copies::copies;
pub use drill::drill;
pub use retention::retention;
pub use status::{Judged, Standing, status};
pub use verify::{VerifiedScope, verify};

/// What is wrong, and what no longer is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub firing: Vec<Notice>,
    pub over: Vec<Over>,
}

/// Something that is not wrong: nothing is said of it where nothing was said before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// The key of its notice.
    pub key: String,
    /// What is good now.
    pub headline: String,
}

impl Findings {
    /// A run of a job failed before it came to a result of its own.
    pub fn failed(job: Job, reason: &str) -> Self {
        let verb = verb(job);
        let impact = match job {
            Job::Backup => "No source was backed up by this run.",
            Job::Verify => "No backup was read again.",
            Job::Copies => "Copies that lack backups still lack them.",
            Job::Retention => "Nothing was removed.",
            Job::Drill => "No restore was proven.",
            Job::Status => "It is not known what a restore would lose.",
        };
        Self::default().firing(Notice {
            key: run_key(job),
            event: "run.failed".to_owned(),
            severity: Severity::P2,
            source: None,
            headline: format!("`{verb}` failed: {reason}"),
            impact: impact.to_owned(),
            action: format!("`drctl doctor` says what is in the way; then run `{verb}` again"),
            run: None,
        })
    }

    /// A run of a job came to a result.
    pub fn concluded(self, job: Job) -> Self {
        self.over(run_key(job), format!("`{}` came to a result again", verb(job)))
    }

    pub(super) fn firing(mut self, notice: Notice) -> Self {
        self.firing.push(notice);
        self
    }

    pub(super) fn over(mut self, key: String, headline: impl Into<String>) -> Self {
        self.over.push(Over { key, headline: headline.into() });
        self
    }
}

fn run_key(job: Job) -> String {
    format!("run/{}", job.as_str())
}

fn verb(job: Job) -> &'static str {
    match job {
        Job::Backup => "drctl backup",
        Job::Verify => "drctl verify",
        Job::Copies => "drctl copies sync",
        Job::Retention => "drctl retention apply",
        Job::Drill => "drctl drill run",
        Job::Status => "drctl status --notify",
    }
}

/// The newest data that is stored of each source, as far as the catalog knows.
#[derive(Clone, Debug, Default)]
pub struct NewestData(pub BTreeMap<SourceName, DateTime<Utc>>);

impl NewestData {
    pub fn of(entries: &[BackupEntry]) -> Self {
        let mut newest = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.is_held()) {
            let point = entry.manifest.recovery_point;
            let known = newest.entry(entry.manifest.source.clone()).or_insert(point);
            *known = point.max(*known);
        }
        Self(newest)
    }
}

/// What a run's notices have in common.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    pub policy: &'a Policy,
    pub run: &'a RunId,
    pub now: DateTime<Utc>,
}

/// Returns a length of time as people say it: to the minute, and from a day on to the hour.
fn in_words(duration: Duration) -> String {
    let unit = match duration.as_secs() {
        0..60 => 1,
        60..86_400 => 60,
        _ => 3600,
    };
    format_duration(Duration::from_secs(duration.as_secs() / unit * unit))
}

/// Joins the first few reasons, and says how many more there are.
fn joined(reasons: &[String]) -> String {
    const FIRST: usize = 3;
    let first = reasons.iter().take(FIRST).map(String::as_str).collect::<Vec<_>>().join("; ");
    match reasons.len().saturating_sub(FIRST) {
        0 => first,
        more => format!("{first}; and {more} more"),
    }
}
