use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::StreamError;
use crate::model::{Segment, SegmentSize, SystemIdentifier, WalName};
use crate::postgres::SEGMENT_HEADER;
use crate::wal::WalFile;
use crate::wal::flush_history::LONGEST_PIECE;

/// Larger than any page: the WAL ends at a block of zeros.
const BLOCK: usize = 64 << 10;

/// The subdirectory of received files that no receiver continues. They only wait to be archived.
const ASIDE: &str = "aside";

/// The directory that a receiver writes to.
pub(super) struct Directory {
    pub(super) path: PathBuf,
    /// Held while files are removed from it.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Locked as long as this exists.
    _lock: File,
}

/// The files to archive.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    /// Complete files, history files first, then in their order.
    pub(super) whole: Vec<WalFile>,
    /// The file that a receiver continues from, which has to stay.
    pub(super) newest: Option<WalName>,
    /// The file that is being written.
    pub(super) current: Option<WalFile>,
    /// Beginnings of segments that will never be complete here.
    pub(super) ended: Vec<WalFile>,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, StreamError> {
        let failed = |source| StreamError::Prepare { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let lock = File::create(path.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(StreamError::Taken(path.to_owned())),
            Err(std::fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
        let directory = Self { path: path.to_owned(), turn: tokio::sync::Mutex::default(), _lock: lock };
        directory.clear().map_err(failed)?;
        Ok(directory)
    }

    /// Deletes partial segments that were being uploaded when a stream was killed.
    fn clear(&self) -> io::Result<()> {
        for file in files_in(&self.path)?.into_iter().chain(self.aside()?) {
            if matches!(file.name, WalName::Piece { .. }) {
                std::fs::remove_file(file.path)?;
            }
        }
        Ok(())
    }

    pub(super) fn read(&self) -> io::Result<Received> {
        let mut received = sorted(files_in(&self.path)?);
        for file in self.aside()? {
            match file.name {
                WalName::Segment(_) => received.whole.push(file),
                WalName::Partial(_) => received.ended.push(file),
                _ => {}
            }
        }
        Ok(received)
    }

    /// Returns the segment that a receiver would request first; `None` where it begins at its slot's
    /// position.
    pub(super) fn next(&self, size: SegmentSize) -> io::Result<Option<Segment>> {
        Ok(match self.read()?.newest {
            Some(WalName::Segment(segment)) => segment.after(1, size),
            Some(WalName::Partial(segment)) => Some(segment),
            _ => None,
        })
    }

    /// Sets everything aside that a receiver would continue from, so that it begins at its slot's position.
    /// The files are still archived. No receiver may be running.
    pub(super) fn set_aside(&self) -> io::Result<()> {
        for file in files_in(&self.path)? {
            match file.name {
                // Nothing was written to it yet.
                WalName::Partial(_) if end_of_log(&mut File::open(&file.path)?, 0)? == 0 => {
                    std::fs::remove_file(file.path)?;
                }
                WalName::Segment(_) | WalName::Partial(_) => {
                    std::fs::rename(&file.path, self.place_aside(file.name)?)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns a path without an existing file: files set aside before may still wait to be archived.
    fn place_aside(&self, name: WalName) -> io::Result<PathBuf> {
        let mut folder = self.path.join(ASIDE);
        while folder.join(name.to_string()).try_exists()? {
            folder.push(ASIDE);
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(folder.join(name.to_string()))
    }

    /// Returns everything that was set aside, earlier files first.
    fn aside(&self) -> io::Result<Vec<WalFile>> {
        let (mut folder, mut files) = (self.path.join(ASIDE), vec![]);
        while folder.is_dir() {
            files.extend(files_in(&folder)?);
            folder.push(ASIDE);
        }
        Ok(files)
    }

    /// Extends files of a killed receiver to their full length: it fills them with zeros before it writes any
    /// WAL, and never continues a short one. No receiver may be running.
    pub(super) fn mend(&self, size: SegmentSize) -> io::Result<()> {
        if let Some(file) = self.read()?.current {
            let length = file.path.metadata()?.len();
            if (1..size.bytes()).contains(&length) {
                File::options().write(true).open(&file.path)?.set_len(size.bytes())?;
            }
        }
        Ok(())
    }

    /// Returns the system identifier of its WAL; `None` where no file has it.
    pub(super) fn cluster(&self) -> Option<SystemIdentifier> {
        let received = self.read().ok()?;
        let files = received.whole.iter().chain(&received.current).chain(&received.ended);
        files.filter_map(|file| file.whose().ok()).map(|whose| whose.cluster).next()
    }
}

/// Returns no files where the folder does not exist.
fn files_in(folder: &Path) -> io::Result<Vec<WalFile>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let mut files = vec![];
    for entry in entries {
        files.extend(WalFile::at(&entry?.path()));
    }
    Ok(files)
}

fn sorted(files: Vec<WalFile>) -> Received {
    let segment = |file: &WalFile| match file.name {
        WalName::Segment(segment) | WalName::Partial(segment) => Some(segment),
        _ => None,
    };
    // A receiver continues at the newest of them.
    let newest = files
        .iter()
        .filter(|file| segment(file).is_some())
        .max_by_key(|file| (segment(file), matches!(file.name, WalName::Partial(_))));
    let newest = newest.map(|file| file.name);
    let mut received = Received { newest, ..Received::default() };
    for file in files {
        match file.name {
            // One of an abandoned timeline will not grow any more.
            WalName::Partial(_) if Some(file.name) == newest => received.current = Some(file),
            WalName::Segment(_) | WalName::Partial(_) | WalName::History(_) => received.whole.push(file),
            WalName::Piece { .. } | WalName::BackupLabel { .. } => {}
        }
    }
    received.whole.sort_by_key(|file| (!matches!(file.name, WalName::History(_)), file.name.to_string()));
    received
}

/// Returns where the WAL ends in a file that is being written, from `shipped` on: after its last byte that is
/// not zero. It is written sequentially, and was zeros before.
pub(super) fn end_of_log(file: &mut File, shipped: u32) -> io::Result<u32> {
    let mut buffer = vec![0; BLOCK];
    let mut at = u64::from(shipped) / BLOCK as u64 * BLOCK as u64;
    let mut end = u64::from(shipped);
    file.seek(SeekFrom::Start(at))?;
    loop {
        let mut filled = 0;
        while filled < BLOCK {
            match file.read(&mut buffer[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        match buffer[..filled].iter().rposition(|byte| *byte != 0) {
            Some(last) => end = end.max(at + last as u64 + 1),
            None => break,
        }
        at += filled as u64;
    }
    Ok(u32::try_from(end).unwrap_or(u32::MAX))
}

/// Returns the next range of `current` to upload; `None` where there is nothing new, or no header yet.
pub(super) fn next_piece(current: &WalFile, shipped: u32) -> io::Result<Option<(Segment, u32, u32)>> {
    let WalName::Partial(segment) = current.name else { return Ok(None) };
    let end = end_of_log(&mut File::open(&current.path)?, shipped)?;
    let has_header = end as usize >= SEGMENT_HEADER;
    Ok((has_header && end > shipped)
        .then(|| (segment, shipped, end.min(shipped.saturating_add(LONGEST_PIECE)))))
}

/// Copies the bytes of a partial segment to a file of its name.
pub(super) fn cut_piece(current: &WalFile, segment: Segment, begin: u32, end: u32) -> io::Result<PathBuf> {
    let name = WalName::Piece { segment, begin, end };
    let path = current.path.with_file_name(name.to_string());
    let mut from = File::open(&current.path)?;
    from.seek(SeekFrom::Start(begin.into()))?;
    let length = u64::from(end - begin);
    let copied = io::copy(&mut from.take(length), &mut File::create(&path)?)?;
    if copied == length { Ok(path) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn file(name: &str) -> WalFile {
        WalFile::at(Path::new(name)).unwrap()
    }

    #[test]
    fn the_newest_stays_and_a_partial_of_a_timeline_that_was_left_is_whole() {
        let names = [
            "00000002.history",
            "000000010000000000000003.partial",
            "000000010000000000000002",
            "000000020000000000000003.partial",
            "000000010000000000000003.00000000-00000100.partial",
        ];
        let received = sorted(names.map(file).into());
        let whole: Vec<_> = received.whole.iter().map(|file| file.name.to_string()).collect();
        assert_eq!(whole, [names[0], names[2], names[1]]);
        assert_eq!(received.current, Some(file(names[3])));
        let received = sorted([names[2]].map(file).into());
        assert_eq!((received.newest, received.current), (Some(file(names[2]).name), None));
    }

    #[test]
    fn pieces_follow_each_other_to_where_the_log_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("000000010000000000000003.partial");
        std::fs::write(&path, vec![0; 1 << 20]).unwrap();
        let current = WalFile::at(&path).unwrap();
        assert_eq!(next_piece(&current, 0).unwrap(), None);
        let write = |at: u64, bytes: &[u8]| {
            let mut file = File::options().write(true).open(&path).unwrap();
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(bytes).unwrap();
        };
        write(0, &[7; 100_000]);
        let (segment, begin, end) = next_piece(&current, 0).unwrap().unwrap();
        assert_eq!((begin, end), (0, 100_000));
        let piece = cut_piece(&current, segment, begin, end).unwrap();
        assert!(piece.ends_with("000000010000000000000003.00000000-000186A0.partial"));
        assert_eq!(std::fs::read(piece).unwrap(), [7; 100_000]);
        assert_eq!(next_piece(&current, end).unwrap(), None);
        write(100_000, &[0, 0, 9]);
        assert_eq!(next_piece(&current, end).unwrap(), Some((segment, 100_000, 100_003)));
        write(0, &vec![1; 1 << 20]);
        assert_eq!(next_piece(&current, end).unwrap(), Some((segment, 100_000, 1 << 20)));
    }

    #[test]
    fn what_is_put_aside_is_archived_and_not_gone_on_from() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        let size = SegmentSize::DEFAULT;
        let next = |expected: Option<&str>| {
            assert_eq!(directory.next(size).unwrap().map(|segment| segment.to_string()).as_deref(), expected);
        };
        next(None);
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("00000002.history", b"1\t0/3000000\n");
        write("000000010000000000000002", &[7; 64]);
        next(Some("000000010000000000000003"));
        write("000000010000000000000003.partial", &[7, 0]);
        next(Some("000000010000000000000003"));
        directory.set_aside().unwrap();
        next(None);
        let names = |files: &[WalFile]| files.iter().map(|file| file.name.to_string()).collect::<Vec<_>>();
        let received = directory.read().unwrap();
        assert_eq!(names(&received.whole), ["00000002.history", "000000010000000000000002"]);
        assert_eq!(names(&received.ended), ["000000010000000000000003.partial"]);
        assert_eq!((received.current, received.newest), (None, None));
        // Another time, with what nobody wrote to.
        write("000000010000000000000007.partial", &[0; 64]);
        next(Some("000000010000000000000007"));
        directory.set_aside().unwrap();
        assert_eq!(names(&directory.read().unwrap().ended), ["000000010000000000000003.partial"]);
        next(None);
        // Another of a name that still waits does not take its place.
        write("000000010000000000000003.partial", &[8, 8]);
        directory.set_aside().unwrap();
        let ended = directory.read().unwrap().ended;
        let bytes: Vec<_> = ended.iter().map(|file| std::fs::read(&file.path).unwrap()).collect();
        assert_eq!(bytes, [vec![7, 0], vec![8, 8]]);
    }

    #[test]
    fn a_directory_is_one_process_s() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let first = Directory::open(&path).unwrap();
        assert!(matches!(Directory::open(&path), Err(StreamError::Taken(_))));
        drop(first);
        let (piece, partial) = (
            path.join("000000010000000000000003.00000000-00000100.partial"),
            path.join("000000010000000000000003.partial"),
        );
        for path in [&piece, &partial] {
            std::fs::write(path, "").unwrap();
        }
        let directory = Directory::open(&path).unwrap();
        std::fs::write(&partial, vec![0; 70_000]).unwrap();
        directory.mend(SegmentSize::DEFAULT).unwrap();
        assert_eq!(partial.metadata().unwrap().len(), SegmentSize::DEFAULT.bytes());
        assert!(!piece.exists() && partial.exists());
    }
}
