//! Object stores: the [`Store`] contract, and the drivers that implement it.
//!
//! *Invariants.* A store never overwrites an existing object when [`PutOptions`] ask for a new one. A write
//! that returned is durable and was verified on arrival as far as the store can.
//!
//! *Not here.* Which objects a repository consists of ([`crate::repository`]).

mod as_of;
mod blocked;
mod deadline;
pub mod directory;
mod error;
mod fault;
mod object;
mod object_store;
pub mod s3;
pub mod testing;
mod throttled;

pub use as_of::{AsOf, list_versions};
pub use blocked::Blocked;
pub use deadline::Deadline;
pub use error::{StoreError, StoreErrorKind};
pub use object::{
    DetachedMetadata, LifecycleRemoval, LifecycleRule, Lock, ObjectInfo, ObjectVersion, Page, Precondition,
    PutOptions, StoreProtection, UploadInfo, VersionPage, Written,
};
pub use object_store::{
    ChecksumSupport, MARKER, Store, StoreAdmin, Upload, VersionsByKey, delete_object, list_all, require_admin,
};
pub use throttled::Throttled;
