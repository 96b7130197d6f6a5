use chrono::{DateTime, Utc};

use super::super::AwsFailure;
use super::super::convert::{found, time};
use super::AwsBackup;
use super::convert::number;

/// A backup vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vault {
    pub name: String,
    pub arn: String,
    pub lock: Option<VaultLock>,
    pub kms_key: Option<String>,
}

/// Vault Lock: recovery points cannot be deleted before their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VaultLock {
    /// A job with a shorter retention fails.
    pub least_days: Option<u64>,
    /// A job with a longer or unlimited retention fails.
    pub most_days: Option<u64>,
    /// From then on the lock itself is immutable: compliance mode. `None` is governance mode, which can be
    /// lifted with the permission.
    pub fixed_from: Option<DateTime<Utc>>,
}

impl VaultLock {
    /// Describes the mode: `compliance`, `compliance from 2026-12-01 on`, `governance`
    pub fn describe(&self, now: DateTime<Utc>) -> String {
        match self.fixed_from {
            Some(from) if from > now => format!("compliance from {} on", from.format("%F")),
            Some(_) => "compliance".to_owned(),
            None => "governance".to_owned(),
        }
    }
}

impl Vault {
    /// Returns the longest retention that the vault accepts, for its recovery points.
    pub fn keep_for(&self) -> Option<u32> {
        let most = self.lock?.most_days?;
        u32::try_from(most).ok()
    }
}

impl AwsBackup {
    pub async fn vault(&self, name: &str) -> Result<Option<Vault>, AwsFailure> {
        let operation = "DescribeBackupVault";
        let asked = self.client.describe_backup_vault().backup_vault_name(name).send().await;
        let Some(answer) = found(asked.map_err(self.region.failed(operation)))? else { return Ok(None) };
        let lock = VaultLock {
            least_days: number(answer.min_retention_days),
            most_days: number(answer.max_retention_days),
            fixed_from: time(answer.lock_date),
        };
        let is_locked = answer.locked.unwrap_or(false) || lock != VaultLock::default();
        Ok(Some(Vault {
            name: name.to_owned(),
            arn: answer.backup_vault_arn.ok_or_else(|| self.region.lacking(operation, "ARN"))?,
            lock: is_locked.then_some(lock),
            kms_key: answer.encryption_key_arn,
        }))
    }
}
