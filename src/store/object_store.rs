use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::error::{StoreError, StoreErrorKind};
use super::fault::StoreFault;
use super::object::{
    DetachedMetadata, LifecycleRule, Lock, ObjectInfo, ObjectVersion, Page, PutOptions, StoreProtection,
    UploadInfo, VersionPage, Written,
};

/// The object that marks the root of a repository, the only one whose name stores know.
pub const MARKER: &str = "drctl-repository.json";

/// A store of objects under keys: an S3 bucket and prefix, or a directory.
///
/// Keys are relative to the repository's root, use `/`, and come from [`crate::repository::layout`] only.
///
/// # What every implementation guarantees
///
/// - A write that returned `Ok` is durable, and its bytes are the given ones.
/// - An object appears complete or not at all.
/// - With [`Precondition::Absent`](super::Precondition::Absent) exactly one of several racing writers
///   succeeds (if the store supports it: `drctl doctor` finds out), and the others get
///   [`StoreErrorKind::Exists`]. A retried write whose first attempt had in fact succeeded is a success.
/// - Transient faults are retried inside, with a limit; a returned error is final for this run.
/// - Every call ends: each has a deadline.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// Returns the location for display: `s3://bucket/prefix (eu-central-1)`, `/var/backups/a`.
    fn location(&self) -> String;

    /// Writes a small object (at most 64 MiB) in one request.
    async fn put(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<Written, StoreError>;

    /// Begins an object of unknown size. `options.precondition` is applied on completion.
    async fn begin_upload(&self, key: &str, options: &PutOptions) -> Result<Box<dyn Upload>, StoreError>;

    /// Returns the object's metadata, or `None` if it does not exist.
    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError>;

    /// Returns the contents of a small object. More than `limit` bytes is [`StoreErrorKind::TooLarge`].
    async fn get(&self, key: &str, limit: u64) -> Result<(Bytes, ObjectInfo), StoreError>;

    /// Returns exactly the requested bytes. Fewer is [`StoreErrorKind::Corrupt`], never a short result.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// Lists the objects whose keys begin with `prefix` and come after `after`, sorted by key. A page may be
    /// empty although `Page::next` is set.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError>;

    /// Deletes any number of objects and returns the outcome of each, in the given order. A missing object is
    /// a success; a failed deletion does not stop the others.
    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>>;

    /// Returns the operations that only some stores have.
    fn admin(&self) -> Option<&dyn StoreAdmin> {
        None
    }
}

/// The versions of several objects, by key.
pub type VersionsByKey = Vec<(String, Vec<ObjectVersion>)>;

/// Operations that only some stores have. An unsupported call fails with [`StoreErrorKind::Unsupported`].
#[async_trait]
pub trait StoreAdmin: Send + Sync {
    /// Returns the store's clock, from a fresh response.
    async fn server_time(&self) -> Result<DateTime<Utc>, StoreError>;

    /// Lists the uploads below `prefix` that are neither completed nor aborted.
    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<UploadInfo>, StoreError>;

    /// Aborts a pending upload and frees its bytes; a missing upload is a success.
    async fn abort_upload(&self, upload: &UploadInfo) -> Result<(), StoreError>;

    /// Returns how the store protects objects from loss after they are written.
    async fn protection(&self) -> Result<StoreProtection, StoreError> {
        Ok(StoreProtection::default())
    }

    /// Lists the versions of exactly this key, newest first: one, unless the store keeps overwritten and
    /// deleted versions.
    async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreError>;

    /// Returns the metadata of a version.
    async fn head_version(&self, key: &str, _version: &str) -> Result<ObjectInfo, StoreError> {
        Err(StoreFault::from(StoreErrorKind::Unsupported).at("look at", key, String::new()))
    }

    /// Returns a version: all of it, which is at most `limit` bytes, or exactly the requested ones.
    async fn get_version(
        &self,
        key: &str,
        _version: &str,
        _range: Option<Range<u64>>,
        _limit: u64,
    ) -> Result<(Bytes, ObjectInfo), StoreError> {
        Err(StoreFault::from(StoreErrorKind::Unsupported).at("read", key, String::new()))
    }

    /// Deletes every version of these objects, and every mark that they were deleted, and says of each, in the order
    /// given, whether nothing of it is left. That there was nothing is a success; one that is locked is
    /// [`StoreErrorKind::Forbidden`]. For stores that keep versions: in others [`Store::delete`] is enough.
    async fn purge(&self, keys: &[String]) -> Vec<Result<(), StoreError>>;

    /// Returns until when the newest version of an object cannot be deleted; `None`: it can be now, as far as the store
    /// says. A legal hold has no end.
    async fn locked_until(&self, _key: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        Ok(None)
    }

    /// Returns the same of its lock alone, whether a legal hold keeps it or not: a hold may be taken off.
    async fn retained_until(&self, key: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.locked_until(key).await
    }

    /// Lets the newest version of an object not be deleted before `until`, in the mode it is locked in already. A lock
    /// is never shortened: asked for an earlier time, the store refuses or leaves it.
    async fn extend_lock(&self, key: &str, until: DateTime<Utc>) -> Result<(), StoreError>;

    /// Lets the newest version of an object not be deleted before `lock.until`: in the mode it is locked in already, or in
    /// `lock.mode`. A lock is never shortened.
    async fn place_lock(&self, key: &str, _lock: Lock) -> Result<(), StoreError> {
        Err(unsupported("lock", key))
    }

    /// Lists the versions and delete markers of every key that begins with `prefix`, by key; `after` is
    /// [`VersionPage::next`].
    async fn versions_below(
        &self,
        prefix: &str,
        _after: Option<(String, String)>,
    ) -> Result<VersionPage, StoreError> {
        Err(unsupported("list the versions below", prefix))
    }

    /// Deletes one version of an object, or one delete marker; that it is gone already is a success. One that is locked
    /// is [`StoreErrorKind::Forbidden`].
    async fn delete_version(&self, key: &str, _version: &str) -> Result<(), StoreError> {
        Err(unsupported("delete a version of", key))
    }

    /// Makes a version of `size` bytes the newest one, by a copy in the store with all that is kept with it. Replaces
    /// nothing: what was newest stays as an older version.
    async fn copy_version(
        &self,
        key: &str,
        _version: &str,
        _size: u64,
        _lock: Option<Lock>,
    ) -> Result<(), StoreError> {
        Err(unsupported("copy a version of", key))
    }

    /// Lists the rules by which the store itself removes objects of the repository, where it has such.
    async fn lifecycle(&self) -> Result<Vec<LifecycleRule>, StoreError> {
        Ok(vec![])
    }

    /// Sets or releases the legal hold of the newest version of an object, which prevents its deletion.
    async fn set_legal_hold(&self, key: &str, is_held: bool) -> Result<(), StoreError>;

    /// Lists the metadata of earlier writes of a key whose current object has none: it is not what was
    /// written then, or was written differently. Empty in stores that keep metadata in the object itself.
    async fn detached_metadata(&self, _key: &str) -> Result<Vec<DetachedMetadata>, StoreError> {
        Ok(vec![])
    }

    /// Whether what is kept with an object can be lost while the object is there.
    fn keeps_metadata_apart(&self) -> bool {
        false
    }

    /// Tells the write that made this object from every other write, in this store and in others; `None` where
    /// nothing does.
    async fn write_id(&self, _key: &str) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// Returns why the last attempt failed, of a call that is still retried or was given up.
    fn last_failure(&self) -> Option<String> {
        None
    }

    /// Lists the checksum methods to probe for support in the store. Empty if there is no choice.
    fn checksums(&self) -> Vec<ChecksumSupport> {
        vec![]
    }
}

/// One checksum method for uploads to the same location.
#[derive(Clone, Debug)]
pub struct ChecksumSupport {
    pub checksum: crate::policy::Checksum,
    /// Sends the checksum of the bytes.
    pub right: Arc<dyn Store>,
    /// Sends a wrong one: a store that verifies it rejects every write.
    pub wrong: Arc<dyn Store>,
}

/// An upload in progress. Dropping it leaves a pending upload; end it with `complete` or `abort`.
#[async_trait]
pub trait Upload: Send + Sync + Debug {
    /// Uploads part `number` (from 1, without gaps). Parts may be uploaded concurrently and in any order; all
    /// but the last have the same size.
    async fn part(&self, number: u32, body: Bytes) -> Result<(), StoreError>;

    /// Publishes the object and confirms that its size is the sum of its parts.
    async fn complete(&self) -> Result<Written, StoreError>;

    async fn abort(&self) -> Result<(), StoreError>;
}

/// Lists all pages of a prefix.
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

/// Deletes one object; a missing object is a success.
pub async fn delete_object(store: &dyn Store, key: &str) -> Result<(), StoreError> {
    store.delete(&[key.to_owned()]).await.into_iter().collect()
}

/// Returns the error of a call that the store does not have.
fn unsupported(operation: &'static str, key: &str) -> StoreError {
    StoreFault::from(StoreErrorKind::Unsupported).at(operation, key, "a store without versions".to_owned())
}

/// Returns [`Store::admin`] to callers that require it; fails as unsupported if the store has none.
pub fn require_admin(store: &dyn Store) -> Result<&dyn StoreAdmin, StoreError> {
    let missing = || StoreFault::from(StoreErrorKind::Unsupported).at("administer", "", store.location());
    store.admin().ok_or_else(missing)
}
