//! The index of the restored backup, in a file of this host without a name, and what is chosen of it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::names::inside;
use crate::source::files::{EntryKind, IndexEntry, Lines, compare_paths, is_within};

/// An index that may be read more than once at a time.
#[derive(Clone, Debug)]
pub(super) struct IndexFile(pub(super) Arc<File>);

/// Reads a file from its beginning, whatever others do with it.
#[derive(Debug)]
pub(super) struct ReadFromStart {
    file: Arc<File>,
    at: u64,
}

impl Read for ReadFromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Which paths are restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    /// Without the slash at their beginning; empty: all.
    pub(super) paths: Vec<Vec<u8>>,
}

impl Selection {
    /// Returns whether it is selected: with a directory all in it, and with anything the directories that it is in.
    pub(super) fn has(&self, entry: &IndexEntry) -> bool {
        let path = &entry.path.0;
        self.paths.is_empty()
            || self.paths.iter().any(|chosen| {
                is_within(path, chosen) || (entry.kind == EntryKind::Directory && is_within(chosen, path))
            })
    }

    /// Returns whether it is only selected because something in it is: its rights are those of the index, and no archive is
    /// read for it.
    pub(super) fn is_above(&self, entry: &IndexEntry) -> bool {
        !self.paths.is_empty() && !self.paths.iter().any(|chosen| is_within(&entry.path.0, chosen))
    }
}

/// What has to be read.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Entries by backup of the chain and archive.
    pub(super) archives: BTreeMap<(u32, u32), u64>,
    pub(super) entries: u64,
    pub(super) files: u64,
    /// Of the files, without counting one twice that has several names.
    pub(super) bytes: u64,
    /// Paths of the selection that nothing is at.
    pub(super) missing: Vec<Vec<u8>>,
    /// Names that have the bytes of a selected hard link, and are themselves not restored, by backup: the link's path.
    pub(super) donors: HashMap<(u32, Vec<u8>), Vec<u8>>,
    /// Entries of which an earlier backup's state is restored, since the last one could not read them.
    pub(super) unread: u64,
    pub(super) changed: u64,
}

impl IndexFile {
    /// Returns its entries, each with its number, and refuses what leads outside of a target or is out of order.
    pub(super) fn entries(&self) -> impl Iterator<Item = io::Result<(usize, IndexEntry)>> {
        let mut lines = Lines::new(ReadFromStart { file: Arc::clone(&self.0), at: 0 });
        let mut before: Option<Vec<u8>> = None;
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("the index {what}"));
        (0..).map_while(move |number| {
            let entry = match lines.next_line::<IndexEntry>().transpose()? {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            let path = &entry.path.0;
            let is_inside = inside(path) == Some(path)
                && (entry.kind != EntryKind::HardLink || inside(&entry.link.0) == Some(&entry.link.0));
            if !is_inside {
                return Some(Err(invalid("names a path outside of the target")));
            }
            if before.as_ref().is_some_and(|before| compare_paths(before, path).is_ge()) {
                return Some(Err(invalid("is not in order")));
            }
            before = Some(path.clone());
            Some(Ok((number, entry)))
        })
    }

    /// Returns what the selection needs. `writes`: which entries differ from what is there; all, where it is empty.
    pub(super) fn wanted(&self, selection: &Selection, writes: &[bool]) -> io::Result<Wanted> {
        let mut wanted = Wanted { missing: selection.paths.clone(), ..Wanted::default() };
        let mut targets: HashMap<(u32, Vec<u8>), Vec<u8>> = HashMap::new();
        for entry in self.entries() {
            let (number, entry) = entry?;
            if !selection.has(&entry) {
                continue;
            }
            wanted.missing.retain(|path| !is_within(&entry.path.0, path));
            wanted.entries += 1;
            wanted.files += u64::from(entry.kind.is_file());
            wanted.unread += u64::from(entry.unread);
            wanted.changed += u64::from(entry.changed);
            if !writes.get(number).copied().unwrap_or(true) || selection.is_above(&entry) {
                continue;
            }
            if entry.kind == EntryKind::File {
                wanted.bytes = wanted.bytes.saturating_add(entry.size);
            }
            *wanted.archives.entry((entry.backup, entry.archive)).or_default() += 1;
            if entry.kind == EntryKind::HardLink {
                targets.entry((entry.backup, entry.link.0)).or_insert(entry.path.0);
            }
        }
        if !targets.is_empty() {
            for entry in self.entries() {
                let (_, entry) = entry?;
                if entry.kind == EntryKind::File && selection.has(&entry) {
                    targets.remove(&(entry.backup, entry.path.0));
                }
            }
        }
        if !targets.is_empty() {
            // The bytes of a name that is not restored may be in another archive than the link.
            wanted.donors = targets;
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::source::files::PathBytes;

    fn entry(path: &str, kind: EntryKind, backup: u32, archive: u32) -> IndexEntry {
        let path = PathBytes(path.as_bytes().to_vec());
        IndexEntry { path, kind, size: 5, backup, archive, ..IndexEntry::default() }
    }

    fn index(entries: &[IndexEntry]) -> IndexFile {
        let mut file = tempfile::tempfile().unwrap();
        for entry in entries {
            serde_json::to_writer(&mut file, entry).unwrap();
            file.write_all(b"\n").unwrap();
        }
        IndexFile(Arc::new(file))
    }

    fn selection(paths: &[&str]) -> Selection {
        Selection { paths: paths.iter().map(|path| path.as_bytes().to_vec()).collect() }
    }

    #[test]
    fn only_the_archives_that_have_something_chosen_are_read() {
        let index = index(&[
            entry("a", EntryKind::Directory, 0, 1),
            entry("a/x", EntryKind::File, 1, 1),
            entry("b", EntryKind::Directory, 0, 1),
            entry("b/y", EntryKind::File, 0, 2),
            entry("b/z", EntryKind::File, 0, 3),
        ]);
        let all = index.wanted(&selection(&[]), &[]).unwrap();
        assert_eq!((all.entries, all.files, all.bytes, all.archives.len()), (5, 3, 15, 4));
        let one = index.wanted(&selection(&["b/y", "no"]), &[]).unwrap();
        assert_eq!(one.archives.keys().copied().collect::<Vec<_>>(), [(0, 2)]);
        assert_eq!((one.entries, one.missing), (2, vec![b"no".to_vec()]));
        let differing = index.wanted(&selection(&[]), &[false, true, false, false, false]).unwrap();
        assert_eq!(differing.archives.keys().copied().collect::<Vec<_>>(), [(1, 1)]);
        assert_eq!((differing.bytes, differing.entries), (5, 5));
    }

    #[test]
    fn a_link_whose_first_name_is_not_chosen_gets_its_bytes() {
        let mut link = entry("b/link", EntryKind::HardLink, 0, 1);
        link.link = PathBytes(b"a/x".to_vec());
        let index = index(&[entry("a/x", EntryKind::File, 0, 1), link]);
        assert!(index.wanted(&selection(&[]), &[]).unwrap().donors.is_empty());
        let one = index.wanted(&selection(&["b"]), &[]).unwrap();
        assert_eq!(one.donors[&(0, b"a/x".to_vec())], b"b/link");
    }

    #[test]
    fn an_index_that_leads_outside_or_is_out_of_order_is_refused() {
        let first = |entries: &[IndexEntry]| index(entries).entries().find_map(Result::err);
        for path in ["../x", "/etc/x", "a/../../x", "a//b", ""] {
            assert!(first(&[entry(path, EntryKind::File, 0, 1)]).is_some(), "{path}");
        }
        let mut link = entry("a", EntryKind::HardLink, 0, 1);
        link.link = PathBytes(b"../../etc/passwd".to_vec());
        assert!(first(&[link]).is_some());
        assert!(first(&[entry("b", EntryKind::File, 0, 1), entry("a", EntryKind::File, 0, 1)]).is_some());
        assert!(first(&[entry("a", EntryKind::File, 0, 1), entry("a", EntryKind::File, 0, 1)]).is_some());
    }
}
