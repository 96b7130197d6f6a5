//! What happens by itself: schedules and drills.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;
use croner::Cron;
use url::Url;

use super::macros::words;
use crate::model::{BackupKind, RepositoryName, SourceName};
use crate::platform::SecretRef;

/// A cron line that comes round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronLine {
    text: String,
    cron: Cron,
}

impl CronLine {
    pub(super) fn new(text: String, cron: Cron) -> Self {
        Self { text, cron }
    }

    /// Returns the text as written in the policy.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn cron(&self) -> &Cron {
        &self.cron
    }
}

/// When things happen.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Of every cron line of the policy.
    pub timezone: Tz,
    /// Those of the recovery point, too.
    pub backups: Vec<BackupTimes>,
    /// The recovery point is taken. Empty: only where it is asked for.
    pub point: Vec<CronLine>,
    /// Stored backups are read again and compared.
    pub verify: Vec<CronLine>,
    /// Retention is applied.
    pub retention: Vec<CronLine>,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { timezone: Tz::UTC, backups: vec![], point: vec![], verify: vec![], retention: vec![] }
    }
}

/// When one kind of backup of one source is taken: whenever any of the lines says.
#[derive(Clone, Debug)]
pub struct BackupTimes {
    pub source: SourceName,
    pub kind: BackupKind,
    /// Never empty.
    pub lines: Vec<CronLine>,
    /// It is taken as a part of the recovery point.
    pub in_point: bool,
}

/// The restore that is practised.
#[derive(Clone, Debug)]
pub struct Drill {
    /// Empty: by hand only.
    pub schedule: Vec<CronLine>,
    pub source: SourceName,
    /// `None`: the farthest repository.
    pub from: Option<RepositoryName>,
    pub pick: Pick,
    pub identity: Option<SecretRef>,
    /// It has failed if it takes longer.
    pub deadline: Duration,
    /// The application's role, as which the checks ask.
    pub role: Option<String>,
    pub database: Option<String>,
    /// What a drill does not measure and the RTO includes: until it is noticed and decided, and until the application uses
    /// what was restored.
    pub detect: Duration,
    pub cut_over: Duration,
    pub directory: Option<PathBuf>,
    /// A runbook whose own steps restore.
    pub runbook: Option<String>,
    /// Of its parameters and decisions.
    pub runbook_parameters: BTreeMap<String, String>,
    /// Drill also where the sandbox cannot be isolated from the network.
    pub allow_unverified_isolation: bool,
    pub checks: Vec<Check>,
}

words! {
    /// Which backup is taken.
    pub Pick {
        /// The newest.
        "latest" => Latest,
        /// The oldest that is kept.
        "oldest" => Oldest,
        /// Any.
        "random" => Random,
    }
}

/// Something that must be true of what was restored.
#[derive(Clone, Debug)]
pub struct Check {
    pub name: String,
    pub probe: Probe,
}

#[derive(Clone, Debug)]
pub enum Probe {
    /// A query that gives one value, which must be all of `expectations`. Never empty.
    Sql { query: String, expectations: Vec<Expectation> },
    /// Passes with exit status 0.
    Command(Vec<String>),
    /// Passes with a status of 200 to 299.
    Http(Url),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    Equals(String),
    AtLeast(i64),
    AtMost(i64),
    /// A time, no older than this before the recovery point.
    NewerThan(Duration),
}
