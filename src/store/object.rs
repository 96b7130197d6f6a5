use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::model::Sha256Hex;

/// How an object is written.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    pub precondition: Precondition,
    /// Kept with the object and given back by [`Store::head`](super::Store::head); keys are lower-case words with `-`.
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
    /// Empty in listings: only [`Store::head`](super::Store::head) and [`Store::get`](super::Store::get) fill it.
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

/// What a store does for what stands in it; `None` where it does not tell or has no such thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct StoreProtection {
    /// Keeps what is overwritten or deleted.
    pub keeps_versions: Option<bool>,
    /// Can refuse to delete before a time.
    pub locks_objects: Option<bool>,
}

/// One of the things a key has stood for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    /// The store's name for it; none where it keeps no others.
    pub id: Option<String>,
    pub modified: DateTime<Utc>,
    /// `None`: a mark that the object was deleted.
    pub size: Option<u64>,
    pub is_latest: bool,
}

/// What was given to an earlier write of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachedMetadata {
    pub size: u64,
    pub metadata: BTreeMap<String, String>,
}
