use std::path::PathBuf;

use serde::Serialize;

use super::{ServerState, Started};
use crate::model::RepositoryName;
use crate::restore::Aftermath;

/// The details of a report that only a restored data directory has.
#[derive(Clone, Debug, Serialize)]
pub struct PhysicalDetails {
    pub repository: RepositoryName,
    pub to: PathBuf,
    pub files: u64,
    pub plain_bytes: u64,
    pub stored_bytes: u64,
    /// The part of `plain_bytes` that was already there.
    pub reused_bytes: u64,
    pub segments: u64,
    /// Absent where no server was requested.
    pub started: Option<Started>,
}

/// What remains on this host.
#[derive(Debug)]
pub enum DirectoryCleanup {
    Removed {
        to: PathBuf,
    },
    Left {
        to: PathBuf,
        reason: String,
    },
    /// The files are complete.
    Restored {
        to: PathBuf,
        server: ServerState,
    },
    /// Nothing of it was written by this run.
    Untouched {
        to: PathBuf,
    },
    /// A data directory that was partly changed.
    HalfChanged {
        to: PathBuf,
    },
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
                "`{}` is half changed and no server starts in it; with `--delta` the next run resumes it",
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

impl Aftermath for DirectoryCleanup {}
