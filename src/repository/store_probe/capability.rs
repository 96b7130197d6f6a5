//! Probes the capabilities of a store: its name and documentation are not trusted.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::super::layout;
pub use super::answer::Capability;
pub use super::checksum::ChecksumProbe;
use super::checksum::{checksums, is_about_the_store};
use crate::platform::CancellationToken;
use crate::store::{
    Precondition, PutOptions, Store, StoreError, StoreErrorKind, StoreProtection, delete_object, list_all,
    require_admin,
};
use crate::text::format_duration;

/// The minimum part size of S3, except for the last part.
const PART: usize = 5 << 20;
/// For a whole probe.
const DEADLINE: Duration = Duration::from_secs(180);
const SWEEP_DEADLINE: Duration = Duration::from_secs(20);
/// Older than any running probe. Independent of the host's clock: both times are the store's.
const OLD: TimeDelta = TimeDelta::minutes(10);

/// The capabilities found.
#[derive(Clone, Debug, Serialize)]
pub struct Capabilities {
    /// A second write "if absent" is rejected, and the bytes of the first remain.
    pub conditional_put: Capability,
    /// A write "if unchanged" is rejected after a change. Leases depend on it.
    pub compare_and_swap: Capability,
    /// Several parts form one object with their bytes.
    pub multipart: Capability,
    /// An upload "if absent" does not replace an existing object.
    pub conditional_multipart: Capability,
    /// Unfinished uploads can be listed and aborted.
    pub pending_uploads: Capability,
    pub ranged_reads: Capability,
    /// An object is listed as soon as it is written.
    pub lists_at_once: Capability,
    /// The checksums that the store verifies on arrival; empty if there is no choice.
    pub checksums: Vec<ChecksumProbe>,
    /// Whether this role may delete. A backup host is better off without the right.
    pub deletes: Capability,
    /// The objects that the probe leaves if it may not delete.
    pub left_objects: usize,
    pub left_bytes: u64,
    /// How the store protects objects after they are written, as reported by itself.
    pub guard: StoreProtection,
    /// How far this host's clock is ahead of the store's.
    pub skew_seconds: i64,
}

/// Probes everything below a random key and always deletes it afterwards. A role that may not delete leaves
/// three objects under fixed keys, which are reused.
///
/// # Errors
///
/// The store cannot even be written to and read.
pub async fn probe(
    store: &dyn Store,
    now: impl Fn() -> DateTime<Utc>,
    cancel: &CancellationToken,
) -> Result<Capabilities, StoreError> {
    sweep_old(store).await;
    let random = layout::probe(crate::platform::seed());
    // No such object exists: a role that may not delete is rejected all the same.
    let deletes = match delete_object(store, &format!("{random}nothing")).await {
        Ok(()) => Capability::Yes,
        Err(error) if error.kind == StoreErrorKind::Forbidden => Capability::No(error.to_string()),
        Err(error) => failed(error),
    };
    let keeps = matches!(deletes, Capability::No(_));
    let folder = if keeps { layout::kept_probe().to_owned() } else { random };
    let ended = |detail: String| StoreError {
        operation: "probe",
        key: folder.clone(),
        location: store.location(),
        kind: StoreErrorKind::Unreachable,
        detail: Some(detail),
    };
    let found = tokio::select! {
        found = tokio::time::timeout(DEADLINE, try_all(store, &folder, now, deletes)) => found
            .unwrap_or_else(|_| Err(ended(format!("not done after {}", format_duration(DEADLINE))))),
        () = cancel.cancelled() => Err(ended("interrupted".to_owned())),
    };
    let swept = tokio::time::timeout(SWEEP_DEADLINE, sweep(store, &folder, keeps)).await;
    let mut found = found?;
    match swept {
        Ok(Ok(left)) => (found.left_objects, found.left_bytes) = left,
        Ok(Err(error)) if found.deletes.is_yes() => found.deletes = failed(error),
        _ => {}
    }
    Ok(found)
}

async fn try_all(
    store: &dyn Store,
    folder: &str,
    now: impl Fn() -> DateTime<Utc>,
    deletes: Capability,
) -> Result<Capabilities, StoreError> {
    let skew: TimeDelta = now() - require_admin(store)?.server_time().await?;
    let key = format!("{folder}object");
    let checksums = checksums(store, folder).await;
    let keeps = matches!(deletes, Capability::No(_));
    let options = if keeps { PutOptions::default() } else { PutOptions::absent() };
    let written = match store.put(&key, Bytes::from_static(b"first"), &options).await {
        Ok(written) => written,
        Err(error) => return Err(with_another_checksum(error, &checksums)),
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
        Ok(bytes) if bytes == b"ir"[..] => Capability::Yes,
        Ok(_) => Capability::No("it gave other bytes than were asked for".to_owned()),
        Err(error) => failed(error),
    };
    let again = store.put(&key, Bytes::from_static(b"second"), &PutOptions::absent()).await;
    let conditional_put = refused(again.map(|_| ()), StoreErrorKind::Exists);
    let compare_and_swap = swap(store, &key, written.etag).await;
    let (multipart, conditional_multipart) = upload(store, folder, &key).await;
    let pending_uploads = pending(store, folder).await;
    let guard = require_admin(store)?.protection().await.unwrap_or_default();
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
        left_objects: 0,
        left_bytes: 0,
        guard,
        skew_seconds: skew.num_seconds(),
    })
}

/// Adds the checksum that the store accepts: with another one in the policy it rejects every write with an
/// unrelated message.
fn with_another_checksum(error: StoreError, checksums: &[ChecksumProbe]) -> StoreError {
    match checksums.iter().find(|found| found.taken.is_yes()) {
        _ if is_about_the_store(&error) => error,
        Some(found) => {
            let detail = error.detail.map(|detail| format!("{detail}; ")).unwrap_or_default();
            let detail = Some(format!("{detail}with `checksum = \"{}\"` it is taken", found.checksum));
            StoreError { detail, ..error }
        }
        None => error,
    }
}

fn failed(error: StoreError) -> Capability {
    match error.kind {
        StoreErrorKind::Unsupported => Capability::No(error.to_string()),
        _ => Capability::Unknown(error.to_string()),
    }
}

/// Judges a write that must be rejected.
fn refused(outcome: Result<(), StoreError>, with: StoreErrorKind) -> Capability {
    match outcome {
        Ok(()) => Capability::No("the condition was ignored and the object replaced".to_owned()),
        Err(error) if error.kind == with => Capability::Yes,
        Err(error) => failed(error),
    }
}

async fn listed(store: &dyn Store, folder: &str, key: &str) -> Capability {
    match list_all(store, folder).await {
        Ok(objects) if objects.iter().any(|object| object.key == key) => Capability::Yes,
        Ok(_) => Capability::No("an object that was just written is not in the listing".to_owned()),
        Err(error) => failed(error),
    }
}

async fn swap(store: &dyn Store, key: &str, etag: String) -> Capability {
    let unchanged =
        |etag| PutOptions { precondition: Precondition::Unchanged(etag), ..PutOptions::default() };
    match store.put(key, Bytes::from_static(b"swapped"), &unchanged(etag.clone())).await {
        Err(error) => return failed(error),
        Ok(written) if written.etag == etag => {
            return Capability::No("the entity tag stays the same when the bytes change".to_owned());
        }
        Ok(_) => {}
    }
    let stale = store.put(key, Bytes::from_static(b"stale"), &unchanged(etag)).await;
    refused(stale.map(|_| ()), StoreErrorKind::Changed)
}

async fn upload(store: &dyn Store, folder: &str, taken: &str) -> (Capability, Capability) {
    let key = format!("{folder}parts");
    let first = Bytes::from(vec![b'a'; PART]);
    let begun = async {
        // An object that an earlier probe could not delete is proof enough.
        let stands = store.head(&key).await?.is_some_and(|info| info.size == PART as u64 + 3);
        if !stands {
            // Out of order on purpose: parts are sent in parallel.
            let parts = [(2, Bytes::from_static(b"end")), (1, first)];
            send(store, &key, parts).await?;
        }
        store.get_range(&key, PART as u64 - 1..PART as u64 + 3).await
    };
    let multipart = match begun.await {
        Ok(bytes) if bytes == b"aend"[..] => Capability::Yes,
        Ok(_) => Capability::No("the object is not its parts".to_owned()),
        Err(error) => failed(error),
    };
    let over = send(store, taken, [(1, Bytes::from_static(b"over"))]).await;
    (multipart, refused(over, StoreErrorKind::Exists))
}

/// Uploads an object; aborts the upload if it fails.
async fn send(
    store: &dyn Store,
    key: &str,
    parts: impl IntoIterator<Item = (u32, Bytes)>,
) -> Result<(), StoreError> {
    let upload = store.begin_upload(key, &PutOptions::absent()).await?;
    let sent = async {
        for (number, bytes) in parts {
            upload.part(number, bytes).await?;
        }
        upload.complete().await.map(drop)
    };
    let sent = sent.await;
    if sent.is_err() {
        let _left_for_the_sweep = upload.abort().await;
    }
    sent
}

async fn pending(store: &dyn Store, folder: &str) -> Capability {
    let key = format!("{folder}pending");
    let tried = async {
        let upload = store.begin_upload(&key, &PutOptions::absent()).await?;
        let sent = upload.part(1, Bytes::from_static(b"left behind")).await;
        let uploads = match sent {
            Ok(()) => require_admin(store)?.pending_uploads(folder).await,
            Err(error) => Err(error),
        };
        let found = uploads.as_ref().is_ok_and(|uploads| uploads.iter().any(|upload| upload.key == key));
        upload.abort().await?;
        uploads.map(|_| found)
    };
    match tried.await {
        Ok(true) => Capability::Yes,
        Ok(false) => Capability::No("an upload that was begun is not listed".to_owned()),
        Err(error) => failed(error),
    }
}

/// Aborts uploads, and deletes objects unless they are to be kept. Returns how many objects are left, and
/// their bytes.
async fn sweep(store: &dyn Store, folder: &str, keeps: bool) -> Result<(usize, u64), StoreError> {
    if let Some(admin) = store.admin() {
        for upload in admin.pending_uploads(folder).await.unwrap_or_default() {
            let _left = admin.abort_upload(&upload).await;
        }
    }
    if !keeps {
        let keys: Vec<String> = list_all(store, folder).await?.into_iter().map(|object| object.key).collect();
        store.delete(&keys).await.into_iter().collect::<Result<(), _>>()?;
    }
    let left = list_all(store, folder).await?;
    Ok((left.len(), left.iter().map(|object| object.size).sum()))
}

/// Removes the leftovers of killed probes: those older than any running one.
pub async fn sweep_old(store: &dyn Store) {
    let swept = async {
        let admin = require_admin(store)?;
        let before = admin.server_time().await? - OLD;
        for upload in admin.pending_uploads(layout::probes()).await.unwrap_or_default() {
            if upload.begun < before {
                admin.abort_upload(&upload).await?;
            }
        }
        let objects = list_all(store, layout::probes()).await?.into_iter();
        let old = objects.filter(|one| one.modified < before && !one.key.starts_with(layout::kept_probe()));
        let keys: Vec<String> = old.map(|object| object.key).collect();
        store.delete(&keys).await.into_iter().collect::<Result<(), StoreError>>()
    };
    match tokio::time::timeout(SWEEP_DEADLINE, swept).await {
        Ok(Err(error)) => tracing::info!("{error}"),
        Err(_) => {
            tracing::info!("looking for what earlier probes left in {} took too long", store.location())
        }
        Ok(Ok(())) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::directory::DirectoryStore;

    #[tokio::test]
    async fn a_directory_can_do_all_of_it_and_nothing_is_left() {
        let root = tempfile::tempdir().unwrap();
        let store = DirectoryStore::create(root.path().join("store")).await.unwrap();
        let now = require_admin(&store).unwrap().server_time().await.unwrap();
        let found = probe(&store, || now + TimeDelta::hours(1), &CancellationToken::new()).await.unwrap();
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
