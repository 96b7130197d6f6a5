//! Restore drills on real servers: what comes back is checked, timed and recorded, what is wrong is named, and nothing
//! is left.

use std::path::{Path, PathBuf};

use drctl::pipeline::NewIdentity;
use drctl::platform::ExposeSecret as _;
use serde_json::Value;

use crate::restore::origin;
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::classboard::{Classboard, HOME};
use crate::support::fault_proxy::FaultProxy;
use crate::support::ledger::{Ledger, options};
use crate::support::postgres::{Cluster, ClusterOptions};
use crate::support::rds::Timing;
use crate::support::s3::S3Server;
use crate::support::system::{Place, Run, System, until, write_private};

const TWO: [Place; 2] = [Place::Directory, Place::Directory];
const SCRIPT: &str = "CREATE TABLE tasks AS SELECT generate_series(1, 30) AS id, now() AS made;
    CREATE ROLE assistant LOGIN; GRANT SELECT ON tasks TO assistant";

/// The policy's drill: reads from the copy, restores into a directory of this test.
fn policy(system: &System, settings: &str) -> Outcome<()> {
    let (directory, identity) = (drills(system), system.operational.display());
    system.append(&format!(
        "[drill]\nsource = \"database\"\nidentity = \"file:{identity}\"\ndirectory = \"{}\"\n{settings}",
        directory.display()
    ))
}

fn drills(system: &System) -> PathBuf {
    system.path().join("drills")
}

fn check(name: &str, sql: &str, least: u32) -> String {
    format!("[[drill.checks]]\nname = \"{name}\"\nsql = \"{sql}\"\nat_least = {least}\n")
}

async fn drill(system: &System, code: i32, options: &[&str]) -> Outcome<(Value, Run)> {
    let run = system.expect(code, &[&["drill", "run", "--output", "json"], options].concat()).await?;
    let document = run.document()?;
    let leftovers: Vec<_> = std::fs::read_dir(drills(system)).into_iter().flatten().flatten().collect();
    assert!(leftovers.is_empty(), "{leftovers:?}: {document:#}");
    assert_eq!(document["record"]["cleanup"]["is_complete"], true, "{document:#}");
    Ok((document["record"].clone(), run))
}

fn verdict(record: &Value) -> (String, String, String) {
    let text = |name: &str| record["verdict"][name].as_str().unwrap_or_default().to_owned();
    (text("outcome"), text("cause"), text("code"))
}

fn is(record: &Value, outcome: &str, cause: &str, code: &str) {
    let found = verdict(record);
    assert_eq!((&*found.0, &*found.1, &*found.2), (outcome, cause, code), "{record:#}");
}

/// The records of drills in a repository, without their digests.
fn records(system: &System, repository: &str) -> Vec<PathBuf> {
    let folder = system.repository(repository).join("shop/journal/drills");
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_record = |path: &PathBuf| path.extension().is_some_and(|end| end == "json");
    let mut found: Vec<PathBuf> =
        files.filter(is_record).filter(|path| !path.to_string_lossy().ends_with(".sha256.json")).collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_comes_back_from_the_copy_and_the_evidence_is_chained_in_every_repository() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, SCRIPT, &TWO).await?;
    system.expect(0, &["backup"]).await?;
    let settings = "role = \"assistant\"\ndetect = \"10m\"\ncut_over = \"5m\"\n";
    policy(&system, &format!("{settings}{}", check("there are tasks", "SELECT count(*) FROM tasks", 30)))?;

    let plan = system.expect(0, &["drill", "run", "--plan"]).await?;
    plan.says("Restores   dump ")?.says("From       west")?;
    assert!(records(&system, "primary").is_empty());

    let (first, _) = drill(&system, 0, &[]).await?;
    is(&first, "pass", "", "");
    assert_eq!(first["sample"]["repository"], "west", "{first:#}");
    assert_eq!(first["environment"]["isolation"], "network namespace", "{first:#}");
    assert_eq!(first["results"]["checks"].as_array().map(Vec::len), Some(3), "{first:#}");
    assert_eq!(check_of(&first, "amcheck")["outcome"], "pass", "{first:#}");
    let rto = first["results"]["rto_seconds"].as_f64().ok_or("no RTO")?;
    assert!((900.0..1000.0).contains(&rto), "the allowances are part of it: {rto}");
    let rpo = first["results"]["rpo_seconds"].as_f64().ok_or("no RPO")?;
    assert!((0.0..120.0).contains(&rpo), "{rpo}");
    let phases: Vec<_> = first["phases"]
        .as_array()
        .ok_or("no phases")?
        .iter()
        .filter_map(|one| one["phase"].as_str())
        .collect();
    assert_eq!((phases.first(), phases.last()), (Some(&"detect"), Some(&"clean up")), "{phases:?}");
    assert!(phases.contains(&"provision") && phases.contains(&"load"), "{phases:?}");

    // Production has neither the copy nor its roles' names in a new place.
    assert_eq!(
        cluster
            .text(
                "postgres",
                "SELECT count(*)::text FROM pg_stat_activity WHERE application_name LIKE 'drctl drill%'"
            )
            .await?,
        "0"
    );
    system.expect(0, &["list"]).await?.says("proven")?;

    let (second, _) = drill(&system, 0, &["--scenario", "region-loss", "--by", "ann"]).await?;
    assert_eq!(second["people"]["requested_by"], "ann");
    let previous = &second["identity"]["previous"]["sha256"];
    // The primary was lost for this one: its record is completed by the next.
    assert_eq!((records(&system, "primary").len(), records(&system, "west").len()), (1, 2));
    let bytes = std::fs::read(&records(&system, "west")[0])?;
    assert_eq!(previous, &Value::from(drctl::model::Sha256Hex::digest(&bytes).to_string()));
    drill(&system, 0, &["--scenario", "random", "--seed", "7"]).await?;
    assert_eq!((records(&system, "primary").len(), records(&system, "west").len()), (3, 3));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sabotage_has_its_verdict_and_what_the_host_lacks_is_no_fault_of_the_backup() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, SCRIPT, &TWO).await?;
    system.expect(0, &["backup"]).await?;
    policy(
        &system,
        &format!("role = \"assistant\"\n{}", check("there are tasks", "SELECT count(*) FROM tasks", 31)),
    )?;

    // Rows are missing.
    let (record, run) = drill(&system, 20, &[]).await?;
    is(&record, "fail", "backup", "check-failed");
    run.says("it is 30, and should be at least 31")?;
    assert!(!record.to_string().contains("it is 30"), "{record:#}");
    system.rewrite("at_least = 31", "at_least = 30")?;
    assert!(!system.expect(0, &["list"]).await?.stdout.contains("proven"));

    // The key is not the backup's.
    let (record, run) = drill(&system, 22, &["--identity", &foreign_key(&system)?]).await?;
    is(&record, "undetermined", "environment", "restore-failed");
    run.says("none of the identities given")?.says("tells nothing of the backup")?;
    let (record, _) =
        drill(&system, 20, &["--scenario", "escrow-key", "--identity", &foreign_key(&system)?]).await?;
    assert_eq!((verdict(&record).0.as_str(), verdict(&record).1.as_str()), ("fail", "backup"));
    system.expect(2, &["drill", "run", "--scenario", "escrow-key"]).await?.says("none was given")?;
    system.rewrite("at_least = 30", "at_least = 1")?;
    let escrow = |path: &Path| path.to_string_lossy().into_owned();
    let operational = escrow(&system.operational);
    let (record, _) = drill(&system, 22, &["--scenario", "escrow-key", "--identity", &operational]).await?;
    is(&record, "undetermined", "environment", "not-the-escrow-key");
    let (record, _) =
        drill(&system, 0, &["--scenario", "escrow-key", "--identity", &escrow(&system.escrow)]).await?;
    assert_eq!(record["people"]["key_holder"], "escrow", "{record:#}");
    system.rewrite("at_least = 1\n", "at_least = 30\n")?;

    // It takes too long, or is too old.
    system.rewrite("rto = \"4h\"", "rto = \"2s\"")?;
    system.append(&check("hangs", "SELECT 1 FROM pg_sleep(60)", 1))?;
    let (record, run) = drill(&system, 21, &[]).await?;
    is(&record, "fail", "objective", "deadline");
    run.says("it was given up after 2")?;
    system.rewrite("rto = \"2s\"", "rto = \"4h\"")?;
    system.rewrite("FROM pg_sleep(60)", "")?;

    // A directory in which no server can have a socket.
    let long = system.path().join("x".repeat(90));
    let (record, run) = drill(&system, 22, &["--directory", &long.to_string_lossy()]).await?;
    is(&record, "undetermined", "environment", "sandbox-failed");
    run.says("too long for a socket")?;

    // The role of the application may not see what it needs.
    cluster.execute("origin", &["REVOKE SELECT ON tasks FROM assistant"]).await?;
    system.expect(0, &["backup"]).await?;
    let (record, run) = drill(&system, 20, &[]).await?;
    is(&record, "fail", "backup", "check-not-there");
    run.says("permission denied for table tasks")?;
    cluster.execute("origin", &["GRANT SELECT ON tasks TO assistant"]).await?;

    // Bytes rot in the copy.
    system.expect(0, &["backup"]).await?;
    flip_a_byte_of_the_dump(&system.repository("west"))?;
    let (record, _) = drill(&system, 20, &[]).await?;
    assert_eq!((verdict(&record).0.as_str(), verdict(&record).1.as_str()), ("fail", "backup"), "{record:#}");

    // Nothing is there at all, or not of this system.
    std::fs::remove_dir_all(system.repository("west").join("shop/database"))?;
    let (record, run) = drill(&system, 20, &[]).await?;
    is(&record, "fail", "backup", "nothing-to-restore");
    run.says("there is no backup")?;
    system.rewrite("name = \"shop\"", "name = \"other\"")?;
    let run = system.expect(22, &["drill", "run", "--output", "json"]).await?;
    is(&run.document()?["record"], "undetermined", "environment", "nothing-to-restore");
    run.says("belongs to system `shop`")?;
    Ok(())
}

fn foreign_key(system: &System) -> Outcome<String> {
    let path = system.path().join("foreign.key");
    if !path.exists() {
        write_private(&path, NewIdentity::generate().file("foreign").expose_secret())?;
    }
    Ok(path.to_string_lossy().into_owned())
}

/// Of the newest dump.
fn flip_a_byte_of_the_dump(repository: &Path) -> Outcome<()> {
    let folder = repository.join("shop/database/backups");
    let mut backups: Vec<_> = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    backups.sort();
    let path = backups.last().ok_or("no backup")?.join("database.dump.zst.age");
    let mut bytes = std::fs::read(&path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Ok(std::fs::write(path, bytes)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_comes_back_by_wal_without_a_network_and_production_hears_nothing() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(15).setting("wal_level", "logical")).await?;
    archiving.base("")?;
    let (system, cluster) = (&archiving.system, &archiving.cluster);
    Ledger::create(cluster).await?;
    // A subscription of the backed-up server: started, it would take its publisher's changes.
    let publisher = Cluster::start_with(options(15).setting("wal_level", "logical")).await?;
    Ledger::create(&publisher).await?;
    publisher
        .execute(
            "postgres",
            &[
                "CREATE PUBLICATION all_of_it FOR TABLE ledger",
                "SELECT pg_create_logical_replication_slot('drill', 'pgoutput')",
            ],
        )
        .await?;
    let subscribe = format!(
        "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port={} dbname=postgres user=postgres' PUBLICATION all_of_it WITH (create_slot = false, slot_name = 'drill', enabled = false, connect = false)",
        publisher.port()
    );
    cluster.execute("postgres", &[&subscribe]).await?;
    archiving.backup(0, &[]).await?;
    cluster
        .execute(
            "postgres",
            &["INSERT INTO ledger (note) VALUES ('after the base backup')", "ALTER SUBSCRIPTION s ENABLE"],
        )
        .await?;
    let target = crate::recovery::now(&archiving).await?;
    cluster
        .execute(
            "postgres",
            &["ALTER SUBSCRIPTION s DISABLE", "INSERT INTO ledger (note) VALUES ('the last')"],
        )
        .await?;
    archiving.write(1).await?;
    archiving.settle().await?;
    policy(system, &check("the last row", "SELECT count(*) FROM ledger WHERE note = 'the last'", 1))?;
    let _script = system.hand_to_server()?;

    let before = publisher.log_tail().matches("START_REPLICATION").count();

    let record = as_server(&archiving, 0, &["--scenario", "newest"]).await?;
    is(&record, "pass", "", "");
    assert_eq!(record["sample"]["kind"], "base", "{record:#}");
    assert_eq!(record["environment"]["isolation"], "network namespace", "{record:#}");
    assert_eq!(check_of(&record, "amcheck")["outcome"], "pass", "{record:#}");
    let record = as_server(&archiving, 0, &["--scenario", "region-loss"]).await?;
    assert_eq!(record["sample"]["repository"], "west", "{record:#}");

    // At that moment the subscription was enabled, and the last row was not there.
    let moment = target.to_rfc3339();
    let record =
        as_server(&archiving, 20, &["--scenario", "point-in-time", "--point-in-time", &moment]).await?;
    is(&record, "fail", "backup", "check-failed");
    let connected = publisher.log_tail().matches("START_REPLICATION").count();
    assert!(connected <= before, "{}", publisher.log_tail());

    // An index that does not have what its table has.
    cluster
        .execute(
            "postgres",
            &[
                "CREATE FUNCTION shown(bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT $1'",
                "CREATE INDEX spoiled ON ledger (shown(n))",
                "CREATE OR REPLACE FUNCTION shown(bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1'",
            ],
        )
        .await?;
    archiving.write(1).await?;
    archiving.settle().await?;
    let record = as_server(&archiving, 20, &["--scenario", "newest"]).await?;
    is(&record, "fail", "backup", "check-failed");
    assert_eq!(check_of(&record, "amcheck")["outcome"], "fail", "{record:#}");
    assert!(!record.to_string().contains("spoiled"), "{record:#}");
    cluster.execute("postgres", &["DROP INDEX spoiled"]).await?;

    // The copy lacks segments that the primary has: what is restored comes from the copy alone.
    let moment = crate::recovery::now(&archiving).await?.to_rfc3339();
    archiving.write(2).await?;
    archiving.settle().await?;
    let to_then = ["--scenario", "point-in-time", "--point-in-time", &moment];
    for _ in 0..2 {
        std::fs::remove_file(newest_segment(&system.repository("west"))?)?;
    }
    let record = as_server(&archiving, 20, &to_then).await?;
    assert_eq!((verdict(&record).0.as_str(), verdict(&record).1.as_str()), ("fail", "backup"), "{record:#}");
    let record = as_server(&archiving, 0, &[&to_then[..], &["--from", "primary"]].concat()).await?;
    is(&record, "pass", "", "");
    assert_eq!(record["sample"]["repository"], "primary", "{record:#}");
    Ok(())
}

fn check_of(record: &Value, name: &str) -> Value {
    let checks = record["results"]["checks"].as_array().cloned().unwrap_or_default();
    checks.into_iter().find(|check| check["check"] == name).unwrap_or_default()
}

async fn as_server(archiving: &Archiving, code: i32, options: &[&str]) -> Outcome<Value> {
    let run = archiving.run_as_server(&[&["drill", "run", "--output", "json"], options].concat()).await?;
    let record = run.document().map(|document| document["record"].clone())?;
    assert_eq!(run.code, Some(code), "{run:#?}");
    assert_eq!(record["cleanup"]["is_complete"], true, "{record:#}");
    Ok(record)
}

fn newest_segment(repository: &Path) -> Outcome<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![repository.join("shop/database/wal")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)?.flatten() {
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    let is_segment = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.len() >= 24 && !name.to_string_lossy().contains("history"))
    };
    found.retain(is_segment);
    found.sort();
    found
        .into_iter()
        .rfind(|path| !path.to_string_lossy().contains("backup"))
        .ok_or_else(|| "no segment".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_is_killed_leaves_nothing_that_the_next_one_does_not_remove() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, SCRIPT, &TWO).await?;
    system.expect(0, &["backup"]).await?;
    policy(&system, &check("hangs", "SELECT 1 FROM pg_sleep(120)", 1))?;
    let mut running = system.start(&["drill", "run"])?;
    let ready = || -> Option<u32> {
        let sandbox = std::fs::read_dir(drills(&system)).ok()?.flatten().next()?;
        let text = std::fs::read_to_string(sandbox.path().join("data/postmaster.pid")).ok()?;
        text.lines().nth(7).filter(|line| line.trim() == "ready")?;
        text.lines().next()?.trim().parse().ok()
    };
    until("its server runs", || ready().is_some()).await?;
    let server = ready().ok_or("it ended")?;
    running.kill()?;
    let _killed = running.end().await;
    assert!(Path::new(&format!("/proc/{server}")).exists(), "the server is left");
    system.rewrite("FROM pg_sleep(120)", "")?;
    let (record, _) = drill(&system, 0, &[]).await?;
    is(&record, "pass", "", "");
    assert_eq!(record["cleanup"]["leftovers_removed"].as_array().map(Vec::len), Some(1), "{record:#}");
    assert!(!Path::new(&format!("/proc/{server}")).exists(), "it is stopped");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_region_is_lost_17_comes_back_from_the_other_store_and_the_primary_is_not_called()
-> Outcome<()> {
    let (primary, west) = (S3Server::start().await?, S3Server::start().await?);
    let watched = FaultProxy::to(primary.address).await?;
    let places = [Place::of_server(watched.address), Place::of_server(west.address)];
    let archiving = Archiving::start(&places, "", options(17)).await?;
    archiving.base("")?;
    let (system, cluster) = (&archiving.system, &archiving.cluster);
    Ledger::create(cluster).await?;
    archiving.backup(0, &[]).await?;
    cluster.execute("postgres", &["INSERT INTO ledger (note) VALUES ('the last')"]).await?;
    let committed = crate::recovery::now(&archiving).await?;
    archiving.write(1).await?;
    archiving.settle().await?;
    policy(system, &check("the last row", "SELECT count(*) FROM ledger WHERE note = 'the last'", 1))?;
    let _script = system.hand_to_server()?;

    let before = watched.calls().len();
    drop(primary);
    let started = std::time::Instant::now();
    let record = as_server(&archiving, 0, &["--scenario", "region-loss"]).await?;
    let lasted = started.elapsed().as_secs_f64();
    is(&record, "pass", "", "");
    let rto = record["results"]["rto_seconds"].as_f64().ok_or("no RTO")?;
    // All that leads to the usable application, and nothing that follows it.
    let phases = record["phases"].as_array().cloned().unwrap_or_default();
    let counted = phases.iter().filter(|phase| phase["counts"] != false);
    let counted: f64 = counted.filter_map(|phase| phase["seconds"].as_f64()).sum();
    assert!(rto <= lasted && counted > 0.0 && rto >= counted * 0.95, "{counted} <= {rto} <= {lasted}");
    assert_eq!(watched.calls().len(), before, "the primary was called: {:?}", watched.calls());
    assert_eq!(
        record["environment"]["postgres"].as_str().map(|version| version.starts_with("17.")),
        Some(true)
    );
    // What is said to have been lost is no less than what was.
    let begun = record["results"]["reference"].as_str().ok_or("no reference")?;
    let begun = chrono::NaiveDateTime::parse_from_str(begun, "%Y-%m-%d %H:%M:%S UTC")?.and_utc();
    let rpo = record["results"]["rpo_seconds"].as_f64().ok_or("no RPO")?;
    assert!(rpo <= (begun - committed).as_seconds_f64() + 1.0, "{rpo}: {record:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_drills_host_lacks_tells_nothing_of_the_backup() -> Outcome<()> {
    let script = "CREATE TYPE @extschema@.only_there AS ENUM ('a');";
    let cluster = Cluster::start_with(ClusterOptions::new(15).extension("only_there", script)).await?;
    let system = origin(&cluster, "CREATE EXTENSION only_there; CREATE TABLE t (a only_there)", &TWO).await?;
    system.expect(0, &["backup"]).await?;
    policy(&system, "")?;
    let (record, run) = drill(&system, 22, &[]).await?;
    is(&record, "undetermined", "environment", "no-extension");
    run.says("does not have the files of the extension `only_there`")?;
    // No program that makes namespaces: no drill, unless the policy takes that upon itself.
    let mut command = system.command(&["drill", "run", "--output", "json"]);
    command.env("PATH", without_unshare(&system)?);
    let run = system.start_command(command)?.end().await?;
    assert_eq!(run.code, Some(22), "{run:#?}");
    is(&run.document()?["record"], "undetermined", "environment", "not-isolated");
    Ok(())
}

/// A folder with links to what is in the usual ones, but for one program.
fn without_unshare(system: &System) -> Outcome<PathBuf> {
    let folder = system.path().join("bin");
    std::fs::create_dir(&folder)?;
    for entry in ["/usr/bin", "/bin"].iter().flat_map(std::fs::read_dir).flatten().flatten() {
        if entry.file_name() != "unshare" && !folder.join(entry.file_name()).exists() {
            std::os::unix::fs::symlink(entry.path(), folder.join(entry.file_name())).or_else(|error| {
                if error.kind() == std::io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
            })?;
        }
    }
    Ok(folder)
}

/// The `[drill]` of a policy in `policies/` as it stands there.
fn drill_of(policy: &str) -> Outcome<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("policies/{policy}.toml"));
    let text = std::fs::read_to_string(path)?;
    let from = text.find("[drill]").ok_or("no drill")?;
    let until = text[from..].find("[notify]").ok_or("nothing after the drill")?;
    Ok(text[from..from + until].to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drills_of_the_reference_policies_pass_as_they_are_written() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let policies = [
        "ai-study-companion",
        "classboard",
        "course-companion-fte",
        "insightshop",
        "personal-assistant-tdah",
    ];
    let (mut systems, mut copies) = (Vec::new(), Vec::new());
    for (number, policy) in policies.iter().enumerate() {
        let drill = drill_of(policy)?;
        let table = drill.split("select count(*) from ").nth(1).and_then(|rest| rest.split('"').next());
        let copy = drill.split("from = \"").nth(1).and_then(|rest| rest.split('"').next());
        let (table, copy) = table.zip(copy).ok_or_else(|| format!("{policy}: {drill}"))?;
        let database = format!("reference_{number}");
        cluster.execute("postgres", &[&format!("CREATE DATABASE {database}")]).await?;
        cluster
            .psql(&database, &format!("CREATE TABLE {table} AS SELECT generate_series(1, 9) AS id"))
            .await?;
        let system = System::new(&cluster.url(&database), &TWO)?;
        system.rewrite("name = \"shop\"", &format!("name = \"{policy}\""))?;
        system.rewrite("[repository.copies.west]", &format!("[repository.copies.{copy}]"))?;
        system.append(&drill)?;
        system.rewrite("file:/etc/drctl/drill.key", &format!("file:{}", system.operational.display()))?;
        let directory = drills(&system);
        system.rewrite(
            "source = \"database\"",
            &format!("source = \"database\"\ndirectory = \"{}\"", directory.display()),
        )?;
        system.expect(0, &["backup"]).await?;
        systems.push(system);
        copies.push(copy.to_owned());
    }
    // All of them in one command, as a calendar would run it, and on one page.
    let others: Vec<String> =
        systems[1..].iter().map(|system| system.policy().to_string_lossy().into_owned()).collect();
    let also: Vec<&str> = others.iter().flat_map(|path| ["--also", path]).collect();
    let page = systems[0].path().join("all.html");
    let report = page.to_string_lossy();
    let words = ["drill", "run", "--scheduled", "--output", "json", "--report", &report];
    let run = systems[0].expect(0, &[&words[..], &also].concat()).await?;
    let lines = run.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let records: Vec<Value> =
        lines.filter(|line| line["kind"] == "drill").map(|line| line["record"].clone()).collect();
    assert_eq!(records.len(), policies.len(), "{run:#?}");
    for ((record, policy), copy) in records.iter().zip(policies).zip(&copies) {
        is(record, "pass", "", "");
        assert_eq!(record["identity"]["system"], policy, "{record:#}");
        assert_eq!(record["sample"]["repository"], copy.as_str(), "{policy}: {record:#}");
        assert_eq!(record["identity"]["trigger"], "schedule", "{policy}");
        assert!(record["identity"]["occurrence"].is_string(), "{policy}: {record:#}");
    }
    let page = std::fs::read_to_string(&page)?;
    assert!(page.contains("5 systems") && policies.iter().all(|policy| page.contains(policy)), "{page}");
    Ok(())
}

#[tokio::test]
async fn an_instance_of_rds_is_made_checked_and_deleted_again() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    board.system.expect(0, &["backup", "instance"]).await?;
    let identity = board.system.operational.display().to_string();
    let instances =
        || -> Vec<String> { board.server.instances(HOME).into_iter().map(|one| one.id).collect() };
    let before = instances();
    let check = "[[drill.checks]]\nname = \"ada\"\nsql = \"SELECT name FROM pupils\"\nequals = \"ada\"\n";
    board.system.append(&format!("[drill]\nsource = \"instance\"\n{check}"))?;
    let run = async |code: i32, scenario: &str| -> Outcome<Value> {
        let words = ["drill", "run", "--scenario", scenario, "--output", "json", "-i", &identity];
        Ok(board.system.expect(code, &words).await?.document()?["record"].clone())
    };
    // It may reach what production reaches: the policy has to accept that.
    let record = run(22, "rds-snapshot").await?;
    is(&record, "undetermined", "environment", "not-isolated");
    board.system.rewrite(
        "source = \"instance\"\n[[",
        "source = \"instance\"\ndanger_unverified_isolation = true\n[[",
    )?;

    // What it would make and cost is shown first, and nothing is made.
    let plan = ["drill", "run", "--scenario", "rds-snapshot", "--plan", "-i", &identity];
    board.system.expect(0, &plan).await?.says("drctl-drill-")?;
    assert_eq!(instances(), before);

    let record = run(0, "rds-snapshot").await?;
    is(&record, "pass", "", "");
    assert_eq!(record["cleanup"]["is_complete"], true, "{record:#}");
    assert_eq!(record["environment"]["isolation"], "unverified", "{record:#}");
    let phase = |name: &str| {
        let phases = record["phases"].as_array().cloned().unwrap_or_default();
        phases.into_iter().find(|phase| phase["phase"] == name)
    };
    assert_eq!(phase("hydrate").ok_or("no hydration")?["counts"], false, "{record:#}");
    assert_eq!(phase("create instance").ok_or("no creation")?["counts"], true, "{record:#}");
    assert_eq!(instances(), before);
    assert!(board.server.calls().iter().any(|call| call.action == "DeleteDBInstance"));

    let record = run(0, "rds-point-in-time").await?;
    is(&record, "pass", "", "");
    board.system.rewrite("equals = \"ada\"", "equals = \"grace\"")?;
    let record = run(20, "rds-snapshot").await?;
    is(&record, "fail", "backup", "check-failed");
    assert_eq!(instances(), before);
    Ok(())
}
