//! A [`super::Store`] in a directory: a local disk or a mounted file system.
//!
//! Objects are plain files at `<root>/<key>`, so that a restore needs nothing but `cp`. The store's own files
//! are in `<root>/.drctl/` and never appear in a listing:
//!
//! ```text
//! uploads/<id>/   a write in progress: `object`, and `key` (its future key)
//! metadata/       the metadata of objects, a file for each object that has any
//! lock            held while an object is replaced or deleted
//! ```
//!
//! *Invariants.* A file appears under its key by one link or rename, after its bytes are synced to disk and
//! before its folder is. Only [`DirectoryStore::create`] creates the root: an unmounted disk must fail a
//! backup, not be replaced by an empty folder.
//!
//! *Not here.* Object lock: directories do not support it, and a request for it is rejected.

mod atomic_write;
mod folder;
mod listing;
mod object_file;
mod store;
mod upload;

pub use folder::DirectoryStore;
pub use object_file::is_mounted;
