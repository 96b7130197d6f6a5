use aws_sdk_rds::types::{DbCluster, DbClusterMember};

use super::super::AwsFailure;
use super::super::convert::{found, time};
use super::convert::gib;
use super::{Database, DatabaseEndpoint, Rds};
use crate::aws::tags::AwsTags;
use crate::model::{
    ClusterMember, ClusterProfile, FeatureRole, Monitoring, ParameterGroup, PerformanceInsights,
    RestoreProfile, StorageProfile,
};
use crate::policy::RdsDatabase;

impl Rds {
    pub(super) async fn cluster(&self, identifier: &str) -> Result<Option<Database>, AwsFailure> {
        let asked = self.client.describe_db_clusters().db_cluster_identifier(identifier).send().await;
        let answer = found(asked.map_err(self.region.failed("DescribeDBClusters")))?;
        let mut list = answer.and_then(|answer| answer.db_clusters).unwrap_or_default();
        list.retain(|cluster| cluster.db_cluster_identifier.as_deref() == Some(identifier));
        let Some(cluster) = list.pop() else { return Ok(None) };
        let mut members = Vec::new();
        for member in cluster.db_cluster_members.iter().flatten() {
            let Some(known) = listed(member) else { continue };
            let Some(instance) = self.instance(&known.identifier).await? else { continue };
            members.push(ClusterMember {
                class: instance.profile.class,
                publicly_accessible: instance.profile.publicly_accessible,
                parameter_group: instance.profile.parameter_group.map(|group| group.name),
                ..known
            });
        }
        database(cluster, members).map(Some).map_err(|what| self.region.lacking("DescribeDBClusters", what))
    }

    /// Lists every cluster of this region, with only the names of its members.
    pub async fn clusters(&self) -> Result<Vec<Database>, AwsFailure> {
        let mut pages = self.client.describe_db_clusters().into_paginator().send();
        let mut known = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(self.region.failed("DescribeDBClusters"))?;
            for cluster in page.db_clusters.unwrap_or_default() {
                let members = cluster.db_cluster_members.iter().flatten().filter_map(listed).collect();
                let cluster = database(cluster, members);
                known.push(cluster.map_err(|what| self.region.lacking("DescribeDBClusters", what))?);
            }
        }
        Ok(known)
    }
}

/// Converts the entry of an instance in its cluster.
fn listed(member: &DbClusterMember) -> Option<ClusterMember> {
    Some(ClusterMember {
        identifier: member.db_instance_identifier.clone()?,
        is_writer: member.is_cluster_writer.unwrap_or(false),
        promotion_tier: member.promotion_tier,
        ..ClusterMember::default()
    })
}

/// Converts a cluster, or returns what the response lacks.
fn database(cluster: DbCluster, members: Vec<ClusterMember>) -> Result<Database, &'static str> {
    let profile = profile(&cluster, members);
    let port = cluster.port.and_then(|port| u16::try_from(port).ok());
    Ok(Database {
        id: RdsDatabase::Cluster(cluster.db_cluster_identifier.ok_or("identifier")?),
        arn: cluster.db_cluster_arn.ok_or("ARN")?,
        resource_id: cluster.db_cluster_resource_id.ok_or("DbClusterResourceId")?,
        status: cluster.status.ok_or("status")?,
        endpoint: cluster.endpoint.zip(port).map(|(host, port)| DatabaseEndpoint { host, port }),
        latest_restorable: time(cluster.latest_restorable_time),
        earliest_restorable: time(cluster.earliest_restorable_time),
        // Its volume is shared and available immediately.
        hydration: None,
        needs_restart: false,
        replicated: vec![],
        tags: cluster.tag_list.into(),
        cluster: None,
        master_secret: cluster.master_user_secret.and_then(|secret| secret.secret_arn),
        profile,
    })
}

fn profile(cluster: &DbCluster, members: Vec<ClusterMember>) -> RestoreProfile {
    let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    let groups = cluster.vpc_security_groups.iter().flatten();
    let parameter_group = cluster.db_cluster_parameter_group.clone();
    let insights = cluster.performance_insights_enabled.unwrap_or(false);
    let scaling = cluster.serverless_v2_scaling_configuration.as_ref();
    RestoreProfile {
        identifier: cluster.db_cluster_identifier.clone().unwrap_or_default(),
        cluster: Some(ClusterProfile {
            members,
            parameter_groups: vec![],
            auto_pause_seconds: scaling.and_then(|scaling| scaling.seconds_until_auto_pause),
            capacity: scaling.and_then(|scaling| Some((scaling.min_capacity?, scaling.max_capacity?))),
        }),
        engine: cluster.engine.clone().unwrap_or_default(),
        engine_version: cluster.engine_version.clone(),
        class: cluster.db_cluster_instance_class.clone(),
        master_username: cluster.master_username.clone(),
        password_is_managed: cluster.master_user_secret.is_some(),
        secret_kms_key: cluster.master_user_secret.as_ref().and_then(|secret| secret.kms_key_id.clone()),
        database_name: cluster.database_name.clone(),
        port: cluster.port.and_then(|port| u16::try_from(port).ok()),
        storage: StorageProfile {
            kind: cluster.storage_type.clone(),
            allocated_gib: gib(cluster.allocated_storage),
            max_allocated_gib: None,
            iops: number(cluster.iops),
            throughput: number(cluster.storage_throughput),
        },
        encrypted: cluster.storage_encrypted.unwrap_or(false),
        kms_key: cluster.kms_key_id.clone(),
        multi_az: cluster.multi_az,
        publicly_accessible: cluster.publicly_accessible,
        iam_authentication: cluster.iam_database_authentication_enabled,
        deletion_protection: cluster.deletion_protection,
        minor_upgrades: cluster.auto_minor_version_upgrade,
        copy_tags_to_snapshot: cluster.copy_tags_to_snapshot,
        subnet_group: cluster.db_subnet_group.clone(),
        security_groups: groups.filter_map(|group| group.vpc_security_group_id.clone()).collect(),
        parameter_group: parameter_group.map(|name| ParameterGroup { name, ..ParameterGroup::default() }),
        option_group: None,
        log_exports: cluster.enabled_cloudwatch_logs_exports.clone().unwrap_or_default(),
        monitoring: number(cluster.monitoring_interval).filter(|interval| *interval > 0).map(
            |interval_seconds| Monitoring { interval_seconds, role: cluster.monitoring_role_arn.clone() },
        ),
        performance_insights: insights.then(|| PerformanceInsights {
            kms_key: cluster.performance_insights_kms_key_id.clone(),
            retention_days: number(cluster.performance_insights_retention_period),
        }),
        insights_mode: cluster.database_insights_mode.as_ref().map(|mode| mode.as_str().to_owned()),
        backup_retention_days: number(cluster.backup_retention_period),
        backup_window: cluster.preferred_backup_window.clone(),
        maintenance_window: cluster.preferred_maintenance_window.clone(),
        ca_certificate: None,
        lifecycle_support: cluster.engine_lifecycle_support.clone(),
        network_type: cluster.network_type.clone(),
        dedicated_log_volume: None,
        roles: cluster
            .associated_roles
            .iter()
            .flatten()
            .filter_map(|role| {
                Some(FeatureRole { arn: role.role_arn.clone()?, feature: role.feature_name.clone() })
            })
            .collect(),
        replicas: cluster.read_replica_identifiers.clone().unwrap_or_default(),
        tags: AwsTags::from(cluster.tag_list.clone())
            .iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        regions: Default::default(),
        not_recorded: vec![],
    }
}
