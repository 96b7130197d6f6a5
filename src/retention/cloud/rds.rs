use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::aws_backup::recorded_copies;
use super::listing::{FoundCopy, RecordedCopy, RegionListing};
use super::region::{CloudRegion, CloudRemovalError, RemovedCopy};
use crate::aws::rds::{Database, Rds, Snapshot, SnapshotId};
use crate::aws::{Deletion, FailureKind, RESTORED_FROM};
use crate::model::{BackupId, CloudBackupCopy, Manifest, SourceName, SystemName};
use crate::policy::{RdsDatabase, RdsSource};
use crate::retention::holding::{LeftAlone, SnapshotQuota};
use crate::retention::reason::KeepReason;
use crate::source::rds_snapshot::{backup_of, is_recorded};
use crate::text::error_chain;

/// Snapshots of one database in one region.
pub(super) struct RdsRegion {
    pub(super) system: SystemName,
    pub(super) source: SourceName,
    pub(super) config: RdsSource,
    pub(super) region: String,
    pub(super) is_in_policy: bool,
}

impl RdsRegion {
    async fn rds(&self) -> Result<Rds, CloudRemovalError> {
        Ok(Rds::connect(&self.config.place.in_region(&self.region)).await?)
    }

    /// Returns why a snapshot is not to be deleted, whatever the rules say. Its tags, its identifier and the manifest
    /// have to agree.
    fn objection(&self, snapshot: &Snapshot, manifest: &Manifest) -> Option<KeepReason> {
        let foreign = |why: &str| Some(KeepReason::Foreign(why.to_owned()));
        let is_recorded = manifest.managed.as_ref().is_some_and(|managed| is_recorded(snapshot, managed));
        match () {
            () if backup_of(snapshot, &self.system, &self.source).as_ref() != Some(&manifest.id) => {
                foreign("its tags and its identifier do not say that it is this backup")
            }
            () if !is_recorded => foreign("it is of another database than the manifest says"),
            () if !snapshot.is_available() && !snapshot.is_lost() || snapshot.is_going() => {
                Some(KeepReason::InProgress(snapshot.status.clone()))
            }
            () => None,
        }
    }

    /// Those of the policy may restore it at any time, as the policy wants; who else was given it may be using it.
    async fn shared_beside_policy(
        &self,
        rds: &Rds,
        id: &SnapshotId,
    ) -> Result<Option<KeepReason>, CloudRemovalError> {
        let mut shared = rds.shared_with(id).await?;
        shared.retain(|account| !self.config.share_with.contains(account));
        Ok((!shared.is_empty()).then(|| {
            KeepReason::InUse(format!(
                "it is shared with {}, which the policy does not name",
                shared.join(", ")
            ))
        }))
    }

    async fn databases(&self, rds: &Rds) -> Result<Vec<Database>, CloudRemovalError> {
        Ok(match &self.config.database {
            RdsDatabase::Instance(_) => rds.instances().await?,
            RdsDatabase::Cluster(_) => rds.clusters().await?,
        })
    }
}

/// Returns the snapshot of the ARN.
fn snapshot_id(copy: &CloudBackupCopy) -> Result<SnapshotId, CloudRemovalError> {
    let what = "snapshot";
    SnapshotId::from_arn(&copy.arn).ok_or_else(|| CloudRemovalError::Arn { arn: copy.arn.clone(), what })
}

/// Returns the manifest that a snapshot belongs to: the one that names it, or that of a copy made later.
fn manifest_of<'m>(
    snapshot: &Snapshot,
    manifests: &[&'m Manifest],
    marked: Option<&BackupId>,
) -> Option<&'m Manifest> {
    let names = |manifest: &&&Manifest| {
        let held = manifest.managed.iter().flat_map(|managed| &managed.held);
        { held }.any(|copy| copy.arn == snapshot.arn)
    };
    let named = manifests.iter().find(names);
    named.or_else(|| manifests.iter().find(|manifest| Some(&manifest.id) == marked)).copied()
}

/// Returns the other kind of database, where a manifest names a snapshot of one.
fn other_kind(own: &RdsDatabase, manifests: &[&Manifest]) -> Option<RdsDatabase> {
    let held = manifests.iter().filter_map(|manifest| manifest.managed.as_ref()).flat_map(|one| &one.held);
    let mut ids = held.filter_map(|copy| SnapshotId::from_arn(&copy.arn));
    let other = match own {
        RdsDatabase::Instance(_) => RdsDatabase::Cluster(String::new()),
        RdsDatabase::Cluster(_) => RdsDatabase::Instance(String::new()),
    };
    let like = |id: SnapshotId| SnapshotId::like(&other, id.as_str()) == id;
    ids.any(like).then_some(other)
}

#[async_trait]
impl CloudRegion for RdsRegion {
    fn source(&self) -> &SourceName {
        &self.source
    }

    fn region(&self) -> &str {
        &self.region
    }

    fn is_in_policy(&self) -> bool {
        self.is_in_policy
    }

    fn would_list(&self, copy: &CloudBackupCopy) -> bool {
        copy.vault.is_none() && snapshot_id(copy).is_ok()
    }

    fn pause(&self) -> Duration {
        self.config.place.poll
    }

    async fn list(&self, manifests: &[&Manifest]) -> Result<RegionListing, CloudRemovalError> {
        // A lost region is not waited for.
        let rds = Rds::to_look(&self.config.place.in_region(&self.region)).await?;
        let own = &self.config.database;
        let mut snapshots = rds.manual_snapshots(own).await?;
        let used = snapshots.len() as u64;
        // Of before a cluster took the place of an instance, or the other way round.
        let mut listing = RegionListing::default();
        if let Some(other) = other_kind(own, manifests) {
            match rds.manual_snapshots(&other).await {
                Ok(found) => snapshots.extend(found),
                // The role is for what the policy has now.
                Err(failure) if failure.kind == FailureKind::Forbidden => {
                    let why = failure.to_string();
                    let like = |copy: &&CloudBackupCopy| {
                        let id = SnapshotId::from_arn(&copy.arn);
                        id.is_some_and(|id| SnapshotId::like(&other, id.as_str()) == id)
                    };
                    let unseen = recorded_copies(manifests, &self.region).filter(like);
                    listing.unseen.extend(unseen.map(|copy| (copy.arn.clone(), why.clone())));
                    let what = match other {
                        RdsDatabase::Instance(_) => "snapshots of instances",
                        RdsDatabase::Cluster(_) => "snapshots of clusters",
                    };
                    listing.left.push(LeftAlone { what: what.to_owned(), why, is_in_policy: false });
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        for snapshot in &snapshots {
            if !snapshot.is_available() && !snapshot.is_lost() {
                listing.copied_from.extend(snapshot.copied_from.clone());
            }
            let marked = backup_of(snapshot, &self.system, &self.source);
            let Some(manifest) = manifest_of(snapshot, manifests, marked.as_ref()) else { continue };
            listing.copies.push(FoundCopy {
                backup: manifest.id.clone(),
                copy: CloudBackupCopy {
                    region: self.region.clone(),
                    arn: snapshot.arn.clone(),
                    vault: None,
                    kms_key: snapshot.kms_key.clone(),
                },
                is_good: snapshot.is_available(),
                bytes: 0,
                stays: self.objection(snapshot, manifest),
                locked_until: None,
            });
        }
        let like = SnapshotId::like(&self.config.database, "");
        // The right to query the quota is optional.
        let quota = rds.snapshot_quota(&like).await.unwrap_or_else(|failure| {
            tracing::info!("{}", error_chain(&failure));
            None
        });
        let most = quota.map_or(SnapshotQuota::USUAL, |(_, most)| most);
        listing.quota = Some(SnapshotQuota { used, most });
        Ok(listing)
    }

    async fn objections(
        &self,
        going: &[RecordedCopy<'_>],
    ) -> Result<BTreeMap<BackupId, KeepReason>, CloudRemovalError> {
        let rds = self.rds().await?;
        let databases = self.databases(&rds).await?;
        let is_restored_from = |arn: &str, database: &Database| {
            database.tags.get(RESTORED_FROM) == Some(arn) && database.status == "creating"
        };
        let mut found = BTreeMap::new();
        for one in going {
            let user = databases.iter().find(|database| is_restored_from(&one.copy.arn, database));
            let objection = match user {
                Some(database) => Some(KeepReason::InUse(format!(
                    "`{}` is being restored from it",
                    database.id.identifier()
                ))),
                None => self.shared_beside_policy(&rds, &snapshot_id(one.copy)?).await?,
            };
            found.extend(objection.map(|objection| (one.manifest.id.clone(), objection)));
        }
        Ok(found)
    }

    async fn remove(&self, going: RecordedCopy<'_>) -> Result<RemovedCopy, CloudRemovalError> {
        let rds = self.rds().await?;
        let id = snapshot_id(going.copy)?;
        let Some(snapshot) = rds.snapshot(&id).await? else { return Ok(RemovedCopy::Gone) };
        if snapshot.is_going() {
            return Ok(RemovedCopy::Begun);
        }
        let objection = match self.objection(&snapshot, going.manifest) {
            None => self.shared_beside_policy(&rds, &id).await?,
            objection => objection,
        };
        if let Some(objection) = objection {
            return Ok(RemovedCopy::Stays(objection));
        }
        Ok(match rds.delete_snapshot(&id).await? {
            Deletion::Gone => RemovedCopy::Gone,
            Deletion::Begun => RemovedCopy::Begun,
            Deletion::Kept => return Err(CloudRemovalError::Kept { arn: going.copy.arn.clone() }),
        })
    }
}
