//! What a store can do, found by trying it: names and documentation are not believed.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

pub use super::proof::ChecksumFound;
use super::proof::checksums;
use super::{Guard, Precondition, PutOptions, Store, StoreError, StoreErrorKind, layout, list_all};

/// S3 takes no smaller parts, the last one excepted.
const PART: usize = 5 << 20;
/// For all of a probe together.
const DEADLINE: Duration = Duration::from_secs(180);

/// How one try ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "answer", content = "reason")]
pub enum Ability {
    Yes,
    /// It was tried, and the store does not do it, in words.
    No(String),
    /// It could not be tried, in words.
    Unknown(String),
}

impl Ability {
    pub fn is_yes(&self) -> bool {
        *self == Self::Yes
    }
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Capabilities {
    /// A second write "if absent" is refused, and the first one's bytes stand.
    pub conditional_put: Ability,
    /// A write "if unchanged" is refused after a change. Leases rest on it.
    pub compare_and_swap: Ability,
    /// Several parts make one object whose bytes are theirs.
    pub multipart: Ability,
    /// An upload "if absent" does not replace what stands.
    pub conditional_multipart: Ability,
    /// Unfinished uploads can be found and aborted.
    pub pending_uploads: Ability,
    pub ranged_reads: Ability,
    /// An object is in a listing as soon as it is written.
    pub lists_at_once: Ability,
    /// What the store proves on arrival; empty where there is nothing to choose.
    pub checksums: Vec<ChecksumFound>,
    /// May this role delete? A backup host is better off without.
    pub deletes: Ability,
    /// What the store does for an object after it is written, as it tells itself.
    pub guard: Guard,
    /// How far this host's clock is ahead of the store's.
    pub skew_seconds: i64,
}

/// Tries everything below a random key, and deletes it again.
///
/// # Errors
/// The store cannot even be written to and read.
pub async fn probe(store: &dyn Store, now: impl Fn() -> DateTime<Utc>) -> Result<Capabilities, StoreError> {
    let folder = layout::probe(crate::platform::seed());
    let found = tokio::time::timeout(DEADLINE, try_all(store, &folder, now)).await;
    found.unwrap_or_else(|_| {
        Err(StoreError {
            operation: "probe",
            key: folder,
            location: store.location(),
            kind: StoreErrorKind::Unreachable,
            detail: Some(format!("not done after {}", humantime::format_duration(DEADLINE))),
        })
    })
}

async fn try_all(
    store: &dyn Store,
    folder: &str,
    now: impl Fn() -> DateTime<Utc>,
) -> Result<Capabilities, StoreError> {
    let skew: TimeDelta = now() - store.now().await?;
    let key = format!("{folder}object");
    let checksums = checksums(store, folder).await;
    let written = match store.put(&key, Bytes::from_static(b"first"), &PutOptions::absent()).await {
        Ok(written) => written,
        Err(error) => {
            sweep(store, folder).await;
            return Err(with_another_checksum(error, &checksums));
        }
    };
    let (bytes, _) = store.get(&key, 100).await?;
    if bytes != b"first"[..] {
        return Err(StoreError {
            operation: "read back",
            key,
            location: store.location(),
            kind: StoreErrorKind::Corrupt,
            detail: None,
        });
    }
    let lists_at_once = listed(store, folder, &key).await;
    let ranged_reads = match store.get_range(&key, 1..3).await {
        Ok(bytes) if bytes == b"ir"[..] => Ability::Yes,
        Ok(_) => Ability::No("it gave other bytes than were asked for".to_owned()),
        Err(error) => failed(error),
    };
    let again = store.put(&key, Bytes::from_static(b"second"), &PutOptions::absent()).await;
    let conditional_put = refused(again.map(|_| ()), StoreErrorKind::Exists);
    let compare_and_swap = swap(store, &key, written.etag).await;
    let (multipart, conditional_multipart) = upload(store, folder, &key).await;
    let pending_uploads = pending(store, folder).await;
    let guard = store.guard().await.unwrap_or_default();
    let deletes = sweep(store, folder).await;
    Ok(Capabilities {
        conditional_put,
        compare_and_swap,
        multipart,
        conditional_multipart,
        pending_uploads,
        ranged_reads,
        lists_at_once,
        checksums,
        deletes,
        guard,
        skew_seconds: skew.num_seconds(),
    })
}

/// A store that takes other checksums than the policy's refuses every write, in words that do not say so.
fn with_another_checksum(error: StoreError, checksums: &[ChecksumFound]) -> StoreError {
    match checksums.iter().find(|found| found.taken.is_yes()) {
        Some(found) => {
            let detail = error.detail.map(|detail| format!("{detail}; ")).unwrap_or_default();
            let detail = Some(format!("{detail}with `checksum = \"{}\"` it is taken", found.checksum));
            StoreError { detail, ..error }
        }
        None => error,
    }
}

fn failed(error: StoreError) -> Ability {
    match error.kind {
        StoreErrorKind::Unsupported => Ability::No(error.to_string()),
        _ => Ability::Unknown(error.to_string()),
    }
}

/// A write that must be refused.
fn refused(outcome: Result<(), StoreError>, with: StoreErrorKind) -> Ability {
    match outcome {
        Ok(()) => Ability::No("the condition was ignored and the object replaced".to_owned()),
        Err(error) if error.kind == with => Ability::Yes,
        Err(error) => failed(error),
    }
}

async fn listed(store: &dyn Store, folder: &str, key: &str) -> Ability {
    match list_all(store, folder).await {
        Ok(objects) if objects.iter().any(|object| object.key == key) => Ability::Yes,
        Ok(_) => Ability::No("an object that was just written is not in the listing".to_owned()),
        Err(error) => failed(error),
    }
}

async fn swap(store: &dyn Store, key: &str, etag: String) -> Ability {
    let unchanged =
        |etag| PutOptions { precondition: Precondition::Unchanged(etag), ..PutOptions::default() };
    match store.put(key, Bytes::from_static(b"swapped"), &unchanged(etag.clone())).await {
        Err(error) => return failed(error),
        Ok(written) if written.etag == etag => {
            return Ability::No("the entity tag stays the same when the bytes change".to_owned());
        }
        Ok(_) => {}
    }
    let stale = store.put(key, Bytes::from_static(b"stale"), &unchanged(etag)).await;
    refused(stale.map(|_| ()), StoreErrorKind::Changed)
}

async fn upload(store: &dyn Store, folder: &str, taken: &str) -> (Ability, Ability) {
    let key = format!("{folder}parts");
    let first = Bytes::from(vec![b'a'; PART]);
    let begun = async {
        let upload = store.begin_upload(&key, &PutOptions::absent()).await?;
        // Out of order on purpose: parts travel in parallel.
        upload.part(2, Bytes::from_static(b"end")).await?;
        upload.part(1, first.clone()).await?;
        upload.complete().await?;
        store.get_range(&key, PART as u64 - 1..PART as u64 + 3).await
    };
    let multipart = match begun.await {
        Ok(bytes) if bytes == b"aend"[..] => Ability::Yes,
        Ok(_) => Ability::No("the object is not its parts".to_owned()),
        Err(error) => failed(error),
    };
    let over = async {
        let upload = store.begin_upload(taken, &PutOptions::absent()).await?;
        let sent = async {
            upload.part(1, Bytes::from_static(b"over")).await?;
            upload.complete().await
        };
        let outcome = sent.await;
        if outcome.is_err() {
            let _left = upload.abort().await;
        }
        outcome
    };
    (multipart, refused(over.await.map(|_| ()), StoreErrorKind::Exists))
}

async fn pending(store: &dyn Store, folder: &str) -> Ability {
    let key = format!("{folder}pending");
    let tried = async {
        let upload = store.begin_upload(&key, &PutOptions::absent()).await?;
        upload.part(1, Bytes::from_static(b"left behind")).await?;
        let uploads = store.pending_uploads(folder).await;
        let found = uploads.as_ref().is_ok_and(|uploads| uploads.iter().any(|upload| upload.key == key));
        upload.abort().await?;
        uploads.map(|_| found)
    };
    match tried.await {
        Ok(true) => Ability::Yes,
        Ok(false) => Ability::No("an upload that was begun is not listed".to_owned()),
        Err(error) => failed(error),
    }
}

async fn sweep(store: &dyn Store, folder: &str) -> Ability {
    let swept = async {
        for object in list_all(store, folder).await? {
            store.delete(&object.key).await?;
        }
        list_all(store, folder).await
    };
    match swept.await {
        Ok(left) if left.is_empty() => Ability::Yes,
        Ok(_) => Ability::No("deleted objects are still listed".to_owned()),
        Err(error) if error.kind == StoreErrorKind::Forbidden => Ability::No(error.to_string()),
        Err(error) => failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::DirectoryStore;

    #[tokio::test]
    async fn a_directory_can_do_all_of_it_and_nothing_is_left() {
        let root = tempfile::tempdir().unwrap();
        let store = DirectoryStore::create(root.path().join("store")).await.unwrap();
        let now = store.now().await.unwrap();
        let found = probe(&store, || now + TimeDelta::hours(1)).await.unwrap();
        let all = [
            &found.conditional_put,
            &found.compare_and_swap,
            &found.multipart,
            &found.conditional_multipart,
            &found.pending_uploads,
            &found.ranged_reads,
            &found.lists_at_once,
            &found.deletes,
        ];
        assert!(all.iter().all(|ability| ability.is_yes()), "{found:?}");
        assert!((3590..=3600).contains(&found.skew_seconds), "{found:?}");
        assert_eq!(list_all(&store, "").await.unwrap(), []);
    }
}
