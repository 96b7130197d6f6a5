//! What `status` says is so: of the policy's own server, and of what was found when it was read again.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use rustix::process::Signal;
use serde_json::Value;

use crate::recovery::{History, TWO, insists, take_segment};
use crate::recovery_promoted::numbers;
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::{Ledger, options};
use crate::support::postgres::Cluster;
use crate::support::system::{Run, contents, move_times, until};

const INSERT: &str = "INSERT INTO ledger (note) VALUES ('row')";
const SWITCH: &str = "SELECT pg_switch_wal()";
const SOON: Duration = Duration::from_secs(60);

async fn shown(archiving: &Archiving, code: i32, command: &[&str]) -> Outcome<Run> {
    let run = archiving.run_as_server(command).await?;
    assert_eq!(run.code, Some(code), "{command:?}: {run:#?}");
    Ok(run)
}

/// What is said of each repository; `status` must end with this exit status.
async fn places(archiving: &Archiving, code: i32) -> Outcome<[Value; 2]> {
    let document = shown(archiving, code, &["status", "--output", "json"]).await?.document()?;
    Ok([0, 1].map(|n| document["sources"][0]["places"][n].clone()))
}

async fn verdicts(archiving: &Archiving, code: i32) -> Outcome<[String; 2]> {
    Ok(places(archiving, code).await?.map(|place| place["verdict"].as_str().unwrap_or_default().to_owned()))
}

/// The file of a segment in a repository that is a directory.
fn stored(archiving: &Archiving, repository: &str, segment: &str) -> Outcome<PathBuf> {
    let files = contents(&archiving.system.repository(repository))?;
    let name = format!("{segment}.zst.age");
    let path = files.into_keys().find(|path| path.ends_with(&name));
    Ok(path.ok_or_else(|| format!("no {segment} in {repository}"))?)
}

/// Changes one byte, and leaves the file's time as it was.
fn alter(path: &PathBuf) -> Outcome<()> {
    let written = std::fs::metadata(path)?.modified()?;
    let mut bytes = std::fs::read(path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes)?;
    Ok(std::fs::File::options().write(true).open(path)?.set_modified(written)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_nothing_is_kept_of_is_not_ok() -> Outcome<()> {
    let history = History::begin(&TWO).await?;
    let archiving = &history.archiving;
    assert_eq!(verdicts(archiving, 0).await?, ["ok", "ok"]);
    let stranger = Cluster::start_with(options(15)).await?;
    let (ours, theirs) = (archiving.cluster.url("postgres"), stranger.url("postgres"));
    archiving.system.rewrite(&ours, &theirs)?;
    assert_eq!(verdicts(archiving, 21).await?, ["other-cluster", "other-cluster"]);
    let identifier = "SELECT system_identifier::text FROM pg_control_system()";
    let said = shown(archiving, 21, &["status"]).await?;
    for cluster in [&archiving.cluster, &stranger] {
        said.says(&cluster.text("postgres", identifier).await?)?;
    }
    said.says("its own source in the policy")?.says("you would lose everything")?;
    archiving.system.rewrite(&theirs, &ours)?;
    assert_eq!(verdicts(archiving, 0).await?, ["ok", "ok"]);
    Ok(())
}

/// The server has not written for two hours, as far as the files tell.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_server_that_writes_nothing_nothing_is_lost() -> Outcome<()> {
    let history = History::begin(&TWO).await?;
    let archiving = &history.archiving;
    let cluster = &archiving.cluster;
    let wal_status = async |code| shown(archiving, code, &["wal", "status"]).await;
    let two_hours = -TimeDelta::hours(2);
    let grow_old = || {
        let folders = ["primary", "west"].map(|name| archiving.system.repository(name));
        folders.iter().try_for_each(|folder| move_times(folder, &["completed", "newest-commit"], two_hours))
    };
    archiving.settle().await?;
    grow_old()?;
    wal_status(0).await?;
    // What is written now may wait for ever to be archived.
    cluster.execute("postgres", &[INSERT]).await?;
    let missed = wal_status(21).await?;
    assert!(missed.stdout.contains("objective missed"), "{}", missed.stdout);
    // Now not for longer than this.
    let archive_timeout = "ALTER SYSTEM SET archive_timeout = '20min'";
    cluster.execute("postgres", &[archive_timeout, "SELECT pg_reload_conf()"]).await?;
    let setting = "current_setting('archive_timeout')";
    let begun = Instant::now();
    while cluster.text("postgres", setting).await? != "20min" {
        assert!(begun.elapsed() < SOON, "the setting is not read");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let well = wal_status(0).await?;
    assert!(!well.stdout.contains("late"), "{}", well.stdout);
    // Nobody can ask the server any more.
    archiving.system.rewrite(&cluster.url("postgres"), "postgres://postgres@127.0.0.1:1/postgres")?;
    wal_status(21).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn log_that_was_found_bad_counts_for_nothing_until_it_is_mended() -> Outcome<()> {
    let history = History::begin(&TWO).await?;
    let archiving = &history.archiving;
    let segment = &history.rows[2].0;
    alter(&stored(archiving, "primary", segment)?)?;
    shown(archiving, 1, &["verify"]).await?.says(segment)?;
    assert_eq!(verdicts(archiving, 21).await?, ["bad-log", "ok"]);
    let said = shown(archiving, 21, &["status"]).await?;
    said.says(&format!("primary: {segment} was bad"))?.says("`drctl copies sync`")?;
    // What it would lose is counted from before it.
    let [primary, west] = places(archiving, 21).await?;
    assert!(primary["log"]["until"].as_str() < west["log"]["until"].as_str(), "{primary:#} {west:#}");

    take_segment(archiving, "primary", segment)?;
    assert_eq!(verdicts(archiving, 21).await?, ["gap", "ok"]);
    shown(archiving, 0, &["copies", "sync"]).await?;
    assert_eq!(verdicts(archiving, 0).await?, ["ok", "ok"]);
    shown(archiving, 0, &["verify"]).await?;

    // Put back by hand with the time it had, only another reading tells.
    alter(&stored(archiving, "west", segment)?)?;
    shown(archiving, 1, &["verify"]).await?;
    assert_eq!(verdicts(archiving, 21).await?, ["ok", "bad-log"]);
    alter(&stored(archiving, "west", segment)?)?;
    assert_eq!(verdicts(archiving, 21).await?, ["ok", "bad-log"]);
    shown(archiving, 0, &["verify"]).await?;
    assert_eq!(verdicts(archiving, 0).await?, ["ok", "ok"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_cut_short_is_found_without_a_key_and_mended() -> Outcome<()> {
    let history = History::begin(&TWO).await?;
    let archiving = &history.archiving;
    let segment = &history.rows[2].0;
    let path = stored(archiving, "primary", segment)?;
    let whole = std::fs::read(&path)?;
    for left in [0, 100] {
        std::fs::write(&path, &whole[..left])?;
        let said = shown(archiving, 1, &["verify"]).await?;
        said.says(&format!("it has {left} bytes, and {} were stored", whole.len()))?.says(segment)?;
        // Without anything in it, it is none: nobody needs to have read it.
        let verdict = if left == 0 { "gap" } else { "bad-log" };
        assert_eq!(verdicts(archiving, 21).await?, [verdict, "ok"]);
        shown(archiving, 0, &["copies", "sync"]).await?.says("repaired 1 file")?;
        assert!(std::fs::read(&path)? == whole);
        assert_eq!(verdicts(archiving, 0).await?, ["ok", "ok"]);
        shown(archiving, 0, &["verify"]).await?;
    }
    // Where none is what was stored, that is said, and none is changed.
    for repository in ["primary", "west"] {
        std::fs::write(stored(archiving, repository, segment)?, &whole[..repository.len()])?;
    }
    shown(archiving, 3, &["copies", "sync"]).await?.says("is not what was stored")?;
    for repository in ["primary", "west"] {
        assert_eq!(std::fs::read(stored(archiving, repository, segment)?)?.len(), repository.len());
    }
    shown(archiving, 1, &["verify"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_server_that_archives_beside_production_does_not_take_its_place() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.base("")?;
    let production = &archiving.cluster;
    Ledger::create(production).await?;
    archiving.backup(0, &[]).await?;
    production.execute("postgres", &[INSERT, SWITCH]).await?;
    archiving.settle().await?;
    let restored = archiving.recovered("beside", &["--latest"]).await?.leave();
    let mut beside = production.adopt(&restored)?;
    let file = beside.data().join("postgresql.auto.conf");
    let text = std::fs::read_to_string(&file)?;
    assert!(text.contains("archive_mode = 'off'\n"), "{text}");
    std::fs::write(&file, text.replace("archive_mode = 'off'\n", ""))?;
    beside.begin_again()?;
    beside.execute("postgres", &[INSERT, SWITCH]).await?;
    let west = archiving.system.repository("west");
    let newest = beside.text("postgres", "SELECT timeline_id FROM pg_control_checkpoint()").await?;
    let folder = format!("/{:08X}/", newest.parse::<u32>()?);
    let is_there = |ending: &str| {
        let of_it = |path: &PathBuf| {
            let path = path.to_string_lossy();
            path.contains(&folder) && path.ends_with(ending)
        };
        contents(&west).is_ok_and(|files| files.keys().any(of_it))
    };
    until("it archives its history", || is_there(".history.zst.age")).await?;
    let first = beside.text("postgres", "SELECT pg_walfile_name(pg_current_wal_lsn() - 1)").await?;
    beside.execute("postgres", &[INSERT, SWITCH]).await?;
    until("it archives a segment", || is_there(&format!("{first}.zst.age"))).await?;
    production.execute("postgres", &[INSERT, SWITCH, INSERT, SWITCH]).await?;
    archiving.settle().await?;

    let [primary, west] = places(&archiving, 0).await?;
    for place in [&primary, &west] {
        assert_eq!((&place["verdict"], &place["beside"]["server"]), (&"ok".into(), &1.into()), "{place:#}");
    }
    let said = shown(&archiving, 0, &["status"]).await?;
    said.says("the policy's server is on timeline 1")?.says("archive_mode = off")?;
    shown(&archiving, 0, &["wal", "status"]).await?.says("another server")?;
    // A backup of production is what production is restored from, whoever else archives.
    archiving.backup(0, &[]).await?;
    let id = archiving.system.backups_in("primary").pop().ok_or("no backup")?;
    let [primary, _] = places(&archiving, 0).await?;
    assert_eq!(primary["newest"]["backup"], id.as_str(), "{primary:#}");

    let refused = archiving.unrecovered(2, &["--latest"]).await?;
    refused.says("timeline 1: everything until")?.says(&format!("timeline {newest}: everything until"))?;
    refused.says("`--timeline 1` recovers the latest")?;
    let all = numbers(production).await?;
    let restored = archiving.recovered("latest", &["--latest", "--timeline", "1"]).await?;
    insists(restored, &all).await?;

    // Nor does a newer base backup of the other one.
    let (ours, theirs) = (production.url("postgres"), beside.url("postgres"));
    archiving.system.rewrite(&ours, &theirs)?;
    archiving.backup(0, &[]).await?;
    archiving.system.rewrite(&theirs, &ours)?;
    let other = archiving.system.backups_in("primary").pop().ok_or("no backup")?;
    let [primary, _] = places(&archiving, 0).await?;
    assert_eq!(primary["newest"]["backup"], id.as_str(), "{primary:#}");
    assert_eq!(primary["waiting"][0][0], other, "{primary:#}");
    shown(&archiving, 0, &["status"]).await?.says("the policy's server is on timeline 1")?;
    Ok(())
}

/// A server that waits for its log to be archived does not look whether anybody still wants its copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_given_up_leaves_nothing_behind_on_the_server() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.base("")?;
    let cluster = &archiving.cluster;
    Ledger::create(cluster).await?;
    archiving.backup(0, &[]).await?;
    let broken =
        ["ALTER SYSTEM SET archive_command = '/bin/false # drctl wal push'", "SELECT pg_reload_conf()"];
    cluster.execute("postgres", &broken).await?;
    let of_copies = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'";
    let waits = format!("{of_copies} AND wait_event = 'BackupWaitWalArchive'");
    let backup = archiving.system.start(&["backup"])?;
    let begun = Instant::now();
    while cluster.text("postgres", &waits).await? != "1" {
        assert!(begun.elapsed() < SOON, "the server never waits for its log: {}", cluster.log_tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    backup.signal(Signal::TERM)?;
    let run = backup.end().await?;
    assert_eq!(run.code, Some(130), "{run:#?}");
    let begun = Instant::now();
    while cluster.text("postgres", of_copies).await? != "0" {
        assert!(begun.elapsed() < SOON, "the server still waits: {}", cluster.log_tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
