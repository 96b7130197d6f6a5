use super::aws::{AwsBackupSource, RdsSource};
use super::aws_location::AwsLocation;
use super::postgres::{BaseBackup, PostgresSource, WalArchiving};
use crate::model::{BackupKind, SourceName};

#[derive(Clone, Debug)]
pub struct Source {
    pub name: SourceName,
    pub config: SourceConfig,
    /// The backups the policy asks for, whether this version can take them or not.
    pub kinds: Vec<BackupKind>,
    /// Whether it is archived between backups too (WAL, RDS's automated backups in another region).
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

    /// Returns how to log in to the database, whoever runs it.
    pub fn login(&self) -> Option<&PostgresSource> {
        self.postgres().or_else(|| self.rds()?.login.as_deref())
    }

    /// Returns how base backups of its cluster are taken.
    pub fn base(&self) -> Option<&BaseBackup> {
        self.postgres()?.base.as_ref()
    }

    /// Returns how its WAL is archived.
    pub fn wal(&self) -> Option<&WalArchiving> {
        self.postgres()?.wal.as_ref()
    }

    /// Returns the region of what AWS keeps, and how to reach it.
    pub fn aws_location(&self) -> Option<&AwsLocation> {
        let rds = self.rds().map(|rds| &rds.place);
        rds.or_else(|| self.aws_backup().map(|resource| &resource.place))
    }
}

/// What a source is. The kinds that cannot run yet are known to the schema, so that a policy written
/// for them is checked today; running one is a failure of that source, never a skip.
#[derive(Clone, Debug)]
pub enum SourceConfig {
    Postgres(Box<PostgresSource>),
    Rds(Box<RdsSource>),
    AwsBackup(Box<AwsBackupSource>),
    /// A kind this version cannot run: its name in the policy.
    NotBuilt {
        kind: &'static str,
    },
}

impl SourceConfig {
    /// As the policy writes it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Rds(_) => "rds",
            Self::AwsBackup(_) => "aws-backup",
            Self::NotBuilt { kind } => kind,
        }
    }
}
