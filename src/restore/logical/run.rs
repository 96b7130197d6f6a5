use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Compared, DumpRestoreError, GlobalsPlan, VERB};
use crate::event::{Events, Phase, PhaseSeconds};
use crate::model::{BackupId, Outcome, RepositoryName, RunId, SystemName, Verdict};
use crate::pipeline::Identities;
use crate::platform::{CancellationToken, Clock};
use crate::postgres::ConnectionParameters;
use crate::repository::journal;
use crate::repository::journal::{Detail, JournalRecord};
use crate::repository::{Repositories, Unavailable};
use crate::text::error_chain;

/// What a restore works with.
pub struct Run {
    pub id: RunId,
    pub system: SystemName,
    pub host: String,
    pub clock: Arc<dyn Clock>,
    /// Opened, and checked to be this system's.
    pub repositories: Repositories,
    pub identities: Identities,
    /// The server, the role, and as its database the name of the one that is to be made.
    pub target: ConnectionParameters,
    /// Where to look for `pg_restore` first.
    pub tools: Option<PathBuf>,
    pub events: Events,
    pub cancel: CancellationToken,
}

/// A restore that was published.
#[derive(Clone, Debug, Serialize)]
pub struct DumpRestoreReport {
    pub run: RunId,
    pub backup: BackupId,
    pub recovery_point: DateTime<Utc>,
    pub repository: RepositoryName,
    pub server: String,
    /// The name it has.
    pub database: String,
    /// What is the same as it was recorded; absent where something is not.
    pub compared: Option<Compared>,
    /// Whether it is what was dumped. One that fails has another name than was asked for.
    pub verdict: Verdict,
    pub phases: Vec<PhaseSeconds>,
    pub seconds: f64,
    pub stored_bytes: u64,
    pub plain_bytes: u64,
    pub globals: Option<GlobalsPlan>,
    /// What the database had and the restored one has not, in words.
    pub left_out: Vec<String>,
    pub notes: Vec<String>,
}

/// A restore that was given up, or whose database could not be published.
#[derive(Debug, thiserror::Error)]
#[error("failed to restore `{backup}` ({}); {aftermath}", .phase.as_str())]
pub struct DumpRestoreFailure {
    pub backup: BackupId,
    pub phase: Phase,
    pub aftermath: DumpCleanup,
    /// Roles and tablespaces that were made before it failed; they stay.
    pub globals_made: Vec<String>,
    pub phases: Vec<PhaseSeconds>,
    #[source]
    pub source: DumpRestoreError,
}

/// What is left on the target server.
#[derive(Debug)]
pub enum DumpCleanup {
    NothingMade,
    Dropped {
        database: String,
    },
    Left {
        database: String,
        reason: String,
    },
    /// It was loaded and judged, and could not be published.
    Kept {
        database: String,
        is_complete: bool,
        /// The statements that publish it.
        by_hand: String,
    },
    /// A database that was there and empty has a part of the dump in it.
    Marked {
        database: String,
    },
    /// The restored database is published; what failed came after.
    Published {
        database: String,
    },
}

impl std::fmt::Display for DumpCleanup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NothingMade => write!(f, "no database was made"),
            Self::Dropped { database } => {
                write!(f, "nothing was published, and the temporary database `{database}` was dropped")
            }
            Self::Left { database, reason } => write!(
                f,
                "nothing was published, but the temporary database `{database}` could not be dropped: {reason}"
            ),
            Self::Kept { database, is_complete: true, .. } => {
                write!(f, "the restored database is complete and compared, and is kept as `{database}`")
            }
            Self::Kept { database, .. } => {
                write!(f, "what was restored is incomplete, and is kept as `{database}`")
            }
            Self::Marked { database } => {
                write!(
                    f,
                    "database `{database}` has a part of it, is not complete, and says so in its comment"
                )
            }
            Self::Published { database } => write!(f, "the restored database `{database}` is published"),
        }
    }
}

impl Run {
    /// Writes the journal's record. Gives it back for the catalog, and the repositories that did not take it:
    /// whoever restores may be allowed to read only.
    pub async fn conclude(
        &self,
        begun: DateTime<Utc>,
        backup: &BackupId,
        outcome: Result<&DumpRestoreReport, &DumpRestoreFailure>,
    ) -> (JournalRecord, Vec<Unavailable>) {
        let phases = outcome.map_or_else(|failure| &failure.phases, |report| &report.phases);
        let outcome_word = match &outcome {
            Ok(report) if report.left_out.is_empty() && report.verdict.has_passed() => Outcome::Succeeded,
            Ok(_) => Outcome::Degraded,
            Err(DumpRestoreFailure {
                aftermath: DumpCleanup::Kept { .. } | DumpCleanup::Published { .. },
                ..
            }) => Outcome::Degraded,
            Err(failure) if failure.source.is_interruption() => Outcome::Interrupted,
            Err(_) => Outcome::Failed,
        };
        let times = (begun, self.clock.now());
        let detail = Detail::restored(backup, phases, reasons(&outcome));
        let record = JournalRecord::new(&self.id, VERB, times, &self.host, outcome_word, detail);
        match journal::append(&self.repositories, &self.system, record.clone()).await {
            Ok(lost) => (record, lost),
            Err(error) => {
                self.events.warning(error_chain(&error));
                (record, vec![])
            }
        }
    }

    pub(super) fn check_interruption(&self) -> Result<(), DumpRestoreError> {
        if self.cancel.is_cancelled() { Err(DumpRestoreError::Interrupted) } else { Ok(()) }
    }
}

/// The journal is in clear: a failure is told by its phase and kind, without names of tables.
fn reasons(outcome: &Result<&DumpRestoreReport, &DumpRestoreFailure>) -> Vec<String> {
    match outcome {
        Ok(report) => match report.verdict.reasons.len() {
            0 => vec![],
            count => vec![format!("{}, for {count} reasons", report.verdict.outcome.as_str())],
        },
        Err(failure) => {
            let why = match &failure.source {
                DumpRestoreError::Different(all) => format!("{} differences to what was dumped", all.len()),
                DumpRestoreError::Fetch { .. } => failure.source.to_string(),
                DumpRestoreError::Interrupted => "interrupted".to_owned(),
                _ => "failed".to_owned(),
            };
            vec![format!("{}: {why}", failure.phase.as_str())]
        }
    }
}
