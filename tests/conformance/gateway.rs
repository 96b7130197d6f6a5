//! S3 by radosgw: a bucket for each test.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::ObjectLockMode;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use drctl::aws::{S3Timeouts, s3_client};
use drctl::platform::{Clock as _, SystemClock};
use drctl::policy::{Checksum, LockMode};
use drctl::store::s3::S3Store;
use drctl::store::{
    Lock, ObjectVersion, PutOptions, Store, StoreAdmin as _, StoreErrorKind, delete_object, list_all,
};

use crate::suite::{self, conforms};
use crate::support::Outcome;
use crate::support::radosgw::{self, OTHER};
use crate::support::s3::Keys;

pub(crate) struct Stage {
    pub(crate) store: S3Store,
    pub(crate) keys: Keys,
}

pub(crate) async fn open(case: &str) -> Outcome<Stage> {
    let keys = radosgw::bucket(&case.replace('_', "-"), false).await?;
    Ok(Stage { store: S3Store::open(&keys.place).await?, keys })
}

conforms! { open:
    what_is_written_is_read_back,
    a_body_that_is_not_the_one_it_was_signed_as_is_refused,
    metadata_comes_back_as_given,
    what_is_not_there_is_said_to_be_not_there,
    an_object_is_not_overwritten,
    one_of_many_writers_at_once_succeeds,
    a_change_by_someone_else_is_noticed,
    parts_may_come_in_any_order,
    an_aborted_upload_leaves_nothing,
    uploads_on_their_way_can_be_found_and_ended,
    an_object_may_be_empty,
    a_short_answer_is_an_error,
    a_long_listing_is_whole_and_sorted,
    keys_may_have_any_letters,
    what_is_no_key_is_refused,
    many_objects_are_deleted_at_once,
    an_object_has_one_version,
    what_is_not_locked_cannot_be_locked_longer,
}

#[tokio::test]
async fn a_missing_bucket_has_its_own_name() -> Outcome<()> {
    let address = tokio::task::spawn_blocking(radosgw::address).await??;
    let keys = Keys::new(address, "no-such-bucket")?;
    suite::a_missing_bucket_has_its_own_name(&S3Store::open(&keys.place).await?).await
}

#[tokio::test]
async fn every_checksum_is_taken() -> Outcome<()> {
    for (checksum, bucket) in [
        (Checksum::Crc64Nvme, "checksum-crc64"),
        (Checksum::Crc32c, "checksum-crc32c"),
        (Checksum::Sha256, "checksum-sha256"),
        (Checksum::None, "checksum-none"),
    ] {
        let store = open(bucket).await?.store.with_checksum(checksum);
        suite::parts_may_come_in_any_order(&store).await?;
        suite::an_object_may_be_empty(&store).await?;
    }
    Ok(())
}

/// Keys that are wrong, and keys of someone who may not.
#[tokio::test]
async fn wrong_keys_and_missing_permission_have_names_of_their_own() -> Outcome<()> {
    let stage = open("keys").await?;
    let address = tokio::task::spawn_blocking(radosgw::address).await??;
    stage.store.put("s/a", Bytes::from_static(b"x"), &PutOptions::absent()).await?;
    for (id, secret, kind) in [
        ("AKIANOBODY", "secrettest", StoreErrorKind::Credentials),
        ("AKIATEST", "wrong", StoreErrorKind::Credentials),
        (OTHER.0, OTHER.1, StoreErrorKind::Forbidden),
    ] {
        let keys = Keys::of(address, "keys", id, secret)?;
        let store = S3Store::open(&keys.place).await?;
        let refusals = [
            store.head("s/a").await.map(drop),
            store.get("s/a", 9).await.map(drop),
            store.list("", None).await.map(drop),
            delete_object(&store, "s/a").await,
            store.put("s/b", Bytes::from_static(b"x"), &PutOptions::absent()).await.map(drop),
            store.begin_upload("s/b", &PutOptions::absent()).await.map(drop),
        ];
        for refusal in refusals {
            let error = refusal.expect_err("it may not");
            assert_eq!(error.kind, kind, "{id}: {error}");
            assert!(!error.to_string().contains(secret), "{error}");
        }
    }
    Ok(())
}

/// Lets the other user write. It is denied to read in so many words, since it owns what it writes.
async fn allow_writing(owner: &Client, bucket: &str) -> Outcome<()> {
    let statement = |effect: &str, actions: &[&str]| {
        serde_json::json!({
            "Effect": effect,
            "Principal": {"AWS": ["arn:aws:iam:::user/other"]},
            "Action": actions,
            "Resource": [format!("arn:aws:s3:::{bucket}/*")],
        })
    };
    let policy = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [
            statement("Allow", &["s3:PutObject", "s3:AbortMultipartUpload"]),
            statement("Deny", &["s3:GetObject"]),
        ],
    });
    owner.put_bucket_policy().bucket(bucket).policy(policy.to_string()).send().await?;
    Ok(())
}

/// A backup host needs no permission to read, and gets no wrong answer for the lack of it.
#[tokio::test]
async fn who_may_only_write_can_write() -> Outcome<()> {
    let stage = open("write-only").await?;
    let owner =
        s3_client(&stage.keys.place, &S3Timeouts::default(), drctl::aws::LastAttempt::default()).await?;
    allow_writing(&owner, "write-only").await?;
    let address = tokio::task::spawn_blocking(radosgw::address).await??;
    let keys = Keys::of(address, "write-only", OTHER.0, OTHER.1)?;
    let writer = S3Store::open(&keys.place).await?;

    writer.put("s/put", Bytes::from_static(b"put"), &PutOptions::absent()).await?;
    let again = writer.put("s/put", Bytes::from_static(b"again"), &PutOptions::absent()).await;
    assert_eq!(again.expect_err("there is one").kind, StoreErrorKind::Exists);
    let upload = writer.begin_upload("s/upload", &PutOptions::absent()).await?;
    upload.part(1, suite::noise(suite::PART, 1)).await?;
    upload.part(2, Bytes::from_static(b"end")).await?;
    // The store's own sum of the whole stands in for looking at it. Without one there is no proof.
    upload.complete().await?;
    let unproven = writer.with_checksum(Checksum::None).begin_upload("s/none", &PutOptions::absent()).await?;
    unproven.part(1, Bytes::from_static(b"x")).await?;
    assert_eq!(unproven.complete().await.expect_err("unproven").kind, StoreErrorKind::Forbidden);

    for key in ["s/put", "s/absent"] {
        let error = writer.head(key).await.expect_err("it may not read");
        assert_eq!(error.kind, StoreErrorKind::Forbidden, "{error}");
        assert!(error.to_string().contains("s3:ListBucket"), "{error}");
    }
    // Its owner cannot read it either, but sees it.
    let sizes: Vec<_> =
        list_all(&stage.store, "s/").await?.into_iter().map(|object| (object.key, object.size)).collect();
    let expected = [("s/none", 1), ("s/put", 3), ("s/upload", suite::PART as u64 + 3)];
    assert_eq!(sizes, expected.map(|(key, size)| (key.to_owned(), size)));
    Ok(())
}

#[tokio::test]
async fn a_locked_object_cannot_be_deleted() -> Outcome<()> {
    let keys = radosgw::bucket("locked", true).await?;
    let store = S3Store::open(&keys.place).await?;
    assert_eq!(store.keeps_versions().await?, Some(true));
    assert_eq!(store.locks_objects().await?, Some(true));
    let until: DateTime<Utc> = (SystemClock.now() + TimeDelta::days(2)).with_nanosecond(0).expect("in range");
    for (key, mode, expected) in [
        ("s/governance", LockMode::Governance, ObjectLockMode::Governance),
        ("s/compliance", LockMode::Compliance, ObjectLockMode::Compliance),
    ] {
        let options = PutOptions { lock: Some(Lock { mode, until }), ..PutOptions::absent() };
        let put = store.put(key, Bytes::from_static(b"x"), &options).await?;
        let name = format!("{key}-upload");
        let upload = store.begin_upload(&name, &options).await?;
        upload.part(1, Bytes::from_static(b"x")).await?;
        let completed = upload.complete().await?;
        let client =
            s3_client(&keys.place, &S3Timeouts::default(), drctl::aws::LastAttempt::default()).await?;
        for (key, version) in [(key, put.version), (name.as_str(), completed.version)] {
            let full = format!("{}/{key}", keys.place.prefix);
            let head = client.head_object().bucket("locked").key(&full).send().await?;
            assert_eq!(head.object_lock_mode(), Some(&expected), "{key}");
            assert_eq!(head.object_lock_retain_until_date().map(|date| date.secs()), Some(until.timestamp()));
            let delete =
                client.delete_object().bucket("locked").key(&full).version_id(version.expect("kept"));
            let refusal = delete.send().await.expect_err("it is locked");
            assert_eq!(refusal.raw_response().map(|answer| answer.status().as_u16()), Some(403), "{key}");
        }
    }
    let options =
        PutOptions { lock: Some(Lock { mode: LockMode::Governance, until }), ..PutOptions::absent() };
    let error = store
        .with_checksum(Checksum::None)
        .put("s/none", Bytes::new(), &options)
        .await
        .expect_err("no checksum");
    assert_eq!(error.kind, StoreErrorKind::Unsupported, "{error}");
    Ok(())
}

/// When the newest version of an object may be deleted, and whether it is held.
async fn retention(keys: &Keys, key: &str) -> Outcome<(Option<i64>, bool)> {
    let client = s3_client(&keys.place, &S3Timeouts::default(), drctl::aws::LastAttempt::default()).await?;
    let full = format!("{}/{key}", keys.place.prefix);
    let head = client.head_object().bucket(&keys.place.bucket).key(full).send().await?;
    let is_held = head.object_lock_legal_hold_status().is_some_and(|status| status.as_str() == "ON");
    Ok((head.object_lock_retain_until_date().map(|date| date.secs()), is_held))
}

#[tokio::test]
async fn a_lock_gets_longer_and_never_shorter() -> Outcome<()> {
    let keys = radosgw::bucket("longer", true).await?;
    let store = S3Store::open(&keys.place).await?;
    let in_days = |days| (SystemClock.now() + TimeDelta::days(days)).with_nanosecond(0).expect("in range");
    for (key, mode) in [("s/governance", LockMode::Governance), ("s/compliance", LockMode::Compliance)] {
        let (first, longer) = (in_days(2), in_days(5));
        let options = PutOptions { lock: Some(Lock { mode, until: first }), ..PutOptions::absent() };
        store.put(key, Bytes::from_static(b"x"), &options).await?;
        store.extend_lock(key, longer).await?;
        assert_eq!(retention(&keys, key).await?, (Some(longer.timestamp()), false), "{key}");
        store.extend_lock(key, first).await?;
        assert_eq!(retention(&keys, key).await?.0, Some(longer.timestamp()), "{key}");
        let client =
            s3_client(&keys.place, &S3Timeouts::default(), drctl::aws::LastAttempt::default()).await?;
        let full = format!("{}/{key}", keys.place.prefix);
        let mode = client.head_object().bucket("longer").key(full).send().await?;
        let expected = match key {
            "s/governance" => ObjectLockMode::Governance,
            _ => ObjectLockMode::Compliance,
        };
        assert_eq!(mode.object_lock_mode(), Some(&expected));
    }
    store.put("s/unlocked", Bytes::from_static(b"x"), &PutOptions::absent()).await?;
    let error = store.extend_lock("s/unlocked", in_days(1)).await.expect_err("it is not locked");
    assert_eq!(error.kind, StoreErrorKind::Unsupported, "{error}");
    store.extend_lock("s/none", in_days(1)).await.expect_err("it is not there");
    Ok(())
}

#[tokio::test]
async fn what_is_held_is_kept_until_the_hold_is_taken_off() -> Outcome<()> {
    let keys = radosgw::bucket("held", true).await?;
    let store = S3Store::open(&keys.place).await?;
    let written = store.put("s/a", Bytes::from_static(b"x"), &PutOptions::absent()).await?;
    let client = s3_client(&keys.place, &S3Timeouts::default(), drctl::aws::LastAttempt::default()).await?;
    let full = format!("{}/s/a", keys.place.prefix);
    let version = written.version.expect("the bucket keeps versions");
    let delete = || client.delete_object().bucket("held").key(&full).version_id(&version).send();
    store.set_legal_hold("s/a", true).await?;
    assert_eq!(retention(&keys, "s/a").await?, (None, true));
    let locked = (store.locked_until("s/a").await?, store.retained_until("s/a").await?);
    assert_eq!(locked, (Some(DateTime::<Utc>::MAX_UTC), None), "a hold is no lock");
    delete().await.expect_err("it is held");
    store.set_legal_hold("s/a", false).await?;
    assert_eq!(retention(&keys, "s/a").await?, (None, false));
    delete().await?;
    assert_eq!(store.versions("s/a").await?, []);
    Ok(())
}

#[tokio::test]
async fn what_was_overwritten_or_deleted_is_a_version() -> Outcome<()> {
    let store = S3Store::open(&radosgw::bucket("versions", true).await?.place).await?;
    let mut ids = Vec::new();
    for body in ["one", "three"] {
        let body = Bytes::from_static(body.as_bytes());
        ids.push(store.put("s/a", body, &PutOptions::default()).await?.version.expect("it keeps versions"));
        store.put("s/ab", Bytes::from_static(b"another"), &PutOptions::default()).await?;
    }
    let shown = |versions: Vec<ObjectVersion>| -> Vec<_> {
        versions.into_iter().map(|one| (one.id.unwrap_or_default(), one.size, one.is_latest)).collect()
    };
    let expected = |latest| [(ids[1].clone(), Some(5), latest), (ids[0].clone(), Some(3), false)];
    assert_eq!(shown(store.versions("s/a").await?), expected(true));
    delete_object(&store, "s/a").await?;
    assert_eq!(store.head("s/a").await?, None);
    let versions = shown(store.versions("s/a").await?);
    assert_eq!((versions[0].1, versions[0].2), (None, true), "{versions:?}");
    assert_eq!(versions[1..], expected(false));
    Ok(())
}

/// One that may not be deleted does not keep the others, and whoever may delete none of them is told so of each.
#[tokio::test]
async fn of_objects_to_be_deleted_each_has_its_own_answer() -> Outcome<()> {
    let stage = open("deleted").await?;
    let owner =
        s3_client(&stage.keys.place, &S3Timeouts::default(), drctl::aws::LastAttempt::default()).await?;
    let object = |key: &str| format!("arn:aws:s3:::deleted/{}/{key}", stage.keys.place.prefix);
    let statement = |effect: &str, resource: String| {
        let other = serde_json::json!({"AWS": ["arn:aws:iam:::user/other"]});
        serde_json::json!({"Effect": effect, "Principal": other, "Action": ["s3:DeleteObject"], "Resource": [resource]})
    };
    let statements = [statement("Allow", object("*")), statement("Deny", object("s/kept"))];
    let policy = serde_json::json!({"Version": "2012-10-17", "Statement": statements});
    owner.put_bucket_policy().bucket("deleted").policy(policy.to_string()).send().await?;
    let keys = ["s/a", "s/kept", "s/none", "s/z"].map(str::to_owned);
    for key in ["s/a", "s/kept", "s/z"] {
        stage.store.put(key, Bytes::from_static(b"x"), &PutOptions::absent()).await?;
    }
    let address = tokio::task::spawn_blocking(radosgw::address).await??;
    let other = S3Store::open(&Keys::of(address, "deleted", OTHER.0, OTHER.1)?.place).await?;
    let kinds = |outcomes: Vec<Result<(), drctl::store::StoreError>>| -> Vec<_> {
        outcomes.into_iter().map(|outcome| outcome.err().map(|error| (error.key, error.kind))).collect()
    };
    let denied = ("s/kept".to_owned(), StoreErrorKind::Forbidden);
    assert_eq!(kinds(other.delete(&keys).await), [None, Some(denied), None, None]);
    let left: Vec<_> = list_all(&stage.store, "").await?.into_iter().map(|object| object.key).collect();
    assert_eq!(left, ["s/kept"]);
    let stranger = Keys::of(address, "deleted", "AKIANOBODY", "secrettest")?;
    let refused = S3Store::open(&stranger.place).await?.delete(&keys).await;
    assert!(refused.iter().all(|outcome| outcome.is_err()), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_bucket_without_versions_or_lock_says_so() -> Outcome<()> {
    let store = open("plain").await?.store;
    assert_eq!(store.keeps_versions().await?, Some(false));
    assert_eq!(store.locks_objects().await?, Some(false));
    Ok(())
}
