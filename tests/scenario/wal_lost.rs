//! Log that is not where it was said to be: a gap, the newest gone, a command that archives nothing.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::recovery::{History, TWO, insists, take_segment};
use crate::recovery_promoted::numbers;
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::system::{Run, contents};

/// Ends a segment, and waits until the server says that it is archived. Gives its name.
async fn end_segment(archiving: &Archiving) -> Outcome<String> {
    let cluster = &archiving.cluster;
    let segment = cluster.text("postgres", "SELECT pg_walfile_name(pg_current_wal_insert_lsn())").await?;
    cluster
        .execute("postgres", &["INSERT INTO ledger (note) VALUES ('row')", "SELECT pg_switch_wal()"])
        .await?;
    let begun = Instant::now();
    let newest = "SELECT last_archived_wal FROM pg_stat_archiver";
    while cluster.text("postgres", newest).await? < segment {
        assert!(begun.elapsed() < Duration::from_secs(60), "{segment} is not archived");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(segment)
}

/// Ends segments until one is archived for good, or for show only: the server reads a new command when it
/// comes to it. Gives that one's name.
async fn end_segments_until(archiving: &Archiving, for_good: bool) -> Outcome<String> {
    let west = archiving.system.repository("west");
    for _ in 0..20 {
        let segment = end_segment(archiving).await?;
        let name = format!("{segment}.zst.age");
        if contents(&west)?.keys().any(|path| path.ends_with(&name)) == for_good {
            return Ok(segment);
        }
    }
    Err("the server does not take its new command".into())
}

/// The verdicts of `status` on the primary and on the copy; it must end with this exit status.
async fn verdicts(archiving: &Archiving, code: i32) -> Outcome<[String; 2]> {
    let status = archiving.run_as_server(&["status", "--output", "json"]).await?;
    assert_eq!(status.code, Some(code), "{status:#?}");
    let document = status.document()?;
    let places = &document["sources"][0]["places"];
    Ok([0, 1].map(|n| places[n]["verdict"].as_str().unwrap_or_default().to_owned()))
}

async fn shown(archiving: &Archiving, code: i32, command: &[&str]) -> Outcome<Run> {
    let run = archiving.run_as_server(command).await?;
    assert_eq!(run.code, Some(code), "{command:?}: {run:#?}");
    Ok(run)
}

fn put_back((path, bytes): (PathBuf, Vec<u8>)) -> Outcome<()> {
    Ok(std::fs::write(path, bytes)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_where_the_server_was_told_is_seen_by_everyone_who_looks() -> Outcome<()> {
    let history = History::begin(&TWO).await?;
    let archiving = &history.archiving;
    let newest = end_segment(archiving).await?;
    assert_eq!(verdicts(archiving, 0).await?, ["ok", "ok"]);
    shown(archiving, 0, &["wal", "status"]).await?;

    // One in the middle, in one copy.
    let middle = &history.rows[2].0;
    let taken = take_segment(archiving, "west", middle)?;
    assert_eq!(verdicts(archiving, 21).await?, ["ok", "gap"]);
    let status = shown(archiving, 21, &["status"]).await?;
    status.says(&format!("west: later WAL is of no use: segment {middle} is missing before it"))?;
    shown(archiving, 21, &["wal", "status"]).await?.says(&format!("west: missing {middle} (1 segment)"))?;
    put_back(taken)?;

    // The newest, in one copy.
    let taken = take_segment(archiving, "west", &newest)?;
    assert_eq!(verdicts(archiving, 21).await?, ["ok", "lost"]);
    let wal = shown(archiving, 21, &["wal", "status", "--output", "json"]).await?.document()?;
    assert_eq!(wal["repositories"][0]["lost"], serde_json::Value::Null, "{wal:#}");
    assert_eq!(wal["repositories"][1]["lost"], newest.as_str(), "{wal:#}");
    shown(archiving, 1, &["doctor"]).await?.says("repository `west` does not have it")?;
    put_back(taken)?;
    assert_eq!(verdicts(archiving, 0).await?, ["ok", "ok"]);

    // Everywhere, since nobody archives any more.
    let lie = ["ALTER SYSTEM SET archive_command = '/bin/true'", "SELECT pg_reload_conf()"];
    archiving.cluster.execute("postgres", &lie).await?;
    let lost = end_segments_until(archiving, false).await?;
    assert_eq!(verdicts(archiving, 21).await?, ["lost", "lost"]);
    let words = format!("{lost} is missing, which the server counts as archived");
    shown(archiving, 21, &["status"]).await?.says(&words)?.says("--kind base")?;
    shown(archiving, 1, &["doctor"]).await?.says(&format!("archive_command reported {lost} as archived"))?;
    let wal = shown(archiving, 21, &["wal", "status"]).await?;
    wal.says(&lost)?.says("archives nothing and reports success")?;

    // It archives again: then the lost one is a gap.
    let right = ["ALTER SYSTEM RESET archive_command", "SELECT pg_reload_conf()"];
    archiving.cluster.execute("postgres", &right).await?;
    end_segments_until(archiving, true).await?;
    assert_eq!(verdicts(archiving, 21).await?, ["gap", "gap"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wal_that_was_damaged_before_it_was_archived_is_told_from_intact_wal() -> Outcome<()> {
    let history = History::begin(&TWO).await?;
    let archiving = &history.archiving;
    let cluster = &archiving.cluster;
    let intact = numbers(cluster).await?;
    let command = cluster.text("postgres", "SELECT current_setting('archive_command')").await?;
    let keep = ["ALTER SYSTEM SET archive_command = '/bin/false'", "SELECT pg_reload_conf()"];
    cluster.execute("postgres", &keep).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;

    // A record in the middle of a segment that waits to be archived.
    let segment = cluster.text("postgres", "SELECT pg_walfile_name(pg_current_wal_insert_lsn())").await?;
    let marked = "INSERT INTO ledger (note) VALUES ('on a bad sector')";
    let row = "INSERT INTO ledger (note) VALUES ('row')";
    cluster.execute("postgres", &[marked, row, "SELECT pg_switch_wal()"]).await?;
    let path = archiving.pg_wal().join(&segment);
    let mut bytes = std::fs::read(&path)?;
    let at = bytes.windows(15).position(|window| window == b"on a bad sector").ok_or("not in it")?;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes)?;

    let again = format!("ALTER SYSTEM SET archive_command = '{command}'");
    cluster.execute("postgres", &[&again, "SELECT pg_reload_conf()"]).await?;
    end_segment(archiving).await?;
    let west = archiving.system.repository("west");
    let stored = format!("{segment}.zst.age");
    assert!(contents(&west)?.keys().any(|path| path.ends_with(&stored)));

    // Known from its metadata, before it is read.
    let wal = shown(archiving, 21, &["wal", "status"]).await?;
    wal.says(&format!("damaged {segment} at 0/"))?;
    shown(archiving, 21, &["status"]).await?.says(&format!("segment {segment} is damaged at 0/"))?;
    let verified = shown(archiving, 1, &["verify"]).await?;
    verified.says("WAL in `shop/database/wal")?;
    verified.says(&format!("{segment}.zst.age` is damaged at 0/"))?;
    let status = archiving.run_as_server(&["status"]).await?;
    assert_ne!(status.code, Some(0), "{status:#?}");
    assert!(status.stdout.contains(&segment) || status.stderr.contains(&segment), "{status:#?}");

    // Recovery would end there after hours, or fail: it is refused before, and what comes before is had.
    let refused = archiving.unrecovered(10, &["--latest"]).await?;
    refused.says(&format!("segment {segment} is damaged at 0/"))?;
    let last = refused.stderr.split("`--point-in-time ").nth(1).and_then(|rest| rest.split('`').next());
    let restored = archiving.recovered("before", &["--point-in-time", last.ok_or("no moment")?]).await?;
    insists(restored, &intact).await?;
    let lsn = cluster.text("postgres", "SELECT pg_current_wal_lsn()").await?;
    archiving.unrecovered(10, &["--to-lsn", &lsn]).await?.says("is damaged at 0/")?;
    // A backup from after it needs none of it.
    archiving.backup(0, &[]).await?;
    let all = numbers(cluster).await?;
    let restored = archiving.recovered("after", &["--latest"]).await?;
    insists(restored, &all).await?;
    Ok(())
}
