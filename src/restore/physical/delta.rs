//! Changing the data directory of a stopped server into the backup: only differences are written, and no
//! space for a second copy is needed.
//!
//! What exists only there is kept: `pg_wal` is moved aside, since some of its WAL may never have been
//! archived.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use super::directory_lock::{DirectoryLock, DirectoryMarker};
use super::layout::{CONTROL, MARKER};
use super::owned_file::create;
use crate::model::SystemIdentifier;
use crate::platform::server_process;
use crate::postgres::system_identifier_in;

const LOG: &str = "pg_wal";
const LOG_ASIDE: &str = "pg_wal.before-";
const PROCESS: &str = "postmaster.pid";

/// An existing data directory at the location of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReuseState {
    pub(super) cluster: SystemIdentifier,
    /// The server's `postmaster.pid`, which says that it is running.
    pub(super) process_file: Option<PathBuf>,
    /// WAL files that were never archived.
    pub(super) unarchived: usize,
}

impl ReuseState {
    /// Inspects a directory; `None`: it is not a data directory.
    pub(super) fn look(directory: &Path) -> io::Result<Option<Self>> {
        let Ok(cluster) = system_identifier_in(directory) else { return Ok(None) };
        let ready = match fs::read_dir(directory.join(LOG).join("archive_status")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            entries => entries?
                .filter(|entry| {
                    let is_ready = |entry: &fs::DirEntry| entry.path().extension() == Some("ready".as_ref());
                    entry.as_ref().is_ok_and(is_ready)
                })
                .count(),
        };
        Ok(Some(Self { cluster, process_file: process_file(directory), unarchived: ready }))
    }
}

/// Returns the file that a server keeps in its directory while it runs, and leaves after a crash; or, if that was
/// removed, the entry in `/proc` of a server that runs there. Whether the process named in the file still runs cannot
/// be determined here: it may be in another container. An operator has to confirm it.
pub(super) fn process_file(directory: &Path) -> Option<PathBuf> {
    let path = directory.join(PROCESS);
    let of_process = || server_process(directory).map(|id| PathBuf::from(format!("/proc/{id}")));
    fs::symlink_metadata(&path).is_ok().then_some(path).or_else(of_process)
}

/// Returns whether a link in the directory points to this path, which makes it a tablespace of the existing
/// cluster.
pub(super) fn is_tablespace_of(directory: &Path, tablespace: &Path) -> bool {
    let links = fs::read_dir(directory.join("pg_tblspc")).into_iter().flatten().flatten();
    links.filter_map(|link| fs::read_link(link.path()).ok()).any(|target| target == tablespace)
}

/// Returns whether WAL moved aside by an earlier delta restore is kept there, which must not be removed.
pub(super) fn preserves_wal(directory: &Path) -> bool {
    let mut entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with(LOG_ASIDE))
}

/// Marks a directory for a delta restore, and locks it. `None`: another run has it.
///
/// The marker is written atomically, since it is what says that nothing may be removed there.
pub(super) fn mark(
    directory: &Path,
    marker: &DirectoryMarker,
    owner: Option<(u32, u32)>,
) -> io::Result<Option<DirectoryLock>> {
    let path = directory.join(MARKER);
    let earlier = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        bytes => Some(bytes?),
    };
    let held = match &earlier {
        Some(_) => match DirectoryLock::take(directory)? {
            None => return Ok(None),
            held => held,
        },
        None => None,
    };
    let is_same = |bytes: &Vec<u8>| {
        serde_json::from_slice::<DirectoryMarker>(bytes)
            .is_ok_and(|earlier| earlier.changes == marker.changes)
    };
    if earlier.as_ref().is_some_and(is_same) {
        return Ok(held);
    }
    let draft = directory.join(format!("{MARKER}.{}", marker.run));
    let mut file = create(&draft, owner)?;
    file.write_all(&serde_json::to_vec(marker).map_err(io::Error::other)?)?;
    file.sync_all()?;
    // A marker created in the meantime belongs to another run.
    let placed = if held.is_some() { fs::rename(&draft, &path) } else { fs::hard_link(&draft, &path) };
    remove(&draft)?;
    match placed {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        placed => placed?,
    }
    sync(directory)?;
    DirectoryLock::take(directory)
}

/// Returns the size in bytes of the files that are likely to be reused: those of its databases.
pub(super) fn reusable_bytes(directory: &Path) -> io::Result<u64> {
    ["base", "global"].iter().map(|folder| size_of(&directory.join(folder))).sum()
}

/// Returns the size in bytes of the files in a directory; 0 where it does not exist.
fn size_of(directory: &Path) -> io::Result<u64> {
    let mut size = 0;
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let found = match entry.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            found => found?,
        };
        size += if found.is_dir() { size_of(&entry.path())? } else { found.len() };
    }
    Ok(size)
}

/// Returns the target of `pg_wal` where that is on a volume of its own, also after it was moved aside there.
pub(super) fn wal_volume(directory: &Path) -> Option<PathBuf> {
    if let Ok(volume) = fs::read_link(directory.join(LOG)) {
        return directory.join(volume).canonicalize().ok();
    }
    let mut entries = fs::read_dir(directory).ok()?.flatten();
    let aside = entries.find(|entry| {
        entry.file_name().to_string_lossy().starts_with(LOG_ASIDE) && entry.path().is_symlink()
    })?;
    // After an interrupted delta restore `pg_wal` is missing, or is one that the restore created.
    let is_unfinished = directory.join(MARKER).exists();
    fs::read_link(aside.path()).ok().filter(|_| is_unfinished)?.parent().map(Path::to_owned)
}

/// Returns whether any essential part of the cluster was moved away: then no server may be started there.
pub(super) fn is_partial(directory: &Path) -> bool {
    !directory.join(CONTROL).exists() || !directory.join(LOG).exists()
}

/// Prevents a server from starting there, and moves `pg_wal` aside. Returns its new path.
///
/// Safe to repeat after an interruption: the WAL is out of reach of whatever clears the directory before the
/// server's own state is removed.
pub(super) fn begin(directory: &Path, run: &str) -> io::Result<Option<PathBuf>> {
    let (log, aside) = (directory.join(LOG), directory.join(format!("{LOG_ASIDE}{run}")));
    if let Some(volume) = wal_volume(directory).filter(|_| log.is_symlink()) {
        // It stays on its own volume, and the data directory keeps a link to its new path.
        let there = volume.join(format!("{LOG_ASIDE}{run}"));
        fs::create_dir(&there)?;
        let owner = fs::metadata(&volume)?;
        fs::set_permissions(&there, Permissions::from_mode(0o700))?;
        std::os::unix::fs::chown(&there, Some(owner.uid()), Some(owner.gid()))?;
        for entry in fs::read_dir(&volume)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != "lost+found" && !name.to_string_lossy().starts_with(LOG_ASIDE) {
                fs::rename(entry.path(), there.join(name))?;
            }
        }
        sync(&volume)?;
        std::os::unix::fs::symlink(&there, &aside)?;
        fs::remove_file(&log)?;
        sync(directory)?;
        remove(&directory.join(CONTROL))?;
        sync(&directory.join("global"))?;
        return Ok(Some(there));
    }
    let aside = match fs::rename(&log, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        moved => moved.map(|()| Some(aside))?,
    };
    sync(directory)?;
    if let Err(error) = remove(&directory.join(CONTROL)) {
        // The cluster is usable as it was only with its WAL.
        if let Some(aside) = &aside {
            fs::rename(aside, &log)?;
        }
        return Err(error);
    }
    sync(&directory.join("global"))?;
    Ok(aside)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Files of one directory that already are as they should be.
#[derive(Debug, Default)]
pub(super) struct RetainedFile {
    inodes: HashSet<u64>,
    /// Bytes that were already there.
    pub(super) bytes: u64,
}

/// A file whose contents are being replaced.
pub(super) struct ReplacedFile {
    file: File,
    is_new: bool,
    at: u64,
    reused: u64,
    theirs: Vec<u8>,
}

impl ReplacedFile {
    pub(super) fn open(path: &Path, owner: Option<(u32, u32)>) -> io::Result<Self> {
        let found = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            found => Some(found?),
        };
        let file = match found {
            // A file with a second hard link must not change there.
            Some(found) if found.is_file() && found.nlink() == 1 => {
                match take_over(path, owner) {
                    // The directory is ours, but its files may not be.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        fs::remove_file(path)?;
                        None
                    }
                    file => Some(file?),
                }
            }
            Some(found) if found.is_dir() => {
                fs::remove_dir_all(path)?;
                None
            }
            Some(_) => {
                fs::remove_file(path)?;
                None
            }
            None => None,
        };
        let is_new = file.is_none();
        let file = file.map_or_else(|| create(path, owner), Ok)?;
        Ok(Self { file, is_new, at: 0, reused: 0, theirs: Vec::new() })
    }

    /// Writes the next bytes, unless the same bytes are there already.
    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.theirs.resize(bytes.len(), 0);
        let is_same = !self.is_new && read_at(&self.file, &mut self.theirs, self.at)? && self.theirs == bytes;
        if is_same {
            self.reused += bytes.len() as u64;
        } else {
            self.file.write_all_at(bytes, self.at)?;
        }
        self.at += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn end(self, kept: &mut RetainedFile) -> io::Result<()> {
        let found = self.file.metadata()?;
        if found.len() != self.at {
            self.file.set_len(self.at)?;
        }
        kept.inodes.insert(found.ino());
        kept.bytes += self.reused;
        Ok(())
    }
}

/// Opens an existing file for writing, whatever its mode was.
fn take_over(path: &Path, owner: Option<(u32, u32)>) -> io::Result<File> {
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    let no_link = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new().read(true).write(true).custom_flags(no_link).open(path)?;
    if let Some((user, group)) = owner {
        fchown(&file, Some(user), Some(group))?;
    }
    Ok(file)
}

/// Returns whether the file had that many bytes.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, at) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

/// Removes anything other than a directory at a folder's path: it could lead out of the data directory.
pub(super) fn remove_conflict(folder: &Path) -> io::Result<()> {
    match fs::symlink_metadata(folder) {
        Ok(found) if !found.is_dir() => fs::remove_file(folder),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what is not part of the restored data. `folders` are those that are, relative to the root.
pub(super) fn sweep(root: &Path, folders: &BTreeSet<PathBuf>, kept: &RetainedFile) -> io::Result<()> {
    folders.iter().try_for_each(|folder| sweep_folder(root, folder, folders, kept))
}

fn sweep_folder(
    root: &Path,
    folder: &Path,
    folders: &BTreeSet<PathBuf>,
    kept: &RetainedFile,
) -> io::Result<()> {
    let is_root = folder.as_os_str().is_empty();
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = name == MARKER || name == "lost+found" || name.to_string_lossy().starts_with(LOG_ASIDE);
        if is_root && is_ours {
            continue;
        }
        let found = entry.metadata()?;
        let path = entry.path();
        if found.is_dir() {
            if !folders.contains(&folder.join(&name)) {
                fs::remove_dir_all(path)?;
            }
        } else if !found.is_file() || !kept.inodes.contains(&found.ino()) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written_and_what_does_not_belong_goes() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for folder in ["base", "base/gone", "global", "pg_tblspc", "pg_wal.before-r1"] {
            fs::create_dir(at(folder)).unwrap();
        }
        for name in ["base/same", "base/other", "base/long", "base/extra", "pg_wal.before-r1/log", MARKER] {
            fs::write(at(name), "12345678").unwrap();
        }
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::write(outside.path(), "12345678").unwrap();
        std::os::unix::fs::symlink(outside.path(), at("base/link")).unwrap();
        fs::hard_link(at("base/extra"), at("base/twice")).unwrap();
        std::os::unix::fs::symlink("/etc", at("pg_tblspc/1")).unwrap();
        let inode = |name: &str| fs::metadata(at(name)).unwrap().ino();
        let before = ["base/same", "base/other", "base/long"].map(inode);

        let mut kept = RetainedFile::default();
        for (name, text) in [
            ("base/same", "12345678"),
            ("base/other", "1234xx78"),
            ("base/long", "1234"),
            ("base/link", "linked"),
            ("base/twice", "1234xx78"),
            ("base/new", "new"),
        ] {
            let mut over = ReplacedFile::open(&at(name), None).unwrap();
            for some in text.as_bytes().chunks(4) {
                over.put(some).unwrap();
            }
            over.end(&mut kept).unwrap();
        }
        let folders = ["", "base", "global", "pg_tblspc"].map(PathBuf::from).into();
        sweep(root.path(), &folders, &kept).unwrap();
        let text = |name: &str| fs::read_to_string(at(name)).unwrap();
        assert_eq!((text("base/same"), text("base/other")), ("12345678".into(), "1234xx78".into()));
        assert_eq!((text("base/long"), text("base/new")), ("1234".into(), "new".into()));
        assert_eq!(["base/same", "base/other", "base/long"].map(inode), before);
        assert_eq!(kept.bytes, 8 + 4 + 4);
        assert_eq!(fs::read_to_string(outside.path()).unwrap(), "12345678");
        assert!(!at("base/extra").exists() && !at("base/gone").exists() && !at("pg_tblspc/1").exists());
        assert!(at("pg_wal.before-r1/log").exists() && at(MARKER).exists());
        assert!(Path::new("/etc/passwd").exists());
    }

    #[test]
    fn before_anything_else_no_server_starts_there_and_its_log_is_safe() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["global", "pg_wal/archive_status"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let mut control = 7_u64.to_ne_bytes().to_vec();
        control.extend(1300_u32.to_ne_bytes());
        fs::write(root.path().join(CONTROL), control).unwrap();
        fs::write(root.path().join("pg_wal/archive_status/000000010000000000000001.ready"), "").unwrap();
        fs::write(root.path().join(PROCESS), format!("{}\n", std::process::id())).unwrap();
        let standing = ReuseState::look(root.path()).unwrap().unwrap();
        let process_file = Some(root.path().join(PROCESS));
        assert_eq!(standing, ReuseState { cluster: SystemIdentifier(7), process_file, unarchived: 1 });
        assert_eq!(reusable_bytes(root.path()).unwrap(), 12);
        let marker = DirectoryMarker {
            run: "r1".to_owned(),
            backup: String::new(),
            what: String::new(),
            changes: Some(SystemIdentifier(7)),
        };
        let hold = mark(root.path(), &marker, None).unwrap();
        assert!(hold.is_some() && mark(root.path(), &marker, None).unwrap().is_none());
        drop(hold);
        // As an earlier run left it: one that says less is said anew.
        fs::write(root.path().join(MARKER), "").unwrap();
        assert!(mark(root.path(), &marker, None).unwrap().is_some());
        assert!(fs::read_to_string(root.path().join(MARKER)).unwrap().contains("r1"));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 4);
        let aside = begin(root.path(), "r1").unwrap().unwrap();
        assert!(preserves_wal(root.path()));
        assert!(aside.join("archive_status/000000010000000000000001.ready").exists());
        assert_eq!(ReuseState::look(root.path()).unwrap(), None);
        assert_eq!(begin(root.path(), "r2").unwrap(), None);
    }

    #[test]
    fn log_on_a_volume_of_its_own_stays_there() {
        let root = tempfile::tempdir().unwrap();
        let (data, volume) = (root.path().join("data"), root.path().join("volume"));
        fs::create_dir_all(data.join("global")).unwrap();
        fs::create_dir_all(volume.join("archive_status")).unwrap();
        fs::write(data.join(CONTROL), "").unwrap();
        fs::write(volume.join("000000010000000000000001"), "log").unwrap();
        std::os::unix::fs::symlink(&volume, data.join(LOG)).unwrap();
        let volume = volume.canonicalize().unwrap();
        assert_eq!(wal_volume(&data), Some(volume.clone()));
        let aside = begin(&data, "r1").unwrap().unwrap();
        assert_eq!(aside, volume.join("pg_wal.before-r1"));
        assert_eq!(
            fs::read_to_string(data.join("pg_wal.before-r1/000000010000000000000001")).unwrap(),
            "log"
        );
        assert!(preserves_wal(&data) && is_partial(&data));
        assert_eq!(fs::read_dir(&volume).unwrap().count(), 1);
        // Where the next run goes on, it still knows.
        fs::write(data.join(MARKER), "").unwrap();
        assert_eq!(wal_volume(&data), Some(volume));
    }
}
