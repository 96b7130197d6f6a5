//! Sources whose backups AWS keeps: RDS, and whatever AWS Backup protects.

use std::time::Duration;

use url::Url;

use super::intent::{Credentials, PostgresSource};

/// A region of AWS, or of something that speaks like it, and who asks.
#[derive(Clone, Debug)]
pub struct AwsPlace {
    pub region: String,
    /// Set for anything that is not AWS. It stands for every region: requests say which they mean.
    pub endpoint: Option<Url>,
    pub credentials: Credentials,
    /// How often it is asked how far it is with what it does.
    pub poll: Duration,
    /// How long anything it does may take.
    pub deadline: Duration,
}

impl AwsPlace {
    /// Another region, asked by the same.
    pub fn in_region(&self, region: &str) -> Self {
        Self { region: region.to_owned(), ..self.clone() }
    }
}

/// An RDS instance or cluster.
#[derive(Clone, Debug)]
pub struct RdsSource {
    /// Where the database runs.
    pub place: AwsPlace,
    pub database: RdsDatabase,
    /// Whether snapshots are taken of it.
    pub snapshots: bool,
    /// How to log in to it, and to what is restored from it; `logical` is set when dumps are taken.
    pub login: Option<Box<PostgresSource>>,
    /// Other regions, in the order of the file.
    pub regions: Vec<RdsRegion>,
    /// Accounts a snapshot is shared with, 12 digits each.
    pub share_with: Vec<String>,
    pub promote: PromoteHooks,
}

impl RdsSource {
    pub fn region(&self, name: &str) -> Option<&RdsRegion> {
        self.regions.iter().find(|region| region.name == name)
    }
}

/// What is run when a restored instance takes its place, each a program and its arguments; empty is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromoteHooks {
    pub freeze: Vec<String>,
    pub redirect: Vec<String>,
    pub reopen: Vec<String>,
}

/// Its identifier, as RDS has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RdsDatabase {
    Instance(String),
    /// Multi-AZ or Aurora.
    Cluster(String),
}

impl RdsDatabase {
    pub fn identifier(&self) -> &str {
        match self {
            Self::Instance(identifier) | Self::Cluster(identifier) => identifier,
        }
    }

    /// Another of the same kind.
    pub fn called(&self, identifier: impl Into<String>) -> Self {
        match self {
            Self::Instance(_) => Self::Instance(identifier.into()),
            Self::Cluster(_) => Self::Cluster(identifier.into()),
        }
    }

    /// For a person.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Instance(_) => "instance",
            Self::Cluster(_) => "cluster",
        }
    }

    /// With its article, for a person.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Instance(_) => "an instance",
            Self::Cluster(_) => "a cluster",
        }
    }
}

/// A region that snapshots are copied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdsRegion {
    pub name: String,
    /// Key of that region; needed where the database is encrypted.
    pub kms_key: Option<String>,
    /// Whether RDS replicates its automated backups there.
    pub automated_backups: bool,
    pub names: RdsNames,
}

/// What a restore uses in a region; `None` is what the database itself has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RdsNames {
    pub subnet_group: Option<String>,
    pub security_groups: Option<Vec<String>>,
    pub parameter_group: Option<String>,
    pub option_group: Option<String>,
}

/// A resource that AWS Backup protects.
#[derive(Clone, Debug)]
pub struct AwsBackupSource {
    /// Where the resource is.
    pub place: AwsPlace,
    /// ARN of the resource.
    pub resource: String,
    pub vault: String,
    /// ARN of the role AWS Backup acts as.
    pub role: String,
    /// In the order of the file.
    pub copies: Vec<VaultCopy>,
    /// A job that has not begun after this long has failed.
    pub start_window: Duration,
    /// A plan of AWS Backup whose recovery points count as this source's.
    pub plan: Option<String>,
}

/// A vault of another region that recovery points are copied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultCopy {
    pub region: String,
    pub vault: String,
}
