//! How a cluster and its snapshots are written.

use super::cluster_state::Cluster;
use super::state::{Snapshot, time};
use super::xml::Xml;

pub(super) fn cluster(cluster: &Cluster, region: &str, members: &[String]) -> Xml {
    let settings = &cluster.settings;
    let window = cluster.archive.as_ref().and_then(|archive| archive.window());
    // The first of them writes.
    let members = members.iter().enumerate().map(|(number, id)| {
        Xml::new()
            .text("DBInstanceIdentifier", id)
            .text("IsClusterWriter", number == 0)
            .text("DBClusterParameterGroupStatus", "in-sync")
            .text("PromotionTier", number)
    });
    let groups = settings
        .security_groups
        .iter()
        .map(|group| Xml::new().text("VpcSecurityGroupId", group).text("Status", "active"));
    // The endpoints are there before anything listens at them.
    let port = cluster.server.as_ref().map(|server| server.port());
    let xml = Xml::new()
        .text("DBClusterIdentifier", &cluster.id)
        .text("DBClusterArn", &cluster.arn)
        .text("DbClusterResourceId", &cluster.resource_id)
        .text("Status", &cluster.status)
        .text("ClusterCreateTime", time(cluster.created))
        .maybe("EarliestRestorableTime", window.map(|(earliest, _)| time(earliest)))
        .maybe("LatestRestorableTime", window.map(|(_, latest)| time(latest)))
        .maybe("Endpoint", port.map(|_| "127.0.0.1"))
        .maybe("ReaderEndpoint", port.map(|_| "127.0.0.1"))
        .maybe("Port", port)
        .list("DBClusterMembers", "DBClusterMember", members)
        .list("VpcSecurityGroups", "VpcSecurityGroupMembership", groups)
        .text("DBClusterParameterGroup", &settings.parameter_group)
        .text("DBSubnetGroup", &settings.subnet_group)
        .texts("AvailabilityZones", "AvailabilityZone", ["a", "b", "c"].map(|zone| format!("{region}{zone}")))
        .text("Engine", &settings.engine)
        .text("EngineVersion", &settings.engine_version)
        .text("EngineMode", "provisioned")
        .text("MasterUsername", &settings.master_user)
        .maybe("DatabaseName", settings.database.as_ref())
        .text("AllocatedStorage", if cluster.is_aurora() { 1 } else { settings.allocated_storage })
        .text("StorageEncrypted", settings.kms_key.is_some())
        .maybe("KmsKeyId", settings.kms_key.as_ref())
        .text("MultiAZ", true)
        .text("IAMDatabaseAuthenticationEnabled", settings.iam_authentication)
        .text("DeletionProtection", settings.deletion_protection)
        .text("CopyTagsToSnapshot", settings.copy_tags_to_snapshot)
        .text("BackupRetentionPeriod", settings.backup_retention)
        .text("PreferredBackupWindow", &settings.backup_window)
        .text("PreferredMaintenanceWindow", &settings.maintenance_window)
        .text("EngineLifecycleSupport", &settings.lifecycle_support)
        .tags(&settings.tags);
    let xml = match cluster.is_aurora() {
        true => xml,
        false => {
            xml.text("DBClusterInstanceClass", &settings.class).text("StorageType", &settings.storage_type)
        }
    };
    if settings.log_exports.is_empty() {
        return xml;
    }
    xml.texts("EnabledCloudwatchLogsExports", "member", &settings.log_exports)
}

pub(super) fn snapshot(snapshot: &Snapshot) -> Xml {
    let settings = &snapshot.settings;
    Xml::new()
        .text("DBClusterSnapshotIdentifier", &snapshot.id)
        .text("DBClusterSnapshotArn", &snapshot.arn)
        .text("SnapshotType", &snapshot.kind)
        .text("Status", &snapshot.status)
        .maybe("PercentProgress", snapshot.progress)
        .text("DBClusterIdentifier", &snapshot.instance)
        .text("DbClusterResourceId", &snapshot.resource_id)
        .text("ClusterCreateTime", time(snapshot.instance_created))
        .maybe("SnapshotCreateTime", snapshot.created.map(time))
        .maybe("SourceDBClusterSnapshotArn", snapshot.copied_from.as_ref().map(|(_, arn)| arn))
        .text("Engine", &settings.engine)
        .text("EngineVersion", &settings.engine_version)
        .text("EngineMode", "provisioned")
        .text("MasterUsername", &settings.master_user)
        .text("AllocatedStorage", settings.allocated_storage)
        .text("StorageEncrypted", settings.kms_key.is_some())
        .maybe("KmsKeyId", settings.kms_key.as_ref())
        .text("IAMDatabaseAuthenticationEnabled", settings.iam_authentication)
        .tags(&snapshot.tags)
}
