//! How often a stream ships, whatever the server writes.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use drctl::model::WalName;
use rustix::process::Signal;

use crate::support::Outcome;
use crate::support::ledger::{Ledger, Writers};
use crate::wal_stream::Streaming;

#[tokio::test(flavor = "multi_thread")]
async fn under_steady_writes_pieces_come_as_often_as_asked_for_and_what_is_archived_advances() -> Outcome<()>
{
    let streaming = Streaming::start().await?;
    Ledger::create(&streaming.cluster).await?;
    let running = streaming.stream().await?;
    // A whole segment, which those pieces come after.
    streaming.cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
    let writers = Writers::start(&streaming.cluster).await?;
    let pieces = || -> Outcome<usize> {
        let is_piece = |name: &&String| matches!(name.parse(), Ok(WalName::Piece { .. }));
        Ok(streaming.stored("west")?.iter().filter(is_piece).count())
    };
    let all_until = async || -> Outcome<Option<DateTime<Utc>>> {
        let status = streaming.system.drctl(&["wal", "status", "--output", "json"]).await?.document()?;
        Ok(status["repositories"][1]["all_until"].as_str().and_then(|time| time.parse().ok()))
    };
    let is_whole = |name: &String| matches!(name.parse(), Ok(WalName::Segment(_)));
    let is_there = || streaming.stored("west").is_ok_and(|stored| stored.iter().any(is_whole));
    crate::support::system::until("a whole segment is there", is_there).await?;
    let first = pieces()?;
    crate::support::system::until("it ships", || pieces().is_ok_and(|count| count > first)).await?;
    let (before, since) = (pieces()?, streaming.moment().await?.parse::<DateTime<Utc>>()?);
    // It ships every second.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let count = pieces()? - before;
    assert!((2..=8).contains(&count), "{count} pieces in five seconds");
    // What is committed is taken for complete some seconds later, and while others write.
    let begun = Instant::now();
    while all_until().await? <= Some(since) {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "what is archived stands still: {:?}",
            all_until().await?
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    writers.end().await?;
    running.signal(Signal::TERM)?;
    assert_eq!(running.end().await?.code, Some(0));
    Ok(())
}
