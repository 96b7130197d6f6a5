use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{RecoveryError, Started};
use crate::event::{Event, Events, Phase, told};
use crate::model::{BackupId, Outcome, RepositoryName, RunId, SystemName};
use crate::pipeline::Identities;
use crate::platform::{CancellationToken, Clock};
use crate::repository::journal::{self, Detail, Record};
use crate::repository::{FormatVersion, Lost, Repositories};

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
pub struct Report {
    pub run: RunId,
    pub backup: BackupId,
    pub repository: RepositoryName,
    pub to: PathBuf,
    pub files: u64,
    pub plain_bytes: u64,
    pub stored_bytes: u64,
    pub segments: u64,
    pub started: Option<Started>,
    pub phases: Vec<PhaseSeconds>,
    pub seconds: f64,
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct PhaseSeconds {
    pub phase: Phase,
    pub seconds: f64,
}

/// A recovery that was given up.
#[derive(Debug, thiserror::Error)]
#[error("failed to recover `{backup}` ({}); {aftermath}", .phase.as_str())]
pub struct Failure {
    pub backup: BackupId,
    pub phase: Phase,
    pub aftermath: Aftermath,
    pub phases: Vec<PhaseSeconds>,
    #[source]
    pub source: RecoveryError,
}

/// What is left on this host.
#[derive(Debug)]
pub enum Aftermath {
    Removed { to: PathBuf },
    Left { to: PathBuf, reason: String },
    Restored { to: PathBuf },
}

impl std::fmt::Display for Aftermath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Removed { to } => write!(f, "what was written to `{}` was removed", to.display()),
            Self::Left { to, reason } => write!(
                f,
                "`{}` is not whole and no server starts in it, but it could not be removed: {reason}",
                to.display()
            ),
            Self::Restored { to } => {
                write!(f, "the files in `{}` are whole and stay there", to.display())
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
        outcome: Result<&Report, &Failure>,
    ) -> (Record, Vec<Lost>) {
        let phases = outcome.map_or_else(|failure| &failure.phases, |report| &report.phases);
        let record = Record {
            format: FormatVersion::CURRENT.to_string(),
            run: self.id.clone(),
            verb: VERB.to_owned(),
            begun,
            ended: self.clock.now(),
            host: self.host.clone(),
            outcome: match &outcome {
                Ok(_) => Outcome::Succeeded,
                Err(failure) if failure.source.is_interruption() => Outcome::Interrupted,
                Err(_) => Outcome::Failed,
            },
            previous: None,
            detail: Detail {
                backups: vec![backup.clone()],
                phases: phases.iter().map(|phase| (phase.phase.as_str().to_owned(), phase.seconds)).collect(),
                reasons: reasons(&outcome),
                ..Detail::default()
            },
        };
        match journal::append(&self.repositories, &self.system, record.clone()).await {
            Ok(lost) => (record, lost),
            Err(error) => {
                self.events.warning(told(&error));
                (record, vec![])
            }
        }
    }

    pub(super) fn check_interruption(&self) -> Result<(), RecoveryError> {
        if self.cancel.is_cancelled() { Err(RecoveryError::Interrupted) } else { Ok(()) }
    }
}

/// The journal is in clear: a server's own words stay out of it.
fn reasons(outcome: &Result<&Report, &Failure>) -> Vec<String> {
    let Err(failure) = outcome else { return vec![] };
    let why = match &failure.source {
        RecoveryError::Fetch { .. } => failure.source.to_string(),
        RecoveryError::Start { why, .. } | RecoveryError::Proof { why, .. } => why.clone(),
        RecoveryError::Interrupted => "interrupted".to_owned(),
        _ => "failed".to_owned(),
    };
    vec![format!("{}: {why}", failure.phase.as_str())]
}

/// Times the phases, and tells of them.
pub(super) struct Phases<'a> {
    run: &'a Run,
    current: Option<(Phase, DateTime<Utc>)>,
    ended: Vec<PhaseSeconds>,
}

impl<'a> Phases<'a> {
    pub(super) fn new(run: &'a Run) -> Self {
        Self { run, current: None, ended: vec![] }
    }

    /// Ends the phase before.
    pub(super) fn begin(&mut self, phase: Phase) {
        self.end();
        self.run.events.emit(&Event::PhaseBegan { phase });
        self.current = Some((phase, self.run.clock.now()));
    }

    fn end(&mut self) {
        let Some((phase, begun)) = self.current.take() else { return };
        let seconds = (self.run.clock.now() - begun).as_seconds_f64().max(0.0);
        self.run.events.emit(&Event::PhaseEnded { phase, seconds });
        self.ended.push(PhaseSeconds { phase, seconds });
    }

    pub(super) fn current(&self) -> Phase {
        self.current.map_or(Phase::Prepare, |(phase, _)| phase)
    }

    pub(super) fn ended(mut self) -> Vec<PhaseSeconds> {
        self.end();
        self.ended
    }
}
