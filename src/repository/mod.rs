#![doc = include_str!("FORMAT.md")]
//!
//! # This module
//!
//! Owns everything that is on a store, and the only code that builds keys ([`layout`]).
//!
//! *Invariants.* No object is ever overwritten but a lease, and a copy of log that is proven not to be what was
//! stored; both only by compare-and-swap. A manifest is written after every artifact it names is confirmed. A
//! [`Store`] never reports success for bytes it has not confirmed.
//!
//! *Not here.* What the bytes mean ([`crate::pipeline`], [`crate::source`]), and what to keep or delete.

mod copier;
mod directory;
mod fault;
pub mod journal;
pub mod layout;
pub mod lease;
pub mod manifest;
mod marker;
mod phases;
pub mod probe;
mod proof;
pub mod reader;
mod remembered;
mod s3;
mod same_place;
#[cfg(test)]
pub(crate) mod sample;
mod set;
mod small;
mod store;
mod target;
mod writer;

pub use copier::{Copier, CopyError, Kept};
pub use directory::{DirectoryStore, is_mount_point};
pub use manifest::{FormatError, FormatVersion, ManifestError};
pub use marker::{Marker, MarkerError};
pub use phases::{PhaseSeconds, Phases};
pub use remembered::Remembered;
pub use s3::S3Store;
pub use set::{Lost, Repositories, Repository, write_options};
pub use small::{SmallError, SmallReader, is_interrupted_read, is_interruption};
pub use store::{
    Earlier, Guard, Lock, ObjectInfo, Page, Precondition, Proof, PutOptions, Store, StoreError,
    StoreErrorKind, Upload, UploadInfo, Written, list_all,
};
pub use writer::{BackupWriter, WriteError};
