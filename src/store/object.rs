use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::model::Sha256Hex;

/// How an object is written.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    pub precondition: Precondition,
    /// Stored with the object and returned by [`Store::head`](super::Store::head); keys are lower-case words
    /// with `-`.
    pub metadata: BTreeMap<String, String>,
    /// Requests write-once if the repository supports it.
    pub lock: Option<Lock>,
    /// Digest of a body that is written in one request, if known: a store that signs the body need not hash
    /// it again, and rejects another body.
    pub sha256: Option<Sha256Hex>,
}

impl PutOptions {
    /// Creates options that refuse to overwrite: everything but a lease is written with them.
    pub fn absent() -> Self {
        Self { precondition: Precondition::Absent, ..Self::default() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    #[default]
    None,
    /// No object exists under the key.
    Absent,
    /// The object under the key still has this `etag`.
    Unchanged(String),
}

/// Retention of an object: it cannot be deleted before this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    pub mode: crate::policy::LockMode,
    pub until: DateTime<Utc>,
}

/// The result of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// For [`Precondition::Unchanged`]. Changes with every write of other bytes; if S3 derives it from the
    /// bytes, equal bytes have equal etags.
    pub etag: String,
    /// In versioned buckets only.
    pub version: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    pub key: String,
    pub size: u64,
    /// Empty in the listings of some stores.
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
    /// The `after` of the next page; `None` on the last page.
    pub next: Option<String>,
}

/// An upload that is not completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    pub key: String,
    /// The store's ID of the upload.
    pub id: String,
    pub begun: DateTime<Utc>,
}

/// How a store protects its objects; `None` if it does not report it or has no such feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct StoreProtection {
    /// Keeps what is overwritten or deleted.
    pub keeps_versions: Option<bool>,
    /// Can refuse deletion before a given time.
    pub locks_objects: Option<bool>,
}

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    /// The store's ID of the version; `None` if it keeps only one.
    pub id: Option<String>,
    pub modified: DateTime<Utc>,
    /// `None` for a delete marker.
    pub size: Option<u64>,
    pub is_latest: bool,
    /// Equal for equal bytes that were uploaded in the same way; empty for a delete marker, and where the store gives none.
    pub etag: String,
}

impl ObjectVersion {
    /// Returns whether this hides the object, instead of being one.
    pub fn is_marker(&self) -> bool {
        self.size.is_none()
    }
}

/// A page of a listing of versions.
#[derive(Clone, Debug, Default)]
pub struct VersionPage {
    /// With their keys; those of one key follow one another, newest first.
    pub versions: Vec<(String, ObjectVersion)>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<(String, String)>,
}

/// A rule by which the store itself removes objects of the repository.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LifecycleRule {
    /// Its name in the bucket.
    pub id: String,
    /// What it reaches of the repository: keys that begin with this.
    pub prefix: String,
    /// It reaches only some objects below the prefix, by their tags or sizes.
    pub is_partial: bool,
    /// It reaches only those that someone gave a tag: drctl gives none.
    pub is_of_tags: bool,
    pub removes: LifecycleRemoval,
}

/// What a rule removes, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LifecycleRemoval {
    /// Objects, so many days after they were written.
    Objects { days: u32 },
    /// Every object, from this time on.
    AllObjects { from: DateTime<Utc> },
    /// What was overwritten or deleted, so many days after that.
    OldVersions { days: u32 },
    /// Uploads that are not completed, so many days after they were begun.
    Uploads { days: u32 },
}

/// The metadata of an earlier write of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachedMetadata {
    pub size: u64,
    pub metadata: BTreeMap<String, String>,
}
