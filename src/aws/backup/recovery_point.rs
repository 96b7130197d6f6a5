use std::collections::BTreeMap;

use aws_sdk_backup::types::RecoveryPointByBackupVault;
use chrono::{DateTime, Utc};

use super::super::convert::{found, time};
use super::super::{AwsFailure, Deletion, FailureKind};
use super::AwsBackup;
use super::convert::{message, number};

/// A recovery point as AWS Backup describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryPoint {
    pub arn: String,
    pub vault: String,
    pub resource: String,
    /// `RDS`, `EFS`, `S3`, …
    pub resource_type: String,
    /// As in AWS's API: `COMPLETED`.
    pub status: String,
    pub message: Option<String>,
    /// When the backup began; of a copy, when the original did.
    pub created: Option<DateTime<Utc>>,
    pub size: Option<u64>,
    pub encrypted: bool,
    pub kms_key: Option<String>,
    /// The plan that created it; `None`: on demand.
    pub plan: Option<String>,
    /// When AWS deletes it.
    pub deleted_at: Option<DateTime<Utc>>,
}

impl RecoveryPoint {
    /// Returns whether it can be restored. Older versions of the API report one word, newer ones the other.
    pub fn is_whole(&self) -> bool {
        matches!(self.status.as_str(), "COMPLETED" | "AVAILABLE")
    }

    /// Returns whether it can be restored to any time in its window: such points belong to a plan, and AWS
    /// extends them and cannot copy them. Only the ARN shows it.
    pub fn is_continuous(&self) -> bool {
        is_continuous(&self.arn)
    }

    /// Returns whether it will never be complete. `PARTIAL` lacks some of its parts.
    pub fn is_lost(&self) -> bool {
        matches!(self.status.as_str(), "PARTIAL" | "EXPIRED" | "DELETING")
    }
}

/// Returns whether the ARN is that of a continuous recovery point.
pub fn is_continuous(arn: &str) -> bool {
    arn.splitn(6, ':').nth(5).is_some_and(|name| name.starts_with("recovery-point:continuous:"))
}

impl AwsBackup {
    /// Lists the recovery points of a resource in a vault, in no order.
    pub async fn points(&self, vault: &str, resource: &str) -> Result<Vec<RecoveryPoint>, AwsFailure> {
        let asked = self.client.list_recovery_points_by_backup_vault();
        let mut pages = asked.backup_vault_name(vault).by_resource_arn(resource).into_paginator().send();
        let mut points = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(self.region.failed("ListRecoveryPointsByBackupVault"))?;
            points.extend(
                page.recovery_points
                    .into_iter()
                    .flatten()
                    .filter_map(|point| to_recovery_point(point, vault)),
            );
        }
        Ok(points)
    }

    pub async fn point(&self, vault: &str, arn: &str) -> Result<Option<RecoveryPoint>, AwsFailure> {
        let operation = "DescribeRecoveryPoint";
        let asked =
            self.client.describe_recovery_point().backup_vault_name(vault).recovery_point_arn(arn).send();
        let Some(answer) = found(asked.await.map_err(self.region.failed(operation)))? else {
            return Ok(None);
        };
        Ok(Some(RecoveryPoint {
            arn: arn.to_owned(),
            vault: vault.to_owned(),
            resource: answer.resource_arn.ok_or_else(|| self.region.lacking(operation, "resource"))?,
            resource_type: answer.resource_type.unwrap_or_default(),
            status: answer.status.map(|status| status.as_str().to_owned()).unwrap_or_default(),
            message: message(answer.status_message),
            created: time(answer.creation_date),
            size: number(answer.backup_size_in_bytes),
            encrypted: answer.is_encrypted,
            kms_key: answer.encryption_key_arn,
            plan: answer.created_by.and_then(|creator| creator.backup_plan_id),
            deleted_at: time(answer.calculated_lifecycle.and_then(|lifecycle| lifecycle.delete_at)),
        }))
    }

    /// Returns the initial metadata for a restore of the recovery point.
    pub async fn restore_metadata(
        &self,
        vault: &str,
        arn: &str,
    ) -> Result<BTreeMap<String, String>, AwsFailure> {
        let asked = self.client.get_recovery_point_restore_metadata();
        let asked = asked.backup_vault_name(vault).recovery_point_arn(arn).send().await;
        let answer = asked.map_err(self.region.failed("GetRecoveryPointRestoreMetadata"))?;
        Ok(answer.restore_metadata.into_iter().flatten().collect())
    }

    /// Deletes a recovery point of drctl and queries it afterwards: without the permission AWS reports success and
    /// keeps it. Refuses one without readable tags, whose owner is unknown, and a continuous one, without which there
    /// are no continuous backups any more.
    pub async fn delete_point(&self, vault: &str, arn: &str) -> Result<Deletion, AwsFailure> {
        let operation = "DeleteRecoveryPoint";
        match self.point(vault, arn).await? {
            None => return Ok(Deletion::Gone),
            Some(point) if point.status == "DELETING" => return Ok(Deletion::Begun),
            Some(_) => {}
        }
        let why_not = match found(self.tags(arn).await)?.flatten() {
            _ if is_continuous(arn) => Some("is continuous"),
            Some(tags) if tags.is_managed() => None,
            Some(_) => Some("does not carry drctl's tag"),
            None => Some("has no tags that drctl can read"),
        };
        if let Some(why_not) = why_not {
            let detail = format!("{arn} is not deleted: it {why_not}");
            return Err(self.region.refused(operation, FailureKind::Forbidden, detail));
        }
        let asked =
            self.client.delete_recovery_point().backup_vault_name(vault).recovery_point_arn(arn).send();
        found(asked.await.map_err(self.region.failed(operation)))?;
        Ok(match self.point(vault, arn).await? {
            None => Deletion::Gone,
            Some(point) if point.status == "DELETING" => Deletion::Begun,
            Some(_) => Deletion::Kept,
        })
    }
}

fn to_recovery_point(point: RecoveryPointByBackupVault, vault: &str) -> Option<RecoveryPoint> {
    Some(RecoveryPoint {
        arn: point.recovery_point_arn?,
        vault: vault.to_owned(),
        resource: point.resource_arn?,
        resource_type: point.resource_type.unwrap_or_default(),
        status: point.status.map(|status| status.as_str().to_owned()).unwrap_or_default(),
        message: message(point.status_message),
        created: time(point.creation_date),
        size: number(point.backup_size_in_bytes),
        encrypted: point.is_encrypted,
        kms_key: point.encryption_key_arn,
        plan: point.created_by.and_then(|creator| creator.backup_plan_id),
        deleted_at: time(point.calculated_lifecycle.and_then(|lifecycle| lifecycle.delete_at)),
    })
}
