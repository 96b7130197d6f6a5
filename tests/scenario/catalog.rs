//! The catalog in PostgreSQL: what one text for two databases promises.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use drctl::catalog::{Catalog, CatalogError, CatalogLocation, Depth, Filter, refresh};
use drctl::model::{
    Artifact, AssuranceLevel, BackupId, BackupKind, CheckDepth, CopyCheck, CopyFault, Digest, Encoding,
    Manifest, ObjectFault, ObjectPart, Outcome as RunOutcome, Protection, RunId, SourceName, SystemName,
    ToolFacts,
};
use drctl::platform::SecretString;
use drctl::repository::{Repositories, Repository, journal, layout, manifest};
use drctl::store::directory::DirectoryStore;
use drctl::store::{PutOptions, delete_object};

use crate::support::Outcome;
use crate::support::postgres::{Cluster, ClusterOptions};

fn system() -> Outcome<SystemName> {
    Ok("shop".parse()?)
}

fn noon() -> Outcome<DateTime<Utc>> {
    Ok("2026-11-20T12:00:00Z".parse()?)
}

async fn repositories(root: &Path) -> Outcome<Repositories> {
    let mut list = Vec::new();
    for name in ["primary", "copy"] {
        let store = DirectoryStore::create(root.join(name)).await?;
        list.push(Repository { name: name.parse()?, store: Arc::new(store) });
    }
    Ok(Repositories::new(list))
}

async fn store_backup(repository: &Repository, minutes: i64) -> Outcome<BackupId> {
    let begun = noon()? + TimeDelta::minutes(minutes);
    let source: SourceName = "database".parse()?;
    let bytes = Bytes::from(format!("bytes of {minutes}"));
    let name = "database.dump.zst.age".to_owned();
    let backup = Manifest {
        format: "1.0".to_owned(),
        repository_id: "0123456789abcdef0123456789abcdef".to_owned(),
        system: system()?,
        id: BackupId::new(begun, &source, BackupKind::Logical, u32::try_from(minutes)?),
        source,
        kind: BackupKind::Logical,
        run: RunId::new(begun, 1),
        recovery_point: begun,
        begun,
        ended: begun,
        host: "a".to_owned(),
        tool: ToolFacts { drctl: "0.1.0".to_owned(), producer: "pg_dump".to_owned() },
        server: None,
        physical: None,
        parent: None,
        point: None,
        managed: None,
        protection: Protection::Age { recipients: vec![] },
        artifacts: vec![Artifact {
            name: name.clone(),
            plain: Digest::compute(b"plain"),
            encoding: vec![Encoding::Zstd, Encoding::Age],
            objects: vec![ObjectPart { name: name.clone(), stored: Digest::compute(&bytes) }],
        }],
        by_hand: vec![],
    };
    let key = layout::object(&backup.system, &backup.id, &name);
    repository.store.put(&key, bytes, &PutOptions::absent()).await?;
    let bytes = manifest::serialise(&backup)?;
    manifest::commit(&*repository.store, &backup.system, &backup.id, bytes, &PutOptions::default()).await?;
    Ok(backup.id)
}

#[tokio::test]
async fn a_fleet_shares_one_catalog_in_postgresql() -> Outcome<()> {
    let cluster = Cluster::start_with(ClusterOptions::new(15).scram("p@ss/word")).await?;
    cluster.execute("postgres", &["CREATE DATABASE catalog"]).await?;
    let url = format!("postgres://postgres@127.0.0.1:{}/catalog", cluster.port());
    let location = CatalogLocation::resolve(
        Some(&url),
        Some(&SecretString::from("p@ss/word".to_owned())),
        Path::new("/"),
    )?;

    // Both hosts open it for the first time at once.
    let system_name = system()?;
    let (one, two) =
        tokio::join!(Catalog::open(&location, &system_name), Catalog::open(&location, &system_name));
    let (one, two) = (one?, two?);

    let root = crate::support::scratch::folder()?;
    let set = repositories(root.path()).await?;
    let (primary, copy) = (set.iter().next().ok_or("primary")?, set.iter().nth(1).ok_or("copy")?);
    let older = store_backup(primary, 0).await?;
    store_backup(copy, 0).await?;
    let newer = store_backup(primary, 1).await?;
    let refreshed = refresh(&one, &system()?, &set, Depth::New, noon()?).await?;
    assert_eq!((refreshed.found.len(), refreshed.refused.len()), (3, 0));

    let fault = ObjectFault { object: "x".to_owned(), fault: CopyFault::Altered, detail: String::new() };
    let check = |repository: &Repository, faults: &[ObjectFault], at| CopyCheck {
        backup: older.clone(),
        repository: repository.name.clone(),
        at,
        depth: CheckDepth::Plain,
        faults: faults.to_vec(),
    };
    let begun = noon()? + TimeDelta::hours(1);
    let record = journal::JournalRecord {
        format: String::new(),
        run: RunId::new(begun, 9),
        verb: "verify".to_owned(),
        begun,
        ended: begun,
        host: "b".to_owned(),
        outcome: RunOutcome::Degraded,
        previous: None,
        detail: journal::Detail {
            checks: vec![check(primary, &[], begun), check(copy, &[fault], begun)],
            ..Default::default()
        },
    };
    two.record_run(&record).await?;
    two.record_run(&record).await?;
    // An older finding does not displace a newer one.
    two.record_check(&check(copy, &[], noon()?)).await?;

    let entries = one.backups(&Filter::default()).await?;
    assert_eq!(entries.iter().map(|entry| entry.id()).collect::<Vec<_>>(), [&newer, &older]);
    assert_eq!(entries[1].copy(&primary.name).ok_or("copy")?.state, AssuranceLevel::Checked);
    assert!(!entries[1].copy(&copy.name).ok_or("copy")?.is_good());
    assert_eq!(one.runs(None).await?, [record]);

    assert!(matches!(one.find("20261120T12").await, Err(CatalogError::Ambiguous { .. })));
    assert_eq!(one.find("20261120T1201").await?.id(), &newer);
    delete_object(&*copy.store, &layout::manifest(&system()?, &older)).await?;
    let refreshed = refresh(&one, &system()?, &set, Depth::New, noon()?).await?;
    assert_eq!(refreshed.vanished.len(), 1);
    // The record was in no repository: rebuilt from them, nothing is known of it.
    refresh(&one, &system()?, &set, Depth::Whole, noon()?).await?;
    assert_eq!(one.runs(None).await?, []);
    two.forget(&newer).await?;
    assert_eq!(one.backups(&Filter { source: Some("database".parse()?), vanished: true }).await?.len(), 1);
    let known = one.repositories().await?;
    assert_eq!(known.len(), 2);
    assert_eq!(known[0].seen, Some(noon()?));
    Ok(())
}
