use chrono::{DateTime, Utc};

use super::super::AwsFailure;
use super::super::poll::{PollProgress, PolledState};
use super::{Changes, Rds};
use crate::aws::tags::AwsTags;
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
    pub endpoint: Option<DatabaseEndpoint>,
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
    pub tags: AwsTags,
    /// The cluster that it is an instance of.
    pub cluster: Option<String>,
    /// ARN of the secret in which RDS keeps the master password, where it does.
    pub master_secret: Option<String>,
    /// How it is set up; parameters are read apart.
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

    /// Returns whether its server can be logged in to. RDS may back it up for hours after a restore, and changes nothing of it
    /// meanwhile; it can be used.
    pub fn takes_logins(&self) -> bool {
        self.is_available() || self.status == "backing-up"
    }

    /// Returns whether RDS takes a change of it: of one that is full, too, for so it gets more room.
    pub fn takes_changes(&self) -> bool {
        self.is_available() || self.status == "storage-full"
    }

    /// Returns whether it was stopped: it is started by a call, or by RDS after a week.
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

    /// Returns what a wait for it sees: whether it is available, or will be.
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

    /// Returns what a wait for its users sees: whether it can be logged in to, or will be.
    pub fn seen_by_users(self) -> PolledState<Self> {
        if self.takes_logins() { PolledState::Done(self) } else { self.seen() }
    }

    /// Returns whether it is in a terminal state, in which it cannot be used.
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
