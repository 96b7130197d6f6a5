//! A SQLite database that is written to, backed up, lost and restored.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::Connection;

use crate::support::Outcome;
use crate::support::system::{Place, System, contents, until};

/// A system with a database in `mode`, in a folder of its own, and one row in each of two tables for every transaction.
fn system(mode: &str) -> Outcome<System> {
    let system = System::of(
        "[sources.orders]\nkind = \"sqlite\"\npath = \"app/shop.db\"\n",
        &[Place::Directory, Place::Directory],
    )?;
    std::fs::create_dir(system.path().join("app"))?;
    let database = Connection::open(system.path().join("app/shop.db"))?;
    database.execute_batch(&format!(
        "PRAGMA journal_mode = {mode}; CREATE TABLE confidential_orders (id INTEGER PRIMARY KEY, note);
         CREATE TABLE lines (id INTEGER PRIMARY KEY, of REFERENCES confidential_orders (id))"
    ))?;
    Ok(system)
}

fn write(path: &Path, over: &AtomicBool, written: &AtomicU64) -> rusqlite::Result<()> {
    let mut database = Connection::open(path)?;
    database.busy_timeout(std::time::Duration::from_secs(60))?;
    while !over.load(Ordering::Relaxed) {
        let transaction = database.transaction()?;
        transaction.execute("INSERT INTO confidential_orders (note) VALUES (hex(randomblob(200)))", [])?;
        transaction.execute("INSERT INTO lines (of) SELECT max(id) FROM confidential_orders", [])?;
        transaction.commit()?;
        written.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// The rows of a database, which has to be whole.
fn rows(path: &Path) -> Outcome<u64> {
    let database = Connection::open(path)?;
    let number = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0));
    let checked: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    assert_eq!(checked, "ok");
    let orders = number("SELECT count(*) FROM confidential_orders")?;
    assert_eq!(orders, number("SELECT count(*) FROM lines")?, "half of a transaction");
    Ok(orders.try_into()?)
}

async fn restore(
    system: &System,
    code: i32,
    to: &str,
    more: &[&str],
) -> Outcome<crate::support::system::Run> {
    let key = system.operational.display().to_string();
    let arguments = [&["restore", "orders", "--identity", &key, "--to", to], more].concat();
    system.expect(code, &arguments).await
}

#[tokio::test]
async fn what_is_written_all_the_time_comes_back_whole() -> Outcome<()> {
    for mode in ["WAL", "DELETE"] {
        let system = system(mode)?;
        let path = system.path().join("app/shop.db");
        let (over, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ends, counts, own) = (Arc::clone(&over), Arc::clone(&written), path.clone());
        let writer = std::thread::spawn(move || write(&own, &ends, &counts));
        until("something is written", || written.load(Ordering::Relaxed) > 5).await?;
        let before = written.load(Ordering::Relaxed);
        system.expect(0, &["backup"]).await?.says("integrity checked")?;
        let after = written.load(Ordering::Relaxed);
        over.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| "the writer has panicked")??;

        // The database is lost; its -wal is not, and belongs to no other database.
        let beside = system.path().join("app/shop.db-wal");
        std::fs::remove_file(&path)?;
        std::fs::write(&beside, "stale")?;
        let refused = restore(&system, 2, "app/shop.db", &[]).await?;
        refused.says("shop.db-wal")?;
        assert!(!path.exists());
        std::fs::remove_file(&beside)?;
        restore(&system, 0, "app/shop.db", &[]).await?.says("2 tables")?;
        let restored = rows(&path)?;
        assert!((before..=after).contains(&restored), "{mode}: {before}, {restored}, {after}");
        let journal: String =
            Connection::open(&path)?.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        assert_eq!(journal, mode.to_lowercase());
        restore(&system, 2, "app/shop.db", &[]).await?.says("exists, and is not overwritten")?;

        // What it says to do without drctl does it.
        let folder = backup_folder(&system)?;
        std::fs::copy(&system.escrow, folder.join("identity.txt"))?;
        let manifest: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.join("manifest.json"))?)?;
        let commands = manifest["by_hand"].as_array().ok_or("by_hand")?;
        let script: Vec<_> = commands.iter().filter_map(|line| line.as_str()).collect();
        let done = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script.join("\n")])
            .current_dir(&folder)
            .output()?;
        assert!(done.status.success() && String::from_utf8_lossy(&done.stdout).contains("ok"), "{done:?}");
        assert_eq!(rows(&folder.join("database.sqlite"))?, restored);
        std::fs::remove_file(folder.join("database.sqlite"))?;

        // Names of tables are for key holders only.
        for file in
            contents(system.path())?.into_keys().filter(|file| !file.starts_with(system.path().join("app")))
        {
            let bytes = std::fs::read(&file)?;
            assert!(!bytes.windows(12).any(|word| word == b"confidential"), "{}", file.display());
        }
    }
    Ok(())
}

fn backup_folder(system: &System) -> Outcome<std::path::PathBuf> {
    let mut folders = std::fs::read_dir(system.repository("primary").join("shop/orders/backups"))?;
    Ok(folders.next().ok_or("there is no backup")??.path())
}

#[tokio::test]
async fn a_point_in_time_names_the_last_backup_before_it() -> Outcome<()> {
    let system = system("WAL")?;
    let path = system.path().join("app/shop.db");
    let insert = "INSERT INTO confidential_orders DEFAULT VALUES; INSERT INTO lines DEFAULT VALUES";
    Connection::open(&path)?.execute_batch(insert)?;
    let first = system.expect(0, &["backup", "--output", "json"]).await?.document()?;
    let time = first["sources"][0]["recovery_point"].as_str().ok_or("recovery_point")?.to_owned();
    Connection::open(&path)?.execute_batch(insert)?;
    system.expect(0, &["backup"]).await?;
    restore(&system, 0, "then.db", &["--point-in-time", &time]).await?;
    assert_eq!(rows(&system.path().join("then.db"))?, 1);
    restore(&system, 0, "now.db", &[]).await?;
    assert_eq!(rows(&system.path().join("now.db"))?, 2);
    restore(&system, 10, "never.db", &["--point-in-time", "2020-01-01T00:00:00Z"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_damaged_database_is_no_backup_and_says_so() -> Outcome<()> {
    let system = system("DELETE")?;
    let path = system.path().join("app/shop.db");
    Connection::open(&path)?.execute_batch(
        "WITH n (a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM n LIMIT 5000)
         INSERT INTO confidential_orders (note) SELECT hex(randomblob(100)) FROM n",
    )?;
    let mut bytes = std::fs::read(&path)?;
    let at = bytes.len() / 2 / 4096 * 4096;
    bytes[at..at + 4096].fill(0x5a);
    std::fs::write(&path, bytes)?;
    system.expect(1, &["backup"]).await?.says("is damaged")?;
    assert!(backup_folder(&system).is_err());
    for (what, words) in [("text, and no database at all", "no SQLite database"), ("", "is empty")] {
        std::fs::write(&path, what)?;
        system.expect(1, &["backup"]).await?.says(words)?;
    }
    std::fs::remove_file(&path)?;
    std::fs::create_dir(&path)?;
    system.expect(1, &["backup"]).await?.says("is a directory")?;
    Ok(())
}
