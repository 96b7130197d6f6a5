use aws_sdk_rds::types::DbInstance;

use super::super::AwsFailure;
use super::super::convert::{found, time};
use super::convert::{gib, percent};
use super::{Database, DatabaseEndpoint, Hydration, Rds};
use crate::aws::tags::AwsTags;
use crate::model::{
    FeatureRole, Monitoring, ParameterGroup, PerformanceInsights, RestoreProfile, StorageProfile,
};
use crate::policy::RdsDatabase;

impl Rds {
    pub(super) async fn instance(&self, identifier: &str) -> Result<Option<Database>, AwsFailure> {
        let asked = self.client.describe_db_instances().db_instance_identifier(identifier).send().await;
        let answer = found(asked.map_err(self.region.failed("DescribeDBInstances")))?;
        let mut list = answer.and_then(|answer| answer.db_instances).unwrap_or_default();
        list.retain(|instance| instance.db_instance_identifier.as_deref() == Some(identifier));
        let Some(instance) = list.pop() else { return Ok(None) };
        let lacking = |what| self.region.lacking("DescribeDBInstances", what);
        database(instance).map(Some).map_err(lacking)
    }

    /// Lists every instance of this region.
    pub async fn instances(&self) -> Result<Vec<Database>, AwsFailure> {
        let mut pages = self.client.describe_db_instances().into_paginator().send();
        let mut known = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(self.region.failed("DescribeDBInstances"))?;
            for instance in page.db_instances.unwrap_or_default() {
                known.push(
                    database(instance).map_err(|what| self.region.lacking("DescribeDBInstances", what))?,
                );
            }
        }
        Ok(known)
    }
}

/// Converts an instance, or returns what the response lacks.
fn database(instance: DbInstance) -> Result<Database, &'static str> {
    let profile = profile(&instance);
    let endpoint = instance.endpoint.and_then(|endpoint| {
        Some(DatabaseEndpoint { host: endpoint.address?, port: u16::try_from(endpoint.port?).ok()? })
    });
    let needs_restart = instance.db_parameter_groups.iter().flatten();
    let needs_restart =
        { needs_restart }.any(|group| group.parameter_apply_status.as_deref() == Some("pending-reboot"));
    let replicated = instance.db_instance_automated_backups_replications.unwrap_or_default();
    Ok(Database {
        id: RdsDatabase::Instance(instance.db_instance_identifier.ok_or("identifier")?),
        arn: instance.db_instance_arn.ok_or("ARN")?,
        resource_id: instance.dbi_resource_id.ok_or("DbiResourceId")?,
        status: instance.db_instance_status.ok_or("status")?,
        endpoint,
        latest_restorable: time(instance.latest_restorable_time),
        earliest_restorable: None,
        hydration: instance.storage_operation_status.map(|status| Hydration {
            status,
            percent: percent(instance.storage_operation_percent_progress),
        }),
        needs_restart,
        replicated: replicated
            .into_iter()
            .filter_map(|backup| backup.db_instance_automated_backups_arn)
            .collect(),
        tags: instance.tag_list.into(),
        cluster: instance.db_cluster_identifier,
        master_secret: instance.master_user_secret.and_then(|secret| secret.secret_arn),
        profile,
    })
}

fn profile(instance: &DbInstance) -> RestoreProfile {
    let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    let groups = instance.vpc_security_groups.iter().flatten();
    let parameter_group = instance.db_parameter_groups.iter().flatten().next();
    let options = instance.option_group_memberships.iter().flatten().next();
    let endpoint = instance.endpoint.as_ref().and_then(|endpoint| endpoint.port);
    let insights = instance.performance_insights_enabled.unwrap_or(false);
    RestoreProfile {
        identifier: instance.db_instance_identifier.clone().unwrap_or_default(),
        cluster: None,
        engine: instance.engine.clone().unwrap_or_default(),
        engine_version: instance.engine_version.clone(),
        class: instance.db_instance_class.clone(),
        master_username: instance.master_username.clone(),
        password_is_managed: instance.master_user_secret.is_some(),
        secret_kms_key: instance.master_user_secret.as_ref().and_then(|secret| secret.kms_key_id.clone()),
        database_name: instance.db_name.clone(),
        port: endpoint.and_then(|port| u16::try_from(port).ok()),
        storage: StorageProfile {
            kind: instance.storage_type.clone(),
            allocated_gib: gib(instance.allocated_storage),
            max_allocated_gib: gib(instance.max_allocated_storage),
            iops: number(instance.iops),
            throughput: number(instance.storage_throughput),
        },
        encrypted: instance.storage_encrypted.unwrap_or(false),
        kms_key: instance.kms_key_id.clone(),
        multi_az: instance.multi_az,
        publicly_accessible: instance.publicly_accessible,
        iam_authentication: instance.iam_database_authentication_enabled,
        deletion_protection: instance.deletion_protection,
        minor_upgrades: instance.auto_minor_version_upgrade,
        copy_tags_to_snapshot: instance.copy_tags_to_snapshot,
        subnet_group: instance.db_subnet_group.as_ref().and_then(|group| group.db_subnet_group_name.clone()),
        security_groups: groups.filter_map(|group| group.vpc_security_group_id.clone()).collect(),
        parameter_group: parameter_group.and_then(|group| {
            Some(ParameterGroup { name: group.db_parameter_group_name.clone()?, ..ParameterGroup::default() })
        }),
        option_group: options.and_then(|group| group.option_group_name.clone()),
        log_exports: instance.enabled_cloudwatch_logs_exports.clone().unwrap_or_default(),
        monitoring: number(instance.monitoring_interval).filter(|interval| *interval > 0).map(
            |interval_seconds| Monitoring { interval_seconds, role: instance.monitoring_role_arn.clone() },
        ),
        performance_insights: insights.then(|| PerformanceInsights {
            kms_key: instance.performance_insights_kms_key_id.clone(),
            retention_days: number(instance.performance_insights_retention_period),
        }),
        insights_mode: instance.database_insights_mode.as_ref().map(|mode| mode.as_str().to_owned()),
        backup_retention_days: number(instance.backup_retention_period),
        backup_window: instance.preferred_backup_window.clone(),
        maintenance_window: instance.preferred_maintenance_window.clone(),
        ca_certificate: instance.ca_certificate_identifier.clone(),
        lifecycle_support: instance.engine_lifecycle_support.clone(),
        network_type: instance.network_type.clone(),
        dedicated_log_volume: instance.dedicated_log_volume,
        roles: instance
            .associated_roles
            .iter()
            .flatten()
            .filter_map(|role| {
                Some(FeatureRole { arn: role.role_arn.clone()?, feature: role.feature_name.clone() })
            })
            .collect(),
        replicas: instance.read_replica_db_instance_identifiers.clone().unwrap_or_default(),
        tags: AwsTags::from(instance.tag_list.clone())
            .iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        regions: Default::default(),
        not_recorded: vec![],
    }
}
