use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::error::{StoreError, StoreErrorKind};
use super::fault::StoreFault;
use super::object::{
    DetachedMetadata, ObjectInfo, ObjectVersion, Page, PutOptions, StoreProtection, UploadInfo, Written,
};

/// The object that marks the root of a repository. A store looks at nothing else of what it keeps.
pub const MARKER: &str = "drctl-repository.json";

/// A place that keeps objects under keys: an S3 bucket and prefix, or a directory.
///
/// Keys are relative to the repository's root, use `/`, and come from [`crate::repository::layout`] only.
///
/// # What every implementation promises
///
/// - A write that returned `Ok` is durable, and its bytes are those given.
/// - An object appears whole or not at all.
/// - With [`Precondition::Absent`](super::Precondition::Absent) just one of several racing writers succeeds (where the store can do it
///   at all: `drctl doctor` finds out), and the others get [`StoreErrorKind::Exists`]. A write that was
///   retried after its first attempt had in fact succeeded is a success.
/// - Transient faults are retried inside, with a limit; what comes out is final for this run.
/// - Every call ends: there is a deadline on each.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// Where this is, for people: `s3://bucket/prefix (eu-central-1)`, `/var/backups/a`.
    fn location(&self) -> String;

    /// Writes a small object (at most 64 MiB) in one go.
    async fn put(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<Written, StoreError>;

    /// Begins an object of unknown size. `options.precondition` is applied when it completes.
    async fn begin_upload(&self, key: &str, options: &PutOptions) -> Result<Box<dyn Upload>, StoreError>;

    /// `None` where there is no such object.
    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError>;

    /// The whole of a small object. More than `limit` bytes is [`StoreErrorKind::TooLarge`].
    async fn get(&self, key: &str, limit: u64) -> Result<(Bytes, ObjectInfo), StoreError>;

    /// Just the bytes asked for. Fewer than asked for is [`StoreErrorKind::Corrupt`], never a short answer.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// Objects whose key begins with `prefix`, sorted by key, those after `after` only. A page may be
    /// empty while `Page::next` says to go on.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError>;

    /// Deletes these objects, and says of each, in the order given, whether it is gone. That it was not there is a
    /// success. There may be any number of them; one that cannot be deleted does not keep the others.
    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>>;

    /// What only some stores can do.
    fn admin(&self) -> Option<&dyn StoreAdmin> {
        None
    }
}

/// What only some stores can do. A call that this store has not is [`StoreErrorKind::Unsupported`].
#[async_trait]
pub trait StoreAdmin: Send + Sync {
    /// Returns the store's own time of day, from a fresh answer of it.
    async fn server_time(&self) -> Result<DateTime<Utc>, StoreError>;

    /// Lists uploads that were begun and neither completed nor aborted, below `prefix`.
    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<UploadInfo>, StoreError>;

    /// Aborts one of them and frees its bytes; that it is gone is a success.
    async fn abort_upload(&self, upload: &UploadInfo) -> Result<(), StoreError>;

    /// Returns what the store says it does to keep objects from being lost after they are written.
    async fn protection(&self) -> Result<StoreProtection, StoreError> {
        Ok(StoreProtection::default())
    }

    /// Lists what the store keeps under just this key, the newest first: one version, unless it keeps those that were
    /// overwritten or deleted.
    async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreError>;

    /// Deletes every version of these objects, and every mark that they were deleted, and says of each, in the order
    /// given, whether nothing of it is left. That there was nothing is a success; one that is locked is
    /// [`StoreErrorKind::Forbidden`]. For stores that keep versions: in others [`Store::delete`] is enough.
    async fn purge(&self, keys: &[String]) -> Vec<Result<(), StoreError>>;

    /// Returns until when the newest version of an object cannot be deleted; `None`: it can be now, as far as the store
    /// says. A legal hold has no end.
    async fn locked_until(&self, _key: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        Ok(None)
    }

    /// Lets the newest version of an object not be deleted before `until`, in the mode it is locked in already. A lock
    /// is never shortened: asked for an earlier time, the store refuses or leaves it.
    async fn extend_lock(&self, key: &str, until: DateTime<Utc>) -> Result<(), StoreError>;

    /// Lets the newest version of an object not be deleted until the hold is taken off again.
    async fn set_legal_hold(&self, key: &str, is_held: bool) -> Result<(), StoreError>;

    /// Lists what was kept with a key when it was written, where nothing is kept with what stands under it now: it is
    /// not what was written then, or not as it was written. Nothing where a store keeps metadata in the object itself.
    async fn detached_metadata(&self, _key: &str) -> Result<Vec<DetachedMetadata>, StoreError> {
        Ok(vec![])
    }

    /// Tells the write that made this object from every other write, in this store and in others; `None` where
    /// nothing does.
    async fn write_id(&self, _key: &str) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// Says why the last attempt at a call failed that is still tried again, or was given up.
    fn last_failure(&self) -> Option<String> {
        None
    }

    /// Lists the ways to have a store prove what arrives, to find out which of them it knows. None where there is
    /// nothing to choose.
    fn checksums(&self) -> Vec<ChecksumSupport> {
        vec![]
    }
}

/// One way to have a store prove what arrives, at the same place.
#[derive(Clone, Debug)]
pub struct ChecksumSupport {
    pub checksum: crate::policy::Checksum,
    /// Sends the checksum of the bytes.
    pub right: Arc<dyn Store>,
    /// Sends another: a store that compares refuses every write.
    pub wrong: Arc<dyn Store>,
}

/// An object on its way. Dropping it leaves a pending upload; end it with `complete` or `abort`.
#[async_trait]
pub trait Upload: Send + Sync + Debug {
    /// Uploads part `number` (from 1, without gaps). Parts may be uploaded at once and in any order; all
    /// but the last have the same size.
    async fn part(&self, number: u32, body: Bytes) -> Result<(), StoreError>;

    /// Makes the object appear, and confirms that it has the size of the parts together.
    async fn complete(&self) -> Result<Written, StoreError>;

    async fn abort(&self) -> Result<(), StoreError>;
}

/// All pages of a listing.
pub async fn list_all(store: &dyn Store, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
    let mut objects = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.list(prefix, after.as_deref()).await?;
        objects.extend(page.objects);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(objects),
        }
    }
}

/// Deletes one object; that it was not there is a success.
pub async fn delete_object(store: &dyn Store, key: &str) -> Result<(), StoreError> {
    store.delete(&[key.to_owned()]).await.into_iter().collect()
}

/// Returns [`Store::admin`] to callers that cannot do without: a store that has none cannot do it.
pub fn require_admin(store: &dyn Store) -> Result<&dyn StoreAdmin, StoreError> {
    let missing = || StoreFault::from(StoreErrorKind::Unsupported).at("administer", "", store.location());
    store.admin().ok_or_else(missing)
}
