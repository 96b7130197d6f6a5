//! What a host keeps of a backup for the next incremental one: the stored copy is encrypted, and this host cannot read it.

use std::io;
use std::path::{Path, PathBuf};

/// Used until its backup is stored.
const UNFINISHED: &str = "unfinished";

/// Returns where it is written until its backup is committed.
pub fn unfinished(path: &Path) -> PathBuf {
    path.with_extension(UNFINISHED)
}

/// Gives it its name once the backup is committed: the next one is based on it.
pub fn publish(path: &Path) -> io::Result<()> {
    std::fs::rename(unfinished(path), path)
}
