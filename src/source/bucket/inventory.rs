use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{BackupId, Sha256Hex};
use crate::store::s3::{ListedObject, ObjectHeaders, Replication};

/// The artifact with a line of JSON for each object, after one that is an [`InventoryHeader`].
pub const INVENTORY: &str = "inventory.ndjson";

/// The first line of an inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryHeader {
    pub format: String,
    pub bucket: String,
    pub prefix: String,
    /// Whether the bucket keeps versions.
    pub versions: bool,
    pub listed: DateTime<Utc>,
}

impl InventoryHeader {
    pub const FORMAT: &'static str = "drctl-inventory/1";
}

/// An object of the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRecord {
    /// Its key without the source's prefix, and what the store says of it.
    #[serde(flatten)]
    pub object: ListedObject,
    #[serde(flatten)]
    pub headers: ObjectHeaders,
    /// Of its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<Replication>,
    /// Where its bytes are.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub stored: Option<StoredIn>,
    /// Why they are nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
    /// It has tags, which are not recorded.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tags: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(is: &bool) -> bool {
    !is
}

/// The entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredIn {
    pub backup: BackupId,
    /// Without the endings of its encoding.
    pub archive: String,
    /// `objects/17`
    pub entry: String,
}

/// Why the bytes of an object are in no archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftOut {
    /// It is in an archive class, from which it has to be restored first.
    Archived,
    /// It was another one at each attempt to read it.
    Changing,
    /// It was deleted before it was read.
    Gone,
    /// It was in the parent and is not in the bucket.
    Deleted,
}

impl ObjectRecord {
    /// A record of an object of which nothing is known but what the listing says.
    pub(super) fn listed(object: ListedObject) -> Self {
        Self {
            object,
            headers: ObjectHeaders::default(),
            sha256: None,
            replication: None,
            stored: None,
            left_out: None,
            tags: false,
        }
    }

    /// Returns whether the object is as it was when this was recorded, and its bytes are stored.
    pub(super) fn is_still(&self, listed: &ListedObject) -> bool {
        self.stored.is_some() && self.object == *listed
    }

    /// Returns whether its storage class says that it cannot be read now.
    pub(super) fn is_archived(&self) -> bool {
        matches!(self.object.class.as_deref(), Some("GLACIER" | "DEEP_ARCHIVE"))
    }
}
