//! Base backups of what changed: taken, refused, put together again, on real servers of PostgreSQL 17.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use drctl::model::{Artifact, BackupId, BackupKind, Digest, Encoding, Manifest, ObjectPart, Tablespace};
use drctl::platform::{Clock as _, SystemClock};
use rustix::process::{Pid, Signal, kill_process};

use crate::base::{by_hand, data_directory, fetched, free_port, unpack};
use crate::by_hand::commands;
use crate::recovery::until_replayed;
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::{Ledger, Mark, Restored, Writers, options};
use crate::support::postgres::{Cluster, ClusterOptions, owner};
use crate::support::system::{Place, Run, until};

const TWO: [Place; 2] = [Place::Directory, Place::Directory];

fn summarizing() -> ClusterOptions {
    options(17).initdb("--data-checksums").setting("summarize_wal", "on")
}

async fn start(options: ClusterOptions, settings: &str) -> Outcome<Archiving> {
    let archiving = Archiving::start(&TWO, "", options).await?;
    archiving.base(settings)?;
    archiving.cluster.execute("postgres", &[LARGE]).await?;
    Ok(archiving)
}

/// Much that does not change.
const LARGE: &str =
    "CREATE TABLE large AS SELECT g, repeat(md5(g::text), 4) t FROM generate_series(1, 60000) g";

/// Takes one that must end well, and gives its manifest and what was said.
async fn backup(archiving: &Archiving, options: &[&str]) -> Outcome<(Manifest, Run)> {
    let run = archiving.backup(0, &[options, &["--output", "json"]].concat()).await?;
    let id: BackupId = run.document()?["sources"][0]["backup"].as_str().ok_or("no backup")?.parse()?;
    Ok((read(archiving, "west", &id)?, run))
}

fn folder(archiving: &Archiving, repository: &str, id: &BackupId) -> PathBuf {
    archiving.system.repository(repository).join("shop/database/backups").join(id.as_str())
}

fn read(archiving: &Archiving, repository: &str, id: &BackupId) -> Outcome<Manifest> {
    Ok(serde_json::from_slice(&std::fs::read(folder(archiving, repository, id).join("manifest.json"))?)?)
}

fn parent(manifest: &Manifest) -> Option<&BackupId> {
    drctl::model::parent(manifest)
}

/// The lists of files that this host keeps.
fn lists(archiving: &Archiving) -> Outcome<Vec<PathBuf>> {
    let folder = archiving.system.path().join("state/base/shop/database");
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_as_the_policy_allows_build_on_a_full_one() -> Outcome<()> {
    let archiving = start(summarizing(), "incrementals = 2").await?;
    let (full, run) = backup(&archiving, &[]).await?;
    assert_eq!(parent(&full), None);
    run.says("no base backup of this cluster before it")?;
    let mut before = full.clone();
    for n in 1..=2 {
        archiving.cluster.execute("postgres", &["INSERT INTO large VALUES (0, 'new')"]).await?;
        let (next, _) = backup(&archiving, &[]).await?;
        assert_eq!(parent(&next), Some(&before.id), "{n}");
        assert!(next.plain_size() * 3 < full.plain_size(), "{} of {}", next.plain_size(), full.plain_size());
        before = next;
    }
    assert_eq!(lists(&archiving)?.len(), 3);
    // One more would be too many, and who insists is told so.
    let refused = archiving.backup(1, &["--incremental"]).await?;
    refused.says("as many as the policy allows (2)")?;
    let (next, run) = backup(&archiving, &[]).await?;
    assert_eq!(parent(&next), None);
    run.says("as many as the policy allows (2)")?;
    // What no other can need any more is not kept.
    assert_eq!(lists(&archiving)?.len(), 1);
    let (changes, _) = backup(&archiving, &["--incremental"]).await?;
    assert_eq!(parent(&changes), Some(&next.id));
    let (forced, _) = backup(&archiving, &["--full"]).await?;
    assert_eq!(parent(&forced), None);
    archiving.system.expect(0, &["show", changes.id.as_str()]).await?.says(next.id.as_str())?;
    let listed = archiving.system.expect(0, &["list", "--output", "json"]).await?.document()?;
    let row = listed["backups"]
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["id"] == changes.id.as_str()));
    assert_eq!(row.ok_or("not listed")?["parent"], next.id.as_str());
    archiving.system.expect(0, &["verify", changes.id.as_str()]).await?.says(next.id.as_str())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_built_on_makes_the_next_a_full_one_and_it_says_why() -> Outcome<()> {
    let archiving = start(summarizing(), "incrementals = 6").await?;
    let full_because = async |words: &str| -> Outcome<Manifest> {
        archiving.backup(1, &["--incremental"]).await?.says(words)?;
        let (taken, run) = backup(&archiving, &[]).await?;
        assert_eq!(parent(&taken), None, "{run:#?}");
        run.says("taking a full base backup in place of an incremental one")?;
        run.says(words)?;
        Ok(taken)
    };
    let (first, _) = backup(&archiving, &[]).await?;
    // Of this host nothing is left; of its list only something else.
    std::fs::remove_dir_all(archiving.system.path().join("state/base"))?;
    full_because("the list of its files is not kept on this host").await?;
    let [list] = &lists(&archiving)?[..] else { return Err("not one list".into()) };
    std::fs::write(list, std::fs::read_to_string(list)?.replacen("Size", "size", 1))?;
    let third = full_because("is not what it was").await?;
    // A repository lost it.
    std::fs::remove_dir_all(folder(&archiving, "west", &third.id))?;
    full_because("`west` does not have it").await?;
    // The server has thrown away what it would need.
    let cluster = &archiving.cluster;
    cluster.execute("postgres", &["SELECT pg_switch_wal()", "CHECKPOINT"]).await?;
    summarized(cluster).await?;
    let mut summaries = 0;
    for entry in std::fs::read_dir(cluster.data().join("pg_wal/summaries"))? {
        let path = entry?.path();
        // One that is being written may get its name meanwhile, and is of what came later.
        if path.file_name() != Some("temp.summary".as_ref()) {
            // The server may remove one by itself meanwhile.
            match std::fs::remove_file(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed?,
            }
            summaries += 1;
        }
    }
    assert!(summaries > 0);
    full_because("the server does not give the changes since").await?;
    cluster.execute("postgres", &["ALTER SYSTEM SET summarize_wal = off", "SELECT pg_reload_conf()"]).await?;
    full_because("`summarize_wal` is off").await?;
    // One copy was taken away above.
    let shown = archiving.system.expect(3, &["list"]).await?;
    assert!(shown.stdout.contains(first.id.as_str()), "{shown:#?}");
    Ok(())
}

/// Waits until the server has noted every change up to its last checkpoint.
async fn summarized(cluster: &Cluster) -> Outcome<()> {
    let query = "SELECT coalesce(max(end_lsn) >= (SELECT redo_lsn FROM pg_control_checkpoint()), false)
        FROM pg_available_wal_summaries()";
    let begun = Instant::now();
    while cluster.text("postgres", query).await? != "true" {
        if begun.elapsed() > Duration::from_secs(60) {
            return Err("the changes are not summarized".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// A full one and two of what changed, while writers write, and what was there at some moments.
struct Chain {
    archiving: Archiving,
    /// The full one first.
    backups: Vec<Manifest>,
    /// Before the second of the changes, and after it.
    marks: [Mark; 2],
}

impl Chain {
    async fn take() -> Outcome<Self> {
        let archiving = start(summarizing(), "incrementals = 2").await?;
        let cluster = &archiving.cluster;
        Ledger::create(cluster).await?;
        let before = [
            "CREATE TABLE dropped AS SELECT g FROM generate_series(1, 5000) g",
            "CREATE TABLE truncated AS SELECT g FROM generate_series(1, 5000) g",
            "CREATE TABLE shortened AS SELECT g, repeat('x', 200) t FROM generate_series(1, 5000) g",
            "CREATE UNLOGGED TABLE fleeting AS SELECT g FROM generate_series(1, 5000) g",
        ];
        cluster.execute("postgres", &before).await?;
        let mut backups = vec![backup(&archiving, &[]).await?.0];
        let writers = Writers::start(cluster).await?;
        let between = [
            "DROP TABLE dropped",
            "TRUNCATE truncated",
            "INSERT INTO truncated VALUES (1), (2)",
            "DELETE FROM shortened WHERE g > 100",
            "UPDATE large SET t = 'other' WHERE g % 1000 = 7",
            "CREATE DATABASE later",
        ];
        cluster.execute("postgres", &between).await?;
        cluster.execute("later", &["CREATE TABLE new AS SELECT g FROM generate_series(1, 3000) g"]).await?;
        backups.push(backup(&archiving, &[]).await?.0);
        let first = Mark::make(cluster, "between").await?;
        cluster.execute("postgres", &["VACUUM shortened", "DELETE FROM large WHERE g < 100"]).await?;
        cluster.execute("later", &["UPDATE new SET g = -g", "CREATE INDEX ON new (g)"]).await?;
        backups.push(backup(&archiving, &[]).await?.0);
        let second = Mark::make(cluster, "after").await?;
        writers.end().await?;
        cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
        archiving.settle().await?;
        Ok(Self { archiving, backups, marks: [first, second] })
    }

    fn id(&self, n: usize) -> &str {
        self.backups[n].id.as_str()
    }
}

/// All there is of the tables beside the ledger.
const CONTENT: &str = "concat_ws(' ', to_regclass('dropped')::text, (SELECT sum(g) FROM truncated),
    (SELECT md5(string_agg(g || t, ',' ORDER BY g)) FROM shortened), (SELECT count(*) FROM fleeting),
    (SELECT md5(string_agg(g || t, ',' ORDER BY g, t)) FROM large))";

async fn content(archiving: &Archiving) -> Outcome<String> {
    // What is not logged is empty after a recovery.
    archiving.cluster.execute("postgres", &["TRUNCATE fleeting"]).await?;
    archiving.cluster.text("postgres", &format!("SELECT {CONTENT}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_brings_back_what_was_there_and_nothing_else() -> Outcome<()> {
    let chain = Chain::take().await?;
    let archiving = &chain.archiving;
    let content = content(archiving).await?;
    let latest = archiving.recovered("latest", &["--latest"]).await?;
    let ledger: Vec<i64> = Ledger::read(&archiving.cluster).await?.0.iter().map(|entry| entry.n).collect();
    let sorted = |mut numbers: Vec<i64>| {
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(latest.numbers().await?, sorted(ledger));
    assert_eq!(latest.report["backup"], chain.id(2));
    assert_eq!(latest.text(CONTENT).await?, content);
    assert_eq!(latest.text("SELECT count(*) FROM pg_database WHERE datname = 'later'").await?, "1");
    let checked = archiving.cluster.client("pg_amcheck").args(amcheck(&latest)?).output()?;
    assert!(checked.status.success(), "{checked:?}");
    assert!(!latest.to.join("drctl-chain").exists() && !latest.to.join("drctl-unfinished.json").exists());
    drop(latest);

    // After the whole chain, by its log; and between the two of them, which needs the first only.
    let [between, after] = &chain.marks;
    let restored = archiving.recovered("after", &["--to-lsn", &after.lsn]).await?;
    assert_eq!(restored.numbers().await?, after.numbers);
    assert_eq!(restored.report["backup"], chain.id(2));
    drop(restored);
    let restored = archiving.recovered("between", &["--to-name", "between", "--from", "west"]).await?;
    assert_eq!(restored.numbers().await?, between.numbers);
    let restored = archiving.recovered("first", &["--backup", chain.id(1), "--to-lsn", &between.lsn]).await?;
    assert_eq!(restored.numbers().await?, between.numbers);
    assert_eq!(restored.report["backup"], chain.id(1));
    Ok(())
}

/// Every table and index of all databases of a restored server.
fn amcheck(restored: &Restored) -> Outcome<Vec<String>> {
    let port = restored.report["details"]["started"]["port"].as_i64().ok_or("no port")?;
    let words = ["--all", "--install-missing", "--host=127.0.0.1", "--username=postgres"];
    Ok(words.iter().map(ToString::to_string).chain([format!("--port={port}")]).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_lost_a_link_is_refused_with_what_is_left() -> Outcome<()> {
    let chain = Chain::take().await?;
    let archiving = &chain.archiving;
    let ids = [chain.id(0), chain.id(1), chain.id(2)];
    // Where one repository has it, the chain is whole.
    std::fs::remove_dir_all(folder(archiving, "west", &chain.backups[1].id))?;
    let plan = archiving.recover("planned", &["--latest", "--plan"]).await?;
    assert_eq!(plan.code, Some(0), "{plan:#?}");
    plan.says(ids[2])?;
    plan.says("until they are put together")?;
    let from_west = archiving.unrecovered(10, &["--latest", "--from", "west", "--backup", ids[2]]).await?;
    from_west.says(&format!("its parent `{}` is missing", ids[1]))?;
    from_west.says("`west` has everything from")?;
    let listed = archiving.system.expect(3, &["list"]).await?;
    listed.says("broken")?;
    assert!(listed.stderr.contains(ids[1]), "{listed:#?}");
    let verified = archiving.system.expect(1, &["verify", ids[2]]).await?;
    verified.says("it cannot be restored from there")?;

    std::fs::remove_dir_all(folder(archiving, "primary", &chain.backups[1].id))?;
    let refused = archiving.unrecovered(10, &["--latest", "--backup", ids[2]]).await?;
    refused.says(&format!("its parent `{}` is missing", ids[1]))?;
    refused.says("`primary` has everything from")?;
    let status = archiving.system.expect(3, &["status"]).await?;
    status.says(&format!("{} and WAL", ids[0]))?;
    // The full one and its log lead to the same moment, and it is said why.
    let restored = archiving.recovered("instead", &["--to-lsn", &chain.marks[1].lsn]).await?;
    assert_eq!(restored.report["backup"], ids[0]);
    assert!(restored.report["notes"].to_string().contains(ids[1]), "{:#}", restored.report);
    assert_eq!(restored.numbers().await?, chain.marks[1].numbers);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_comes_back_without_drctl() -> Outcome<()> {
    const QUERY: &str = "SELECT md5(string_agg(n::text, ',' ORDER BY n)) || count(*) FROM ledger";
    let chain = Chain::take().await?;
    let archiving = &chain.archiving;
    let expected = archiving.cluster.text("postgres", QUERY).await?;
    let last = &chain.backups[2];
    let gathered = || -> Outcome<_> {
        let place = fetched(archiving, last)?;
        for parent in &chain.backups[..2] {
            let to = place.socket_directory().join(parent.id.as_str());
            std::fs::create_dir(&to)?;
            for entry in std::fs::read_dir(folder(archiving, "west", &parent.id))? {
                let entry = entry?;
                std::fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
        }
        place.hand_over()?;
        Ok(place)
    };
    // By the commands of its manifest.
    let place = gathered()?;
    assert_eq!(by_hand(&place, free_port()?, &last.by_hand.join("\n"), QUERY)?, expected);

    // By RESTORE-BY-HAND.txt, whose ninth section another test follows.
    let place = gathered()?;
    let text = std::fs::read_to_string(archiving.system.repository("west").join("RESTORE-BY-HAND.txt"))?;
    let unpack = &commands(&text, "8. A whole cluster")?[..2];
    let mut script = vec!["ln -s . own".to_owned()];
    for (n, id) in [chain.id(0), chain.id(1), "own"].iter().enumerate() {
        let part = format!("part-{n}");
        let lines = unpack.iter().map(|line| line.replace("base.tar", &format!("{id}/base.tar")));
        script.extend(
            lines
                .map(|line| line.replace("700 data", &format!("700 {part}")))
                .map(|line| line.replace("-C data", &format!("-C {part}"))),
        );
    }
    script.extend(
        commands(&text, "10. A base backup of what changed")?
            .iter()
            .map(|line| line.replace("part-0 part-1", "part-0 part-1 part-2")),
    );
    // What comes after it is the same as of a full one.
    let after = last.by_hand.iter().skip_while(|line| !line.starts_with("pg_verifybackup")).skip(1);
    script.extend(after.cloned());
    assert_eq!(by_hand(&place, free_port()?, &script.join("\n"), QUERY)?, expected);

    // By what lies beside the data that drctl restored: as the server's user, into other directories.
    let restored = archiving.recover("beside", &["--latest"]).await?;
    assert_eq!(restored.code, Some(0), "{restored:#?}");
    let beside = archiving.system.path().join("beside");
    let text = std::fs::read_to_string(beside.join("RECOVER-BY-HAND.txt"))?;
    let place = gathered()?;
    let home = place.socket_directory().display().to_string();
    let script: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .take_while(|line| !line.contains(" = "))
        .map(|line| {
            line.replace("REPOSITORY", &archiving.system.repository("west").display().to_string())
                .replace(&beside.display().to_string(), &format!("{home}/data"))
                .replace("/a/directory/with/room/for/all/of/them", &format!("{home}/parts"))
                .replace("/path/to/identity.txt", &format!("{home}/identity.txt"))
        })
        .chain([format!("cd {home}")])
        .chain(last.by_hand.iter().skip_while(|line| !line.starts_with("pg_verifybackup")).skip(1).cloned())
        .collect();
    let script = script.join("\n");
    assert!(script.contains("pg_combinebackup"), "{script}");
    assert_eq!(by_hand(&place, free_port()?, &script, QUERY)?, expected);
    Ok(())
}

/// Tells the policy that another server is the source's now.
fn moved_to(archiving: &Archiving) -> Outcome<()> {
    let was = std::fs::read_to_string(archiving.system.policy())?;
    let url = was.lines().find_map(|line| line.strip_prefix("url = ")).ok_or("no url")?.to_owned();
    archiving.system.rewrite(&url, &format!("\"{}\"", archiving.cluster.url("postgres")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_builds_on_what_was_taken_of_its_primary() -> Outcome<()> {
    let mut archiving = start(summarizing(), "incrementals = 6").await?;
    let standby = archiving.cluster.standby().await?;
    Ledger::create(&archiving.cluster).await?;
    let (full, _) = backup(&archiving, &[]).await?;
    let insert = "INSERT INTO ledger (note) SELECT 'x' FROM generate_series(1, 10)";
    archiving.cluster.execute("postgres", &[insert, "SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;
    let end = archiving.cluster.text("postgres", "SELECT pg_current_wal_insert_lsn()").await?;
    until_replayed(&standby, &end).await?;
    archiving.cluster.kill();
    standby.execute("postgres", &["SELECT pg_promote()", insert]).await?;
    archiving.cluster = standby;
    moved_to(&archiving)?;
    let (changes, run) = backup(&archiving, &[]).await?;
    assert_eq!(parent(&changes), Some(&full.id), "{run:#?}");
    let timeline =
        |manifest: &Manifest| manifest.physical.as_ref().map(|physical| physical.timeline.number());
    assert_eq!((timeline(&full), timeline(&changes)), (Some(1), Some(2)));
    archiving.cluster.execute("postgres", &[insert]).await?;
    let mark = Mark::make(&archiving.cluster, "promoted").await?;
    archiving.cluster.execute("postgres", &[insert, "SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;
    let restored =
        archiving.recovered("promoted", &["--to-name", "promoted", "--backup", changes.id.as_str()]).await?;
    assert_eq!(restored.numbers().await?, mark.numbers);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovered_server_does_not_build_on_what_came_after_it_parted() -> Outcome<()> {
    let mut archiving = start(summarizing(), "incrementals = 6").await?;
    Ledger::create(&archiving.cluster).await?;
    backup(&archiving, &[]).await?;
    let insert = "INSERT INTO ledger (note) SELECT 'x' FROM generate_series(1, 10)";
    archiving.cluster.execute("postgres", &[insert]).await?;
    let mark = Mark::make(&archiving.cluster, "good").await?;
    archiving.cluster.execute("postgres", &["DELETE FROM ledger", "SELECT pg_switch_wal()"]).await?;
    let (after, _) = backup(&archiving, &["--incremental"]).await?;
    archiving.settle().await?;
    let restored = archiving.recovered("good", &["--to-name", "good"]).await?;
    assert_eq!(restored.numbers().await?, mark.numbers);
    let left = restored.leave();
    archiving.cluster.kill();
    let adopted = archiving.cluster.adopt(&left)?;
    let _old = std::mem::replace(&mut archiving.cluster, adopted);
    let file = archiving.cluster.data().join("postgresql.auto.conf");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text.replace("archive_mode = 'off'\n", ""))?;
    archiving.cluster.begin_again()?;
    moved_to(&archiving)?;
    let refused = archiving.backup(1, &["--incremental"]).await?;
    refused.says(&format!("the server does not give the changes since {}", after.id))?;
    let (taken, run) = backup(&archiving, &[]).await?;
    assert_eq!(parent(&taken), None, "{run:#?}");
    run.says("taking a full base backup in place of an incremental one")?;
    Ok(())
}

/// What is left behind when a restore is ended while it puts a chain together.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_not_put_together_leaves_nothing_to_start() -> Outcome<()> {
    let archiving = start(summarizing(), "incrementals = 6").await?;
    let more = "INSERT INTO large SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 150000) g";
    archiving.cluster.execute("postgres", &[more]).await?;
    backup(&archiving, &[]).await?;
    archiving.cluster.execute("postgres", &["UPDATE large SET g = 0 WHERE g % 1000 = 0"]).await?;
    backup(&archiving, &[]).await?;
    let to = archiving.system.path().join("cut");
    let (place, identity) = (to.display().to_string(), archiving.system.operational.display().to_string());
    let arguments = ["restore", "database", "--latest", "--to", &place, "--identity", &identity];
    let begun = async || -> Outcome<std::process::Child> {
        let mut command = archiving.server_command(&arguments)?;
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        until("the chain is put together", || to.join("drctl-chain/data").exists()).await?;
        Ok(child)
    };
    let signal = |child: &std::process::Child, signal| -> Outcome<()> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("no process")?;
        Ok(kill_process(pid, signal)?)
    };
    // Asked to end: it takes back what it wrote.
    let child = begun().await?;
    signal(&child, Signal::TERM)?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert_eq!(std::fs::read_dir(&to)?.count(), 0, "{said}");
    // Killed: what is left is no data directory, is known for what it is, and goes when that is asked for.
    let mut child = begun().await?;
    signal(&child, Signal::KILL)?;
    child.wait()?;
    assert!(!to.join("global/pg_control").exists() && to.join("drctl-unfinished.json").exists());
    let refused = archiving.recover("cut", &["--latest"]).await?;
    refused.says("is left of a restore that did not end")?;
    let restored = archiving.recovered("cut", &["--latest", "--drop-leftovers"]).await?;
    assert_eq!(restored.text("SELECT count(*) FROM large").await?, "210000");
    Ok(())
}

/// Stores what `pg_basebackup` wrote into a directory as a backup: drctl itself takes no changes of a cluster
/// with tablespaces, and restores them all the same.
fn store(archiving: &Archiving, from: &Path, full: &Manifest, spaces: Vec<Tablespace>) -> Outcome<Manifest> {
    let list = std::fs::read_to_string(from.join("backup_manifest"))?;
    let range = list.split_once("\"Start-LSN\": \"").ok_or("no range")?.1;
    let (start, rest) = range.split_once('"').ok_or("no start")?;
    let stop = rest.split('"').nth(3).ok_or("no end")?;
    // Into the archive, where drctl has it.
    let output = std::process::Command::new("tar")
        .arg("-rf")
        .arg(from.join("base.tar"))
        .args(["--owner=0", "--group=0", "--format=ustar", "-C"])
        .arg(from)
        .arg("backup_manifest")
        .output()?;
    assert!(output.status.success(), "{output:?}");
    let mut manifest = full.clone();
    let now = SystemClock.now();
    manifest.id = BackupId::new(now, &manifest.source, BackupKind::Base, 1);
    (manifest.begun, manifest.ended, manifest.recovery_point) = (now, now, now);
    let physical = manifest.physical.as_mut().ok_or("it is no base backup")?;
    (physical.start, physical.stop) = (start.parse()?, stop.parse()?);
    physical.parent = Some(full.id.clone());
    manifest.artifacts.clear();
    let names = spaces.iter().map(|space| format!("{}.tar", space.oid)).chain(["base.tar".to_owned()]);
    for name in names {
        let plain = std::fs::read(from.join(&name))?;
        let stored = zstd::encode_all(&plain[..], 1)?;
        let object = ObjectPart { name: format!("{name}.zst"), stored: Digest::compute(&stored) };
        for repository in ["primary", "west"] {
            let folder = folder(archiving, repository, &manifest.id);
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join(&object.name), &stored)?;
        }
        manifest.artifacts.push(Artifact {
            name: object.name.clone(),
            plain: Digest::compute(&plain),
            encoding: vec![Encoding::Zstd],
            objects: vec![object],
        });
    }
    manifest.physical.as_mut().ok_or("it is no base backup")?.tablespaces = spaces;
    for repository in ["primary", "west"] {
        let path = folder(archiving, repository, &manifest.id).join("manifest.json");
        std::fs::write(path, serde_json::to_vec_pretty(&manifest)?)?;
    }
    Ok(manifest)
}

#[tokio::test(flavor = "multi_thread")]
async fn tablespaces_of_a_chain_go_where_they_are_told_to() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", summarizing()).await?;
    archiving.base(&data_directory(&archiving))?;
    let cluster = &archiving.cluster;
    let create = async |name: &str| -> Outcome<Tablespace> {
        let place = cluster.socket_directory().join(name);
        std::fs::create_dir(&place)?;
        cluster.hand_over()?;
        let table =
            format!("CREATE TABLE in_{name} TABLESPACE {name} AS SELECT g FROM generate_series(1, 90000) g");
        let statement = format!("CREATE TABLESPACE {name} LOCATION '{}'", place.display());
        cluster.execute("postgres", &[&statement, &table]).await?;
        let oid = format!("SELECT oid FROM pg_tablespace WHERE spcname = '{name}'");
        let oid = cluster.text("postgres", &oid).await?.parse()?;
        Ok(Tablespace { oid, location: place.display().to_string() })
    };
    let (stays, goes) = (create("stays").await?, create("goes").await?);
    let (full, _) = backup(&archiving, &[]).await?;
    let unpacked = archiving.system.path().join("unpacked");
    std::fs::create_dir(&unpacked)?;
    let base =
        full.artifacts.iter().find(|artifact| artifact.name.starts_with("base.tar")).ok_or("no base")?;
    unpack(&archiving, &full, base, &unpacked)?;
    // One goes, one comes, and of one a little changes.
    cluster.execute("postgres", &["DROP TABLE in_goes", "DROP TABLESPACE goes"]).await?;
    let comes = create("comes").await?;
    cluster.execute("postgres", &["UPDATE in_stays SET g = -g WHERE g % 10000 = 1"]).await?;
    let taken = archiving.system.path().join("taken");
    let mut command = cluster.client("pg_basebackup");
    command.args(["-Ft", "-X", "none", "-c", "fast", "-D"]).arg(&taken);
    command.arg(format!("--incremental={}", unpacked.join("backup_manifest").display()));
    let output = command.output()?;
    assert!(output.status.success(), "{output:?}");
    let changes = store(&archiving, &taken, &full, vec![stays.clone(), comes.clone()])?;
    assert!(changes.plain_size() * 2 < full.plain_size());
    cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;

    let _script = archiving.system.hand_to_server()?;
    let to = archiving.system.path().join("stays = here");
    let mapping = format!("{}={}", stays.oid, to.display());
    let restored = archiving.recovered("mapped", &["--latest", "--tablespace", &mapping]).await?;
    assert_eq!(restored.report["backup"], changes.id.as_str());
    for table in ["in_stays", "in_comes"] {
        let query = format!("SELECT sum(g) || ' ' || count(*) FROM {table}");
        assert_eq!(restored.text(&query).await?, cluster.text("postgres", &query).await?, "{table}");
    }
    let location = |oid| format!("SELECT pg_tablespace_location({oid})");
    assert_eq!(restored.text(&location(stays.oid)).await?, to.display().to_string());
    let beside = archiving.system.path().join(format!("mapped-tablespaces/{}", comes.oid));
    assert_eq!(restored.text(&location(comes.oid)).await?, beside.display().to_string());
    for place in [&to, &beside, &restored.to] {
        let names: Vec<_> =
            std::fs::read_dir(place)?.map(|entry| Ok(entry?.file_name())).collect::<Outcome<_>>()?;
        assert!(!names.iter().any(|name| name.to_string_lossy().starts_with("drctl-chain")), "{names:?}");
    }
    assert!(!beside.with_file_name(goes.oid.to_string()).exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_belongs_to_its_owner_and_needs_its_programs() -> Outcome<()> {
    let archiving = start(summarizing(), "incrementals = 1").await?;
    Ledger::create(&archiving.cluster).await?;
    let (full, _) = backup(&archiving, &[]).await?;
    archiving.cluster.execute("postgres", &["INSERT INTO ledger (note) VALUES ('x')"]).await?;
    let (changes, _) = backup(&archiving, &[]).await?;
    archiving.cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;
    // A directory is changed into what is whole by itself.
    let delta = archiving.recover("delta", &["--latest", "--delta", "--plan"]).await?;
    assert_eq!(delta.code, Some(0), "{delta:#?}");
    delta.says("it would have to be whole by itself")?.says(full.id.as_str())?;

    if let Some((user, group)) = owner()? {
        let to = archiving.system.path().join("owned");
        let (place, identity) =
            (to.display().to_string(), archiving.system.operational.display().to_string());
        let mut command = tokio::process::Command::new(&archiving.drctl);
        command.args(["restore", "database", "--latest", "--to", &place, "--identity", &identity]);
        let output = command.args(["--owner", "postgres", "--start", "--output", "json"]).output().await?;
        let done = Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        };
        assert_eq!(done.code, Some(0), "{done:#?}");
        let restored = Restored::of(to.clone(), done.document()?)?;
        assert_eq!(restored.numbers().await?, [1, 2]);
        let mut folders = vec![to];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                let found = entry.metadata()?;
                assert_eq!((found.uid(), found.gid()), (user, group), "{}", entry.path().display());
                folders.extend(found.is_dir().then(|| entry.path()));
            }
        }
    }

    let tools = format!("tools = \"{}\"", archiving.cluster.programs().display());
    archiving.system.rewrite(&tools, "")?;
    let refused = archiving.unrecovered(1, &["--latest"]).await?;
    refused.says(changes.id.as_str())?.says("pg_combinebackup")?.says("postgresql-17")?;
    refused.says(&format!("--backup {}", full.id))?;
    let plan = archiving.recover("planned", &["--latest", "--plan", "--backup", full.id.as_str()]).await?;
    assert_eq!(plan.code, Some(0), "{plan:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_copied_by_its_changes_while_its_primary_writes() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", summarizing().setting("archive_timeout", "1s")).await?;
    let standby = archiving.cluster.standby().await?;
    archiving.base(&format!("incrementals = 2\nurl = \"{}\"", standby.url("postgres")))?;
    archiving.cluster.execute("postgres", &[LARGE]).await?;
    Ledger::create(&archiving.cluster).await?;
    let writers = Writers::start(&archiving.cluster).await?;
    let (full, _) = backup(&archiving, &[]).await?;
    // A copy of a standby begins where the standby last could begin again.
    archiving.cluster.execute("postgres", &["CHECKPOINT"]).await?;
    let end = archiving.cluster.text("postgres", "SELECT pg_current_wal_insert_lsn()").await?;
    until_replayed(&standby, &end).await?;
    standby.execute("postgres", &["CHECKPOINT"]).await?;
    let (changes, run) = backup(&archiving, &[]).await?;
    assert_eq!(parent(&changes), Some(&full.id), "{run:#?}");
    let mark = Mark::make(&archiving.cluster, "after").await?;
    writers.end().await?;
    archiving.cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;
    let restored =
        archiving.recovered("standby", &["--to-name", "after", "--backup", changes.id.as_str()]).await?;
    assert_eq!(restored.numbers().await?, mark.numbers);
    Ok(())
}
