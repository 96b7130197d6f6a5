//! What a recovery would reach outside of the directory that it is given: tablespaces that the WAL makes, and
//! configuration that names live paths.

use std::process::Command;

use crate::recovery::{TWO, insists, now, time, until_replayed};
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::{Ledger, options};
use crate::support::system::contents;

const SWITCH: &str = "SELECT pg_switch_wal()";
const CHECKPOINT: &str = "CHECKPOINT";

/// Takes what is said of records out of what is kept with every segment, as an older drctl stored it.
fn say_nothing_of_records(archiving: &Archiving, repository: &str) -> Outcome<usize> {
    let mut changed = 0;
    for path in contents(&archiving.system.repository(repository))?.into_keys() {
        let Ok(mut kept) = serde_json::from_slice::<serde_json::Value>(&std::fs::read(&path)?) else {
            continue;
        };
        let said = kept["metadata"].as_object_mut().and_then(|kept| kept.remove("notable-records"));
        if said.is_some() {
            std::fs::write(&path, kept.to_string())?;
            changed += 1;
        }
    }
    Ok(changed)
}

async fn a_tablespace_on_the_way(major: u32) -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(major)).await?;
    archiving.base("")?;
    let cluster = &archiving.cluster;
    Ledger::create(cluster).await?;
    archiving.backup(0, &[]).await?;
    let live = cluster.socket_directory().join("live ts");
    std::fs::create_dir(&live)?;
    cluster.hand_over()?;
    cluster.execute("postgres", &["INSERT INTO ledger (note) VALUES ('before')"]).await?;
    let before = cluster.text("postgres", "SELECT pg_current_wal_insert_lsn()").await?;
    let create = format!("CREATE TABLESPACE fast LOCATION '{}'", live.display());
    let table = "CREATE TABLE t TABLESPACE fast AS SELECT g FROM generate_series(1, 2000) g";
    cluster.execute("postgres", &[&create, table, "INSERT INTO ledger (note) VALUES ('then')"]).await?;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let then = time(now(&archiving).await?);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let segment = cluster.text("postgres", "SELECT pg_walfile_name(pg_current_wal_insert_lsn())").await?;
    let more = "INSERT INTO t SELECT generate_series(2001, 9000)";
    cluster.execute("postgres", &[more, "UPDATE t SET g = -g", SWITCH, CHECKPOINT]).await?;
    archiving.settle().await?;
    let was = contents(&live)?;
    assert!(!was.is_empty());

    let plan = archiving.unrecovered(0, &["--point-in-time", &then, "--plan"]).await?;
    plan.says(&live.display().to_string())?.says("created by the WAL at")?;
    // Where the live one is it never goes.
    let oid = cluster.text("postgres", "SELECT oid FROM pg_tablespace WHERE spcname = 'fast'").await?;
    let onto = format!("{oid}={}", live.display());
    let refused = archiving.unrecovered(1, &["--point-in-time", &then, "--tablespace", &onto]).await?;
    refused.says("has its data")?;
    let restored = archiving.recovered("beside", &["--point-in-time", &then]).await?;
    let restored = insists(restored, &[1, 2, 3]).await?;
    assert_eq!(restored.text("SELECT count(*) FROM t WHERE g > 0").await?, "2000");
    let location = format!("SELECT pg_tablespace_location({oid})");
    let beside = archiving.system.path().join("beside-tablespaces").join(&oid);
    assert_eq!(restored.text(&location).await?, beside.display().to_string());
    assert!(!contents(&beside)?.is_empty());
    drop(restored);
    assert_eq!(contents(&live)?, was, "the live tablespace was written to");

    // Archived by an older drctl, that said nothing of it; and to a directory that is named.
    if major == 15 {
        assert!(say_nothing_of_records(&archiving, "primary")? > 0);
        assert!(say_nothing_of_records(&archiving, "west")? > 0);
        let elsewhere = archiving.system.path().join("else where");
        let mapped = format!("{}={}", live.display(), elsewhere.display());
        let restored = archiving.recovered("older", &["--latest", "--tablespace", &mapped]).await?;
        assert_eq!(restored.text("SELECT count(*) FROM t WHERE g < 0").await?, "9000");
        assert_eq!(restored.text(&location).await?, elsewhere.display().to_string());
        drop(restored);
        assert_eq!(contents(&live)?, was, "the live tablespace was written to");
        // To before it, in the same segment, there is no tablespace to be made.
        let restored = archiving.recovered("earlier", &["--to-lsn", &before]).await?;
        let restored = insists(restored, &[1, 2]).await?;
        assert_eq!(restored.report["notes"].to_string().matches("tablespace").count(), 0);
        assert_eq!(restored.text("SELECT count(*) FROM pg_tablespace").await?, "2");
    }

    // Whatever was archived after the plan: what it does not know does not come in.
    let target = archiving.system.path().join("RECOVERYXLOG").display().to_string();
    let identity = archiving.system.operational.display().to_string();
    let number = cluster.text("postgres", "SELECT system_identifier FROM pg_control_system()").await?;
    let fetch = ["wal", "fetch", "--identity", &identity, "--system-identifier", &number];
    let words = ["--mapped-tablespaces", "none", "database", &segment, &target];
    let (code, said) = archiving.as_server(&[&fetch[..], &words].concat()).await?;
    assert_eq!(code, 200, "{said}");
    assert!(said.contains(&live.display().to_string()), "{said}");
    assert!(!std::path::Path::new(&target).exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablespace_that_the_wal_creates_goes_beside_the_directory() -> Outcome<()> {
    a_tablespace_on_the_way(15).await
}

#[tokio::test(flavor = "multi_thread")]
async fn and_so_it_does_with_17() -> Outcome<()> {
    a_tablespace_on_the_way(17).await
}

/// Its configuration names files of the live server, a certificate that is nowhere, and an earlier recovery.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_server_leaves_live_files_alone_and_a_standby_of_it_stays_one() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.base("")?;
    let (cluster, data) = (&archiving.cluster, archiving.cluster.data());
    Ledger::create(cluster).await?;
    let live = cluster.socket_directory();
    let (pid, more) = (live.join("live.pid"), live.join("conf.d"));
    std::fs::write(&pid, "live\n")?;
    std::fs::create_dir(&more)?;
    std::fs::create_dir(live.join("live-log"))?;
    std::fs::write(more.join("a.conf"), format!("external_pid_file = '{}'\n", pid.display()))?;
    std::fs::write(
        data.join("inner.conf"),
        format!("external_pid_file = '{}'\nwork_mem = '5MB'\n", pid.display()),
    )?;
    let mut text = std::fs::read_to_string(data.join("postgresql.conf"))?;
    text.push_str(&format!(
        "include_dir = '{0}'\ninclude_if_exists '{0}/a.conf'\ninclude 'inner.conf'\nlog_directory = '{1}/live-log'\n\
         logging_collector = on\nssl = on\nssl_cert_file = '/nowhere/server.crt'\n\
         recovery_target_time = '2020-01-01 00:00:00+00'\n",
        more.display(),
        live.display()
    ));
    std::fs::write(data.join("postgresql.conf"), text)?;
    cluster.hand_over()?;
    archiving.backup(0, &[]).await?;
    cluster.execute("postgres", &["INSERT INTO ledger (note) VALUES ('x')"]).await?;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let good = time(now(&archiving).await?);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    cluster.execute("postgres", &["DELETE FROM ledger", SWITCH]).await?;
    archiving.settle().await?;

    let restored = archiving.recovered("taken", &["--point-in-time", &good]).await?;
    let restored = insists(restored, &[1, 2]).await?;
    let said = restored.report["notes"].to_string();
    for words in ["external_pid_file", "log_directory", "without TLS", "drctl recovery release"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // What was included is in its place, and nothing is read from where it was.
    let configuration = std::fs::read_to_string(restored.to.join("postgresql.conf"))?;
    assert!(!configuration.lines().any(|line| line.starts_with("include")), "{configuration}");
    assert_eq!(restored.text("SELECT current_setting('work_mem')").await?, "5MB");
    assert_eq!(restored.text("SELECT current_setting('external_pid_file')").await?, "");
    assert_eq!(std::fs::read_to_string(&pid)?, "live\n");
    let auto = restored.to.join("postgresql.auto.conf");
    let left = std::fs::read_to_string(&auto)?;
    for gone in ["recovery_target", "restore_command", "hot_standby", "wal fetch"] {
        assert!(!left.contains(gone), "{gone} is left: {left}");
    }
    let to = restored.to.display().to_string();
    let shown = archiving.run_as_server(&["recovery", "release", &to]).await?;
    assert_eq!(shown.code, Some(0), "{shown:#?}");
    shown.says("synchronous_standby_names")?.says("--apply")?;
    assert_eq!(std::fs::read_to_string(&auto)?, left);
    let done = archiving.run_as_server(&["recovery", "release", &to, "--apply"]).await?;
    assert_eq!(done.code, Some(0), "{done:#?}");
    let free = std::fs::read_to_string(&auto)?;
    for gone in ["archive_mode", "synchronous_standby_names", "max_logical_replication_workers", "drctl"] {
        assert!(!free.contains(gone), "{gone} is left: {free}");
    }

    // Its standby starts, follows, and does not promote itself at the old target.
    let mut standby = cluster.blank()?;
    standby.hand_over()?;
    let port = restored.report["details"]["started"]["port"].to_string();
    let copy = Command::new(cluster.programs().join("pg_basebackup"))
        .args(["-R", "-c", "fast", "-h", "127.0.0.1", "-U", "postgres", "-p", &port, "-D"])
        .arg(standby.data())
        .output()?;
    assert!(copy.status.success(), "{}", String::from_utf8_lossy(&copy.stderr));
    let settings = std::fs::read_to_string(standby.data().join("postgresql.conf"))?;
    let settings = settings.replace("ssl = on", "").replace("logging_collector = on", "");
    std::fs::write(standby.data().join("postgresql.conf"), settings)?;
    standby.hand_over()?;
    standby.begin_again()?;
    let mut connection = restored.connect().await?;
    sqlx::raw_sql("INSERT INTO ledger (note) VALUES ('after')").execute(&mut connection).await?;
    let end = restored.text("SELECT pg_current_wal_insert_lsn()").await?;
    until_replayed(&standby, &end).await?;
    assert_eq!(standby.text("postgres", "SELECT pg_is_in_recovery()").await?, "true");
    assert_eq!(standby.text("postgres", "SELECT count(*) FROM ledger").await?, "3");
    assert_eq!(std::fs::read_to_string(&pid)?, "live\n");
    Ok(())
}
