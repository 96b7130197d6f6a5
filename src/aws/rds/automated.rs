use aws_sdk_rds::types::{self, DbClusterAutomatedBackup, DbInstanceAutomatedBackup};
use chrono::{DateTime, Utc};

use super::super::AwsFailure;
use super::super::convert::{found, time};
use super::Rds;
use crate::policy::RdsDatabase;

/// An automated backup of an instance or a cluster, for point-in-time restores; in its region or, for
/// instances only, replicated to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutomatedBackup {
    /// A restore in another region refers to it.
    pub arn: String,
    pub of: String,
    pub resource_id: String,
    /// The current or former region of the database.
    pub database_region: Option<String>,
    /// `active`, `replicating`, `retained`
    pub status: String,
    pub window: Option<RestoreWindow>,
    pub encrypted: bool,
    pub retention_days: Option<u32>,
}

/// A restore window. Every time in it can be restored except the last: RDS accepts only earlier times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreWindow {
    pub earliest: DateTime<Utc>,
    pub latest: DateTime<Utc>,
}

impl RestoreWindow {
    pub fn holds(&self, time: DateTime<Utc>) -> bool {
        (self.earliest..self.latest).contains(&time)
    }
}

impl Rds {
    /// Lists all automated backups in this region, of instances of any region, or of clusters.
    pub async fn automated_backups(&self, like: &RdsDatabase) -> Result<Vec<AutomatedBackup>, AwsFailure> {
        match like {
            RdsDatabase::Instance(_) => self.backups_of_instances().await,
            RdsDatabase::Cluster(_) => self.backups_of_clusters().await,
        }
    }

    async fn backups_of_instances(&self) -> Result<Vec<AutomatedBackup>, AwsFailure> {
        let asked = self.client.describe_db_instance_automated_backups();
        let mut pages = asked.into_paginator().send();
        let mut known = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(self.region.failed("DescribeDBInstanceAutomatedBackups"));
            let Some(page) = found(page)? else { break };
            known.extend(page.db_instance_automated_backups.into_iter().flatten().filter_map(backup));
        }
        Ok(known)
    }

    /// Lists those of deleted clusters, and possibly of existing ones.
    async fn backups_of_clusters(&self) -> Result<Vec<AutomatedBackup>, AwsFailure> {
        let asked = self.client.describe_db_cluster_automated_backups();
        let mut pages = asked.into_paginator().send();
        let mut known = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(self.region.failed("DescribeDBClusterAutomatedBackups"));
            let Some(page) = found(page)? else { break };
            known.extend(page.db_cluster_automated_backups.into_iter().flatten().filter_map(cluster_backup));
        }
        Ok(known)
    }

    /// Lists the automated backups of databases that have or had that name.
    pub async fn automated_backups_of(&self, of: &RdsDatabase) -> Result<Vec<AutomatedBackup>, AwsFailure> {
        let mut known = self.automated_backups(of).await?;
        known.retain(|backup| backup.of == of.identifier());
        Ok(known)
    }

    /// Starts replicating an instance's automated backups to this region.
    pub async fn replicate_automated_backups(
        &self,
        instance_arn: &str,
        retention_days: u32,
        kms_key: Option<&str>,
    ) -> Result<(), AwsFailure> {
        let call = self.client.start_db_instance_automated_backups_replication();
        let call = call.source_db_instance_arn(instance_arn).set_kms_key_id(kms_key.map(str::to_owned));
        let call = call.backup_retention_period(i32::try_from(retention_days).unwrap_or(i32::MAX));
        call.send().await.map(drop).map_err(self.region.failed("StartDBInstanceAutomatedBackupsReplication"))
    }
}

fn window(window: types::RestoreWindow) -> Option<RestoreWindow> {
    Some(RestoreWindow { earliest: time(window.earliest_time)?, latest: time(window.latest_time)? })
}

fn cluster_backup(backup: DbClusterAutomatedBackup) -> Option<AutomatedBackup> {
    Some(AutomatedBackup {
        arn: backup.db_cluster_automated_backups_arn.unwrap_or_default(),
        of: backup.db_cluster_identifier?,
        // Without it no restore is possible.
        resource_id: backup.db_cluster_resource_id?,
        database_region: backup.region,
        status: backup.status.unwrap_or_default(),
        window: backup.restore_window.and_then(window),
        encrypted: backup.storage_encrypted.unwrap_or(false),
        retention_days: backup.backup_retention_period.and_then(|days| u32::try_from(days).ok()),
    })
}

fn backup(backup: DbInstanceAutomatedBackup) -> Option<AutomatedBackup> {
    Some(AutomatedBackup {
        arn: backup.db_instance_automated_backups_arn?,
        of: backup.db_instance_identifier?,
        resource_id: backup.dbi_resource_id.unwrap_or_default(),
        database_region: backup.region,
        status: backup.status.unwrap_or_default(),
        window: backup.restore_window.and_then(window),
        encrypted: backup.encrypted.unwrap_or(false),
        retention_days: backup.backup_retention_period.and_then(|days| u32::try_from(days).ok()),
    })
}
