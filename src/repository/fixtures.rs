//! Stores and backups for unit tests.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};

use super::{FormatVersion, Repositories, Repository, layout, manifest};
use crate::model::{
    Artifact, BackupId, BackupKind, Digest, Encoding, Manifest, ObjectPart, Protection, RunId, SourceName,
    SystemName, ToolFacts,
};
use crate::store::PutOptions;
use crate::store::directory::DirectoryStore;

pub(crate) const REPOSITORY_ID: &str = "0123456789abcdef0123456789abcdef";

pub(crate) fn system() -> SystemName {
    "shop".parse().unwrap()
}

pub(crate) fn noon() -> DateTime<Utc> {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

/// Creates a directory for each name below `root`, except for names that begin with `missing`.
pub(crate) async fn repositories(root: &Path, names: &[&str]) -> Repositories {
    let mut list = Vec::new();
    for name in names {
        let store = if name.starts_with("missing") {
            DirectoryStore::open(root.join(name))
        } else {
            DirectoryStore::create(root.join(name)).await.unwrap()
        };
        list.push(Repository { name: name.parse().unwrap(), store: Arc::new(store) });
    }
    Repositories::new(list)
}

/// Builds a backup of source `database` that began `minutes` after noon, and its objects' bytes.
pub(crate) fn backup(minutes: i64) -> (Manifest, Vec<(String, Bytes)>) {
    let begun = noon() + TimeDelta::minutes(minutes);
    let source: SourceName = "database".parse().unwrap();
    let name = "database.dump.zst.age";
    let objects: Vec<_> = (0..2)
        .map(|n| (layout::object_name(name, n), Bytes::from(format!("object {n} of {minutes}").repeat(1000))))
        .collect();
    let parts =
        objects.iter().map(|(name, bytes)| ObjectPart { name: name.clone(), stored: Digest::compute(bytes) });
    let manifest = Manifest {
        format: FormatVersion::CURRENT.to_string(),
        repository_id: REPOSITORY_ID.to_owned(),
        system: system(),
        id: BackupId::new(begun, &source, BackupKind::Logical, u32::try_from(minutes).unwrap() * 31),
        source,
        kind: BackupKind::Logical,
        run: RunId::new(begun, 1),
        recovery_point: begun,
        begun,
        ended: begun + TimeDelta::seconds(20),
        host: "a".to_owned(),
        tool: ToolFacts { drctl: "0.1.0".to_owned(), producer: "pg_dump (PostgreSQL) 17.6".to_owned() },
        server: None,
        physical: None,
        parent: None,
        point: None,
        managed: None,
        protection: Protection::Age { recipients: Vec::new() },
        artifacts: vec![Artifact {
            name: name.to_owned(),
            plain: Digest::compute(b"plain"),
            encoding: vec![Encoding::Zstd, Encoding::Age],
            objects: parts.collect(),
        }],
        by_hand: Vec::new(),
    };
    (manifest, objects)
}

/// Writes a complete backup into a repository, the manifest last.
pub(crate) async fn store_backup(repository: &Repository, minutes: i64) -> Manifest {
    let (manifest, objects) = backup(minutes);
    for (name, bytes) in objects {
        let key = layout::object(&manifest.system, &manifest.id, &name);
        repository.store.put(&key, bytes, &PutOptions::absent()).await.unwrap();
    }
    let bytes = manifest::serialise(&manifest).unwrap();
    let options = PutOptions::default();
    manifest::commit(&*repository.store, &manifest.system, &manifest.id, bytes, &options).await.unwrap();
    manifest
}
