//! What every store promises (`store::Store`), asked of `&dyn Store`.

use bytes::Bytes;
use chrono::TimeDelta;
use drctl::model::Sha256Hex;
use drctl::platform::{Clock as _, SystemClock};
use drctl::store::{
    Page, Precondition, PutOptions, Store, StoreErrorKind, delete_object, list_all, require_admin,
};
use futures_util::future::join_all;

use crate::support::Outcome;

/// The smallest part S3 takes, but for the last.
pub(crate) const PART: usize = 5 << 20;
const LIMIT: u64 = 64 << 20;

/// Makes a test of each case, for the stores that `open` gives.
macro_rules! conforms {
    ($open:path: $($case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $case() -> crate::support::Outcome<()> {
                let stage = $open(stringify!($case)).await?;
                crate::suite::$case(&stage.store).await
            }
        )*
    };
}
pub(crate) use conforms;

/// Bytes that neither repeat nor compress.
pub(crate) fn noise(length: usize, seed: u64) -> Bytes {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes.into()
}

/// Why it was refused; `None` where it was not.
fn kind<T>(outcome: Result<T, drctl::store::StoreError>) -> Option<StoreErrorKind> {
    outcome.err().map(|error| error.kind)
}

pub(crate) async fn what_is_written_is_read_back(store: &dyn Store) -> Outcome<()> {
    for length in [1, 1000, 3 << 20] {
        let (key, body) = (format!("s/db/{length}"), noise(length, 1));
        let written = store.put(&key, body.clone(), &PutOptions::absent()).await?;
        let head = store.head(&key).await?.expect("it was just written");
        assert_eq!(
            (head.size, head.etag.as_str(), head.key.as_str()),
            (length as u64, written.etag.as_str(), key.as_str())
        );
        let (read, info) = store.get(&key, LIMIT).await?;
        assert_eq!(Sha256Hex::digest(&read), Sha256Hex::digest(&body));
        assert_eq!(info, head);
        let age = require_admin(store)?.server_time().await? - head.modified;
        assert!(age.num_seconds().abs() < 10, "written {age} ago by the store's clock");
    }
    Ok(())
}

/// Of stores that want a signature over the body.
pub(crate) async fn a_body_that_is_not_the_one_it_was_signed_as_is_refused(store: &dyn Store) -> Outcome<()> {
    let body = noise(100_000, 1);
    let signed_as =
        |bytes: &Bytes| PutOptions { sha256: Some(Sha256Hex::digest(bytes)), ..PutOptions::absent() };
    let refused = store.put("s/signed", noise(100_000, 2), &signed_as(&body)).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(store.head("s/signed").await?, None);
    store.put("s/signed", body.clone(), &signed_as(&body)).await?;
    assert_eq!(store.get("s/signed", LIMIT).await?.0, body);
    Ok(())
}

pub(crate) async fn metadata_comes_back_as_given(store: &dyn Store) -> Outcome<()> {
    let metadata =
        [("plain-sha256".to_owned(), "ab12".to_owned()), ("kind".to_owned(), "a b; c=d".to_owned())];
    let options = PutOptions { metadata: metadata.into(), ..PutOptions::absent() };
    store.put("s/put", Bytes::from_static(b"x"), &options).await?;
    let upload = store.begin_upload("s/upload", &options).await?;
    upload.part(1, Bytes::from_static(b"x")).await?;
    upload.complete().await?;
    for key in ["s/put", "s/upload"] {
        assert_eq!(store.head(key).await?.expect("written").metadata, options.metadata, "{key}");
        assert_eq!(store.get(key, 9).await?.1.metadata, options.metadata, "{key}");
    }
    store.put("s/none", Bytes::from_static(b"x"), &PutOptions::absent()).await?;
    assert!(store.head("s/none").await?.expect("written").metadata.is_empty());
    Ok(())
}

pub(crate) async fn what_is_not_there_is_said_to_be_not_there(store: &dyn Store) -> Outcome<()> {
    assert_eq!(store.head("s/none").await?, None);
    assert_eq!(kind(store.get("s/none", 9).await), Some(StoreErrorKind::NotFound));
    assert_eq!(kind(store.get_range("s/none", 0..1).await), Some(StoreErrorKind::NotFound));
    assert_eq!(kind(store.get_range("s/none", 0..0).await), Some(StoreErrorKind::NotFound));
    delete_object(store, "s/none").await?;
    assert_eq!(list_all(store, "s/").await?, []);
    assert_eq!(list_all(store, "nowhere/at/all/").await?, []);
    Ok(())
}

/// More objects than go into one request, some that are not there, and what is no key.
pub(crate) async fn many_objects_are_deleted_at_once(store: &dyn Store) -> Outcome<()> {
    let key = |n: usize| format!("s/many/{n:04}");
    for some in (0..1100).collect::<Vec<_>>().chunks(50) {
        let written = some.iter().map(|n| async move {
            let (key, options) = (format!("s/many/{n:04}"), PutOptions::absent());
            store.put(&key, Bytes::from_static(b"x"), &options).await
        });
        for outcome in join_all(written).await {
            outcome?;
        }
    }
    assert_eq!(store.delete(&[]).await.len(), 0);
    let mut keys: Vec<String> = (0..1099).map(key).collect();
    keys.insert(7, "s/none & <none>".to_owned());
    keys.insert(9, "../outside".to_owned());
    let outcomes = store.delete(&keys).await;
    assert_eq!(outcomes.len(), keys.len());
    for (key, outcome) in keys.iter().zip(outcomes) {
        match outcome {
            Ok(()) => assert_ne!(key, "../outside"),
            Err(error) => {
                assert_eq!(
                    (key.as_str(), error.kind),
                    ("../outside", StoreErrorKind::Unsupported),
                    "{error}"
                );
                assert_eq!(error.key, *key);
            }
        }
    }
    let left: Vec<_> = list_all(store, "").await?.into_iter().map(|object| object.key).collect();
    assert_eq!(left, [key(1099)]);
    Ok(())
}

/// Of a store that keeps no versions.
pub(crate) async fn an_object_has_one_version(store: &dyn Store) -> Outcome<()> {
    let admin = require_admin(store)?;
    assert_eq!(admin.versions("s/a").await?, []);
    for body in ["one", "three"] {
        store.put("s/a", Bytes::from_static(body.as_bytes()), &PutOptions::default()).await?;
        store.put("s/ab", Bytes::from_static(b"another"), &PutOptions::default()).await?;
        let versions = admin.versions("s/a").await?;
        assert_eq!(versions.len(), 1, "{versions:?}");
        assert_eq!((versions[0].size, versions[0].is_latest), (Some(body.len() as u64), true));
    }
    delete_object(store, "s/a").await?;
    assert_eq!(admin.versions("s/a").await?, []);
    Ok(())
}

/// Of a store that locks nothing.
pub(crate) async fn what_is_not_locked_cannot_be_locked_longer(store: &dyn Store) -> Outcome<()> {
    store.put("s/a", Bytes::from_static(b"x"), &PutOptions::absent()).await?;
    let admin = require_admin(store)?;
    let until = SystemClock.now() + TimeDelta::days(1);
    for outcome in [admin.extend_lock("s/a", until).await, admin.set_legal_hold("s/a", true).await] {
        let error = outcome.expect_err("there is no lock");
        assert!(matches!(error.kind, StoreErrorKind::Unsupported | StoreErrorKind::Other), "{error}");
    }
    delete_object(store, "s/a").await?;
    assert_eq!(store.head("s/a").await?, None);
    Ok(())
}

pub(crate) async fn an_object_is_not_overwritten(store: &dyn Store) -> Outcome<()> {
    let first = Bytes::from_static(b"first");
    store.put("s/a", first.clone(), &PutOptions::absent()).await?;
    assert_eq!(
        kind(store.put("s/a", Bytes::from_static(b"second"), &PutOptions::absent()).await),
        Some(StoreErrorKind::Exists)
    );
    let upload = store.begin_upload("s/a", &PutOptions::absent()).await?;
    upload.part(1, Bytes::from_static(b"third")).await?;
    assert_eq!(kind(upload.complete().await), Some(StoreErrorKind::Exists));
    upload.abort().await?;
    assert_eq!(store.get("s/a", 99).await?.0, first);
    // Unless it is asked for, or the object is gone.
    store.put("s/a", Bytes::from_static(b"fourth"), &PutOptions::default()).await?;
    delete_object(store, "s/a").await?;
    store.put("s/a", Bytes::from_static(b"fifth"), &PutOptions::absent()).await?;
    assert_eq!(store.get("s/a", 99).await?.0, "fifth");
    Ok(())
}

/// How many of eight writers at once were told that the object is theirs.
/// Of writers at once, by their first byte, those that were told they had written.
pub(crate) async fn told_winners(store: &dyn Store, precondition: Precondition) -> Vec<u8> {
    // The bytes differ from what is there too: S3 stores derive the etag from them.
    let base = if precondition == Precondition::Absent { 0 } else { 100_u8 };
    let racers = (base..base + 8).map(|racer| {
        let options = PutOptions { precondition: precondition.clone(), ..PutOptions::default() };
        async move { store.put("s/raced", vec![racer; 10_000].into(), &options).await }
    });
    let outcomes = join_all(racers).await;
    for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(error.kind, StoreErrorKind::Exists | StoreErrorKind::Changed), "{error}");
    }
    (base..).zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).map(|(racer, _)| racer).collect()
}

pub(crate) async fn winners(store: &dyn Store, precondition: Precondition) -> Outcome<usize> {
    let won = told_winners(store, precondition).await;
    let body = store.get("s/raced", LIMIT).await?.0;
    assert!(body.len() == 10_000 && body.iter().all(|byte| *byte == body[0]), "a mix of two writers");
    assert!(won.contains(&body[0]), "{won:?} won, and the object is by {}", body[0]);
    Ok(won.len())
}

pub(crate) async fn one_of_many_writers_at_once_succeeds(store: &dyn Store) -> Outcome<()> {
    for _round in 0..3 {
        assert_eq!(winners(store, Precondition::Absent).await?, 1);
        let etag = store.head("s/raced").await?.expect("written").etag;
        assert_eq!(winners(store, Precondition::Unchanged(etag)).await?, 1);
        delete_object(store, "s/raced").await?;
    }
    Ok(())
}

pub(crate) async fn a_change_by_someone_else_is_noticed(store: &dyn Store) -> Outcome<()> {
    let unchanged = |etag: &str| PutOptions {
        precondition: Precondition::Unchanged(etag.to_owned()),
        ..PutOptions::default()
    };
    let first = store.put("s/a", Bytes::from_static(b"1"), &PutOptions::absent()).await?;
    let second = store.put("s/a", Bytes::from_static(b"2"), &unchanged(&first.etag)).await?;
    assert_ne!(first.etag, second.etag);
    assert_eq!(
        kind(store.put("s/a", Bytes::from_static(b"3"), &unchanged(&first.etag)).await),
        Some(StoreErrorKind::Changed)
    );
    assert_eq!(store.get("s/a", 9).await?.0, "2");
    delete_object(store, "s/a").await?;
    assert_eq!(
        kind(store.put("s/a", Bytes::from_static(b"4"), &unchanged(&second.etag)).await),
        Some(StoreErrorKind::Changed)
    );
    assert_eq!(store.head("s/a").await?, None);
    Ok(())
}

pub(crate) async fn parts_may_come_in_any_order(store: &dyn Store) -> Outcome<()> {
    let body = noise(3 * PART + 12_345, 2);
    let part = |number: usize| body.slice((number - 1) * PART..(number * PART).min(body.len()));
    let upload = store.begin_upload("s/big", &PutOptions::absent()).await?;
    upload.part(4, part(4)).await?;
    let rest = join_all([3, 1, 2].map(|number| upload.part(number as u32, part(number)))).await;
    rest.into_iter().collect::<Result<Vec<()>, _>>()?;
    assert_eq!(store.head("s/big").await?, None, "it must not appear before it is complete");
    upload.complete().await?;
    assert_eq!(store.head("s/big").await?.expect("complete").size, body.len() as u64);
    for range in [0..1, PART - 1..PART + 1, 3 * PART..body.len(), 0..body.len()] {
        let read = store.get_range("s/big", range.start as u64..range.end as u64).await?;
        assert_eq!(Sha256Hex::digest(&read), Sha256Hex::digest(&body.slice(range)));
    }
    assert_eq!(Sha256Hex::digest(&store.get("s/big", LIMIT).await?.0), Sha256Hex::digest(&body));
    Ok(())
}

pub(crate) async fn an_aborted_upload_leaves_nothing(store: &dyn Store) -> Outcome<()> {
    let upload = store.begin_upload("s/a", &PutOptions::absent()).await?;
    upload.part(1, noise(PART, 3)).await?;
    upload.abort().await?;
    upload.abort().await?;
    assert_eq!(store.head("s/a").await?, None);
    upload.part(2, Bytes::from_static(b"late")).await.expect_err("the upload is gone");
    upload.complete().await.expect_err("the upload is gone");
    assert_eq!(store.head("s/a").await?, None);
    Ok(())
}

pub(crate) async fn uploads_on_their_way_can_be_found_and_ended(store: &dyn Store) -> Outcome<()> {
    let one = store.begin_upload("s/one", &PutOptions::absent()).await?;
    one.part(1, Bytes::from_static(b"x")).await?;
    drop(one);
    drop(store.begin_upload("t/two", &PutOptions::absent()).await?);
    let pending = require_admin(store)?.pending_uploads("s/").await?;
    assert_eq!(pending.iter().map(|upload| upload.key.as_str()).collect::<Vec<_>>(), ["s/one"]);
    let age = require_admin(store)?.server_time().await? - pending[0].begun;
    assert!(age.num_seconds().abs() < 10, "begun {age} ago");
    assert_eq!(require_admin(store)?.pending_uploads("").await?.len(), 2);
    require_admin(store)?.abort_upload(&pending[0]).await?;
    require_admin(store)?.abort_upload(&pending[0]).await?;
    assert_eq!(require_admin(store)?.pending_uploads("s/").await?, []);
    assert_eq!(list_all(store, "").await?, []);
    Ok(())
}

pub(crate) async fn an_object_may_be_empty(store: &dyn Store) -> Outcome<()> {
    store.put("s/put", Bytes::new(), &PutOptions::absent()).await?;
    store.begin_upload("s/no-part", &PutOptions::absent()).await?.complete().await?;
    let upload = store.begin_upload("s/empty-part", &PutOptions::absent()).await?;
    upload.part(1, Bytes::new()).await?;
    upload.complete().await?;
    for key in ["s/put", "s/no-part", "s/empty-part"] {
        assert_eq!(store.head(key).await?.expect("written").size, 0, "{key}");
        assert_eq!(store.get(key, 0).await?.0, Bytes::new(), "{key}");
        assert_eq!(store.get_range(key, 0..0).await?, Bytes::new(), "{key}");
        assert_eq!(kind(store.get_range(key, 0..1).await), Some(StoreErrorKind::Corrupt), "{key}");
    }
    Ok(())
}

pub(crate) async fn a_short_answer_is_an_error(store: &dyn Store) -> Outcome<()> {
    store.put("s/a", Bytes::from_static(b"0123456789"), &PutOptions::absent()).await?;
    assert_eq!(store.get_range("s/a", 3..5).await?, "34");
    assert_eq!(store.get_range("s/a", 9..10).await?, "9");
    for range in [5..11, 10..11, 20..30] {
        assert_eq!(
            kind(store.get_range("s/a", range.clone()).await),
            Some(StoreErrorKind::Corrupt),
            "{range:?}"
        );
    }
    assert_eq!(store.get("s/a", 10).await?.0.len(), 10);
    assert_eq!(kind(store.get("s/a", 9).await), Some(StoreErrorKind::TooLarge));
    Ok(())
}

pub(crate) async fn a_long_listing_is_whole_and_sorted(store: &dyn Store) -> Outcome<()> {
    let mut keys: Vec<String> = (0..1040).map(|n| format!("s/long/{n:04}")).collect();
    // Where a folder's name goes on with something that sorts before `/`.
    keys.extend(["s/long-er", "s/long.x", "s/long0", "s/lon/g", "t/other"].map(str::to_owned));
    for some in keys.chunks(40) {
        let written =
            join_all(some.iter().map(|key| async move {
                store.put(key, Bytes::from_static(b"x"), &PutOptions::absent()).await
            }));
        written.await.into_iter().collect::<Result<Vec<_>, _>>()?;
    }
    keys.sort();
    let names = |objects: &[drctl::store::ObjectInfo]| {
        objects.iter().map(|object| object.key.clone()).collect::<Vec<_>>()
    };
    let below = |prefix: &str| keys.iter().filter(|key| key.starts_with(prefix)).cloned().collect::<Vec<_>>();
    for prefix in ["", "s/", "s/long/", "s/long", "s/long/10", "t/"] {
        assert_eq!(names(&list_all(store, prefix).await?), below(prefix), "{prefix}");
    }
    let first: Page = store.list("s/long/", None).await?;
    assert!(first.next.is_some() && first.objects.len() < 1040, "{} in a page", first.objects.len());
    let after = store.list("s/long/", Some("s/long/1030")).await?;
    assert_eq!(names(&after.objects), below("s/long/")[1031..]);
    assert_eq!(after.next, None);
    let one = &after.objects[0];
    let head = store.head(&one.key).await?.expect("listed");
    assert_eq!(one.size, head.size);
    assert!(one.etag.is_empty() || one.etag == head.etag, "{} and {}", one.etag, head.etag);
    assert!((one.modified - head.modified).num_seconds().abs() <= 1);
    Ok(())
}

pub(crate) async fn keys_may_have_any_letters(store: &dyn Store) -> Outcome<()> {
    let mut keys = vec![
        "s/with space",
        "s/plus+plus",
        "s/per%20cent",
        "s/a&b=c",
        "s/quote'\"s",
        "s/Füße",
        "s/日本/語",
        "s/~!@$()*,;:[]{}|^",
    ];
    for key in &keys {
        store.put(key, Bytes::from((*key).to_owned()), &PutOptions::absent()).await?;
    }
    let upload = store.begin_upload("s/ü p+l%2Foad", &PutOptions::absent()).await?;
    upload.part(1, Bytes::from_static(b"s/\xc3\xbc p+l%2Foad")).await?;
    upload.complete().await?;
    keys.push("s/ü p+l%2Foad");
    keys.sort_unstable();
    assert_eq!(list_all(store, "s/").await?.into_iter().map(|object| object.key).collect::<Vec<_>>(), keys);
    for key in &keys {
        assert_eq!(store.get(key, 99).await?.0, key.as_bytes(), "{key}");
        delete_object(store, key).await?;
        assert_eq!(store.head(key).await?, None, "{key}");
    }
    Ok(())
}

pub(crate) async fn what_is_no_key_is_refused(store: &dyn Store) -> Outcome<()> {
    for key in ["", "/a", "a/", "a//b", "../a", "a/../b", "./a"] {
        let put = store.put(key, Bytes::from_static(b"x"), &PutOptions::default()).await;
        assert_eq!(kind(put), Some(StoreErrorKind::Unsupported), "{key}");
        assert_eq!(kind(store.get(key, 9).await), Some(StoreErrorKind::Unsupported), "{key}");
        assert_eq!(kind(delete_object(store, key).await), Some(StoreErrorKind::Unsupported), "{key}");
        assert_eq!(
            kind(store.begin_upload(key, &PutOptions::default()).await),
            Some(StoreErrorKind::Unsupported),
            "{key}"
        );
    }
    Ok(())
}

/// Of a store whose bucket or directory is not there.
pub(crate) async fn a_missing_bucket_has_its_own_name(store: &dyn Store) -> Outcome<()> {
    let body = Bytes::from_static(b"x");
    let upload = store.begin_upload("s/a", &PutOptions::absent()).await.map(drop);
    let refusals = [
        ("head", store.head("s/a").await.map(drop)),
        ("get", store.get("s/a", 9).await.map(drop)),
        ("get_range", store.get_range("s/a", 0..1).await.map(drop)),
        ("list", store.list("s/", None).await.map(drop)),
        ("put", store.put("s/a", body, &PutOptions::absent()).await.map(drop)),
        ("begin_upload", upload),
    ];
    for (call, refusal) in refusals {
        assert_eq!(kind(refusal), Some(StoreErrorKind::NoBucket), "{call}");
    }
    Ok(())
}
