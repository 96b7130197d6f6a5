//! S3 by radosgw: a bucket for each test.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::ObjectLockMode;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use drctl::aws::{S3Timeouts, s3_client};
use drctl::platform::{Clock as _, SystemClock};
use drctl::policy::{Checksum, LockMode};
use drctl::store::s3::S3Store;
use drctl::store::{Lock, PutOptions, Store, StoreErrorKind, list_all};

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
            store.delete("s/a").await,
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

#[tokio::test]
async fn a_bucket_without_versions_or_lock_says_so() -> Outcome<()> {
    let store = open("plain").await?.store;
    assert_eq!(store.keeps_versions().await?, Some(false));
    assert_eq!(store.locks_objects().await?, Some(false));
    Ok(())
}
