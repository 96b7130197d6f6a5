//! What a copy must not leave out unsaid: what stands behind links, and tablespaces that came meanwhile.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use drctl::model::Manifest;
use rustix::process::{Pid, Signal, kill_process};

use crate::base::{compare, data_directory, restored};
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::postgres::{Cluster, ClusterOptions};
use crate::support::system::Place;

const TWO: [Place; 2] = [Place::Directory, Place::Directory];

fn newest(archiving: &Archiving) -> Outcome<Manifest> {
    let id = archiving.system.backups_in("west").pop().ok_or("no backup")?;
    let folder = archiving.system.repository("west").join("shop/database/backups").join(id);
    Ok(serde_json::from_slice(&std::fs::read(folder.join("manifest.json"))?)?)
}

/// Moves a part of the data directory to another disk, as people do, and leaves a link. No server may run.
fn lead_away(cluster: &Cluster, inside: &str) -> Outcome<()> {
    let disk = cluster.socket_directory().join("disk");
    std::fs::create_dir_all(&disk)?;
    let (from, to) = (cluster.data().join(inside), disk.join(inside.replace('/', "-")));
    std::fs::rename(&from, &to)?;
    Ok(symlink(&to, &from)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_behind_a_link_is_copied_or_refused_and_what_is_left_out_is_said() -> Outcome<()> {
    let mut archiving = Archiving::start(&TWO, "", ClusterOptions::new(15)).await?;
    let cluster = &archiving.cluster;
    let table = "CREATE TABLE big AS SELECT g FROM generate_series(1, 1000) g";
    cluster.execute("postgres", &["CREATE DATABASE moved", table]).await?;
    cluster.execute("moved", &["CREATE TABLE there AS SELECT g FROM generate_series(1, 5000) g"]).await?;
    let oid = cluster.text("postgres", "SELECT oid FROM pg_database WHERE datname = 'moved'").await?;
    let big = cluster.text("postgres", "SELECT pg_relation_filepath('big')").await?;

    // Nothing of PostgreSQL's own: the backup stands, and says what it does not hold.
    symlink("/var/log", cluster.data().join("notes"))?;
    archiving.backup(0, &[]).await?.says("notes")?;
    archiving.settle().await?;
    let id = newest(&archiving)?.id;
    for command in [["show", id.as_str()].as_slice(), &["status"]] {
        archiving.run_as_server(command).await?.says("`notes`")?;
    }

    let url = cluster.url("postgres");
    archiving.cluster.kill();
    let database = format!("base/{oid}");
    for inside in [database.as_str(), &big, "pg_xact", "pg_multixact/offsets"] {
        lead_away(&archiving.cluster, inside)?;
    }
    archiving.cluster.hand_over()?;
    archiving.cluster.begin_again()?;
    archiving.system.rewrite(&url, &archiving.cluster.url("postgres"))?;

    // A replication connection does not follow links.
    let run = archiving.backup(1, &[]).await?;
    for inside in [database.as_str(), &big, "pg_xact", "pg_multixact/offsets", "`moved`", "data-directory"] {
        run.says(inside)?;
    }
    assert_eq!(newest(&archiving)?.id, id);

    archiving.base(&data_directory(&archiving))?;
    archiving.backup(0, &[]).await?.says("notes")?;
    archiving.cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;
    let manifest = newest(&archiving)?;
    assert_ne!(manifest.id, id);
    archiving.run_as_server(&["show", manifest.id.as_str()]).await?.says("`notes`")?;
    let mut copy = restored(&archiving, &manifest)?;
    compare(&archiving, &mut copy, "SELECT count(*)::text FROM big").await?;
    assert_eq!(copy.text("moved", "SELECT count(*)::text FROM there").await?, "5000");
    Ok(())
}

/// Goes on when dropped.
struct Stopped(Pid);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _gone = kill_process(self.0, Signal::CONT);
    }
}

/// The server stands still at the checkpoint that a copy begins with, after drctl has looked at it.
#[tokio::test(flavor = "multi_thread")]
async fn a_tablespace_made_while_the_copy_waits_to_begin_is_part_of_it() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", ClusterOptions::new(15)).await?;
    archiving.base(&data_directory(&archiving))?;
    let cluster = &archiving.cluster;
    let place = cluster.socket_directory().join("fast");
    std::fs::create_dir(&place)?;
    cluster.hand_over()?;
    let asked = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
    let checkpointer = cluster.text("postgres", asked).await?.parse().ok().and_then(Pid::from_raw);
    let checkpointer = checkpointer.ok_or("no checkpointer")?;
    kill_process(checkpointer, Signal::STOP)?;
    let stopped = Stopped(checkpointer);
    let _script = archiving.system.hand_to_server()?;
    let running = archiving.system.start_command(archiving.server_command(&["backup"])?)?;
    let waits = "SELECT count(*) FROM pg_stat_activity
                  WHERE query LIKE 'SELECT pg_backup_start%' AND wait_event LIKE 'Checkpoint%'";
    let begun = Instant::now();
    while cluster.text("postgres", waits).await? != "1" {
        assert!(begun.elapsed() < Duration::from_secs(30), "no copy waits to begin: {}", running.stdout()?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let create = format!("CREATE TABLESPACE fast LOCATION '{}'", place.display());
    let table = "CREATE TABLE there TABLESPACE fast AS SELECT g FROM generate_series(1, 20000) g";
    cluster.execute("postgres", &[&create, table]).await?;
    drop(stopped);
    let run = running.end().await?;
    assert_eq!(run.code, Some(0), "{run:?}");
    cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;
    let manifest = newest(&archiving)?;
    let tablespaces = &manifest.physical.as_ref().ok_or("it is no base backup")?.tablespaces;
    assert_eq!(tablespaces.iter().map(|space| Path::new(&space.location)).collect::<Vec<_>>(), [place]);
    let mut copy = restored(&archiving, &manifest)?;
    compare(&archiving, &mut copy, "SELECT count(*)::text || sum(g)::text FROM there").await
}

/// A file system that was repaired has lost the files of a table and of an index.
async fn a_missing_file_is_named(through: impl Fn(&Archiving) -> String) -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", ClusterOptions::new(15)).await?;
    archiving.base(&through(&archiving))?;
    let cluster = &archiving.cluster;
    let table = "CREATE TABLE lost AS SELECT g FROM generate_series(1, 1000) g";
    cluster.execute("postgres", &[table, "CREATE DATABASE other", "CREATE DATABASE closed"]).await?;
    let index =
        ["CREATE TABLE kept (g int PRIMARY KEY)", "CREATE UNLOGGED TABLE unlogged (g int)", "CHECKPOINT"];
    cluster.execute("other", &index).await?;
    cluster.execute("postgres", &["ALTER DATABASE closed ALLOW_CONNECTIONS false"]).await?;
    archiving.backup(0, &[]).await?.says("`closed` are copied, and not compared")?;
    let mut lost = vec![
        cluster.text("postgres", "SELECT pg_relation_filepath('lost')").await?,
        cluster.text("other", "SELECT pg_relation_filepath('kept_pkey')").await?,
    ];
    for file in &lost {
        std::fs::remove_file(cluster.data().join(file))?;
    }
    lost.sort();
    let run = archiving.backup(3, &[]).await?;
    for file in &lost {
        run.says(&format!("its catalog names `{file}`"))?;
    }
    run.says("`public.lost` in database `postgres`")?;
    archiving.settle().await?;
    let manifest = newest(&archiving)?;
    let mut named = manifest.physical.as_ref().ok_or("it is no base backup")?.missing_files.clone();
    named.sort();
    assert_eq!(named, lost);
    archiving.run_as_server(&["show", manifest.id.as_str()]).await?.says(&lost[0])?;
    // The rest of it is there.
    let mut copy = restored(&archiving, &manifest)?;
    compare(&archiving, &mut copy, "SELECT count(*)::text FROM pg_class").await
}

#[tokio::test(flavor = "multi_thread")]
async fn over_replication_a_file_that_the_server_lost_is_named() -> Outcome<()> {
    a_missing_file_is_named(|_| String::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn from_its_files_a_file_that_the_server_lost_is_named() -> Outcome<()> {
    a_missing_file_is_named(data_directory).await
}
