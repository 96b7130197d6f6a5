use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::model::{Cause, RepositoryName};
use crate::repository::{SmallError, Unavailable};
use crate::restore::report::cause_of_tries;
use crate::restore::{Refusal, RestoreError};
use crate::run::Interrupted;
use crate::text::{bullet_list, error_chain};

/// Why a restore of content failed.
#[derive(Debug, Error)]
pub enum ContentRestoreError {
    #[error("refused, and nothing was touched: {}", bullet_list(.0))]
    Refused(Vec<Refusal>),
    #[error("no repository can be read{}", lost(.0))]
    NoRepository(Vec<Unavailable>),
    #[error(transparent)]
    Small(#[from] SmallError),
    #[error("failed to understand what was recorded with the backup: `{artifact}` {reason}")]
    Details { artifact: String, reason: String },
    #[error("`{artifact}` cannot be read{}", told(.tries))]
    Fetch { artifact: String, tries: Vec<(RepositoryName, String)> },
    #[error("the backup has no `{artifact}`")]
    NoArtifact { artifact: String },
    /// What was restored is not usable, and was removed.
    #[error("what was restored is damaged, although it is what was stored: {what}")]
    Damaged { what: String },
    #[error("failed to write `{}`", .path.display())]
    Write { path: PathBuf, source: io::Error },
    /// The program, server or store that takes it failed.
    #[error("{0}")]
    Target(String),
    #[error("interrupted")]
    Interrupted,
}

fn lost(lost: &[Unavailable]) -> String {
    lost.iter().map(|lost| format!("; {}: {}", lost.name, lost.reason())).collect()
}

fn told(tries: &[(RepositoryName, String)]) -> String {
    tries.iter().map(|(name, reason)| format!("; from `{name}`: {reason}")).collect()
}

impl From<Interrupted> for ContentRestoreError {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}

impl RestoreError for ContentRestoreError {
    fn refused(refusals: Vec<Refusal>) -> Self {
        Self::Refused(refusals)
    }

    fn refusals(&self) -> &[Refusal] {
        if let Self::Refused(refusals) = self { refusals } else { &[] }
    }

    fn is_interruption(&self) -> bool {
        matches!(self, Self::Interrupted | Self::Small(SmallError::Interrupted))
    }

    /// What a target says may name files and keys, and the journal is not encrypted.
    fn journal_reason(&self) -> String {
        match self {
            Self::Target(_) => "what takes the data failed".to_owned(),
            Self::Write { source, .. } => format!("failed to write a file: {source}"),
            Self::Damaged { .. } => "what was restored is damaged".to_owned(),
            other => error_chain(other),
        }
    }

    fn cause_class(&self) -> Cause {
        match self {
            Self::Fetch { tries, .. } | Self::Small(SmallError::Fetch { tries, .. }) => cause_of_tries(tries),
            Self::Details { .. } | Self::NoArtifact { .. } | Self::Damaged { .. } => Cause::Backup,
            Self::NoRepository(_) | Self::Small(_) | Self::Write { .. } | Self::Target(_) => {
                Cause::Environment
            }
            Self::Refused(_) | Self::Interrupted => Cause::Tool,
        }
    }
}
