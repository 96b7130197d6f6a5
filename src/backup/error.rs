use std::time::Duration;

use chrono::TimeDelta;
use thiserror::Error;

use super::lineage::LineageError;
use crate::model::{BackupId, RepositoryName};
use crate::pipeline::RecipeError;
use crate::repository::{MarkerError, WriteError};
use crate::source::SourceError;
use crate::store::StoreError;
use crate::text::format_duration;
use crate::wal::cluster::ClusterError;

/// Why a run did not start.
#[derive(Debug, Error)]
pub enum BackupError {
    #[error("failed to open the repositories")]
    Repositories(#[source] MarkerError),
    #[error(
        "this host's clock is {} {} that of repository `{repository}`",
        format_duration(Duration::from_secs(.skew.num_seconds().unsigned_abs())),
        if *.skew > TimeDelta::zero() { "ahead of" } else { "behind" }
    )]
    Clock { repository: RepositoryName, skew: TimeDelta },
    #[error("failed to prepare compression and encryption")]
    Recipe(#[source] RecipeError),
}

/// Why a backup of one source was not taken.
#[derive(Debug, Error)]
pub(super) enum TakeError {
    #[error("failed to take the lease of the source")]
    Lease(#[source] StoreError),
    #[error("another run took over the lease of the source, so this one stopped")]
    LeaseLost,
    #[error(transparent)]
    Source(SourceError),
    #[error("nothing was planned for the source")]
    NothingPlanned,
    #[error(
        "no repository takes the WAL of this cluster (a cluster that was re-initialised or upgraded has a new system identifier, and gets a source of its own in the policy, or continues this one with `drctl backup --accept-new-cluster`)"
    )]
    OtherCluster(#[source] ClusterError),
    #[error(
        "{0}\n    hint: Check where the source's `url` leads. A re-initialised or upgraded cluster has a new system identifier: give it a source of its own in the policy, or continue this one with `drctl backup --accept-new-cluster`"
    )]
    Lineage(LineageError),
    #[error("failed to record that the WAL of the new cluster is accepted")]
    AcceptWal(#[source] ClusterError),
    #[error(
        "cannot commit {backup} of an interrupted run: failed to remove its leftovers from repository {repository} ({reason})"
    )]
    Leftovers { backup: BackupId, repository: RepositoryName, reason: String },
    #[error("{0}")]
    Pause(String),
    #[error("failed to commit the backup")]
    Commit(#[source] WriteError),
}
