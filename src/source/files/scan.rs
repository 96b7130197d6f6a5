//! Walks the policy's paths, in the order of the index.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;

use super::error::FilesError;
use super::index::{EntryKind, IndexEntry};
use super::patterns::{FoundAt, Patterns};
use super::roots::{Root, Roots};
use crate::platform::CancellationToken;

/// Something that the walk came upon.
#[derive(Debug)]
pub(super) enum Found {
    Entry {
        entry: IndexEntry,
        links: u64,
        device: u64,
        allocated: u64,
    },
    /// It is there, and cannot be inspected; of a directory also what is in it.
    Unreadable {
        path: Vec<u8>,
        error: io::Error,
    },
    /// A socket: it has no bytes, and is there only while its program runs.
    Socket(Vec<u8>),
    /// A directory of another file system, whose contents are left out.
    OtherFileSystem,
}

/// How the paths are walked.
pub(super) struct Walk<'w> {
    pub(super) roots: &'w Roots,
    pub(super) patterns: &'w Patterns,
    pub(super) one_file_system: bool,
    /// Device and inode of the directory that drctl writes its own list to: it would change while it is read.
    pub(super) own: Option<(u64, u64)>,
    pub(super) cancel: &'w CancellationToken,
    pub(super) found: &'w mut dyn FnMut(Found) -> Result<(), FilesError>,
}

/// A directory on the way down.
struct Level<'l> {
    root: &'l Root,
    /// Of the file system that is read, where only one is.
    device: u64,
    /// Whether all below it is included.
    included: bool,
}

impl Walk<'_> {
    pub(super) fn run(mut self) -> Result<(), FilesError> {
        let mut reached: Vec<Vec<u8>> = Vec::new();
        for root in &self.roots.tops {
            self.root(root, &mut reached)?;
        }
        match self.roots.nested.iter().find(|nested| !reached.contains(nested)) {
            Some(missed) => Err(FilesError::NotReached { path: shown(missed) }),
            None => Ok(()),
        }
    }

    fn root(&mut self, root: &Root, reached: &mut Vec<Vec<u8>>) -> Result<(), FilesError> {
        let failed = |source| FilesError::Root { path: shown(&root.path), source };
        let stat = root.stat().map_err(failed)?;
        let Some(directory) = root.directory() else {
            return self.entry(root.path.clone(), &stat);
        };
        // The root of the file system has no name.
        if !root.path.is_empty() {
            self.entry(root.path.clone(), &stat)?;
        }
        let names = names(directory).map_err(failed)?;
        let mut path = root.path.clone();
        let included = self.patterns.includes(&FoundAt { below: b"", full: &path });
        let level = Level { root, device: root.device, included };
        self.names(directory, &names, &mut path, &level, &mut vec![], reached)
    }

    fn entry(&mut self, path: Vec<u8>, stat: &Stat) -> Result<(), FilesError> {
        match IndexEntry::of(path.clone(), stat) {
            Some(entry) => (self.found)(Found::Entry {
                entry,
                links: names_of(stat.st_nlink),
                device: stat.st_dev,
                allocated: u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(512),
            }),
            None => (self.found)(Found::Socket(path)),
        }
    }

    /// Walks what is in a directory. `waiting`: directories above that are reported once something in them is included.
    fn names(
        &mut self,
        directory: BorrowedFd<'_>,
        names: &Names,
        path: &mut Vec<u8>,
        level: &Level<'_>,
        waiting: &mut Vec<(Vec<u8>, Stat)>,
        reached: &mut Vec<Vec<u8>>,
    ) -> Result<(), FilesError> {
        if self.cancel.is_cancelled() {
            return Err(FilesError::Interrupted);
        }
        let length = path.len();
        for name in names.iter() {
            path.truncate(length);
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            self.name(directory, name, path, level, waiting, reached)?;
        }
        path.truncate(length);
        Ok(())
    }

    fn name(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: &mut Vec<u8>,
        level: &Level<'_>,
        waiting: &mut Vec<(Vec<u8>, Stat)>,
        reached: &mut Vec<Vec<u8>>,
    ) -> Result<(), FilesError> {
        let below = path.get(level.root.path.len()..).unwrap_or_default();
        let at = FoundAt { below: below.strip_prefix(b"/").unwrap_or(below), full: path };
        if self.patterns.excludes(&at) {
            return Ok(());
        }
        let included = level.included || self.patterns.includes(&at);
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // It was removed since the directory was read.
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return self.unreadable(path, error.into(), waiting),
        };
        let kind = EntryKind::of(&stat);
        let is_named = self.roots.nested.iter().any(|nested| nested == path);
        if is_named && kind != Some(EntryKind::Symlink) {
            reached.push(path.clone());
        }
        if kind != Some(EntryKind::Directory) {
            if included {
                self.report(waiting)?;
                self.entry(path.clone(), &stat)?;
            }
            return Ok(());
        }
        if included {
            self.report(waiting)?;
            self.entry(path.clone(), &stat)?;
        }
        let is_other = self.one_file_system && stat.st_dev != level.device && !is_named;
        if is_other || self.own == Some((stat.st_dev, stat.st_ino)) {
            return (self.found)(Found::OtherFileSystem);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match openat(directory, name, flags, Mode::empty()) {
            Ok(opened) => opened,
            // Removed, or something else is there now: that is in the next backup.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return self.unreadable(path, error.into(), waiting),
        };
        let names = match self::names(opened.as_fd()) {
            Ok(names) => names,
            Err(error) => return self.unreadable(path, error, waiting),
        };
        if !included {
            waiting.push((path.clone(), stat));
        }
        let inner =
            Level { root: level.root, device: if is_named { stat.st_dev } else { level.device }, included };
        self.names(opened.as_fd(), &names, path, &inner, waiting, reached)?;
        if !included {
            // Nothing in it was included, unless it was reported by now.
            waiting.retain(|(waiting, _)| waiting != path);
        }
        Ok(())
    }

    /// Reports it in its place: after the directories that it is in.
    fn unreadable(
        &mut self,
        path: &[u8],
        error: io::Error,
        waiting: &mut Vec<(Vec<u8>, Stat)>,
    ) -> Result<(), FilesError> {
        self.report(waiting)?;
        (self.found)(Found::Unreadable { path: path.to_vec(), error })
    }

    fn report(&mut self, waiting: &mut Vec<(Vec<u8>, Stat)>) -> Result<(), FilesError> {
        for (path, stat) in waiting.drain(..) {
            if let Some(entry) = IndexEntry::of(path, &stat) {
                (self.found)(Found::Entry { entry, links: 1, device: 0, allocated: 0 })?;
            }
        }
        Ok(())
    }
}

/// The names in a directory, sorted; those of a million files take 40 bytes each.
#[derive(Debug, Default)]
struct Names {
    bytes: Vec<u8>,
    ends: Vec<(u32, u32)>,
}

impl Names {
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().map(|(from, to)| &self.bytes[*from as usize..*to as usize])
    }
}

fn names(directory: BorrowedFd<'_>) -> io::Result<Names> {
    let mut names = Names::default();
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "the directory has too many names");
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let from = u32::try_from(names.bytes.len()).map_err(|_| too_large())?;
        names.bytes.extend_from_slice(name);
        let to = u32::try_from(names.bytes.len()).map_err(|_| too_large())?;
        names.ends.push((from, to));
    }
    let Names { bytes, ends } = &mut names;
    let name = |(from, to): &(u32, u32)| &bytes[*from as usize..*to as usize];
    ends.sort_unstable_by(|one, other| name(one).cmp(name(other)));
    Ok(names)
}

/// The type depends on the platform.
fn names_of(links: impl Into<u64>) -> u64 {
    links.into()
}

fn shown(path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new("/").join(std::ffi::OsStr::from_bytes(path))
}
