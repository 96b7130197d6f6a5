use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::model::Sha256Hex;

/// A place that keeps objects under keys: an S3 bucket and prefix, or a directory.
///
/// Keys are relative to the repository's root, use `/`, and come from [`crate::repository::layout`] only.
///
/// # What every implementation promises
///
/// - A write that returned `Ok` is durable, and its bytes are those given.
/// - An object appears whole or not at all.
/// - With [`Precondition::Absent`] just one of several racing writers succeeds (where the store can do it
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

    /// Deletes an object; that it was not there is a success.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Uploads that were begun and neither completed nor aborted, below `prefix`.
    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<UploadInfo>, StoreError>;

    /// Aborts one of them and frees its bytes; that it is gone is a success.
    async fn abort_pending(&self, upload: &UploadInfo) -> Result<(), StoreError>;

    /// The store's own time of day, from a fresh answer of it.
    async fn now(&self) -> Result<DateTime<Utc>, StoreError>;

    /// What was kept with a key when it was written, where nothing is kept with what stands under it: it is not what
    /// was written then, or not as it was written. Nothing where a store keeps metadata in the object itself.
    async fn earlier(&self, _key: &str) -> Result<Vec<ObjectVersion>, StoreError> {
        Ok(vec![])
    }

    /// Tells the write that made this object from every other write, in this store and in others; `None` where
    /// nothing does.
    async fn print(&self, _key: &str) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// Why the last attempt at a call failed that is still tried again, or was given up.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// What the store says it does to keep objects from being lost after they are written.
    async fn guard(&self) -> Result<StoreProtection, StoreError> {
        Ok(StoreProtection::default())
    }

    /// The ways to have a store prove what arrives, to find out which of them it knows. None where there
    /// is nothing to choose.
    fn proofs(&self) -> Vec<ChecksumSupport> {
        vec![]
    }
}

/// What an earlier write of a key was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    pub size: u64,
    pub metadata: BTreeMap<String, String>,
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

/// What a store does for what stands in it; `None` where it does not tell or has no such thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct StoreProtection {
    /// Keeps what is overwritten or deleted.
    pub keeps_versions: Option<bool>,
    /// Can refuse to delete before a time.
    pub locks_objects: Option<bool>,
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

/// How an object is written.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    pub precondition: Precondition,
    /// Kept with the object and given back by [`Store::head`]; keys are lower-case words with `-`.
    pub metadata: BTreeMap<String, String>,
    /// Asks for write-once where the repository has it.
    pub lock: Option<Lock>,
    /// Of a body that is written in one go, where it is known: a store that wants a signature over the body
    /// need not hash it once more, and refuses it if it is another.
    pub sha256: Option<Sha256Hex>,
}

impl PutOptions {
    /// Refuses to overwrite: how everything but a lease is written.
    pub fn absent() -> Self {
        Self { precondition: Precondition::Absent, ..Self::default() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    #[default]
    None,
    /// There is no object under the key.
    Absent,
    /// The object under the key still has this `etag`.
    Unchanged(String),
}

/// Until when an object may not be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    pub mode: crate::policy::LockMode,
    pub until: DateTime<Utc>,
}

/// What a write left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// For [`Precondition::Unchanged`]. Changes with every write of other bytes; where S3 derives it from
    /// the bytes, the same bytes have the same.
    pub etag: String,
    /// Of versioned buckets.
    pub version: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    pub key: String,
    pub size: u64,
    /// In listings of some stores empty.
    pub etag: String,
    /// By the store's clock.
    pub modified: DateTime<Utc>,
    /// Empty in listings: only [`Store::head`] and [`Store::get`] fill it.
    pub metadata: BTreeMap<String, String>,
}

/// A page of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub objects: Vec<ObjectInfo>,
    /// Where the next page begins: give it as `after`. `None`: this was the last.
    pub next: Option<String>,
}

/// An upload that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    pub key: String,
    /// The store's name for it.
    pub id: String,
    pub begun: DateTime<Utc>,
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

/// A call to a store that failed, after the retries.
#[derive(Debug, Error)]
#[error("failed to {operation} `{key}` in {location}: {kind}{}", in_brackets(.detail))]
pub struct StoreError {
    /// A verb: `read`, `write`, `list`, …
    pub operation: &'static str,
    pub key: String,
    pub location: String,
    pub kind: StoreErrorKind,
    /// The store's own words, where they add something: `SlowDown: Please reduce your request rate`.
    pub detail: Option<String>,
}

fn in_brackets(text: &Option<String>) -> String {
    text.as_ref().map(|text| format!(" ({text})")).unwrap_or_default()
}

/// Why, as far as it decides what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StoreErrorKind {
    #[error("there is no such object")]
    NotFound,
    #[error("there is no such bucket or directory")]
    NoBucket,
    #[error("there is an object already, and nothing is ever overwritten")]
    Exists,
    #[error("someone else changed it meanwhile")]
    Changed,
    #[error("access is denied")]
    Forbidden,
    #[error("the credentials were not accepted, or there are none")]
    Credentials,
    #[error("this host's clock differs too much from the store's")]
    ClockSkew,
    #[error("no space is left")]
    Full,
    #[error("the store did not answer in time, or could not be reached")]
    Unreachable,
    #[error("the store answered that it cannot do it now")]
    Unavailable,
    #[error("what arrived is not what was sent")]
    Corrupt,
    #[error("it is larger than expected")]
    TooLarge,
    #[error("the store cannot do this")]
    Unsupported,
    #[error("the request failed")]
    Other,
}
