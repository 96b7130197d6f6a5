//! Where clusters, repositories and scratch of tests are: in memory where there is room, on the disk otherwise.
//!
//! Half of the suite's time would otherwise be the copying of data directories on a disk.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use drctl::platform::{available_memory, free_space};
use tempfile::TempDir;

/// Names another place, e.g. a disk that is to be tried.
const SETTING: &str = "DRCTL_TEST_SCRATCH";
const IN_MEMORY: &str = "/dev/shm";
const ON_DISK: &str = "/tmp";

/// What has to stay free: several tests run at a time, and each may fill some gigabytes.
const ROOM: u64 = 6 << 30;

/// A folder of its own for a test, which nobody else may enter.
pub(crate) fn folder() -> std::io::Result<TempDir> {
    tempfile::tempdir_in(root())
}

/// The same, which other users may enter: a server runs as one.
pub(crate) fn open_folder(prefix: &str) -> std::io::Result<TempDir> {
    tempfile::Builder::new().prefix(prefix).permissions(Permissions::from_mode(0o755)).tempdir_in(root())
}

/// The folder that the others are made in, which every user may write to.
pub(crate) fn root() -> PathBuf {
    if let Some(named) = std::env::var_os(SETTING) {
        return named.into();
    }
    let has_room = |bytes: Option<u64>| bytes.is_some_and(|bytes| bytes > ROOM);
    let in_memory = has_room(free_space(Path::new(IN_MEMORY)).ok()) && has_room(available_memory());
    if in_memory { IN_MEMORY.into() } else { ON_DISK.into() }
}
