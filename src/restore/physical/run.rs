use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{PhysicalRestoreError, Started};
use crate::event::{Events, Phase, PhaseSeconds};
use crate::model::{BackupId, Outcome, RepositoryName, RunId, SystemName};
use crate::pipeline::Identities;
use crate::platform::{CancellationToken, Clock};
use crate::repository::journal;
use crate::repository::journal::{Detail, JournalRecord};
use crate::repository::{Repositories, Unavailable};
use crate::text::error_chain;

/// What a recovery is called in the journal.
pub const VERB: &str = "recover";

/// What a recovery works with.
pub struct Run {
    pub id: RunId,
    pub system: SystemName,
    pub host: String,
    pub clock: Arc<dyn Clock>,
    /// Opened, and checked to be this system's.
    pub repositories: Repositories,
    pub identities: Identities,
    pub events: Events,
    pub cancel: CancellationToken,
}

/// A directory that a server can be started in, or was.
#[derive(Clone, Debug, Serialize)]
pub struct PhysicalRestoreReport {
    pub run: RunId,
    pub backup: BackupId,
    pub repository: RepositoryName,
    pub to: PathBuf,
    pub files: u64,
    pub plain_bytes: u64,
    pub stored_bytes: u64,
    /// Of `plain_bytes`, what stood there already.
    pub reused_bytes: u64,
    pub segments: u64,
    pub started: Option<Started>,
    pub phases: Vec<PhaseSeconds>,
    pub seconds: f64,
    pub notes: Vec<String>,
}

/// A recovery that was given up.
#[derive(Debug, thiserror::Error)]
#[error("failed to recover `{backup}` ({}); {aftermath}", .phase.as_str())]
pub struct PhysicalRestoreFailure {
    pub backup: BackupId,
    pub phase: Phase,
    pub aftermath: DirectoryCleanup,
    pub phases: Vec<PhaseSeconds>,
    #[source]
    pub source: PhysicalRestoreError,
}

/// What is left on this host.
#[derive(Debug)]
pub enum DirectoryCleanup {
    Removed {
        to: PathBuf,
    },
    Left {
        to: PathBuf,
        reason: String,
    },
    /// The files are whole.
    Restored {
        to: PathBuf,
        server: ServerState,
    },
    /// Nothing of it was this run's yet.
    Untouched {
        to: PathBuf,
    },
    /// A data directory that was being changed.
    HalfChanged {
        to: PathBuf,
    },
}

/// What became of the server that was to be started.
#[derive(Clone, Debug, Default)]
pub enum ServerState {
    #[default]
    NotStarted,
    Stopped,
    /// It could not be stopped, and why.
    MayRun(String),
}

impl std::fmt::Display for DirectoryCleanup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Removed { to } => write!(f, "what was written to `{}` was removed", to.display()),
            Self::Left { to, reason } => write!(
                f,
                "`{}` is not whole and no server starts in it, but it could not be removed: {reason}",
                to.display()
            ),
            Self::Untouched { to } => write!(f, "`{}` was not touched", to.display()),
            Self::HalfChanged { to } => write!(
                f,
                "`{}` is half changed and no server starts in it; with `--delta` the next run goes on with it",
                to.display()
            ),
            Self::Restored { to, server } => {
                write!(f, "the files in `{}` are whole and stay there", to.display())?;
                match server {
                    ServerState::NotStarted => Ok(()),
                    ServerState::Stopped => write!(f, "; the server was stopped"),
                    ServerState::MayRun(reason) => {
                        write!(f, "; THE SERVER MAY STILL RUN, it could not be stopped: {reason}")
                    }
                }
            }
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
        outcome: Result<&PhysicalRestoreReport, &PhysicalRestoreFailure>,
    ) -> (JournalRecord, Vec<Unavailable>) {
        let phases = outcome.map_or_else(|failure| &failure.phases, |report| &report.phases);
        let outcome_word = match &outcome {
            Ok(_) => Outcome::Succeeded,
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

    pub(super) fn check_interruption(&self) -> Result<(), PhysicalRestoreError> {
        if self.cancel.is_cancelled() { Err(PhysicalRestoreError::Interrupted) } else { Ok(()) }
    }
}

/// The journal is in clear: a server's own words stay out of it.
fn reasons(outcome: &Result<&PhysicalRestoreReport, &PhysicalRestoreFailure>) -> Vec<String> {
    let Err(failure) = outcome else { return vec![] };
    let why = match &failure.source {
        PhysicalRestoreError::Fetch { .. } => failure.source.to_string(),
        PhysicalRestoreError::Start { why, .. } | PhysicalRestoreError::Proof { why, .. } => why.clone(),
        PhysicalRestoreError::Interrupted => "interrupted".to_owned(),
        _ => "failed".to_owned(),
    };
    vec![format!("{}: {why}", failure.phase.as_str())]
}
