//! What has changed since an earlier backup: the walk and the earlier index are in one order, and are merged.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use super::index::{IndexEntry, Lines, PathBytes, compare_paths, is_within};
use super::scan::Found;

/// What is this close to the earlier backup's begin may have changed after it was read, in the same tick of the clock.
const DOUBTFUL: i64 = 2_000_000_000;

/// An entry of the list that the archives are written from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) entry: IndexEntry,
    /// Whether it is read: an earlier backup does not have it as it is.
    pub(super) read: bool,
    /// How many names a file has.
    #[serde(default)]
    pub(super) links: u64,
    #[serde(default)]
    pub(super) device: u64,
    /// Bytes on disk: fewer than its size where it has holes.
    #[serde(default)]
    pub(super) allocated: u64,
    /// What an earlier backup has under its path, of the same kind, for the case that it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) earlier: Option<IndexEntry>,
}

impl Listed {
    /// Returns how many bytes of it an archive takes, by what is known before it is read.
    pub(super) fn planned(&self) -> u64 {
        if self.read { self.entry.size.min(self.allocated) } else { 0 }
    }
}

/// What becomes of what was found.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// In the order of the index.
    pub(super) listed: Vec<Listed>,
    /// Paths that are no more, or are of another kind now.
    pub(super) deleted: Vec<PathBytes>,
}

/// Merges the walk with the earlier index.
#[derive(Debug)]
pub(super) struct Merge<R> {
    earlier: Option<Earlier<R>>,
    /// What could not be inspected: what an earlier backup has of it is kept.
    unreadable: Option<Vec<u8>>,
}

/// The index of the earlier backup.
#[derive(Debug)]
pub(super) struct Earlier<R> {
    lines: Lines<R>,
    next: Option<IndexEntry>,
    /// When the earlier backup began, less what is doubtful.
    since: i64,
}

impl<R: Read> Earlier<R> {
    pub(super) fn new(mut lines: Lines<R>, begun: i64) -> io::Result<Self> {
        let next = lines.next_line()?;
        Ok(Self { lines, next, since: begun.saturating_sub(DOUBTFUL) })
    }

    fn take(&mut self) -> io::Result<Option<IndexEntry>> {
        let next: Option<IndexEntry> = self.lines.next_line()?;
        if let (Some(before), Some(after)) = (&self.next, &next)
            && compare_paths(&before.path.0, &after.path.0).is_ge()
        {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the index is not in order"));
        }
        Ok(std::mem::replace(&mut self.next, next))
    }
}

impl<R: Read> Merge<R> {
    pub(super) fn new(earlier: Option<Earlier<R>>) -> Self {
        Self { earlier, unreadable: None }
    }

    /// Takes what the walk came upon, in its order.
    pub(super) fn found(&mut self, found: &Found, changes: &mut Changes) -> io::Result<()> {
        match found {
            Found::Entry { entry, links, device, allocated } => {
                let earlier = self.up_to(&entry.path.0, changes)?;
                let listed = Listed {
                    entry: entry.clone(),
                    read: true,
                    links: *links,
                    device: *device,
                    allocated: *allocated,
                    earlier: None,
                };
                changes.listed.push(self.decide(listed, earlier, &mut changes.deleted));
            }
            Found::Unreadable { path, .. } => {
                // The directory itself was found just before it.
                if let Some(earlier) = self.up_to(path, changes)? {
                    changes.listed.push(kept(earlier, true));
                }
                self.unreadable = Some(path.clone());
            }
            // Whatever was there, it is of another kind now.
            Found::Socket(path) => {
                if self.up_to(path, changes)?.is_some() {
                    changes.deleted.push(PathBytes(path.clone()));
                }
            }
            Found::OtherFileSystem => {}
        }
        Ok(())
    }

    /// Ends the merge: what follows in the earlier index is no more.
    pub(super) fn end(&mut self, changes: &mut Changes) -> io::Result<()> {
        while let Some(earlier) = self.take()? {
            self.passed(earlier, changes);
        }
        Ok(())
    }

    fn take(&mut self) -> io::Result<Option<IndexEntry>> {
        self.earlier.as_mut().map_or(Ok(None), Earlier::take)
    }

    /// Passes what comes before `path`. Returns the earlier entry of the same path.
    fn up_to(&mut self, path: &[u8], changes: &mut Changes) -> io::Result<Option<IndexEntry>> {
        loop {
            let next = self.earlier.as_ref().and_then(|earlier| earlier.next.as_ref());
            let Some(next) = next else { return Ok(None) };
            match compare_paths(&next.path.0, path) {
                std::cmp::Ordering::Greater => return Ok(None),
                std::cmp::Ordering::Equal => return self.take(),
                std::cmp::Ordering::Less => {
                    if let Some(earlier) = self.take()? {
                        self.passed(earlier, changes);
                    }
                }
            }
        }
    }

    /// The walk did not come upon it.
    fn passed(&self, earlier: IndexEntry, changes: &mut Changes) {
        let unreadable = self.unreadable.as_ref();
        if unreadable.is_some_and(|unreadable| is_within(&earlier.path.0, unreadable)) {
            changes.listed.push(kept(earlier, true));
        } else {
            changes.deleted.push(earlier.path);
        }
    }

    fn decide(&self, listed: Listed, earlier: Option<IndexEntry>, deleted: &mut Vec<PathBytes>) -> Listed {
        let Some(earlier) = earlier else { return listed };
        if !earlier.kind.is_like(listed.entry.kind) {
            deleted.push(listed.entry.path.clone());
            return listed;
        }
        let since = self.earlier.as_ref().map_or(i64::MIN, |earlier| earlier.since);
        let is_certain = listed.entry.mtime < since && listed.entry.ctime < since;
        let is_whole = !earlier.changed && !earlier.unread;
        if is_certain && is_whole && listed.entry.is_same_as(&earlier) {
            return kept(earlier, false);
        }
        Listed { earlier: Some(earlier), ..listed }
    }
}

fn kept(earlier: IndexEntry, unread: bool) -> Listed {
    Listed { entry: IndexEntry { unread, ..earlier }, ..Listed::default() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::files::index::EntryKind;

    fn entry(path: &str, kind: EntryKind, mtime: i64) -> IndexEntry {
        let path = PathBytes(path.as_bytes().to_vec());
        IndexEntry { path, kind, size: 3, mtime, ctime: mtime, inode: 7, archive: 1, ..IndexEntry::default() }
    }

    const LONG_AGO: i64 = 5;
    const BEGUN: i64 = 100_000_000_000;

    fn merged(earlier: &[IndexEntry], found: Vec<Found>) -> Changes {
        let mut text = Vec::new();
        for entry in earlier {
            serde_json::to_writer(&mut text, entry).unwrap();
            text.push(b'\n');
        }
        let mut merge = Merge::new(Some(Earlier::new(Lines::new(&text[..]), BEGUN).unwrap()));
        let mut changes = Changes::default();
        for found in &found {
            merge.found(found, &mut changes).unwrap();
        }
        merge.end(&mut changes).unwrap();
        changes
    }

    fn found(entry: IndexEntry) -> Found {
        Found::Entry { entry: IndexEntry { archive: 0, ..entry }, links: 1, device: 1, allocated: 512 }
    }

    fn read(changes: &Changes) -> Vec<String> {
        changes.listed.iter().filter(|listed| listed.read).map(|listed| listed.entry.path.text()).collect()
    }

    fn deleted(changes: &Changes) -> Vec<String> {
        changes.deleted.iter().map(PathBytes::text).collect()
    }

    #[test]
    fn what_is_new_or_changed_is_read_and_what_is_gone_is_deleted() {
        use EntryKind::{Directory, File, Symlink};
        let earlier = [
            entry("a", Directory, LONG_AGO),
            entry("a/gone", File, LONG_AGO),
            entry("a/same", File, LONG_AGO),
            entry("b", File, LONG_AGO),
            entry("c", Directory, LONG_AGO),
            entry("c/x", File, LONG_AGO),
            entry("d", File, LONG_AGO),
        ];
        let changes = merged(
            &earlier,
            vec![
                found(entry("a", Directory, LONG_AGO)),
                found(entry("a/new", File, LONG_AGO)),
                found(entry("a/same", File, LONG_AGO)),
                found(entry("b", File, 6)),
                found(entry("c", Symlink, LONG_AGO)),
            ],
        );
        assert_eq!(read(&changes), ["a/new", "b", "c"]);
        assert_eq!(deleted(&changes), ["a/gone", "c", "c/x", "d"]);
        let archives: Vec<_> = changes.listed.iter().map(|listed| listed.entry.archive).collect();
        assert_eq!(archives, [1, 0, 1, 0, 0], "what is kept stays where it is");
    }

    /// Within one tick of the clock a file may be written to after it was read, and look as it did.
    #[test]
    fn what_was_written_to_when_the_earlier_one_began_is_read_again() {
        for (mtime, is_read) in
            [(BEGUN - 3_000_000_000, false), (BEGUN - 1_000_000_000, true), (BEGUN + 5, true)]
        {
            let file = entry("a", EntryKind::File, mtime);
            let changes = merged(std::slice::from_ref(&file), vec![found(file.clone())]);
            assert_eq!(read(&changes).len(), usize::from(is_read), "{mtime}");
        }
        let mut file = entry("a", EntryKind::File, LONG_AGO);
        file.changed = true;
        let changes = merged(&[file.clone()], vec![found(IndexEntry { changed: false, ..file })]);
        assert_eq!(read(&changes), ["a"], "it had changed while it was read");
    }

    #[test]
    fn what_cannot_be_read_this_time_is_not_deleted() {
        use EntryKind::{Directory, File};
        let earlier = [
            entry("a", Directory, LONG_AGO),
            entry("a/x", File, LONG_AGO),
            entry("a/x/y", File, LONG_AGO),
            entry("a.b", File, LONG_AGO),
        ];
        let unreadable =
            Found::Unreadable { path: b"a".to_vec(), error: io::ErrorKind::PermissionDenied.into() };
        let changes = merged(&earlier, vec![found(earlier[0].clone()), unreadable]);
        assert_eq!(deleted(&changes), ["a.b"]);
        let unread: Vec<_> = changes.listed.iter().filter(|listed| listed.entry.unread).collect();
        assert_eq!(unread.len(), 2);
        // And is read once it can be.
        let again: Vec<_> = changes.listed.iter().map(|listed| listed.entry.clone()).collect();
        let changes = merged(
            &again,
            again.iter().map(|entry| found(IndexEntry { unread: false, ..entry.clone() })).collect(),
        );
        assert_eq!(read(&changes), ["a/x", "a/x/y"]);
    }

    proptest! {
        /// Whatever was there and whatever is: each path is kept, read or deleted, and none is lost.
        #[test]
        fn every_path_is_accounted_for(
            before in prop::collection::btree_map("[ab](/[ab.]){0,2}", 0_i64..3, 0..8),
            after in prop::collection::btree_map("[ab](/[ab.]){0,2}", 0_i64..3, 0..8),
        ) {
            let sorted = |tree: &std::collections::BTreeMap<String, i64>| {
                let mut entries: Vec<_> =
                    tree.iter().map(|(path, mtime)| entry(path, EntryKind::File, *mtime)).collect();
                entries.sort_by(|one, other| compare_paths(&one.path.0, &other.path.0));
                entries
            };
            let changes = merged(&sorted(&before), sorted(&after).into_iter().map(found).collect());
            let mut listed: Vec<_> = changes.listed.iter().map(|listed| listed.entry.path.text()).collect();
            prop_assert!(listed.is_sorted_by(|one, other| compare_paths(one.as_bytes(), other.as_bytes()).is_lt()));
            listed.sort();
            prop_assert_eq!(listed, after.keys().cloned().collect::<Vec<_>>());
            for (path, mtime) in &before {
                let gone = deleted(&changes).contains(path);
                prop_assert_eq!(gone, !after.contains_key(path));
                let kept = after.get(path) == Some(mtime);
                prop_assert_eq!(kept, !gone && !read(&changes).contains(path));
            }
        }
    }
}
