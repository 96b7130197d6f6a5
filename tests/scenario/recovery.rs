//! Recovery to a moment, on real servers: what comes back is just what was committed then.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::recovery_borders::forget;
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::ledger::{Ledger, Mark, Restored, Writers, options};
use crate::support::postgres::Cluster;
use crate::support::s3::S3Server;
use crate::support::system::{Place, Run, System, contents};

pub(crate) const TWO: [Place; 2] = [Place::Directory, Place::Directory];

pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339()
}

pub(crate) async fn insists(restored: Restored, expected: &[i64]) -> Outcome<Restored> {
    let found = restored.numbers().await?;
    assert!(found == expected, "{found:?} came back, and {expected:?} was committed: {:#}", restored.report);
    assert_eq!(restored.text("SELECT pg_is_in_recovery()").await?, "false");
    assert_eq!(restored.text("SELECT current_setting('archive_mode')").await?, "off");
    Ok(restored)
}

pub(crate) async fn now(archiving: &Archiving) -> Outcome<DateTime<Utc>> {
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
    let opened = now(&archiving).await?;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let closing = now(&archiving).await?;
    sqlx::raw_sql("COMMIT").execute(&mut open).await?;
    writers.end().await?;
    let ledger = Ledger::read(cluster).await?;
    let middle = ledger.middle(begun)?;
    let inside = ledger.pause(opened, closing)?;
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
    // So long after it, what is archived is known to be all.
    tokio::time::sleep(Duration::from_secs(11)).await;
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

/// The server replays the commit that it stops at, and does not count it.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_at_the_very_position_is_replayed_and_told_and_one_just_before_it_is_not() -> Outcome<()> {
    let history = History::begin(&TWO).await?;
    let archiving = &history.archiving;
    let cluster = &archiving.cluster;
    let before = history.numbers(5);
    let begun = now(archiving).await?;
    let mut open = cluster.connect("postgres").await?;
    sqlx::raw_sql("BEGIN; INSERT INTO ledger (n, note) VALUES (99, 'at it')").execute(&mut open).await?;
    // Where its commit begins: nobody else writes.
    let at: String =
        sqlx::query_scalar("SELECT pg_current_wal_insert_lsn()::text").fetch_one(&mut open).await?;
    sqlx::raw_sql("COMMIT").execute(&mut open).await?;
    cluster
        .execute("postgres", &["INSERT INTO ledger (note) VALUES ('row')", "SELECT pg_switch_wal()"])
        .await?;
    archiving.settle().await?;

    let with = archiving.recovered("with", &["--to-lsn", &at]).await?;
    let last = with.report["details"]["started"]["last_commit"].as_str().ok_or("no last commit")?;
    assert!(last.parse::<DateTime<Utc>>()? >= begun, "{last} is before {begun}: {:#}", with.report);
    let whole: Vec<i64> = before.iter().copied().chain([99]).collect();
    let mut found = with.numbers().await?;
    found.sort_unstable();
    assert_eq!(found, whole);
    let without = archiving.recovered("without", &["--to-lsn", &at, "--exclusive"]).await?;
    let last = without.report["details"]["started"]["last_commit"].as_str().ok_or("no last commit")?;
    assert!(last.parse::<DateTime<Utc>>()? < begun, "{last} is not before {begun}");
    insists(without, &before).await?;
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "for a major that is not on every machine: DRCTL_TEST_MAJOR"]
async fn and_so_it_does_with_another_major() -> Outcome<()> {
    every_kind_of_target(std::env::var("DRCTL_TEST_MAJOR")?.parse()?).await
}

/// Removes a segment from a repository that is a directory, and gives it back when it is put again.
pub(crate) fn take_segment(
    archiving: &Archiving,
    repository: &str,
    segment: &str,
) -> Outcome<(PathBuf, Vec<u8>)> {
    let files = contents(&archiving.system.repository(repository))?;
    let wanted = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name == format!("{segment}.zst.age")
    };
    let path = files.keys().find(wanted).ok_or_else(|| format!("no {segment} in {repository}"))?.clone();
    let bytes = std::fs::read(&path)?;
    std::fs::remove_file(&path)?;
    Ok((path, bytes))
}

/// A cluster with a base backup in both repositories, and a row in each of some segments after it.
pub(crate) struct History {
    pub(crate) archiving: Archiving,
    /// The segment, the row in it, and a moment after its commit.
    pub(crate) rows: Vec<(String, i64, DateTime<Utc>)>,
    /// Before the backup.
    before: DateTime<Utc>,
}

impl History {
    pub(crate) async fn begin(places: &[Place]) -> Outcome<Self> {
        let archiving = Archiving::start(places, "", options(15)).await?;
        archiving.base("")?;
        Ledger::create(&archiving.cluster).await?;
        let before = now(&archiving).await?;
        archiving.backup(0, &[]).await?;
        let mut history = Self { archiving, rows: vec![], before };
        for _ in 0..5 {
            history.row().await?;
        }
        history.archiving.settle().await?;
        Ok(history)
    }

    async fn row(&mut self) -> Outcome<()> {
        let cluster = &self.archiving.cluster;
        cluster.execute("postgres", &["INSERT INTO ledger (note) VALUES ('row')"]).await?;
        let n = cluster.text("postgres", "SELECT max(n) FROM ledger").await?.parse()?;
        let segment = cluster.text("postgres", "SELECT pg_walfile_name(pg_current_wal_insert_lsn())").await?;
        tokio::time::sleep(Duration::from_millis(5)).await;
        let after = now(&self.archiving).await?;
        tokio::time::sleep(Duration::from_millis(5)).await;
        cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
        self.rows.push((segment, n, after));
        Ok(())
    }

    /// What was there when this many of the rows were.
    pub(crate) fn numbers(&self, rows: usize) -> Vec<i64> {
        std::iter::once(1).chain(self.rows[..rows].iter().map(|(_, n, _)| *n)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_is_refused_with_what_can_be() -> Outcome<()> {
    let history = History::begin(&TWO).await?;
    let archiving = &history.archiving;
    let told = |run: &Run, words: &[&str]| -> Outcome<()> {
        words.iter().try_for_each(|words| run.says(words).map(drop))
    };
    // Outside of the window.
    let window = ["`primary` has everything from", "`west` has everything from"];
    let early = archiving.unrecovered(10, &["--point-in-time", &time(history.before)]).await?;
    told(&early, &window)?;
    told(&early, &["is before the end of every base backup"])?;
    let late = archiving.unrecovered(10, &["--point-in-time", &time(now(archiving).await?)]).await?;
    told(&late, &window)?;
    told(&late, &["what was committed between then and the target is unknown", "--latest"])?;
    archiving.unrecovered(10, &["--point-in-time", "2999-01-01T00:00:00Z"]).await?.says("it is 20")?;
    archiving.unrecovered(10, &["--to-lsn", "FF/0"]).await?.says("the archive ends at position")?;
    archiving.unrecovered(10, &["--to-xid", "5"]).await?.says("is before the end of every base backup")?;
    archiving.unrecovered(2, &["--latest", "--timeline", "7"]).await?.says("no timeline 7")?;

    // Not said clearly.
    let local = archiving.unrecovered(2, &["--point-in-time", "2026-11-20 14:05:00"]).await?;
    told(&local, &["time zone", "2026-11-20T14:05:00Z", "2026-11-20T14:05:00+02:00"])?;
    archiving.unrecovered(2, &["--latest", "--to-lsn", "0/1"]).await?;
    archiving.unrecovered(2, &["--latest", "--table", "ledger"]).await?.says("is for dumps")?;
    archiving.unrecovered(2, &["--timeline", "1"]).await?.says("--point-in-time")?;
    archiving.unrecovered(2, &[]).await?.says("--latest")?;
    archiving.unrecovered(2, &["--latest", "--from", "nowhere"]).await?.says("no repository")?;

    // Where something is already.
    let in_the_way = archiving.system.path().join("full");
    std::fs::create_dir(&in_the_way)?;
    std::fs::write(in_the_way.join("precious"), "x")?;
    archiving.recover("full", &["--latest"]).await?.says("is not empty")?;
    let data = archiving.cluster.data();
    for to in [data.clone(), data.join("base"), data.join("new/one")] {
        let identity = archiving.system.operational.display().to_string();
        let to = to.display().to_string();
        let command = ["restore", "database", "--latest", "--to", &to, "--identity", &identity];
        let run = archiving.run_as_server(&command).await?;
        assert_eq!(run.code, Some(1), "{run:#?}");
    }
    assert!(!data.join("new").exists());
    let inside = archiving.system.repository("west").join("new");
    let shown = inside.display().to_string();
    let identity = archiving.system.operational.display().to_string();
    let command = ["restore", "database", "--latest", "--to", &shown, "--identity", &identity];
    let run = archiving.run_as_server(&command).await?;
    assert_eq!(run.code, Some(1), "{run:#?}");
    run.says("where repository `west` keeps the backups")?;
    assert!(!inside.exists());
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port().to_string();
    archiving
        .unrecovered(1, &["--latest", "--start", "--port", &port])
        .await?
        .says("no server can listen")?;
    assert_eq!(std::fs::read_to_string(in_the_way.join("precious"))?, "x");

    // A key that is not the one.
    let to = archiving.system.path().join("refused").display().to_string();
    let without = archiving.run_as_server(&["restore", "database", "--latest", "--to", &to]).await?;
    assert_eq!(without.code, Some(12), "{without:#?}");
    without.says("--identity")?;

    // The plan says what will be done, and does nothing.
    let plan = archiving.unrecovered(0, &["--latest", "--plan", "--output", "json"]).await?.document()?;
    assert_eq!(plan["goal"]["at"], "end");
    assert_eq!(plan["proven"]["timeline"], 1);

    // A gap, in one of them and in both.
    let (segment, _, after) = &history.rows[2];
    // There is a commit after it: what is after the last is known only up to a while before the gap.
    let earlier = history.rows[0].2;
    let west = take_segment(archiving, "west", segment)?;
    let plan = archiving.unrecovered(0, &["--latest", "--plan"]).await?;
    told(&plan, &["west alone leads to", &format!("segment {segment} is missing")])?;
    let alone = archiving.unrecovered(10, &["--latest", "--from", "west"]).await?;
    told(&alone, &["the WAL does not lead to", &format!("segment {segment} is missing")])?;
    let restored = archiving.recovered("around", &["--latest"]).await?;
    insists(restored, &history.numbers(5)).await?;
    let _primary = take_segment(archiving, "primary", segment)?;
    for options in [["--point-in-time", &time(*after)], ["--point-in-time", &time(history.rows[4].2)]] {
        let both = archiving.unrecovered(10, &options).await?;
        told(
            &both,
            &["the WAL does not lead to", &format!("segment {segment} is missing"), "before the gap"],
        )?;
    }
    let restored = archiving.recovered("before-it", &["--point-in-time", &time(earlier)]).await?;
    insists(restored, &history.numbers(1)).await?;
    std::fs::write(&west.0, &west.1)?;
    Ok(())
}

/// A backup is only as good as the log that leads away from it.
#[tokio::test(flavor = "multi_thread")]
async fn verify_reads_the_log_too() -> Outcome<()> {
    let history = History::begin(&TWO).await?;
    let system = &history.archiving.system;
    let identity = system.operational.display().to_string();
    let good = system.expect(0, &["verify"]).await?;
    good.says("good    WAL of database in primary")?.says("good    WAL of database in west")?;
    let open = system.expect(0, &["verify", "--latest", "--identity", &identity]).await?;
    assert_eq!(open.stdout.lines().filter(|line| line.ends_with(", decrypted")).count(), 4, "{open:#?}");

    let segment = &history.rows[1].0;
    let (path, bytes) = take_segment(&history.archiving, "west", segment)?;
    let gap = system.expect(1, &["verify"]).await?;
    gap.says("bad     WAL of database in west")?.says(&format!("segment {segment} is missing"))?;
    gap.says("good    WAL of database in primary")?.says("drctl copies sync")?;
    system.expect(0, &["verify", "--from", "primary"]).await?;

    system.expect(0, &["copies", "sync"]).await?;
    system.expect(0, &["verify"]).await?;

    // As someone puts a file back: what was kept with it when it was written still tells that it is the same.
    std::fs::write(&path, &bytes)?;
    system.expect(0, &["verify"]).await?;
    // Nothing does where the folder was copied without that.
    assert!(forget(&system.repository("west"), "/.drctl/metadata/")? > 0);
    let unknown = system.expect(3, &["verify"]).await?;
    unknown.says("only `--identity` could tell")?.says("the WAL could not be checked")?;
    system.expect(0, &["verify", "--identity", &identity]).await?;

    let mut altered = std::fs::read(&path)?;
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    std::fs::write(&path, &altered)?;
    system.expect(3, &["verify"]).await?.says("unknown WAL of database in west")?;
    let opened = ["verify", "--identity", &identity, "--output", "json"];
    let document = system.expect(1, &opened).await?.document()?;
    let west = &document["logs"].as_array().and_then(|logs| logs.last()).ok_or("no logs")?;
    assert_eq!((&west["repository"], &west["verdict"]), (&"west".into(), &"bad".into()), "{document}");
    assert!(west["faults"][0].as_str().is_some_and(|fault| fault.contains(segment)), "{document}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_primary_a_copy_is_enough() -> Outcome<()> {
    let mut history = History::begin(&TWO).await?;
    let gone = history.archiving.system.path().join("gone");
    std::fs::rename(history.archiving.system.repository("primary"), &gone)?;
    // And so is the server.
    history.archiving.cluster.kill();
    let archiving = &history.archiving;
    let restored = archiving.recovered("automatic", &["--latest"]).await?;
    let restored = insists(restored, &history.numbers(5)).await?;
    let notes = restored.report["notes"].to_string();
    assert!(notes.contains("primary cannot be used and may have newer WAL"), "{notes}");
    drop(restored);
    let moment = time(history.rows[2].2);
    let restored = archiving.recovered("asked", &["--point-in-time", &moment, "--from", "west"]).await?;
    insists(restored, &history.numbers(3)).await?;
    archiving
        .unrecovered(1, &["--latest", "--from", "primary"])
        .await?
        .says("failed to read any repository")?;

    // A backup that is damaged in the one is read from the other, from its beginning.
    std::fs::rename(&gone, archiving.system.repository("primary"))?;
    let files = contents(&archiving.system.repository("primary"))?;
    let base = files.keys().find(|path| path.to_string_lossy().contains("base.tar")).ok_or("no base")?;
    let mut bytes = std::fs::read(base)?;
    let at = bytes.len() - 1000;
    bytes[at] ^= 1;
    std::fs::write(base, bytes)?;
    let restored = archiving.recovered("other", &["--latest"]).await?;
    let restored = insists(restored, &history.numbers(5)).await?;
    assert_eq!(restored.report["details"]["repository"], "west");
    drop(restored);
    // Nor is it restored at all where both are.
    let west = files.keys().find(|path| path.to_string_lossy().contains("base.tar")).ok_or("no base")?;
    let west = west.to_string_lossy().replace("/primary/", "/west/");
    std::fs::write(&west, "cut")?;
    let run = archiving.recover("damaged", &["--latest"]).await?;
    assert_eq!(run.code, Some(1), "{run:#?}");
    run.says("what was written to")?;
    assert_eq!(std::fs::read_dir(archiving.system.path().join("damaged"))?.count(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_promotions_are_followed() -> Outcome<()> {
    let mut archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.base("")?;
    Ledger::create(&archiving.cluster).await?;
    archiving.backup(0, &[]).await?;
    let mut marks = Vec::new();
    for promotion in 0..3 {
        if promotion > 0 {
            let standby = archiving.cluster.standby().await?;
            let end = archiving.cluster.text("postgres", "SELECT pg_current_wal_insert_lsn()").await?;
            until_replayed(&standby, &end).await?;
            archiving.cluster.kill();
            standby.execute("postgres", &["SELECT pg_promote()"]).await?;
            archiving.cluster = standby;
        }
        let insert = "INSERT INTO ledger (note) SELECT 'x' FROM generate_series(1, 10)";
        archiving.cluster.execute("postgres", &[insert]).await?;
        let mark = Mark::make(&archiving.cluster, &format!("mark {promotion}")).await?;
        marks.push((mark, now(&archiving).await?));
        archiving.cluster.execute("postgres", &[insert, "SELECT pg_switch_wal()", insert]).await?;
    }
    archiving.cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;
    let numbers =
        archiving.cluster.text("postgres", "SELECT string_agg(n::text, ',' ORDER BY n) FROM ledger").await?;
    let all: Vec<i64> = numbers.split(',').map(str::parse).collect::<Result<_, _>>()?;
    assert_eq!(
        archiving.cluster.text("postgres", "SELECT timeline_id FROM pg_control_checkpoint()").await?,
        "3"
    );

    let restored = archiving.recovered("latest", &["--latest"]).await?;
    assert_eq!(restored.report["details"]["started"]["timeline"], 4);
    insists(restored, &all).await?;
    let times: Vec<_> = marks.iter().map(|(_, at)| time(*at)).collect();
    for (n, options) in [
        (0, ["--point-in-time", &times[0]]),
        (1, ["--to-lsn", &marks[1].0.lsn]),
        (1, ["--point-in-time", &times[1]]),
        (2, ["--to-name", "mark 2"]),
    ] {
        let restored = archiving.recovered(&format!("{}-{n}", options[0]), &options).await?;
        insists(restored, &marks[n].0.numbers).await.map_err(|error| format!("{options:?}: {error}"))?;
    }
    Ok(())
}

pub(crate) async fn until_replayed(standby: &Cluster, lsn: &str) -> Outcome<()> {
    let query = format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'::pg_lsn");
    let begun = std::time::Instant::now();
    while standby.text("postgres", &query).await? != "true" {
        if begun.elapsed() > Duration::from_secs(60) {
            return Err(format!("the standby does not follow: {}", standby.log_tail()).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_trouble_never_makes_a_server_that_stopped_early() -> Outcome<()> {
    let servers = [S3Server::start().await?, S3Server::start().await?];
    let proxies = [FaultProxy::to(servers[0].address).await?, FaultProxy::to(servers[1].address).await?];
    let places = proxies.each_ref().map(|proxy| Place::of_server(proxy.address));
    let history = History::begin(&places).await?;
    let archiving = &history.archiving;
    for (n, fault) in
        [Fault::Status(500, "InternalError"), Fault::CutBody(100), Fault::Refuse].into_iter().enumerate()
    {
        let segment = &history.rows[3].0;
        for proxy in &proxies {
            proxy.fail(When::method("GET").with(segment), fault.clone());
        }
        let name = format!("broken-{n}");
        let run = archiving.recover(&name, &["--latest", "--start"]).await?;
        assert_eq!(run.code, Some(1), "{fault:?}: {run:#?}");
        run.says(&format!("failed to fetch `{segment}`"))?;
        run.says("are whole and stay there")?;
        let to = archiving.system.path().join(&name);
        assert!(to.join("recovery.signal").exists() && !to.join("postmaster.pid").exists());
        proxies.iter().for_each(FaultProxy::heal);
    }
    let restored = archiving.recovered("healed", &["--latest"]).await?;
    insists(restored, &history.numbers(5)).await?;
    Ok(())
}

/// Killed at any moment, what is left starts no server, and is known for what it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_restore_leaves_is_no_data_directory() -> Outcome<()> {
    let history = History::begin(&TWO).await?;
    let archiving = &history.archiving;
    let to = archiving.system.path().join("killed");
    let identity = archiving.system.operational.display().to_string();
    let shown = to.display().to_string();
    let command = ["restore", "database", "--latest", "--to", &shown, "--identity", &identity];
    let (mut left, mut whole) = (0, 0);
    for round in 0..20_u64 {
        let options: &[&str] = if to.exists() { &["--drop-leftovers"] } else { &[] };
        let mut restore = archiving.server_command(&[&command, options].concat())?;
        let mut child = restore.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        if round % 2 == 0 {
            // Within the unpacking, wherever that is by then.
            let begun = std::time::Instant::now();
            while !to.join("base/1").exists() && begun.elapsed() < Duration::from_secs(20) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let at_most = if round % 2 == 0 { 20 } else { 150 + round * 20 };
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..at_most))).await;
        child.kill()?;
        child.wait()?;
        if to.join("global/pg_control").exists() {
            // It came to the end: then everything is there.
            whole += 1;
            assert!(to.join("recovery.signal").exists() && to.join("backup_label").exists());
            std::fs::remove_dir_all(&to)?;
            continue;
        }
        if !to.join("drctl-unfinished.json").exists() {
            let empty = !to.exists() || std::fs::read_dir(&to)?.next().is_none();
            assert!(empty, "what is left cannot be told from data");
            continue;
        }
        left += 1;
        if left == 1 {
            let again = archiving.recover("killed", &["--latest"]).await?;
            assert_eq!(again.code, Some(1), "{again:#?}");
            again.says("is left of a restore that did not end")?.says("--drop-leftovers")?;
        }
    }
    assert!(left >= 5, "{left} were left and {whole} were whole");
    let _gone = std::fs::remove_dir_all(&to);
    let restored = archiving.recovered("after", &["--latest"]).await?;
    insists(restored, &history.numbers(5)).await?;
    Ok(())
}

/// Where there is no room for a second copy: the directory of the server itself, changed back.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_is_changed_into_what_was_backed_up() -> Outcome<()> {
    let mut history = History::begin(&TWO).await?;
    let before_the_mistake = history.rows[3].2;
    let expected = history.numbers(4);
    let cluster = &history.archiving.cluster;
    cluster.execute("postgres", &["DELETE FROM ledger", "CREATE TABLE later (n int)", "CHECKPOINT"]).await?;
    let data = cluster.data();
    let to = data.display().to_string();
    let identity = history.archiving.system.operational.display().to_string();
    let time = time(before_the_mistake);
    let command =
        ["restore", "database", "--point-in-time", &time, "--to", &to, "--identity", &identity, "--delta"];

    // Not while the server runs, not another cluster's, and not without being told to.
    let running = history.archiving.run_as_server(&command).await?;
    assert_eq!(running.code, Some(1), "{running:#?}");
    running.says("a server runs in")?;
    history.archiving.cluster.kill_9()?;
    std::fs::write(data.join("base/stray"), "x")?;
    let archiving = &history.archiving;
    // Whether it runs in another container only a person knows.
    archiving.run_as_server(&command).await?.says("postmaster.pid")?;
    std::fs::remove_file(data.join("postmaster.pid"))?;
    // A file that its own owner may not write to.
    let read_only = data.join("base/5/PG_VERSION");
    std::fs::set_permissions(&read_only, std::os::unix::fs::PermissionsExt::from_mode(0o400))?;
    let unasked = archiving.run_as_server(&command[..8]).await?;
    assert_eq!(unasked.code, Some(1), "{unasked:#?}");
    unasked.says("is not empty")?.says("--delta")?;
    let other = Cluster::start(15).await?.copy(&[]).await?;
    let (kept, control) = (other.data(), other.data().join("global/pg_control"));
    let before = std::fs::read(&control)?;
    let shown = kept.display().to_string();
    let mut elsewhere = command;
    elsewhere[5] = &shown;
    let refused = archiving.run_as_server(&elsewhere).await?;
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert_eq!(std::fs::read(&control)?, before);
    assert!(data.join("base/stray").exists() && data.join("global/pg_control").exists());

    // Killed on the way it is no data directory, and only the same goes on with it.
    let mut child = archiving.server_command(&command)?;
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let begun = std::time::Instant::now();
    while data.join("global/pg_control").exists() && begun.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    child.kill()?;
    child.wait()?;
    if data.join("drctl-unfinished.json").exists() {
        assert!(!data.join("global/pg_control").exists());
        let dropped = archiving.run_as_server(&[&command[..8], &["--drop-leftovers"]].concat()).await?;
        assert_eq!(dropped.code, Some(1), "{dropped:#?}");
        dropped.says("only `--delta` resumes it")?;
        // Whatever becomes of the mark, the log that is kept there is not dropped.
        let mark = data.join("drctl-unfinished.json");
        let text = std::fs::read(&mark)?;
        std::fs::write(&mark, "")?;
        let dropped = archiving.run_as_server(&[&command[..8], &["--drop-leftovers"]].concat()).await?;
        assert_eq!(dropped.code, Some(1), "{dropped:#?}");
        std::fs::write(&mark, text)?;
    }
    let run = archiving.run_as_server(&[&command[..], &["--start", "--output", "json"]].concat()).await?;
    assert_eq!(run.code, Some(0), "{run:#?}");
    let restored = Restored::of(data.clone(), run.document()?)?;
    assert!(restored.report["details"]["reused_bytes"].as_u64() > Some(10 << 20), "{:#}", restored.report);
    assert!(!data.join("base/stray").exists());
    let aside = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("pg_wal.before-"))
    };
    assert!(std::fs::read_dir(&data)?.any(aside), "the log of the server is kept");
    assert_eq!(restored.text("to_regclass('later')::text IS NULL").await?, "true");
    insists(restored, &expected).await?;
    Ok(())
}

/// As root, the files go to the server's user.
#[tokio::test(flavor = "multi_thread")]
async fn root_restores_for_another_user() -> Outcome<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let history = History::begin(&TWO).await?;
    let archiving = &history.archiving;
    let to = archiving.system.path().join("owned").display().to_string();
    let identity = archiving.system.operational.display().to_string();
    let run = async |options: &[&str]| -> Outcome<Run> {
        let mut command = tokio::process::Command::new(&archiving.drctl);
        command.args(["restore", "database", "--latest", "--to", &to, "--identity", &identity]).args(options);
        let output = command.current_dir("/").output().await?;
        Ok(Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    };
    run(&["--start"]).await?.says("PostgreSQL does not run as root")?.says("--owner postgres")?;
    run(&["--owner", "nobody-here"]).await?.says("there is no user")?;
    // A key that only root can read is of no use to the server.
    std::os::unix::fs::chown(&archiving.system.operational, Some(0), Some(0))?;
    run(&["--owner", "postgres"]).await?.says("cannot be read by `postgres`")?;
    archiving.system.hand_to_server()?;
    let done = run(&["--owner", "postgres", "--start", "--output", "json"]).await?;
    assert_eq!(done.code, Some(0), "{done:#?}");
    let restored = Restored::of(to.clone().into(), done.document()?)?;
    insists(restored, &history.numbers(5)).await?;
    Ok(())
}

/// Tablespaces and configuration that lead to where the live server is.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_restored_leads_to_the_live_server() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(15)).await?;
    let (cluster, data) = (&archiving.cluster, archiving.cluster.data());
    archiving.base(&format!("method = \"data-directory\"\ndata_directory = \"{}\"", data.display()))?;
    let places = ["fast", "100% slow"].map(|name| cluster.socket_directory().join(name));
    for (n, place) in places.iter().enumerate() {
        std::fs::create_dir(place)?;
        cluster.hand_over()?;
        let create = format!("CREATE TABLESPACE s{n} LOCATION '{}'", place.display());
        let table = format!("CREATE TABLE t{n} TABLESPACE s{n} AS SELECT g FROM generate_series(1, 5000) g");
        cluster.execute("postgres", &[&create, &table]).await?;
    }
    // As Debian and its kin have it; the server has read its file already.
    let mut text = std::fs::read_to_string(data.join("postgresql.conf"))?;
    text.push_str(&format!("data_directory = '{}'\nhba_file = '/nowhere/pg_hba.conf'\n", data.display()));
    text.push_str("recovery_target_time = '2020-01-01 00:00:00+00'\nsynchronous_standby_names = 'gone'\n");
    std::fs::write(data.join("postgresql.conf"), text)?;
    Ledger::create(cluster).await?;
    archiving.backup(0, &[]).await?;
    cluster.execute("postgres", &["INSERT INTO t1 VALUES (-1)", "SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;
    let live = contents(&places[0])?;

    let oid = cluster.text("postgres", "SELECT oid FROM pg_tablespace WHERE spcname = 's0'").await?;
    let mapped = archiving.system.path().join("mapped");
    for (to, words) in [
        (places[0].display().to_string(), "has its data"),
        (places[0].join("below").display().to_string(), "has its data"),
        (data.join("x").display().to_string(), "is a data directory"),
    ] {
        let run = archiving.unrecovered(1, &["--latest", "--tablespace", &format!("{oid}={to}")]).await?;
        run.says(words)?;
    }
    let unknown = archiving.unrecovered(2, &["--latest", "--tablespace", "1=/tmp/x"]).await?;
    unknown.says("has no tablespace `1`")?.says(&oid)?;
    let mapping = format!("{}={}", places[0].display(), mapped.display());
    let restored = archiving.recovered("odd 'name' 100%", &["--latest", "--tablespace", &mapping]).await?;
    let restored = insists(restored, &[1]).await?;
    assert_eq!(restored.text("SELECT count(*) FROM t0").await?, "5000");
    assert_eq!(restored.text("SELECT count(*) FROM t1").await?, "5001");
    assert_eq!(
        restored.text("SELECT current_setting('data_directory')").await?,
        restored.to.display().to_string()
    );
    let locations = "SELECT string_agg(pg_tablespace_location(oid), '|' ORDER BY spcname) FROM pg_tablespace WHERE spcname LIKE 's_'";
    let beside = archiving.system.path().join("odd 'name' 100%-tablespaces");
    let found = restored.text(locations).await?;
    assert!(found.starts_with(&format!("{}|{}/", mapped.display(), beside.display())), "{found}");
    // It can be written to: it waits for nobody.
    let mut connection = restored.connect().await?;
    sqlx::raw_sql("INSERT INTO t0 VALUES (-1)").execute(&mut connection).await?;
    assert_eq!(contents(&places[0])?, live);
    Ok(())
}

/// The text beside the data, followed to the letter.
#[tokio::test(flavor = "multi_thread")]
async fn the_text_beside_the_data_recovers_without_drctl() -> Outcome<()> {
    let history = History::begin(&TWO).await?;
    let archiving = &history.archiving;
    let moment = time(history.rows[2].2);
    let run = archiving.recover("by-hand", &["--point-in-time", &moment]).await?;
    assert_eq!(run.code, Some(0), "{run:#?}");
    let to = archiving.system.path().join("by-hand");
    let text = std::fs::read_to_string(to.join("RECOVER-BY-HAND.txt"))?;
    std::fs::remove_dir_all(&to)?;
    let repository = archiving.system.repository("west").display().to_string();
    let text = text.replace("REPOSITORY", &repository);
    let text = text.replace("/path/to/identity.txt", &archiving.system.escrow.display().to_string());
    let step = |n: u32| -> Vec<&str> {
        let from = text.split(&format!("\n{n}. ")).nth(1).unwrap_or_default();
        let end = from.find(&format!("\n{}. ", n + 1)).unwrap_or(from.len());
        from[..end].lines().filter_map(|line| line.strip_prefix("    ")).collect()
    };
    let settings = step(2).join("\n");
    let begin: Vec<_> = step(3).into_iter().filter(|line| !line.starts_with("psql")).collect();
    assert!(settings.contains("recovery_target_time") && begin.len() == 2, "{text}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    drop(listener);
    let script = [
        "set -euo pipefail".to_owned(),
        step(1).join("\n"),
        format!("cat >> {}/postgresql.auto.conf <<'END'\n{settings}\nEND", to.display()),
        begin.join("\n").replace(" start", &format!(" -o '-p {port} -k /tmp' start")),
    ];
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = tokio::process::Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "bash"]);
        command
    } else {
        tokio::process::Command::new("bash")
    };
    let programs = archiving.cluster.programs().display().to_string();
    command.arg("-c").arg(script.join("\n")).current_dir(archiving.system.path());
    let output = command.env("PATH", format!("{programs}:{}", std::env::var("PATH")?)).output().await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}\n{said}", script.join("\n"));
    let pid = std::fs::read_to_string(to.join("postmaster.pid"))?;
    let process: i32 = pid.lines().next().ok_or("no process")?.parse()?;
    let report = serde_json::json!({ "details": { "started": { "port": port, "process": process } } });
    let restored = Restored::of(to.clone(), report)?;
    let begun = std::time::Instant::now();
    while restored.text("SELECT pg_is_in_recovery()").await.ok().as_deref() != Some("false") {
        let log = std::fs::read_to_string(to.join("recovery.log"))?;
        assert!(begun.elapsed() < Duration::from_secs(60), "{log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    insists(restored, &history.numbers(3)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_are_only_dumps_the_nearest_is_offered() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = System::new(&cluster.url("postgres"), &TWO)?;
    let to = system.path().join("data").display().to_string();
    let restore = ["restore", "database", "--to", &to, "--point-in-time"];
    let nothing = system.expect(10, &[&restore[..], &["2026-11-20T14:05:00Z"]].concat()).await?;
    nothing.says("there is no base backup of `database`")?;
    system.expect(0, &["backup"]).await?;
    let id = system.backups_in("primary").pop().ok_or("no dump")?;
    let soon = "2999-11-20T14:05:00Z";
    let offered = system.expect(10, &[&restore[..], &[soon]].concat()).await?;
    offered.says("only dumps")?.says("would lose what was committed in the")?;
    offered.says(&format!("drctl restore database --backup {id} --to"))?;
    Ok(())
}
