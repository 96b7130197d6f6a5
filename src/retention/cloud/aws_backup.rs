use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::listing::{FoundCopy, RecordedCopy, RegionListing};
use super::region::{CloudRegion, CloudRemovalError, RemovedCopy};
use crate::aws::backup::{AwsBackup, RecoveryPoint, Vault, has_known_tags};
use crate::aws::{AwsFailure, Deletion, FailureKind};
use crate::model::{BackupId, CloudBackupCopy, Manifest, SourceName, SystemName};
use crate::policy::AwsBackupSource;
use crate::retention::holding::LeftAlone;
use crate::retention::reason::KeepReason;

/// Recovery points of one resource in one region, in the vaults that the manifests name.
pub(super) struct VaultRegion {
    pub(super) system: SystemName,
    pub(super) source: SourceName,
    pub(super) config: AwsBackupSource,
    pub(super) region: String,
    pub(super) is_in_policy: bool,
}

impl VaultRegion {
    /// Returns whether the policy has backups in a vault.
    fn has_in_policy(&self, vault: &str) -> bool {
        let is_own = self.config.vault == vault && self.config.place.region == self.region;
        is_own || self.config.copies.iter().any(|copy| copy.vault == vault && copy.region == self.region)
    }

    async fn aws(&self) -> Result<AwsBackup, CloudRemovalError> {
        Ok(AwsBackup::connect(&self.config.place.in_region(&self.region)).await?)
    }

    /// Returns why a recovery point is not to be deleted, as far as it shows without its tags.
    fn objection(point: &RecoveryPoint, manifest: &Manifest) -> Option<KeepReason> {
        let foreign = |why: String| Some(KeepReason::Foreign(why));
        let plan =
            manifest.managed.as_ref().and_then(|managed| managed.plan.as_ref()).or(point.plan.as_ref());
        let resource = manifest.managed.as_ref().map(|managed| &managed.resource);
        match plan {
            _ if point.is_continuous() => {
                foreign("it is continuous, and without it there are no continuous backups".to_owned())
            }
            Some(plan) => foreign(format!("backup plan {plan} made it, and its lifecycle removes it")),
            None if !has_known_tags(&point.arn) => {
                foreign("its tags are with a service that drctl does not query".to_owned())
            }
            None if resource != Some(&point.resource) => {
                foreign("it is of another resource than the manifest says".to_owned())
            }
            None if !point.is_whole() && !matches!(point.status.as_str(), "PARTIAL" | "EXPIRED") => {
                Some(KeepReason::InProgress(point.status.clone()))
            }
            None => None,
        }
    }

    /// Returns why not, by its tags.
    async fn marked_otherwise(
        &self,
        aws: &AwsBackup,
        arn: &str,
        manifest: &Manifest,
    ) -> Result<Option<KeepReason>, CloudRemovalError> {
        let tags = match aws.tags(arn).await {
            Ok(tags) => tags,
            Err(failure) if failure.kind == FailureKind::NotFound => None,
            Err(failure) => return Err(failure.into()),
        };
        let backup = tags.and_then(|tags| tags.backup(&self.system, &self.source));
        let is_ours = backup.as_ref() == Some(&manifest.id);
        Ok((!is_ours).then(|| KeepReason::Foreign("its tags do not say that it is this backup".to_owned())))
    }
}

/// Returns what the manifests say is in a region.
pub(in crate::retention) fn recorded_copies<'m>(
    manifests: &'m [&Manifest],
    region: &'m str,
) -> impl Iterator<Item = &'m CloudBackupCopy> {
    let held = manifests.iter().filter_map(|manifest| manifest.managed.as_ref()).flat_map(|one| &one.held);
    held.filter(move |copy| copy.region == region)
}

/// Until when a locked vault keeps a recovery point, as far as AWS says it.
fn locked_until(vault: Option<&Vault>, point: &RecoveryPoint) -> Option<DateTime<Utc>> {
    vault.and_then(|vault| vault.lock).and(point.deleted_at)
}

/// Returns whether AWS keeps it for as long as a lock, a legal hold or the least retention of its vault says.
fn is_protection(failure: &AwsFailure, vault: Option<&Vault>) -> bool {
    let detail = failure.detail.to_ascii_lowercase();
    // It names the caller, whose role may be called after any of these.
    if detail.contains("not authorized to perform") {
        return false;
    }
    let says = ["lock", "legal hold", "retention"].iter().any(|word| detail.contains(word));
    let refuses = matches!(failure.kind, FailureKind::State | FailureKind::Invalid | FailureKind::Forbidden);
    let is_locked = vault.is_some_and(|vault| vault.lock.is_some());
    refuses && (says || is_locked && failure.kind != FailureKind::Forbidden)
}

fn vault_of(copy: &CloudBackupCopy) -> Result<&str, CloudRemovalError> {
    let what = "recovery point in a vault";
    copy.vault.as_deref().ok_or_else(|| CloudRemovalError::Arn { arn: copy.arn.clone(), what })
}

#[async_trait]
impl CloudRegion for VaultRegion {
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
        copy.vault.is_some()
    }

    fn pause(&self) -> Duration {
        self.config.place.poll
    }

    async fn list(&self, manifests: &[&Manifest]) -> Result<RegionListing, CloudRemovalError> {
        // A lost region is not waited for.
        let aws = AwsBackup::to_look(&self.config.place.in_region(&self.region)).await?;
        let mut recorded: BTreeMap<&str, &Manifest> = BTreeMap::new();
        let mut places: BTreeSet<(&str, &str)> = BTreeSet::new();
        for manifest in manifests {
            let Some(managed) = &manifest.managed else { continue };
            for copy in managed.held.iter().filter(|copy| copy.region == self.region) {
                recorded.insert(&copy.arn, manifest);
                places.extend(copy.vault.as_deref().map(|vault| (vault, managed.resource.as_str())));
            }
        }
        let mut listing = RegionListing::default();
        let mut vaults: BTreeMap<&str, Option<Vault>> = BTreeMap::new();
        let mut denied: BTreeMap<&str, String> = BTreeMap::new();
        for (name, resource) in places {
            if denied.contains_key(name) {
                continue;
            }
            if !vaults.contains_key(name) {
                match aws.vault(name).await {
                    Ok(vault) => vaults.insert(name, vault),
                    // AWS answers so for one that is gone, too.
                    Err(failure) if failure.kind == FailureKind::Forbidden => {
                        denied.insert(name, failure.to_string());
                        continue;
                    }
                    Err(failure) => return Err(failure.into()),
                };
            }
            // A vault is deleted once it is empty.
            let Some(vault) = vaults.get(name).and_then(Option::as_ref) else { continue };
            let points = match aws.points(name, resource).await {
                Ok(points) => points,
                Err(failure) if failure.kind == FailureKind::Forbidden => {
                    denied.insert(name, failure.to_string());
                    continue;
                }
                Err(failure) => return Err(failure.into()),
            };
            for point in points {
                let Some(manifest) = recorded.get(point.arn.as_str()) else { continue };
                listing.copies.push(FoundCopy {
                    backup: manifest.id.clone(),
                    is_good: point.is_whole(),
                    bytes: point.size.unwrap_or(0),
                    stays: Self::objection(&point, manifest),
                    locked_until: locked_until(Some(vault), &point),
                    copy: CloudBackupCopy {
                        region: self.region.clone(),
                        arn: point.arn,
                        vault: Some(point.vault),
                        kms_key: point.kms_key,
                    },
                });
            }
        }
        for copy in recorded_copies(manifests, &self.region) {
            let why = copy.vault.as_deref().and_then(|vault| denied.get(vault));
            listing.unseen.extend(why.map(|why| (copy.arn.clone(), why.clone())));
        }
        listing.left.extend(denied.into_iter().map(|(name, why)| LeftAlone {
            what: format!("vault {name}"),
            why,
            is_in_policy: self.has_in_policy(name),
        }));
        Ok(listing)
    }

    async fn objections(
        &self,
        going: &[RecordedCopy<'_>],
    ) -> Result<BTreeMap<BackupId, KeepReason>, CloudRemovalError> {
        let aws = self.aws().await?;
        let used = aws.points_in_use().await?;
        let mut found = BTreeMap::new();
        for one in going {
            let objection = match used.get(&one.copy.arn) {
                Some(how) => Some(KeepReason::InUse((*how).to_owned())),
                None => self.marked_otherwise(&aws, &one.copy.arn, one.manifest).await?,
            };
            found.extend(objection.map(|objection| (one.manifest.id.clone(), objection)));
        }
        Ok(found)
    }

    async fn remove(&self, going: RecordedCopy<'_>) -> Result<RemovedCopy, CloudRemovalError> {
        let aws = self.aws().await?;
        let (name, arn) = (vault_of(going.copy)?, going.copy.arn.as_str());
        let Some(point) = aws.point(name, arn).await? else { return Ok(RemovedCopy::Gone) };
        if point.status == "DELETING" {
            return Ok(RemovedCopy::Begun);
        }
        let objection = match Self::objection(&point, going.manifest) {
            None => self.marked_otherwise(&aws, arn, going.manifest).await?,
            objection => objection,
        };
        if let Some(objection) = objection {
            return Ok(RemovedCopy::Stays(objection));
        }
        let failure = match aws.delete_point(name, arn).await {
            Ok(Deletion::Gone) => return Ok(RemovedCopy::Gone),
            Ok(Deletion::Begun) => return Ok(RemovedCopy::Begun),
            Ok(Deletion::Kept) => return Err(CloudRemovalError::Kept { arn: arn.to_owned() }),
            Err(failure) => failure,
        };
        let vault = aws.vault(name).await.unwrap_or_default();
        match is_protection(&failure, vault.as_ref()) {
            true => Ok(RemovedCopy::Locked(locked_until(vault.as_ref(), &point))),
            false => Err(failure.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::backup::VaultLock;

    #[test]
    fn what_a_lock_or_a_legal_hold_keeps_is_no_error_and_a_missing_permission_is() {
        let failure = |kind, detail: &str| AwsFailure {
            operation: "DeleteRecoveryPoint",
            region: "us-east-1".to_owned(),
            kind,
            code: None,
            detail: detail.to_owned(),
        };
        let locked = Vault {
            name: "daily".to_owned(),
            arn: "arn".to_owned(),
            lock: Some(VaultLock::default()),
            kms_key: None,
        };
        let hold =
            failure(FailureKind::State, "Recovery point is under Legal Hold (InvalidRequestException)");
        assert!(is_protection(&hold, None));
        let state = failure(FailureKind::State, "cannot be deleted now");
        assert!(!is_protection(&state, None) && is_protection(&state, Some(&locked)));
        let denied = failure(FailureKind::Forbidden, "not authorized (AccessDeniedException)");
        assert!(!is_protection(&denied, Some(&locked)));
        let throttled = failure(FailureKind::Throttled, "Rate exceeded");
        assert!(!is_protection(&throttled, Some(&locked)));
    }
}
