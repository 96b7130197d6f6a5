//! Verifies that AWS still has the backups in the manifests. Their bytes cannot be read: only a drill proves
//! them.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use crate::aws::backup::AwsBackup;
use crate::aws::rds::{Rds, Snapshot, SnapshotId};
use crate::model::{BackupId, CloudBackupCopy, Manifest, SourceName, SystemName};
use crate::policy::{RdsSource, Source, SourceConfig};
use crate::repository::journal::Tombstones;
use crate::source::rds_snapshot::{backup_of, is_recorded};
use crate::text::error_chain;

/// The time to wait for an answer where the policy sets none.
const USUAL: Duration = Duration::from_secs(15);
/// Concurrent queries about snapshots.
const AT_ONCE: usize = 4;

/// One backup in one region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CloudFinding {
    pub backup: BackupId,
    pub region: String,
    /// ARN of the snapshot or recovery point.
    pub arn: String,
    #[serde(flatten)]
    pub kept: CloudCopy,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum CloudCopy {
    /// It is restorable, as reported by AWS.
    There,
    /// Its state in AWS does not allow a restore.
    Unfit {
        status: String,
    },
    /// It is restorable, but not by every account that the policy shares it with.
    Unshared {
        accounts: Vec<String>,
        /// The command that shares it again.
        command: String,
    },
    /// It exists, and differs from the manifest.
    Altered {
        what: String,
    },
    Gone,
    /// The query failed.
    Unknown {
        reason: String,
    },
}

impl CloudFinding {
    pub fn is_good(&self) -> bool {
        self.kept == CloudCopy::There
    }

    pub fn is_bad(&self) -> bool {
        matches!(self.kept, CloudCopy::Unfit { .. } | CloudCopy::Altered { .. } | CloudCopy::Gone)
    }

    /// Returns what is wrong, as text; `None`: nothing.
    pub fn why(&self) -> Option<String> {
        Some(match &self.kept {
            CloudCopy::There => return None,
            CloudCopy::Unshared { accounts, .. } => format!("it is not shared with {}", accounts.join(", ")),
            CloudCopy::Unfit { status } => format!("it is `{status}`"),
            CloudCopy::Altered { what } => what.clone(),
            CloudCopy::Gone => "AWS does not have it any more".to_owned(),
            CloudCopy::Unknown { reason } => reason.clone(),
        })
    }

    /// Returns what is wrong, with the region and the backup; `None`: nothing.
    pub(crate) fn told(&self) -> Option<String> {
        Some(format!("{}: {}: {}", self.region, self.backup, self.why()?))
    }
}

/// Queries AWS for each of its backups, in each region; one query for all that are in one location. What retention removed
/// is not missed.
pub async fn kept(
    sources: &[Source],
    system: &SystemName,
    manifests: &[Manifest],
    tombstones: &Tombstones,
) -> Vec<CloudFinding> {
    let copies: Vec<(&Manifest, &CloudBackupCopy)> = manifests
        .iter()
        .flat_map(|manifest| {
            manifest.managed.iter().flat_map(|managed| &managed.held).map(move |copy| (manifest, copy))
        })
        .collect();
    let mut places: Vec<(&SourceName, &str, &str)> =
        copies.iter().map(|(of, copy)| place(of, copy)).collect();
    places.sort_unstable();
    places.dedup();
    let asked =
        join_all(places.iter().map(|(source, region, vault)| ask(sources, system, (source, region, vault))))
            .await;
    let known: BTreeMap<_, _> = places.into_iter().zip(asked).collect();
    let of = |(manifest, copy): (&Manifest, &CloudBackupCopy)| {
        let kept = match known.get(&place(manifest, copy)) {
            Some(Ok(states)) => {
                states.get(&copy.arn).map_or(CloudCopy::Gone, |standing| standing.beside(manifest, copy))
            }
            Some(Err(reason)) => CloudCopy::Unknown { reason: reason.clone() },
            None => CloudCopy::Unknown { reason: "it was not asked for".to_owned() },
        };
        CloudFinding { backup: manifest.id.clone(), region: copy.region.clone(), arn: copy.arn.clone(), kept }
    };
    let is_missed = |finding: &CloudFinding| {
        finding.kept != CloudCopy::Gone || !tombstones.has_cloud_copy(&finding.backup, &finding.arn)
    };
    copies.into_iter().map(of).filter(is_missed).collect()
}

fn place<'m>(manifest: &'m Manifest, copy: &'m CloudBackupCopy) -> (&'m SourceName, &'m str, &'m str) {
    (&manifest.source, &copy.region, copy.vault.as_deref().unwrap_or_default())
}

/// The state of an AWS-managed backup, as reported by AWS.
struct CloudPresence {
    kept: CloudCopy,
    /// For a snapshot: the backup in its tags, and RDS's description.
    marks: Option<(Option<BackupId>, Snapshot)>,
}

impl CloudPresence {
    /// Compares it with the manifest. Without its tags drctl neither resumes nor deletes it; with another KMS
    /// key, those who may use the named one cannot restore it.
    fn beside(&self, manifest: &Manifest, copy: &CloudBackupCopy) -> CloudCopy {
        let is_there = matches!(self.kept, CloudCopy::There | CloudCopy::Unshared { .. });
        let Some((backup, snapshot)) = self.marks.as_ref().filter(|_| is_there) else {
            return self.kept.clone();
        };
        let (key, of) = (&snapshot.kms_key, snapshot.resource_id.as_deref().unwrap_or("unknown"));
        let is_recorded = |managed| is_recorded(snapshot, managed);
        let what = match () {
            () if backup.as_ref() != Some(&manifest.id) => {
                "its tags do not say that it is this backup".to_owned()
            }
            () if !manifest.managed.as_ref().is_none_or(is_recorded) => {
                format!("it is of another database ({of}), or a copy of something else")
            }
            () if *key != copy.kms_key => {
                let [has, had] = [key, &copy.kms_key].map(|key| key.as_deref().unwrap_or("none"));
                format!("its key is {has}, and was {had}")
            }
            () => return self.kept.clone(),
        };
        CloudCopy::Altered { what }
    }
}

/// Returns everything of the source by ARN, or why the query failed, as text.
async fn ask(
    sources: &[Source],
    system: &SystemName,
    (source, region, vault): (&SourceName, &str, &str),
) -> Result<BTreeMap<String, CloudPresence>, String> {
    let config = sources.iter().find(|known| known.name == *source).map(|source| &source.config);
    let patience = match config {
        Some(SourceConfig::AwsBackup(config)) => config.place.patience,
        Some(SourceConfig::Rds(config)) => config.place.patience,
        _ => USUAL,
    };
    // A lost region is not waited for; many snapshots may be queried for their sharing.
    let within = patience * 4;
    let all = tokio::time::timeout(within, all(config, system, (source, region, vault))).await;
    all.unwrap_or_else(|_| Err(format!("no answer came in {}", humantime::format_duration(within))))
}

async fn all(
    config: Option<&SourceConfig>,
    system: &SystemName,
    (source, region, vault): (&SourceName, &str, &str),
) -> Result<BTreeMap<String, CloudPresence>, String> {
    let state =
        |is_fit: bool, status: String| if is_fit { CloudCopy::There } else { CloudCopy::Unfit { status } };
    match config {
        Some(SourceConfig::AwsBackup(config)) => {
            let aws = AwsBackup::to_look(&config.place.in_region(region))
                .await
                .map_err(|error| error_chain(&error))?;
            let points = aws.points(vault, &config.resource).await.map_err(|error| error_chain(&error))?;
            let of = |point: crate::aws::backup::RecoveryPoint| {
                let kept = state(point.is_whole(), point.status.clone());
                (point.arn, CloudPresence { kept, marks: None })
            };
            Ok(points.into_iter().map(of).collect())
        }
        Some(SourceConfig::Rds(config)) => {
            let rds =
                Rds::to_look(&config.place.in_region(region)).await.map_err(|error| error_chain(&error))?;
            let snapshots =
                rds.manual_snapshots(&config.database).await.map_err(|error| error_chain(&error))?;
            let of = async |snapshot: Snapshot| {
                let backup = backup_of(&snapshot, system, source);
                let mut kept = state(snapshot.is_available(), snapshot.status.clone());
                if kept == CloudCopy::There && backup.is_some() {
                    kept = sharing(&rds, config, &snapshot.id).await;
                }
                (snapshot.arn.clone(), CloudPresence { kept, marks: Some((backup, snapshot)) })
            };
            Ok(stream::iter(snapshots).map(of).buffer_unordered(AT_ONCE).collect().await)
        }
        _ => Err(format!("source `{source}` is no longer in the policy")),
    }
}

/// Returns whether the accounts of the policy may restore it. Only those of the database's own region are
/// shared.
async fn sharing(rds: &Rds, config: &RdsSource, id: &SnapshotId) -> CloudCopy {
    if config.share_with.is_empty() || rds.region() != config.place.region {
        return CloudCopy::There;
    }
    let shared = match rds.shared_with(id).await {
        Ok(shared) => shared,
        Err(failure) => {
            let reason =
                format!("it is there, and with whom it is shared is not known: {}", error_chain(&failure));
            return CloudCopy::Unknown { reason };
        }
    };
    let accounts: Vec<String> =
        config.share_with.iter().filter(|account| !shared.contains(account)).cloned().collect();
    if accounts.is_empty() {
        return CloudCopy::There;
    }
    let kind = match id {
        SnapshotId::Instance(_) => "db-snapshot",
        SnapshotId::Cluster(_) => "db-cluster-snapshot",
    };
    let command = format!(
        "aws rds modify-{kind}-attribute --region {} --{kind}-identifier {} --attribute-name restore --values-to-add {}",
        rds.region(),
        id.as_str(),
        accounts.join(" ")
    );
    CloudCopy::Unshared { accounts, command }
}
