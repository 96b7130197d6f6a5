use thiserror::Error;

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
    #[error("the policy asks for no dump, and this version of drctl cannot take base backups yet")]
    NoMethod,
    #[error(transparent)]
    Logical(#[from] LogicalError),
}

/// The kind of backup that is taken of a source.
pub fn kind(source: &Source) -> Result<BackupKind, SourceError> {
    match &source.config {
        SourceConfig::Postgres(postgres) if postgres.logical.is_some() => Ok(BackupKind::Logical),
        SourceConfig::Postgres(_) => Err(SourceError::NoMethod),
        SourceConfig::NotBuilt { kind } => Err(SourceError::NotBuilt { kind }),
    }
}

/// What the policy asks of a source and this version cannot do, in words. Whoever takes a backup of it
/// must say so: it is not the protection that was asked for.
pub fn left_out(source: &Source) -> Vec<String> {
    match &source.config {
        SourceConfig::Postgres(postgres) if postgres.base => vec![
            "the policy asks for base backups too, which this version of drctl cannot take yet".to_owned(),
        ],
        _ => vec![],
    }
}

/// Captures a source into `sink`.
pub async fn capture(
    source: &Source,
    sink: &mut dyn ArtifactSink,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Captured, SourceError> {
    match &source.config {
        SourceConfig::Postgres(postgres) => match &postgres.logical {
            Some(dump) => {
                let prepared = logical::prepare(postgres).await?;
                Ok(logical::capture(prepared, dump, sink, events, cancel).await?)
            }
            None => Err(SourceError::NoMethod),
        },
        SourceConfig::NotBuilt { kind } => Err(SourceError::NotBuilt { kind }),
    }
}
