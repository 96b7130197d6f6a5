//! Recovery to a moment, on real servers: what comes back is just what was committed then.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::{Ledger, Mark, Restored, Writers, options};
use crate::support::system::Place;

const TWO: [Place; 2] = [Place::Directory, Place::Directory];

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339()
}

async fn insists(restored: Restored, expected: &[i64]) -> Outcome<Restored> {
    let found = restored.numbers().await?;
    assert!(found == expected, "{found:?} came back, and {expected:?} was committed: {:#}", restored.report);
    assert_eq!(restored.text("SELECT pg_is_in_recovery()").await?, "false");
    assert_eq!(restored.text("SELECT current_setting('archive_mode')").await?, "off");
    Ok(restored)
}

async fn now(archiving: &Archiving) -> Outcome<DateTime<Utc>> {
    let text = archiving
        .cluster
        .text(
            "postgres",
            "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
        )
        .await?;
    Ok(text.parse()?)
}

async fn every_kind_of_target(major: u32) -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(major)).await?;
    archiving.base("")?;
    let cluster = &archiving.cluster;
    Ledger::create(cluster).await?;
    archiving.backup(0, &[]).await?;
    let begun = now(&archiving).await?;
    let writers = Writers::start(cluster).await?;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let mark = Mark::make(cluster, "the mark").await?;
    archiving.write(1).await?;
    // Rows of a transaction that is open at the moment.
    let mut open = cluster.connect("postgres").await?;
    sqlx::raw_sql("BEGIN; INSERT INTO ledger (n, note) VALUES (-1, 'open')").execute(&mut open).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let inside = now(&archiving).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    sqlx::raw_sql("COMMIT").execute(&mut open).await?;
    writers.end().await?;
    let ledger = Ledger::read(cluster).await?;
    let middle = ledger.middle(begun)?;
    let whole: Vec<i64> = ledger.until(now(&archiving).await?);
    let before = now(&archiving).await?;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut other = cluster.connect("postgres").await?;
    sqlx::raw_sql("BEGIN; DELETE FROM ledger WHERE n % 3 = 0").execute(&mut other).await?;
    let deleting: i64 =
        sqlx::query_scalar("SELECT pg_current_xact_id()::text::int8").fetch_one(&mut other).await?;
    sqlx::raw_sql("COMMIT").execute(&mut other).await?;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let idle = now(&archiving).await?;
    cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;
    let left: Vec<i64> = whole.iter().copied().filter(|n| n % 3 != 0).collect();

    let xid = deleting.to_string();
    let middle_xid = middle.xid.to_string();
    let cases: [(&str, Vec<String>, &[i64]); 9] = [
        ("latest", vec!["--latest".into()], &left),
        ("time", vec!["--point-in-time".into(), time(middle.committed)], &ledger.until(middle.committed)),
        ("lsn", vec!["--to-lsn".into(), mark.lsn.clone()], &mark.numbers),
        ("xid", vec!["--to-xid".into(), middle_xid], &ledger.until(middle.committed)),
        ("name", vec!["--to-name".into(), "the mark".into()], &mark.numbers),
        ("inside", vec!["--point-in-time".into(), time(inside)], &ledger.until(inside)),
        ("before", vec!["--point-in-time".into(), time(before)], &whole),
        ("just-before", vec!["--to-xid".into(), xid, "--exclusive".into()], &whole),
        ("idle", vec!["--point-in-time".into(), time(idle)], &left),
    ];
    assert!(!ledger.until(inside).contains(&-1) && whole.contains(&-1));
    for (name, options, expected) in &cases {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let restored =
            archiving.recovered(name, &options).await.map_err(|error| format!("{name}: {error}"))?;
        insists(restored, expected).await.map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_at_any_moment_comes_back_and_nothing_else() -> Outcome<()> {
    every_kind_of_target(15).await
}

#[tokio::test(flavor = "multi_thread")]
async fn and_so_it_does_with_17() -> Outcome<()> {
    every_kind_of_target(17).await
}
