//! Base backups of real clusters: taken, found whole, restored by hand, refused, damaged.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use drctl::model::{Artifact, Manifest};
use drctl::pipeline::{Identities, unseal};

use crate::by_hand::commands;
use crate::recovery::insists;
use crate::recovery_promoted::numbers;
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::Ledger;
use crate::support::postgres::{Cluster, ClusterOptions, owner};
use crate::support::s3::S3Server;
use crate::support::system::{Place, Running, contents, until};
use crate::support::usage::{measure, tree};

const TWO: [Place; 2] = [Place::Directory, Place::Directory];

fn options(major: u32) -> ClusterOptions {
    ClusterOptions::new(major).initdb("--data-checksums")
}

fn folder(archiving: &Archiving, repository: &str, id: &str) -> PathBuf {
    archiving.system.repository(repository).join("shop/database/backups").join(id)
}

/// The manifest of the only backup there is.
fn manifest(archiving: &Archiving) -> Outcome<Manifest> {
    let ids = archiving.system.backups_in("west");
    let [id] = ids.as_slice() else { return Err(format!("not one backup: {ids:?}").into()) };
    Ok(serde_json::from_slice(&std::fs::read(folder(archiving, "west", id).join("manifest.json"))?)?)
}

/// Unpacks an artifact with `tar`.
pub(crate) fn unpack(
    archiving: &Archiving,
    manifest: &Manifest,
    artifact: &Artifact,
    into: &Path,
) -> Outcome<()> {
    let folder = folder(archiving, "west", manifest.id.as_str());
    let mut stored = Vec::new();
    for object in &artifact.objects {
        stored.extend(std::fs::read(folder.join(&object.name))?);
    }
    let identities = Identities::read(std::slice::from_ref(&archiving.system.escrow))?;
    let mut plain = unseal(&stored[..], &artifact.encoding, &identities, Some(artifact.plain))?;
    let file = archiving.system.path().join("unpacked.tar");
    std::io::copy(&mut plain, &mut std::fs::File::create(&file)?)?;
    let output = Command::new("tar").arg("-xpf").arg(&file).arg("-C").arg(into).output()?;
    if !output.status.success() {
        return Err(format!("tar: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(())
}

/// Restores as a person would: tar, `pg_verifybackup`, `recovery.signal`, and drctl for the log only.
pub(crate) fn restored(archiving: &Archiving, manifest: &Manifest) -> Outcome<Cluster> {
    let copy = archiving.cluster.blank()?;
    let base = manifest.artifact("base.tar.zst.age").ok_or("no base.tar")?;
    unpack(archiving, manifest, base, &copy.data())?;
    let physical = manifest.physical.as_ref().ok_or("it is no base backup")?;
    let mut map = String::new();
    for tablespace in &physical.tablespaces {
        let oid = tablespace.oid;
        let place = copy.socket_directory().join(format!("tablespace-{oid}"));
        std::fs::create_dir(&place)?;
        let artifact = manifest.artifact(&format!("{oid}.tar.zst.age")).ok_or("no tablespace")?;
        unpack(archiving, manifest, artifact, &place)?;
        std::os::unix::fs::symlink(&place, copy.data().join(format!("pg_tblspc/{oid}")))?;
        map.push_str(&format!("{oid} {}\n", place.display()));
    }
    copy.hand_over()?;
    let verified = copy.client("pg_verifybackup").arg("--no-parse-wal").arg(copy.data()).output()?;
    if !verified.status.success() {
        return Err(format!("pg_verifybackup: {}", String::from_utf8_lossy(&verified.stderr)).into());
    }
    if !map.is_empty() {
        std::fs::write(copy.data().join("tablespace_map"), map)?;
    }
    let command = archiving.restore_command("");
    let _only_of_a_standby = std::fs::remove_file(copy.data().join("standby.signal"));
    // What its `postgresql.auto.conf` says would go before the other file.
    let mut settings = std::fs::read_to_string(copy.data().join("postgresql.auto.conf"))?;
    settings.push_str("primary_conninfo = ''\n");
    std::fs::write(copy.data().join("postgresql.auto.conf"), settings)?;
    copy.recover(&[("restore_command", &command), ("recovery_target_timeline", "current")])?;
    Ok(copy)
}

/// Starts a copy, waits for its end of recovery, and compares a table with the original's.
pub(crate) async fn compare(archiving: &Archiving, copy: &mut Cluster, query: &str) -> Outcome<()> {
    copy.begin_again()?;
    let begun = std::time::Instant::now();
    while copy.text("postgres", "SELECT pg_is_in_recovery()").await? != "false" {
        if begun.elapsed().as_secs() > 60 {
            return Err(format!("it does not end its recovery: {}", copy.log_tail()).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let original = archiving.cluster.text("postgres", query).await?;
    assert_eq!(copy.text("postgres", query).await?, original);
    Ok(())
}

const LEDGER: &str = "SELECT count(*)::text || ' ' || coalesce(md5(string_agg(a::text, ',' ORDER BY aid)), '') FROM pgbench_accounts a";

async fn taken_and_restored(major: u32, through: impl Fn(&Archiving) -> String) -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(major)).await?;
    archiving.base(&through(&archiving))?;
    archiving.prepare_pgbench(1)?;
    let bench = archiving.pgbench(Some(3000))?;
    let run = archiving.backup(0, &[]).await?;
    bench.end().await?;
    archiving.cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;
    let manifest = manifest(&archiving)?;
    let physical = manifest.physical.clone().ok_or("it is no base backup")?;
    assert!(physical.start < physical.stop && physical.page_checksums && physical.damaged.is_empty());
    assert_eq!(manifest.kind.as_str(), "base");
    assert!(manifest.recovery_point >= manifest.begun, "{run:?}");
    let mut copy = restored(&archiving, &manifest)?;
    compare(&archiving, &mut copy, LEDGER).await
}

#[tokio::test(flavor = "multi_thread")]
async fn over_replication_a_busy_server_is_copied_whole() -> Outcome<()> {
    taken_and_restored(15, |_| String::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn over_replication_a_busy_server_of_17_is_copied_whole() -> Outcome<()> {
    taken_and_restored(17, |_| String::new()).await
}

pub(crate) fn data_directory(archiving: &Archiving) -> String {
    format!("method = \"data-directory\"\ndata_directory = \"{}\"", archiving.cluster.data().display())
}

#[tokio::test(flavor = "multi_thread")]
async fn from_its_files_a_busy_server_is_copied_whole() -> Outcome<()> {
    taken_and_restored(15, data_directory).await
}

#[tokio::test(flavor = "multi_thread")]
async fn from_its_files_a_busy_server_of_17_is_copied_whole() -> Outcome<()> {
    taken_and_restored(17, data_directory).await
}

/// `DRCTL_TEST_MAJOR=14 DRCTL_TEST_PG14=/…/bin cargo test --test scenario another_major -- --ignored`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "for a major that is not on every machine"]
async fn a_busy_server_of_another_major_is_copied_whole_either_way() -> Outcome<()> {
    let major = std::env::var("DRCTL_TEST_MAJOR")?.parse()?;
    taken_and_restored(major, data_directory).await?;
    taken_and_restored(major, |_| String::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn from_its_files_a_damaged_page_is_named_and_the_rest_kept() -> Outcome<()> {
    damage_is_named(data_directory).await
}

async fn from_a_standby(through: impl Fn(&Cluster) -> String) -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(15).setting("archive_timeout", "1s")).await?;
    archiving.prepare_pgbench(1)?;
    let standby = archiving.cluster.standby().await?;
    archiving.base(&format!("url = \"{}\"\n{}", standby.url("postgres"), through(&standby)))?;
    let bench = archiving.pgbench(None)?;
    archiving.backup(0, &[]).await?;
    drop(bench);
    archiving.cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;
    let mut copy = restored(&archiving, &manifest(&archiving)?)?;
    compare(&archiving, &mut copy, LEDGER).await
}

#[tokio::test(flavor = "multi_thread")]
async fn over_replication_a_standby_is_copied_while_its_primary_writes() -> Outcome<()> {
    from_a_standby(|_| String::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn from_its_files_a_standby_is_copied_while_its_primary_writes() -> Outcome<()> {
    let files = |standby: &Cluster| {
        format!("method = \"data-directory\"\ndata_directory = \"{}\"", standby.data().display())
    };
    from_a_standby(files).await
}

#[tokio::test(flavor = "multi_thread")]
async fn from_its_files_tablespaces_are_copied_and_what_is_temporary_is_not() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.base(&data_directory(&archiving))?;
    let place = archiving.cluster.socket_directory().join("fast");
    std::fs::create_dir(&place)?;
    archiving.cluster.hand_over()?;
    let create = format!("CREATE TABLESPACE fast LOCATION '{}'", place.display());
    let statements = [
        create.as_str(),
        "CREATE TABLE there TABLESPACE fast AS SELECT g FROM generate_series(1, 20000) g",
        "CREATE UNLOGGED TABLE fleeting AS SELECT g FROM generate_series(1, 20000) g",
        "CHECKPOINT",
    ];
    archiving.cluster.execute("postgres", &statements).await?;
    let unlogged = archiving.cluster.text("postgres", "SELECT pg_relation_filepath('fleeting')").await?;
    archiving.backup(0, &[]).await?;
    archiving.settle().await?;
    let manifest = manifest(&archiving)?;
    let physical = manifest.physical.as_ref().ok_or("it is no base backup")?;
    assert_eq!(physical.tablespaces.len(), 1);
    let mut copy = restored(&archiving, &manifest)?;
    assert!(!copy.data().join(&unlogged).exists() && copy.data().join(format!("{unlogged}_init")).exists());
    assert!(!copy.data().join("postmaster.pid").exists());
    compare(&archiving, &mut copy, "SELECT count(*)::text || sum(g)::text FROM there").await?;
    assert_eq!(copy.text("postgres", "SELECT count(*)::text FROM fleeting").await?, "0");
    let path = copy
        .text("postgres", "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'")
        .await?;
    assert!(path.starts_with(&copy.socket_directory().display().to_string()), "{path}");
    Ok(())
}

/// A directory of the server's user with a backup's objects, the log and a key in it.
pub(crate) fn fetched(archiving: &Archiving, manifest: &Manifest) -> Outcome<Cluster> {
    let place = archiving.cluster.blank()?;
    let home = place.socket_directory().to_owned();
    std::fs::remove_dir(place.data())?;
    for (path, _) in contents(&folder(archiving, "west", manifest.id.as_str()))? {
        std::fs::copy(&path, home.join(path.file_name().ok_or("no name")?))?;
    }
    std::fs::create_dir(home.join("log"))?;
    let wal = archiving.system.repository("west").join("shop/database/wal");
    for (path, _) in contents(&wal)? {
        std::fs::copy(&path, home.join("log").join(path.file_name().ok_or("no name")?))?;
    }
    std::fs::copy(&archiving.system.escrow, home.join("identity.txt"))?;
    place.hand_over()?;
    Ok(place)
}

/// Runs commands as the server's user with nothing but the distribution's programs, and PostgreSQL's.
pub(crate) fn by_hand(place: &Cluster, port: u16, commands: &str, query: &str) -> Outcome<String> {
    let home = place.socket_directory();
    let path = format!("{}:/usr/bin:/bin", place.programs().display());
    let run = |script: &str| -> Outcome<std::process::Output> {
        let mut command = if owner()?.is_some() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "bash", "-c"]);
            command
        } else {
            let mut command = Command::new("bash");
            command.arg("-c");
            command
        };
        command.arg(script).env_clear().env("PATH", &path).env("PGPORT", port.to_string());
        Ok(command.env("PGHOST", "127.0.0.1").env("PGUSER", "postgres").current_dir(home).output()?)
    };
    let asked = format!(
        "set -euo pipefail\n{commands}\nfor n in $(seq 600); do \
         test $(psql -XAt -d postgres -c 'SELECT pg_is_in_recovery()') = f && break; sleep 0.1; done\n\
         psql -XAt -d postgres -c \"{query}\""
    );
    let output = run(&asked)?;
    let _stopped = run("pg_ctl --pgdata=data --mode=immediate stop")?;
    let said = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        let log = std::fs::read_to_string(home.join("log.txt")).unwrap_or_default();
        return Err(format!("{}\n{said}\n{log}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(said.lines().last().unwrap_or_default().to_owned())
}

pub(crate) fn free_port() -> Outcome<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_comes_back_without_drctl() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.base(&data_directory(&archiving))?;
    let place = archiving.cluster.socket_directory().join("fast");
    std::fs::create_dir(&place)?;
    archiving.cluster.hand_over()?;
    let create = format!("CREATE TABLESPACE fast LOCATION '{}'", place.display());
    archiving.cluster.execute("postgres", &[&create]).await?;
    archiving.prepare_pgbench(1)?;
    archiving.cluster.execute("postgres", &["ALTER TABLE pgbench_accounts SET TABLESPACE fast"]).await?;
    let bench = archiving.pgbench(Some(500))?;
    archiving.backup(0, &[]).await?;
    bench.end().await?;
    archiving.cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;
    let expected = archiving.cluster.text("postgres", LEDGER).await?;
    let manifest = manifest(&archiving)?;

    // By the commands of its manifest.
    let place = fetched(&archiving, &manifest)?;
    assert_eq!(by_hand(&place, free_port()?, &manifest.by_hand.join("\n"), LEDGER)?, expected);

    // By RESTORE-BY-HAND.txt.
    let place = fetched(&archiving, &manifest)?;
    let home = place.socket_directory().to_owned();
    let text = std::fs::read_to_string(archiving.system.repository("west").join("RESTORE-BY-HAND.txt"))?;
    let oid = manifest.physical.as_ref().ok_or("it is no base backup")?.tablespaces[0].oid.to_string();
    let mut script: Vec<String> = commands(&text, "8. A whole cluster")?
        .iter()
        .map(|command| command.replace("-OID", &format!("-{oid}")).replace("/OID", &format!("/{oid}")))
        .map(|command| command.replace(" OID.tar", &format!(" {oid}.tar")))
        .collect();
    script.push(format!(
        "cp -r {} stored",
        archiving.system.repository("west").join("shop/database/wal").display()
    ));
    let (_, log) = text.split_once("\n9. ").ok_or("no section 9")?;
    let (log, _) = log.split_once("\n10. ").ok_or("no section 10")?;
    let lines = log.lines().filter_map(|line| line.strip_prefix("    "));
    for line in lines.map(|line| line.replace("/PLACE", &home.display().to_string())) {
        let words = line.split_whitespace().next().unwrap_or_default();
        match words {
            // Where it all comes from, a piece that is not there, and a target it is not to stop at.
            "aws" | "cp" | "truncate" | "dd" | "recovery_target_time" => {}
            "restore_command" | "recovery_target_action" | "primary_conninfo" | "archive_mode" => {
                script.push(format!("cat >> data/postgresql.auto.conf <<'END'\n{line}\nEND"));
            }
            _ => script.push(line),
        }
    }
    let script = script.join("\n").replace("stored/*/*.zst.age", "stored/*/*/*.zst.age");
    assert_eq!(by_hand(&place, free_port()?, &script, LEDGER)?, expected);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_either_way() -> Outcome<()> {
    const LIMIT: u64 = 128 << 20;
    let servers = [S3Server::start().await?, S3Server::start().await?];
    let places = servers.each_ref().map(|server| Place::of_server(server.address));
    // With segments as most servers have them: they are in memory, too.
    let archiving = Archiving::start(&places, "", options(15).segment_size(16)).await?;
    archiving.prepare_pgbench(1)?;
    // 250 MB that zstd finds nothing in.
    let fill = "CREATE TABLE big AS SELECT (SELECT string_agg(sha512((g * 100 + n)::text::bytea), '')
                FROM generate_series(1, 30) n) FROM generate_series(1, 125000) g";
    archiving.cluster.execute("postgres", &["ALTER SYSTEM SET max_wal_size = '1GB'", fill]).await?;
    archiving.settle().await?;
    let base =
        format!("[compression]\nthreads = 4\n\n[sources.database.base]\n{}", data_directory(&archiving));
    archiving.system.append(&base)?;
    for through in ["data-directory", "replication"] {
        if through == "replication" {
            let files = data_directory(&archiving);
            archiving.system.rewrite(&files, "method = \"replication\"")?;
        }
        let _script = archiving.system.hand_to_server()?;
        let command = archiving.server_command(&["backup"])?;
        let usage = tokio::task::spawn_blocking(move || measure(command, Duration::from_secs(240))).await??;
        let usage = usage.expect_success()?;
        assert!(usage.peak > 0 && usage.peak <= LIMIT, "{through}: {} MiB", usage.peak >> 20);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_another_server_are_refused() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(15)).await?;
    let standby = archiving.cluster.standby().await?;
    let stranger = Cluster::start(15).await?;
    archiving.base(&data_directory(&archiving))?;
    let mut before = archiving.cluster.data();
    for (other, words) in [
        (standby.data(), "is not the data directory that this server runs in"),
        (stranger.data(), "is the data directory of cluster"),
        (archiving.system.path().join("nowhere"), "cannot be read: No such file"),
    ] {
        archiving.system.rewrite(&before.display().to_string(), &other.display().to_string())?;
        archiving.backup(1, &[]).await?.says(words)?;
        before = other;
    }
    archiving.cluster.execute("postgres", &["CREATE ROLE plain LOGIN"]).await?;
    archiving.system.rewrite("postgres://postgres@", "postgres://plain@")?;
    archiving.backup(1, &[]).await?.says("role `plain` may not call pg_backup_start")?;
    assert!(archiving.system.backups_in("primary").is_empty());
    Ok(())
}

/// Writes over bytes in a page of a table on disk, and gives the table's file.
async fn damage(cluster: &Cluster, blocks: &[u64]) -> Outcome<String> {
    cluster
        .execute(
            "postgres",
            &[
                "CREATE TABLE hurt AS SELECT g, repeat('x', 100) AS t FROM generate_series(1, 5000) g",
                "CHECKPOINT",
            ],
        )
        .await?;
    let file = cluster.text("postgres", "SELECT pg_relation_filepath('hurt')").await?;
    let mut table = std::fs::OpenOptions::new().write(true).open(cluster.data().join(&file))?;
    for block in blocks {
        table.seek(SeekFrom::Start(block * 8192 + 5000))?;
        table.write_all(b"rot")?;
    }
    Ok(file)
}

async fn damage_is_named(through: impl Fn(&Archiving) -> String) -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.base(&through(&archiving))?;
    let file = damage(&archiving.cluster, &[2, 7]).await?;
    let run = archiving.backup(3, &[]).await?;
    for block in [2, 7] {
        run.says(&format!("the checksum of block {block} of `{file}` does not fit"))?;
    }
    let damaged = manifest(&archiving)?.physical.ok_or("it is no base backup")?.damaged;
    let named: Vec<_> = damaged.iter().map(|page| (page.file.as_str(), page.block)).collect();
    assert_eq!(named, [(file.as_str(), Some(2)), (file.as_str(), Some(7))]);
    // The rest of it is there.
    archiving.settle().await?;
    let mut copy = restored(&archiving, &manifest(&archiving)?)?;
    compare(&archiving, &mut copy, "SELECT count(*)::text FROM pg_class").await
}

#[tokio::test(flavor = "multi_thread")]
async fn over_replication_a_damaged_page_is_named_and_the_rest_kept() -> Outcome<()> {
    damage_is_named(|_| String::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_restored_is_refused_with_every_reason() -> Outcome<()> {
    let mut archiving = Archiving::start(&TWO, "", options(15)).await?;
    let alter = [
        "ALTER SYSTEM SET archive_mode = off",
        "ALTER SYSTEM SET wal_level = minimal",
        "ALTER SYSTEM SET max_wal_senders = 0",
    ];
    archiving.cluster.execute("postgres", &alter).await?;
    let before = archiving.cluster.url("postgres");
    archiving.cluster.kill();
    archiving.cluster.begin_again()?;
    archiving.system.rewrite(&before, &archiving.cluster.url("postgres"))?;
    archiving.cluster.execute("postgres", &["CREATE ROLE plain LOGIN"]).await?;
    let place = archiving.cluster.socket_directory().join("fast");
    std::fs::create_dir(&place)?;
    archiving.cluster.hand_over()?;
    let create = format!("CREATE TABLESPACE fast LOCATION '{}'", place.display());
    archiving.cluster.execute("postgres", &[&create]).await?;
    archiving.system.rewrite("postgres://postgres@", "postgres://plain@")?;
    let run = archiving.backup(1, &[]).await?;
    for words in [
        "role `plain` may not replicate",
        "`wal_level` is `minimal`",
        "`archive_mode` is off",
        &format!("it has tablespaces ({})", place.display()),
    ] {
        run.says(words)?;
    }
    assert!(archiving.system.backups_in("primary").is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_pg_hba_closes_to_replication_says_so() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.cluster.execute("postgres", &["CREATE ROLE copier LOGIN REPLICATION"]).await?;
    std::fs::write(archiving.cluster.data().join("pg_hba.conf"), "host all all 127.0.0.1/32 trust\n")?;
    archiving.cluster.execute("postgres", &["SELECT pg_reload_conf()"]).await?;
    archiving.system.rewrite("postgres://postgres@", "postgres://copier@")?;
    let run = archiving.backup(1, &[]).await?;
    run.says("lets `copier` not in for replication")?;
    run.says("no pg_hba.conf entry")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_log_lacks_is_told_until_it_is_there() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "optional = [\"west\"]", options(15)).await?;
    // For the primary: the server is done with archiving before the copy ends.
    archiving.base("wal_wait = \"5s\"")?;
    archiving.write(1).await?;
    archiving.settle().await?;
    // The copy takes the backup, but none of the log.
    let wal = archiving.system.repository("west").join("shop/database/wal");
    let aside = archiving.system.path().join("aside");
    std::fs::rename(&wal, &aside)?;
    std::fs::write(&wal, "in the way")?;
    let run = archiving.backup(3, &[]).await?;
    run.says("not yet restorable from `west`: ")?;
    std::fs::remove_file(&wal)?;
    std::fs::rename(&aside, &wal)?;
    let word = async || -> Outcome<Vec<String>> {
        let listed = archiving.system.expect(0, &["list", "--output", "json"]).await?.document()?;
        let copies = listed["backups"][0]["copies"].as_array().ok_or("no copies")?.clone();
        Ok(copies.iter().map(|copy| copy["state"].as_str().unwrap_or_default().to_owned()).collect())
    };
    assert_eq!(word().await?, ["stored", "not yet restorable"]);
    archiving.system.expect(0, &["list"]).await?.says("in `west` is not yet restorable: segment 0")?;
    let id = &archiving.system.backups_in("west")[0];
    archiving.system.expect(0, &["show", id]).await?.says("From west it is not yet restorable: segment 0")?;
    archiving.system.expect(0, &["copies", "sync"]).await?;
    assert_eq!(word().await?, ["stored", "stored"]);
    Ok(())
}

/// The server would wait for the other one at the end of the copy, until that is thrown away.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_takes_no_wal_does_not_keep_the_backup_from_the_others() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.base("wal_wait = \"6s\"")?;
    Ledger::create(&archiving.cluster).await?;
    archiving.write(1).await?;
    archiving.settle().await?;
    let wal = archiving.system.repository("west").join("shop/database/wal");
    let aside = archiving.system.path().join("aside");
    std::fs::rename(&wal, &aside)?;
    std::fs::write(&wal, "in the way")?;
    let cluster = &archiving.cluster;
    cluster.execute("postgres", &["SELECT txid_current()", "SELECT pg_switch_wal()"]).await?;
    let failed = "SELECT failed_count > 0 FROM pg_stat_archiver";
    while cluster.text("postgres", failed).await? != "true" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let run = archiving.backup(3, &[]).await?;
    run.says("cannot archive its WAL everywhere now")?.says("not yet restorable from `west`: ")?;
    let slots = "SELECT count(*) FROM pg_replication_slots";
    assert_eq!(cluster.text("postgres", slots).await?, "0");
    let expected = numbers(cluster).await?;
    let restored = archiving.recovered("kept", &["--latest", "--from", "primary"]).await?;
    insists(restored, &expected).await?;

    // It is whole there, too, once it takes it again.
    std::fs::remove_file(&wal)?;
    std::fs::rename(&aside, &wal)?;
    archiving.settle().await?;
    archiving.backup(0, &[]).await?;
    Ok(())
}

/// Begins a backup, and gives it once its bytes are on their way.
async fn on_its_way(archiving: &Archiving) -> Outcome<Running> {
    let running = archiving.system.start(&["backup", "--output", "json"])?;
    until("the copy is on its way", || {
        running.stdout().is_ok_and(|said| said.contains("\"subject\":\"base.tar\""))
    })
    .await?;
    Ok(running)
}

fn nothing_is_left(archiving: &Archiving) -> Outcome<()> {
    for repository in ["primary", "west"] {
        let folder = archiving.system.repository(repository).join("shop/database/backups");
        let left: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().collect();
        if !left.is_empty() {
            return Err(format!("{repository} keeps {left:?}").into());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_killed_on_the_way_leaves_nothing() -> Outcome<()> {
    let mut archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.prepare_pgbench(5)?;
    archiving.system.append("[transfer]\nbandwidth = \"8MiB\"\npart_size = \"5MiB\"")?;
    let running = on_its_way(&archiving).await?;
    let is_copier = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "pg_basebackup")
    };
    let copier = tree(running.id()).into_iter().find(is_copier).ok_or("no pg_basebackup")?;
    let copier = rustix::process::Pid::from_raw(i32::try_from(copier)?).ok_or("not a process")?;
    rustix::process::kill_process(copier, rustix::process::Signal::KILL)?;
    let run = running.end().await?;
    assert_eq!(run.code, Some(1), "{run:?}");
    run.says("`pg_basebackup` was killed")?;
    nothing_is_left(&archiving)?;

    let running = on_its_way(&archiving).await?;
    archiving.cluster.kill_9()?;
    let run = running.end().await?;
    assert_eq!(run.code, Some(1), "{run:?}");
    nothing_is_left(&archiving)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_with_several_methods_is_backed_up_by_each() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.system.rewrite("[\"base\", \"wal\"]", "[\"logical\", \"base\", \"wal\"]")?;
    archiving.backup(0, &[]).await?;
    let kinds = || -> Vec<usize> {
        let ids = archiving.system.backups_in("west");
        ["-logical-", "-base-"].map(|kind| ids.iter().filter(|id| id.contains(kind)).count()).to_vec()
    };
    assert_eq!(kinds(), [1, 1]);
    archiving.run_as_server(&["doctor", "--output", "json"]).await?.says("can be taken: pg_basebackup")?;
    archiving.backup(0, &["database", "--kind", "logical"]).await?;
    assert_eq!(kinds(), [2, 1]);
    archiving.backup(0, &["--kind", "base"]).await?;
    assert_eq!(kinds(), [2, 2]);
    archiving.system.rewrite("[\"logical\", \"base\", \"wal\"]", "[\"logical\"]")?;
    archiving.system.rewrite("[sources.database.wal]", "")?;
    archiving.backup(2, &["--kind", "base"]).await?.says("asks for no backup of kind `base`")?;
    Ok(())
}
