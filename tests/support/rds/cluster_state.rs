//! Clusters: one volume that instances come and go at.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Shared;
use super::archive::Archive;
use super::error::{Answered, ApiError};
use super::machine::Key;
use super::postgres::Postgres;
use super::settings::Settings;
use super::state::{Backup, Region, Snapshot, arn, now};

/// Aurora, or a Multi-AZ cluster of three instances, as its engine is.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) id: String,
    pub(crate) arn: String,
    pub(crate) resource_id: String,
    /// Its parameter group is one for clusters.
    pub(crate) settings: Settings,
    pub(crate) status: String,
    pub(crate) created: DateTime<Utc>,
    /// Runs while the cluster has an instance. All instances of a cluster are this one server.
    pub(super) server: Option<Arc<Postgres>>,
    pub(super) archive: Option<Arc<Archive>>,
    pub(super) hidden: usize,
}

impl Cluster {
    pub(super) fn is_aurora(&self) -> bool {
        is_aurora(&self.settings)
    }
}

pub(super) fn is_aurora(settings: &Settings) -> bool {
    settings.engine.starts_with("aurora")
}

pub(super) fn cluster_missing(id: &str) -> ApiError {
    ApiError::missing("DBClusterNotFoundFault", "DBCluster", id)
}

impl Cluster {
    /// What a restore to a time starts from.
    pub(super) fn backup(&self, region: &str, status: &str) -> Option<Backup> {
        let name = format!("cab-{}", self.resource_id.to_lowercase());
        Some(Backup {
            arn: arn(region, "cluster-auto-backup", &name),
            instance: self.id.clone(),
            instance_arn: self.arn.clone(),
            resource_id: self.resource_id.clone(),
            region: region.to_owned(),
            status: status.to_owned(),
            instance_created: self.created,
            settings: self.settings.clone(),
            archive: self.archive.clone()?,
        })
    }
}

impl Region {
    pub(super) fn cluster(&mut self, id: &str) -> Answered<&mut Cluster> {
        self.clusters.get_mut(id).ok_or_else(|| cluster_missing(id))
    }

    pub(super) fn cluster_snapshot(&mut self, id: &str) -> Answered<&mut Snapshot> {
        let missing = || ApiError::missing("DBClusterSnapshotNotFoundFault", "DBClusterSnapshot", id);
        self.cluster_snapshots.get_mut(id).ok_or_else(missing)
    }

    /// The instances of a cluster, by name.
    pub(super) fn members(&self, cluster: &str) -> Vec<String> {
        let all = self.instances.values().filter(|one| one.cluster.as_deref() == Some(cluster));
        all.map(|one| one.id.clone()).collect()
    }
}

impl Key {
    pub(super) fn of_cluster(region: &str, cluster: &Cluster) -> Self {
        Self { region: region.to_owned(), id: cluster.id.clone(), identity: cluster.resource_id.clone() }
    }
}

impl Shared {
    /// Does something to a cluster if it is still there.
    pub(super) fn with_cluster<T>(&self, key: &Key, act: impl FnOnce(&mut Cluster) -> T) -> Option<T> {
        let mut state = self.state();
        let cluster = state.region(&key.region).clusters.get_mut(&key.id)?;
        (cluster.resource_id == key.identity).then(|| act(cluster))
    }

    /// As [`Shared::instance_stays`].
    pub(super) async fn cluster_stays(&self, key: &Key, status: &str, at_least: std::time::Duration) -> bool {
        let is_there = self.with_cluster(key, |cluster| status.clone_into(&mut cluster.status)).is_some();
        is_there && self.stay(key, status, at_least).await && self.with_cluster(key, |_| ()).is_some()
    }

    pub(super) fn end_cluster(&self, key: &Key, status: &str) {
        if self.with_cluster(key, |cluster| status.clone_into(&mut cluster.status)).is_some() {
            self.remember(key, status);
        }
    }

    /// A cluster without a volume yet.
    pub(super) fn add_cluster(&self, region: &str, id: &str, settings: Settings) -> Cluster {
        let hidden = self.script().hides_new_for;
        let mut state = self.state();
        let serial = state.serial();
        let cluster = Cluster {
            id: id.to_owned(),
            arn: arn(region, "cluster", id),
            resource_id: format!("cluster-{serial:026X}"),
            settings,
            status: "creating".to_owned(),
            created: now(),
            server: None,
            archive: None,
            hidden,
        };
        state.region(region).clusters.insert(id.to_owned(), cluster.clone());
        cluster
    }
}
