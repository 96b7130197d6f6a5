//! The first pass: walks the paths, and writes the list that the archives are written from. In memory is only what one
//! directory has.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::changes::{Changes, Earlier, Merge};
use super::error::FilesError;
use super::patterns::Patterns;
use super::roots::Roots;
use super::scan::{Found, Walk};
use super::state;
use super::tally::{Deleted, Tally};
use crate::platform::{CancellationToken, split_name};

/// What an archive holds at most, and how many there are about at most.
const ARCHIVE: u64 = 1 << 30;
const ARCHIVES: u64 = 200;

/// What the first pass came to.
pub(super) struct Scanned {
    pub(super) list: File,
    pub(super) deleted: Deleted,
    pub(super) tally: Tally,
    /// How many bytes are to be read.
    pub(super) planned: u64,
    /// Of an increment: the directories in which something is read. They are stored with it, since extracting it by hand
    /// changes their times.
    pub(super) touched: HashSet<Vec<u8>>,
}

/// What is scanned, and what it is compared with.
pub(super) struct Scan<'s> {
    pub(super) roots: &'s Roots,
    pub(super) patterns: &'s Patterns,
    pub(super) one_file_system: bool,
    /// The kept index of the parent, and its id.
    pub(super) since: Option<(PathBuf, String)>,
    /// Where lists are written, and whether that is drctl's own directory.
    pub(super) folder: &'s Path,
    pub(super) is_own: bool,
    pub(super) cancel: &'s CancellationToken,
}

/// Returns what an archive may hold. One file comes back by reading one archive, and there are not too many of them.
pub(super) fn archive_limit(planned: u64) -> u64 {
    ARCHIVE.max(planned / ARCHIVES)
}

pub(super) fn scan(scan: &Scan<'_>) -> Result<Scanned, FilesError> {
    use std::os::unix::fs::MetadataExt as _;
    let failed = |source| FilesError::List { folder: scan.folder.to_owned(), source };
    let temporary = || tempfile::tempfile_in(scan.folder).map_err(failed);
    let earlier = match &scan.since {
        Some((path, backup)) => {
            let previous = |source| FilesError::Previous { backup: backup.clone(), source };
            let (end, lines) = state::open(path).map_err(previous)?;
            Some(Earlier::new(lines, end.begun).map_err(previous)?)
        }
        None => None,
    };
    let previous = |source| {
        let backup = scan.since.as_ref().map(|(_, backup)| backup.clone()).unwrap_or_default();
        FilesError::Previous { backup, source }
    };
    let mut merge = Merge::new(earlier);
    let mut list = BufWriter::with_capacity(128 << 10, temporary()?);
    let (mut deleted, mut tally, mut planned) = (Deleted::new(temporary()?), Tally::default(), 0_u64);
    let (mut changes, mut touched) = (Changes::default(), HashSet::new());
    let is_increment = scan.since.is_some();
    let mut write = |changes: &mut Changes| -> Result<(), FilesError> {
        for listed in changes.listed.drain(..) {
            let parent = split_name(&listed.entry.path.0).0;
            if is_increment && listed.read && !touched.contains(parent) {
                touched.insert(parent.to_vec());
            }
            planned = planned.saturating_add(listed.planned());
            serde_json::to_writer(&mut list, &listed).map_err(|error| failed(error.into()))?;
            list.write_all(b"\n").map_err(failed)?;
        }
        for path in changes.deleted.drain(..) {
            deleted.push(&path.0).map_err(failed)?;
        }
        Ok(())
    };
    let own = std::fs::metadata(scan.folder).map_err(failed)?;
    Walk {
        roots: scan.roots,
        patterns: scan.patterns,
        one_file_system: scan.one_file_system,
        own: scan.is_own.then(|| (own.dev(), own.ino())),
        cancel: scan.cancel,
        found: &mut |found: Found| {
            match &found {
                Found::Unreadable { path, error } => tally.unreadable(path, error),
                Found::Socket(path) => tally.socket(path),
                Found::OtherFileSystem => tally.other_file_systems += 1,
                Found::Entry { .. } => {}
            }
            merge.found(&found, &mut changes).map_err(previous)?;
            write(&mut changes)
        },
    }
    .run()?;
    merge.end(&mut changes).map_err(previous)?;
    write(&mut changes)?;
    let mut list = list.into_inner().map_err(|error| failed(error.into_error()))?;
    list.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(Scanned { list, deleted, tally, planned, touched })
}
