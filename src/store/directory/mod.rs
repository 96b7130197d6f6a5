//! A [`super::Store`] over a directory: a local disk, or whatever is mounted there.
//!
//! Objects are plain files at `<root>/<key>`, so that a person can restore with nothing but `cp`. What the
//! store needs for itself stands in `<root>/.drctl/` and never shows in a listing:
//!
//! ```text
//! uploads/<id>/   a write on its way: `object`, and `key` (what it will be)
//! metadata/       what was given as metadata, a file for each object that has any
//! lock            held while an object is replaced or deleted
//! ```
//!
//! *Invariants.* A file appears under its key by one link or rename, after its bytes and before its folder
//! are synced to the disk. The root itself is made by [`DirectoryStore::create`] only: a disk that is not
//! mounted must fail a backup, not be replaced by an empty folder.
//!
//! *Not here.* Object lock: a directory has none, and asking for it is refused.

mod atomic_write;
mod folder;
mod listing;
mod object_file;
mod store;
mod upload;

pub use folder::DirectoryStore;
pub use object_file::is_mounted;
