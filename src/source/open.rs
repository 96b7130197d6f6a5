use std::sync::Arc;

use async_trait::async_trait;

use super::aws_backup::RecoveryPointSource;
use super::capture::{Capture, Source, SourceError};
use super::chroma::ChromaBackups;
use super::command::CommandBackups;
use super::postgres::PostgresBackups;
use super::rds_snapshot::RdsBackups;
use super::redis::RedisBackups;
use super::sqlite::SqliteBackups;
use crate::model::BackupKind;
use crate::policy::{self, SourceConfig};

/// Returns the implementation of a source of the policy.
pub fn open(source: &policy::Source) -> Arc<dyn Source> {
    let kinds = source.kinds.clone();
    match &source.config {
        SourceConfig::Postgres(config) => Arc::new(PostgresBackups { kinds, config: (**config).clone() }),
        SourceConfig::Rds(config) => Arc::new(RdsBackups { kinds, config: (**config).clone() }),
        SourceConfig::AwsBackup(config) => {
            Arc::new(RecoveryPointSource { kinds, config: (**config).clone() })
        }
        SourceConfig::Sqlite(config) => Arc::new(SqliteBackups { kinds, config: (**config).clone() }),
        SourceConfig::Chroma(config) => Arc::new(ChromaBackups { kinds, config: (**config).clone() }),
        SourceConfig::Redis(config) => Arc::new(RedisBackups { kinds, config: (**config).clone() }),
        SourceConfig::Command(config) => Arc::new(CommandBackups { kinds, config: (**config).clone() }),
        other => Arc::new(NotBuilt { kind: other.kind() }),
    }
}

/// A kind that this version cannot capture.
#[derive(Debug)]
struct NotBuilt {
    kind: &'static str,
}

#[async_trait(?Send)]
impl Source for NotBuilt {
    fn kinds(&self) -> Result<&[BackupKind], SourceError> {
        Err(SourceError::NotBuilt { kind: self.kind })
    }

    async fn prepare(&self, _kind: BackupKind) -> Result<Box<dyn Capture + '_>, SourceError> {
        Err(SourceError::NotBuilt { kind: self.kind })
    }
}
