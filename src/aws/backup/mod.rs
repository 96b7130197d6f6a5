//! AWS Backup's API in plain values, of one region: vaults, recovery points, plans, and the jobs of backup, copy
//! and restore.
//!
//! *Invariants.* What is not there is `None`, every other failure an [`AwsFailure`](super::AwsFailure). Lists are
//! whole: every page is read. A job is started with a token: one that the SDK made up would be another
//! one in the next process. A state that is not known is work that goes on. AWS Backup is asked for the tags of
//! what is its own only; those of other recovery points are with the service that keeps them.
//!
//! *Not here.* What is done with it, and in which order: [`crate::source`] and the use cases.

mod backup_job;
mod convert;
mod copy_job;
mod job;
mod plan;
mod recovery_point;
mod resource_exists;
mod restore_job;
mod tags;
mod validation;
mod vault;

use aws_sdk_backup::Client;

use super::convert::ClientRegion;
use super::rds::Rds;
use super::{AwsError, CallPace, paced_config};
use crate::policy::AwsLocation;

pub use backup_job::BackupRequest;
pub use copy_job::PointCopyRequest;
pub use job::Job;
pub use plan::{AwsBackupPlan, BackupPlanSelection, Coverage};
pub use recovery_point::{RecoveryPoint, is_continuous};
pub use resource_exists::ResourceState;
pub use restore_job::RestoreRequest;
pub use tags::has_known_tags;
pub use validation::Validation;
pub use vault::{Vault, VaultLock};

/// AWS Backup in one region.
#[derive(Clone, Debug)]
pub struct AwsBackup {
    client: Client,
    /// Recovery points of databases are snapshots of RDS, and so are their tags.
    rds: Rds,
    region: ClientRegion,
}

impl AwsBackup {
    /// Connects; nothing is called yet.
    pub async fn connect(place: &AwsLocation) -> Result<Self, AwsError> {
        Self::at(place, CallPace::Work).await
    }

    /// Connects to query only, a region that may be gone.
    pub async fn to_look(place: &AwsLocation) -> Result<Self, AwsError> {
        Self::at(place, CallPace::Look).await
    }

    async fn at(place: &AwsLocation, pace: CallPace) -> Result<Self, AwsError> {
        let config = paced_config(place, pace).await?;
        let region = ClientRegion(place.region.clone());
        Ok(Self { client: Client::new(&config), rds: Rds::new(&config, region.clone()), region })
    }

    pub fn region(&self) -> &str {
        &self.region.0
    }
}
