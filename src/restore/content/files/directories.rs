//! The directories of a restore: they are made before all else, and get their times at its end.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, futimens};

use super::index_file::{IndexFile, Selection};
use super::tar_reader::Member;
use super::tree::{Rights, Tree, times};
use crate::platform::open_beneath;
use crate::source::files::{EntryKind, IndexEntry};

/// Makes those that are missing, and puts them in the place of what is none: an earlier backup of the chain may have a file
/// in a directory of which a later one has the rights.
pub(super) fn make(
    root: &Arc<File>,
    rights: &Rights,
    index: &IndexFile,
    selection: &Selection,
) -> io::Result<()> {
    let mut tree = Tree::new(Arc::clone(root), rights.clone());
    for entry in index.entries() {
        let (_, entry) = entry?;
        if entry.kind == EntryKind::Directory && selection.has(&entry) {
            tree.directory(&entry.path.0)?;
        }
    }
    Ok(())
}

/// Returns those that only something in them is restored of, with the rights that the index has.
pub(super) fn above(index: &IndexFile, selection: &Selection) -> io::Result<Vec<Member>> {
    let mut above = Vec::new();
    for entry in index.entries() {
        let (_, entry) = entry?;
        if selection.has(&entry) && selection.is_above(&entry) {
            let IndexEntry { path, kind, mode, uid, gid, mtime, .. } = entry;
            above.push(Member { path: path.0, kind, mode, uid, gid, mtime, ..Member::default() });
        }
    }
    Ok(above)
}

/// Sets their times: what was written in them, or removed, has changed them.
pub(super) fn touch(root: &Arc<File>, index: &IndexFile, selection: &Selection) -> io::Result<()> {
    for entry in index.entries() {
        let (_, entry) = entry?;
        if entry.kind == EntryKind::Directory && selection.has(&entry) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let directory = open_beneath(root.as_fd(), &entry.path.0, flags, Mode::empty())?;
            futimens(directory, &times(entry.mtime))?;
        }
    }
    Ok(())
}
