//! Facts of this host for the record.

use std::path::Path;

use super::Environment;
use crate::model::Sha256Hex;
use crate::platform::{available_memory, free_space};

/// Returns what is known before anything is started.
pub(super) fn environment(root: &Path) -> Environment {
    Environment {
        operating_system: operating_system(),
        processors: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
        memory_bytes: available_memory(),
        disk_free_bytes: free_space(root).ok(),
        ..Environment::default()
    }
}

fn operating_system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| std::env::consts::OS.to_owned(), |name| name.trim_matches('"').to_owned())
}

/// Returns the digest of a file; `None` where it cannot be read.
pub(super) fn digest_of(path: &Path) -> Option<Sha256Hex> {
    std::fs::read(path).ok().map(|bytes| Sha256Hex::digest(&bytes))
}
