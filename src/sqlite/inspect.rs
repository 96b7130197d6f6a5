use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::SqliteError;
use crate::model::{SqliteFacts, SqliteTable};
use crate::platform::CancellationToken;
use crate::text::count;

/// How many findings of a check are read.
const FINDINGS: usize = 100;

/// What `PRAGMA integrity_check` reports of rows that do not fit the schema, and of a search index that it cannot
/// judge. A copy with these is what the application works with. (CHECK constraints are not checked in a database that is
/// opened read-only.)
const NO_DAMAGE: [&str; 2] = ["NULL value in ", "unable to validate the inverted index for "];

/// What is in a database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inspection {
    pub facts: SqliteFacts,
    /// What `PRAGMA integrity_check` found. May name tables.
    pub damage: Vec<String>,
    /// What is no damage and yet not right, without names.
    pub notices: Vec<String>,
}

impl Inspection {
    /// Returns how much is damaged, without names.
    pub fn counted_damage(&self) -> String {
        let more = if self.damage.len() >= FINDINGS { " or more" } else { "" };
        format!("{}{more}", count(self.damage.len() as u64, "finding"))
    }
}

/// Opens a database that no other process knows, without creating a file beside it.
pub fn open_copy(path: &Path) -> Result<Connection, SqliteError> {
    let opened = |source| SqliteError::of("open", path, source);
    let escaped: String = path
        .as_os_str()
        .as_bytes()
        .iter()
        .map(|byte| match byte {
            b'/' | b'.' | b'-' | b'_' => char::from(*byte).to_string(),
            byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection =
        Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags).map_err(opened)?;
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON").map_err(opened)?;
    Ok(connection)
}

/// Checks a copy, and counts what is in it. Damage is no error, unless nothing can be read.
pub fn inspect(path: &Path, cancel: &CancellationToken) -> Result<Inspection, SqliteError> {
    let connection = open_copy(path)?;
    let interrupt = connection.get_interrupt_handle();
    let stop = cancel.clone();
    let watched = Watch::start(move || stop.is_cancelled(), move || interrupt.interrupt());
    let inspected = inspect_open(&connection, path);
    drop(watched);
    match inspected {
        Err(_) if cancel.is_cancelled() => Err(SqliteError::Interrupted),
        inspected => inspected,
    }
}

fn inspect_open(connection: &Connection, path: &Path) -> Result<Inspection, SqliteError> {
    let mut found = Inspection::default();
    match lines(connection, &format!("PRAGMA integrity_check({FINDINGS})")) {
        Ok(checked) => {
            let is_damage = |line: &String| !NO_DAMAGE.iter().any(|harmless| line.starts_with(harmless));
            let (damage, harmless): (Vec<_>, Vec<_>) =
                checked.into_iter().filter(|line| line != "ok").partition(is_damage);
            found.damage = damage;
            if !harmless.is_empty() {
                found.notices.push(format!(
                    "`PRAGMA integrity_check` has {} about rows that do not fit the schema, and none about damage",
                    count(harmless.len() as u64, "finding")
                ));
            }
        }
        Err(error) if is_damage(&error) => found.damage.push(error.to_string()),
        // An index may need a function or collation that only the application has.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => {
            match lines(connection, &format!("PRAGMA quick_check({FINDINGS})")) {
                Ok(checked) => found.damage.extend(checked.into_iter().filter(|line| line != "ok")),
                Err(error) if is_damage(&error) => found.damage.push(error.to_string()),
                Err(_) => {}
            }
            found.notices.push(
                "the indexes were not checked: they need a function or collation of the application"
                    .to_owned(),
            );
        }
        Err(source) => return Err(SqliteError::of("check", path, source)),
    }
    if !found.damage.is_empty() {
        return Ok(found);
    }
    found.facts = facts(connection).map_err(|source| SqliteError::of("count the rows of", path, source))?;
    Ok(found)
}

fn facts(connection: &Connection) -> rusqlite::Result<SqliteFacts> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let whole = |value: i64| u64::try_from(value).unwrap_or_default();
    let names = lines(
        connection,
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')
         AND name <> 'sqlite_schema' ORDER BY name",
    )?;
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        let counted = number(&format!("SELECT count(*) FROM \"{}\"", name.replace('"', "\"\"")));
        let rows = match counted {
            Ok(rows) => Some(whole(rows)),
            // Its indexes need what only the application has.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => None,
            Err(error) => return Err(error),
        };
        tables.push(SqliteTable { name, rows });
    }
    Ok(SqliteFacts {
        page_size: whole(number("PRAGMA page_size")?),
        pages: whole(number("PRAGMA page_count")?),
        user_version: number("PRAGMA user_version")?,
        tables,
        foreign_key_violations: number("SELECT count(*) FROM pragma_foreign_key_check").ok().map(whole),
    })
}

/// Returns the first column of every row.
fn lines(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    rows.collect()
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// A thread that waits for a reason to stop a query.
struct Watch {
    ended: std::sync::mpsc::Sender<()>,
}

impl Watch {
    fn start(is_over: impl Fn() -> bool + Send + 'static, stop: impl Fn() + Send + 'static) -> Self {
        let (ended, over) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            use std::sync::mpsc::RecvTimeoutError::Timeout;
            while let Err(Timeout) = over.recv_timeout(std::time::Duration::from_millis(100)) {
                if is_over() {
                    stop();
                }
            }
        });
        Self { ended }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _may_have_ended = self.ended.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(sql: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b?#%.db");
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        (folder, path)
    }

    fn inspected(path: &Path) -> Inspection {
        inspect(path, &CancellationToken::new()).unwrap()
    }

    #[test]
    fn every_table_is_counted_whatever_its_name_and_no_file_appears_beside_it() {
        let (folder, path) = made(
            "PRAGMA journal_mode = WAL; PRAGMA user_version = 7; CREATE TABLE \"or\"\"der s\" (a);
             INSERT INTO \"or\"\"der s\" VALUES (1), (2); CREATE TABLE k (a PRIMARY KEY) WITHOUT ROWID;
             CREATE VIRTUAL TABLE f USING fts5(t); INSERT INTO f VALUES ('x');
             CREATE TABLE i (a INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO i DEFAULT VALUES",
        );
        let found = inspected(&path);
        let rows = |name: &str| found.facts.tables.iter().find(|table| table.name == name).unwrap().rows;
        assert_eq!(
            (rows("or\"der s"), rows("k"), rows("f_content"), rows("sqlite_sequence")),
            (Some(2), Some(0), Some(1), Some(1))
        );
        assert_eq!((found.facts.user_version, found.facts.foreign_key_violations), (7, Some(0)));
        assert!(found.damage.is_empty() && found.notices.is_empty(), "{found:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn rows_that_do_not_fit_are_no_damage() {
        let (_folder, path) = made(
            "PRAGMA foreign_keys = OFF; CREATE TABLE p (a PRIMARY KEY); CREATE TABLE c (p REFERENCES p (a), n CHECK (n > 0));
             INSERT INTO c VALUES (1, 1); PRAGMA ignore_check_constraints = ON; INSERT INTO c VALUES (NULL, 0)",
        );
        let found = inspected(&path);
        assert!(found.damage.is_empty(), "{found:?}");
        assert_eq!(found.facts.foreign_key_violations, Some(1));
        assert!(found.notices.is_empty(), "{found:?}");
    }

    #[test]
    fn a_page_of_rubbish_is_damage_and_is_counted_without_a_name() {
        let (_folder, path) = made(
            "CREATE TABLE secret_name (a, b); CREATE INDEX secret_index ON secret_name (b);
             WITH n (a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM n LIMIT 5000)
             INSERT INTO secret_name SELECT a, a || 'text' FROM n",
        );
        let mut bytes = std::fs::read(&path).unwrap();
        let pages = bytes.len() / 4096;
        bytes[4096 * (pages - 2)..4096 * (pages - 1)].fill(0x5a);
        std::fs::write(&path, bytes).unwrap();
        let found = inspected(&path);
        assert!(!found.damage.is_empty());
        assert!(found.counted_damage().contains("finding") && !found.counted_damage().contains("secret"));
    }
}
