use super::application::{
    BucketSource, ChromaSource, CommandSource, FilesSource, GitSource, RedisSource, SqliteSource,
};
use super::aws::{AwsBackupSource, RdsSource};
use super::aws_location::AwsLocation;
use super::postgres::{BaseBackup, PostgresSource, WalArchiving};
use crate::model::{BackupKind, SourceName};

#[derive(Clone, Debug)]
pub struct Source {
    pub name: SourceName,
    pub config: SourceConfig,
    /// The backup kinds that the policy requires, whether or not this version can take them.
    pub kinds: Vec<BackupKind>,
    /// Whether it is also archived between backups (WAL, RDS's automated backups in another region).
    pub continuous: bool,
}

impl Source {
    pub fn postgres(&self) -> Option<&PostgresSource> {
        match &self.config {
            SourceConfig::Postgres(postgres) => Some(postgres),
            _ => None,
        }
    }

    pub fn rds(&self) -> Option<&RdsSource> {
        match &self.config {
            SourceConfig::Rds(rds) => Some(rds),
            _ => None,
        }
    }

    pub fn aws_backup(&self) -> Option<&AwsBackupSource> {
        match &self.config {
            SourceConfig::AwsBackup(resource) => Some(resource),
            _ => None,
        }
    }

    /// Returns the login to the database, self-managed or in RDS.
    pub fn login(&self) -> Option<&PostgresSource> {
        self.postgres().or_else(|| self.rds()?.login.as_deref())
    }

    /// Returns the settings of base backups of its cluster.
    pub fn base(&self) -> Option<&BaseBackup> {
        self.postgres()?.base.as_ref()
    }

    /// Returns the settings of its WAL archiving.
    pub fn wal(&self) -> Option<&WalArchiving> {
        self.postgres()?.wal.as_ref()
    }

    /// Returns the region of AWS-managed backups, and its access.
    pub fn aws_location(&self) -> Option<&AwsLocation> {
        let rds = self.rds().map(|rds| &rds.place);
        rds.or_else(|| self.aws_backup().map(|resource| &resource.place))
    }
}

/// The kind and settings of a source.
#[derive(Clone, Debug)]
pub enum SourceConfig {
    Postgres(Box<PostgresSource>),
    Rds(Box<RdsSource>),
    AwsBackup(Box<AwsBackupSource>),
    Files(Box<FilesSource>),
    Sqlite(Box<SqliteSource>),
    Chroma(Box<ChromaSource>),
    Redis(Box<RedisSource>),
    Git(Box<GitSource>),
    Bucket(Box<BucketSource>),
    Command(Box<CommandSource>),
}

impl SourceConfig {
    /// Returns the kind as written in the policy.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Rds(_) => "rds",
            Self::AwsBackup(_) => "aws-backup",
            Self::Files(_) => "files",
            Self::Sqlite(_) => "sqlite",
            Self::Chroma(_) => "chroma",
            Self::Redis(_) => "redis",
            Self::Git(_) => "git",
            Self::Bucket(_) => "bucket",
            Self::Command(_) => "command",
        }
    }
}
