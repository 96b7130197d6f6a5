#![doc = include_str!("FORMAT.md")]
//!
//! # This module
//! Owns everything that is on a store, and the only code that builds keys ([`layout`]).
//!
//! *Invariants.* No object is ever overwritten except a lease, and a copy of WAL that is proven to differ
//! from what was stored; both only by compare-and-swap. A manifest is written after every artifact it names
//! is confirmed. A [`Store`](crate::store::Store) never reports success for bytes it has not confirmed.
//!
//! *Not here.* What the bytes mean ([`crate::pipeline`], [`crate::source`]), and what to keep or delete.

mod clock_skew;
mod copier;
#[cfg(test)]
pub(crate) mod fixtures;
mod header;
mod inventory;
pub mod journal;
mod known_locations;
pub mod layout;
pub mod lease;
pub mod manifest;
mod nested;
mod opened;
pub mod points;
pub mod reader;
mod repositories;
pub mod run_record;
mod same_location;
mod small_artifact;
pub mod store_probe;
mod upload_worker;
mod write_options;
mod writer;

pub use clock_skew::{CLOCK_TOLERANCE, ClockSkew};
pub use copier::{Copier, CopyOutcome, ObjectCopyError};

pub use header::{MarkerError, RepositoryMarker};
pub use inventory::{BackupRecord, Inventory, Listing, ObjectStamp, RejectedManifest, RepositoryListing};
pub use known_locations::KnownLocations;
pub use nested::{NestedError, nested};

pub use manifest::{FormatError, FormatVersion, ManifestError};

pub use opened::{Repository, Unavailable};
pub use repositories::Repositories;
pub use small_artifact::{SmallError, SmallReader, is_interrupted_read, is_interruption};

pub use write_options::write_options;
pub use writer::{BackupWriter, WriteError};
