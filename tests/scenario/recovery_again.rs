//! A recovery that does not come to its end at the first try, and one whose demands grew on the way.

use crate::recovery::{TWO, insists};
use crate::recovery_promoted::numbers;
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::{Ledger, Restored, options};

const SWITCH: &str = "SELECT pg_switch_wal()";
const INSERT: &str = "INSERT INTO ledger (note) VALUES ('row')";
const POINT: &str = "SELECT pg_create_restore_point('release')";

#[tokio::test(flavor = "multi_thread")]
async fn what_recovery_demands_is_in_the_wal_and_a_second_try_resumes() -> Outcome<()> {
    let mut archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.base("")?;
    Ledger::create(&archiving.cluster).await?;
    archiving.backup(0, &[]).await?;
    let raise = "ALTER SYSTEM SET max_prepared_transactions = 12";
    archiving.cluster.execute("postgres", &[INSERT, raise, SWITCH]).await?;
    let was = archiving.cluster.url("postgres");
    archiving.cluster.kill();
    archiving.cluster.begin_again()?;
    let url = archiving.cluster.url("postgres");
    archiving.system.rewrite(&was, &url)?;
    let prepare = "BEGIN; INSERT INTO ledger (note) VALUES ('prepared'); PREPARE TRANSACTION 'open'";
    archiving.cluster.execute("postgres", &[prepare, INSERT, SWITCH]).await?;
    archiving.settle().await?;
    let committed = numbers(&archiving.cluster).await?;

    let wal = archiving.system.path().join("wal volume");
    let options = ["--wal-directory", &wal.display().to_string()];
    let failed =
        archiving.recover("again", &[&["--to-xid", "900000", "--start"], &options[..]].concat()).await?;
    assert_eq!(failed.code, Some(1), "{failed:#?}");
    failed.says("the files in")?.says("again")?;
    let to = archiving.system.path().join("again");
    let unpacked = std::fs::metadata(to.join("PG_VERSION"))?.modified()?;
    let run = archiving.recover("again", &["--latest", "--start", "--output", "json"]).await?;
    assert_eq!(run.code, Some(0), "{run:#?}");
    let restored = insists(Restored::of(to.clone(), run.document()?)?, &committed).await?;
    assert_eq!(std::fs::metadata(to.join("PG_VERSION"))?.modified()?, unpacked, "it was unpacked again");
    assert_eq!(restored.text("SELECT count(*) FROM pg_prepared_xacts").await?, "1");
    assert_eq!(restored.text("SELECT current_setting('max_prepared_transactions')").await?, "12");
    assert_eq!(std::fs::read_link(to.join("pg_wal"))?, wal);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_point_is_reached_from_the_newest_backup_before_it() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.base("")?;
    let cluster = &archiving.cluster;
    Ledger::create(cluster).await?;
    archiving.backup(0, &[]).await?;
    cluster.execute("postgres", &[POINT, INSERT]).await?;
    archiving.backup(0, &[]).await?;
    cluster.execute("postgres", &[INSERT, POINT, INSERT]).await?;
    archiving.backup(0, &[]).await?;
    cluster.execute("postgres", &[INSERT, SWITCH]).await?;
    archiving.settle().await?;
    let ids = archiving.system.backups_in("primary");
    let restored = archiving.recovered("named", &["--to-name", "release"]).await?;
    let restored = insists(restored, &[1, 2, 3]).await?;
    assert_eq!(restored.report["backup"].as_str(), ids.get(1).map(String::as_str));
    drop(restored);
    let absent = archiving.unrecovered(10, &["--to-name", "nowhere"]).await?;
    absent.says("no restore point `nowhere`")?.says("`release`")?;
    Ok(())
}
