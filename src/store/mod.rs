//! Object stores: the [`Store`] contract, and the drivers that implement it.
//!
//! *Invariants.* A store never overwrites an object that was written with [`PutOptions`] asking for a new one. A write
//! that returned is durable, and was proven on arrival as far as the store can.
//!
//! *Not here.* Which objects a repository consists of ([`crate::repository`]).

pub mod directory;
pub mod object_store;
pub mod probe;
pub mod s3;
pub mod same_location;
pub mod testing;

pub use object_store::{
    ChecksumSupport, Lock, ObjectInfo, ObjectVersion, Page, Precondition, PutOptions, Store, StoreError,
    StoreErrorKind, StoreProtection, Upload, UploadInfo, Written, list_all,
};
