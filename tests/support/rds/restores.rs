//! New instances from snapshots and from automated backups, with AWS's defaults where nobody says anything.

use std::sync::Arc;
use std::time::Instant;

use super::super::Outcome;
use super::Shared;
use super::archive::Archive;
use super::error::{Answered, ApiError};
use super::form::{Form, check_identifier};
use super::instance_xml;
use super::machine::{Key, blocking};
use super::postgres::{Postgres, is_open};
use super::router::Asked;
use super::settings::Settings;
use super::snapshots::named;
use super::state::{Event, Initializing, Instance, Region, now};
use super::storage::Folder;
use super::xml::Xml;

/// What a new server starts from.
pub(super) struct Origin {
    pub(super) data: Arc<Folder>,
    /// The archive, and the time to recover to.
    pub(super) recovery: Option<(Arc<Archive>, String)>,
}

pub(super) fn from_snapshot(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let id = form.identifier("DBInstanceIdentifier")?;
    check_identifier("DBInstanceIdentifier", &id, 63)?;
    let snapshot = named(&asked.region, form.required("DBSnapshotIdentifier")?);
    let (settings, data) = {
        let mut state = asked.shared.state();
        let region = state.region(&asked.region);
        let snapshot = region.snapshot(&snapshot)?.clone();
        if snapshot.status != "available" {
            let words = format!("The snapshot {} is not available: it is {}.", snapshot.id, snapshot.status);
            return Err(ApiError::new("InvalidDBSnapshotState", words));
        }
        let source = Settings { tags: snapshot.tags.clone(), ..snapshot.settings.clone() };
        let settings = restored(form, region, &source)?;
        check_new(region, &id)?;
        (settings, snapshot.data.ok_or_else(|| ApiError::internal("the snapshot has no data"))?)
    };
    begin(asked, &id, settings, Origin { data, recovery: None })
}

pub(super) fn check_new(region: &Region, id: &str) -> Answered<()> {
    if region.instances.contains_key(id) {
        return Err(ApiError::new("DBInstanceAlreadyExists", "DB instance already exists"));
    }
    if region.instances.len() >= region.quotas.instances {
        return Err(ApiError::new(
            "InstanceQuotaExceeded",
            "The request would exceed the allowed number of DB instances",
        ));
    }
    Ok(())
}

/// The settings of a restore: what a backup holds, what the request says, and for the rest AWS's defaults,
/// which are not the source's.
pub(super) fn restored(form: &Form, region: &Region, source: &Settings) -> Answered<Settings> {
    let defaults = Settings::default();
    let storage = form.parsed("AllocatedStorage")?.unwrap_or(source.allocated_storage);
    if storage < source.allocated_storage {
        return Err(ApiError::new("InvalidParameterValue", "Storage cannot be smaller than the source's"));
    }
    let iops = form.parsed("Iops")?;
    let kind = if iops.is_some() { "io1" } else { "gp3" };
    let (multi_az, zone) = (form.is_set("MultiAZ")?, form.owned("AvailabilityZone"));
    if multi_az && zone.is_some() {
        return Err(ApiError::new(
            "InvalidParameterCombination",
            "Requesting a specific availability zone is not valid for Multi-AZ instances.",
        ));
    }
    let settings = Settings {
        // Held by the backup.
        engine: source.engine.clone(),
        engine_version: source.engine_version.clone(),
        database: source.database.clone(),
        master_user: source.master_user.clone(),
        master_password: source.master_password.clone(),
        kms_key: source.kms_key.clone(),
        allocated_storage: storage,
        class: form.owned("DBInstanceClass").unwrap_or_else(|| source.class.clone()),
        backup_retention: form.parsed("BackupRetentionPeriod")?.unwrap_or(source.backup_retention),
        backup_window: form.owned("PreferredBackupWindow").unwrap_or_else(|| source.backup_window.clone()),
        // AWS's defaults.
        iops,
        storage_throughput: form.parsed("StorageThroughput")?,
        storage_type: form.owned("StorageType").unwrap_or_else(|| kind.to_owned()),
        multi_az,
        availability_zone: zone,
        subnet_group: form.owned("DBSubnetGroupName").unwrap_or(defaults.subnet_group),
        publicly_accessible: form.is_set("PubliclyAccessible")?,
        security_groups: form
            .list("VpcSecurityGroupIds", "VpcSecurityGroupId")
            .filter(|groups| !groups.is_empty())
            .unwrap_or(defaults.security_groups),
        parameter_group: form.owned("DBParameterGroupName").unwrap_or(defaults.parameter_group),
        option_group: form.owned("OptionGroupName").unwrap_or(defaults.option_group),
        ca_certificate: form.owned("CACertificateIdentifier").unwrap_or(defaults.ca_certificate),
        iam_authentication: form.is_set("EnableIAMDatabaseAuthentication")?,
        log_exports: form.list("EnableCloudwatchLogsExports", "member").unwrap_or_default(),
        deletion_protection: form.is_set("DeletionProtection")?,
        copy_tags_to_snapshot: form.is_set("CopyTagsToSnapshot")?,
        auto_minor_upgrade: form.flag("AutoMinorVersionUpgrade")?.unwrap_or(true),
        lifecycle_support: form.owned("EngineLifecycleSupport").unwrap_or(defaults.lifecycle_support),
        // Tags of the request replace the source's.
        tags: form.tags().filter(|tags| !tags.is_empty()).unwrap_or_else(|| source.tags.clone()),
        // Set by a modification afterwards only.
        max_allocated_storage: None,
        manages_password: false,
        monitoring_interval: 0,
        monitoring_role: None,
        performance_insights: false,
        performance_insights_key: None,
        performance_insights_days: None,
        insights_mode: defaults.insights_mode,
        secret_key: None,
        maintenance_window: defaults.maintenance_window,
        parameters: defaults.parameters,
    };
    // A port is taken as asked for; where it really listens is another matter here.
    let _port: Option<u16> = form.parsed("Port")?;
    form.get("LicenseModel");
    form.get("NetworkType");
    form.get("Engine");
    check_groups(region, &settings)?;
    Ok(settings)
}

pub(super) fn check_groups(region: &Region, settings: &Settings) -> Answered<()> {
    let (parameters, options) = (&settings.parameter_group, &settings.option_group);
    if !region.subnet_groups.contains_key(&settings.subnet_group) {
        return Err(ApiError::missing("DBSubnetGroupNotFoundFault", "DBSubnetGroup", &settings.subnet_group));
    }
    if !region.parameter_groups.contains_key(parameters) {
        return Err(ApiError::missing("DBParameterGroupNotFound", "DBParameterGroup", parameters));
    }
    if !region.option_groups.contains(options) {
        return Err(ApiError::missing("OptionGroupNotFoundFault", "OptionGroup", options));
    }
    Ok(())
}

pub(super) fn begin(asked: &Asked, id: &str, settings: Settings, origin: Origin) -> Answered<Xml> {
    let instance = asked.shared.add_instance(&asked.region, id, settings, None);
    let key = Key::of_instance(&asked.region, &instance);
    asked.shared.run(&format!("the restore {id}"), bring_up(Arc::clone(&asked.shared), key, origin));
    Ok(Xml::new().within("DBInstance", instance_xml::instance(&instance, &asked.region, None)))
}

/// Creating, backing up, modifying, available: what a restored instance goes through.
pub(super) async fn bring_up(shared: Arc<Shared>, key: Key, origin: Origin) -> Outcome<()> {
    let Some(instance) = shared.with_instance(&key, |instance| instance.clone()) else { return Ok(()) };
    let parameters = shared.parameters_of(&key.region, &instance);
    let archive = Arc::new(Archive::new(&shared.storage)?);
    let (of, log) = (instance.settings.clone(), Arc::clone(&archive));
    let started = blocking(move || {
        let server = Postgres::on(origin.data.copy("volume")?)?;
        let keeps = (of.backup_retention > 0).then(|| log.log());
        let recovery = origin.recovery.as_ref().map(|(from, target)| (from.log(), target.as_str()));
        server.configure(&parameters, keeps, recovery)?;
        server.start(is_open(&of))?;
        Ok(Arc::new(server))
    })
    .await;
    if !shared.instance_stays(&key, "creating", shared.timing.creating).await {
        return Ok(());
    }
    let server = match started {
        Ok(server) => server,
        Err(error) => {
            shared.end_instance(&key, "restore-error");
            return Err(error);
        }
    };
    shared.finish(&key, server, &archive).await
}

impl Shared {
    /// What the parameter group of an instance says now.
    pub(super) fn parameters_of(
        &self,
        region: &str,
        instance: &Instance,
    ) -> std::collections::BTreeMap<String, String> {
        let mut state = self.state();
        let group = state.region(region).parameter_groups.get(&instance.settings.parameter_group);
        group.map(|group| group.parameters.clone()).unwrap_or_default()
    }

    /// The rest of an instance's coming about, once its server runs.
    pub(super) async fn finish(
        self: &Arc<Self>,
        key: &Key,
        server: Arc<Postgres>,
        archive: &Arc<Archive>,
    ) -> Outcome<()> {
        let end = self.end_of(key);
        if end != "available" {
            self.end_instance(key, &end);
            return Ok(());
        }
        self.with_instance(key, |instance| instance.server = Some(Arc::clone(&server)));
        self.keep_backups(key, archive);
        let keeps = self.with_instance(key, |instance| instance.archive.is_some()).unwrap_or(false);
        if keeps {
            self.automated_snapshot(key).await?;
            if !self.instance_stays(key, "backing-up", self.timing.backing_up).await {
                return Ok(());
            }
        }
        if !self.instance_stays(key, "modifying", self.timing.modifying).await {
            return Ok(());
        }
        let is_deaf = self.script().deaf.contains(&(key.region.clone(), key.id.clone()));
        if is_deaf {
            let server = Arc::clone(&server);
            blocking(move || {
                server.stop();
                Ok(())
            })
            .await?;
        }
        if self.script().mute.contains(&(key.region.clone(), key.id.clone())) {
            let port = server.port();
            let listener = blocking(move || {
                server.stop();
                Ok(std::net::TcpListener::bind(("127.0.0.1", port))?)
            })
            .await?;
            self.script().silent.push(listener);
        }
        let takes = self.timing.initializing;
        self.with_instance(key, |instance| {
            instance.initializing = Some(Initializing { since: Instant::now(), takes });
        });
        self.end_instance(key, "available");
        let event = Event {
            source: key.id.clone(),
            kind: "db-instance".to_owned(),
            message: "Restored from snapshot".to_owned(),
            category: "restoration".to_owned(),
            at: now(),
            arn: super::arn(&key.region, "db", &key.id),
        };
        self.tell(&key.region, event);
        Ok(())
    }
}
