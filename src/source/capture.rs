use thiserror::Error;

use super::base::{self, Ancestry, BaseError};
use super::logical::{self, LogicalError};
use super::{ArtifactSink, Captured};
use crate::event::Events;
use crate::model::{BackupKind, SystemIdentifier};
use crate::platform::CancellationToken;
use crate::policy::{LogicalDump, Source, SourceConfig};

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
        other => Err(SourceError::NotBuilt { kind: other.kind() }),
    }
}

/// A source that was connected to, and that can be captured.
#[derive(Debug)]
pub struct Prepared<'p>(Way<'p>);

#[derive(Debug)]
enum Way<'p> {
    Logical(Box<logical::Prepared>, &'p LogicalDump),
    Base(Box<base::Prepared>),
}

impl Prepared<'_> {
    /// Whose log it will need; `None` where it needs none.
    pub fn cluster(&self) -> Option<SystemIdentifier> {
        match &self.0 {
            Way::Logical(..) => None,
            Way::Base(prepared) => prepared.server.system_identifier.as_deref()?.parse().ok(),
        }
    }
}

/// Connects to a source, and refuses what cannot be captured by that one of its [`kinds`]. Nothing is stored.
pub async fn prepare(source: &Source, kind: BackupKind) -> Result<Prepared<'_>, SourceError> {
    let postgres = match &source.config {
        SourceConfig::Postgres(postgres) => postgres,
        other => return Err(SourceError::NotBuilt { kind: other.kind() }),
    };
    let way = match (kind, &postgres.logical, &postgres.base) {
        (BackupKind::Logical, Some(dump), _) => {
            Way::Logical(Box::new(logical::prepare(postgres).await?), dump)
        }
        (BackupKind::Base, _, Some(copy)) => Way::Base(Box::new(base::prepare(postgres, copy).await?)),
        _ => return Err(SourceError::NotAsked(kind)),
    };
    Ok(Prepared(way))
}

/// Captures a source into `sink`. `ancestry`: what a base backup may build on.
pub async fn capture(
    prepared: Prepared<'_>,
    ancestry: &Ancestry,
    sink: &mut dyn ArtifactSink,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Captured, SourceError> {
    match prepared.0 {
        Way::Logical(prepared, dump) => Ok(logical::capture(*prepared, dump, sink, events, cancel).await?),
        Way::Base(prepared) => Ok(base::capture(*prepared, ancestry, sink, events, cancel).await?),
    }
}
