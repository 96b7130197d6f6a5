//! The files that are backed up: uploads, and many small files.

use std::fs;
use std::path::Path;

use crate::support::Outcome;

const UPLOADS: u64 = 1000;
const UPLOAD_SIZE: usize = 1_000_000;
const SMALL: u64 = 200_000;
const IN_FOLDER: u64 = 500;
/// One of so many is written again before the second backup.
const CHANGED: u64 = 100;

/// Half of it text, so that compressing has something to do.
fn bytes(size: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes: Vec<u8> = (0..size / 2).map(|_| random.u8(..)).collect();
    let line = format!("line {seed} of a file that is like others\n");
    bytes.extend(line.bytes().cycle().take(size - size / 2));
    bytes
}

fn write(folder: &Path, n: u64, seed: u64, divisor: u64) -> Outcome<()> {
    if n < UPLOADS / divisor {
        return Ok(fs::write(folder.join(format!("uploads/{n:06}")), bytes(UPLOAD_SIZE, seed))?);
    }
    let size = 200 + usize::try_from(seed % 1800)?;
    let path = folder.join(format!("small/{:04}/{n:06}", n / IN_FOLDER));
    Ok(fs::write(path, bytes(size, seed))?)
}

pub(crate) fn count(divisor: u64) -> u64 {
    (UPLOADS + SMALL) / divisor
}

/// Writes them all.
pub(crate) fn fill(folder: &Path, divisor: u64) -> Outcome<()> {
    fs::create_dir_all(folder.join("uploads"))?;
    for n in 0..=count(divisor) / IN_FOLDER {
        fs::create_dir_all(folder.join(format!("small/{n:04}")))?;
    }
    (0..count(divisor)).try_for_each(|n| write(folder, n, n, divisor))
}

/// Writes some of them again.
pub(crate) fn change(folder: &Path, divisor: u64) -> Outcome<()> {
    let seed = fastrand::u64(1_000_000..);
    let mut changed = (0..count(divisor)).step_by(usize::try_from(CHANGED)?);
    changed.try_for_each(|n| write(folder, n, seed.wrapping_add(n), divisor))
}

/// Returns how many files are below a folder.
pub(crate) fn below(folder: &Path) -> Outcome<u64> {
    let mut files = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files += if entry.file_type()?.is_dir() { below(&entry.path())? } else { 1 };
    }
    Ok(files)
}
