//! S3 by `s3s-fs`, in this process.

use drctl::aws::S3Timeouts;
use drctl::policy::{Checksum, Credentials};
use drctl::store::s3::S3Store;
use drctl::store::{Precondition, PutOptions, Store, StoreAdmin as _, StoreErrorKind};

use crate::suite::{self, conforms};
use crate::support::Outcome;
use crate::support::s3::{Keys, S3Server};

struct Stage {
    store: S3Store,
    server: S3Server,
    _keys: Keys,
}

async fn open(_case: &str) -> Outcome<Stage> {
    let server = S3Server::start().await?;
    let keys = server.place()?;
    Ok(Stage { store: S3Store::open(&keys.place).await?, server, _keys: keys })
}

conforms! { open:
    what_is_written_is_read_back,
    a_body_that_is_not_the_one_it_was_signed_as_is_refused,
    metadata_comes_back_as_given,
    what_is_not_there_is_said_to_be_not_there,
    an_object_is_not_overwritten,
    a_change_by_someone_else_is_noticed,
    parts_may_come_in_any_order,
    an_aborted_upload_leaves_nothing,
    an_object_may_be_empty,
    a_short_answer_is_an_error,
    a_long_listing_is_whole_and_sorted,
    keys_may_have_any_letters,
    what_is_no_key_is_refused,
    many_objects_are_deleted_at_once,
}

/// What this server cannot do: it looks whether there is an object, and then writes one. What its writers
/// leave there may be a mix of them, so it is not read.
#[tokio::test(flavor = "multi_thread")]
async fn of_writers_at_once_some_may_be_told_wrong() -> Outcome<()> {
    let stage = open("race").await?;
    assert!(!suite::told_winners(&stage.store, Precondition::Absent).await.is_empty());
    Ok(())
}

#[tokio::test]
async fn uploads_on_their_way_cannot_be_listed_and_it_says_so() -> Outcome<()> {
    let stage = open("pending").await?;
    let error = stage.store.pending_uploads("").await.expect_err("not built into this server");
    assert_eq!(error.kind, StoreErrorKind::Unsupported, "{error}");
    Ok(())
}

/// What this server does not tell apart: a missing object and one of a missing bucket.
#[tokio::test]
async fn a_missing_bucket_shows_when_it_is_listed() -> Outcome<()> {
    let stage = open("bucket").await?;
    let keys = Keys::new(stage.server.address, "no-such-bucket")?;
    let store = S3Store::open(&keys.place).await?;
    let error = store.list("", None).await.expect_err("there is no bucket");
    assert_eq!(error.kind, StoreErrorKind::NoBucket, "{error}");
    assert_eq!(store.head("s/a").await?, None);
    Ok(())
}

#[tokio::test]
async fn wrong_keys_have_their_own_name() -> Outcome<()> {
    let stage = open("keys").await?;
    for (id, secret) in [("AKIANOBODY", "secrettest"), ("AKIATEST", "wrong")] {
        let keys = Keys::of(stage.server.address, "backups", id, secret)?;
        let store = S3Store::open(&keys.place).await?;
        for refusal in [
            store.head("s/a").await.map(drop),
            store.list("", None).await.map(drop),
            store.begin_upload("s/a", &PutOptions::absent()).await.map(drop),
        ] {
            let error = refusal.expect_err("the keys are wrong");
            assert_eq!(error.kind, StoreErrorKind::Credentials, "{error}");
            assert!(!error.to_string().contains(secret), "{error}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_checksum_is_taken() -> Outcome<()> {
    for checksum in [Checksum::Crc64Nvme, Checksum::Crc32c, Checksum::Sha256, Checksum::None] {
        let stage = open("checksum").await?;
        suite::parts_may_come_in_any_order(&stage.store.with_checksum(checksum)).await?;
        suite::an_object_may_be_empty(&stage.store.with_checksum(checksum)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_profile_that_is_not_there_is_about_credentials() -> Outcome<()> {
    let stage = open("profile").await?;
    let mut place = stage.server.place()?.place;
    place.credentials = Credentials::Profile("drctl-test-no-such-profile".to_owned());
    let error = S3Store::open(&place).await?.head("s/a").await.expect_err("no such profile");
    assert_eq!(error.kind, StoreErrorKind::Credentials, "{error}");
    assert!(error.to_string().contains("drctl-test-no-such-profile"), "{error}");
    Ok(())
}

/// TLS begins, and ends in an answer that is none.
#[tokio::test]
async fn a_server_without_tls_is_unreachable_by_https() -> Outcome<()> {
    let stage = open("tls").await?;
    let keys = stage.server.place()?;
    let mut place = keys.place.clone();
    place.endpoint = Some(format!("https://{}", stage.server.address).parse()?);
    let patience = S3Timeouts { attempts: 2, ..S3Timeouts::default() };
    let error = S3Store::open_with(&place, patience).await?.head("s/a").await.expect_err("no TLS there");
    assert_eq!(error.kind, StoreErrorKind::Unreachable, "{error}");
    Ok(())
}
