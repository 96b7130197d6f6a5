use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use serde::{Deserialize, Serialize};

use super::super::fault::{StoreFault, check_key};
use super::super::{DetachedMetadata, MARKER, ObjectInfo, StoreErrorKind};
use crate::model::Sha256Hex;
use crate::platform::give_to_folder_owner;

/// The store's own folder.
pub(super) const OWN: &str = ".drctl";

/// The directory of the store and the files in it. All calls block.
#[derive(Debug)]
pub(super) struct ObjectFiles {
    pub(super) root: PathBuf,
    /// The root must be a mount point.
    is_mount: bool,
    /// Device and inode of the root at the last successful check.
    seen: Mutex<Option<(u64, u64)>>,
    /// Names of the sidecars, as of the first query.
    sidecars: OnceLock<BTreeSet<String>>,
}

/// The sidecar file of an object that has metadata.
#[derive(Serialize, Deserialize)]
struct Sidecar {
    key: String,
    metadata: BTreeMap<String, String>,
}

impl ObjectFiles {
    pub(super) fn new(root: PathBuf, is_mount: bool) -> Self {
        Self { root, is_mount, seen: Mutex::default(), sidecars: OnceLock::new() }
    }

    /// Fails if the root is missing or gone: a disk may be removed at any time and leave an empty directory
    /// at its mount point.
    pub(super) fn check_root(&self) -> Result<(), StoreFault> {
        match fs::metadata(&self.root) {
            Ok(root) if root.is_dir() => self.check_mount(&root),
            Ok(_) => Err(StoreFault::new(StoreErrorKind::NoBucket, "it is not a directory")),
            Err(error)
                if StoreFault::from(io::Error::from(error.kind())).kind == StoreErrorKind::NotFound =>
            {
                Err(StoreErrorKind::NoBucket.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn check_mount(&self, root: &Metadata) -> Result<(), StoreFault> {
        if self.is_mount && !is_mount_point(&self.root, root)? {
            let words = "nothing is mounted there, and the policy says `mount = true`";
            return Err(StoreFault::new(StoreErrorKind::NoBucket, words));
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = (root.dev(), root.ino());
        if seen.is_some_and(|seen| seen != found) && !self.root.join(MARKER).exists() {
            let words = "another directory is there than when this run began, without a repository in it";
            return Err(StoreFault::new(StoreErrorKind::NoBucket, words));
        }
        *seen = Some(found);
        Ok(())
    }

    /// Returns the path of the object, which need not exist.
    pub(super) fn path(&self, key: &str) -> Result<PathBuf, StoreFault> {
        self.check_root()?;
        check_key(key)?;
        if key.split('/').any(|word| word == OWN) {
            return Err(StoreFault::new(StoreErrorKind::Unsupported, "the store keeps its own files there"));
        }
        Ok(self.root.join(key))
    }

    /// Returns one of the store's own folders, created if missing.
    pub(super) fn own_folder(&self, name: &str) -> Result<PathBuf, StoreFault> {
        self.check_root()?;
        let path = self.root.join(OWN).join(name);
        self.make_folders(&path)?;
        Ok(path)
    }

    /// Creates `folder` and every missing folder between it and the root, durably.
    pub(super) fn make_folders(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() || folder == self.root {
            return Ok(());
        }
        if let Some(parent) = folder.parent() {
            self.make_folders(parent)?;
        }
        match DirBuilder::new().mode(0o750).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Err(_) => sync_folder(folder.parent().unwrap_or(&self.root)),
            Ok(()) => {
                give_to_folder_owner(folder)?;
                sync_folder(folder.parent().unwrap_or(&self.root))
            }
        }
    }

    pub(super) fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreFault> {
        match fs::metadata(self.path(key)?) {
            Ok(metadata) if metadata.is_file() => self.info(key, &metadata).map(Some),
            Ok(_) => Ok(None),
            Err(error) => match StoreFault::from(error) {
                fault if fault.kind == StoreErrorKind::NotFound => Ok(None),
                fault => Err(fault),
            },
        }
    }

    pub(super) fn get(&self, key: &str, limit: u64) -> Result<(Bytes, ObjectInfo), StoreFault> {
        let (file, metadata) = self.open(key)?;
        if metadata.len() > limit {
            return Err(StoreErrorKind::TooLarge.into());
        }
        let mut body = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut body)?;
        if body.len() as u64 != metadata.len() {
            return Err(StoreFault::new(StoreErrorKind::Corrupt, "its size changed while it was read"));
        }
        Ok((body.into(), self.info(key, &metadata)?))
    }

    pub(super) fn get_range(&self, key: &str, range: std::ops::Range<u64>) -> Result<Bytes, StoreFault> {
        let (file, metadata) = self.open(key)?;
        if range.start > range.end || range.end > metadata.len() {
            let words =
                format!("it has {} bytes, asked for {} to {}", metadata.len(), range.start, range.end);
            return Err(StoreFault::new(StoreErrorKind::Corrupt, words));
        }
        let length = usize::try_from(range.end - range.start).map_err(|_| StoreErrorKind::TooLarge)?;
        let mut body = vec![0; length];
        file.read_exact_at(&mut body, range.start)?;
        Ok(body.into())
    }

    fn open(&self, key: &str) -> Result<(File, Metadata), StoreFault> {
        let file = File::open(self.path(key)?)?;
        let metadata = file.metadata()?;
        if metadata.is_file() { Ok((file, metadata)) } else { Err(StoreErrorKind::NotFound.into()) }
    }

    fn info(&self, key: &str, file: &Metadata) -> Result<ObjectInfo, StoreFault> {
        let mut info = bare_info(key, file);
        match fs::read(self.sidecar(key, file)) {
            Ok(text) => match serde_json::from_slice::<Sidecar>(&text) {
                Ok(sidecar) if sidecar.key == key => info.metadata = sidecar.metadata,
                _ => return Err(StoreFault::new(StoreErrorKind::Corrupt, "its metadata cannot be read")),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        Ok(info)
    }

    /// Returns the path of the metadata of this very write of the key. Without the inode in its name,
    /// metadata survives a copy of the directory that preserves times.
    pub(super) fn sidecar(&self, key: &str, file: &Metadata) -> PathBuf {
        let name =
            format!("{}-{:x}-{:x}.json", Sha256Hex::digest(key.as_bytes()), nanoseconds(file), file.len());
        self.root.join(OWN).join("metadata").join(name)
    }

    /// Returns the metadata of other writes of the key. It is left over when a file was changed other than
    /// through the store.
    pub(super) fn detached_metadata(&self, key: &str) -> Result<Vec<DetachedMetadata>, StoreFault> {
        self.check_root()?;
        let folder = self.root.join(OWN).join("metadata");
        let names = match self.sidecars.get() {
            Some(names) => names,
            None => {
                let names = names_in(&folder)?;
                self.sidecars.get_or_init(|| names)
            }
        };
        let prefix = format!("{}-", Sha256Hex::digest(key.as_bytes()));
        let of_key = names.range(prefix.clone()..).take_while(|name| name.starts_with(&prefix));
        let mut found = Vec::new();
        for name in of_key {
            let size = name.strip_suffix(".json").and_then(|name| name.rsplit_once('-'));
            let size = size.and_then(|(_, size)| u64::from_str_radix(size, 16).ok());
            let text = match fs::read(folder.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                text => text?,
            };
            let sidecar = serde_json::from_slice::<Sidecar>(&text).ok().filter(|sidecar| sidecar.key == key);
            if let (Some(size), Some(sidecar)) = (size, sidecar) {
                found.push(DetachedMetadata { size, metadata: sidecar.metadata });
            }
        }
        Ok(found)
    }

    /// Writes the sidecar. Returns `false` if another write of the same key already has this name.
    pub(super) fn write_sidecar(
        &self,
        key: &str,
        file: &Metadata,
        metadata: &BTreeMap<String, String>,
    ) -> Result<bool, StoreFault> {
        let folder = self.own_folder("metadata")?;
        let sidecar = Sidecar { key: key.to_owned(), metadata: metadata.clone() };
        let text = serde_json::to_vec(&sidecar).map_err(io::Error::other)?;
        let mut file = match new_file(&self.sidecar(key, file)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            file => file?,
        };
        file.write_all(&text)?;
        file.sync_all()?;
        sync_folder(&folder)?;
        Ok(true)
    }
}

/// Returns whether a file system is mounted at the path.
pub fn is_mounted(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|directory| is_mount_point(path, &directory).unwrap_or_default())
}

/// Returns whether the directory is a mount point; a bind mount counts, too.
fn is_mount_point(path: &Path, directory: &Metadata) -> io::Result<bool> {
    let above = fs::metadata(path.join(".."))?;
    let is_root = above.dev() == directory.dev() && above.ino() == directory.ino();
    if is_root || above.dev() != directory.dev() {
        return Ok(true);
    }
    // Kernels before 5.8 do not report it.
    let said = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS);
    Ok(said.is_ok_and(|said| said.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)))
}

fn names_in(folder: &Path) -> io::Result<BTreeSet<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries?,
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

pub(super) fn new_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o640).open(path)?;
    give_to_folder_owner(path)?;
    Ok(file)
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network file systems do not support it; there the write is either durable already or cannot be
        // made so.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        synced => synced,
    }
}

fn nanoseconds(file: &Metadata) -> i128 {
    i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec())
}

/// Returns what the file itself records; metadata is in the sidecar.
pub(super) fn bare_info(key: &str, file: &Metadata) -> ObjectInfo {
    let nanoseconds_part = u32::try_from(file.mtime_nsec()).unwrap_or_default();
    ObjectInfo {
        key: key.to_owned(),
        size: file.len(),
        etag: etag(file),
        modified: DateTime::<Utc>::from_timestamp(file.mtime(), nanoseconds_part).unwrap_or_default(),
        metadata: BTreeMap::new(),
    }
}

/// Computes the etag from time, inode and size: every write makes a new file with a unique time (see
/// `stamp`).
pub(super) fn etag(file: &Metadata) -> String {
    format!("{:x}-{:x}-{:x}", nanoseconds(file), file.ino(), file.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_to_be_a_mount_point_and_is_none_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        let fault = ObjectFiles::new(root.path().to_owned(), true).check_root().unwrap_err();
        assert_eq!(fault.kind, StoreErrorKind::NoBucket);
        assert!(fault.detail.unwrap().contains("nothing is mounted"));
        ObjectFiles::new(root.path().to_owned(), false).check_root().unwrap();
        for mounted in ["/proc", "/"] {
            ObjectFiles::new(mounted.into(), true).check_root().unwrap();
        }
    }

    #[test]
    fn an_empty_directory_in_the_place_of_one_that_was_used_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        let (path, away) = (root.path().join("disk"), root.path().join("away"));
        fs::create_dir(&path).unwrap();
        let files = ObjectFiles::new(path.clone(), false);
        files.check_root().unwrap();
        fs::rename(&path, &away).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(files.check_root().unwrap_err().kind, StoreErrorKind::NoBucket);
        // Remounted, perhaps under another device number.
        fs::write(path.join(MARKER), "").unwrap();
        files.check_root().unwrap();
    }
}
