//! The policy's paths on disk, each opened once: what is read is below them, whatever links are made meanwhile.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, Stat, statat};

use super::error::FilesError;
use super::index::{compare_paths, is_within};
use crate::platform::{open_beneath, split_name};

/// A path of the policy.
#[derive(Debug)]
pub(super) struct Root {
    /// Without the slash at its beginning.
    pub(super) path: Vec<u8>,
    /// The directory itself, or the one that the file is in.
    directory: File,
    /// The name of what is no directory.
    name: Option<Vec<u8>>,
    pub(super) device: u64,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Roots {
    /// In the order of the paths; none is inside of another.
    pub(super) tops: Vec<Root>,
    /// Those that are inside of another one: they have to be reached from there.
    pub(super) nested: Vec<Vec<u8>>,
}

impl Roots {
    /// Opens them. A path that is a symbolic link stands for what it leads to.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self, FilesError> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        for path in paths {
            let absolute = std::path::absolute(path)
                .map_err(|source| FilesError::Root { path: path.clone(), source })?;
            names.push(clean(&absolute));
        }
        names.sort_by(|one, other| compare_paths(one, other));
        names.dedup();
        let (mut tops, mut nested): (Vec<Root>, _) = (Vec::new(), Vec::new());
        for name in names {
            match tops.last() {
                Some(top) if is_within(&name, &top.path) => nested.push(name),
                _ => tops.push(Root::open(name)?),
            }
        }
        Ok(Self { tops, nested })
    }

    fn of(&self, path: &[u8]) -> Option<&Root> {
        self.tops.iter().find(|root| is_within(path, &root.path))
    }

    /// Opens something to read it. Opening a pipe that took a file's place does not wait.
    pub(super) fn open_to_read(&self, path: &[u8], extra: OFlags) -> io::Result<OwnedFd> {
        let root = self.of(path).ok_or(io::ErrorKind::NotFound)?;
        let below = root.below(path);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | extra;
        match open_beneath(root.directory.as_fd(), below, flags | OFlags::NOATIME, Mode::empty()) {
            // Only its owner may leave the time of the last access as it is.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                open_beneath(root.directory.as_fd(), below, flags, Mode::empty())
            }
            opened => opened,
        }
    }

    /// Opens the directory of something, and returns its name in there. A root that is a directory has none.
    pub(super) fn open_parent<'p>(&'p self, path: &'p [u8]) -> io::Result<(OwnedFd, &'p [u8])> {
        let root = self.of(path).ok_or(io::ErrorKind::NotFound)?;
        let (above, name) = split_name(root.below(path));
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let parent = open_beneath(root.directory.as_fd(), above, flags, Mode::empty())?;
        Ok((parent, if name.is_empty() { b"." } else { name }))
    }
}

impl Root {
    fn open(path: Vec<u8>) -> Result<Self, FilesError> {
        let shown = Path::new("/").join(OsStr::from_bytes(&path));
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => FilesError::Missing { path: shown.clone() },
            _ => FilesError::Root { path: shown.clone(), source },
        };
        let real = fs::canonicalize(&shown).map_err(failed)?;
        let metadata = fs::metadata(&real).map_err(failed)?;
        let directory = if metadata.is_dir() { Some(real.as_path()) } else { real.parent() };
        let directory = directory.unwrap_or(Path::new("/"));
        let flags = i32::try_from(OFlags::DIRECTORY.bits()).unwrap_or_default();
        let directory = OpenOptions::new().read(true).custom_flags(flags).open(directory).map_err(failed)?;
        let name =
            (!metadata.is_dir()).then(|| real.file_name().map(|name| name.as_bytes().to_vec())).flatten();
        Ok(Self { path, directory, name, device: metadata.dev() })
    }

    fn below<'p>(&'p self, path: &'p [u8]) -> &'p [u8] {
        match &self.name {
            Some(name) => name,
            None if self.path.is_empty() => path,
            None => path.get(self.path.len() + 1..).unwrap_or_default(),
        }
    }

    /// Returns what it is; of a directory, the directory's own.
    pub(super) fn stat(&self) -> io::Result<Stat> {
        let name = self.name.as_deref().unwrap_or(b".");
        Ok(statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Returns the directory; `None` where it is something else.
    pub(super) fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.name.is_none().then(|| self.directory.as_fd())
    }
}

/// Returns an absolute path without its first slash, and without `.` and double slashes; `..` is left to the system.
fn clean(path: &Path) -> Vec<u8> {
    let names: Vec<&[u8]> = path
        .components()
        .filter(|part| !matches!(part, std::path::Component::RootDir))
        .map(|part| part.as_os_str().as_bytes())
        .collect();
    names.join(&b'/')
}
