//! Recovery to a transaction that was open when the backup ended.

use sqlx::{AssertSqlSafe, PgConnection};

use crate::recovery::insists;
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::{Ledger, options};
use crate::support::system::Place;

const TWO: [Place; 2] = [Place::Directory, Place::Directory];

/// Begins a transaction that inserts a row, and gives its number.
async fn begin(connection: &mut PgConnection, n: i64) -> Outcome<String> {
    let insert = format!("BEGIN; INSERT INTO ledger (n, note) VALUES ({n}, 'open')");
    sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut *connection).await?;
    Ok(sqlx::query_scalar("SELECT pg_current_xact_id()::text").fetch_one(connection).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_was_open_when_the_backup_ended_can_be_the_target() -> Outcome<()> {
    let options = options(15).setting("max_prepared_transactions", "2");
    let archiving = Archiving::start(&TWO, "", options).await?;
    archiving.base("")?;
    let cluster = &archiving.cluster;
    Ledger::create(cluster).await?;
    let insert = "INSERT INTO ledger (note) VALUES ('row')";
    let (mut one, mut two) = (cluster.connect("postgres").await?, cluster.connect("postgres").await?);
    let open = begin(&mut one, -1).await?;
    let prepared = begin(&mut two, -2).await?;
    sqlx::raw_sql("PREPARE TRANSACTION 'two'").execute(&mut two).await?;
    cluster.execute("postgres", &[insert]).await?;
    let ended = cluster.text("postgres", "SELECT xmin FROM ledger WHERE n = 2").await?;
    archiving.backup(0, &[]).await?;
    sqlx::raw_sql("COMMIT").execute(&mut one).await?;
    cluster.execute("postgres", &[insert, "COMMIT PREPARED 'two'", insert, "SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;

    insists(archiving.recovered("open", &["--to-xid", &open]).await?, &[-1, 1, 2]).await?;
    insists(archiving.recovered("prepared", &["--to-xid", &prepared]).await?, &[-2, -1, 1, 2, 3]).await?;
    // One that had ended is in the backup already, and nothing leads to the moment it ended.
    archiving.unrecovered(10, &["--to-xid", &ended]).await?.says("--point-in-time")?;
    Ok(())
}
