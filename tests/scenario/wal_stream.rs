//! `drctl wal stream` with a real server: what was shipped is had back, whoever died in between.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use drctl::model::{Lsn, WalName};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::recovery::insists;
use crate::recovery_promoted::numbers;
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::Ledger;
use crate::support::postgres::{Cluster, ClusterOptions};
use crate::support::system::{Place, Running, System, until};
use crate::support::usage::tree;

pub(crate) const SLOT: &str = "drctl_shop";
/// Of the clusters of tests.
const SEGMENT: u64 = 1 << 20;

pub(crate) struct Streaming {
    pub(crate) system: System,
    pub(crate) cluster: Cluster,
}

impl Streaming {
    pub(crate) async fn start() -> Outcome<Self> {
        // What the server writes is kept, to be compared.
        Self::start_with("4GB").await
    }

    async fn start_with(keep: &str) -> Outcome<Self> {
        let options = ClusterOptions::new(15).setting("wal_keep_size", keep);
        let cluster = Cluster::start_with(options).await?;
        let system = System::new(&cluster.url("postgres"), &[Place::Directory, Place::Directory])?;
        let tools = cluster.programs().display();
        system.append(&format!(
            "tools = \"{tools}\"\nmethods = [\"base\", \"wal\"]\n\n\
             [sources.database.wal]\nmethod = \"stream\"\nslot = \"{SLOT}\""
        ))?;
        Ok(Self { system, cluster })
    }

    /// Starts the stream and waits until the server sees it.
    pub(crate) async fn stream(&self) -> Outcome<Running> {
        let running = self.system.start(&["wal", "stream", "--every", "1", "--output", "json"])?;
        self.is_followed(&running).await?;
        Ok(running)
    }

    pub(crate) async fn is_followed(&self, running: &Running) -> Outcome<()> {
        let of = i32::try_from(running.id())?;
        let begun = Instant::now();
        loop {
            let pid =
                format!("SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{SLOT}' AND active");
            let seen = !self.cluster.text("postgres", &pid).await?.is_empty();
            if seen && tree(running.id()).into_iter().any(|id| i32::try_from(id) != Ok(of)) {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(30) {
                return Err(format!("nobody follows: {}", running.stdout()?).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn write(&self, segments: u32) -> Outcome<()> {
        for _ in 0..segments {
            let fill = "INSERT INTO filler SELECT g, repeat(md5(random()::text), 8) FROM generate_series(1, 10000) g";
            self.cluster.execute("postgres", &[fill, "SELECT pg_switch_wal()"]).await?;
        }
        Ok(())
    }

    pub(crate) fn received(&self) -> std::path::PathBuf {
        self.system.path().join("state/stream/shop/database")
    }

    /// The files of log a repository has.
    pub(crate) fn stored(&self, repository: &str) -> Outcome<BTreeSet<String>> {
        let files = crate::support::system::contents(&self.system.repository(repository))?;
        let names = files.keys().filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".zst.age")?;
            name.parse::<WalName>().ok().map(|name| name.to_string())
        });
        Ok(names.collect())
    }

    /// Whether pieces of a segment reach to a position.
    pub(crate) fn has(&self, repository: &str, segment: &str, position: Lsn) -> bool {
        let offset = position.0 % SEGMENT;
        self.stored(repository).is_ok_and(|stored| {
            stored.into_iter().any(|name| match name.parse() {
                Ok(WalName::Piece { segment: of, end, .. }) => {
                    of.to_string() == segment && u64::from(end) >= offset
                }
                _ => false,
            })
        })
    }

    /// Now, apart from what was committed before and what comes.
    pub(crate) async fn moment(&self) -> Outcome<String> {
        let pause = Duration::from_millis(5);
        tokio::time::sleep(pause).await;
        let now = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
        let moment = self.cluster.text("postgres", now).await?;
        tokio::time::sleep(pause).await;
        Ok(moment)
    }

    async fn fetch(&self, segment: &str, identifier: &str, to: &Path) -> Outcome<()> {
        let identity = self.system.operational.display().to_string();
        let to = to.display().to_string();
        let fetch =
            ["wal", "fetch", "--identity", &identity, "--system-identifier", identifier, segment, &to];
        self.system.expect(0, &fetch).await.map(drop)
    }
}

fn kill(id: u32) -> Outcome<()> {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).ok_or("not a process")?;
    Ok(kill_process(pid, Signal::KILL)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shipped_is_had_back_after_the_server_is_gone() -> Outcome<()> {
    let mut streaming = Streaming::start().await?;
    streaming.cluster.execute("postgres", &["CREATE TABLE filler (n int, t text)"]).await?;
    let identifier =
        streaming.cluster.text("postgres", "SELECT system_identifier FROM pg_control_system()").await?;
    let mut running = streaming.stream().await?;
    let second = streaming.system.start(&["wal", "stream"])?.end().await?;
    assert_eq!(second.code, Some(1), "{second:?}");
    second.says("another drctl streams into")?;
    streaming.write(2).await?;

    // The receiver dies, then drctl itself while there is something to receive.
    let receiver = tree(running.id()).into_iter().find(|id| *id != running.id());
    kill(receiver.ok_or("no receiver")?)?;
    streaming.write(1).await?;
    until("it is told", || running.stdout().is_ok_and(|said| said.contains("retrying in"))).await?;
    streaming.is_followed(&running).await?;
    streaming.write(1).await?;
    running.kill()?;
    streaming.write(2).await?;
    let running = streaming.stream().await?;
    until("it is told", || {
        running.stdout().is_ok_and(|said| said.contains("terminated an orphaned receiver"))
    })
    .await?;
    streaming.write(1).await?;

    // Rows in a segment that is never ended.
    let position = "SELECT pg_current_wal_insert_lsn()";
    streaming.cluster.execute("postgres", &["CREATE TABLE ledger AS SELECT 1 AS n"]).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    streaming.cluster.execute("postgres", &["INSERT INTO ledger VALUES (2)"]).await?;
    let committed: Lsn = streaming.cluster.text("postgres", position).await?.parse()?;
    let segment =
        streaming.cluster.text("postgres", &format!("SELECT pg_walfile_name('{committed}')")).await?;
    streaming.cluster.execute("postgres", &["INSERT INTO ledger VALUES (3)"]).await?;
    let offset = usize::try_from(committed.0 % SEGMENT)?;
    let reach = |repository: &str| -> Outcome<usize> {
        let ends = streaming.stored(repository)?.into_iter().filter_map(|name| match name.parse().ok()? {
            WalName::Piece { segment: of, end, .. } if of.to_string() == segment => Some(end),
            _ => None,
        });
        Ok(usize::try_from(ends.max().unwrap_or(0))?)
    };
    let is_shipped = |repository| reach(repository).is_ok_and(|end| end >= offset);
    until("it is shipped", || is_shipped("primary") && is_shipped("west"))
        .await
        .map_err(|error| format!("{error}: {:?}", running.stdout()))?;

    // The server is gone. Everything is had back, as it was written.
    streaming.cluster.kill_9()?;
    running.signal(Signal::TERM)?;
    let ended = running.end().await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let pg_wal = streaming.cluster.data().join("pg_wal");
    let target = streaming.system.path().join("fetched");
    for repository in ["primary", "west"] {
        let stored = streaming.stored(repository)?;
        let whole: Vec<_> = stored.iter().filter(|name| name.len() == 24).collect();
        assert!(whole.len() >= 7, "{stored:?}");
        for name in whole {
            streaming.fetch(name, &identifier, &target).await?;
            assert!(std::fs::read(&target)? == std::fs::read(pg_wal.join(name))?, "{name}");
        }
    }
    streaming.fetch(&segment, &identifier, &target).await?;
    let (had, written) = (std::fs::read(&target)?, std::fs::read(pg_wal.join(&segment))?);
    assert_eq!(had.len(), written.len());
    let end = streaming_end(&had);
    assert!(end >= offset, "{end} < {offset}");
    assert!(had[..end] == written[..end], "the pieces are not what the server wrote");

    // Nothing is missing, and nothing that is archived stays.
    let status = streaming.system.expect(0, &["wal", "status"]).await?;
    assert!(!status.stdout.contains("missing"), "{}", status.stdout);
    let left: Vec<_> =
        std::fs::read_dir(streaming.received())?.flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    Ok(())
}

fn streaming_end(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// The server dies, a standby is promoted, and the stream follows that one.
#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_is_followed_onto_its_timeline() -> Outcome<()> {
    let mut streaming = Streaming::start().await?;
    Ledger::create(&streaming.cluster).await?;
    let insert = "INSERT INTO ledger (note) VALUES ('row')";
    let running = streaming.stream().await?;
    streaming.system.expect(0, &["backup"]).await?;
    streaming.cluster.execute("postgres", &[insert, "SELECT pg_switch_wal()", insert]).await?;
    let before = streaming.moment().await?;
    streaming.cluster.execute("postgres", &[insert]).await?;
    let standby = streaming.cluster.standby().await?;
    streaming.cluster.execute("postgres", &[insert]).await?;
    let end = streaming.cluster.text("postgres", "SELECT pg_current_wal_insert_lsn()").await?;
    crate::recovery::until_replayed(&standby, &end).await?;
    running.signal(Signal::TERM)?;
    assert_eq!(running.end().await?.code, Some(0));
    let old = streaming.cluster.url("postgres");
    streaming.cluster.kill_9()?;
    standby.execute("postgres", &["SELECT pg_promote()", insert]).await?;
    streaming.cluster = standby;
    streaming.system.rewrite(&old, &streaming.cluster.url("postgres"))?;

    let running = streaming.stream().await?;
    streaming.cluster.execute("postgres", &[insert]).await?;
    let committed: Lsn =
        streaming.cluster.text("postgres", "SELECT pg_current_wal_insert_lsn()").await?.parse()?;
    let segment =
        streaming.cluster.text("postgres", &format!("SELECT pg_walfile_name('{committed}')")).await?;
    assert!(segment.starts_with("00000002"), "{segment}");
    // The last bytes of a record may be zeros, which nobody can tell from those behind it.
    let more = "SELECT pg_logical_emit_message(false, 'more', 'and more')";
    streaming.cluster.execute("postgres", &[more]).await?;
    until("it is shipped", || {
        streaming.has("primary", &segment, committed) && streaming.has("west", &segment, committed)
    })
    .await
    .map_err(|error| format!("{error}: {:?}", running.stdout()))?;
    for repository in ["primary", "west"] {
        assert!(streaming.stored(repository)?.contains("00000002.history"));
    }
    let all = numbers(&streaming.cluster).await?;
    // It dies, too, in the segment that its timeline begins in.
    streaming.cluster.kill_9()?;
    running.signal(Signal::TERM)?;
    assert_eq!(running.end().await?.code, Some(0));
    let Streaming { system, cluster } = streaming;
    let drctl = system.hand_to_server()?;
    let archiving = Archiving { system, cluster, drctl };
    let restored = archiving.recovered("latest", &["--latest"]).await?;
    assert_eq!(restored.report["details"]["started"]["timeline"], 3);
    insists(restored, &all).await?;
    let restored = archiving.recovered("before", &["--point-in-time", &before]).await?;
    insists(restored, &all[..3]).await?;
    Ok(())
}

/// What is kept with a file of log in a repository that is a directory.
fn kept_with(streaming: &Streaming, repository: &str, name: &str) -> Outcome<Value> {
    for entry in std::fs::read_dir(streaming.system.repository(repository).join(".drctl/metadata"))? {
        let kept: Value = serde_json::from_slice(&std::fs::read(entry?.path())?)?;
        if kept["key"].as_str().is_some_and(|key| key.contains(&format!("{name}.zst"))) {
            return Ok(kept["metadata"].clone());
        }
    }
    Err(format!("nothing is kept with {name}").into())
}

/// Its receiver stands still for some segments and then catches up: what it gets late was not complete late.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_behind_does_not_claim_what_it_lacks() -> Outcome<()> {
    let streaming = Streaming::start().await?;
    streaming.cluster.execute("postgres", &["CREATE TABLE filler (n int, t text)"]).await?;
    let running = streaming.stream().await?;
    streaming.write(1).await?;
    let receiver = tree(running.id()).into_iter().find(|id| *id != running.id()).ok_or("no receiver")?;
    let receiver = i32::try_from(receiver).ok().and_then(Pid::from_raw).ok_or("not a process")?;
    kill_process(receiver, Signal::STOP)?;
    // It looks every second.
    let looks = Duration::from_secs(3);
    tokio::time::sleep(looks).await;
    let mut left = vec![];
    for _ in 0..3 {
        let current = "SELECT pg_walfile_name(pg_current_wal_insert_lsn())";
        let segment = streaming.cluster.text("postgres", current).await?;
        streaming.write(1).await?;
        streaming.cluster.execute("postgres", &["INSERT INTO filler VALUES (0, 'behind it')"]).await?;
        left.push((segment, streaming.moment().await?.parse::<DateTime<Utc>>()?));
    }
    tokio::time::sleep(looks).await;
    kill_process(receiver, Signal::CONT)?;
    // They are archived at the same time, and in no order.
    let all_are_there = || {
        streaming.stored("west").is_ok_and(|stored| left.iter().all(|(segment, _)| stored.contains(segment)))
    };
    until("it caught up", all_are_there).await?;
    for (segment, when) in &left {
        let kept = kept_with(&streaming, "west", segment)?;
        let time = |name: &str| kept[name].as_str().and_then(|time| time.parse::<DateTime<Utc>>().ok());
        assert!(time("completed") > Some(*when), "{segment} was not received late: {kept}");
        let until = time("complete-until").ok_or("nobody knows until when it is complete")?;
        assert!(until < *when, "{segment} is called complete until {until}, and was left at {when}");
    }
    // Nothing more is written, and all of it is there.
    let all_until = async || {
        let status = streaming.system.drctl(&["wal", "status", "--output", "json"]).await?.document()?;
        let until = status["repositories"][1]["all_until"].as_str().unwrap_or_default().to_owned();
        Outcome::Ok(until.parse::<DateTime<Utc>>().ok())
    };
    let begun = Instant::now();
    while all_until().await? <= Some(left[2].1) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is not known that all of it is there");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    running.signal(Signal::TERM)?;
    assert_eq!(running.end().await?.code, Some(0));
    Ok(())
}

/// The slot is dropped while nobody follows, and the server removes what it kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_slot_was_lost_goes_on_behind_a_gap_and_says_so() -> Outcome<()> {
    let streaming = Streaming::start_with("0").await?;
    streaming.cluster.execute("postgres", &["CREATE TABLE filler (n int, t text)"]).await?;
    let running = streaming.stream().await?;
    streaming.system.expect(0, &["backup"]).await?;
    streaming.write(2).await?;
    streaming
        .cluster
        .execute("postgres", &["INSERT INTO filler VALUES (0, 'in the segment that breaks off')"])
        .await?;
    let broken =
        streaming.cluster.text("postgres", "SELECT pg_walfile_name(pg_current_wal_insert_lsn())").await?;
    let partial = streaming.received().join(format!("{broken}.partial"));
    until("it is received", || partial.exists()).await?;
    let status = streaming.system.expect(0, &["wal", "status"]).await?;
    status.says("is followed (")?;
    assert!(!status.stderr.contains("archive_mode"), "{}", status.stderr);
    streaming.system.expect(0, &["status"]).await?;
    running.signal(Signal::TERM)?;
    assert_eq!(running.end().await?.code, Some(0));

    // Nobody follows, and then there is nothing to follow.
    let status = streaming.system.expect(3, &["wal", "status"]).await?;
    status.says(&format!("slot `{SLOT}` is inactive"))?;
    streaming.system.drctl(&["wal", "configure"]).await?.says("an inactive slot")?;
    let drop = format!("SELECT pg_drop_replication_slot('{SLOT}')");
    streaming.cluster.execute("postgres", &[&drop]).await?;
    streaming.write(3).await?;
    streaming.cluster.execute("postgres", &["CHECKPOINT", "CHECKPOINT"]).await?;
    assert!(!streaming.cluster.data().join("pg_wal").join(&broken).exists(), "{broken} is still there");
    streaming
        .system
        .expect(3, &["wal", "status"])
        .await?
        .says(&format!("the server has no slot `{SLOT}`"))?;
    let status = streaming.system.expect(3, &["status"]).await?;
    status.says("stalled")?.says(&format!("the server has no slot `{SLOT}`"))?;
    streaming.system.drctl(&["doctor"]).await?.says(&format!("the server has no slot `{SLOT}`"))?;

    // It goes on where the new slot begins.
    let running = streaming.stream().await?;
    let said = running.stdout()?;
    assert!(said.contains(&format!("the server no longer has {broken}")), "{said}");
    assert!(said.contains("a base backup is needed"), "{said}");
    let after =
        streaming.cluster.text("postgres", "SELECT pg_walfile_name(pg_current_wal_insert_lsn())").await?;
    streaming.write(1).await?;
    let is_there =
        |repository: &str| streaming.stored(repository).is_ok_and(|stored| stored.contains(&after));
    until("it is archived", || is_there("primary") && is_there("west"))
        .await
        .map_err(|error| format!("{error}: {:?}", running.stdout()))?;
    // What was received of the one that broke off is archived, and not kept here.
    let aside = streaming.received().join("aside");
    until("nothing waits aside", || std::fs::read_dir(&aside).is_ok_and(|mut files| files.next().is_none()))
        .await?;
    let pieces = |repository: &str| -> Outcome<bool> {
        Ok(streaming.stored(repository)?.iter().any(|name| name.starts_with(&format!("{broken}."))))
    };
    assert!(pieces("primary")? && pieces("west")?);
    assert!(!running.stdout()?.contains("retrying in"), "{}", running.stdout()?);
    streaming.system.expect(21, &["wal", "status"]).await?.says(&format!("missing {broken}"))?;
    streaming.system.expect(21, &["status"]).await?.says("is missing before it")?;

    // The base backup that it asks for makes all well.
    streaming.system.expect(0, &["backup"]).await?;
    streaming.write(1).await?;
    streaming.system.expect(0, &["status"]).await?;
    let status = streaming.system.expect(0, &["wal", "status"]).await?;
    status.says(&format!("missing {broken}"))?.says("is behind that, and can be brought to the end")?;
    running.signal(Signal::TERM)?;
    assert_eq!(running.end().await?.code, Some(0));
    Ok(())
}
