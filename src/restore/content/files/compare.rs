//! Compares what is in the target with the index.

use std::io;
use std::sync::Arc;

use rustix::fs::Stat;

use super::index_file::{IndexFile, Selection};
use super::tree::{Rights, Tree};
use crate::source::files::{EntryKind, IndexEntry};

/// What the comparison came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) entries: u64,
    /// How many differ, and the first of them.
    pub(super) different: u64,
    pub(super) first: Option<String>,
    /// Files that have another time, as on a file system that keeps whole seconds only.
    pub(super) other_times: u64,
}

/// Compares every chosen entry: its kind, the size of a file, and that a hard link is one. Another time is no reason to
/// throw a restore away.
pub(super) fn compare(
    root: &Arc<std::fs::File>,
    rights: &Rights,
    index: &IndexFile,
    selection: &Selection,
    donors: &std::collections::HashMap<(u32, Vec<u8>), Vec<u8>>,
) -> io::Result<Compared> {
    let tree = Tree::new(Arc::clone(root), rights.clone());
    let mut compared = Compared::default();
    for entry in index.entries() {
        let (_, entry) = entry?;
        if !selection.has(&entry) {
            continue;
        }
        let is_device = matches!(entry.kind, EntryKind::CharacterDevice | EntryKind::BlockDevice);
        if is_device && !rights.is_root {
            continue;
        }
        compared.entries += 1;
        let found = tree.stat(&entry.path.0)?;
        let is_same = match (&found, entry.kind) {
            (Some(found), EntryKind::HardLink) if EntryKind::of(found) == Some(EntryKind::File) => {
                let donor = donors.get(&(entry.backup, entry.link.0.clone()));
                let first = tree.stat(donor.unwrap_or(&entry.link.0))?;
                first.is_some_and(|first| (first.st_dev, first.st_ino) == (found.st_dev, found.st_ino))
            }
            (Some(found), _) => is_as_recorded(&entry, found),
            (None, _) => false,
        };
        let has_time =
            |found: &Stat| IndexEntry::of(vec![], found).is_some_and(|found| found.mtime == entry.mtime);
        if entry.kind == EntryKind::File && is_same && !found.as_ref().is_some_and(has_time) {
            compared.other_times += 1;
        }
        if !is_same {
            compared.different += 1;
            compared.first.get_or_insert_with(|| entry.path.text());
        }
    }
    Ok(compared)
}

fn is_as_recorded(entry: &IndexEntry, found: &Stat) -> bool {
    let Some(found) = IndexEntry::of(vec![], found) else { return false };
    found.kind == entry.kind && found.size == entry.size
}

/// Returns, for each entry of the index, whether it has to be written: unless the file system says that what is there is
/// what was backed up, and has not been written to since.
pub(super) fn differing(
    root: &Arc<std::fs::File>,
    rights: &Rights,
    index: &IndexFile,
    selection: &Selection,
) -> io::Result<Vec<bool>> {
    let tree = Tree::new(Arc::clone(root), rights.clone());
    let mut writes = Vec::new();
    for entry in index.entries() {
        let (_, entry) = entry?;
        if !selection.has(&entry) {
            writes.push(false);
            continue;
        }
        let found = tree.stat(&entry.path.0)?;
        let same = |stat: &Stat| {
            IndexEntry::of(vec![], stat).is_some_and(|found| found.is_same_as(&entry)) && !entry.changed
        };
        let is_same = match (&found, entry.kind) {
            (Some(found), EntryKind::HardLink) => {
                let first = tree.stat(&entry.link.0)?;
                same(found) && first.is_some_and(|first| first.st_ino == found.st_ino)
            }
            (Some(found), _) => same(found),
            (None, _) => false,
        };
        writes.push(!is_same);
    }
    Ok(writes)
}
