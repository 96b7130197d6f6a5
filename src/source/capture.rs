use thiserror::Error;

use super::base::{self, Ancestry, BaseError};
use super::logical::{self, LogicalError};
use super::{ArtifactSink, Captured};
use crate::event::Events;
use crate::model::BackupKind;
use crate::platform::CancellationToken;
use crate::policy::{Source, SourceConfig};

/// Why a source could not be captured.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error("this version of drctl cannot back up sources of kind `{kind}` yet")]
    NotBuilt { kind: &'static str },
    #[error("the policy asks for no backup of kind `{0}` of it")]
    NotAsked(BackupKind),
    #[error(transparent)]
    Logical(#[from] LogicalError),
    #[error(transparent)]
    Base(#[from] BaseError),
}

/// The kinds of backups that the policy asks for of a source, each a backup of its own.
pub fn kinds(source: &Source) -> Result<&[BackupKind], SourceError> {
    match &source.config {
        SourceConfig::Postgres(_) => Ok(&source.kinds),
        SourceConfig::NotBuilt { kind } => Err(SourceError::NotBuilt { kind }),
    }
}

/// Captures a source into `sink`, by one of its [`kinds`]. `ancestry`: what a base backup may build on.
pub async fn capture(
    source: &Source,
    kind: BackupKind,
    ancestry: &Ancestry,
    sink: &mut dyn ArtifactSink,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Captured, SourceError> {
    let postgres = match &source.config {
        SourceConfig::Postgres(postgres) => postgres,
        SourceConfig::NotBuilt { kind } => return Err(SourceError::NotBuilt { kind }),
    };
    match (kind, &postgres.logical, &postgres.base) {
        (BackupKind::Logical, Some(dump), _) => {
            let prepared = logical::prepare(postgres).await?;
            Ok(logical::capture(prepared, dump, sink, events, cancel).await?)
        }
        (BackupKind::Base, _, Some(copy)) => {
            let prepared = base::prepare(postgres, copy).await?;
            Ok(base::capture(prepared, ancestry, sink, events, cancel).await?)
        }
        _ => Err(SourceError::NotAsked(kind)),
    }
}
