//! The SQLite databases in a directory.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const MOST_DEEP: usize = 4;
const MOST_ENTRIES: usize = 20_000;

/// Returns the SQLite databases below `directory`, sorted; none where it cannot be read. Looks at the first entries only:
/// whoever reads the policy adds what is deeper.
pub(super) fn databases(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut seen = 0;
    let mut next = vec![(directory.to_owned(), 0)];
    while let Some((directory, depth)) = next.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            seen += 1;
            if seen > MOST_ENTRIES {
                next.clear();
                break;
            }
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth < MOST_DEEP {
                next.push((entry.path(), depth + 1));
            } else if kind.is_file() && is_database(&entry.path()) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

fn is_database(path: &Path) -> bool {
    let mut magic = [0; 16];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *MAGIC
}
