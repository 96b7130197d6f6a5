//! The directory that files are restored into. Everything in it is reached from its own descriptor, without following a
//! symbolic link: no name, and no link that an archive makes, leads outside of it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat,
    fchmod, fchown, fsetxattr, futimens, linkat, mkdirat, mknodat, openat, statat, symlinkat, unlinkat,
    utimensat,
};
use rustix::io::Errno;

use super::tar_reader::Member;
use crate::platform::{Accounts, open_beneath, split_name};
use crate::source::files::EntryKind;

const SECOND: i64 = 1_000_000_000;
/// Of directories above the backup's own paths.
const PARENT_MODE: u32 = 0o755;

/// Which of the owners and modes come back.
#[derive(Clone, Debug)]
pub(super) struct Rights {
    pub(super) owners: bool,
    pub(super) is_root: bool,
    pub(super) accounts: Arc<Accounts>,
}

/// What could not be given to what was restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) devices: u64,
    pub(super) setuid: u64,
    pub(super) attributes: u64,
}

impl Lost {
    pub(super) fn add(&mut self, other: &Self) {
        self.devices += other.devices;
        self.setuid += other.setuid;
        self.attributes += other.attributes;
    }
}

pub(super) struct Tree {
    root: Arc<File>,
    rights: Rights,
    /// The directory that was used last.
    parent: Option<(Vec<u8>, OwnedFd)>,
    pub(super) lost: Lost,
}

impl Tree {
    pub(super) fn new(root: Arc<File>, rights: Rights) -> Self {
        Self { root, rights, parent: None, lost: Lost::default() }
    }

    /// Inspects something; `None` where there is nothing.
    pub(super) fn stat(&self, path: &[u8]) -> io::Result<Option<Stat>> {
        let (above, name) = split_name(path);
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let absent = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
                || error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
        };
        let parent = match open_beneath(self.root.as_fd(), above, flags, Mode::empty()) {
            Ok(parent) => parent,
            Err(error) if absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a directory of the tree, to read it.
    pub(super) fn open_directory(&self, path: &[u8]) -> io::Result<OwnedFd> {
        open_beneath(self.root.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
    }

    /// Opens the directory that something is in, and makes those that are missing.
    fn enter(&mut self, path: &[u8]) -> io::Result<()> {
        let (above, _) = split_name(path);
        if self.parent.as_ref().is_some_and(|(at, _)| at == above) {
            return Ok(());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let opened = match open_beneath(self.root.as_fd(), above, flags, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !above.is_empty() => {
                self.enter(above)?;
                let name = split_name(above).1;
                match mkdirat(self.parent()?, name, Mode::from_raw_mode(PARENT_MODE)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                open_beneath(self.root.as_fd(), above, flags, Mode::empty())?
            }
            opened => opened?,
        };
        self.parent = Some((above.to_vec(), opened));
        Ok(())
    }

    fn parent(&self) -> io::Result<&OwnedFd> {
        self.parent.as_ref().map(|(_, parent)| parent).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Creates a file in the place of whatever has its name.
    pub(super) fn create(&mut self, path: &[u8]) -> io::Result<File> {
        self.replace(path, |parent, name| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(parent, name, flags, Mode::from_raw_mode(0o600)).map(File::from)
        })
    }

    /// Makes something in the place of whatever has its name.
    fn replace<T>(
        &mut self,
        path: &[u8],
        make: impl Fn(&OwnedFd, &[u8]) -> Result<T, Errno>,
    ) -> io::Result<T> {
        self.enter(path)?;
        let name = split_name(path).1;
        match make(self.parent()?, name) {
            Err(Errno::EXIST) => {
                self.remove(path)?;
                self.enter(path)?;
                Ok(make(self.parent()?, name)?)
            }
            made => Ok(made?),
        }
    }

    /// Removes something, and all that is in it; what is on another file system is an error.
    pub(super) fn remove(&mut self, path: &[u8]) -> io::Result<()> {
        self.enter(path)?;
        let name = split_name(path).1;
        let removed = remove_from(self.parent()?, name);
        // A directory that was open may be gone.
        self.parent = None;
        removed
    }

    /// Removes an empty directory; one that is not empty stays.
    pub(super) fn remove_empty(&mut self, path: &[u8]) -> io::Result<bool> {
        self.enter(path)?;
        let removed = unlinkat(self.parent()?, split_name(path).1, AtFlags::REMOVEDIR);
        self.parent = None;
        match removed {
            Ok(()) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a directory that only this user may enter, unless there is one; it gets its rights at the end.
    pub(super) fn directory(&mut self, path: &[u8]) -> io::Result<()> {
        if let Some(stat) = self.stat(path)?
            && EntryKind::of(&stat) == Some(EntryKind::Directory)
        {
            return Ok(());
        }
        self.replace(path, |parent, name| mkdirat(parent, name, Mode::from_raw_mode(0o700)))
    }

    /// Gives a file its rights and times.
    pub(super) fn finish_file(&mut self, file: &File, member: &Member) -> io::Result<()> {
        let (uid, gid) = self.owner(member);
        if let Some((uid, gid)) = uid.zip(gid) {
            fchown(file, Some(uid), Some(gid))?;
        }
        fchmod(file, self.mode(member))?;
        self.attributes(file, member);
        Ok(futimens(file, &times(member.mtime))?)
    }

    /// Gives a directory its rights and times, when all in it is there.
    pub(super) fn finish_directory(&mut self, member: &Member) -> io::Result<()> {
        let directory = File::from(self.open_directory(&member.path)?);
        self.finish_file(&directory, member)
    }

    /// Makes what has no bytes.
    pub(super) fn make(&mut self, path: &[u8], member: &Member) -> io::Result<()> {
        match member.kind {
            EntryKind::Symlink => {
                self.replace(path, |parent, name| symlinkat(&member.link[..], parent, name))?
            }
            EntryKind::Fifo => self.replace(path, |parent, name| {
                mknodat(parent, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            })?,
            EntryKind::CharacterDevice | EntryKind::BlockDevice if self.rights.is_root => {
                let kind = match member.kind {
                    EntryKind::BlockDevice => FileType::BlockDevice,
                    _ => FileType::CharacterDevice,
                };
                let device = rustix::fs::makedev(member.device.0, member.device.1);
                self.replace(path, |parent, name| {
                    mknodat(parent, name, kind, Mode::from_raw_mode(0o600), device)
                })?;
            }
            _ => {
                self.lost.devices += 1;
                return Ok(());
            }
        }
        let (uid, gid) = self.owner(member);
        let mode = self.mode(member);
        self.lost.attributes += member.attributes.len() as u64;
        let (parent, name) = (self.parent()?, split_name(path).1);
        if uid.is_some() {
            chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if member.kind != EntryKind::Symlink {
            // It was made just now, in a directory that is open: it is no link.
            chmodat(parent, name, mode, AtFlags::empty())?;
        }
        Ok(utimensat(parent, name, &times(member.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Gives something of the tree a second name.
    pub(super) fn link(&mut self, path: &[u8], to: &[u8]) -> io::Result<()> {
        let (above, first) = split_name(to);
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let from = open_beneath(self.root.as_fd(), above, flags, Mode::empty())?;
        let stat = statat(&from, first, AtFlags::SYMLINK_NOFOLLOW)?;
        if EntryKind::of(&stat) != Some(EntryKind::File) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a hard link to what is no file"));
        }
        self.replace(path, |parent, name| linkat(&from, first, parent, name, AtFlags::empty()))
    }

    fn owner(&self, member: &Member) -> (Option<Uid>, Option<Gid>) {
        if !self.rights.owners || !self.rights.is_root {
            return (None, None);
        }
        let accounts = &self.rights.accounts;
        let uid = accounts.user_number(&member.user, member.uid);
        let gid = accounts.group_number(&member.group, member.gid);
        (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
    }

    /// A program that runs as its owner is not made to run as another one.
    fn mode(&mut self, member: &Member) -> Mode {
        let keeps_owner = self.rights.owners && self.rights.is_root;
        let is_special = member.kind != EntryKind::Directory && member.mode & 0o6000 != 0;
        if is_special && !keeps_owner {
            self.lost.setuid += 1;
            return Mode::from_raw_mode(member.mode & 0o1777);
        }
        Mode::from_raw_mode(member.mode)
    }

    fn attributes(&mut self, file: &File, member: &Member) {
        for (name, value) in &member.attributes {
            if fsetxattr(file, &name[..], value, XattrFlags::empty()).is_err() {
                self.lost.attributes += 1;
            }
        }
    }
}

pub(super) fn times(nanos: i64) -> Timestamps {
    let tv_nsec = nanos.rem_euclid(SECOND);
    let time = Timespec { tv_sec: nanos.div_euclid(SECOND), tv_nsec };
    Timestamps { last_access: time, last_modification: time }
}

/// Removes a name from a directory, with all below it. Follows no link.
fn remove_from(parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(parent, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let inner = entry.file_name().to_bytes();
        if inner != b"." && inner != b".." {
            remove_from(&directory, inner)?;
        }
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}
