use chrono::{DateTime, Utc};

use super::super::AwsFailure;
use super::{Changes, Rds, Tags};
use crate::model::RestoreProfile;
use crate::policy::RdsDatabase;

/// An instance or a cluster as it stands now.
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    pub id: RdsDatabase,
    pub arn: String,
    /// `DbiResourceId` or `DbClusterResourceId`: another database of the same name has another.
    pub resource_id: String,
    pub status: String,
    pub endpoint: Option<Endpoint>,
    /// RDS can bring back everything until then. Absent without automated backups, and before the first.
    pub latest_restorable: Option<DateTime<Utc>>,
    /// Only clusters say it here.
    pub earliest_restorable: Option<DateTime<Utc>>,
    /// Blocks that are still to come from S3.
    pub hydration: Option<Hydration>,
    /// Some of its parameters take effect only when it starts again.
    pub needs_restart: bool,
    /// ARNs of automated backups that are replicated to other regions.
    pub replicated: Vec<String>,
    pub tags: Tags,
    /// The cluster that it is an instance of.
    pub cluster: Option<String>,
    /// How it is set up; parameters are read apart.
    pub profile: RestoreProfile,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hydration {
    /// `Initializing`, `Optimizing`
    pub status: String,
    pub percent: Option<u8>,
}

impl Database {
    pub fn is_available(&self) -> bool {
        matches!(self.status.as_str(), "available" | "storage-optimization")
    }

    /// States that it does not leave by itself, and in which nobody can use it.
    pub fn is_lost(&self) -> bool {
        self.status.starts_with("incompatible-")
            || matches!(
                self.status.as_str(),
                "failed"
                    | "restore-error"
                    | "insufficient-capacity"
                    | "inaccessible-encryption-credentials"
                    | "inaccessible-encryption-credentials-recoverable"
                    | "upgrade-failed"
                    | "storage-full"
                    | "deleting"
                    | "deleted"
            )
    }
}

impl Rds {
    /// `None`: there is no such database in this region.
    pub async fn database(&self, id: &RdsDatabase) -> Result<Option<Database>, AwsFailure> {
        match id {
            RdsDatabase::Instance(identifier) => self.instance(identifier).await,
            RdsDatabase::Cluster(identifier) => self.cluster(identifier).await,
        }
    }

    /// Begins to change it, at once and not in its maintenance window.
    pub async fn change(&self, id: &RdsDatabase, changes: &Changes) -> Result<(), AwsFailure> {
        match id {
            RdsDatabase::Instance(identifier) => self.change_instance(identifier, changes).await,
            RdsDatabase::Cluster(identifier) => self.change_cluster(identifier, changes).await,
        }
    }
}
