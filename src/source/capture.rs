use thiserror::Error;

use super::aws_backup;
use super::aws_backup::RecoveryPointError;
use super::postgres_base;
use super::postgres_base::{BaseError, IncrementalBase};
use super::postgres_dump::capture;
use super::postgres_dump::capture::LogicalError;
use super::rds_snapshot;
use super::rds_snapshot::SnapshotError;
use super::{ArtifactSink, Captured, Naming};
use crate::event::Events;
use crate::model::{BackupId, BackupKind, SystemIdentifier, SystemName};
use crate::platform::CancellationToken;
use crate::policy::{LogicalDump, PostgresSource, Source, SourceConfig};

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
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    RecoveryPoint(#[from] RecoveryPointError),
}

/// The kinds of backups that the policy asks for of a source, each a backup of its own.
pub fn kinds(source: &Source) -> Result<&[BackupKind], SourceError> {
    match &source.config {
        SourceConfig::Postgres(_) | SourceConfig::Rds(_) | SourceConfig::AwsBackup(_) => Ok(&source.kinds),
        other => Err(SourceError::NotBuilt { kind: other.kind() }),
    }
}

/// A source that was connected to, and that can be captured.
#[derive(Debug)]
pub struct PreparedCapture<'p>(CaptureMethod<'p>);

#[derive(Debug)]
enum CaptureMethod<'p> {
    Logical(Box<capture::DumpCapture>, &'p LogicalDump),
    Base(Box<postgres_base::BaseBackupCapture>),
    Snapshot(Box<rds_snapshot::SnapshotCapture<'p>>),
    RecoveryPoint(Box<aws_backup::RecoveryPointCapture<'p>>),
}

impl PreparedCapture<'_> {
    /// Whose log it will need; `None` where it needs none.
    pub fn cluster(&self) -> Option<SystemIdentifier> {
        match &self.0 {
            CaptureMethod::Logical(..) | CaptureMethod::Snapshot(_) | CaptureMethod::RecoveryPoint(_) => None,
            CaptureMethod::Base(prepared) => prepared.server.system_identifier.as_deref()?.parse().ok(),
        }
    }
}

/// Backups of that kind that were begun in AWS, oldest first: AWS goes on with them, whatever becomes of the
/// run that began them. Those that were committed are among them.
pub async fn begun(
    source: &Source,
    kind: BackupKind,
    system: &SystemName,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Vec<BackupId>, SourceError> {
    match (&source.config, kind) {
        (SourceConfig::Rds(rds), BackupKind::Snapshot) => {
            Ok(rds_snapshot::begun(rds, system, &source.name).await?)
        }
        (SourceConfig::AwsBackup(resource), BackupKind::RecoveryPoint) => {
            Ok(aws_backup::begun(resource, system, &source.name, events, cancel).await?)
        }
        _ => Ok(vec![]),
    }
}

/// Connects to a source, and refuses what cannot be captured by that one of its [`kinds`]. Nothing is stored.
pub async fn prepare(source: &Source, kind: BackupKind) -> Result<PreparedCapture<'_>, SourceError> {
    match (&source.config, kind) {
        (SourceConfig::Postgres(postgres), kind) => of_postgres(postgres, kind).await,
        (SourceConfig::Rds(rds), BackupKind::Snapshot) if rds.snapshots => {
            Ok(PreparedCapture(CaptureMethod::Snapshot(Box::new(rds_snapshot::prepare(rds).await?))))
        }
        (SourceConfig::Rds(rds), kind) => match &rds.login {
            Some(postgres) => of_postgres(postgres, kind).await,
            None => Err(SourceError::NotAsked(kind)),
        },
        (SourceConfig::AwsBackup(resource), BackupKind::RecoveryPoint) => {
            Ok(PreparedCapture(CaptureMethod::RecoveryPoint(Box::new(aws_backup::prepare(resource).await?))))
        }
        (other, _) => Err(SourceError::NotBuilt { kind: other.kind() }),
    }
}

async fn of_postgres(
    postgres: &PostgresSource,
    kind: BackupKind,
) -> Result<PreparedCapture<'_>, SourceError> {
    let way = match (kind, &postgres.logical, &postgres.base) {
        (BackupKind::Logical, Some(dump), _) => {
            CaptureMethod::Logical(Box::new(capture::prepare(postgres).await?), dump)
        }
        (BackupKind::Base, _, Some(copy)) => {
            CaptureMethod::Base(Box::new(postgres_base::prepare(postgres, copy).await?))
        }
        _ => return Err(SourceError::NotAsked(kind)),
    };
    Ok(PreparedCapture(way))
}

/// Captures a source into `sink`. `ancestry`: what a base backup may build on.
pub async fn capture(
    prepared: PreparedCapture<'_>,
    naming: Naming<'_>,
    ancestry: &IncrementalBase,
    sink: &mut dyn ArtifactSink,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Captured, SourceError> {
    match prepared.0 {
        CaptureMethod::Logical(prepared, dump) => {
            Ok(capture::capture(*prepared, dump, sink, events, cancel).await?)
        }
        CaptureMethod::Base(prepared) => {
            Ok(postgres_base::capture(*prepared, ancestry, sink, events, cancel).await?)
        }
        CaptureMethod::Snapshot(prepared) => {
            Ok(rds_snapshot::capture(*prepared, naming, sink, events, cancel).await?)
        }
        CaptureMethod::RecoveryPoint(prepared) => {
            Ok(aws_backup::capture(*prepared, naming, sink, events, cancel).await?)
        }
    }
}
