use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FlockOperation, RenameFlags, Timespec, Timestamps, flock, futimens, renameat_with};

use super::super::fault::StoreFault;
use super::super::{Precondition, PutOptions, StoreErrorKind, UploadInfo, Written};
use super::object_file::{ObjectFiles, bare_info, etag, new_file, sync_folder};
use crate::platform::give_to_folder_owner;

/// How long to wait for another process that replaces or deletes an object.
const LOCK_WAIT: Duration = Duration::from_secs(30);
const LOCK_POLL: Duration = Duration::from_millis(10);
/// An empty folder may be removed between its creation and its use.
const ATTEMPTS: usize = 16;

/// A write in progress: a folder of its own with the bytes and their future key.
#[derive(Debug)]
pub(super) struct DraftFile {
    pub(super) folder: PathBuf,
    pub(super) file: File,
}

impl ObjectFiles {
    pub(super) fn begin(&self, key: &str, options: &PutOptions) -> Result<DraftFile, StoreFault> {
        if options.lock.is_some() {
            return Err(StoreFault::new(StoreErrorKind::Unsupported, "a directory has no object lock"));
        }
        self.path(key)?;
        let uploads = self.own_folder("uploads")?;
        let id = format!("{:08x}{:08x}", crate::platform::seed(), crate::platform::seed());
        let folder = uploads.join(id);
        fs::create_dir(&folder)?;
        give_to_folder_owner(&folder)?;
        let begin = || {
            fs::write(folder.join("key"), key)?;
            give_to_folder_owner(&folder.join("key"))?;
            new_file(&folder.join("object"))
        };
        match begin() {
            Ok(file) => Ok(DraftFile { folder, file }),
            Err(error) => {
                let _left_for_the_sweep = fs::remove_dir_all(&folder);
                Err(error.into())
            }
        }
    }

    /// Publishes the draft's file as the object, durably. Removes the draft, also after a failure.
    pub(super) fn publish(
        &self,
        key: &str,
        draft: &DraftFile,
        options: &PutOptions,
    ) -> Result<Written, StoreFault> {
        let published = self.publish_file(key, draft, options);
        let removed = fs::remove_dir_all(&draft.folder);
        let written = published?;
        match removed {
            // The object has the bytes; only an empty draft is left over, which `pending_uploads` lists.
            Err(error) => tracing::warn!("failed to remove `{}`: {error}", draft.folder.display()),
            Ok(()) => sync_folder(draft.folder.parent().unwrap_or(&self.root))?,
        }
        Ok(written)
    }

    fn publish_file(
        &self,
        key: &str,
        draft: &DraftFile,
        options: &PutOptions,
    ) -> Result<Written, StoreFault> {
        let path = self.path(key)?;
        draft.file.sync_data()?;
        let new = self.stamp(key, &draft.file, options)?;
        draft.file.sync_all()?;
        let placed = self.place(key, &draft.folder.join("object"), &path, &new, &options.precondition);
        if placed.is_err() && !options.metadata.is_empty() {
            let _orphan = fs::remove_file(self.sidecar(key, &new));
        }
        placed?;
        Ok(Written { etag: etag(&new), version: None })
    }

    /// Gives the file a unique modification time and writes its metadata.
    ///
    /// The kernel stamps files in ticks of some milliseconds and reuses a freed inode number at once, so two
    /// writes of a key could have the same etag. The millisecond stays, since it is the store's clock; the
    /// digits below it are random.
    fn stamp(&self, key: &str, file: &File, options: &PutOptions) -> Result<Metadata, StoreFault> {
        for _ in 0..ATTEMPTS {
            let written = file.metadata()?;
            let random = i64::from(crate::platform::seed() % 1_000_000);
            let time = Timespec {
                tv_sec: written.mtime(),
                tv_nsec: written.mtime_nsec() / 1_000_000 * 1_000_000 + random,
            };
            futimens(file, &Timestamps { last_access: time, last_modification: time })?;
            let stamped = file.metadata()?;
            if options.metadata.is_empty() || self.write_sidecar(key, &stamped, &options.metadata)? {
                return Ok(stamped);
            }
        }
        Err(StoreFault::new(StoreErrorKind::Other, "no free name for its metadata"))
    }

    fn place(
        &self,
        key: &str,
        draft: &Path,
        path: &Path,
        new: &Metadata,
        precondition: &Precondition,
    ) -> Result<(), StoreFault> {
        let folder = path.parent().unwrap_or(&self.root);
        for _ in 0..ATTEMPTS {
            self.check_root()?;
            self.make_folders(folder)?;
            let placed = match precondition {
                Precondition::Absent => link(draft, path, new),
                Precondition::None => self.replace(key, draft, path, None),
                Precondition::Unchanged(etag) => self.replace(key, draft, path, Some(etag)),
            };
            match placed {
                Err(fault) if fault.kind == StoreErrorKind::NotFound && !folder.is_dir() => {}
                placed => {
                    placed?;
                    return Ok(sync_folder(folder)?);
                }
            }
        }
        Err(StoreFault::new(StoreErrorKind::Other, "its folder is removed again and again"))
    }

    fn replace(
        &self,
        key: &str,
        draft: &Path,
        path: &Path,
        expected: Option<&str>,
    ) -> Result<(), StoreFault> {
        let _held = self.lock()?;
        let old = match fs::metadata(path) {
            Ok(old) => Some(old),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        if expected.is_some_and(|expected| old.as_ref().map(etag).as_deref() != Some(expected)) {
            return Err(StoreErrorKind::Changed.into());
        }
        fs::rename(draft, path)?;
        if let Some(old) = old {
            let _had_none = fs::remove_file(self.sidecar(key, &old));
        }
        Ok(())
    }

    pub(super) fn delete(&self, key: &str) -> Result<(), StoreFault> {
        let path = self.path(key)?;
        if self.head(key)?.is_none() {
            return Ok(());
        }
        let _held = self.lock()?;
        let old = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            old => old?,
        };
        fs::remove_file(&path)?;
        let _had_none = fs::remove_file(self.sidecar(key, &old));
        // Folders are not objects: remove those that are empty now, up to the first that is not.
        let mut folder = path.parent();
        while let Some(empty) = folder.filter(|folder| *folder != self.root) {
            if fs::remove_dir(empty).is_err() {
                break;
            }
            folder = empty.parent();
        }
        match folder.map(sync_folder) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Locks the directory until the returned file is dropped; the kernel releases the lock if the process
    /// dies.
    fn lock(&self) -> Result<File, StoreFault> {
        let path = self.own_folder("")?.join("lock");
        let file = File::options().create(true).append(true).open(&path)?;
        give_to_folder_owner(&path)?;
        let begun = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < LOCK_WAIT => {
                    std::thread::sleep(LOCK_POLL);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(StoreFault::new(
                        StoreErrorKind::Unavailable,
                        "another process holds its lock",
                    ));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(super) fn pending(&self, prefix: &str) -> Result<Vec<UploadInfo>, StoreFault> {
        self.check_root()?;
        let entries = match fs::read_dir(self.root.join(super::object_file::OWN).join("uploads")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            entries => entries?,
        };
        let mut uploads = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Ok(id) = entry.file_name().into_string() else { continue };
            let note = entry.path().join("key");
            // It is beginning or ending right now.
            let (Ok(key), Ok(written)) = (fs::read_to_string(&note), fs::metadata(&note)) else { continue };
            if key.starts_with(prefix) {
                uploads.push(UploadInfo { begun: bare_info(&key, &written).modified, key, id });
            }
        }
        uploads.sort_by(|a, b| (&a.key, a.begun, &a.id).cmp(&(&b.key, b.begun, &b.id)));
        Ok(uploads)
    }

    pub(super) fn abort(&self, id: &str) -> Result<(), StoreFault> {
        self.check_root()?;
        if id.len() != 16 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(StoreFault::new(StoreErrorKind::Unsupported, "that is not an upload of this store"));
        }
        match fs::remove_dir_all(self.root.join(super::object_file::OWN).join("uploads").join(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Links the draft to its final name unless that exists: one of several racing writers succeeds.
fn link(draft: &Path, path: &Path, new: &Metadata) -> Result<(), StoreFault> {
    let error = match fs::hard_link(draft, path) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            // Over NFS a lost reply makes the client repeat the call: then the existing file is this one.
            match fs::metadata(path) {
                Ok(there) if (there.dev(), there.ino()) == (new.dev(), new.ino()) => Ok(()),
                _ => Err(StoreErrorKind::Exists.into()),
            }
        }
        // File systems without hard links.
        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported => {
            match renameat_with(CWD, draft, CWD, path, RenameFlags::NOREPLACE) {
                Ok(()) => Ok(()),
                Err(rustix::io::Errno::EXIST) => Err(StoreErrorKind::Exists.into()),
                Err(_) => Err(error.into()),
            }
        }
        _ => Err(error.into()),
    }
}
