use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode};

use super::connect::open_live;
use super::{SqliteError, SqliteHeader};
use crate::platform::{CancellationToken, free_space};

/// How long SQLite itself waits for a lock before it returns, so that a wait can be interrupted.
const BUSY: Duration = Duration::from_millis(250);
/// Pages between two looks at whether the run was interrupted.
const PAGES: i32 = 4096;
/// Room that is left beside a copy.
const MARGIN: u64 = 16 << 20;

/// An open read transaction: the state of the database at one point in time.
pub(super) struct Snapshot {
    connection: Connection,
    path: PathBuf,
    page_size: u64,
    pages: u64,
}

impl Snapshot {
    /// Begins to read; `None` where a writer holds the lock. Blocks for a fraction of a second.
    pub(super) fn begin(path: &Path, header: SqliteHeader) -> Result<Option<Self>, SqliteError> {
        let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) if header.is_wal => {
                SqliteError::SharedMemory(path.to_owned())
            }
            _ => SqliteError::of("read", path, source),
        };
        let connection = open_live(path, header).map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        let number = |pragma: &str| -> rusqlite::Result<u64> {
            let value = connection.query_row(pragma, [], |row| row.get::<_, i64>(0))?;
            Ok(u64::try_from(value).unwrap_or_default())
        };
        let counted = (|| {
            connection.execute_batch("BEGIN")?;
            // What begins to read, and takes the lock.
            number("SELECT count(*) FROM sqlite_schema")?;
            Ok((number("PRAGMA page_size")?, number("PRAGMA page_count")?))
        })();
        match counted {
            Ok((page_size, pages)) => Ok(Some(Self { connection, path: path.to_owned(), page_size, pages })),
            Err(error) if is_busy(&error) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.page_size * self.pages
    }

    /// Copies it page by page into a new file. The transaction is held all the while, so that no write of another
    /// connection makes the copy begin again.
    pub(super) fn copy_to(self, to: &Path, cancel: &CancellationToken) -> Result<(), SqliteError> {
        let directory = to.parent().unwrap_or(Path::new("/"));
        let free = free_space(directory)
            .map_err(|source| SqliteError::Read { path: directory.to_owned(), source })?;
        if free < self.bytes().saturating_add(MARGIN) {
            let directory = directory.to_owned();
            return Err(SqliteError::NoSpace { directory, free, needed: self.bytes() });
        }
        let written = |source| SqliteError::Query { doing: "write the copy", path: to.to_owned(), source };
        let copied = |source| SqliteError::of("copy", &self.path, source);
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
        drop(created.map_err(|source| SqliteError::Write { path: to.to_owned(), source })?);
        let mut copy = Connection::open(to).map_err(written)?;
        // A copy that was not completed is removed: it needs no journal.
        copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").map_err(written)?;
        let backup = Backup::new(&self.connection, &mut copy).map_err(copied)?;
        loop {
            if cancel.is_cancelled() {
                return Err(SqliteError::Interrupted);
            }
            match backup.step(PAGES).map_err(copied)? {
                StepResult::Done => return Ok(()),
                StepResult::Busy | StepResult::Locked => std::thread::sleep(BUSY / 10),
                _ => {}
            }
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
