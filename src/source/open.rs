use std::sync::Arc;

use super::aws_backup::RecoveryPointSource;
use super::bucket::BucketBackups;
use super::capture::Source;
use super::chroma::ChromaBackups;
use super::command::CommandBackups;
use super::files::FilesBackups;
use super::git::GitBackups;
use super::postgres::PostgresBackups;
use super::rds_snapshot::RdsBackups;
use super::redis::RedisBackups;
use super::sqlite::SqliteBackups;
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
        SourceConfig::Files(config) => Arc::new(FilesBackups { kinds, config: (**config).clone() }),
        SourceConfig::Sqlite(config) => Arc::new(SqliteBackups { kinds, config: (**config).clone() }),
        SourceConfig::Chroma(config) => Arc::new(ChromaBackups { kinds, config: (**config).clone() }),
        SourceConfig::Redis(config) => Arc::new(RedisBackups { kinds, config: (**config).clone() }),
        SourceConfig::Command(config) => Arc::new(CommandBackups { kinds, config: (**config).clone() }),
        SourceConfig::Git(config) => Arc::new(GitBackups { kinds, config: (**config).clone() }),
        SourceConfig::Bucket(config) => Arc::new(BucketBackups { kinds, config: (**config).clone() }),
    }
}
