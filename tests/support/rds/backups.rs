//! Automated backups: what can be restored to a point in time.

use super::error::{Answered, ApiError};
use super::instances::archive_now;
use super::router::Asked;
use super::state::{Backup, time};
use super::xml::Xml;

pub(super) async fn describe(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let (arn, resource) = (form.owned("DBInstanceAutomatedBackupsArn"), form.owned("DbiResourceId"));
    let instance = form.owned("DBInstanceIdentifier").map(|id| id.to_lowercase());
    let filters = form.filters();
    let takes = |backup: &Backup| {
        let is =
            |name: &str, value: &str| filters.get(name).is_none_or(|all| all.iter().any(|one| one == value));
        arn.as_ref().is_none_or(|arn| *arn == backup.arn)
            && resource.as_ref().is_none_or(|resource| *resource == backup.resource_id)
            && instance.as_ref().is_none_or(|instance| *instance == backup.instance)
            && is("status", &backup.status)
            && is("db-instance-id", &backup.instance)
            && is("dbi-resource-id", &backup.resource_id)
    };
    let (found, alive): (Vec<Backup>, Vec<_>) = {
        let mut state = asked.shared.state();
        let region = state.region(&asked.region);
        (
            region.backups.values().filter(|one| takes(one)).cloned().collect(),
            region.instances.values().cloned().collect(),
        )
    };
    if found.is_empty()
        && let Some(name) = arn.or(resource).or(instance)
    {
        return Err(ApiError::missing(
            "DBInstanceAutomatedBackupNotFound",
            "DBInstanceAutomatedBackup",
            &name,
        ));
    }
    for instance in alive {
        if found
            .iter()
            .any(|backup| backup.resource_id == instance.resource_id && backup.region == asked.region)
        {
            archive_now(asked, &instance).await?;
        }
    }
    let (page, marker) = form.page(found, |backup| backup.arn.clone())?;
    let shown: Vec<Xml> = page.iter().map(xml).collect();
    Ok(Xml::new().maybe("Marker", marker).list(
        "DBInstanceAutomatedBackups",
        "DBInstanceAutomatedBackup",
        shown,
    ))
}

/// Of clusters that are gone, and of those that are there.
pub(super) fn describe_of_clusters(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let (resource, cluster) = (form.owned("DbClusterResourceId"), form.owned("DBClusterIdentifier"));
    let filters = form.filters();
    let all: Vec<Backup> = {
        let mut state = asked.shared.state();
        let region = state.region(&asked.region);
        let live = region.clusters.values().filter_map(|one| one.backup(&asked.region, "active"));
        let all = live.chain(region.cluster_backups.values().cloned());
        all.filter(|backup| {
            resource.as_ref().is_none_or(|resource| *resource == backup.resource_id)
                && cluster.as_ref().is_none_or(|cluster| *cluster == backup.instance)
                && filters.get("status").is_none_or(|all| all.contains(&backup.status))
        })
        .collect()
    };
    let (page, marker) = form.page(all, |backup| backup.resource_id.clone())?;
    let shown: Vec<Xml> = page.iter().map(of_cluster).collect();
    Ok(Xml::new().maybe("Marker", marker).list(
        "DBClusterAutomatedBackups",
        "DBClusterAutomatedBackup",
        shown,
    ))
}

fn of_cluster(backup: &Backup) -> Xml {
    let settings = &backup.settings;
    let window = backup.archive.window().map_or_else(Xml::new, |(earliest, latest)| {
        Xml::new().text("EarliestTime", time(earliest)).text("LatestTime", time(latest))
    });
    Xml::new()
        .text("DBClusterAutomatedBackupsArn", &backup.arn)
        .text("DBClusterArn", &backup.instance_arn)
        .text("DbClusterResourceId", &backup.resource_id)
        .text("DBClusterIdentifier", &backup.instance)
        .text("Region", &backup.region)
        .text("Status", &backup.status)
        .within("RestoreWindow", window)
        .text("ClusterCreateTime", time(backup.instance_created))
        .text("Engine", &settings.engine)
        .text("EngineVersion", &settings.engine_version)
        .text("MasterUsername", &settings.master_user)
        .text("AllocatedStorage", 1)
        .text("StorageEncrypted", settings.kms_key.is_some())
        .maybe("KmsKeyId", settings.kms_key.as_ref())
        .text("BackupRetentionPeriod", settings.backup_retention)
        .tags(&settings.tags)
}

pub(super) fn xml(backup: &Backup) -> Xml {
    let settings = &backup.settings;
    let window = backup.archive.window().map_or_else(Xml::new, |(earliest, latest)| {
        Xml::new().text("EarliestTime", time(earliest)).text("LatestTime", time(latest))
    });
    Xml::new()
        .text("DBInstanceAutomatedBackupsArn", &backup.arn)
        .text("DBInstanceArn", &backup.instance_arn)
        .text("DbiResourceId", &backup.resource_id)
        .text("Region", &backup.region)
        .text("DBInstanceIdentifier", &backup.instance)
        .text("Status", &backup.status)
        .within("RestoreWindow", window)
        .text("InstanceCreateTime", time(backup.instance_created))
        .text("Engine", &settings.engine)
        .text("EngineVersion", &settings.engine_version)
        .text("MasterUsername", &settings.master_user)
        .text("AllocatedStorage", settings.allocated_storage)
        .text("StorageType", &settings.storage_type)
        .maybe("Iops", settings.iops)
        .text("Encrypted", settings.kms_key.is_some())
        .maybe("KmsKeyId", settings.kms_key.as_ref())
        .text("BackupRetentionPeriod", settings.backup_retention)
        .text("PreferredBackupWindow", &settings.backup_window)
        .text("IAMDatabaseAuthenticationEnabled", settings.iam_authentication)
        .text("BackupTarget", "region")
        .tags(&settings.tags)
}
