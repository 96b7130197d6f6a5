//! Which function carries out which action.

use std::sync::Arc;

use super::Shared;
use super::error::{Answered, ApiError};
use super::form::Form;
use super::xml::Xml;
use super::{account, backups, catalog, cluster_restores, cluster_snapshots, clusters, copies, groups};
use super::{instances, modify, pitr, reboot, replication, restores, sharing, snapshots, tags};

/// One call.
pub(super) struct Asked {
    pub(super) shared: Arc<Shared>,
    pub(super) region: String,
    pub(super) form: Form,
}

pub(super) fn namespace(service: &str) -> &'static str {
    match service {
        "sts" => "https://sts.amazonaws.com/doc/2011-06-15/",
        "iam" => "https://iam.amazonaws.com/doc/2010-05-08/",
        _ => "http://rds.amazonaws.com/doc/2014-10-31/",
    }
}

pub(super) fn changes_something(action: &str) -> bool {
    !["Describe", "List", "Get", "Simulate"].iter().any(|reads| action.starts_with(reads))
}

pub(super) async fn carry_out(service: &str, action: &str, asked: &Asked) -> Answered<Xml> {
    match (service, action) {
        ("sts", "GetCallerIdentity") => account::caller(asked),
        ("iam", "SimulatePrincipalPolicy") => account::simulate(asked),
        ("rds", _) => rds(action, asked).await,
        _ => Err(unknown(action)),
    }
}

async fn rds(action: &str, asked: &Asked) -> Answered<Xml> {
    match action {
        "DescribeDBInstances" => instances::describe(asked).await,
        "CreateDBSnapshot" => snapshots::create(asked),
        "DescribeDBSnapshots" => snapshots::describe(asked),
        "DeleteDBSnapshot" => snapshots::delete(asked),
        "ModifyDBSnapshotAttribute" => sharing::modify_attribute(asked),
        "DescribeDBSnapshotAttributes" => sharing::attributes(asked),
        "CopyDBSnapshot" => copies::copy(asked),
        "RestoreDBInstanceFromDBSnapshot" => restores::from_snapshot(asked),
        "RestoreDBInstanceToPointInTime" => pitr::restore(asked).await,
        "ModifyDBInstance" => modify::modify(asked),
        "RebootDBInstance" => reboot::reboot(asked),
        "DeleteDBInstance" => reboot::delete(asked),
        "StartDBInstanceAutomatedBackupsReplication" => replication::start(asked),
        "StopDBInstanceAutomatedBackupsReplication" => replication::stop(asked),
        "CreateDBParameterGroup" => groups::create_parameter_group(asked),
        "ModifyDBParameterGroup" => groups::modify_parameter_group(asked).await,
        "CreateDBClusterParameterGroup" => groups::create_cluster_parameter_group(asked),
        "ModifyDBClusterParameterGroup" => groups::modify_cluster_parameter_group(asked),
        "DescribeDBEngineVersions" => catalog::engine_versions(asked),
        "DescribeSourceRegions" => catalog::source_regions(asked),
        "DescribePendingMaintenanceActions" => catalog::pending_maintenance(asked),
        "DescribeDBInstanceAutomatedBackups" => backups::describe(asked).await,
        "DescribeDBClusterAutomatedBackups" => backups::describe_of_clusters(asked),
        "CreateDBInstance" => clusters::create_instance(asked),
        "DescribeDBClusters" => clusters::describe(asked).await,
        "ModifyDBCluster" => clusters::modify(asked),
        "DeleteDBCluster" => clusters::delete(asked),
        "CreateDBClusterSnapshot" => cluster_snapshots::create(asked),
        "DescribeDBClusterSnapshots" => cluster_snapshots::describe(asked),
        "DeleteDBClusterSnapshot" => cluster_snapshots::delete(asked),
        "DescribeDBClusterSnapshotAttributes" => sharing::cluster_attributes(asked),
        "CopyDBClusterSnapshot" => cluster_snapshots::copy(asked),
        "RestoreDBClusterFromSnapshot" => cluster_restores::from_snapshot(asked),
        "RestoreDBClusterToPointInTime" => cluster_restores::to_point_in_time(asked).await,
        "DescribeDBClusterParameterGroups" => groups::describe_cluster_parameter_groups(asked),
        "DescribeDBClusterParameters" => groups::describe_cluster_parameters(asked),
        "ListTagsForResource" => tags::list(asked),
        "AddTagsToResource" => tags::add(asked),
        "RemoveTagsFromResource" => tags::remove(asked),
        "DescribeDBParameterGroups" => groups::describe_parameter_groups(asked),
        "DescribeDBParameters" => groups::describe_parameters(asked),
        "DescribeDBSubnetGroups" => groups::describe_subnet_groups(asked),
        "DescribeOptionGroups" => groups::describe_option_groups(asked),
        "DescribeAccountAttributes" => account::attributes(asked),
        "DescribeEvents" => account::events(asked),
        _ => Err(unknown(action)),
    }
}

fn unknown(action: &str) -> ApiError {
    ApiError::new("InvalidAction", format!("Could not find operation {action} for version 2014-10-31"))
}
