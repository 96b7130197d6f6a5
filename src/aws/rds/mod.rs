//! Amazon RDS's API in plain values, in one region. Instances and clusters have different calls for the same
//! operations; here they are one.
//!
//! *Invariants.* An unknown identifier is `None`, every other failure an [`AwsFailure`](super::AwsFailure).
//! Lists are complete: every page is read. Only what carries the tag of drctl is deleted.
//!
//! *Not here.* What the calls are used for, and in which order: [`crate::source`] and the use cases.

mod automated;
mod blue_green;
mod cluster;
mod convert;
mod database;
mod delete;
mod instance;
mod restore;
mod restore_cluster;
mod settings;
mod snapshot;
mod tagging;
mod tags;
mod token;

use aws_config::SdkConfig;
use aws_sdk_rds::Client;

use super::convert::ClientRegion;
use super::{AwsError, CallPace, paced_config};
use crate::policy::AwsLocation;

pub use automated::{AutomatedBackup, RestoreWindow};
pub use blue_green::SwitchedOver;
pub use database::{Database, DatabaseEndpoint, Hydration};
pub use delete::{DeleteRefusal, Removal, RemovedBy, Temporary};
pub use restore::{Changes, NewInstance, Origin, RestoreMoment};
pub use restore_cluster::{NewCluster, NewMember};
pub use snapshot::{Snapshot, SnapshotCopyRequest, SnapshotId};
pub use token::{TokenError, TokenSigner};

/// A client of RDS in one region.
#[derive(Clone, Debug)]
pub struct Rds {
    pub(in crate::aws) client: Client,
    region: ClientRegion,
}

impl Rds {
    /// Creates a client without a request.
    pub async fn connect(place: &AwsLocation) -> Result<Self, AwsError> {
        Self::at(place, CallPace::Work).await
    }

    /// Creates a client for queries of a region that may be down.
    pub async fn to_look(place: &AwsLocation) -> Result<Self, AwsError> {
        Self::at(place, CallPace::Look).await
    }

    async fn at(place: &AwsLocation, pace: CallPace) -> Result<Self, AwsError> {
        Ok(Self {
            client: Client::new(&paced_config(place, pace).await?),
            region: ClientRegion(place.region.clone()),
        })
    }

    pub(in crate::aws) fn new(config: &SdkConfig, region: ClientRegion) -> Self {
        Self { client: Client::new(config), region }
    }

    pub fn region(&self) -> &str {
        &self.region.0
    }
}
