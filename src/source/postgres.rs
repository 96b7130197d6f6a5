use async_trait::async_trait;

use super::capture::{ArtifactSink, Capture, CaptureContext, Captured, Requirements, Source, SourceError};
use super::postgres_base;
use super::postgres_dump::capture::{self as dump, DumpCapture};
use crate::model::BackupKind;
use crate::policy::{LogicalDump, PostgresSource};

/// A PostgreSQL database and its cluster: dumps and base backups.
#[derive(Debug)]
pub(super) struct PostgresBackups {
    pub(super) kinds: Vec<BackupKind>,
    pub(super) config: PostgresSource,
}

#[async_trait(?Send)]
impl Source for PostgresBackups {
    fn kinds(&self) -> Result<&[BackupKind], SourceError> {
        Ok(&self.kinds)
    }

    async fn prepare(&self, kind: BackupKind) -> Result<Box<dyn Capture + '_>, SourceError> {
        prepare(&self.config, kind).await
    }
}

/// Connects for a dump or a base backup, according to the kind.
pub(super) async fn prepare(
    config: &PostgresSource,
    kind: BackupKind,
) -> Result<Box<dyn Capture + '_>, SourceError> {
    match (kind, &config.logical, &config.base) {
        (BackupKind::Logical, Some(settings), _) => {
            let prepared = dump::prepare(config).await.map_err(SourceError::new)?;
            Ok(Box::new(LogicalCapture { prepared, settings }))
        }
        (BackupKind::Base, _, Some(base)) => {
            Ok(Box::new(postgres_base::prepare(config, base).await.map_err(SourceError::new)?))
        }
        _ => Err(SourceError::NotAsked(kind)),
    }
}

/// A database that can be dumped, with its settings in the policy.
struct LogicalCapture<'p> {
    prepared: DumpCapture,
    settings: &'p LogicalDump,
}

#[async_trait(?Send)]
impl Capture for LogicalCapture<'_> {
    fn requirements(&self) -> Requirements {
        Requirements { server: Some(self.prepared.server.clone()), ..Requirements::default() }
    }

    async fn run(
        self: Box<Self>,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, SourceError> {
        let captured =
            dump::capture(self.prepared, self.settings, sink, context.events, context.cancel).await;
        captured.map_err(SourceError::new)
    }
}
