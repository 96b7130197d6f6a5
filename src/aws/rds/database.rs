use chrono::{DateTime, Utc};

use super::super::AwsFailure;
use super::super::poll::{PollProgress, PolledState};
use super::{Changes, Rds};
use crate::aws::tags::AwsTags;
use crate::model::RestoreProfile;
use crate::policy::RdsDatabase;

/// The current state of an instance or a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    pub id: RdsDatabase,
    pub arn: String,
    /// `DbiResourceId` or `DbClusterResourceId`: unique, unlike the name.
    pub resource_id: String,
    pub status: String,
    pub endpoint: Option<DatabaseEndpoint>,
    /// RDS can restore up to this time. Absent without automated backups, and before the first.
    pub latest_restorable: Option<DateTime<Utc>>,
    /// Reported for clusters only.
    pub earliest_restorable: Option<DateTime<Utc>>,
    /// Blocks that are still to be loaded from S3.
    pub hydration: Option<Hydration>,
    /// Some of its parameters take effect only after a restart.
    pub needs_restart: bool,
    /// ARNs of its automated backups replicated to other regions.
    pub replicated: Vec<String>,
    pub tags: AwsTags,
    /// The cluster of an instance.
    pub cluster: Option<String>,
    /// ARN of the secret with the master password, if RDS manages that.
    pub master_secret: Option<String>,
    /// Its configuration; parameters are read separately.
    pub profile: RestoreProfile,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseEndpoint {
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

    /// Returns whether its server accepts logins. RDS may back it up for hours after a restore and rejects
    /// changes meanwhile; users need not wait.
    pub fn takes_logins(&self) -> bool {
        self.is_available() || self.status == "backing-up"
    }

    /// Returns whether RDS accepts changes to it; also with full storage, since a change can add space.
    pub fn takes_changes(&self) -> bool {
        self.is_available() || self.status == "storage-full"
    }

    /// Returns whether it was stopped: it runs again once it is started, or RDS does so after a week.
    pub fn is_stopped(&self) -> bool {
        matches!(self.status.as_str(), "stopping" | "stopped")
    }

    /// Returns the command that starts it.
    pub fn start_command(&self) -> String {
        let of = match &self.id {
            RdsDatabase::Instance(name) => format!("start-db-instance --db-instance-identifier {name}"),
            RdsDatabase::Cluster(name) => format!("start-db-cluster --db-cluster-identifier {name}"),
        };
        let region = self.arn.split(':').nth(3).unwrap_or_default();
        format!("`aws rds {of} --region {region}`")
    }

    /// Converts it for a wait until it is available.
    pub fn seen(self) -> PolledState<Self> {
        let progress = PollProgress { status: self.status.clone(), ..PollProgress::default() };
        match () {
            () if self.is_available() => PolledState::Done(self),
            () if self.is_stopped() => {
                let detail =
                    Some(format!("start it, {}, and run the same command again", self.start_command()));
                PolledState::Failed(PollProgress { detail, ..progress })
            }
            () if self.is_lost() => PolledState::Failed(progress),
            () => PolledState::Working(progress),
        }
    }

    /// Converts it for a wait until it accepts logins.
    pub fn seen_by_users(self) -> PolledState<Self> {
        if self.takes_logins() { PolledState::Done(self) } else { self.seen() }
    }

    /// Returns whether it is in a final state in which it cannot be used.
    pub fn is_lost(&self) -> bool {
        self.status.starts_with("incompatible-")
            || matches!(
                self.status.as_str(),
                "failed"
                    | "restore-error"
                    | "insufficient-capacity"
                    | "inaccessible-encryption-credentials"
                    | "inaccessible-encryption-credentials-recoverable"
                    | "cloning-failed"
                    | "migration-failed"
                    | "upgrade-failed"
                    | "storage-full"
                    | "deleting"
                    | "deleted"
            )
    }
}

impl Rds {
    /// Returns a database of this region; `None` if it does not exist.
    pub async fn database(&self, id: &RdsDatabase) -> Result<Option<Database>, AwsFailure> {
        match id {
            RdsDatabase::Instance(identifier) => self.instance(identifier).await,
            RdsDatabase::Cluster(identifier) => self.cluster(identifier).await,
        }
    }

    /// Starts a change, immediately and not in the maintenance window.
    pub async fn change(&self, id: &RdsDatabase, changes: &Changes) -> Result<(), AwsFailure> {
        match id {
            RdsDatabase::Instance(identifier) => self.change_instance(identifier, changes).await,
            RdsDatabase::Cluster(identifier) => self.change_cluster(identifier, changes).await,
        }
    }
}
