//! Changes to an instance: at once, behind the answer, or in the maintenance window.

use std::sync::Arc;

use super::super::Outcome;
use super::Shared;
use super::error::{Answered, ApiError};
use super::form::{Form, check_identifier};
use super::instance_xml;
use super::machine::{Key, blocking};
use super::postgres::is_open;
use super::restores::check_groups;
use super::router::Asked;
use super::settings::Settings;
use super::state::{Instance, Region, arn};
use super::xml::Xml;

pub(super) fn modify(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let id = form.identifier("DBInstanceIdentifier")?;
    let applies_now = form.is_set("ApplyImmediately")?;
    let renamed = form.owned("NewDBInstanceIdentifier").map(|id| id.to_lowercase());
    let (shown, key, will) = {
        let mut state = asked.shared.state();
        let region = state.region(&asked.region);
        let instance = region.instance(&id)?.clone();
        if !["available", "storage-optimization", "storage-full"].contains(&instance.status.as_str())
            || instance.is_busy
        {
            let words = format!("Database instance {id} is not in available state.");
            return Err(ApiError::new("InvalidDBInstanceState", words));
        }
        check_own(region, &instance)?;
        if let Some(new) = &renamed {
            check_identifier("NewDBInstanceIdentifier", new, 63)?;
            if region.instances.contains_key(new) {
                return Err(ApiError::new("DBInstanceAlreadyExists", "DB instance already exists"));
            }
        }
        let mut at_once = instance.settings.clone();
        describe_only(form, &mut at_once)?;
        let mut soon = at_once.clone();
        reworked(form, &mut soon)?;
        let mut will = soon.clone();
        if let Some(waiting) = &instance.pending {
            keep_waiting(waiting, &mut will);
        }
        rebuilt(form, &mut will)?;
        // What an instance of a cluster has of these is the cluster's.
        if instance.cluster.is_none() {
            check_groups(region, &will)?;
        }
        let stays = region.instance(&id)?;
        stays.settings = at_once;
        // What is under way is shown as pending until it is done.
        stays.pending = (stays.settings != will).then(|| will.clone());
        stays.pending_id = renamed.or(instance.pending_id);
        let target = if applies_now { will } else { soon };
        let renames = stays.pending_id.clone().filter(|_| applies_now);
        stays.is_busy = stays.settings != target || renames.is_some();
        let key = Key::of_instance(&asked.region, stays);
        (stays.clone(), key, stays.is_busy.then_some((target, renames)))
    };
    if let Some((target, renames)) = will {
        let job = carry(Arc::clone(&asked.shared), key, target, renames);
        asked.shared.run(&format!("the modification of {id}"), job);
    }
    Ok(Xml::new().within("DBInstance", instance_xml::instance(&shown, &asked.region, None)))
}

/// The instances of a Multi-AZ cluster are RDS's: nobody changes one apart.
pub(super) fn check_own(region: &Region, instance: &Instance) -> Answered<()> {
    let cluster = instance.cluster.as_ref().and_then(|cluster| region.clusters.get(cluster));
    if cluster.is_some_and(|cluster| !cluster.is_aurora()) {
        let words = format!("{} is part of a Multi-AZ DB cluster: modify the cluster.", instance.id);
        return Err(ApiError::new("InvalidParameterCombination", words));
    }
    Ok(())
}

/// What is only written down, and holds with the answer.
pub(super) fn describe_only(form: &Form, settings: &mut Settings) -> Answered<()> {
    set(&mut settings.deletion_protection, form.flag("DeletionProtection")?);
    set(&mut settings.copy_tags_to_snapshot, form.flag("CopyTagsToSnapshot")?);
    set(&mut settings.auto_minor_upgrade, form.flag("AutoMinorVersionUpgrade")?);
    set(&mut settings.backup_window, form.owned("PreferredBackupWindow"));
    set(&mut settings.maintenance_window, form.owned("PreferredMaintenanceWindow"));
    set(&mut settings.lifecycle_support, form.owned("EngineLifecycleSupport"));
    set_some(&mut settings.max_allocated_storage, form.parsed("MaxAllocatedStorage")?);
    Ok(())
}

/// What RDS begins as soon as it can, whenever the maintenance window is.
pub(super) fn reworked(form: &Form, settings: &mut Settings) -> Answered<()> {
    let groups = form.list("VpcSecurityGroupIds", "VpcSecurityGroupId");
    set(&mut settings.security_groups, groups.filter(|groups| !groups.is_empty()));
    set(&mut settings.parameter_group, form.owned("DBParameterGroupName"));
    set(&mut settings.publicly_accessible, form.flag("PubliclyAccessible")?);
    set(&mut settings.monitoring_interval, form.parsed("MonitoringInterval")?);
    set_some(&mut settings.monitoring_role, form.owned("MonitoringRoleArn"));
    if settings.monitoring_interval > 0 && settings.monitoring_role.is_none() {
        let words =
            "A MonitoringRoleARN value is required if you specify a MonitoringInterval value other than 0.";
        return Err(ApiError::new("InvalidParameterCombination", words));
    }
    set(&mut settings.performance_insights, form.flag("EnablePerformanceInsights")?);
    set_some(&mut settings.performance_insights_key, form.owned("PerformanceInsightsKMSKeyId"));
    set_some(&mut settings.performance_insights_days, form.parsed("PerformanceInsightsRetentionPeriod")?);
    let mode = form.owned("DatabaseInsightsMode");
    if mode.as_deref() == Some("advanced")
        && !(settings.performance_insights && settings.performance_insights_days >= Some(465))
    {
        let words = "To enable the Advanced mode of Database Insights, enable Performance Insights with a retention period of at least 465 days.";
        return Err(ApiError::new("InvalidParameterCombination", words));
    }
    set(&mut settings.insights_mode, mode);
    let logs = "CloudwatchLogsExportConfiguration";
    for log in form.list(&format!("{logs}.EnableLogTypes"), "member").into_iter().flatten() {
        if !settings.log_exports.contains(&log) {
            settings.log_exports.push(log);
        }
    }
    let off = form.list(&format!("{logs}.DisableLogTypes"), "member").unwrap_or_default();
    settings.log_exports.retain(|log| !off.contains(log));
    let (password, managed) = (form.owned("MasterUserPassword"), form.flag("ManageMasterUserPassword")?);
    if password.is_some() && managed == Some(true) {
        let words = "You can't specify MasterUserPassword when ManageMasterUserPassword is enabled.";
        return Err(ApiError::new("InvalidParameterCombination", words));
    }
    if password.as_ref().is_some_and(|password| password.len() < 8) {
        let words = "The parameter MasterUserPassword is not a valid password because it is shorter than 8 characters.";
        return Err(ApiError::new("InvalidParameterValue", words));
    }
    if managed == Some(true) && !settings.manages_password {
        settings.master_password = format!("managed-{:016x}", fastrand::u64(..));
    }
    set(&mut settings.manages_password, managed);
    let secret_key = form.owned("MasterUserSecretKmsKeyId");
    if secret_key.is_some() && !settings.manages_password {
        let words = "MasterUserSecretKmsKeyId is only valid where RDS manages the master user password.";
        return Err(ApiError::new("InvalidParameterCombination", words));
    }
    set_some(&mut settings.secret_key, secret_key);
    set(&mut settings.master_password, password);
    let days: Option<u32> = form.parsed("BackupRetentionPeriod")?;
    if days.is_some_and(|days| days > 35) {
        return Err(ApiError::new("InvalidParameterValue", "BackupRetentionPeriod must be between 0 and 35"));
    }
    // Turning backups on or off waits; another number of days does not.
    let days = days.filter(|days| *days > 0 && settings.backup_retention > 0);
    set(&mut settings.backup_retention, days);
    Ok(())
}

/// What waits for the maintenance window unless it is to be applied immediately.
fn rebuilt(form: &Form, settings: &mut Settings) -> Answered<()> {
    let storage = form.parsed("AllocatedStorage")?.unwrap_or(settings.allocated_storage);
    if storage < settings.allocated_storage
        || (storage > settings.allocated_storage && storage * 10 < settings.allocated_storage * 11)
    {
        let words = format!(
            "Invalid storage size: {storage} GiB is not at least 10% more than {}",
            settings.allocated_storage
        );
        return Err(ApiError::new("InvalidParameterCombination", words));
    }
    settings.allocated_storage = storage;
    set(&mut settings.class, form.owned("DBInstanceClass"));
    set(&mut settings.multi_az, form.flag("MultiAZ")?);
    set(&mut settings.storage_type, form.owned("StorageType"));
    set_some(&mut settings.iops, form.parsed("Iops")?);
    set_some(&mut settings.storage_throughput, form.parsed("StorageThroughput")?);
    set(&mut settings.subnet_group, form.owned("DBSubnetGroupName"));
    set(&mut settings.option_group, form.owned("OptionGroupName"));
    set(&mut settings.ca_certificate, form.owned("CACertificateIdentifier"));
    set(&mut settings.iam_authentication, form.flag("EnableIAMDatabaseAuthentication")?);
    set(&mut settings.backup_retention, form.parsed("BackupRetentionPeriod")?);
    // Taken as asked for; where it really listens is another matter here.
    let _port: Option<u16> = form.parsed("DBPortNumber")?;
    let _restarts = form.flag("CertificateRotationRestart")?;
    Ok(())
}

/// What was put off before is still to be done.
fn keep_waiting(waiting: &Settings, will: &mut Settings) {
    let waiting = waiting.clone();
    will.allocated_storage = waiting.allocated_storage;
    will.class = waiting.class;
    will.multi_az = waiting.multi_az;
    will.storage_type = waiting.storage_type;
    will.iops = waiting.iops;
    will.storage_throughput = waiting.storage_throughput;
    will.subnet_group = waiting.subnet_group;
    will.option_group = waiting.option_group;
    will.ca_certificate = waiting.ca_certificate;
    will.iam_authentication = waiting.iam_authentication;
}

pub(super) fn set<T>(value: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *value = new;
    }
}

fn set_some<T>(value: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *value = new;
    }
}

/// A moment passes before the status shows it: a client that looks at once sees `available`.
async fn carry(shared: Arc<Shared>, key: Key, target: Settings, renames: Option<String>) -> Outcome<()> {
    tokio::time::sleep(shared.timing.modification_begins).await;
    let Some(before) = shared.with_instance(&key, |instance| instance.clone()) else { return Ok(()) };
    let status = match &renames {
        Some(_) => "renaming",
        None if before.settings.master_password != target.master_password => "resetting-master-credentials",
        None => "modifying",
    };
    if !shared.instance_stays(&key, status, shared.timing.modifying).await {
        return Ok(());
    }
    if before.settings.master_password != target.master_password
        && let Some(server) = before.server.clone()
    {
        let (user, password) = (target.master_user.clone(), target.master_password.clone());
        blocking(move || server.set_password(&user, &password)).await?;
    }
    let keeps = |settings: &Settings| settings.backup_retention > 0;
    let restarts = is_open(&before.settings) != is_open(&target)
        || keeps(&before.settings) != keeps(&target)
        || renames.is_some();
    shared.with_instance(&key, |instance| {
        if instance.settings.parameter_group != target.parameter_group {
            "pending-reboot".clone_into(&mut instance.parameters_status);
        }
        // A tag that was set meanwhile is not undone.
        instance.settings = Settings { tags: instance.settings.tags.clone(), ..target };
        instance.pending = instance.pending.take().filter(|pending| *pending != instance.settings);
    });
    let key = match renames {
        Some(new) => shared.rename(&key, &new),
        None => key,
    };
    shared.follow_retention(&key)?;
    if restarts {
        shared.restart(&key, false).await?;
    }
    let starts_backups =
        keeps(&before.settings) != shared.with_instance(&key, |it| keeps(&it.settings)).unwrap_or(false);
    let of_it = (key.region.clone(), key.id.clone());
    let is_out_of_reach = {
        let script = shared.script();
        script.deaf.contains(&of_it) || script.mute.contains(&of_it)
    };
    // A server that a test wants out of reach does not run, so that nothing can be copied of it.
    if starts_backups && !keeps(&before.settings) && !is_out_of_reach {
        shared.automated_snapshot(&key).await?;
        // The first is a full one. The server takes connections meanwhile, and RDS takes no changes.
        if !shared.instance_stays(&key, "backing-up", shared.timing.backing_up).await {
            return Ok(());
        }
    }
    shared.with_instance(&key, |instance| instance.is_busy = false);
    shared.end_instance(&key, &shared.end_of(&key));
    Ok(())
}

impl Shared {
    /// The old name is gone at once, the new one is there.
    fn rename(&self, key: &Key, new: &str) -> Key {
        let mut state = self.state();
        let region = state.region(&key.region);
        let Some(mut instance) = region.instances.remove(&key.id) else { return key.clone() };
        new.clone_into(&mut instance.id);
        instance.arn = arn(&key.region, "db", new);
        instance.pending_id = None;
        for backup in region.backups.values_mut().filter(|one| one.resource_id == instance.resource_id) {
            new.clone_into(&mut backup.instance);
            instance.arn.clone_into(&mut backup.instance_arn);
        }
        region.instances.insert(new.to_owned(), instance);
        Key { id: new.to_owned(), ..key.clone() }
    }

    /// Begins an archive where backups were turned on; deletes them all where they were turned off.
    fn follow_retention(&self, key: &Key) -> Outcome<()> {
        let has = self.with_instance(key, |instance| {
            // What an instance of a cluster writes is kept by the cluster.
            let keeps = instance.settings.backup_retention > 0 && instance.cluster.is_none();
            (keeps, instance.archive.is_some())
        });
        match has {
            Some((true, false)) => {
                let archive = Arc::new(super::archive::Archive::new(&self.storage)?);
                self.keep_backups(key, &archive);
            }
            Some((false, true)) => {
                self.with_instance(key, |instance| instance.archive = None);
                self.forget_backups(key);
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends the server and starts it again with its groups as they are now, and its parameter group's
    /// values where this is a reboot.
    pub(super) async fn restart(self: &Arc<Self>, key: &Key, applies_parameters: bool) -> Outcome<()> {
        let Some(instance) = self.with_instance(key, |instance| instance.clone()) else { return Ok(()) };
        let Some(server) = instance.server.clone() else { return Ok(()) };
        let of_it = (key.region.clone(), key.id.clone());
        if self.script().deaf.contains(&of_it) || self.script().mute.contains(&of_it) {
            return Ok(());
        }
        // An instance of a cluster runs with what is the cluster's.
        let applies = applies_parameters && instance.cluster.is_none();
        let parameters = applies.then(|| self.parameters_of(&key.region, &instance));
        let archive = match &instance.cluster {
            Some(cluster) => {
                self.state().region(&key.region).clusters.get(cluster).and_then(|one| one.archive.clone())
            }
            None => instance.archive.clone(),
        };
        let is_open = is_open(&instance.settings);
        let restarted =
            move || server.restart(parameters, archive.as_ref().map(|archive| archive.log()), is_open);
        blocking(restarted).await
    }
}
