//! How an instance is written.

use super::settings::Settings;
use super::state::{Instance, arn, time};
use super::xml::Xml;

pub(super) fn instance(instance: &Instance, region: &str, vpc: Option<&str>) -> Xml {
    let settings = &instance.settings;
    let parameters = Xml::new()
        .text("DBParameterGroupName", &settings.parameter_group)
        .text("ParameterApplyStatus", &instance.parameters_status);
    let options = Xml::new().text("OptionGroupName", &settings.option_group).text("Status", "in-sync");
    let groups = settings
        .security_groups
        .iter()
        .map(|group| Xml::new().text("VpcSecurityGroupId", group).text("Status", "active"));
    let window = instance.archive.as_ref().and_then(|archive| archive.window());
    let progress = instance.initializing.and_then(|initializing| initializing.progress());
    let mut xml = Xml::new()
        .text("DBInstanceIdentifier", &instance.id)
        .text("DBInstanceArn", &instance.arn)
        .text("DbiResourceId", &instance.resource_id)
        .text("DBInstanceStatus", &instance.status)
        .maybe("DBClusterIdentifier", instance.cluster.as_ref())
        .text("InstanceCreateTime", time(instance.created))
        .maybe("LatestRestorableTime", window.map(|(_, latest)| time(latest)))
        .text("DbInstancePort", 0)
        .within("PendingModifiedValues", pending(instance))
        .list("DBParameterGroups", "DBParameterGroup", [parameters])
        .list("OptionGroupMemberships", "OptionGroupMembership", [options])
        .list("VpcSecurityGroups", "VpcSecurityGroupMembership", groups)
        .within("DBSubnetGroup", subnet_group(&settings.subnet_group, region, vpc))
        .maybe("StorageOperationStatus", progress.map(|_| "Initializing"))
        .maybe("StorageOperationPercentProgress", progress)
        .tags(&settings.tags);
    if !instance.replicated_to.is_empty() {
        let arns =
            instance.replicated_to.iter().map(|arn| Xml::new().text("DBInstanceAutomatedBackupsArn", arn));
        let name = "DBInstanceAutomatedBackupsReplications";
        xml = xml.list(name, "DBInstanceAutomatedBackupsReplication", arns);
    }
    if settings.manages_password {
        let name = format!("rds!{}", instance.resource_id.to_lowercase());
        let secret = Xml::new()
            .text("SecretArn", format!("arn:aws:secretsmanager:{region}:123456789012:secret:{name}-AbCdEf"))
            .text("SecretStatus", "active")
            .maybe("KmsKeyId", settings.secret_key.as_ref());
        xml = xml.within("MasterUserSecret", secret);
    }
    if let Some(port) = instance.port() {
        let endpoint =
            Xml::new().text("Address", "127.0.0.1").text("Port", port).text("HostedZoneId", "Z2R2ITUGPM61AM");
        xml = xml.within("Endpoint", endpoint);
    }
    profile(xml, settings, region)
}

/// What a restore has to bring back.
fn profile(xml: Xml, settings: &Settings, region: &str) -> Xml {
    let zone = settings.availability_zone.clone().unwrap_or_else(|| format!("{region}a"));
    let xml = xml
        .text("Engine", &settings.engine)
        .text("EngineVersion", &settings.engine_version)
        .text("DBInstanceClass", &settings.class)
        .text("MasterUsername", &settings.master_user)
        .maybe("DBName", settings.database.as_ref())
        .text("LicenseModel", "postgresql-license")
        .text("StorageType", &settings.storage_type)
        .text("AllocatedStorage", settings.allocated_storage)
        .maybe("MaxAllocatedStorage", settings.max_allocated_storage)
        .maybe("Iops", settings.iops)
        .maybe("StorageThroughput", settings.storage_throughput)
        .text("StorageEncrypted", settings.kms_key.is_some())
        .maybe("KmsKeyId", settings.kms_key.as_ref())
        .text("MultiAZ", settings.multi_az)
        .text("AvailabilityZone", zone)
        .maybe("SecondaryAvailabilityZone", settings.multi_az.then(|| format!("{region}b")))
        .text("PubliclyAccessible", settings.publicly_accessible)
        .text("CACertificateIdentifier", &settings.ca_certificate)
        .text("IAMDatabaseAuthenticationEnabled", settings.iam_authentication)
        .text("MonitoringInterval", settings.monitoring_interval)
        .maybe("MonitoringRoleArn", settings.monitoring_role.as_ref())
        .text("PerformanceInsightsEnabled", settings.performance_insights)
        .maybe("PerformanceInsightsKMSKeyId", settings.performance_insights_key.as_ref())
        .maybe("PerformanceInsightsRetentionPeriod", settings.performance_insights_days)
        .text("DatabaseInsightsMode", &settings.insights_mode)
        .text("DeletionProtection", settings.deletion_protection)
        .text("CopyTagsToSnapshot", settings.copy_tags_to_snapshot)
        .text("AutoMinorVersionUpgrade", settings.auto_minor_upgrade)
        .text("BackupRetentionPeriod", settings.backup_retention)
        .text("PreferredBackupWindow", &settings.backup_window)
        .text("PreferredMaintenanceWindow", &settings.maintenance_window)
        .text("EngineLifecycleSupport", &settings.lifecycle_support)
        .text("NetworkType", "IPV4")
        .text("BackupTarget", "region");
    if settings.log_exports.is_empty() {
        return xml;
    }
    xml.texts("EnabledCloudwatchLogsExports", "member", &settings.log_exports)
}

pub(super) fn subnet_group(name: &str, region: &str, vpc: Option<&str>) -> Xml {
    let subnets = ["a", "b"].map(|zone| {
        Xml::new()
            .text("SubnetIdentifier", format!("subnet-{name}-{zone}"))
            .within("SubnetAvailabilityZone", Xml::new().text("Name", format!("{region}{zone}")))
            .text("SubnetStatus", "Active")
    });
    Xml::new()
        .text("DBSubnetGroupName", name)
        .text("DBSubnetGroupDescription", format!("subnet group {name}"))
        .text("SubnetGroupStatus", "Complete")
        .text("DBSubnetGroupArn", arn(region, "subgrp", name))
        .maybe("VpcId", vpc)
        .list("Subnets", "Subnet", subnets)
}

/// What waits for the maintenance window, where it differs from what is.
fn pending(instance: &Instance) -> Xml {
    let is = &instance.settings;
    let Some(will) = &instance.pending else { return Xml::new() };
    fn other<T: PartialEq + Clone>(is: &T, will: &T) -> Option<T> {
        (is != will).then(|| will.clone())
    }
    Xml::new()
        .maybe("DBInstanceIdentifier", instance.pending_id.as_ref())
        .maybe("DBInstanceClass", other(&is.class, &will.class))
        .maybe("AllocatedStorage", other(&is.allocated_storage, &will.allocated_storage))
        .maybe("MultiAZ", other(&is.multi_az, &will.multi_az))
        .maybe("EngineVersion", other(&is.engine_version, &will.engine_version))
        .maybe("StorageType", other(&is.storage_type, &will.storage_type))
        .maybe("Iops", other(&is.iops, &will.iops).flatten())
        .maybe("StorageThroughput", other(&is.storage_throughput, &will.storage_throughput).flatten())
        .maybe("BackupRetentionPeriod", other(&is.backup_retention, &will.backup_retention))
        .maybe("CACertificateIdentifier", other(&is.ca_certificate, &will.ca_certificate))
        .maybe("DBSubnetGroupName", other(&is.subnet_group, &will.subnet_group))
        .maybe("IAMDatabaseAuthenticationEnabled", other(&is.iam_authentication, &will.iam_authentication))
}
