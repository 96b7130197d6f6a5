use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Archive, Memory};
use crate::model::{SegmentSize, SystemIdentifier};
use crate::platform::host_name;
use crate::repository::{
    FormatError, FormatVersion, MarkerError, Repositories, Repository, Unavailable, layout,
};
use crate::store::{PutOptions, Store, StoreError, StoreErrorKind};

const RECORD_LIMIT: u64 = 64 << 10;

/// `cluster.json`: the cluster whose WAL is below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    pub format: String,
    pub repository_id: String,
    pub system_identifier: SystemIdentifier,
    pub segment_size: SegmentSize,
    pub recorded: DateTime<Utc>,
    pub host: String,
}

/// Why a repository does not take a cluster's WAL.
#[derive(Debug, Error)]
pub enum ClusterError {
    #[error("failed to read the system identifier of its WAL")]
    Read(#[source] StoreError),
    #[error("failed to record the system identifier of its WAL")]
    Write(#[source] StoreError),
    #[error("failed to parse `{key}` in {location}")]
    Json { key: String, location: String, source: serde_json::Error },
    #[error("failed to accept `{key}` in {location}")]
    Format { key: String, location: String, source: FormatError },
    #[error("{location} has the WAL of system identifier {recorded}, and this is of {found}")]
    Other { location: String, recorded: SystemIdentifier, found: SystemIdentifier },
    #[error("failed to start archiving")]
    Marker(#[source] MarkerError),
    #[error("failed to start archiving: {0}")]
    Lost(String),
    #[error("failed to start archiving: {}", .0.reason())]
    Unusable(Unavailable),
}

async fn read(store: &dyn Store, key: &str) -> Result<Option<ClusterRecord>, ClusterError> {
    let bytes = match store.get(key, RECORD_LIMIT).await {
        Ok((bytes, _)) => bytes,
        Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ClusterError::Read(error)),
    };
    let json = |source| ClusterError::Json { key: key.to_owned(), location: store.location(), source };
    #[derive(Deserialize)]
    struct Header {
        format: String,
    }
    let header: Header = serde_json::from_slice(&bytes).map_err(json)?;
    let version = header.format.parse::<FormatVersion>().and_then(FormatVersion::readable);
    version.map_err(|source| ClusterError::Format {
        key: key.to_owned(),
        location: store.location(),
        source,
    })?;
    serde_json::from_slice(&bytes).map(Some).map_err(json)
}

/// Returns the first cluster whose WAL a repository received; `None` where it never received any.
pub async fn first(store: &dyn Store, archive: &Archive) -> Result<Option<ClusterRecord>, ClusterError> {
    read(store, &layout::wal_cluster(&archive.system, &archive.source)).await
}

/// Returns a repository's record of the archive's cluster; `None` where it never received any WAL of the
/// source.
///
/// # Errors
/// It has the WAL of another cluster, and this one was not recorded as its replacement.
pub async fn known(store: &dyn Store, archive: &Archive) -> Result<Option<ClusterRecord>, ClusterError> {
    let Some(record) = first(store, archive).await? else { return Ok(None) };
    if record.system_identifier == archive.cluster {
        return Ok(Some(record));
    }
    let later = layout::wal_later_cluster(&archive.system, &archive.source, archive.cluster);
    match read(store, &later).await? {
        Some(record) => Ok(Some(record)),
        None => Err(ClusterError::Other {
            location: store.location(),
            recorded: record.system_identifier,
            found: archive.cluster,
        }),
    }
}

/// Returns whether a repository takes the archive's WAL: false where it never received any.
pub async fn takes(store: &dyn Store, archive: &Archive) -> Result<bool, ClusterError> {
    match known(store, archive).await? {
        Some(record) => writable(store, archive, &record).map(|()| true),
        None => Ok(false),
    }
}

/// Checks whether each repository takes the archive's WAL. In one that never received any, the cluster is
/// recorded first, and missing markers are written.
pub async fn admit(
    repositories: &Repositories,
    archive: &Archive,
    segment_size: SegmentSize,
    now: DateTime<Utc>,
    memory: &dyn Memory,
) -> Vec<(Repository, Result<(), ClusterError>)> {
    let known = join_all(
        repositories
            .iter()
            .map(async |repository| (repository.clone(), takes(&*repository.store, archive).await)),
    )
    .await;
    if known.iter().all(|(_, known)| !matches!(known, Ok(false))) {
        return known.into_iter().map(|(repository, known)| (repository, known.map(drop))).collect();
    }
    let recalled = memory.recall(repositories.clone()).await;
    let begun = recalled.for_writing(&archive.system, None, now).await;
    if let Ok(begun) = &begun {
        memory.keep(begun).await;
    }
    let (begun, refused) = match begun {
        Ok(begun) => (begun, None),
        Err(error) => (repositories.clone(), Some(error)),
    };
    let mut refused = refused.map(ClusterError::Marker);
    let mut admitted = Vec::new();
    for (repository, known) in known {
        let outcome = match known {
            Ok(true) => Ok(()),
            Err(error) => Err(error),
            Ok(false) => match (&mut refused, begun.lost().iter().find(|l| l.name == repository.name)) {
                (Some(ClusterError::Lost(words)), _) => Err(ClusterError::Lost(words.clone())),
                (Some(error), _) => {
                    let words = ClusterError::Lost(crate::text::error_chain(error));
                    Err(std::mem::replace(error, words))
                }
                (None, Some(lost)) => Err(ClusterError::Unusable(lost.clone())),
                (None, None) => {
                    record(&repository, archive, segment_size, begun.id().unwrap_or_default(), now, false)
                        .await
                }
            },
        };
        admitted.push((repository, outcome));
    }
    admitted
}

fn writable(store: &dyn Store, archive: &Archive, record: &ClusterRecord) -> Result<(), ClusterError> {
    let version = record.format.parse::<FormatVersion>().and_then(FormatVersion::writable);
    version.map(drop).map_err(|source| ClusterError::Format {
        key: layout::wal_cluster(&archive.system, &archive.source),
        location: store.location(),
        source,
    })
}

/// Records the archive's cluster: as the repository's first, or as the replacement of the first one.
pub async fn record(
    repository: &Repository,
    archive: &Archive,
    segment_size: SegmentSize,
    repository_id: &str,
    now: DateTime<Utc>,
    later: bool,
) -> Result<(), ClusterError> {
    let record = ClusterRecord {
        format: FormatVersion::CURRENT.to_string(),
        repository_id: repository_id.to_owned(),
        system_identifier: archive.cluster,
        segment_size,
        recorded: now,
        host: host_name(),
    };
    let key = if later {
        layout::wal_later_cluster(&archive.system, &archive.source, archive.cluster)
    } else {
        layout::wal_cluster(&archive.system, &archive.source)
    };
    let store = &*repository.store;
    let mut bytes = serde_json::to_vec_pretty(&record).map_err(|source| ClusterError::Json {
        key: key.clone(),
        location: store.location(),
        source,
    })?;
    bytes.push(b'\n');
    match store.put(&key, Bytes::from(bytes), &PutOptions::absent()).await {
        Ok(_) => Ok(()),
        // Another process was faster; it may have recorded another cluster.
        Err(error) if error.kind == StoreErrorKind::Exists => known(store, archive).await.map(drop),
        Err(error) => Err(ClusterError::Write(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::fixtures::{noon, repositories, system};

    fn archive(cluster: u64) -> Archive {
        Archive { system: system(), source: "db".parse().unwrap(), cluster: SystemIdentifier(cluster) }
    }

    async fn admitted(set: &Repositories, cluster: u64) -> Vec<Result<(), ClusterError>> {
        let outcomes = admit(set, &archive(cluster), SegmentSize::DEFAULT, noon(), &()).await;
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    #[tokio::test]
    async fn the_first_cluster_is_recorded_and_another_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "west"]).await;
        for repository in set.iter() {
            assert_eq!(known(&*repository.store, &archive(1)).await.unwrap(), None);
        }
        assert!(admitted(&set, 1).await.iter().all(Result::is_ok));
        assert!(admitted(&set, 1).await.iter().all(Result::is_ok));
        for outcome in admitted(&set, 2).await {
            assert!(matches!(outcome, Err(ClusterError::Other { .. })), "{outcome:?}");
        }
        let west = set.iter().nth(1).unwrap();
        record(west, &archive(2), SegmentSize::DEFAULT, "", noon(), true).await.unwrap();
        let outcomes = admitted(&set, 2).await;
        assert!(outcomes[0].is_err() && outcomes[1].is_ok(), "{outcomes:?}");
    }

    #[tokio::test]
    async fn of_two_clusters_that_begin_at_once_one_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary"]).await;
        let racers = (1..6).map(|cluster| {
            let set = set.clone();
            tokio::spawn(async move { admitted(&set, cluster).await.remove(0).is_ok() })
        });
        let winners = join_all(racers).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
        assert_eq!(winners, 1);
    }

    #[tokio::test]
    async fn a_copy_that_is_not_there_does_not_keep_the_others_back() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "missing"]).await;
        let outcomes = admitted(&set, 1).await;
        assert!(outcomes[0].is_ok() && outcomes[1].is_err(), "{outcomes:?}");
        // And one that is added later gets what the others have.
        let set = repositories(root.path(), &["primary", "missing", "east"]).await;
        let outcomes = admitted(&set, 1).await;
        assert!(outcomes[0].is_ok() && outcomes[1].is_err() && outcomes[2].is_ok(), "{outcomes:?}");
    }

    #[derive(Debug)]
    struct Marked(&'static str);

    #[async_trait::async_trait]
    impl Memory for Marked {
        async fn recall(&self, repositories: Repositories) -> Repositories {
            let marked = [(self.0.parse().unwrap(), noon())].into();
            repositories.remembering(crate::repository::KnownLocations { marked, ..Default::default() })
        }

        async fn keep(&self, _repositories: &Repositories) {}
    }

    #[tokio::test]
    async fn what_is_not_mounted_gets_no_log() {
        for (names, is_taken) in
            [(vec!["primary"], vec![false]), (vec!["west", "primary"], vec![true, false])]
        {
            let root = tempfile::tempdir().unwrap();
            let set = repositories(root.path(), &names).await;
            if names.len() > 1 {
                admitted(&repositories(root.path(), &names[..1]).await, 1).await;
            }
            let memory = Marked("primary");
            let outcomes = admit(&set, &archive(1), SegmentSize::DEFAULT, noon(), &memory).await;
            let taken: Vec<_> = outcomes.iter().map(|(_, outcome)| outcome.is_ok()).collect();
            assert_eq!(taken, is_taken, "{outcomes:?}");
            assert!(std::fs::read_dir(root.path().join("primary")).unwrap().next().is_none());
        }
    }
}
