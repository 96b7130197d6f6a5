use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{ErrorCode, ffi};
use thiserror::Error;

use crate::text::{format_duration, format_size};

/// Why a SQLite database could not be read. Names neither tables nor data: the journal has these texts in clear.
#[derive(Debug, Error)]
pub enum SqliteError {
    #[error("failed to read `{}`", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to write `{}`", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("`{}` is {what}: name the database file", .path.display())]
    NoFile { path: PathBuf, what: &'static str },
    #[error("`{}` is empty: it is no SQLite database", .0.display())]
    Empty(PathBuf),
    #[error("`{}` is no SQLite database, or an encrypted one", .0.display())]
    NotADatabase(PathBuf),
    #[error(
        "`{}` is in WAL mode, and its `-shm` file can be neither opened nor created: run drctl as a user that may write to that directory, or while the application has the database open",
        .0.display()
    )]
    SharedMemory(PathBuf),
    #[error(
        "`{}` has a hot journal: a process ended while it wrote, and what it wrote has to be rolled back first, which the application does when it opens the database",
        .0.display()
    )]
    HotJournal(PathBuf),
    #[error(
        "`{}` was locked for {}: another process writes without a pause; raise `lock_wait`, or pause it",
        .path.display(), format_duration(*.waited)
    )]
    Locked { path: PathBuf, waited: Duration },
    #[error(
        "the database `{}` is damaged (`PRAGMA integrity_check`, {findings}): restore it from an earlier backup, or recover what is readable (`sqlite3 FILE .recover`)",
        .path.display()
    )]
    Damaged { path: PathBuf, findings: String },
    #[error(
        "a copy of {} does not fit into `{}`, which has {} free: make room, or name another directory by `TMPDIR`",
        format_size(*.needed), .directory.display(), format_size(*.free)
    )]
    NoSpace { directory: PathBuf, free: u64, needed: u64 },
    #[error("failed to {doing} `{}`", .path.display())]
    Query { doing: &'static str, path: PathBuf, source: rusqlite::Error },
    #[error("the thread that reads the database has stopped")]
    Stopped,
    #[error("interrupted")]
    Interrupted,
}

impl SqliteError {
    /// Returns what is wrong with a database, by what SQLite says.
    pub(super) fn of(doing: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let extended = source.sqlite_error().map(|error| error.extended_code);
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotADatabase(path),
            Some(ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { path, findings: "it cannot be read to its end".to_owned() }
            }
            _ if extended == Some(ffi::SQLITE_READONLY_ROLLBACK) => Self::HotJournal(path),
            _ => Self::Query { doing, path, source },
        }
    }
}
