use aws_sdk_rds::types::{CloudwatchLogsExportConfiguration, DatabaseInsightsMode};
use chrono::{DateTime, Utc};

use super::super::AwsFailure;
use super::Rds;
use crate::aws::tags::AwsTags;

/// An instance to create. `None` or empty leaves the AWS default (default security group, single-AZ, no
/// deletion protection), which is rarely what production needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewInstance {
    pub identifier: String,
    pub class: Option<String>,
    pub port: Option<u16>,
    pub subnet_group: Option<String>,
    pub security_groups: Vec<String>,
    pub parameter_group: Option<String>,
    pub option_group: Option<String>,
    pub multi_az: Option<bool>,
    pub publicly_accessible: Option<bool>,
    pub iam_authentication: Option<bool>,
    pub deletion_protection: Option<bool>,
    pub minor_upgrades: Option<bool>,
    pub copy_tags_to_snapshot: Option<bool>,
    pub log_exports: Vec<String>,
    pub storage_kind: Option<String>,
    pub iops: Option<u32>,
    pub throughput: Option<u32>,
    /// Only a point-in-time restore accepts it; otherwise it is a change afterwards.
    pub max_allocated_gib: Option<u64>,
    pub backup_retention_days: Option<u32>,
    pub backup_window: Option<String>,
    pub ca_certificate: Option<String>,
    pub lifecycle_support: Option<String>,
    pub network_type: Option<String>,
    pub dedicated_log_volume: Option<bool>,
    /// Of a single-AZ instance.
    pub zone: Option<String>,
    pub tags: AwsTags,
}

/// The origin of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By identifier, or by ARN if another account shares it.
    Snapshot(String),
    /// Automated backups in the current or former region of the instance: by `DbiResourceId`.
    Automated { resource_id: String, moment: RestoreMoment },
    /// Automated backups replicated to this region, by their ARN.
    Replicated { arn: String, moment: RestoreMoment },
    /// An existing cluster, which keeps its backups itself.
    Live { identifier: String, resource_id: String, moment: RestoreMoment },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreMoment {
    /// The latest restorable time.
    Latest,
    At(DateTime<Utc>),
}

/// Changes to an existing instance. `None` is unchanged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    pub max_allocated_gib: Option<u64>,
    pub maintenance_window: Option<String>,
    /// Interval in seconds, and the role that writes the metrics.
    pub monitoring: Option<(u32, Option<String>)>,
    /// The key, and the retention in days.
    pub performance_insights: Option<(Option<String>, Option<u32>)>,
    /// Database Insights: `advanced`.
    pub insights_mode: Option<String>,
    pub multi_az: Option<bool>,
    pub deletion_protection: Option<bool>,
    pub backup_retention_days: Option<u32>,
    pub backup_window: Option<String>,
    pub iam_authentication: Option<bool>,
    pub security_groups: Vec<String>,
    pub parameter_group: Option<String>,
    pub publicly_accessible: Option<bool>,
    pub minor_upgrades: Option<bool>,
    pub copy_tags_to_snapshot: Option<bool>,
    pub log_exports: Vec<String>,
    pub ca_certificate: Option<String>,
    /// Has Secrets Manager keep the password.
    pub manage_password: bool,
    /// The KMS key of the secret, instead of the account's own.
    pub secret_kms_key: Option<String>,
    /// Its new name. It is unreachable for minutes.
    pub identifier: Option<String>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Rds {
    /// Starts to create an instance. It exists once its state says so.
    pub async fn restore_instance(&self, from: &Origin, new: &NewInstance) -> Result<(), AwsFailure> {
        match from {
            Origin::Snapshot(snapshot) => self.restore_snapshot(snapshot, new).await,
            Origin::Automated { moment, .. }
            | Origin::Replicated { moment, .. }
            | Origin::Live { moment, .. } => self.restore_to_moment(from, *moment, new).await,
        }
    }

    async fn restore_snapshot(&self, snapshot: &str, new: &NewInstance) -> Result<(), AwsFailure> {
        let call = self.client.restore_db_instance_from_db_snapshot();
        let call = call
            .db_snapshot_identifier(snapshot)
            .db_instance_identifier(&new.identifier)
            .set_db_instance_class(new.class.clone())
            .set_port(new.port.map(i32::from))
            .set_db_subnet_group_name(new.subnet_group.clone())
            .set_vpc_security_group_ids(list(&new.security_groups))
            .set_db_parameter_group_name(new.parameter_group.clone())
            .set_option_group_name(new.option_group.clone())
            .set_multi_az(new.multi_az)
            .set_publicly_accessible(new.publicly_accessible)
            .set_enable_iam_database_authentication(new.iam_authentication)
            .set_deletion_protection(new.deletion_protection)
            .set_auto_minor_version_upgrade(new.minor_upgrades)
            .set_copy_tags_to_snapshot(new.copy_tags_to_snapshot)
            .set_enable_cloudwatch_logs_exports(list(&new.log_exports))
            .set_storage_type(new.storage_kind.clone())
            .set_iops(number(new.iops))
            .set_storage_throughput(number(new.throughput))
            .set_backup_retention_period(number(new.backup_retention_days))
            .set_preferred_backup_window(new.backup_window.clone())
            .set_ca_certificate_identifier(new.ca_certificate.clone())
            .set_engine_lifecycle_support(new.lifecycle_support.clone())
            .set_network_type(new.network_type.clone())
            .set_dedicated_log_volume(new.dedicated_log_volume)
            .set_availability_zone(new.zone.clone())
            .set_tags(Some((&new.tags).into()));
        call.send().await.map(drop).map_err(self.region.failed("RestoreDBInstanceFromDBSnapshot"))
    }

    async fn restore_to_moment(
        &self,
        from: &Origin,
        moment: RestoreMoment,
        new: &NewInstance,
    ) -> Result<(), AwsFailure> {
        let call = self.client.restore_db_instance_to_point_in_time();
        let call = match from {
            Origin::Automated { resource_id, .. } => call.source_dbi_resource_id(resource_id),
            Origin::Replicated { arn, .. } => call.source_db_instance_automated_backups_arn(arn),
            Origin::Live { identifier, .. } => call.source_db_instance_identifier(identifier),
            Origin::Snapshot(_) => call,
        };
        let call = match moment {
            RestoreMoment::Latest => call.use_latest_restorable_time(true),
            RestoreMoment::At(time) => {
                call.restore_time(aws_smithy_types::DateTime::from_secs(time.timestamp()))
            }
        };
        let call = call
            .target_db_instance_identifier(&new.identifier)
            .set_db_instance_class(new.class.clone())
            .set_port(new.port.map(i32::from))
            .set_db_subnet_group_name(new.subnet_group.clone())
            .set_vpc_security_group_ids(list(&new.security_groups))
            .set_db_parameter_group_name(new.parameter_group.clone())
            .set_option_group_name(new.option_group.clone())
            .set_multi_az(new.multi_az)
            .set_publicly_accessible(new.publicly_accessible)
            .set_enable_iam_database_authentication(new.iam_authentication)
            .set_deletion_protection(new.deletion_protection)
            .set_auto_minor_version_upgrade(new.minor_upgrades)
            .set_copy_tags_to_snapshot(new.copy_tags_to_snapshot)
            .set_enable_cloudwatch_logs_exports(list(&new.log_exports))
            .set_storage_type(new.storage_kind.clone())
            .set_iops(number(new.iops))
            .set_storage_throughput(number(new.throughput))
            .set_max_allocated_storage(new.max_allocated_gib.and_then(|gib| i32::try_from(gib).ok()))
            .set_backup_retention_period(number(new.backup_retention_days))
            .set_preferred_backup_window(new.backup_window.clone())
            .set_ca_certificate_identifier(new.ca_certificate.clone())
            .set_engine_lifecycle_support(new.lifecycle_support.clone())
            .set_network_type(new.network_type.clone())
            .set_dedicated_log_volume(new.dedicated_log_volume)
            .set_availability_zone(new.zone.clone())
            .set_tags(Some((&new.tags).into()));
        call.send().await.map(drop).map_err(self.region.failed("RestoreDBInstanceToPointInTime"))
    }

    /// Starts to change an instance, immediately and not in its maintenance window.
    pub async fn change_instance(&self, identifier: &str, changes: &Changes) -> Result<(), AwsFailure> {
        let (interval, role) = changes.monitoring.clone().unzip();
        let (key, days) = changes.performance_insights.clone().unzip();
        let exports = list(&changes.log_exports)
            .map(|exports| CloudwatchLogsExportConfiguration::builder().set_enable_log_types(Some(exports)));
        let call = self.client.modify_db_instance();
        let call = call
            .db_instance_identifier(identifier)
            .apply_immediately(true)
            .set_max_allocated_storage(changes.max_allocated_gib.and_then(|gib| i32::try_from(gib).ok()))
            .set_preferred_maintenance_window(changes.maintenance_window.clone())
            .set_monitoring_interval(number(interval))
            .set_monitoring_role_arn(role.flatten())
            .set_enable_performance_insights(changes.performance_insights.as_ref().map(|_| true))
            .set_performance_insights_kms_key_id(key.flatten())
            .set_performance_insights_retention_period(number(days.flatten()))
            .set_database_insights_mode(changes.insights_mode.as_deref().map(DatabaseInsightsMode::from))
            .set_multi_az(changes.multi_az)
            .set_deletion_protection(changes.deletion_protection)
            .set_backup_retention_period(number(changes.backup_retention_days))
            .set_preferred_backup_window(changes.backup_window.clone())
            .set_enable_iam_database_authentication(changes.iam_authentication)
            .set_vpc_security_group_ids(list(&changes.security_groups))
            .set_db_parameter_group_name(changes.parameter_group.clone())
            .set_publicly_accessible(changes.publicly_accessible)
            .set_auto_minor_version_upgrade(changes.minor_upgrades)
            .set_copy_tags_to_snapshot(changes.copy_tags_to_snapshot)
            .set_cloudwatch_logs_export_configuration(exports.map(|exports| exports.build()))
            .set_ca_certificate_identifier(changes.ca_certificate.clone())
            .set_manage_master_user_password(changes.manage_password.then_some(true))
            .set_master_user_secret_kms_key_id(changes.secret_kms_key.clone())
            .set_new_db_instance_identifier(changes.identifier.clone());
        call.send().await.map(drop).map_err(self.region.failed("ModifyDBInstance"))
    }

    pub async fn reboot_instance(&self, identifier: &str) -> Result<(), AwsFailure> {
        let call = self.client.reboot_db_instance().db_instance_identifier(identifier);
        call.send().await.map(drop).map_err(self.region.failed("RebootDBInstance"))
    }
}

pub(super) fn list(values: &[String]) -> Option<Vec<String>> {
    (!values.is_empty()).then(|| values.to_vec())
}

pub(super) fn number(number: Option<u32>) -> Option<i32> {
    number.and_then(|number| i32::try_from(number).ok())
}
