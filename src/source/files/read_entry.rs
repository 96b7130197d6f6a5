//! Reads one entry of the tree into a member of an archive.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{AtFlags, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};

use super::attributes::{self, Attributes};
use super::changes::Listed;
use super::index::{EntryKind, IndexEntry};
use super::pax::{self, BLOCK, Member};
use super::roots::Roots;
use super::sparse::Extents;
use crate::platform::Accounts;
use crate::source::thread_producer::Chunks;

/// Files up to this size are read into memory, several at a time.
pub(super) const SMALL: u64 = 256 << 10;

/// How often a file is read that changes meanwhile.
const ATTEMPTS: usize = 2;

/// Bytes of a large file that are read at a time.
const PIECE: u64 = 256 << 10;

/// What the threads that read share.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) roots: Roots,
    pub(super) accounts: Accounts,
}

/// What became of an entry.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is in the archive, as this entry says.
    Written(IndexEntry),
    /// It is in an earlier backup.
    Kept(IndexEntry),
    /// It was removed, or replaced by something of another kind, since the walk.
    Vanished {
        replaced: bool,
    },
    Unreadable(io::Error),
    /// It is large, or has several names: it is written on the thread that writes the archive.
    InTurn,
}

impl Reading {
    /// Reads anything but a large file.
    pub(super) fn entry(&self, listed: &Listed, out: &mut Vec<u8>) -> Outcome {
        let entry = &listed.entry;
        if !listed.read {
            return Outcome::Kept(entry.clone());
        }
        let begin = out.len();
        let read = match entry.kind {
            EntryKind::File | EntryKind::HardLink => {
                if listed.links > 1 || entry.size > SMALL {
                    return Outcome::InTurn;
                }
                self.small_file(entry, out)
            }
            EntryKind::Directory => self.directory(entry, out),
            EntryKind::Symlink => self.symlink(entry, out),
            EntryKind::Fifo | EntryKind::CharacterDevice | EntryKind::BlockDevice => self.device(entry, out),
        };
        let outcome = read.unwrap_or_else(outcome_of);
        if !matches!(outcome, Outcome::Written(_)) {
            out.truncate(begin);
        }
        outcome
    }

    fn header(
        &self,
        out: &mut Vec<u8>,
        entry: &IndexEntry,
        attributes: &[(Vec<u8>, Vec<u8>)],
        more: Member<'_>,
    ) {
        let member = Member {
            path: &entry.path.0,
            kind: entry.kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            attributes,
            ..more
        };
        pax::write_header(out, &member, &self.accounts);
    }

    fn small_file(&self, entry: &IndexEntry, out: &mut Vec<u8>) -> io::Result<Outcome> {
        let path = &entry.path.0;
        let file = File::from(self.roots.open_to_read(path, OFlags::empty())?);
        let mut bytes = Vec::new();
        for attempt in 1..=ATTEMPTS {
            let before = fstat(&file)?;
            let Some(mut found) = regular(path, &before) else {
                return Ok(Outcome::Vanished { replaced: true });
            };
            if found.size > SMALL * 4 {
                return Ok(Outcome::InTurn);
            }
            let attributes = attributes::of(file.as_fd())?;
            let size = usize::try_from(found.size).unwrap_or(usize::MAX);
            // One more, to see that it has grown.
            bytes.resize(size + 1, 0);
            let count = read_at(&file, &mut bytes, 0)?;
            bytes.truncate(count.min(size));
            let is_stable = count == size && is_unchanged(&before, &fstat(&file)?);
            if !is_stable && attempt < ATTEMPTS {
                continue;
            }
            found.changed = !is_stable;
            found.size = bytes.len() as u64;
            self.header(out, &found, &attributes, Member { size: found.size, ..Member::default() });
            out.extend_from_slice(&bytes);
            pax::pad(out);
            return Ok(Outcome::Written(found));
        }
        Ok(Outcome::InTurn)
    }

    fn directory(&self, entry: &IndexEntry, out: &mut Vec<u8>) -> io::Result<Outcome> {
        let directory = match self.roots.open_to_read(&entry.path.0, OFlags::DIRECTORY) {
            // What is in it is not known, and the walk has said so; that it is there is.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return self.device(entry, out),
            opened => opened?,
        };
        let Some(found) = IndexEntry::of(entry.path.0.clone(), &fstat(&directory)?) else {
            return Ok(Outcome::Vanished { replaced: true });
        };
        let attributes = attributes::of(directory.as_fd())?;
        self.header(out, &found, &attributes, Member::default());
        Ok(Outcome::Written(found))
    }

    fn symlink(&self, entry: &IndexEntry, out: &mut Vec<u8>) -> io::Result<Outcome> {
        let (parent, name) = self.roots.open_parent(&entry.path.0)?;
        let Some(found) = self.look(entry, &parent, name)? else {
            return Ok(Outcome::Vanished { replaced: true });
        };
        let link = readlinkat(&parent, name, Vec::new())?;
        self.header(out, &found, &[], Member { link: link.to_bytes(), ..Member::default() });
        Ok(Outcome::Written(found))
    }

    /// Reads what is not opened, but in the directory that it is in.
    fn device(&self, entry: &IndexEntry, out: &mut Vec<u8>) -> io::Result<Outcome> {
        let (parent, name) = self.roots.open_parent(&entry.path.0)?;
        let stat = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let Some(found) = self.look(entry, &parent, name)? else {
            return Ok(Outcome::Vanished { replaced: true });
        };
        let device = match found.kind {
            EntryKind::Fifo | EntryKind::Directory => (0, 0),
            _ => (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
        };
        // Opened without reading it.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(&parent, name, flags, Mode::empty())?;
        let attributes = attributes::of_path(&format!("/proc/self/fd/{}", opened.as_raw_fd()))?;
        self.header(out, &found, &attributes, Member { device, ..Member::default() });
        Ok(Outcome::Written(found))
    }

    /// Inspects it again; `None` where it is of another kind now.
    fn look(
        &self,
        entry: &IndexEntry,
        parent: &impl std::os::fd::AsFd,
        name: &[u8],
    ) -> io::Result<Option<IndexEntry>> {
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let found = IndexEntry::of(entry.path.0.clone(), &stat);
        Ok(found.filter(|found| found.kind == entry.kind))
    }

    /// Opens a file, and returns it with what it is; `None` where it is no file any more.
    pub(super) fn open_file(&self, path: &[u8]) -> io::Result<Option<(File, Stat)>> {
        let file = File::from(self.roots.open_to_read(path, OFlags::empty())?);
        let stat = fstat(&file)?;
        Ok(regular(path, &stat).is_some().then_some((file, stat)))
    }

    /// Writes a hard link to a member that stands before it.
    pub(super) fn hard_link(&self, entry: &IndexEntry, out: &mut Vec<u8>) {
        self.header(out, entry, &[], Member { link: &entry.link.0, ..Member::default() });
    }

    /// Writes a file as a stream. Where it changes meanwhile, it is written whole once more: of two members of one name
    /// the second one counts. Output failures are the outer error.
    pub(super) fn large_file(&self, path: &[u8], file: &File, out: &mut Chunks) -> io::Result<Outcome> {
        let mut changed = None;
        for _ in 0..ATTEMPTS {
            let (before, attributes, extents) = match self.facts(file) {
                Ok(facts) => facts,
                Err(error) => return Ok(Outcome::Unreadable(error)),
            };
            let Some(found) = regular(path, &before) else { return Ok(Outcome::Vanished { replaced: true }) };
            let size = found.size;
            let mut head = Vec::new();
            let stretches = match &extents {
                Some(extents) => {
                    let map = extents.map(size);
                    let stored = map.len() as u64 + extents.data();
                    let more = Member { size: stored, sparse: Some(size), ..Member::default() };
                    self.header(&mut head, &found, &attributes, more);
                    head.extend_from_slice(&map);
                    extents.0.clone()
                }
                None => {
                    self.header(&mut head, &found, &attributes, Member { size, ..Member::default() });
                    vec![(0, size)]
                }
            };
            out.write(&head)?;
            let (stored, failure) = copy(file, &stretches, out)?;
            out.zeros(stored.next_multiple_of(BLOCK) - stored)?;
            if let Some(error) = failure {
                return Ok(Outcome::Unreadable(error));
            }
            match fstat(file) {
                Ok(after) if is_unchanged(&before, &after) => return Ok(Outcome::Written(found)),
                Ok(_) => changed = Some(IndexEntry { changed: true, ..found }),
                Err(error) => return Ok(Outcome::Unreadable(error.into())),
            }
        }
        Ok(changed.map_or(Outcome::Vanished { replaced: true }, Outcome::Written))
    }

    fn facts(&self, file: &File) -> io::Result<(Stat, Attributes, Option<Extents>)> {
        let stat = fstat(file)?;
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let allocated = u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(512);
        let extents = if allocated < size { Extents::of(file.as_fd(), size)? } else { None };
        Ok((stat, attributes::of(file.as_fd())?, extents))
    }
}

/// Copies stretches of a file, each in full: what the file does not have any more is zeros. Returns how many bytes were
/// written, and why the file could not be read to its end; then the rest is zeros, too.
fn copy(file: &File, stretches: &[(u64, u64)], out: &mut Chunks) -> io::Result<(u64, Option<io::Error>)> {
    let _taken = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Sequential);
    let (mut stored, mut failure) = (0, None);
    for (from, length) in stretches {
        let mut at = 0;
        while at < *length {
            let want = (length - at).min(PIECE);
            let piece = out.room(usize::try_from(want).unwrap_or(usize::MAX))?;
            let count = match failure {
                None => read_at(file, piece, from + at).unwrap_or_else(|error| {
                    failure = Some(error);
                    0
                }),
                Some(_) => 0,
            };
            piece[count..].fill(0);
            at += want;
        }
        stored += length;
    }
    Ok((stored, failure))
}

fn regular(path: &[u8], stat: &Stat) -> Option<IndexEntry> {
    IndexEntry::of(path.to_vec(), stat).filter(|found| found.kind == EntryKind::File)
}

fn is_unchanged(before: &Stat, after: &Stat) -> bool {
    let facts =
        |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
    facts(before) == facts(after)
}

fn outcome_of(error: io::Error) -> Outcome {
    const ELOOP: i32 = 40;
    match error.kind() {
        ErrorKind::NotFound => Outcome::Vanished { replaced: false },
        // Something else took its place, or that of a directory above it.
        ErrorKind::NotADirectory => Outcome::Vanished { replaced: true },
        _ if error.raw_os_error() == Some(ELOOP) => Outcome::Vanished { replaced: true },
        _ => Outcome::Unreadable(error),
    }
}

/// Returns what an error of opening it means.
pub(super) fn of_open(error: io::Error) -> Outcome {
    outcome_of(error)
}

/// Reads until `buffer` is full or the file ends.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match file.read_at(&mut buffer[count..], at + count as u64) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
