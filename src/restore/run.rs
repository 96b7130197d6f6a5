use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Compared, GlobalsPlan, RestoreError, VERB};
use crate::event::{Event, Events, Phase, told};
use crate::model::{BackupId, Outcome, RepositoryName, RunId, SystemName};
use crate::pipeline::Identities;
use crate::platform::{CancellationToken, Clock};
use crate::postgres::ConnectionParameters;
use crate::repository::journal::{self, Detail, Record};
use crate::repository::{FormatVersion, Lost, Repositories};

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
pub struct Report {
    pub run: RunId,
    pub backup: BackupId,
    pub recovery_point: DateTime<Utc>,
    pub repository: RepositoryName,
    pub server: String,
    pub database: String,
    pub compared: Compared,
    pub phases: Vec<PhaseSeconds>,
    pub seconds: f64,
    pub stored_bytes: u64,
    pub plain_bytes: u64,
    pub globals: Option<GlobalsPlan>,
    /// What the database had and the restored one has not, in words.
    pub left_out: Vec<String>,
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct PhaseSeconds {
    pub phase: Phase,
    pub seconds: f64,
}

/// A restore that was given up. Nothing was published.
#[derive(Debug, thiserror::Error)]
#[error("failed to restore `{backup}` ({}); {aftermath}", .phase.as_str())]
pub struct Failure {
    pub backup: BackupId,
    pub phase: Phase,
    pub aftermath: Aftermath,
    /// Roles and tablespaces that were made before it failed; they stay.
    pub globals_made: Vec<String>,
    pub phases: Vec<PhaseSeconds>,
    #[source]
    pub source: RestoreError,
}

/// What is left on the target server.
#[derive(Debug)]
pub enum Aftermath {
    NothingMade,
    Dropped {
        database: String,
    },
    Left {
        database: String,
        reason: String,
    },
    /// The restored database is published; what failed came after.
    Published {
        database: String,
    },
}

impl std::fmt::Display for Aftermath {
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
                Ok(report) if report.left_out.is_empty() => Outcome::Succeeded,
                Ok(_) => Outcome::Degraded,
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

    pub(super) fn check_interruption(&self) -> Result<(), RestoreError> {
        if self.cancel.is_cancelled() { Err(RestoreError::Interrupted) } else { Ok(()) }
    }
}

/// The journal is in clear: a failure is told by its phase and kind, without names of tables.
fn reasons(outcome: &Result<&Report, &Failure>) -> Vec<String> {
    match outcome {
        Ok(_) => vec![],
        Err(failure) => {
            let why = match &failure.source {
                RestoreError::Different(all) => format!("{} differences to what was dumped", all.len()),
                RestoreError::Fetch { .. } => failure.source.to_string(),
                RestoreError::Interrupted => "interrupted".to_owned(),
                _ => "failed".to_owned(),
            };
            vec![format!("{}: {why}", failure.phase.as_str())]
        }
    }
}

/// Times the phases, and tells of them.
pub(super) struct Phases<'a> {
    clock: &'a dyn Clock,
    events: &'a Events,
    current: Option<(Phase, DateTime<Utc>)>,
    ended: Vec<PhaseSeconds>,
}

impl<'a> Phases<'a> {
    pub(super) fn new(run: &'a Run) -> Self {
        Self { clock: &*run.clock, events: &run.events, current: None, ended: vec![] }
    }

    /// Ends the phase before.
    pub(super) fn begin(&mut self, phase: Phase) {
        self.end();
        self.events.emit(&Event::PhaseBegan { phase });
        self.current = Some((phase, self.clock.now()));
    }

    pub(super) fn end(&mut self) {
        let Some((phase, begun)) = self.current.take() else { return };
        let seconds = (self.clock.now() - begun).as_seconds_f64().max(0.0);
        self.events.emit(&Event::PhaseEnded { phase, seconds });
        // A phase that was gone through twice, as when the fetch began again, took both times.
        match self.ended.iter_mut().find(|ended| ended.phase == phase) {
            Some(ended) => ended.seconds += seconds,
            None => self.ended.push(PhaseSeconds { phase, seconds }),
        }
    }

    pub(super) fn current(&self) -> Phase {
        self.current.map_or(Phase::Prepare, |(phase, _)| phase)
    }

    pub(super) fn ended(mut self) -> Vec<PhaseSeconds> {
        self.end();
        self.ended
    }
}
