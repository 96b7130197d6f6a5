use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::SqliteError;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const HEADER: usize = 100;

/// What the first page of a database file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqliteHeader {
    pub page_size: u32,
    /// Whether it is in WAL mode.
    pub is_wal: bool,
}

impl SqliteHeader {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let is_header = bytes.len() == HEADER && bytes.starts_with(MAGIC);
        let page_size = match u16::from_be_bytes([*bytes.get(16)?, *bytes.get(17)?]) {
            1 => 65_536,
            size => u32::from(size),
        };
        (is_header && page_size.is_power_of_two() && page_size >= 512)
            .then(|| Self { page_size, is_wal: bytes[18] == 2 || bytes[19] == 2 })
    }
}

/// Returns the header of a file that is a SQLite database, or why it is none. Before a connection is opened to it only.
pub fn check_file(path: &Path) -> Result<SqliteHeader, SqliteError> {
    let read = |source| SqliteError::Read { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(read)?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a directory" } else { "no regular file" };
        return Err(SqliteError::NoFile { path: path.to_owned(), what });
    }
    if metadata.len() == 0 {
        return Err(SqliteError::Empty(path.to_owned()));
    }
    let mut header = Vec::with_capacity(HEADER);
    File::open(path).map_err(read)?.take(HEADER as u64).read_to_end(&mut header).map_err(read)?;
    SqliteHeader::parse(&header).ok_or_else(|| SqliteError::NotADatabase(path.to_owned()))
}

/// Opens a database that other processes use, to read it.
///
/// In WAL mode a reader may have to create the `-wal` and `-shm`. Only a connection that may write removes them again when it
/// is the last one, and files that drctl's user left would keep the application out: so it may write where there is no
/// `-wal` yet, and is read-only otherwise.
pub fn open_live(path: &Path, header: SqliteHeader) -> rusqlite::Result<Connection> {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let creates = header.is_wal && fs::symlink_metadata(&wal).is_err();
    let access = if creates { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.execute_batch("PRAGMA query_only = ON")?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_database_is_refused_by_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| check_file(path).unwrap_err().to_string();
        assert!(refused(folder.path()).contains("is a directory"));
        let path = folder.path().join("shop.db");
        assert!(refused(&path).contains("failed to read"));
        for (bytes, words) in
            [(&b""[..], "is empty"), (b"SQLite format 3", "no SQLite"), (&[7; 4096], "encrypted")]
        {
            fs::write(&path, bytes).unwrap();
            assert!(refused(&path).contains(words), "{}", refused(&path));
        }
        fs::remove_file(&path).unwrap();
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection
            .execute_batch("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; CREATE TABLE t (a)")
            .unwrap();
        drop(connection);
        assert_eq!(check_file(&path).unwrap(), SqliteHeader { page_size: 8192, is_wal: true });
    }
}
