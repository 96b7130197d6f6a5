//! Resources and recovery points are directories.

use std::path::{Path, PathBuf};

use super::world::World;
use crate::support::Outcome;

impl World {
    pub(crate) fn add_resource(&mut self, region: &str, arn: &str) -> PathBuf {
        let name: String =
            arn.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        let path = self.root.join("resources").join(region).join(name);
        // A directory that cannot be made shows where the test writes to it.
        let _made = std::fs::create_dir_all(&path);
        self.resources.insert(arn.to_owned(), path.clone());
        path
    }
}

/// Every file below it that is not there yet; those that were are counted.
pub(super) fn copy(from: &Path, to: &Path, without: &[String]) -> Outcome<usize> {
    std::fs::create_dir_all(to)?;
    let mut skipped = 0;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            skipped += copy(&entry.path(), &target, without)?;
        } else if target.exists() {
            skipped += 1;
        } else if !without.iter().any(|key| entry.file_name() == key.as_str()) {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(skipped)
}

pub(super) fn size(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}
