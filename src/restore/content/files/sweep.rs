//! Removes from an existing directory what the backup does not have: only below the paths that were backed up, and
//! nothing that the policy leaves out.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, statat};

use super::index_file::{IndexFile, Selection};
use super::tree::{Rights, Tree};
use crate::model::FilesDetails;
use crate::source::files::{EntryKind, FoundAt, IndexEntry, Patterns, compare_paths, is_within};

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Swept {
    pub(super) removed: u64,
    /// Why nothing was, where it is not known what the backup lacks.
    pub(super) refused: Option<String>,
}

struct Sweep<'s, I> {
    tree: Tree,
    entries: I,
    next: Option<IndexEntry>,
    patterns: &'s Patterns,
    selection: &'s Selection,
    /// What the backup could not read: it may be there and not in the index.
    unreadable: &'s [String],
    removed: u64,
}

pub(super) fn sweep(
    root: &Arc<std::fs::File>,
    rights: &Rights,
    index: &IndexFile,
    selection: &Selection,
    details: &FilesDetails,
) -> io::Result<Swept> {
    if details.unreadable_count > details.unreadable.len() as u64 {
        let refused =
            "the backup could not read more files than it names: what it does not have is not removed";
        return Ok(Swept { removed: 0, refused: Some(refused.to_owned()) });
    }
    let patterns = Patterns::new(&details.include, &details.exclude).map_err(io::Error::other)?;
    let mut entries = index.entries().map(|entry| entry.map(|(_, entry)| entry));
    let next = entries.next().transpose()?;
    let mut sweep = Sweep {
        tree: Tree::new(Arc::clone(root), rights.clone()),
        entries,
        next,
        patterns: &patterns,
        selection,
        unreadable: &details.unreadable,
        removed: 0,
    };
    for of in &details.roots {
        // A path that was a file has nothing in it.
        let Some(stat) = sweep.tree.stat(of.as_bytes())? else { continue };
        if EntryKind::of(&stat) == Some(EntryKind::Directory) {
            let included = patterns.includes(&FoundAt { below: b"", full: of.as_bytes() });
            sweep.directory(of.as_bytes(), of.as_bytes(), included, stat.st_dev)?;
        }
    }
    Ok(Swept { removed: sweep.removed, refused: None })
}

impl<I: Iterator<Item = io::Result<IndexEntry>>> Sweep<'_, I> {
    /// Returns whether the index has the path; they come in its order.
    fn is_indexed(&mut self, path: &[u8]) -> io::Result<bool> {
        while self.next.as_ref().is_some_and(|next| compare_paths(&next.path.0, path).is_lt()) {
            self.next = self.entries.next().transpose()?;
        }
        Ok(self.next.as_ref().is_some_and(|next| next.path.0 == path))
    }

    fn directory(&mut self, path: &[u8], root: &[u8], included: bool, device: u64) -> io::Result<()> {
        let directory = self.tree.open_directory(path)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            let full = [path, b"/", &name].concat();
            let stat = statat(directory.as_fd(), &name[..], AtFlags::SYMLINK_NOFOLLOW)?;
            self.name(&full, &stat, root, included, device)?;
        }
        Ok(())
    }

    fn name(
        &mut self,
        path: &[u8],
        stat: &rustix::fs::Stat,
        root: &[u8],
        included: bool,
        device: u64,
    ) -> io::Result<()> {
        let below = path.get(root.len() + 1..).unwrap_or_default();
        let at = FoundAt { below, full: path };
        let kind = EntryKind::of(stat);
        let is_indexed = self.is_indexed(path)?;
        // A socket is in no backup, and another file system is not this directory's.
        if kind.is_none() || stat.st_dev != device || self.patterns.excludes(&at) {
            return Ok(());
        }
        let is_unreadable = |unreadable: &String| {
            is_within(path, unreadable.as_bytes()) || is_within(unreadable.as_bytes(), path)
        };
        if self.unreadable.iter().any(is_unreadable) {
            return Ok(());
        }
        let included = included || self.patterns.includes(&at);
        if kind == Some(EntryKind::Directory) {
            self.directory(path, root, included, device)?;
        }
        let paths = &self.selection.paths;
        let is_chosen = paths.is_empty() || paths.iter().any(|chosen| is_within(path, chosen));
        if is_indexed || !included || !is_chosen {
            return Ok(());
        }
        let removed = match kind {
            Some(EntryKind::Directory) => self.tree.remove_empty(path)?,
            _ => {
                self.tree.remove(path)?;
                true
            }
        };
        self.removed += u64::from(removed);
        Ok(())
    }
}
