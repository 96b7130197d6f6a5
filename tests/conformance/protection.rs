//! What protects backups in a store that keeps versions and locks objects, tried on a real one.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule as SdkRule,
    LifecycleRuleFilter, NoncurrentVersionExpiration,
};
use bytes::Bytes;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use drctl::aws::{S3Timeouts, s3_client};
use drctl::model::{
    Artifact, BackupId, BackupKind, Digest, Encoding, Manifest, ObjectPart, Protection, RunId, SourceName,
    SystemName, ToolFacts,
};
use drctl::platform::{CancellationToken, Clock as _, SystemClock};
use drctl::policy::LockMode;
use drctl::repository::store_probe::capability::Capability;
use drctl::repository::store_probe::lock::probe_lock;
use drctl::repository::{Repositories, Repository, layout, manifest};
use drctl::store::s3::S3Store;
use drctl::store::{
    LifecycleRemoval, Lock, Precondition, PutOptions, Store, StoreAdmin as _, delete_object, list_all,
};

use crate::probes::Careless;
use crate::support::Outcome;
use crate::support::radosgw;
use crate::support::s3::{Keys, S3Server};
use crate::support::system::{Place, System};

async fn locked(bucket: &str) -> Outcome<(S3Store, Keys)> {
    let keys = radosgw::bucket(bucket, true).await?;
    Ok((S3Store::open(&keys.place).await?, keys))
}

#[tokio::test]
async fn a_lock_counts_where_the_store_refuses_to_delete_and_not_where_it_deletes_anyway() -> Outcome<()> {
    let (store, _keys) = locked("tried").await?;
    let cancel = CancellationToken::new();
    let careless = Careless::of(store.clone());
    let (tried, lies) = tokio::join!(
        probe_lock(&store, LockMode::Governance, &cancel),
        probe_lock(&careless, LockMode::Compliance, &cancel),
    );
    assert_eq!((&tried.refuses, &tried.reveals), (&Capability::Yes, &Capability::Yes));
    assert!(matches!(&lies.refuses, Capability::No(why) if why.contains("deleted")), "{lies:?}");
    // Not even a version is left.
    assert_eq!(store.versions_below(".drctl-probe/", None).await?.versions, []);

    let server = S3Server::start().await?;
    let plain = server.place()?;
    let unlocked = probe_lock(&S3Store::open(&plain.place).await?, LockMode::Governance, &cancel).await;
    assert!(!unlocked.refuses.is_yes(), "{unlocked:?}");
    Ok(())
}

/// A backup of two objects, in a repository with its marker.
async fn stored(store: &S3Store, hours: i64) -> Outcome<Manifest> {
    let begun: DateTime<Utc> = (SystemClock.now() - TimeDelta::hours(hours)).trunc_subsecs(0);
    let source: SourceName = "database".parse()?;
    let id = BackupId::new(begun, &source, BackupKind::Logical, u32::try_from(hours)?);
    let mut artifacts = Vec::new();
    for name in ["database.dump.zst.age", "details.json.zst.age"] {
        let bytes = Bytes::from(format!("{name} of {hours} hours ago").repeat(100));
        let key = layout::object(&"shop".parse()?, &id, name);
        store.put(&key, bytes.clone(), &PutOptions::absent()).await?;
        artifacts.push(Artifact {
            name: name.to_owned(),
            plain: Digest::compute(name.as_bytes()),
            encoding: vec![Encoding::Zstd, Encoding::Age],
            objects: vec![ObjectPart { name: name.to_owned(), stored: Digest::compute(&bytes) }],
        });
    }
    let system: SystemName = "shop".parse()?;
    let repository = Repository { name: "primary".parse()?, store: std::sync::Arc::new(store.clone()) };
    let set = Repositories::new(vec![repository]).for_writing(&system, None, SystemClock.now()).await?;
    let backup = Manifest {
        format: "1.0".to_owned(),
        repository_id: set.id().unwrap_or_default().to_owned(),
        system,
        source,
        id,
        kind: BackupKind::Logical,
        run: RunId::new(begun, 1),
        recovery_point: begun,
        begun,
        ended: begun + TimeDelta::seconds(20),
        host: "app-1".to_owned(),
        tool: ToolFacts { drctl: "0.1.0".to_owned(), producer: "pg_dump (PostgreSQL) 17.6".to_owned() },
        server: None,
        physical: None,
        parent: None,
        point: None,
        managed: None,
        protection: Protection::None,
        artifacts,
        by_hand: vec![],
    };
    let bytes = manifest::serialise(&backup)?;
    manifest::commit(store, &backup.system, &backup.id, bytes, &PutOptions::default()).await?;
    Ok(backup)
}

async fn contents(store: &S3Store) -> Outcome<BTreeMap<String, Bytes>> {
    let mut contents = BTreeMap::new();
    for object in list_all(store, "shop/database/").await? {
        let (bytes, _) = store.get(&object.key, 1 << 20).await?;
        contents.insert(object.key, bytes);
    }
    Ok(contents)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_intruder_hides_and_overwrites_comes_back_to_the_byte() -> Outcome<()> {
    let (store, keys) = locked("intruded").await?;
    let endpoint = keys.place.endpoint.as_ref().ok_or("no endpoint")?;
    let place = Place::S3 {
        endpoint: endpoint.as_str().trim_end_matches('/').to_owned(),
        bucket: "intruded".to_owned(),
        access_key: crate::support::s3::ACCESS_KEY.to_owned(),
        secret_key: crate::support::s3::SECRET_KEY.to_owned(),
    };
    let system = System::new("postgres://drctl@db.internal/shop", &[place])?;
    system.rewrite("/backups\"", &format!("/{}\"", keys.place.prefix))?;
    let (hidden, overwritten, removed) =
        (stored(&store, 3).await?, stored(&store, 2).await?, stored(&store, 1).await?);
    let before = contents(&store).await?;
    system.expect(0, &["list"]).await?;
    let nothing = system.expect(0, &["list", "--include-hidden"]).await?;
    nothing.says("Nothing is hidden or overwritten.")?;

    // All of one is deleted, with the marker of the repository; of another one an object is written again, and then its
    // manifest. A third one was removed on purpose.
    for name in ["database.dump.zst.age", "details.json.zst.age", "manifest.json"] {
        delete_object(&store, &layout::object(&hidden.system, &hidden.id, name)).await?;
        delete_object(&store, &layout::object(&removed.system, &removed.id, name)).await?;
    }
    let spoiled = layout::object(&overwritten.system, &overwritten.id, "database.dump.zst.age");
    let size = before.get(&spoiled).map_or(0, Bytes::len);
    for key in [&spoiled, &layout::manifest(&overwritten.system, &overwritten.id)] {
        let any = PutOptions { precondition: Precondition::None, ..PutOptions::default() };
        // As long as what it replaces: only its digest tells it.
        store.put(key, Bytes::from(vec![b'x'; size]), &any).await?;
    }
    system.drctl(&["copies", "forget", removed.id.as_str()]).await?;
    delete_object(&store, layout::MARKER).await?;

    let shown = system.drctl(&["copies", "undelete"]).await?;
    assert_eq!(shown.code, Some(0), "{shown:#?}");
    shown.says(hidden.id.as_str())?.says(overwritten.id.as_str())?.says("removed on purpose")?;
    shown.says("the records of the repository")?.says("Nothing was changed.")?;
    assert!(store.head(layout::MARKER).await?.is_none(), "it only showed the plan");

    let versions = store.versions_below("shop/database/", None).await?.versions;
    let done = system.drctl(&["copies", "undelete", "--apply"]).await?;
    assert_eq!(done.code, Some(0), "{done:#?}");
    let mut expected = before.clone();
    expected.retain(|key, _| !key.contains(removed.id.as_str()));
    assert_eq!(contents(&store).await?, expected);
    assert!(store.head(layout::MARKER).await?.is_some());
    // Of all versions only markers are gone.
    let left = store.versions_below("shop/database/", None).await?.versions;
    let is_left = |id: &Option<String>| left.iter().any(|(_, version)| version.id == *id);
    assert!(
        versions.iter().filter(|(_, version)| !version.is_marker()).all(|(_, version)| is_left(&version.id))
    );

    // By its id comes back what was removed, and then there is nothing more.
    let asked = system.drctl(&["copies", "undelete", removed.id.as_str(), "--apply"]).await?;
    assert_eq!(asked.code, Some(0), "{asked:#?}");
    assert_eq!(contents(&store).await?, before);
    let none = system.drctl(&["copies", "undelete", "--apply"]).await?;
    none.says("Nothing is hidden or overwritten.")?;
    Ok(())
}

#[tokio::test]
async fn an_object_is_locked_later_and_only_ever_longer() -> Outcome<()> {
    let (store, _keys) = locked("placed").await?;
    let until = |days| (SystemClock.now() + TimeDelta::days(days)).trunc_subsecs(0);
    let lock = |until| Lock { mode: LockMode::Governance, until };
    let (first, longer) = (until(2), until(9));
    store.put("s/a", Bytes::from_static(b"x"), &PutOptions::absent()).await?;
    for (asked, is) in [(first, first), (longer, longer), (first, longer)] {
        store.place_lock("s/a", lock(asked)).await?;
        assert_eq!(store.locked_until("s/a").await?, Some(is));
    }
    // A copy of a version is locked as it is asked for.
    let version = store.versions("s/a").await?[0].clone();
    store.copy_version("s/a", version.id.as_deref().ok_or("no version")?, 1, Some(lock(first))).await?;
    assert_eq!(store.locked_until("s/a").await?, Some(first));
    assert_eq!(store.versions("s/a").await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn the_rules_of_a_bucket_are_read() -> Outcome<()> {
    let keys = radosgw::bucket("lifecycle", false).await?;
    let store = S3Store::open(&keys.place).await?;
    assert_eq!(store.lifecycle().await?, []);
    let client = s3_client(&keys.place, &S3Timeouts::default(), drctl::aws::LastAttempt::default()).await?;
    let filter = |prefix: &str| LifecycleRuleFilter::builder().prefix(prefix).build();
    let below = format!("{}/shop/database/wal/", keys.place.prefix);
    let rules = [
        SdkRule::builder()
            .id("tidy")
            .status(ExpirationStatus::Enabled)
            .filter(filter(""))
            .expiration(LifecycleExpiration::builder().days(30).build())
            .build()?,
        SdkRule::builder()
            .id("old")
            .status(ExpirationStatus::Enabled)
            .filter(filter(&below))
            .noncurrent_version_expiration(NoncurrentVersionExpiration::builder().noncurrent_days(7).build())
            .build()?,
    ];
    let rules = BucketLifecycleConfiguration::builder().set_rules(Some(rules.into())).build()?;
    client
        .put_bucket_lifecycle_configuration()
        .bucket("lifecycle")
        .lifecycle_configuration(rules)
        .send()
        .await
        .map_err(|error| format!("{error:?}"))?;
    let mut found: Vec<_> =
        store.lifecycle().await?.into_iter().map(|rule| (rule.id, rule.prefix, rule.removes)).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("old".to_owned(), "shop/database/wal/".to_owned(), LifecycleRemoval::OldVersions { days: 7 }),
        ("tidy".to_owned(), String::new(), LifecycleRemoval::Objects { days: 30 }),
    ];
    assert_eq!(found, expected);
    Ok(())
}
