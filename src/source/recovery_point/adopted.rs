//! Recovery points that a plan of AWS Backup had made.

use std::collections::BTreeSet;

use super::RecoveryPointError;
use crate::aws::backup::{AwsBackup, RecoveryPoint};
use crate::model::{BackupId, BackupKind, Sha256Hex, SourceName};
use crate::policy::AwsBackupSource;

/// Those of the source's plan that can be restored, newest first, in whichever vault it puts them.
pub(super) async fn points(
    aws: &AwsBackup,
    source: &AwsBackupSource,
) -> Result<Vec<RecoveryPoint>, RecoveryPointError> {
    let Some(named) = &source.plan else { return Ok(vec![]) };
    let plan = aws
        .plan(named)
        .await?
        .ok_or_else(|| RecoveryPointError::NoPlan { plan: named.clone(), region: aws.region().to_owned() })?;
    let vaults: BTreeSet<&String> = plan.vaults.iter().chain([&source.vault]).collect();
    let mut points = Vec::new();
    for vault in vaults {
        points.extend(aws.points(vault, &source.resource).await?);
    }
    points.retain(|point| point.is_whole() && point.plan.as_ref() == Some(&plan.id));
    points.sort_by_key(|point| std::cmp::Reverse(point.created));
    Ok(points)
}

/// The id it has as a backup: the same in every run.
pub(super) fn id(point: &RecoveryPoint, source: &SourceName) -> Option<BackupId> {
    let digest = Sha256Hex::of(point.arn.as_bytes());
    let seed = digest.as_bytes().iter().take(4).fold(0, |seed, byte| seed << 8 | u32::from(*byte));
    Some(BackupId::new(point.created?, source, BackupKind::RecoveryPoint, seed))
}
