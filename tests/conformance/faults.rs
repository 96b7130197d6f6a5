//! What happens when the network or the server fails: S3 behind a proxy that fails as told.

use std::time::{Duration, Instant};

use bytes::Bytes;
use drctl::aws::S3Timeouts;
use drctl::store::s3::S3Store;
use drctl::store::{
    Precondition, PutOptions, Store, StoreAdmin as _, StoreError, StoreErrorKind, delete_object, list_all,
};

use crate::suite::{PART, noise};
use crate::support::Outcome;
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::radosgw;
use crate::support::s3::{BUCKET, Keys, S3Server};

struct Stage {
    /// Through the proxy.
    store: S3Store,
    /// Past it.
    direct: S3Store,
    proxy: FaultProxy,
    server: S3Server,
    _keys: [Keys; 2],
}

fn patience() -> S3Timeouts {
    S3Timeouts { attempts: 3, backoff: Duration::from_millis(50), ..S3Timeouts::default() }
}

async fn open_with(patience: S3Timeouts) -> Outcome<Stage> {
    let server = S3Server::start().await?;
    let proxy = FaultProxy::to(server.address).await?;
    let keys = [Keys::new(proxy.address, BUCKET)?, server.place()?];
    let store = S3Store::open_with(&keys[0].place, patience).await?;
    let direct = S3Store::open(&keys[1].place).await?;
    Ok(Stage { store, direct, proxy, server, _keys: keys })
}

async fn open() -> Outcome<Stage> {
    open_with(patience()).await
}

fn body() -> Bytes {
    Bytes::from_static(b"0123456789")
}

/// Every kind of call, once; `s/there` is an object.
async fn every_call(store: &dyn Store) -> Vec<(&'static str, Result<(), StoreError>)> {
    let absent = PutOptions::absent();
    let mut outcomes = vec![
        ("put", store.put("s/put", body(), &absent).await.map(drop)),
        ("head", store.head("s/there").await.map(drop)),
        ("get", store.get("s/there", 99).await.map(drop)),
        ("get_range", store.get_range("s/there", 0..3).await.map(drop)),
        ("list", store.list("s/", None).await.map(drop)),
        ("delete", delete_object(store, "s/gone").await),
    ];
    let upload = async {
        let upload = store.begin_upload("s/upload", &absent).await?;
        upload.part(1, body()).await?;
        upload.complete().await.map(drop)
    };
    outcomes.push(("upload", upload.await));
    outcomes
}

#[tokio::test]
async fn a_fault_that_passes_is_ridden_out() -> Outcome<()> {
    for fault in [
        Fault::Status(500, "InternalError"),
        Fault::Status(503, "SlowDown"),
        Fault::Refuse,
        Fault::DropAnswer,
    ] {
        let stage = open().await?;
        stage.direct.put("s/there", body(), &PutOptions::absent()).await?;
        // Every second call, so that each succeeds when it is repeated.
        for call in 0..40 {
            stage.proxy.fail(When::any().after(call).times(1), fault.clone());
        }
        for (call, outcome) in every_call(&stage.store).await {
            assert!(outcome.is_ok(), "{fault:?}: {call}: {outcome:?}");
        }
        let keys: Vec<_> = list_all(&stage.direct, "").await?.into_iter().map(|object| object.key).collect();
        assert_eq!(keys, ["s/put", "s/there", "s/upload"], "{fault:?}");
        assert_eq!(stage.direct.get("s/upload", 99).await?.0, body());
    }
    Ok(())
}

#[tokio::test]
async fn a_fault_that_stays_is_an_error_after_the_last_attempt() -> Outcome<()> {
    for (fault, kind) in [
        (Fault::Status(500, "InternalError"), StoreErrorKind::Unavailable),
        (Fault::Status(503, "SlowDown"), StoreErrorKind::Unavailable),
        (Fault::Refuse, StoreErrorKind::Unreachable),
    ] {
        let stage = open().await?;
        stage.direct.put("s/there", body(), &PutOptions::absent()).await?;
        stage.proxy.fail(When::any(), fault.clone());
        for (call, outcome) in every_call(&stage.store).await {
            let error = outcome.expect_err(call);
            assert_eq!(error.kind, kind, "{fault:?}: {call}: {error}");
        }
        let attempts = stage
            .proxy
            .calls()
            .iter()
            .filter(|call| call.starts_with("GET") && call.contains("list-type"))
            .count();
        assert_eq!(attempts, 3, "{fault:?}");
        assert_eq!(list_all(&stage.direct, "").await?.len(), 1, "{fault:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_not_asked_again() -> Outcome<()> {
    let stage = open().await?;
    stage.proxy.fail(When::method("PUT"), Fault::Status(403, "AccessDenied"));
    let error = stage.store.put("s/a", body(), &PutOptions::default()).await.expect_err("denied");
    assert_eq!(error.kind, StoreErrorKind::Forbidden, "{error}");
    assert_eq!(stage.proxy.calls().len(), 1, "{:?}", stage.proxy.calls());
    Ok(())
}

#[tokio::test]
async fn a_store_that_hangs_is_given_up() -> Outcome<()> {
    let hasty = S3Timeouts {
        attempts: 2,
        answer: Duration::from_millis(400),
        finish: Duration::from_millis(400),
        ..patience()
    };
    let stage = open_with(hasty).await?;
    stage.direct.put("s/there", body(), &PutOptions::absent()).await?;
    stage.proxy.fail(When::any(), Fault::Hang);
    let begun = Instant::now();
    for (call, outcome) in every_call(&stage.store).await {
        let error = outcome.expect_err(call);
        assert_eq!(error.kind, StoreErrorKind::Unreachable, "{call}: {error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    // Also where it hangs once all bytes are there.
    stage.proxy.heal();
    let upload = stage.store.begin_upload("s/late", &PutOptions::absent()).await?;
    upload.part(1, body()).await?;
    stage.proxy.fail(When::any(), Fault::Hang);
    assert_eq!(upload.complete().await.expect_err("hangs").kind, StoreErrorKind::Unreachable);
    assert_eq!(stage.direct.head("s/late").await?, None);
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_gone_is_unreachable() -> Outcome<()> {
    let stage = open().await?;
    let Stage { store, server, proxy, .. } = stage;
    drop((server, proxy));
    tokio::task::yield_now().await;
    let error = store.head("s/a").await.expect_err("nobody is there");
    assert_eq!(error.kind, StoreErrorKind::Unreachable, "{error}");
    Ok(())
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_taken_for_a_short_object() -> Outcome<()> {
    let stage = open().await?;
    let long = noise(300_000, 1);
    stage.direct.put("s/a", long.clone(), &PutOptions::absent()).await?;
    stage.proxy.fail(When::method("GET").times(1), Fault::CutBody(100_000));
    assert_eq!(stage.store.get("s/a", 1 << 20).await?.0, long);
    stage.proxy.fail(When::method("GET").times(1), Fault::CutBody(10));
    assert_eq!(stage.store.get_range("s/a", 100..200_000).await?, long.slice(100..200_000));

    stage.proxy.fail(When::method("GET"), Fault::CutBody(100));
    for error in [
        stage.store.get("s/a", 1 << 20).await.map(drop).expect_err("cut"),
        stage.store.get_range("s/a", 0..1000).await.map(drop).expect_err("cut"),
    ] {
        assert_eq!(error.kind, StoreErrorKind::Corrupt, "{error}");
    }
    Ok(())
}

/// A range has no checksum of its own: who reads ranges compares digests (`repository::reader`).
#[tokio::test]
async fn a_byte_that_changes_on_the_way_back_is_noticed() -> Outcome<()> {
    let stage = gateway("flipped-back").await?;
    stage.direct.put("s/a", body(), &PutOptions::absent()).await?;
    stage.proxy.fail(When::method("GET").times(1), Fault::FlipByte(5));
    assert_eq!(stage.store.get("s/a", 99).await?.0, body());
    stage.proxy.fail(When::method("GET"), Fault::FlipByte(5));
    let error = stage.store.get("s/a", 99).await.expect_err("changed");
    assert_eq!(error.kind, StoreErrorKind::Corrupt, "{error}");
    Ok(())
}

#[tokio::test]
async fn a_byte_that_changes_on_the_way_there_is_refused() -> Outcome<()> {
    let stage = open().await?;
    stage.proxy.fail(When::method("PUT"), Fault::FlipSent(5));
    stage.store.put("s/put", body(), &PutOptions::absent()).await.expect_err("changed");
    let upload = stage.store.begin_upload("s/upload", &PutOptions::absent()).await?;
    upload.part(1, body()).await.expect_err("changed");
    upload.abort().await?;
    assert_eq!(list_all(&stage.direct, "").await?, []);
    Ok(())
}

#[tokio::test]
async fn an_error_behind_status_200_is_an_error() -> Outcome<()> {
    let stage = open().await?;
    let begin = async |key: &'static str| -> Outcome<_> {
        let upload = stage.store.begin_upload(key, &PutOptions::absent()).await?;
        upload.part(1, noise(PART, 1)).await?;
        upload.part(2, body()).await?;
        Ok(upload)
    };
    let upload = begin("s/once").await?;
    stage.proxy.fail(When::method("POST").with("uploadId=").times(1), Fault::ErrorIn200("InternalError"));
    upload.complete().await?;
    assert_eq!(stage.direct.head("s/once").await?.expect("complete").size, PART as u64 + 10);

    let upload = begin("s/always").await?;
    stage.proxy.fail(When::method("POST").with("uploadId="), Fault::ErrorIn200("InternalError"));
    let error = upload.complete().await.expect_err("never joined");
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    assert_eq!(stage.direct.head("s/always").await?, None);
    Ok(())
}

/// The proxy in front of radosgw, for what s3s-fs does not do.
struct Gateway {
    store: S3Store,
    direct: S3Store,
    proxy: FaultProxy,
    _keys: [Keys; 2],
}

async fn gateway(bucket: &str) -> Outcome<Gateway> {
    let direct = radosgw::bucket(bucket, false).await?;
    let proxy = FaultProxy::to(tokio::task::spawn_blocking(radosgw::address).await??).await?;
    let keys = [Keys::new(proxy.address, bucket)?, direct];
    let store = S3Store::open_with(&keys[0].place, patience()).await?;
    Ok(Gateway { store, direct: S3Store::open(&keys[1].place).await?, proxy, _keys: keys })
}

async fn an_answer_that_is_lost(store: &S3Store, direct: &S3Store, proxy: &FaultProxy) -> Outcome<()> {
    let lose = |method| proxy.fail(When::method(method).times(1), Fault::DropAnswer);
    lose("PUT");
    let first = store.put("s/a", body(), &PutOptions::absent()).await?;
    assert_eq!(direct.head("s/a").await?.expect("written").etag, first.etag);

    lose("PUT");
    let unchanged =
        PutOptions { precondition: Precondition::Unchanged(first.etag.clone()), ..PutOptions::default() };
    let second = store.put("s/a", Bytes::from_static(b"second"), &unchanged).await?;
    assert_eq!(direct.head("s/a").await?.expect("written").etag, second.etag);

    let upload = store.begin_upload("s/upload", &PutOptions::absent()).await?;
    upload.part(1, noise(PART, 1)).await?;
    lose("PUT");
    upload.part(2, body()).await?;
    lose("POST");
    let joined = upload.complete().await?;
    let head = direct.head("s/upload").await?.expect("joined");
    assert_eq!((head.etag, head.size), (joined.etag, PART as u64 + 10));

    lose("DELETE");
    delete_object(store, "s/a").await?;
    assert_eq!(direct.head("s/a").await?, None);

    // The other way round: what is there is someone else's.
    direct.put("s/b", Bytes::from_static(b"theirs"), &PutOptions::absent()).await?;
    lose("PUT");
    let error =
        store.put("s/b", Bytes::from_static(b"ours"), &PutOptions::absent()).await.expect_err("theirs");
    assert_eq!(error.kind, StoreErrorKind::Exists, "{error}");
    let upload = store.begin_upload("s/b", &PutOptions::absent()).await?;
    upload.part(1, body()).await?;
    lose("POST");
    let error = upload.complete().await.expect_err("theirs");
    assert_eq!(error.kind, StoreErrorKind::Exists, "{error}");
    assert_eq!(direct.get("s/b", 9).await?.0, "theirs");
    Ok(())
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_succeeds() -> Outcome<()> {
    let stage = open().await?;
    an_answer_that_is_lost(&stage.store, &stage.direct, &stage.proxy).await
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_succeeds_on_a_real_server() -> Outcome<()> {
    let stage = gateway("lost-answers").await?;
    an_answer_that_is_lost(&stage.store, &stage.direct, &stage.proxy).await
}

#[tokio::test]
async fn a_conflict_with_another_write_is_settled() -> Outcome<()> {
    let stage = open().await?;
    stage.proxy.fail(When::method("PUT").times(2), Fault::Status(409, "ConditionalRequestConflict"));
    stage.store.put("s/a", body(), &PutOptions::absent()).await?;
    stage.proxy.fail(When::method("PUT"), Fault::Status(409, "ConditionalRequestConflict"));
    let error = stage.store.put("s/b", body(), &PutOptions::absent()).await.expect_err("never settled");
    assert_eq!(error.kind, StoreErrorKind::Exists, "{error}");
    Ok(())
}

#[tokio::test]
async fn a_wrong_clock_has_its_own_name() -> Outcome<()> {
    let stage = open().await?;
    stage.proxy.fail(When::any(), Fault::Status(403, "RequestTimeTooSkewed"));
    for (call, outcome) in every_call(&stage.store).await {
        let error = outcome.expect_err(call);
        assert_eq!(error.kind, StoreErrorKind::ClockSkew, "{call}: {error}");
    }
    stage.proxy.heal();
    stage.proxy.fail(When::any(), Fault::Date("Sat, 21 Nov 2020 07:28:00 GMT"));
    assert_eq!(
        stage.store.server_time().await?,
        "2020-11-21T07:28:00Z".parse::<chrono::DateTime<chrono::Utc>>()?
    );
    Ok(())
}

#[tokio::test]
async fn bytes_that_arrive_spoiled_are_sent_again_and_not_for_ever() -> Outcome<()> {
    let Stage { store, proxy, direct, .. } = &open().await?;
    for code in ["BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "InvalidPart"] {
        for when in [When::method("PUT"), When::method("POST").with("uploadId=")] {
            let key = format!("s/{code}-{}", proxy.calls().len());
            let send = async |key: &str| {
                store.put(&format!("{key}-small"), body(), &PutOptions::absent()).await?;
                let upload = store.begin_upload(key, &PutOptions::absent()).await?;
                upload.part(1, body()).await?;
                upload.complete().await
            };
            proxy.fail(when.clone().times(2), Fault::Status(400, code));
            send(&key).await.map_err(|error| format!("{code}, {when:?}: {error}"))?;
            assert_eq!(direct.get(&key, 99).await?.0, body());
            proxy.heal();
            let taken = proxy.taken();
            proxy.fail(when.clone(), Fault::Status(400, code));
            let error = send(&format!("{key}-never")).await.expect_err("refused each time");
            assert!(error.to_string().contains(code), "{error}");
            assert!((3..=12).contains(&(proxy.taken() - taken)), "{code}, {when:?}");
            proxy.heal();
        }
    }
    Ok(())
}

#[tokio::test]
async fn why_there_was_no_answer_is_told() -> Outcome<()> {
    let server = S3Server::start().await?;
    let gone = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    for (endpoint, words) in [
        (format!("http://{gone}"), "Connection refused"),
        (format!("https://{}", server.address), "the server speaks no TLS"),
        ("http://no-such-host.invalid".to_owned(), "the host name cannot be resolved"),
    ] {
        let mut keys = server.place()?;
        keys.place.endpoint = Some(endpoint.parse()?);
        let store = S3Store::open_with(&keys.place, S3Timeouts { attempts: 100, ..patience() }).await?;
        // Whoever does not wait for the last attempt knows as well.
        let waited = tokio::time::timeout(Duration::from_secs(2), store.get("key", 9)).await;
        assert!(waited.is_err(), "{endpoint}: {waited:?}");
        let trouble = store.last_failure().ok_or("no trouble")?;
        assert!(trouble.contains(words), "{endpoint}: {trouble}");
        let store = S3Store::open_with(&keys.place, patience()).await?;
        let error = store.get("key", 9).await.expect_err("no answer").to_string();
        assert!(error.contains(words), "{endpoint}: {error}");
    }
    Ok(())
}
