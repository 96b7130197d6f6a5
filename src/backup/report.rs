use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::{BackupId, Outcome, RepositoryName, RunId, SourceName};

/// How a run ended.
#[derive(Clone, Debug, Serialize)]
pub struct BackupReport {
    pub run: RunId,
    pub begun: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    pub outcome: Outcome,
    pub sources: Vec<SourceReport>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SourceReport {
    pub source: SourceName,
    #[serde(flatten)]
    pub outcome: SourceOutcome,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum SourceOutcome {
    /// Its manifest stands in `repositories`. With anything `missing` or `left_out` the
    /// backup is degraded.
    Stored {
        backup: BackupId,
        recovery_point: DateTime<Utc>,
        plain_bytes: u64,
        stored_bytes: u64,
        seconds: f64,
        repositories: Vec<RepositoryName>,
        missing: Vec<Missing>,
        /// What the policy asks beside it and this version cannot do.
        left_out: Vec<String>,
        /// What the source has and the backup does not, in words.
        not_included: Vec<String>,
    },
    /// Another run works on it.
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

/// A repository of the policy that does not have the backup.
#[derive(Clone, Debug, Serialize)]
pub struct Missing {
    pub repository: RepositoryName,
    pub reason: String,
}

impl BackupReport {
    pub fn judge(sources: &[SourceReport]) -> Outcome {
        let whole = |report: &SourceReport| matches!(&report.outcome, SourceOutcome::Stored { missing, left_out, .. } if missing.is_empty() && left_out.is_empty());
        let stored = |report: &SourceReport| matches!(report.outcome, SourceOutcome::Stored { .. });
        if sources.iter().any(|report| matches!(report.outcome, SourceOutcome::Interrupted)) {
            Outcome::Interrupted
        } else if sources.iter().all(whole) {
            Outcome::Succeeded
        } else if sources.iter().any(stored) {
            Outcome::Degraded
        } else {
            Outcome::Failed
        }
    }
}

impl SourceOutcome {
    /// Why it is not a whole success, a line each; empty for one that is.
    pub fn reasons(&self) -> Vec<String> {
        match self {
            Self::Stored { missing, left_out, .. } => missing
                .iter()
                .map(|missing| {
                    format!("repository {} does not have it: {}", missing.repository, missing.reason)
                })
                .chain(left_out.iter().cloned())
                .collect(),
            Self::Busy { host, run, since } => {
                vec![format!(
                    "run {run} on {host} has been working on it since {}",
                    since.format("%F %T UTC")
                )]
            }
            Self::Failed { reason } => vec![reason.clone()],
            Self::Interrupted => vec!["interrupted".to_owned()],
        }
    }
}
