//! Backups of files and directories.
//!
//! ```text
//! walk ─▶ merge with the earlier index ─▶ list ─▶ archives ─▶ deletions, index, details
//! ```
//!
//! A backup is one or several tar archives in the order of the paths (`pax`), an index of the whole tree (`index`),
//! and of an increment the paths that are no more. The index of an increment names, for every file, which backup of the
//! chain and which archive has it: nothing is restored twice, and one file is restored by reading one archive.
//!
//! *Invariants.*
//! - What is read is below the policy's paths: no symbolic link is followed but a path of the policy itself, whoever changes the
//!   tree meanwhile (`roots`).
//! - An increment builds only on a backup of which this host kept the index, intact and of the same settings (`state`).
//!   What cannot be read this time is not taken for deleted: the earlier backup's is kept, and that is said.
//! - A file is written as it was at one time, between two looks at it that agree; where it changes each time it is read,
//!   that is recorded, and the run is not a success.
//! - The name of a file stands in encrypted artifacts only, and in files of the host that only its owner may read.
//!
//! *Memory.* Lists are on disk. In memory are the names of one directory at a time (about 40 bytes each), what the
//! reading threads hold (8 batches of 1 MiB), of an increment the paths of directories in which something changed, and for every file with several names its first one, until the last was seen.
//!
//! *Not here.* Whether a backup is full: [`super::incremental`]. Restoring: [`crate::restore`].

mod archive;
mod attributes;
mod capture;
mod changes;
mod error;
pub mod index;
mod manual_restore;
mod patterns;
mod pax;
mod read_entry;
mod roots;
mod scan;
mod scanned;
mod source;
mod sparse;
mod state;
mod tally;

pub use error::FilesError;
pub use index::{EntryKind, INDEX, IndexEntry, Lines, PathBytes, compare_paths, is_within};
pub use patterns::{FoundAt, Patterns};
pub(super) use source::FilesBackups;

/// The artifact with the paths that are no more, NUL-separated. Without the suffixes of its encoding.
pub const DELETED: &str = "deleted.txt";

/// Returns the name of an archive, without the suffixes of its encoding.
pub fn archive_name(number: u32, is_only: bool) -> String {
    if is_only { "files.tar".to_owned() } else { format!("files-{number:03}.tar") }
}

/// Returns whether an artifact is an archive.
fn is_archive(name: &str) -> bool {
    name.starts_with("files") && name.contains(".tar")
}
