use std::cmp::Reverse;

use super::lineage::{Lineage, LineageError, compare};
use super::run::{Run, SMALL_CALL};
use crate::model::{BackupKind, Manifest, ServerFacts, SourceName, SystemIdentifier, Timeline};
use crate::repository::{BackupRecord, Listing};
use crate::wal::{Archive, cluster};

/// Backups whose manifests are read to find one that records its cluster.
const READ_AT_MOST: usize = 20;

impl Run<'_> {
    /// Rejects a backup of another cluster than that of the earlier ones, unless that was accepted: for this
    /// run, or for the WAL of the source.
    pub(super) async fn lineage(
        &self,
        source: &SourceName,
        server: &ServerFacts,
        timeline: Option<Timeline>,
    ) -> Result<Lineage, LineageError> {
        let (lineage, other) = compare(server, timeline, &self.earlier(source).await);
        let Some(other) = other else { return Ok(lineage) };
        let replaces = match &other {
            LineageError::OtherCluster { recorded, .. } => Some(recorded.clone()),
            LineageError::OlderMajor { .. } => None,
        };
        if self.accepts_new_cluster {
            self.events
                .warning(format!("{other}; it is backed up in its place, as `--accept-new-cluster` says"));
            return Ok(Lineage { replaces, ..lineage });
        }
        let identifier = server.system_identifier.as_ref().and_then(|identifier| identifier.parse().ok());
        if let Some(identifier) = identifier
            && self.takes_wal_of(source, identifier).await
        {
            return Ok(Lineage { replaces, ..lineage });
        }
        Err(other)
    }

    /// Returns the newest backups of the server itself, back to one that records its cluster, and to a base
    /// backup where there are few in between.
    async fn earlier(&self, source: &SourceName) -> Vec<Manifest> {
        let listing = Listing::of_source(&self.repositories, &self.policy.system, source).await;
        let mut earlier: Vec<Manifest> = Vec::new();
        for unlisted in &listing.unlisted {
            self.events.warning(format!(
                "earlier backups of {source} in `{}` are not compared with this server: {}",
                unlisted.name,
                unlisted.reason()
            ));
        }
        let holders = listing.holders();
        let newest = |kind| holders.iter().rev().filter(move |(id, _)| id.kind() == kind).take(READ_AT_MOST);
        for kind in [BackupKind::Logical, BackupKind::Base] {
            for (id, holders) in newest(kind) {
                let (record, _) = BackupRecord::read(holders, &self.policy.system, id).await;
                let Some(BackupRecord { manifest, .. }) = record else { continue };
                let names_cluster = manifest.cluster().is_some();
                earlier.push(manifest);
                if names_cluster {
                    break;
                }
            }
        }
        if earlier.is_empty() && !holders.is_empty() {
            self.events.warning(format!(
                "no manifest of the earlier backups of {source} could be read: they are not compared with this server"
            ));
        }
        earlier.sort_by_key(|manifest| Reverse(manifest.id.begun()));
        earlier
    }

    async fn takes_wal_of(&self, source: &SourceName, cluster: SystemIdentifier) -> bool {
        let archive = Archive { system: self.policy.system.clone(), source: source.clone(), cluster };
        for repository in self.repositories.iter() {
            let known = cluster::known(&*repository.store, &archive);
            if let Ok(Ok(Some(_))) = tokio::time::timeout(SMALL_CALL, known).await {
                return true;
            }
        }
        false
    }
}
