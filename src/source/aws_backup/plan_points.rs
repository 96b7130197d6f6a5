//! Recovery points created by a plan of AWS Backup.

use std::collections::BTreeSet;

use super::error::RecoveryPointError;
use crate::aws::backup::{AwsBackup, RecoveryPoint};
use crate::model::{BackupId, BackupKind, Sha256Hex, SourceName};
use crate::policy::AwsBackupSource;
use crate::text::error_chain;

/// The recovery points of a plan.
#[derive(Debug, Default)]
pub(super) struct PlanPoint {
    /// The restorable ones, newest first.
    pub(super) points: Vec<RecoveryPoint>,
    /// Vaults of the plan that cannot be listed, so that their contents do not count, as text.
    pub(super) unread: Vec<String>,
}

/// Lists those of the source's plan, in all of its vaults. The policy's own vault has to be readable.
pub(super) async fn points(
    aws: &AwsBackup,
    source: &AwsBackupSource,
) -> Result<PlanPoint, RecoveryPointError> {
    let Some(named) = &source.plan else { return Ok(PlanPoint::default()) };
    let plan = aws
        .plan(named)
        .await?
        .ok_or_else(|| RecoveryPointError::NoPlan { plan: named.clone(), region: aws.region().to_owned() })?;
    let vaults: BTreeSet<&String> = plan.vaults.iter().chain([&source.vault]).collect();
    let mut made = PlanPoint::default();
    for vault in vaults {
        match aws.points(vault, &source.resource).await {
            Ok(listed) => made.points.extend(listed),
            Err(failure) if *vault != source.vault => made.unread.push(format!(
                "what plan `{named}` put into vault `{vault}` in {} does not count: {}",
                aws.region(),
                error_chain(&failure)
            )),
            Err(failure) => return Err(failure.into()),
        }
    }
    made.points.retain(|point| point.is_whole() && point.plan.as_ref() == Some(&plan.id));
    made.points.sort_by_key(|point| std::cmp::Reverse(point.created));
    Ok(made)
}

impl PlanPoint {
    /// Returns what is adopted: the newest, and the continuous one, without which there is no point-in-time
    /// restore.
    pub(super) fn newest(&self) -> impl Iterator<Item = &RecoveryPoint> {
        let continuous = self.points.iter().find(|point| point.is_continuous());
        self.points.first().into_iter().chain(continuous)
    }
}

/// Returns its id as a backup: the same in every run.
pub(super) fn id(point: &RecoveryPoint, source: &SourceName) -> Option<BackupId> {
    let digest = Sha256Hex::digest(point.arn.as_bytes());
    let seed = digest.as_bytes().iter().take(4).fold(0, |seed, byte| seed << 8 | u32::from(*byte));
    Some(BackupId::new(point.created?, source, BackupKind::RecoveryPoint, seed))
}
