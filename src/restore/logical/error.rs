use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::Difference;
use super::error_cause::cause_of;
use crate::model::{BackupId, Cause, RepositoryName};
use crate::pipeline::OpenError;
use crate::platform::{PipeStdinError, ProcessError};
use crate::postgres::{ConnectError, FactsError, ToolsError};
use crate::repository::{ManifestError, Unavailable};
use crate::restore::report::cause_of_tries;
use crate::restore::{Refusal, RestoreError};
use crate::run::Interrupted;
use crate::text::{bullet_list, format_duration};

/// Why a restore of a dump failed.
#[derive(Debug, Error)]
pub enum DumpRestoreError {
    #[error("refused, and nothing was touched: {}", bullet_list(.0))]
    Refused(Vec<Refusal>),
    #[error("failed to read any repository{}", Unavailable::reasons(.0))]
    NoRepository(Vec<Unavailable>),
    #[error("failed to read the manifest of `{backup}` from any repository that lists it")]
    Manifest {
        backup: BackupId,
        #[source]
        source: ManifestError,
    },
    #[error("failed to open `{backup}`")]
    CannotDecrypt {
        backup: BackupId,
        #[source]
        source: OpenError,
    },
    #[error("failed to read `{artifact}` from any repository{}", each_try(.tries))]
    Fetch { artifact: String, tries: Vec<(RepositoryName, String)> },
    #[error("failed to understand `{artifact}`, which says what the database held: {reason}")]
    Details { artifact: String, reason: String },
    #[error("failed to reach the target server")]
    Connect(#[source] ConnectError),
    #[error("failed to ask the target server")]
    Target(#[source] sqlx::Error),
    #[error("failed to ask the target server: no answer in {}", format_duration(*.waited))]
    TargetSilent { waited: Duration },
    #[error("failed to describe the database")]
    TargetFacts(#[source] FactsError),
    #[error("failed to find a pg_restore that can read the dump")]
    Tools(#[source] ToolsError),
    #[error("failed to use the scratch directory `{directory}`")]
    Scratch {
        directory: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to choose out of the archive: {reason}")]
    Choose { reason: String },
    #[error("failed to {what}")]
    Statement {
        what: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("failed to {what}: no answer in {}", format_duration(*.waited))]
    StatementSilent { what: String, waited: Duration },
    #[error("failed to load the dump")]
    Load(#[source] ProcessError),
    #[error("failed to load {object}")]
    LoadObject {
        /// As the archive names it, e.g. `TABLE DATA public.orders`.
        object: String,
        #[source]
        source: ProcessError,
    },
    #[error("failed to read the dump while it was loaded")]
    LoadInput(#[source] PipeStdinError),
    #[error("failed to load the dump: the target server has not answered for {}", format_duration(*.waited))]
    ServerLost { waited: Duration },
    #[error("failed to load the dump: pg_restore passed over errors")]
    PassedOver(#[source] ProcessError),
    #[error("failed to analyze the restored database")]
    Analyze(#[source] ProcessError),
    #[error("what was restored is not what was dumped: {}", differences(.0))]
    Different(Vec<Difference>),
    #[error("failed to take the place of `{database}`: it is not empty any more, and has {}", .holds.join(", "))]
    Occupied { database: String, holds: Vec<String> },
    #[error("failed to go on: the run was interrupted")]
    Interrupted,
}

impl DumpRestoreError {
    /// Returns whether `pg_restore` failed to load something.
    pub(super) fn is_of_load(&self) -> bool {
        matches!(self, Self::Load(_) | Self::LoadObject { .. } | Self::PassedOver(_))
    }
}

impl RestoreError for DumpRestoreError {
    fn refused(refusals: Vec<Refusal>) -> Self {
        Self::Refused(refusals)
    }

    fn refusals(&self) -> &[Refusal] {
        if let Self::Refused(refusals) = self { refusals } else { &[] }
    }

    fn is_interruption(&self) -> bool {
        match self {
            Self::Interrupted => true,
            Self::Load(error)
            | Self::LoadObject { source: error, .. }
            | Self::Analyze(error)
            | Self::PassedOver(error) => {
                matches!(error, ProcessError::Interrupted { .. })
            }
            _ => false,
        }
    }

    fn journal_reason(&self) -> String {
        match self {
            Self::Different(all) => format!("{} differences to what was dumped", all.len()),
            Self::Fetch { .. } => self.to_string(),
            _ => "failed".to_owned(),
        }
    }

    fn cause_class(&self) -> Cause {
        match self {
            Self::Fetch { tries, .. } => cause_of_tries(tries),
            Self::Manifest { .. } | Self::Details { .. } | Self::Different(_) | Self::Choose { .. } => {
                Cause::Backup
            }
            Self::CannotDecrypt { source, .. } => match source {
                OpenError::Header(_) => Cause::Backup,
                OpenError::NoIdentity | OpenError::WrongIdentity | OpenError::Read(_) => Cause::Environment,
            },
            Self::Load(error) | Self::LoadObject { source: error, .. } | Self::PassedOver(error) => {
                cause_of(&error.to_string()).unwrap_or(Cause::Tool)
            }
            Self::LoadInput(_) => Cause::Backup,
            Self::NoRepository(_)
            | Self::Connect(_)
            | Self::Target(_)
            | Self::TargetSilent { .. }
            | Self::Tools(_)
            | Self::Scratch { .. }
            | Self::StatementSilent { .. }
            | Self::ServerLost { .. }
            | Self::Occupied { .. } => Cause::Environment,
            Self::Refused(_)
            | Self::TargetFacts(_)
            | Self::Statement { .. }
            | Self::Analyze(_)
            | Self::Interrupted => Cause::Tool,
        }
    }
}

fn each_try(tries: &[(RepositoryName, String)]) -> String {
    tries.iter().map(|(name, reason)| format!("; `{name}`: {reason}")).collect()
}

/// How many differences an error names.
const NAMED: usize = 20;

fn differences(all: &[Difference]) -> String {
    let mut text: String = all.iter().take(NAMED).map(|difference| format!("\n- {difference}")).collect();
    if all.len() > NAMED {
        text.push_str(&format!("\n- and {} more", all.len() - NAMED));
    }
    text
}

impl From<Interrupted> for DumpRestoreError {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}
