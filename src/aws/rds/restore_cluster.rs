//! Restores of clusters, and creation of the instances that Aurora clusters need.

use aws_sdk_rds::types::{
    CloudwatchLogsExportConfiguration, DatabaseInsightsMode, ServerlessV2ScalingConfiguration,
};

use super::super::AwsFailure;
use super::restore::{list, number};
use super::{Changes, NewInstance, Origin, Rds, RestoreMoment};
use crate::aws::tags::AwsTags;

/// The settings of a new cluster in addition to those of an instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewCluster {
    pub engine: String,
    /// Only a restore of a snapshot accepts it.
    pub engine_version: Option<String>,
    /// A key of the destination region.
    pub kms_key: Option<String>,
    /// Aurora Serverless: minimum and maximum capacity units.
    pub capacity: Option<(f64, f64)>,
    /// With it: the idle seconds after which it scales to zero.
    pub auto_pause_seconds: Option<i32>,
}

/// An instance of an Aurora cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewMember {
    pub identifier: String,
    /// The name of the instance that it replaces.
    pub replaced_member: String,
    pub class: String,
    pub promotion_tier: Option<i32>,
    pub publicly_accessible: Option<bool>,
    pub parameter_group: Option<String>,
    pub minor_upgrades: Option<bool>,
    pub ca_certificate: Option<String>,
    pub zone: Option<String>,
}

impl Rds {
    /// Starts to create a cluster. An Aurora cluster has no instance yet; `new.parameter_group` is one for
    /// clusters.
    pub async fn restore_cluster(
        &self,
        from: &Origin,
        new: &NewInstance,
        cluster: &NewCluster,
    ) -> Result<(), AwsFailure> {
        match from {
            Origin::Snapshot(snapshot) => self.restore_cluster_snapshot(snapshot, new, cluster).await,
            Origin::Automated { moment, .. }
            | Origin::Replicated { moment, .. }
            | Origin::Live { moment, .. } => {
                self.restore_cluster_to_moment(from, *moment, new, cluster).await
            }
        }
    }

    async fn restore_cluster_snapshot(
        &self,
        snapshot: &str,
        new: &NewInstance,
        cluster: &NewCluster,
    ) -> Result<(), AwsFailure> {
        let call = self.client.restore_db_cluster_from_snapshot();
        let call = call
            .snapshot_identifier(snapshot)
            .engine(&cluster.engine)
            .set_engine_version(cluster.engine_version.clone())
            .db_cluster_identifier(&new.identifier)
            .set_db_cluster_instance_class(new.class.clone())
            .set_port(new.port.map(i32::from))
            .set_db_subnet_group_name(new.subnet_group.clone())
            .set_vpc_security_group_ids(list(&new.security_groups))
            .set_db_cluster_parameter_group_name(new.parameter_group.clone())
            .set_publicly_accessible(new.publicly_accessible)
            .set_enable_iam_database_authentication(new.iam_authentication)
            .set_deletion_protection(new.deletion_protection)
            .set_copy_tags_to_snapshot(new.copy_tags_to_snapshot)
            .set_enable_cloudwatch_logs_exports(list(&new.log_exports))
            .set_storage_type(new.storage_kind.clone())
            .set_iops(number(new.iops))
            .set_backup_retention_period(number(new.backup_retention_days))
            .set_preferred_backup_window(new.backup_window.clone())
            .set_engine_lifecycle_support(new.lifecycle_support.clone())
            .set_network_type(new.network_type.clone())
            .set_kms_key_id(cluster.kms_key.clone())
            .set_serverless_v2_scaling_configuration(cluster.scaling())
            .set_tags(Some((&new.tags).into()));
        call.send().await.map(drop).map_err(self.region.failed("RestoreDBClusterFromSnapshot"))
    }

    async fn restore_cluster_to_moment(
        &self,
        from: &Origin,
        moment: RestoreMoment,
        new: &NewInstance,
        cluster: &NewCluster,
    ) -> Result<(), AwsFailure> {
        let call = self.client.restore_db_cluster_to_point_in_time();
        let call = match from {
            Origin::Live { identifier, .. } => call.source_db_cluster_identifier(identifier),
            Origin::Automated { resource_id, .. } => call.source_db_cluster_resource_id(resource_id),
            Origin::Snapshot(_) | Origin::Replicated { .. } => call,
        };
        let call = match moment {
            RestoreMoment::Latest => call.use_latest_restorable_time(true),
            RestoreMoment::At(time) => {
                call.restore_to_time(aws_smithy_types::DateTime::from_secs(time.timestamp()))
            }
        };
        let call = call
            // A clone would share its volume with its source.
            .restore_type("full-copy")
            .db_cluster_identifier(&new.identifier)
            .set_db_cluster_instance_class(new.class.clone())
            .set_port(new.port.map(i32::from))
            .set_db_subnet_group_name(new.subnet_group.clone())
            .set_vpc_security_group_ids(list(&new.security_groups))
            .set_db_cluster_parameter_group_name(new.parameter_group.clone())
            .set_publicly_accessible(new.publicly_accessible)
            .set_enable_iam_database_authentication(new.iam_authentication)
            .set_deletion_protection(new.deletion_protection)
            .set_copy_tags_to_snapshot(new.copy_tags_to_snapshot)
            .set_enable_cloudwatch_logs_exports(list(&new.log_exports))
            .set_storage_type(new.storage_kind.clone())
            .set_iops(number(new.iops))
            .set_backup_retention_period(number(new.backup_retention_days))
            .set_preferred_backup_window(new.backup_window.clone())
            .set_engine_lifecycle_support(new.lifecycle_support.clone())
            .set_network_type(new.network_type.clone())
            .set_kms_key_id(cluster.kms_key.clone())
            .set_serverless_v2_scaling_configuration(cluster.scaling())
            .set_tags(Some((&new.tags).into()));
        call.send().await.map(drop).map_err(self.region.failed("RestoreDBClusterToPointInTime"))
    }

    /// Starts to create an instance of an Aurora cluster. The first one is the writer.
    pub async fn create_member(
        &self,
        cluster: &str,
        engine: &str,
        member: &NewMember,
        tags: &AwsTags,
    ) -> Result<(), AwsFailure> {
        let call = self.client.create_db_instance();
        let call = call
            .db_cluster_identifier(cluster)
            .engine(engine)
            .db_instance_identifier(&member.identifier)
            .db_instance_class(&member.class)
            .set_promotion_tier(member.promotion_tier)
            .set_publicly_accessible(member.publicly_accessible)
            .set_db_parameter_group_name(member.parameter_group.clone())
            .set_auto_minor_version_upgrade(member.minor_upgrades)
            .set_ca_certificate_identifier(member.ca_certificate.clone())
            .set_availability_zone(member.zone.clone())
            .set_tags(Some(tags.into()));
        call.send().await.map(drop).map_err(self.region.failed("CreateDBInstance"))
    }

    /// Changes a cluster like [`Rds::change_instance`], as far as clusters have the settings.
    pub async fn change_cluster(&self, identifier: &str, changes: &Changes) -> Result<(), AwsFailure> {
        let (interval, role) = changes.monitoring.clone().unzip();
        let (key, days) = changes.performance_insights.clone().unzip();
        let exports = list(&changes.log_exports)
            .map(|exports| CloudwatchLogsExportConfiguration::builder().set_enable_log_types(Some(exports)));
        let call = self.client.modify_db_cluster();
        let call = call
            .db_cluster_identifier(identifier)
            .apply_immediately(true)
            .set_preferred_maintenance_window(changes.maintenance_window.clone())
            .set_monitoring_interval(number(interval))
            .set_monitoring_role_arn(role.flatten())
            .set_enable_performance_insights(changes.performance_insights.as_ref().map(|_| true))
            .set_performance_insights_kms_key_id(key.flatten())
            .set_performance_insights_retention_period(number(days.flatten()))
            .set_database_insights_mode(changes.insights_mode.as_deref().map(DatabaseInsightsMode::from))
            .set_auto_minor_version_upgrade(changes.minor_upgrades)
            .set_deletion_protection(changes.deletion_protection)
            .set_backup_retention_period(number(changes.backup_retention_days))
            .set_preferred_backup_window(changes.backup_window.clone())
            .set_enable_iam_database_authentication(changes.iam_authentication)
            .set_vpc_security_group_ids(list(&changes.security_groups))
            .set_db_cluster_parameter_group_name(changes.parameter_group.clone())
            .set_copy_tags_to_snapshot(changes.copy_tags_to_snapshot)
            .set_cloudwatch_logs_export_configuration(exports.map(|exports| exports.build()))
            .set_manage_master_user_password(changes.manage_password.then_some(true))
            .set_master_user_secret_kms_key_id(changes.secret_kms_key.clone())
            .set_new_db_cluster_identifier(changes.identifier.clone());
        call.send().await.map(drop).map_err(self.region.failed("ModifyDBCluster"))
    }
}

impl NewCluster {
    fn scaling(&self) -> Option<ServerlessV2ScalingConfiguration> {
        let (least, most) = self.capacity?;
        let scaling = ServerlessV2ScalingConfiguration::builder().min_capacity(least).max_capacity(most);
        // RDS accepts it only with a minimum capacity of zero.
        let pauses = self.auto_pause_seconds.filter(|_| least == 0.0);
        Some(scaling.set_seconds_until_auto_pause(pauses).build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_shrink_to_nothing_is_told_after_how_long() {
        let cluster = |least| NewCluster {
            capacity: Some((least, 8.0)),
            auto_pause_seconds: Some(600),
            ..NewCluster::default()
        };
        let pauses = |least| cluster(least).scaling().and_then(|scaling| scaling.seconds_until_auto_pause());
        assert_eq!((pauses(0.0), pauses(0.5)), (Some(600), None));
    }
}
