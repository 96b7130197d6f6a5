#![doc = include_str!("FORMAT.md")]
//!
//! # This module
//!
//! Owns everything that is on a store, and the only code that builds keys ([`layout`]).
//!
//! *Invariants.* No object is ever overwritten but a lease, and a lease only by compare-and-swap. A
//! manifest is written after every artifact it names is confirmed. A [`Store`] never reports success for
//! bytes it has not confirmed.
//!
//! *Not here.* What the bytes mean ([`crate::pipeline`], [`crate::source`]), and what to keep or delete.

pub mod layout;
mod store;

pub use store::{
    Lock, ObjectInfo, Page, Precondition, PutOptions, Store, StoreError, StoreErrorKind, Upload, UploadInfo,
    Written, list_all,
};
