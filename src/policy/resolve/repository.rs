use std::path::{Component, Path, PathBuf};

use super::ResolveBase;
use crate::model::RepositoryName;
use crate::policy::credentials::Credentials;
use crate::policy::decode::{Diagnostics, KeyLocation, Spanned, TomlTable as _};
use crate::policy::retention::{Retention, Rules};
use crate::policy::schema::{CredentialsTable, RepositoriesTable, RepositoryTable, SseWord};
use crate::policy::settings::{
    Checksum, LockTerm, ObjectLock, RepositoryConfig, RepositoryLocation, S3Location, ServerSideEncryption,
};
use crate::text::suggest;

const PRIMARY: &str = "primary";
/// Ten years.
const MOST_LOCKED_DAYS: u64 = 3_653;

/// Storage classes of AWS that can be read immediately.
const AWS_CLASSES: [&str; 7] = [
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "REDUCED_REDUNDANCY",
    "EXPRESS_ONEZONE",
];
/// Storage classes that take hours to restore before they can be read.
const FROZEN_CLASSES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// Resolves the repositories, the primary first.
pub(super) fn repositories(
    table: &RepositoriesTable,
    base: ResolveBase<'_>,
    log: &mut Diagnostics<'_>,
) -> Vec<RepositoryConfig> {
    let mut all: Vec<(RepositoryConfig, KeyLocation)> = Vec::new();
    let primary = PRIMARY.parse().ok().zip(table.primary.as_ref());
    let copies = table.copies.iter().flat_map(|copies| copies.0.iter());
    for (name, _) in copies.clone().filter(|(name, _)| name.as_str() == PRIMARY) {
        log.fault(&name.spot, "is the name of the first repository", "give the copy another name");
    }
    let copies = copies.map(|(name, table)| (name.value.clone(), table));
    for (name, table) in primary.into_iter().chain(copies) {
        let Some((place, spot)) = place(table, base, log) else { continue };
        let mount = table.mount.as_deref().copied().unwrap_or_default();
        let twin = all.iter().find(|(other, _)| same_place(&other.place, &place));
        if let Some((other, _)) = twin {
            let message = format!("is the same location as repository `{}`", other.name);
            log.fault(&spot, message, "a copy must be in another bucket, prefix or directory");
        } else if let Some((other, _)) = all.iter().find(|(other, _)| is_nested(&other.place, &place)) {
            let message = format!("and repository `{}` are inside each other", other.name);
            log.fault(&spot, message, "a repository needs a directory of its own");
        }
        all.push((RepositoryConfig { name, place, mount }, spot));
    }
    all.into_iter().map(|(repository, _)| repository).collect()
}

fn same_place(one: &RepositoryLocation, other: &RepositoryLocation) -> bool {
    match (one, other) {
        (RepositoryLocation::Directory(one), RepositoryLocation::Directory(other)) => {
            plain(one) == plain(other)
        }
        (RepositoryLocation::S3(one), RepositoryLocation::S3(other)) => {
            one.bucket == other.bucket && one.prefix == other.prefix && one.server() == other.server()
        }
        _ => false,
    }
}

/// Returns whether one directory is inside of the other.
fn is_nested(one: &RepositoryLocation, other: &RepositoryLocation) -> bool {
    match (one, other) {
        (RepositoryLocation::Directory(one), RepositoryLocation::Directory(other)) => {
            let (one, other) = (plain(one), plain(other));
            one.starts_with(&other) || other.starts_with(&one)
        }
        _ => false,
    }
}

/// Returns the first repository inside of a directory.
pub(super) fn inside<'r>(
    directory: &Path,
    repositories: &'r [RepositoryConfig],
) -> Option<&'r RepositoryConfig> {
    let directory = plain(directory);
    repositories.iter().find(|repository| match &repository.place {
        RepositoryLocation::Directory(path) => plain(path).starts_with(&directory),
        RepositoryLocation::S3(_) => false,
    })
}

/// Removes `.` and `..` from a path.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

fn place(
    table: &Spanned<RepositoryTable>,
    base: ResolveBase<'_>,
    log: &mut Diagnostics<'_>,
) -> Option<(RepositoryLocation, KeyLocation)> {
    match (&table.url, &table.directory) {
        (Some(_), Some(directory)) => {
            log.fault(&directory.spot, "is given, and `url` too", "a repository is one of the two");
            None
        }
        (None, None) => {
            // A rejected `url` is not a missing one.
            if !log.has_faults_at(&table.spot.below("url"))
                && !log.has_faults_at(&table.spot.below("directory"))
            {
                let hint = "add `url = \"s3://bucket/prefix\"` or `directory = \"/path\"`";
                log.fault(&table.spot, "names no location", hint);
            }
            bucket_settings(table, log);
            None
        }
        (None, Some(directory)) => {
            for (_, spot) in
                table.given().into_iter().filter(|(name, _)| !matches!(*name, "directory" | "mount"))
            {
                log.fault(spot, "is for buckets, and this repository is a directory", "remove it");
            }
            Some((RepositoryLocation::Directory(base.path(directory)), directory.spot.clone()))
        }
        (Some(url), None) => {
            if table.region.is_none() && !log.has_faults_at(&table.spot.below("region")) {
                log.missing(&table.spot, "region", "\"us-east-1\"");
            }
            if let Some(mount) = &table.mount {
                log.fault(&mount.spot, "is for directories, and this repository is a bucket", "remove it");
            }
            let settings = bucket_settings(table, log);
            let endpoint = table.endpoint.as_ref().map(|endpoint| endpoint.0.clone());
            let place = S3Location {
                bucket: url.bucket.clone(),
                prefix: url.prefix.clone(),
                region: table.region.as_ref().map(|region| region.0.clone()).unwrap_or_default(),
                path_style: table.path_style.as_deref().copied().unwrap_or(endpoint.is_some()),
                endpoint,
                credentials: credentials(table.credentials.as_ref(), base, log),
                checksum: table.checksum.as_deref().copied().unwrap_or(Checksum::Crc64Nvme),
                storage_class: table.storage_class.as_deref().cloned(),
                server_side_encryption: settings.0,
                object_lock: settings.1,
            };
            Some((RepositoryLocation::S3(Box::new(place)), url.spot.clone()))
        }
    }
}

fn bucket_settings(
    table: &Spanned<RepositoryTable>,
    log: &mut Diagnostics<'_>,
) -> (Option<ServerSideEncryption>, Option<ObjectLock>) {
    if let Some(class) = &table.storage_class {
        let name = class.as_str();
        if FROZEN_CLASSES.contains(&name) {
            let hint = "reading it back takes hours, and drctl reads manifests every day: use `GLACIER_IR` or `STANDARD_IA`";
            log.fault(&class.spot, format!("`{name}` must be thawed before it can be read"), hint);
        } else if table.endpoint.is_none() && !AWS_CLASSES.contains(&name) {
            log.fault(
                &class.spot,
                format!("`{name}` is not a storage class"),
                suggest("classes", name, &AWS_CLASSES),
            );
        }
    }
    let key = table.kms_key.as_ref();
    let encryption = match table.server_side_encryption.as_deref() {
        Some(SseWord::Kms) => Some(ServerSideEncryption::Kms { key: key.map(|key| key.value.clone()) }),
        other => {
            if let Some(key) = key {
                log.fault(
                    &key.spot,
                    "is not used",
                    "say `server_side_encryption = \"aws:kms\"`, or remove the key",
                );
            }
            other.map(|_| ServerSideEncryption::S3)
        }
    };
    let lock = table.object_lock.as_ref().and_then(|lock| {
        let retain = lock.retain.as_ref()?;
        let ten_years = std::time::Duration::from_secs(MOST_LOCKED_DAYS * 24 * 3600);
        if matches!(retain.0, LockTerm::For(retain) if retain > ten_years) {
            let hint = "a compliance lock cannot be removed: drctl accepts at most ten years";
            log.fault(&retain.spot, "is more than ten years", hint);
        }
        Some(ObjectLock { mode: lock.mode.as_ref()?.value, retain: retain.0 })
    });
    (encryption, lock)
}

/// Reports locks that follow the rules of retention where there are none that say how long.
pub(super) fn lock_terms(
    table: &RepositoriesTable,
    repositories: &[RepositoryConfig],
    retention: Option<&Retention>,
    log: &mut Diagnostics<'_>,
) {
    let follows = |name: &RepositoryName| {
        let config = repositories.iter().find(|config| config.name == *name);
        let lock = config.and_then(|config| config.place.object_lock());
        lock.is_some_and(|lock| lock.retain == LockTerm::Rules)
    };
    let primary = PRIMARY.parse().ok().zip(table.primary.as_ref());
    let copies = table.copies.iter().flat_map(|copies| copies.0.iter());
    let copies = copies.map(|(name, table)| (name.value.clone(), table));
    for (name, table) in primary.into_iter().chain(copies).filter(|(name, _)| follows(name)) {
        let Some(retain) = table.object_lock.as_ref().and_then(|lock| lock.retain.as_ref()) else { continue };
        let all: Vec<&Rules> = retention.iter().flat_map(|retention| retention.all_for(&name)).collect();
        let days: Vec<Option<u64>> = all.iter().map(|rules| rules.longest_days()).collect();
        if days.is_empty() || days.contains(&None) {
            let hint = "write a duration, like `35d`, or say under `[retention]` for how long";
            log.fault(&retain.spot, "no rule of `[retention]` says for how long backups are kept", hint);
        } else if days.iter().flatten().any(|days| *days > MOST_LOCKED_DAYS) {
            let hint = "a compliance lock cannot be removed: drctl accepts at most ten years";
            log.fault(&retain.spot, "a rule of `[retention]` keeps backups for more than ten years", hint);
        }
    }
}

/// Resolves credentials: the SDK's chain, or exactly one of a profile, a role and a key pair.
pub(super) fn credentials(
    table: Option<&Spanned<CredentialsTable>>,
    base: ResolveBase<'_>,
    log: &mut Diagnostics<'_>,
) -> Credentials {
    let Some(table) = table else { return Credentials::Default };
    let keys =
        table.access_key_id.is_some() || table.secret_access_key.is_some() || table.session_token.is_some();
    let ways = usize::from(table.profile.is_some()) + usize::from(table.role.is_some()) + usize::from(keys);
    if ways > 1 {
        log.fault(&table.spot, "say more than one thing", "give `profile`, or `role`, or the pair of keys");
    } else if ways == 0 && !log.has_faults_at(&table.spot) {
        let hint = "give `profile`, or `role`, or the pair of keys; without this table the SDK looks in its usual places";
        log.fault(&table.spot, "say nothing", hint);
    }
    if let Some(id) = table.external_id.as_ref().filter(|_| table.role.is_none()) {
        log.fault(&id.spot, "is not used", "it goes with `role`");
    }
    if let Some(role) = table.role.as_ref().filter(|role| role.service() != "iam") {
        log.fault(
            &role.spot,
            "is not the ARN of a role",
            "write it like `arn:aws:iam::123456789012:role/backup`",
        );
    }
    if keys {
        for (name, key) in
            [("access_key_id", &table.access_key_id), ("secret_access_key", &table.secret_access_key)]
        {
            if key.is_none() && !log.has_faults_at(&table.spot.below(name)) {
                log.missing(&table.spot, name, "\"env:NAME\"");
            }
        }
    }
    if let Some(role) = &table.role {
        let external_id = table.external_id.as_deref().cloned();
        return Credentials::Role { arn: role.0.clone(), external_id };
    }
    if let Some(profile) = &table.profile {
        return Credentials::Profile(profile.value.clone());
    }
    match base.secret(&table.access_key_id).zip(base.secret(&table.secret_access_key)) {
        Some((access_key_id, secret_access_key)) => Credentials::Keys {
            access_key_id,
            secret_access_key,
            session_token: base.secret(&table.session_token),
        },
        None => Credentials::Default,
    }
}

/// Returns whether a repository `name` exists, and reports a fault with a hint if not.
pub(super) fn known(
    at: &Spanned<RepositoryName>,
    repositories: &[RepositoryConfig],
    log: &mut Diagnostics<'_>,
) -> bool {
    let names: Vec<&str> = repositories.iter().map(|repository| repository.name.as_str()).collect();
    let known = names.contains(&at.as_str());
    if !known {
        log.fault(
            &at.spot,
            format!("there is no repository `{}`", at.value),
            suggest("repositories", at.as_str(), &names),
        );
    }
    known
}
