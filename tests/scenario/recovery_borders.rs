//! Recovery to moments that nothing beside the log tells of: a commit whose record goes over the border of two
//! segments, and log without what was kept with it.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::recovery::{History, TWO, insists, now, time};
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::{Ledger, options};
use crate::support::postgres::Cluster;
use crate::support::s3::S3Server;
use crate::support::system::{Place, contents, move_times};

/// Parts of the transaction, each with a number of four bytes in its commit's record.
const PARTS: &str = "DO $$ BEGIN FOR n IN 1..2000 LOOP
    BEGIN INSERT INTO parts VALUES (n); EXCEPTION WHEN division_by_zero THEN NULL; END;
END LOOP; END $$";
/// Writes until less is left of the segment than that record takes.
const TO_THE_BORDER: &str =
    "DO $$ DECLARE room int8; size int8 := pg_size_bytes(current_setting('wal_segment_size'));
    BEGIN LOOP
    room := size - (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::int8 % size;
    EXIT WHEN room < 5000;
    PERFORM pg_logical_emit_message(false, 'fill', repeat('x', (greatest(room - 4500, 100) * 0.99)::int));
END LOOP; END $$";
const SEGMENT: &str = "SELECT pg_walfile_name(pg_current_wal_insert_lsn())";

async fn run(connection: &mut PgConnection, statement: &str) -> Outcome<()> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

/// Commits a statement with a record that begins in one segment and ends in the next, which is ended too.
async fn across_a_border(cluster: &Cluster, statement: &str) -> Outcome<()> {
    let mut connection = cluster.connect("postgres").await?;
    for step in ["BEGIN", statement, PARTS, TO_THE_BORDER] {
        run(&mut connection, step).await?;
    }
    let before: String = sqlx::query_scalar(SEGMENT).fetch_one(&mut connection).await?;
    run(&mut connection, "COMMIT").await?;
    let after: String = sqlx::query_scalar(SEGMENT).fetch_one(&mut connection).await?;
    assert!(before < after, "the record of the commit ends in {before}, where it began");
    run(&mut connection, "SELECT pg_switch_wal()").await?;
    Ok(connection.close().await?)
}

/// A moment that is later than what was committed before, and earlier than what comes, by more than clocks
/// can tell.
async fn between(archiving: &Archiving) -> Outcome<DateTime<Utc>> {
    let pause = std::time::Duration::from_millis(5);
    tokio::time::sleep(pause).await;
    let moment = now(archiving).await?;
    tokio::time::sleep(pause).await;
    Ok(moment)
}

/// As if the server had idled for a minute before it ended the segments: then they are known to have
/// everything that was committed until now, and nothing is refused for being too late.
fn seem_complete_later(repository: &Path) -> Outcome<()> {
    move_times(repository, &["completed"], TimeDelta::minutes(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_goes_over_a_border_is_seen_for_what_it_is() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.base("")?;
    let cluster = &archiving.cluster;
    Ledger::create(cluster).await?;
    let insert = "INSERT INTO ledger (note) SELECT 'good' FROM generate_series(1, 9)";
    cluster.execute("postgres", &["CREATE TABLE parts (n int)", insert]).await?;
    archiving.backup(0, &[]).await?;
    let first = between(&archiving).await?;
    across_a_border(cluster, insert).await?;
    let before = between(&archiving).await?;
    // The last commit there is.
    across_a_border(cluster, "DELETE FROM ledger WHERE n % 2 = 0").await?;
    archiving.settle().await?;
    for repository in ["primary", "west"] {
        seem_complete_later(&archiving.system.repository(repository))?;
    }

    let whole: Vec<i64> = (1..=19).collect();
    let odd: Vec<i64> = (1..=19).step_by(2).collect();
    let (first, before) = (time(first), time(before));
    for (name, options, expected) in [
        ("first", &["--point-in-time", &first][..], &whole[..10]),
        ("before", &["--point-in-time", &before], &whole),
        ("latest", &["--latest"], &odd),
    ] {
        let restored = archiving.recovered(name, options).await?;
        insists(restored, expected).await.map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// Takes away what a repository keeps beside its objects. Gives how many files that were.
pub(crate) fn forget(folder: &Path, mark: &str) -> Outcome<usize> {
    let files = contents(folder)?;
    let beside: Vec<_> = files.keys().filter(|path| path.to_string_lossy().contains(mark)).collect();
    beside.iter().try_for_each(std::fs::remove_file)?;
    Ok(beside.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn log_that_lost_what_was_kept_with_it_leads_to_the_same_moment_or_is_refused() -> Outcome<()> {
    let server = S3Server::start().await?;
    let history = History::begin(&[Place::of_server(server.address), Place::Directory]).await?;
    let archiving = &history.archiving;
    let west = archiving.system.repository("west");
    // In the directory of one that is a directory.
    let forgotten = forget(&west, "/.drctl/")?;
    // s3s keeps it in files of its own beside the bucket.
    let bucket = server.file("");
    let beside = bucket.parent().ok_or("no bucket")?;
    let forgotten_there = forget(beside, ".metadata.json")?;
    assert!(forgotten > 5 && forgotten_there > 5, "{forgotten}, {forgotten_there}");

    let middle = time(history.rows[2].2);
    for options in [&["--point-in-time", &middle][..], &["--point-in-time", &middle, "--from", "west"]] {
        let name = format!("middle-{}", options.len());
        let restored = archiving.recovered(&name, options).await?;
        insists(restored, &history.numbers(3)).await.map_err(|error| format!("{options:?}: {error}"))?;
    }
    // After the last commit nobody knows what else there was.
    let last = time(history.rows[4].2);
    let late = archiving.unrecovered(10, &["--point-in-time", &last]).await?;
    late.says("do not say when the last segments were written")?.says("--latest")?;
    let restored = archiving.recovered("latest", &["--latest"]).await?;
    insists(restored, &history.numbers(5)).await?;
    Ok(())
}
