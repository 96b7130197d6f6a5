//! Whether the mtimes of the files in `archive_status` are those of the server that created them.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A server writes `postmaster.pid` when it starts, and reports there a moment later that it is ready.
const STARTING: Duration = Duration::from_secs(120);

/// The files of a server that does not write WAL of its own.
const FOLLOWS: [&str; 2] = ["standby.signal", "recovery.signal"];

/// Returns whether `pg_wal` is that of the server that writes the WAL. Copying a folder changes its mtimes,
/// and a `.ready` file would date its segment to the time of the copy. A standby's status files have the time
/// at which it received a file, which may be hours later.
///
/// The evidence is the server's `postmaster.pid`, which has the path of the data directory and the server's
/// start time. It remains after a server was killed. Without it the result is false.
pub(super) fn archive_status_is_authoritative(pg_wal: &Path) -> bool {
    // The path that PostgreSQL writes, relative to the data directory, so that a link is not followed.
    let data = match pg_wal.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return false,
    };
    if FOLLOWS.iter().any(|signal| data.join(signal).exists()) {
        return false;
    }
    let file = data.join("postmaster.pid");
    let (Ok(text), Ok(metadata)) = (std::fs::read_to_string(&file), std::fs::metadata(&file)) else {
        return false;
    };
    let mut lines = text.lines().skip(1);
    let (Some(named), Some(started)) = (lines.next(), lines.next()) else { return false };
    is_same(Path::new(named), data) || was_written_at_start(started, &metadata)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    place(one).is_some_and(|one| place(other) == Some(one))
}

/// Seen from elsewhere, as from a container next to the server's, its folder has another path.
fn was_written_at_start(started: &str, file: &Metadata) -> bool {
    let (Ok(started), Ok(written)) = (started.trim().parse(), file.modified()) else { return false };
    let started: SystemTime = UNIX_EPOCH + Duration::from_secs(started);
    let apart = written.duration_since(started).unwrap_or_else(|earlier| earlier.duration());
    apart <= STARTING
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One whose process file says that the server was started so many seconds before it was written.
    fn data_directory(named: Option<&Path>, seconds: u64) -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        let log = data.path().join("pg_wal");
        std::fs::create_dir(&log).unwrap();
        let made = log.metadata().unwrap().modified().unwrap();
        let started = made.duration_since(UNIX_EPOCH).unwrap().as_secs() - seconds;
        let named = named.unwrap_or(data.path()).display();
        std::fs::write(data.path().join("postmaster.pid"), format!("77\n{named}\n{started}\n5432\n"))
            .unwrap();
        data
    }

    #[test]
    fn a_copy_is_not_the_servers_own() {
        let is_own = |data: &Path| archive_status_is_authoritative(&data.join("pg_wal"));
        let own = data_directory(None, 5000);
        assert!(is_own(own.path()));
        let from_beside = data_directory(Some(Path::new("/nowhere/else")), 0);
        assert!(is_own(from_beside.path()));
        std::fs::write(own.path().join("standby.signal"), "").unwrap();
        assert!(!is_own(own.path()));
        std::fs::remove_file(own.path().join("standby.signal")).unwrap();
        let copy = data_directory(Some(own.path()), 5000);
        assert!(!is_own(copy.path()));
        // Only the log was copied.
        std::fs::remove_file(own.path().join("postmaster.pid")).unwrap();
        assert!(!is_own(own.path()));
        assert!(!archive_status_is_authoritative(Path::new("/")));
    }
}
