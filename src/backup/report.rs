use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::{
    BackupId, BackupKind, DamagedPage, Outcome, PointMode, RepositoryName, RunId, SourceName,
};
use crate::repository::Unavailable;
use crate::run::pause::LeftoverPause;
use crate::source::MissingCopy;
use crate::text::format_time;

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct BackupReport {
    pub run: RunId,
    pub begun: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    pub outcome: Outcome,
    pub sources: Vec<SourceReport>,
    /// The recovery point that it took; absent where every source was taken by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub point: Option<PointReport>,
    /// A pause of the application that a killed run had left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leftover_pause: Option<LeftoverPause>,
    /// Repositories that were unavailable from the beginning.
    #[serde(skip)]
    pub lost: Vec<Unavailable>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SourceReport {
    pub source: SourceName,
    /// `None` where this version cannot back it up.
    pub kind: Option<BackupKind>,
    #[serde(flatten)]
    pub outcome: SourceOutcome,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "a run has one of these a source, and most are the large one")]
pub enum SourceOutcome {
    /// Its manifest is in `repositories`. With anything in `missing`, `damaged`, `missing_files`,
    /// `not_restorable`, `not_held` or `issues` the backup is degraded.
    Stored {
        backup: BackupId,
        /// The parent of an incremental one; `None`: it is full.
        #[serde(skip_serializing_if = "Option::is_none")]
        parent: Option<Box<BackupId>>,
        recovery_point: DateTime<Utc>,
        /// Where it was read, `host:port/database`; absent for AWS-managed backups.
        #[serde(skip_serializing_if = "Option::is_none")]
        read_from: Option<String>,
        plain_bytes: u64,
        stored_bytes: u64,
        seconds: f64,
        repositories: Vec<RepositoryName>,
        missing: Vec<MissingRepository>,
        /// Pages of the cluster that were damaged when they were copied.
        damaged: Vec<DamagedPage>,
        /// Files of tables in the cluster's catalog that were missing on disk.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        missing_files: Vec<String>,
        /// Repositories that have the backup, but not yet the WAL it needs.
        not_restorable: Vec<MissingRepository>,
        /// Regions and accounts that lack it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        not_held: Vec<MissingCopy>,
        /// Messages of AWS although it completed.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        issues: Vec<String>,
        /// What the source has and the backup lacks.
        not_included: Vec<String>,
    },
    /// Another run holds its lease.
    Busy {
        host: String,
        run: RunId,
        since: DateTime<Utc>,
    },
    Failed {
        reason: String,
    },
    Interrupted,
}

/// A repository of the policy that lacks the backup, or what it needs.
#[derive(Clone, Debug, Serialize)]
pub struct MissingRepository {
    pub repository: RepositoryName,
    pub reason: String,
}

/// What a run reached of a recovery point.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PointReport {
    /// The worst of its members.
    pub mode: PointMode,
    /// Like `ordered (spread 3m 12s)`.
    pub label: String,
    pub members: Vec<SourceName>,
    /// Members that this run has no backup of: the point cannot be restored as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<SourceName>,
    /// From the oldest to the newest data of its members.
    pub spread_seconds: u64,
    /// How long the application was paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_seconds: Option<f64>,
    /// Why it is not what the policy asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issues: Vec<String>,
    /// Why the application is still paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub still_paused: Option<String>,
}

impl BackupReport {
    /// Returns why the application is still paused; `None`: it is not, as far as this run knows.
    pub fn still_paused(&self) -> Option<&str> {
        let point = self.point.as_ref().and_then(|point| point.still_paused.as_deref());
        point.or_else(|| self.leftover_pause.as_ref()?.failed.as_deref())
    }

    /// Returns why the run is no complete success, besides what its sources say.
    pub fn reasons(&self) -> Vec<String> {
        let paused = self.still_paused().map(|why| format!("THE APPLICATION IS STILL PAUSED: {why}"));
        paused.into_iter().chain(self.point.iter().flat_map(|point| point.issues.iter().cloned())).collect()
    }

    pub fn judge(sources: &[SourceReport]) -> Outcome {
        let whole = |report: &SourceReport| {
            matches!(report.outcome, SourceOutcome::Stored { .. }) && report.outcome.reasons().is_empty()
        };
        let stored = |report: &SourceReport| matches!(report.outcome, SourceOutcome::Stored { .. });
        if sources.iter().any(|report| matches!(report.outcome, SourceOutcome::Interrupted)) {
            Outcome::Interrupted
        } else if !sources.is_empty() && sources.iter().all(whole) {
            Outcome::Succeeded
        } else if sources.iter().any(stored) {
            Outcome::Degraded
        } else {
            Outcome::Failed
        }
    }
}

impl SourceOutcome {
    /// Returns why the run is not a complete success, a line each; empty where it is.
    pub fn reasons(&self) -> Vec<String> {
        match self {
            Self::Stored { missing, damaged, missing_files, not_restorable, not_held, issues, .. } => {
                let missing = missing.iter().map(|missing| {
                    format!("repository {} does not have it: {}", missing.repository, missing.reason)
                });
                let lacking = not_restorable.iter().map(|missing| {
                    format!("not yet restorable from `{}`: {}", missing.repository, missing.reason)
                });
                let elsewhere = not_held
                    .iter()
                    .map(|place| format!("{} does not have it: {}", place.place, place.reason));
                missing
                    .chain(lacking)
                    .chain(elsewhere)
                    .chain(issues.iter().cloned())
                    .chain(damaged.iter().map(told_damage))
                    .chain(told_missing(missing_files))
                    .collect()
            }
            Self::Busy { host, run, since } => {
                vec![format!("run {run} on {host} has been working on it since {}", format_time(*since))]
            }
            Self::Failed { reason } => vec![reason.clone()],
            Self::Interrupted => vec!["interrupted".to_owned()],
        }
    }
}

impl SourceReport {
    /// Returns the source's name, with the kind of backup where that is not a dump.
    pub fn subject(&self) -> String {
        match self.kind {
            Some(BackupKind::Logical) | None => self.source.to_string(),
            Some(kind) => format!("{} ({kind})", self.source),
        }
    }
}

fn told_damage(page: &DamagedPage) -> String {
    match page.block {
        Some(block) => {
            format!("the cluster is damaged: the checksum of block {block} of `{}` does not fit", page.file)
        }
        None => format!("the cluster is damaged: `{}` has more blocks whose checksums do not fit", page.file),
    }
}

/// Returns the first of many: the manifest has all of them.
fn told_missing(files: &[String]) -> impl Iterator<Item = String> {
    const TOLD: usize = 10;
    let first = files.iter().take(TOLD).map(|file| {
        format!("the cluster is damaged: its catalog names `{file}`, and there is no such file on the server or in the backup")
    });
    let more = files.len().saturating_sub(TOLD);
    first
        .chain((more > 0).then(|| format!("the cluster is damaged: {more} more files are missing like this")))
}
