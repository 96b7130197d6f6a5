use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::*;
use crate::platform::SystemClock;
use crate::sqlite::inspect::open_copy;

/// Two tables whose sums are equal at any time, and a thread that moves between them without a pause.
struct Writer {
    is_over: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(path: &Path) -> Self {
        let (is_over, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (over, count, path) = (Arc::clone(&is_over), Arc::clone(&written), path.to_owned());
        let thread = std::thread::spawn(move || {
            let mut connection = Connection::open(path).unwrap();
            connection.busy_timeout(Duration::from_secs(60)).unwrap();
            connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
            while !over.load(Ordering::Relaxed) {
                let n = count.load(Ordering::Relaxed) as i64;
                let transaction = connection.transaction().unwrap();
                for table in ["debit", "credit"] {
                    let sql = format!("UPDATE {table} SET amount = amount + ?1 WHERE id = ?2");
                    transaction.execute(&sql, [n % 7, n % 3000 + 1]).unwrap();
                    transaction.execute(&format!("INSERT INTO {table} (amount) VALUES (?1)"), [n]).unwrap();
                }
                transaction.commit().unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { is_over, written, thread: Some(thread) }
    }

    fn wait_for(&self, more: u64) {
        let from = self.written.load(Ordering::Relaxed);
        while self.written.load(Ordering::Relaxed) < from + more {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn database(folder: &Path, mode: &str) -> PathBuf {
    let path = folder.join("shop.db");
    let made = format!(
        "PRAGMA journal_mode = {mode}; PRAGMA synchronous = OFF;
         CREATE TABLE debit (id INTEGER PRIMARY KEY, amount, text DEFAULT (hex(randomblob(100))));
         CREATE TABLE credit (id INTEGER PRIMARY KEY, amount, text DEFAULT (hex(randomblob(100))));
         BEGIN; WITH n (a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM n LIMIT 20000)
         INSERT INTO debit (amount) SELECT 1 FROM n; INSERT INTO credit (amount) SELECT amount FROM debit; COMMIT"
    );
    Connection::open(&path).unwrap().execute_batch(&made).unwrap();
    path
}

async fn copied(path: &Path, to: &Path, wait: u64) -> Result<CopiedDatabase, SqliteError> {
    copy_database(path, to, Duration::from_millis(wait), &SystemClock, &CancellationToken::new()).await
}

fn number(path: &Path, sql: &str) -> i64 {
    open_copy(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_copy_under_writers_is_one_state_in_either_journal_mode() {
    for (mode, is_wal) in [("WAL", true), ("DELETE", false)] {
        let folder = tempfile::tempdir().unwrap();
        let path = database(folder.path(), mode);
        let writer = Writer::start(&path);
        writer.wait_for(20);
        let mut last = 0;
        for n in 0..3 {
            let to = folder.path().join(format!("copy-{n}"));
            let copy = copied(&path, &to, 60_000).await.unwrap();
            assert_eq!(copy.header.is_wal, is_wal);
            assert_eq!(check_file(&to).unwrap(), copy.header, "the mode and the pages are kept");
            let balance = "(SELECT sum(amount) FROM debit) - (SELECT sum(amount) FROM credit)";
            assert_eq!(number(&to, &format!("SELECT {balance}")), 0);
            let rows = number(&to, "SELECT count(*) FROM debit");
            assert!(rows > last, "{mode}: each copy is newer than the one before");
            assert_eq!(copy.inspection.facts.rows(), 2 * rows as u64);
            last = rows;
            writer.wait_for(5);
        }
    }
}

#[tokio::test]
async fn what_is_only_in_the_wal_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("young.db");
    let writer = Connection::open(&path).unwrap();
    writer
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)")
        .unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() <= 4096, "its rows are in the -wal alone");
    let to = folder.path().join("copy");
    copied(&path, &to, 1000).await.unwrap();
    assert_eq!(number(&to, "SELECT count(*) FROM t"), 2);
    drop(writer);
}

#[tokio::test]
async fn no_file_is_left_beside_a_database_that_no_process_has_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), "WAL");
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files(), 1);
    let scratch = tempfile::tempdir().unwrap();
    copied(&path, &scratch.path().join("copy"), 1000).await.unwrap();
    assert_eq!(files(), 1);
    // What the application has there is its own.
    let application = Connection::open(&path).unwrap();
    application.execute_batch("INSERT INTO debit (amount) VALUES (1)").unwrap();
    copied(&path, &scratch.path().join("again"), 1000).await.unwrap();
    assert_eq!(files(), 3);
}

#[tokio::test]
async fn a_writer_that_keeps_the_lock_is_waited_for_and_then_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), "DELETE");
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let to = folder.path().join("copy");
    let refused = copied(&path, &to, 300).await.unwrap_err();
    assert!(matches!(refused, SqliteError::Locked { .. }), "{refused}");
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(400));
        writer.execute_batch("ROLLBACK").unwrap();
    });
    copied(&path, &to, 60_000).await.unwrap();
    release.join().unwrap();
}

#[tokio::test]
async fn a_damaged_database_is_no_backup() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), "DELETE");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() / 2 / 4096 * 4096;
    bytes[at..at + 4096].fill(0x5a);
    std::fs::write(&path, &bytes).unwrap();
    let to = folder.path().join("copy");
    let refused = copied(&path, &to, 1000).await.unwrap_err();
    assert!(
        refused.to_string().contains("is damaged") && !refused.to_string().contains("debit"),
        "{refused}"
    );
    // Half of it is gone.
    std::fs::write(&path, &bytes[..at]).unwrap();
    let refused = copied(&path, &folder.path().join("cut"), 1000).await.unwrap_err();
    assert!(refused.to_string().contains("is damaged"), "{refused}");
}

#[tokio::test]
async fn a_copy_can_be_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), "DELETE");
    let cancel = CancellationToken::new();
    cancel.cancel();
    let to = folder.path().join("copy");
    let ended = copy_database(&path, &to, Duration::ZERO, &SystemClock, &cancel).await;
    assert!(matches!(ended, Err(SqliteError::Interrupted)), "{ended:?}");
}
