//! How a snapshot is written.

use super::state::{Snapshot, time};
use super::xml::Xml;

pub(super) fn snapshot(snapshot: &Snapshot) -> Xml {
    let settings = &snapshot.settings;
    let source = snapshot.copied_from.as_ref();
    Xml::new()
        .text("DBSnapshotIdentifier", &snapshot.id)
        .text("DBSnapshotArn", &snapshot.arn)
        .text("SnapshotType", &snapshot.kind)
        .text("Status", &snapshot.status)
        .maybe("PercentProgress", snapshot.progress)
        .text("DBInstanceIdentifier", &snapshot.instance)
        .text("DbiResourceId", &snapshot.resource_id)
        .text("InstanceCreateTime", time(snapshot.instance_created))
        .maybe("SnapshotCreateTime", snapshot.created.map(time))
        .maybe("OriginalSnapshotCreateTime", snapshot.original_created.map(time))
        .maybe("SnapshotDatabaseTime", snapshot.database_time.map(time))
        .maybe("SourceRegion", source.map(|(region, _)| region))
        .maybe("SourceDBSnapshotIdentifier", source.map(|(_, arn)| arn))
        .text("Engine", &settings.engine)
        .text("EngineVersion", &settings.engine_version)
        .text("LicenseModel", "postgresql-license")
        .text("MasterUsername", &settings.master_user)
        .text("AllocatedStorage", settings.allocated_storage)
        .text("StorageType", &settings.storage_type)
        .maybe("Iops", settings.iops)
        .maybe("StorageThroughput", settings.storage_throughput)
        .text("Encrypted", settings.kms_key.is_some())
        .maybe("KmsKeyId", settings.kms_key.as_ref())
        .text("OptionGroupName", &settings.option_group)
        .text("IAMDatabaseAuthenticationEnabled", settings.iam_authentication)
        .text("Port", 5432)
        .maybe("FullSnapshotSizeInBytes", snapshot.size())
        .tags(&snapshot.tags)
}
