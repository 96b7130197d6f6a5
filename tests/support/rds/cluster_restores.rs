//! New clusters from snapshots and from what is archived. A new Aurora cluster has no instance: there is
//! nothing to connect to until somebody creates one.

use std::sync::Arc;

use super::super::Outcome;
use super::Shared;
use super::archive::Archive;
use super::cluster_snapshots::named;
use super::cluster_state::{cluster_missing, is_aurora};
use super::cluster_xml;
use super::clusters::join;
use super::error::{Answered, ApiError};
use super::form::{Form, check_identifier};
use super::instances::advance;
use super::machine::{Key, blocking};
use super::pitr::time_in;
use super::postgres::Postgres;
use super::restores::Origin;
use super::router::Asked;
use super::settings::Settings;
use super::state::{Backup, Region};
use super::xml::Xml;

pub(super) fn from_snapshot(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let name = named(&asked.region, form.required("SnapshotIdentifier")?);
    let engine = form.required("Engine")?.to_owned();
    let (id, settings, data) = {
        let mut state = asked.shared.state();
        let region = state.region(&asked.region);
        let snapshot = region.cluster_snapshot(&name)?.clone();
        if snapshot.status != "available" {
            let words = format!("The cluster snapshot {name} is {}.", snapshot.status);
            return Err(ApiError::new("InvalidDBClusterSnapshotStateFault", words));
        }
        if snapshot.settings.engine != engine {
            let words = format!("The snapshot's engine is {}, not {engine}.", snapshot.settings.engine);
            return Err(ApiError::new("InvalidParameterCombination", words));
        }
        let source = Settings { tags: snapshot.tags, ..snapshot.settings };
        let (id, settings) = restored(form, region, &source)?;
        (id, settings, snapshot.data.ok_or_else(|| ApiError::internal("the snapshot has no data"))?)
    };
    begin(asked, &id, settings, Origin { data, recovery: None })
}

pub(super) async fn to_point_in_time(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let kind = form.owned("RestoreType").unwrap_or_else(|| "full-copy".to_owned());
    if !["full-copy", "copy-on-write"].contains(&kind.as_str()) {
        return Err(ApiError::new("InvalidParameterValue", format!("RestoreType cannot be {kind}")));
    }
    let (Backup { settings: source, archive, .. }, server) = source(asked)?;
    if let Some(server) = &server {
        advance(asked, server, &archive).await?;
    }
    let target = time_in(&archive, form.time("RestoreToTime")?, form.is_set("UseLatestRestorableTime")?)?;
    let base = archive.base_for(target).ok_or_else(|| ApiError::internal("no base backup for it"))?;
    if source.kms_key.is_none() && form.get("KmsKeyId").is_some() {
        let words = "A DB cluster that is not encrypted is encrypted by a restore from a snapshot only.";
        return Err(ApiError::new("InvalidParameterCombination", words));
    }
    let (id, settings) = {
        let mut state = asked.shared.state();
        restored(form, state.region(&asked.region), &source)?
    };
    let target = target.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string();
    begin(asked, &id, settings, Origin { data: base.data, recovery: Some((archive, target)) })
}

/// A cluster that is there, or by its resource id one that is gone and whose backups were kept.
fn source(asked: &Asked) -> Answered<(Backup, Option<Arc<Postgres>>)> {
    let form = &asked.form;
    let (id, resource) = (form.owned("SourceDBClusterIdentifier"), form.owned("SourceDbClusterResourceId"));
    let wanted = match (id, resource) {
        (Some(id), None) => id.to_lowercase(),
        (None, Some(resource)) => resource,
        _ => {
            let words = "Either SourceDBClusterIdentifier or SourceDbClusterResourceId must be given.";
            return Err(ApiError::new("InvalidParameterCombination", words));
        }
    };
    let mut state = asked.shared.state();
    let region = state.region(&asked.region);
    if let Some(kept) = region.cluster_backups.get(&wanted) {
        return Ok((kept.clone(), None));
    }
    let mut found =
        region.clusters.values().filter(|one| [&one.id, &one.arn, &one.resource_id].contains(&&wanted));
    let cluster = found.next().ok_or_else(|| cluster_missing(&wanted))?;
    let nothing = || ApiError::new("InvalidRestoreFault", "There is nothing to restore from yet.");
    Ok((cluster.backup(&asked.region, "active").ok_or_else(nothing)?, cluster.server.clone()))
}

/// What the request says, and for the rest AWS's defaults, which are not the source's.
fn restored(form: &Form, region: &Region, source: &Settings) -> Answered<(String, Settings)> {
    let id = form.identifier("DBClusterIdentifier")?;
    check_identifier("DBClusterIdentifier", &id, 63)?;
    if region.clusters.contains_key(&id) {
        return Err(ApiError::new("DBClusterAlreadyExistsFault", format!("DBCluster {id} already exists")));
    }
    let defaults = Settings::default();
    let class = form.owned("DBClusterInstanceClass");
    if class.is_none() && !is_aurora(source) {
        let words = "DBClusterInstanceClass is required for a Multi-AZ DB cluster.";
        return Err(ApiError::new("InvalidParameterCombination", words));
    }
    let group = if is_aurora(source) { "default.aurora-postgresql15" } else { "default.postgres15" };
    let backup_retention = form.parsed("BackupRetentionPeriod")?.unwrap_or(source.backup_retention);
    if !(1..=35).contains(&backup_retention) {
        let words = "Backup retention of a DB cluster must be between 1 and 35 days";
        return Err(ApiError::new("InvalidParameterValue", words));
    }
    let settings = Settings {
        engine: source.engine.clone(),
        engine_version: form.owned("EngineVersion").unwrap_or_else(|| source.engine_version.clone()),
        database: source.database.clone(),
        master_user: source.master_user.clone(),
        master_password: source.master_password.clone(),
        kms_key: form.owned("KmsKeyId").or_else(|| source.kms_key.clone()),
        allocated_storage: source.allocated_storage,
        class: class.unwrap_or_else(|| source.class.clone()),
        subnet_group: form.owned("DBSubnetGroupName").unwrap_or_else(|| "default".to_owned()),
        security_groups: form
            .list("VpcSecurityGroupIds", "VpcSecurityGroupId")
            .filter(|groups| !groups.is_empty())
            .unwrap_or(defaults.security_groups.clone()),
        parameter_group: form.owned("DBClusterParameterGroupName").unwrap_or_else(|| group.to_owned()),
        storage_type: form.owned("StorageType").unwrap_or_else(|| source.storage_type.clone()),
        iops: form.parsed("Iops")?,
        publicly_accessible: form.is_set("PubliclyAccessible")?,
        iam_authentication: form.is_set("EnableIAMDatabaseAuthentication")?,
        log_exports: form.list("EnableCloudwatchLogsExports", "member").unwrap_or_default(),
        deletion_protection: form.is_set("DeletionProtection")?,
        copy_tags_to_snapshot: form.is_set("CopyTagsToSnapshot")?,
        backup_retention,
        backup_window: form.owned("PreferredBackupWindow").unwrap_or_else(|| source.backup_window.clone()),
        lifecycle_support: form.owned("EngineLifecycleSupport").unwrap_or(defaults.lifecycle_support.clone()),
        tags: form.tags().filter(|tags| !tags.is_empty()).unwrap_or_else(|| source.tags.clone()),
        ..defaults
    };
    let _port: Option<u16> = form.parsed("Port")?;
    form.get("EngineMode");
    form.get("NetworkType");
    form.list("AvailabilityZones", "AvailabilityZone");
    if !region.subnet_groups.contains_key(&settings.subnet_group) {
        return Err(ApiError::missing("DBSubnetGroupNotFoundFault", "DBSubnetGroup", &settings.subnet_group));
    }
    if !region.cluster_parameter_groups.contains_key(&settings.parameter_group) {
        let name = &settings.parameter_group;
        return Err(ApiError::missing("DBClusterParameterGroupNotFound", "DBClusterParameterGroup", name));
    }
    Ok((id, settings))
}

fn begin(asked: &Asked, id: &str, settings: Settings, origin: Origin) -> Answered<Xml> {
    let cluster = asked.shared.add_cluster(&asked.region, id, settings);
    let key = Key::of_cluster(&asked.region, &cluster);
    asked.shared.run(&format!("the restore {id}"), bring_up(Arc::clone(&asked.shared), key, origin));
    Ok(Xml::new().within("DBCluster", cluster_xml::cluster(&cluster, &asked.region, &[])))
}

async fn bring_up(shared: Arc<Shared>, key: Key, origin: Origin) -> Outcome<()> {
    let Some(cluster) = shared.with_cluster(&key, |cluster| cluster.clone()) else { return Ok(()) };
    let made = blocking(move || {
        let server = Postgres::on(origin.data.copy("volume")?)?;
        if let Some((from, target)) = &origin.recovery {
            let none = std::collections::BTreeMap::new();
            server.configure(&none, None, Some((from.log(), target)))?;
            server.start(false)?;
            server.stop();
        }
        Ok(Arc::new(server))
    })
    .await;
    if !shared.cluster_stays(&key, "creating", shared.timing.creating).await {
        return Ok(());
    }
    let server = match made {
        Ok(server) => server,
        Err(error) => {
            shared.end_cluster(&key, "failed");
            return Err(error);
        }
    };
    let archive = Arc::new(Archive::new(&shared.storage)?);
    shared.with_cluster(&key, |cluster| {
        cluster.server = Some(server);
        cluster.archive = Some(archive);
    });
    shared.end_cluster(&key, &shared.end_of(&key));
    if !cluster.is_aurora() {
        // A Multi-AZ cluster brings its three instances along.
        for number in 1..=3 {
            let id = format!("{}-instance-{number}", key.id);
            let instance =
                shared.add_instance(&key.region, &id, cluster.settings.clone(), Some(key.id.clone()));
            join(Arc::clone(&shared), Key::of_instance(&key.region, &instance), key.clone()).await?;
        }
    }
    Ok(())
}
