use futures_util::future::join_all;

use super::run::{Run, SMALL_CALL};
use crate::model::{RepositoryName, SegmentSize, SourceName, SystemIdentifier};
use crate::policy::{Source, WalMethod};
use crate::text::{error_chain, format_duration};
use crate::wal::Archive;
use crate::wal::cluster::{self, ClusterError};

impl Run<'_> {
    /// Returns why the server cannot archive its WAL now: a required repository rejects it. Failures of the
    /// server's own calls are reported by the server.
    pub(super) async fn archiving_fails(
        &self,
        source: &Source,
        cluster: Option<SystemIdentifier>,
    ) -> Option<String> {
        let wal = source.wal().filter(|wal| wal.method == WalMethod::Archive)?;
        let is_required = |name: &RepositoryName| !wal.optional_repositories.contains(name);
        if let Some(lost) = self.repositories.lost().iter().find(|lost| is_required(&lost.name)) {
            return Some(format!("repository {} cannot be used ({})", lost.name, lost.reason()));
        }
        let archive =
            Archive { system: self.policy.system.clone(), source: source.name.clone(), cluster: cluster? };
        let required = self.repositories.iter().filter(|repository| is_required(&repository.name));
        let asked = required.map(async |repository| {
            let known = cluster::known(&*repository.store, &archive);
            let known = tokio::time::timeout(SMALL_CALL, known).await.ok()?;
            let why = known.err()?;
            Some(format!("repository {} does not take it ({})", repository.name, error_chain(&why)))
        });
        join_all(asked).await.into_iter().flatten().next()
    }

    /// Rejects a base backup that could never be restored, since no repository takes the WAL of its cluster.
    /// A repository whose cluster is unknown is queried again once the backup waits for it.
    pub(super) async fn reject_without_wal(
        &self,
        source: &SourceName,
        cluster: SystemIdentifier,
    ) -> Result<(), ClusterError> {
        let archive = Archive { system: self.policy.system.clone(), source: source.clone(), cluster };
        let asked = self.repositories.iter().map(async |repository| {
            let known = cluster::known(&*repository.store, &archive);
            tokio::time::timeout(SMALL_CALL, known).await.ok()
        });
        let said: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        if said.iter().any(Result::is_ok) {
            return Ok(());
        }
        let other = said.into_iter().filter_map(Result::err);
        let other = other.into_iter().find(|error| matches!(error, ClusterError::Other { .. }));
        other.map_or(Ok(()), Err)
    }

    /// Lets every repository accept the WAL of a cluster that replaces another one.
    pub(super) async fn accept_wal(
        &self,
        source: &SourceName,
        cluster: SystemIdentifier,
        segment_size: SegmentSize,
    ) -> Result<(), ClusterError> {
        let archive = Archive { system: self.policy.system.clone(), source: source.clone(), cluster };
        let (id, now) = (self.repositories.id().unwrap_or_default(), self.clock.now());
        for repository in self.repositories.iter() {
            let known = cluster::known(&*repository.store, &archive);
            let reason = match tokio::time::timeout(SMALL_CALL, known).await {
                Ok(Err(ClusterError::Other { .. })) => {
                    cluster::record(repository, &archive, segment_size, id, now, true).await?;
                    continue;
                }
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => error_chain(&error),
                Err(_) => format!("no answer in {}", format_duration(SMALL_CALL)),
            };
            self.events.warning(format!(
                "whether `{}` takes the WAL of the new cluster is not known, and it may reject it: {reason}",
                repository.name
            ));
        }
        Ok(())
    }
}
