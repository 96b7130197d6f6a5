use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::model::{SegmentSize, WalName};
use crate::platform::free_space;
use crate::wal::WalFile;

/// A file with a `.ready` file: complete and waiting to be archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    pub file: WalFile,
    /// The time of the `.ready` file.
    pub since: DateTime<Utc>,
}

/// The files that wait to be archived, in the order to push them: history files first, since they are small
/// and nothing of their timeline is usable without them, then the WAL in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    pub files: Vec<Ready>,
    /// Free bytes on the file system of `pg_wal`.
    pub free: u64,
    pub segment_size: SegmentSize,
}

impl Backlog {
    /// Reads `archive_status`. `pg_wal` is the folder of the WAL.
    pub fn read(pg_wal: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(status_folder(pg_wal))? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".ready")) else { continue };
            let Ok(name) = name.parse::<WalName>() else { continue };
            // A `.ready` file may disappear meanwhile: its file was archived.
            let Ok(since) = entry.metadata().and_then(|note| note.modified()) else { continue };
            let file = WalFile { path: pg_wal.join(name.to_string()), name };
            files.push(Ready { file, since: since.into() });
        }
        files.sort_by_key(|ready| {
            let is_history = matches!(ready.file.name, WalName::History(_));
            (!is_history, ready.file.name.to_string())
        });
        let mut sizes = files.iter().filter(|ready| is_segment(ready)).filter_map(|ready| {
            let size = std::fs::metadata(&ready.file.path).ok()?.len();
            SegmentSize::new(size).ok()
        });
        let segment_size = sizes.next().unwrap_or(SegmentSize::DEFAULT);
        Ok(Self { files, free: free_space(pg_wal)?, segment_size })
    }

    pub fn oldest(&self) -> Option<DateTime<Utc>> {
        self.files.iter().map(|ready| ready.since).min()
    }

    fn segments(&self) -> u64 {
        self.files.iter().filter(|ready| is_segment(ready)).count() as u64
    }

    /// Returns the bytes that cannot be freed before they are archived.
    pub fn bytes(&self) -> u64 {
        self.segments() * self.segment_size.bytes()
    }

    /// Estimates how long the disk lasts if WAL continues to be written at the rate of the backlog, and
    /// nothing is archived. `None`: the backlog is too small to tell.
    pub fn disk_lasts(&self) -> Option<Duration> {
        let newest = self.files.iter().map(|ready| ready.since).max()?;
        let span = (newest - self.oldest()?).to_std().ok().filter(|span| !span.is_zero())?;
        let between = self.segments().checked_sub(1).filter(|count| *count > 0)?;
        let written = between * self.segment_size.bytes();
        let seconds = self.free as f64 / written as f64 * span.as_secs_f64();
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }
}

fn is_segment(ready: &Ready) -> bool {
    matches!(ready.file.name, WalName::Segment(_))
}

fn status_folder(pg_wal: &Path) -> PathBuf {
    pg_wal.join("archive_status")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_told_in_the_order_it_should_go_and_how_long_the_disk_lasts() {
        let pg_wal = tempfile::tempdir().unwrap();
        let notes = pg_wal.path().join("archive_status");
        std::fs::create_dir(&notes).unwrap();
        let begun = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (n, name) in [
            "000000010000000000000003.ready",
            "000000010000000000000001.ready",
            "00000002.history.ready",
            "000000010000000000000002.ready",
            "000000010000000000000000.done",
            "nonsense.ready",
        ]
        .iter()
        .enumerate()
        {
            let note = std::fs::File::create(notes.join(name)).unwrap();
            note.set_modified(begun + Duration::from_secs(10 * n as u64)).unwrap();
        }
        let mut backlog = Backlog::read(pg_wal.path()).unwrap();
        let names: Vec<_> = backlog.files.iter().map(|ready| ready.file.name.to_string()).collect();
        assert_eq!(
            names,
            [
                "00000002.history",
                "000000010000000000000001",
                "000000010000000000000002",
                "000000010000000000000003"
            ]
        );
        let size = SegmentSize::DEFAULT;
        assert_eq!(backlog.bytes(), 3 * size.bytes());
        // Two segments in thirty seconds.
        backlog.free = 20 * size.bytes();
        assert_eq!(backlog.disk_lasts(), Some(Duration::from_secs(300)));
        backlog.files.truncate(2);
        assert_eq!(backlog.disk_lasts(), None);
    }
}
