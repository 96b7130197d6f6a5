//! WAL that does not bring back a base backup although every segment of it is there: it is of another server, or the
//! server wrote it with `wal_level = minimal`.

use std::process::Command;

use crate::recovery::{TWO, insists, now, time};
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::{Ledger, options};
use crate::support::postgres::Cluster;
use crate::support::system::{Run, contents};

const SWITCH: &str = "SELECT pg_switch_wal()";

/// A crash lets the numbers of a sequence jump.
fn row(n: u32) -> String {
    format!("INSERT INTO ledger (n, note) VALUES ({n}, 'row')")
}

/// Points the policy to another server.
fn point_to(archiving: &Archiving, from: &str, to: &Cluster) -> Outcome<String> {
    let url = to.url("postgres");
    archiving.system.rewrite(from, &url)?;
    archiving.system.hand_to_server()?;
    Ok(url)
}

async fn shown(archiving: &Archiving, code: i32, command: &[&str]) -> Outcome<Run> {
    let run = archiving.run_as_server(command).await?;
    assert_eq!(run.code, Some(code), "{command:?}: {run:#?}");
    Ok(run)
}

/// A copy of the stopped server, with its system identifier and timeline, that archives nowhere.
fn clone(cluster: &Cluster, archiving: &Archiving) -> Outcome<Cluster> {
    let copy = archiving.system.path().join("clone");
    let copied = Command::new("cp").arg("-a").arg(cluster.data()).arg(&copy).status()?;
    assert!(copied.success());
    let configuration = copy.join("postgresql.conf");
    let text = std::fs::read_to_string(&configuration)?;
    std::fs::write(&configuration, format!("{text}archive_command = 'true'\n"))?;
    cluster.adopt(&copy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_backup_of_a_clone_is_not_joined_with_the_wal_of_production() -> Outcome<()> {
    let mut archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.base("wal_wait = \"30s\"")?;
    Ledger::create(&archiving.cluster).await?;
    archiving.backup(0, &[]).await?;
    let old = archiving.cluster.url("postgres");
    archiving.cluster.kill();
    let mut clone = clone(&archiving.cluster, &archiving)?;
    archiving.cluster.begin_again()?;
    clone.begin_again()?;

    // Production's WAL covers every position that the clone's backup needs.
    archiving.cluster.execute("postgres", &[&row(2), &row(3)]).await?;
    archiving.write(4).await?;
    archiving.settle().await?;
    clone.execute("postgres", &["INSERT INTO ledger (n, note) VALUES (-1, 'clone')"]).await?;
    let url = point_to(&archiving, &old, &clone)?;
    let run = archiving.backup(3, &[]).await?;
    run.says("the archived WAL is of another server with the same system identifier")?;
    let listed = archiving.system.expect(0, &["list", "--output", "json"]).await?.document()?;
    let id = listed["backups"][0]["id"].as_str().ok_or("no id")?.to_owned();
    archiving.system.expect(0, &["list"]).await?.says("not restorable")?;
    let status = shown(&archiving, 21, &["status"]).await?;
    status.says(&format!("{id} cannot be restored with the WAL there, and does not count"))?;
    let verified = archiving.run_as_server(&["verify"]).await?;
    assert_ne!(verified.code, Some(0), "{verified:#?}");
    verified.says("is of another server with the same system identifier")?;
    archiving
        .unrecovered(10, &["--latest", "--backup", &id])
        .await?
        .says("the archived WAL is of another server")?;
    let restored = archiving.recovered("older", &["--latest"]).await?;
    insists(restored, &[1, 2, 3]).await?;

    // A backup of production counts again.
    point_to(&archiving, &url, &archiving.cluster)?;
    archiving.backup(0, &[]).await?;
    shown(&archiving, 0, &["status"]).await?;
    Ok(())
}

/// Restarts the server with these settings over its own.
async fn restart(cluster: &mut Cluster, settings: &str) -> Outcome<()> {
    cluster.kill();
    std::fs::write(cluster.data().join("postgresql.auto.conf"), settings)?;
    cluster.begin_again()
}

/// Takes what is said of `wal_level` and checkpoints out of what is kept with every segment, as an older drctl stored
/// it.
fn say_nothing(archiving: &Archiving) -> Outcome<()> {
    for repository in ["primary", "west"] {
        for path in contents(&archiving.system.repository(repository))?.into_keys() {
            let Ok(mut kept) = serde_json::from_slice::<serde_json::Value>(&std::fs::read(&path)?) else {
                continue;
            };
            let Some(metadata) = kept["metadata"].as_object_mut() else { continue };
            metadata.remove("minimal-at");
            metadata.remove("checkpoints");
            std::fs::write(&path, kept.to_string())?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wal_of_a_minimal_level_ends_what_is_recovered_from_before_it() -> Outcome<()> {
    let mut archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.base("")?;
    Ledger::create(&archiving.cluster).await?;
    archiving.backup(0, &[]).await?;
    let old = archiving.cluster.url("postgres");
    archiving.cluster.execute("postgres", &[&row(2)]).await?;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let before = time(now(&archiving).await?);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    archiving.cluster.execute("postgres", &[&row(3)]).await?;
    // Both restarts are in one segment.
    restart(&mut archiving.cluster, "wal_level = minimal\narchive_mode = off\nmax_wal_senders = 0\n").await?;
    archiving.cluster.execute("postgres", &[&row(4)]).await?;
    restart(&mut archiving.cluster, "").await?;
    point_to(&archiving, &old, &archiving.cluster)?;
    archiving.cluster.execute("postgres", &[&row(5), SWITCH, &row(6), SWITCH]).await?;
    archiving.settle().await?;
    let log = archiving.cluster.log_tail();
    assert!(log.contains("was written with `wal_level = minimal`"), "{log}");

    let told = "`wal_level` was `minimal` from there on";
    shown(&archiving, 21, &["status"]).await?.says(told)?;
    shown(&archiving, 21, &["wal", "status"]).await?.says("wal_level = minimal")?;
    let doctor = archiving.run_as_server(&["doctor"]).await?;
    doctor.says("and no base backup was taken after that")?;
    let refused = archiving.unrecovered(10, &["--latest"]).await?;
    refused.says("has WAL of `wal_level = minimal`")?.says("take one now: `drctl backup --kind base`")?;
    let restored = archiving.recovered("before", &["--point-in-time", &before]).await?;
    insists(restored, &[1, 2]).await?;
    say_nothing(&archiving)?;
    archiving.unrecovered(10, &["--latest"]).await?.says("has WAL of `wal_level = minimal`")?;

    archiving.backup(0, &[]).await?;
    shown(&archiving, 0, &["status"]).await?;
    archiving.cluster.execute("postgres", &[&row(7), SWITCH]).await?;
    archiving.settle().await?;
    let restored = archiving.recovered("after", &["--latest"]).await?;
    insists(restored, &[1, 2, 3, 4, 5, 6, 7]).await?;
    Ok(())
}
