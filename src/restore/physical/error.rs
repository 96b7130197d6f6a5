use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::unpack::UnpackError;
use crate::model::{BackupId, Cause, RepositoryName};
use crate::pipeline::OpenError;
use crate::platform::ProcessError;
use crate::repository::Unavailable;
use crate::restore::report::cause_of_tries;
use crate::restore::{Refusal, RestoreError};
use crate::run::Interrupted;
use crate::store::StoreError;
use crate::text::bullet_list;

/// Why a physical restore failed.
#[derive(Debug, Error)]
pub enum PhysicalRestoreError {
    #[error("refused, and nothing was touched: {}", bullet_list(.0))]
    Refused(Vec<Refusal>),
    #[error("failed to read any repository{}", Unavailable::reasons(.0))]
    NoRepository(Vec<Unavailable>),
    #[error("found no WAL of the cluster that was backed up{}", Unavailable::reasons(.0))]
    NoLog(Vec<Unavailable>),
    #[error("failed to ask when a segment was written")]
    Tags(#[source] StoreError),
    #[error("failed to open `{backup}`")]
    CannotDecrypt {
        backup: BackupId,
        #[source]
        source: OpenError,
    },
    #[error("failed to read `{artifact}` from any repository{}", each_try(.tries))]
    Fetch { artifact: String, tries: Vec<(RepositoryName, String)> },
    #[error("failed to understand `{artifact}`: {reason}")]
    NotUnderstood { artifact: String, reason: String },
    #[error("failed to look at `{path}`")]
    Look {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to unpack `{artifact}`")]
    Unpack {
        artifact: String,
        #[source]
        source: UnpackError,
    },
    #[error("failed to write `{path}`")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to run a program of PostgreSQL's")]
    Program(#[source] ProcessError),
    #[error("failed to start the restored server: {why}{}", log_lines(.log))]
    Start { why: String, log: Vec<String> },
    #[error("failed to prove that the restored server is where it should be: {why}{}", log_lines(.log))]
    Proof { why: String, log: Vec<String> },
    #[error("failed to go on: a worker ended without a result")]
    Worker(#[source] tokio::task::JoinError),
    #[error("failed to go on: the run was interrupted")]
    Interrupted,
}

impl RestoreError for PhysicalRestoreError {
    fn refused(refusals: Vec<Refusal>) -> Self {
        Self::Refused(refusals)
    }

    fn refusals(&self) -> &[Refusal] {
        if let Self::Refused(refusals) = self { refusals } else { &[] }
    }

    fn is_interruption(&self) -> bool {
        matches!(self, Self::Interrupted | Self::Program(ProcessError::Interrupted { .. }))
    }

    /// Omits the server's own messages.
    fn journal_reason(&self) -> String {
        match self {
            Self::Fetch { .. } => self.to_string(),
            Self::Start { why, .. } | Self::Proof { why, .. } => why.clone(),
            _ => "failed".to_owned(),
        }
    }

    fn cause_class(&self) -> Cause {
        match self {
            Self::Fetch { tries, .. } => cause_of_tries(tries),
            Self::Unpack { source: UnpackError::Write { .. }, .. } => Cause::Environment,
            Self::NoLog(lost) if !lost.is_empty() => Cause::Environment,
            Self::NoLog(_) | Self::NotUnderstood { .. } | Self::Unpack { .. } | Self::Proof { .. } => {
                Cause::Backup
            }
            Self::Program(ProcessError::Failed { program, code: Some(1), stderr, .. })
                if OF_CHAIN.contains(&&**program) && !stderr.iter().any(|line| is_of_host(line)) =>
            {
                Cause::Backup
            }
            Self::CannotDecrypt { source, .. } => match source {
                OpenError::Header(_) => Cause::Backup,
                OpenError::NoIdentity | OpenError::WrongIdentity | OpenError::Read(_) => Cause::Environment,
            },
            Self::Start { log, .. } if log.iter().any(|line| is_of_host(line)) => Cause::Environment,
            Self::Start { log, .. } if log.iter().any(|line| is_of_recovery(line)) => Cause::Backup,
            Self::Start { .. } => Cause::Environment,
            Self::NoRepository(_) | Self::Tags(_) | Self::Look { .. } | Self::Write { .. } => {
                Cause::Environment
            }
            Self::Refused(_) | Self::Program(_) | Self::Worker(_) | Self::Interrupted => Cause::Tool,
        }
    }
}

/// What a server says whose data or WAL is not what it should be.
const OF_RECOVERY: [&str; 15] = [
    "could not locate a valid checkpoint record",
    "could not locate required checkpoint record",
    "invalid checkpoint record",
    "invalid page",
    "page verification failed",
    "invalid resource manager",
    "could not access status of transaction",
    "could not find redo location",
    "could not open file",
    "PANIC:",
    "recovery ended before configured recovery target was reached",
    "requested timeline",
    "WAL ends before",
    "WAL file is from different database system",
    "WAL contains references to invalid pages",
];
/// What a program says that finds no room on this host.
const OF_HOST: [&str; 10] = [
    "No space left on device",
    "Disk quota exceeded",
    "Read-only file system",
    "Input/output error",
    "Too many open files",
    "out of memory",
    "Cannot allocate memory",
    "Permission denied",
    "could not load library",
    "insufficient parameter settings",
];
/// The programs that put a chain together, and compare it.
const OF_CHAIN: [&str; 2] = ["pg_combinebackup", "pg_verifybackup"];

fn is_of_recovery(line: &str) -> bool {
    OF_RECOVERY.iter().any(|words| line.contains(words))
}

fn is_of_host(line: &str) -> bool {
    OF_HOST.iter().any(|words| line.contains(words))
}

fn each_try(tries: &[(RepositoryName, String)]) -> String {
    tries.iter().map(|(name, reason)| format!("; `{name}`: {reason}")).collect()
}

fn log_lines(lines: &[String]) -> String {
    if lines.is_empty() {
        String::new()
    } else {
        format!("; its log ends with\n    {}", lines.join("\n    "))
    }
}

pub(super) fn write_error(path: &Path, source: io::Error) -> PhysicalRestoreError {
    PhysicalRestoreError::Write { path: path.to_owned(), source }
}

impl From<Interrupted> for PhysicalRestoreError {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}
