//! The objects of a bucket.
//!
//! ```text
//! list ─▶ compare with the parent's state ─▶ objects-001.tar, … ─▶ inventory.ndjson
//! ```
//!
//! The source is only read. Of every object that is new or other than in the parent, the bytes are an entry of an archive,
//! by a number, since keys are no paths; the inventory has one line for each object that the bucket has, with the backup,
//! archive and entry that hold its bytes. So a restore reads one inventory, and of the chain only what it names.
//!
//! *Invariants.* An object is read as it was listed, by its version or ETag, or is recorded as another one. What is not
//! read is in the inventory with its reason, and the backup says how many there are. Deletions are recorded and never
//! applied to anything stored. Keys and everything else of an object are in encrypted artifacts only, and on this host.
//! Memory does not depend on the number of objects: listings and inventories are spooled to files without a name.
//!
//! *Not here.* Writing to a bucket: [`crate::restore::content`].

mod archive;
mod capture;
mod compare;
mod error;
mod facts;
mod inventory;
mod manual_restore;
mod read;
mod spool;

pub use error::BucketError;
pub use inventory::{INVENTORY, InventoryHeader, LeftOut, ObjectRecord, StoredIn};

pub use spool::Spool;

pub(super) use capture::BucketBackups;

use crate::policy::{BucketSource, Checksum, S3Location};

/// Returns where the objects are, as a store is opened.
pub fn location(config: &BucketSource) -> S3Location {
    S3Location {
        bucket: config.bucket.clone(),
        prefix: config.prefix.clone(),
        region: config.region.clone(),
        endpoint: config.endpoint.clone(),
        path_style: config.path_style,
        credentials: config.credentials.clone(),
        checksum: Checksum::None,
        storage_class: None,
        server_side_encryption: None,
        object_lock: None,
    }
}
