use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use super::scratch_directory;

const PREFIX: &str = "drctl-scratch-";
/// How often another process may take a directory for an orphan while it is created.
const TRIES: usize = 5;

/// A directory for data in clear, which only this user may enter. Removed when it is dropped; one of a process that was
/// killed is removed by the next process that creates one.
#[derive(Debug)]
pub struct PrivateScratch {
    directory: TempDir,
    /// Locked while the process lives.
    _lock: File,
}

impl PrivateScratch {
    /// Creates it in the [`scratch_directory`].
    pub fn create() -> io::Result<Self> {
        Self::create_in(&scratch_directory())
    }

    fn create_in(root: &Path) -> io::Result<Self> {
        remove_orphans(root);
        for _ in 0..TRIES {
            let only_ours = fs::Permissions::from_mode(0o700);
            let directory =
                tempfile::Builder::new().prefix(PREFIX).permissions(only_ours).tempdir_in(root)?;
            if let Some(lock) = lock(directory.path()) {
                return Ok(Self { directory, _lock: lock });
            }
        }
        Err(io::Error::other("the new directory was locked by another process"))
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Locks a directory that still has its name; `None` where another process has locked it.
fn lock(directory: &Path) -> Option<File> {
    let opened = File::open(directory).ok()?;
    flock(&opened, FlockOperation::NonBlockingLockExclusive).ok()?;
    let (own, named) = (opened.metadata().ok()?, fs::symlink_metadata(directory).ok()?);
    ((own.dev(), own.ino()) == (named.dev(), named.ino()) && named.is_dir()).then_some(opened)
}

fn remove_orphans(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let is_ours = entry
            .metadata()
            .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw());
        if is_ours
            && entry.file_name().to_string_lossy().starts_with(PREFIX)
            && let Some(_locked) = lock(&entry.path())
        {
            let _left_for_the_next = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_kept_is_removed_and_what_is_used_stays() {
        let root = tempfile::tempdir().unwrap();
        let used = PrivateScratch::create_in(root.path()).unwrap();
        assert_eq!(fs::metadata(used.path()).unwrap().permissions().mode() & 0o777, 0o700);
        let orphan = root.path().join("drctl-scratch-killed");
        let other = root.path().join("other");
        for directory in [&orphan, &other] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("data"), "in clear").unwrap();
        }
        let new = PrivateScratch::create_in(root.path()).unwrap();
        assert!(!orphan.exists() && other.exists() && used.path().exists() && new.path().exists());
        let path = used.path().to_owned();
        drop(used);
        assert!(!path.exists() && new.path().exists());
    }
}
