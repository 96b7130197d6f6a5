use serde::{Deserialize, Serialize};

/// The confidential facts about a bucket, beside the inventory of its objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketFacts {
    /// Objects whose bytes are stored, in this backup or in one that it builds on.
    pub objects: u64,
    pub bytes: u64,
    /// Objects that were read for this backup.
    pub read: u64,
    /// Objects of the parent that the bucket does not have any more.
    pub deleted: u64,
    /// Objects in an archive class, which were not read.
    pub archived: u64,
    /// Objects that were deleted before they were read.
    pub gone: u64,
    /// Objects that were others at each attempt to read them, and are left out.
    pub changing: u64,
    /// Objects that were read as another write than the listing had.
    pub changed: u64,
    pub replication_pending: u64,
    pub replication_failed: u64,
    /// Objects with tags, which are not recorded.
    pub tagged: u64,
}
