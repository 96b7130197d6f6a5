//! A stream whose server was recovered to an earlier moment: what was received after it is of a timeline that was left.

use drctl::model::{Lsn, WalName};

use crate::recovery::insists;
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::Ledger;
use crate::support::system::until;
use crate::wal_stream::Streaming;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_recovered_to_an_earlier_moment_is_followed_again() -> Outcome<()> {
    let mut streaming = Streaming::start().await?;
    let cluster = &streaming.cluster;
    cluster.execute("postgres", &["CREATE TABLE filler (n int, t text)"]).await?;
    Ledger::create(cluster).await?;
    let insert = "INSERT INTO ledger (note) VALUES ('row')";
    let mut running = streaming.stream().await?;
    streaming.system.expect(0, &["backup"]).await?;
    cluster.execute("postgres", &[insert]).await?;
    let before = streaming.moment().await?;
    cluster.execute("postgres", &[insert]).await?;
    streaming.write(2).await?;
    cluster.execute("postgres", &[insert]).await?;
    let ended = cluster.text("postgres", "SELECT pg_walfile_name(pg_switch_wal())").await?;
    let names = "SELECT string_agg(name, ' ') FROM pg_ls_waldir() WHERE length(name) = 24 AND name <=";
    let whole = cluster.text("postgres", &format!("{names} '{ended}'")).await?;
    let has_all = |repository: &str| {
        streaming.stored(repository).is_ok_and(|stored| whole.split(' ').all(|name| stored.contains(name)))
    };
    until("what is whole is archived", || has_all("primary") && has_all("west")).await?;
    // The last of the timeline is received, and not archived when the stream dies. The last bytes of a record may be
    // zeros, which nobody can tell from those behind it.
    let position = "SELECT pg_current_wal_insert_lsn()";
    cluster.execute("postgres", &[insert]).await?;
    let end: Lsn = cluster.text("postgres", position).await?.parse()?;
    cluster.execute("postgres", &["SELECT pg_logical_emit_message(true, 'more', 'and more')"]).await?;
    let last = cluster.text("postgres", position).await?;
    let segment = cluster.text("postgres", &format!("SELECT pg_walfile_name('{end}')")).await?;
    let flushed = format!("SELECT flush_lsn >= '{last}' FROM pg_stat_replication");
    while streaming.cluster.text("postgres", &flushed).await? != "true" {
        tokio::task::yield_now().await;
    }
    running.kill()?;
    streaming.cluster.kill_9()?;
    let old = streaming.cluster.url("postgres");

    let drctl = streaming.system.hand_to_server()?;
    let Streaming { system, cluster } = streaming;
    let archiving = Archiving { system, cluster, drctl };
    let restored = archiving.recovered("earlier", &["--point-in-time", &before]).await?;
    let restored = insists(restored, &[1, 2]).await?;
    let port = restored.text("SELECT current_setting('port')").await?;
    let Archiving { system, cluster, .. } = archiving;
    system.rewrite(&old, &format!("postgres://postgres@127.0.0.1:{port}/postgres"))?;
    streaming = Streaming { system, cluster };

    let running = streaming.system.start(&["wal", "stream", "--every", "1", "--output", "json"])?;
    let mut connection = restored.connect().await?;
    until("it is said", || running.stdout().is_ok_and(|said| said.contains("is set aside"))).await?;
    // What it writes before somebody follows it is for the base backup.
    let followed = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
    while restored.text(followed).await? != "1" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    sqlx::raw_sql(insert).execute(&mut connection).await?;
    sqlx::raw_sql("SELECT pg_switch_wal()").execute(&mut connection).await?;
    let of_second = |name: &str| name.starts_with("00000002") && name.len() == 24;
    until("the new timeline is archived", || {
        streaming.stored("west").is_ok_and(|stored| {
            stored.contains("00000002.history") && stored.iter().any(|name| of_second(name))
        })
    })
    .await
    .map_err(|error| format!("{error}: {:?}", running.stdout()))?;
    // Nothing that was received is lost.
    until("what was left is archived", || streaming.has("west", &segment, end)).await?;
    let aside = streaming.received().join("aside");
    let is_empty = || std::fs::read_dir(&aside).map_or(true, |mut entries| entries.next().is_none());
    until("nothing waits", is_empty).await?;
    for name in streaming.stored("west")? {
        assert!(!matches!(name.parse(), Ok(WalName::Partial(_))), "{name}");
    }

    // What the server wrote since it was recovered is had back with no gap.
    let archiving = Archiving {
        drctl: streaming.system.hand_to_server()?,
        system: streaming.system,
        cluster: streaming.cluster,
    };
    drop(running);
    let again = archiving.recovered("again", &["--latest"]).await?;
    let numbers = restored.numbers().await?;
    insists(again, &numbers).await?;
    Ok(())
}
