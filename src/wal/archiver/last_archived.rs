use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use thiserror::Error;

use crate::model::{RepositoryName, SystemName, WalName};
use crate::policy::{PostgresSource, Source, WalMethod};
use crate::postgres::{ConnectError, ConnectionParameters, close};
use crate::repository::{Repositories, Repository};
use crate::store::StoreError;
use crate::wal::archive::SUFFIXES;
use crate::wal::cluster;
use crate::wal::cluster::ClusterError;
use crate::wal::{Archive, ArchiverFacts, ServerError, Stall, server_facts};

/// The last file whose archiving a server was told succeeded: it is free to delete its own copy.
///
/// A broken `archive_command` that exits 0 can be detected only by checking the repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastArchived {
    pub file: WalName,
    pub at: DateTime<Utc>,
    archive: Archive,
    optional_repositories: Vec<RepositoryName>,
}

/// Why the server's archiving status is unknown.
#[derive(Debug, Error)]
pub enum AskError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// Why it is unknown whether a repository has a file.
#[derive(Debug, Error)]
pub enum KeptError {
    #[error("failed to read the system identifier of its WAL")]
    Cluster(#[from] ClusterError),
    #[error("failed to query `{0}`")]
    Store(WalName, #[source] StoreError),
}

impl LastArchived {
    /// Returns the file; `None`: the server has archived nothing, or not by `archive_command`.
    pub fn from_facts(source: &PostgresSource, facts: &ArchiverFacts, archive: Archive) -> Option<Self> {
        let wal = source.wal.as_ref().filter(|wal| wal.method == WalMethod::Archive)?;
        let (file, at) = (facts.last_archived_file?, facts.last_archived?);
        let is_of_it = facts.system_identifier == archive.cluster;
        is_of_it.then(|| Self { file, at, archive, optional_repositories: wal.optional_repositories.clone() })
    }

    /// Returns whether every repository was queried, and none ever received any WAL of the cluster: what the
    /// server archived went nowhere, or elsewhere.
    pub async fn is_nowhere(&self, repositories: &Repositories) -> bool {
        let asked = repositories.iter().map(|repository| cluster::known(&*repository.store, &self.archive));
        let known = join_all(asked).await;
        let has_none = known.iter().all(|known| matches!(known, Ok(None)));
        !known.is_empty() && repositories.lost().is_empty() && has_none
    }

    /// Returns whether a repository should have the file, and does not.
    pub async fn is_lost_from(&self, repository: &Repository) -> Result<bool, KeptError> {
        if self.optional_repositories.contains(&repository.name) {
            return Ok(false);
        }
        let store = &*repository.store;
        match cluster::known(store, &self.archive).await? {
            // Files archived before went elsewhere.
            Some(record) if record.recorded <= self.at => {}
            _ => return Ok(false),
        }
        for suffix in SUFFIXES {
            let found = store.head(&self.archive.key(self.file, suffix)).await;
            if found.map_err(|error| KeptError::Store(self.file, error))?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The state of a server and of its archiving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiverReport {
    pub facts: ArchiverFacts,
    pub acknowledged: Option<LastArchived>,
    /// What blocks its WAL.
    pub stall: Option<Stall>,
}

/// Queries the server of a source, where the policy archives its WAL.
pub async fn said(system: &SystemName, source: &Source) -> Result<Option<ArchiverReport>, AskError> {
    let Some(postgres) = source.postgres() else { return Ok(None) };
    let Some(wal) = &postgres.wal else { return Ok(None) };
    let parameters = ConnectionParameters::resolve(postgres).await?;
    let mut connection = parameters.connect().await?;
    let facts = server_facts(&mut connection).await;
    close(connection).await;
    let facts = facts?;
    let cluster = facts.system_identifier;
    let archive = Archive { system: system.clone(), source: source.name.clone(), cluster };
    let stall = Stall::detect(&wal.method, &facts);
    let acknowledged = LastArchived::from_facts(postgres, &facts, archive);
    Ok(Some(ArchiverReport { facts, acknowledged, stall }))
}
