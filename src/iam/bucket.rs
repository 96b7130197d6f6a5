use super::builder::Builder;
use super::role::{Account, IamRole, partition};
use super::{Conditions, IamError, key};
use crate::policy::{BucketSource, Checksum, RepositoryLocation, S3Location, ServerSideEncryption};
use crate::repository::layout;

/// Adds rights in each bucket of AWS. Other servers have keys of their own, out of the reach of IAM.
pub(super) fn add(builder: &mut Builder<'_>) -> Result<(), IamError> {
    if builder.role == IamRole::BreakGlass {
        return Ok(());
    }
    for repository in &builder.policy.repositories {
        match &repository.place {
            RepositoryLocation::S3(place) if place.endpoint.is_none() => of_bucket(builder, place)?,
            RepositoryLocation::S3(_) | RepositoryLocation::Directory(_) => {}
        }
    }
    Ok(())
}

fn of_bucket(builder: &mut Builder<'_>, place: &S3Location) -> Result<(), IamError> {
    let bucket = format!("arn:{}:s3:::{}", partition(&place.region), place.bucket);
    let below = match place.prefix.as_str() {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    let object = |key: &str| format!("{bucket}/{below}{key}");
    list(builder, &bucket, &below);

    let system = &builder.policy.system;
    let (journal, leases) =
        (object(&format!("{}*", layout::journal(system))), object(&layout::lease(system, "*")));
    let (backups, log) = (object(&layout::every_backup(system)), object(&layout::every_wal_object(system)));
    // The metadata of the repository: its owner, contents and leases. It contains no data.
    let clear = vec![
        object(layout::MARKER),
        object(layout::BY_HAND),
        object(&layout::every_manifest(system)),
        object(&layout::every_wal_cluster(system)),
        journal.clone(),
        leases.clone(),
    ];
    let locks = place.object_lock.is_some();
    let allow = |builder: &mut Builder<'_>, sid: &str, actions: &[&str], resources: Vec<String>| {
        builder.document.allow(sid, actions, resources, Conditions::default());
    };
    match builder.role {
        IamRole::Writer => {
            let write = ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject"];
            allow(builder, "Write", &write, vec![object("*")]);
            if locks {
                allow(
                    builder,
                    "LockWrittenObjects",
                    &["s3:PutObjectRetention"],
                    vec![backups.clone(), log.clone()],
                );
            }
            let mut read = clear;
            read.push(object(layout::every_probe()));
            if archives_log(builder) {
                // A file is archived twice if a response is lost: its metadata identifies it.
                read.push(log);
            }
            if place.checksum != Checksum::Crc64Nvme {
                // The store's checksum of the whole object proves an upload; without it the object is
                // inspected.
                read.push(backups);
            }
            allow(builder, "ReadUnencryptedMetadata", &["s3:GetObject"], read);
        }
        IamRole::Restorer | IamRole::Auditor => {
            let mut read = vec!["s3:GetObject", "s3:GetObjectVersion"];
            if builder.role == IamRole::Auditor {
                read.extend(["s3:GetObjectLegalHold", "s3:GetObjectRetention"]);
            } else if place.storage_class.as_deref().is_some_and(is_archive) {
                read.push("s3:RestoreObject");
            }
            allow(builder, "ReadRepository", &read, vec![object("*")]);
            let mut write = vec![journal];
            if builder.role == IamRole::Restorer {
                // So that retention leaves alone what is being restored.
                write.push(object(&layout::every_restore_lease(system)));
            }
            allow(builder, "WriteJournal", &["s3:PutObject"], write);
        }
        IamRole::Retention => {
            // Where a timeline came from is kept with its history.
            let mut read = clear;
            read.push(object(&layout::every_wal_history(system)));
            allow(builder, "ReadUnencryptedMetadata", &["s3:GetObject"], read);
            allow(builder, "WriteJournalAndLeases", &["s3:PutObject"], vec![journal, leases]);
            let mut delete = vec!["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:DeleteObjectVersion"];
            delete.extend(["s3:GetObjectLegalHold", "s3:GetObjectRetention"]);
            if locks {
                // Extends only: shortening takes `s3:BypassGovernanceRetention`.
                delete.push("s3:PutObjectRetention");
            }
            allow(builder, "DeleteBackups", &delete, vec![backups, log]);
        }
        IamRole::BreakGlass => {}
    }
    if let Some(ServerSideEncryption::Kms { key: Some(named) }) = &place.server_side_encryption {
        // All of them read manifests and write a record of their run.
        let actions = ["kms:Decrypt", "kms:GenerateDataKey"];
        let account = Account::of_credentials(&place.credentials);
        key::of_bucket(builder, named, &place.region, account.as_ref(), &actions)?;
    }
    Ok(())
}

/// Grants the right to list: without it a missing object looks like a forbidden one.
fn list(builder: &mut Builder<'_>, bucket: &str, below: &str) {
    let mut actions = vec![
        "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketVersioning",
        "s3:GetLifecycleConfiguration",
        "s3:ListBucket",
    ];
    match builder.role {
        IamRole::Writer => actions.push("s3:ListBucketMultipartUploads"),
        IamRole::Retention => actions.extend(["s3:ListBucketMultipartUploads", "s3:ListBucketVersions"]),
        IamRole::Restorer | IamRole::Auditor | IamRole::BreakGlass => actions.push("s3:ListBucketVersions"),
    }
    // `IfExists`: only listings have a prefix.
    let condition = match below {
        "" => Conditions::default(),
        below => Conditions::when("StringLikeIfExists", "s3:prefix", &[&format!("{below}*")]),
    };
    builder.document.allow("ListRepository", &actions, [bucket.to_owned()], condition);
}

/// Adds what reading the objects of a source takes. Where they are restored to is not known here.
pub(super) fn of_source(builder: &mut Builder<'_>, source: &BucketSource) {
    if builder.role != IamRole::Writer || source.endpoint.is_some() {
        return;
    }
    let bucket = format!("arn:{}:s3:::{}", partition(&source.region), source.bucket);
    let (objects, condition) = match source.prefix.as_str() {
        "" => (format!("{bucket}/*"), Conditions::default()),
        prefix => (
            format!("{bucket}/{prefix}/*"),
            Conditions::when("StringLikeIfExists", "s3:prefix", &[&format!("{prefix}/*")]),
        ),
    };
    let list = ["s3:GetBucketVersioning", "s3:ListBucket", "s3:ListBucketVersions"];
    builder.document.allow("ListSource", &list, [bucket], condition);
    let read = ["s3:GetObject", "s3:GetObjectVersion"];
    builder.document.allow("ReadSource", &read, [objects], Conditions::default());
}

fn archives_log(builder: &Builder<'_>) -> bool {
    builder.policy.sources.iter().any(|source| source.wal().is_some())
}

/// Returns whether objects of the class must be restored before they can be read.
fn is_archive(class: &str) -> bool {
    matches!(class, "GLACIER" | "DEEP_ARCHIVE")
}
