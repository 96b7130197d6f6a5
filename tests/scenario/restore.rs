//! Restoring into real servers, as its user does it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::Outcome;
use crate::support::postgres::{Cluster, programs};
use crate::support::system::{Place, Run, System};

const HARD_THINGS: &str = include_str!("../support/hard_things.sql");
const WITHIN: Duration = Duration::from_secs(60);

/// Everything `pg_dump` says of a database, its name aside.
fn dumped(cluster: &Cluster, database: &str) -> Outcome<String> {
    let output = cluster.client("pg_dump").args(["--create", "--dbname", database]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let text = String::from_utf8(output.stdout)?;
    // A random key, to keep psql from being led astray.
    let lines =
        text.lines().filter(|line| !line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict "));
    Ok(lines.collect::<Vec<_>>().join("\n").replace(database, "DATABASE"))
}

fn assert_same(a: &str, b: &str) {
    let different: Vec<(&str, &str)> = a.lines().zip(b.lines()).filter(|(a, b)| a != b).take(5).collect();
    assert!(different.is_empty(), "{different:#?}");
    assert_eq!(a.lines().count(), b.lines().count());
}

/// A database `origin` with some tables, and a policy for it.
pub(crate) async fn origin(cluster: &Cluster, script: &str, places: &[Place]) -> Outcome<System> {
    cluster.execute("postgres", &["CREATE DATABASE origin"]).await?;
    cluster.psql("origin", script).await?;
    System::new(&cluster.url("origin"), places)
}

const SMALL: &str = "CREATE TABLE t (id int PRIMARY KEY, text text);
    INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 20000) g;
    CREATE INDEX t_text ON t (text);";

impl System {
    /// Restores the latest backup with the operational key, and more arguments.
    pub(crate) async fn restore(&self, code: i32, arguments: &[&str]) -> Outcome<Run> {
        let key = self.operational.display().to_string();
        let all: Vec<&str> = ["restore", "database", "--identity", &key]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        self.expect(code, &all).await
    }

    /// The dump's first object in a repository.
    fn dump_object(&self, repository: &str) -> Outcome<PathBuf> {
        let id = self.backups_in(repository).pop().ok_or("there is no backup")?;
        Ok(self.repository(repository).join("shop/database/backups").join(id).join("database.dump.zst.age"))
    }
}

/// Databases that are neither the server's own nor `origin`.
pub(crate) async fn databases(cluster: &Cluster) -> Outcome<String> {
    let query = "SELECT coalesce(string_agg(datname, ' ' ORDER BY datname), '') FROM pg_database
                  WHERE datname NOT IN ('postgres', 'template0', 'template1', 'origin')";
    cluster.text("postgres", query).await
}

fn flip_a_byte(path: &Path, at: impl FnOnce(usize) -> usize) -> Outcome<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut bytes = fs::read(path)?;
    let position = at(bytes.len());
    bytes[position] ^= 1;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(fs::write(path, bytes)?)
}

pub(crate) async fn until(what: &str, mut test: impl AsyncFnMut() -> Outcome<bool>) -> Outcome<()> {
    let begun = Instant::now();
    while begun.elapsed() < WITHIN {
        if test().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("it did not come to this in time: {what}").into())
}

#[tokio::test]
async fn a_database_with_hard_things_comes_back_byte_for_byte() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, HARD_THINGS, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    let before = dumped(&cluster, "origin")?;
    for jobs in ["1", "2"] {
        let name = format!("restored{jobs}");
        let run = system.restore(0, &["--to", &name, "--jobs", jobs, "--output", "json"]).await?;
        assert_same(&before, &dumped(&cluster, &name)?);
        let last = run.stdout.lines().last().unwrap_or_default();
        let report: serde_json::Value = serde_json::from_str(last)?;
        assert_eq!(report["kind"], "restore-report", "{report}");
        assert_eq!(report["details"]["compared"]["large_objects"], 3);
        assert_eq!(report["details"]["compared"]["counted"], 18);
        assert_eq!(report["left_out"], serde_json::json!([]));
        let is_fetched = report["phases"]
            .as_array()
            .is_some_and(|phases| phases.iter().any(|phase| phase["phase"] == "fetch"));
        assert_eq!(is_fetched, jobs == "2");
    }
    assert_eq!(databases(&cluster).await?, "restored1 restored2");
    let comment = cluster.text(
        "postgres",
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'restored1'",
    );
    assert_eq!(comment.await?, "hard; it's");
    Ok(())
}

#[tokio::test]
async fn what_is_not_ready_is_refused_and_nothing_is_touched() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, SMALL, &[Place::Directory, Place::Directory]).await?;
    let nothing = system.restore(10, &["--to", "new"]).await?;
    assert!(nothing.stderr.contains("there is no backup of `database`"), "{nothing:?}");
    system.expect(0, &["backup"]).await?;
    system.expect(0, &["backup"]).await?;

    let occupied = system.restore(1, &["--to", "origin"]).await?;
    assert!(
        occupied.stderr.contains("database `origin` is not empty: it has table public.t"),
        "{occupied:?}"
    );
    let unknown = system.restore(10, &["--to", "new", "--backup", "1999"]).await?;
    assert!(
        unknown.stderr.contains("no backup of `database` has an id that begins with `1999`"),
        "{unknown:?}"
    );
    let ambiguous = system.restore(2, &["--to", "new", "--backup", "2"]).await?;
    assert!(ambiguous.stderr.contains("`2` is the beginning of several backups"), "{ambiguous:?}");
    let table = system.restore(2, &["--to", "new", "--table", "public.tt"]).await?;
    assert!(table.stderr.contains("no table `public.tt`; near it: `public.t`"), "{table:?}");
    let elsewhere = system.restore(2, &["--to", "new", "--from", "nowhere"]).await?;
    assert!(elsewhere.stderr.contains("no repository `nowhere`"), "{elsewhere:?}");
    let in_argv = system.restore(2, &["--to", "postgres://a:secret@127.0.0.1:1/new"]).await?;
    assert!(
        in_argv.stderr.contains("can be read by everyone") && !in_argv.stderr.contains("secret@"),
        "{in_argv:?}"
    );

    // The key: none, and one that is not a recipient.
    let none = system.expect(12, &["restore", "database", "--to", "new"]).await?;
    assert!(none.stderr.contains("no identity was given"), "{none:?}");
    let stranger = system.path().join("stranger.key");
    let key = drctl::pipeline::NewIdentity::generate().file("x");
    fs::write(&stranger, drctl::platform::ExposeSecret::expose_secret(&key))?;
    fs::set_permissions(&stranger, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let stranger = stranger.display().to_string();
    let wrong = system.expect(12, &["restore", "database", "--to", "new", "--identity", &stranger]).await?;
    assert!(wrong.stderr.contains("none of the identities given"), "{wrong:?}");

    // A role that may not create databases, and a server that is not there.
    cluster.execute("postgres", &["CREATE ROLE weak LOGIN"]).await?;
    let weak = system.restore(1, &["--to", &cluster.url_as("weak", "new")]).await?;
    assert!(weak.stderr.contains("role `weak` may not create databases"), "{weak:?}");
    let gone = system.restore(1, &["--to", "postgres://postgres@127.0.0.1:1/new"]).await?;
    assert!(gone.stderr.contains("failed to reach the target server"), "{gone:?}");

    let planned = system.restore(0, &["--to", "new", "--plan", "--output", "json"]).await?;
    let plan: serde_json::Value = serde_json::from_str(planned.stdout.trim())?;
    assert_eq!((&plan["kind"], &plan["rows"]), (&"restore-plan".into(), &20_000.into()));
    assert_eq!(plan["estimated_seconds"], serde_json::Value::Null);
    assert_eq!(plan["repositories"], serde_json::json!(["primary", "west"]));
    assert_eq!(databases(&cluster).await?, "");
    Ok(())
}

#[tokio::test]
async fn an_empty_database_is_replaced_and_the_next_plan_has_measured_rates() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, SMALL, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    cluster.execute("postgres", &["CREATE DATABASE there"]).await?;
    let held = cluster.connect("there").await?;
    let used = system.restore(1, &["--to", "there"]).await?;
    assert!(used.stderr.contains("is in use by 1 connections"), "{used:?}");
    sqlx::Connection::close(held).await?;
    system.restore(0, &["--to", "new-database:there"]).await?;
    assert_eq!(cluster.text("there", "SELECT count(*) FROM t").await?, "20000");
    assert_eq!(databases(&cluster).await?, "there");
    let planned = system.restore(0, &["--to", "new", "--plan"]).await?;
    assert!(planned.stdout.contains("by 1 restore before"), "{planned:?}");
    Ok(())
}

#[tokio::test]
async fn a_flipped_byte_publishes_nothing() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, SMALL, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    let object = system.dump_object("primary")?;
    for (at, jobs) in [(0.1, "2"), (0.5, "1"), (0.99, "2"), (0.99, "1")] {
        let position = |length: usize| (length as f64 * at) as usize;
        flip_a_byte(&object, position)?;
        let run = system.restore(1, &["--to", "new", "--jobs", jobs]).await?;
        assert!(run.stderr.contains("`database.dump.zst.age` from any repository"), "{run:?}");
        assert_eq!(databases(&cluster).await?, "", "{run:?}");
        flip_a_byte(&object, position)?;
    }
    system.restore(0, &["--to", "new"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_copy_takes_over_when_the_primary_fails() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, SMALL, &[Place::Directory, Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    let before = dumped(&cluster, "origin")?;
    let object = system.dump_object("primary")?;
    flip_a_byte(&object, |length| length / 2)?;
    for jobs in ["1", "2"] {
        let name = format!("after_flip{jobs}");
        let run = system.restore(0, &["--to", &name, "--jobs", jobs]).await?;
        assert!(
            run.stderr.contains("repository primary") && run.stderr.contains("from repository west"),
            "{run:?}"
        );
        assert_same(&before, &dumped(&cluster, &name)?);
    }
    fs::remove_file(&object)?;
    let run = system.restore(0, &["--to", "after_loss"]).await?;
    assert!(run.stdout.contains("from west"), "{run:?}");
    let only = system.restore(1, &["--to", "new", "--from", "primary"]).await?;
    assert!(only.stderr.contains("there is no such object"), "{only:?}");
    // Everything of the primary is gone, as after a disaster.
    fs::remove_dir_all(system.repository("primary"))?;
    fs::remove_dir_all(system.path().join("state"))?;
    system.restore(0, &["--to", "after_disaster"]).await?;
    assert_same(&before, &dumped(&cluster, "after_disaster")?);
    Ok(())
}

#[tokio::test]
async fn what_comes_back_different_is_not_published() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    // Checking a row deletes another one, so that loading leaves less than was dumped.
    let script = "CREATE TABLE log (a int);
        CREATE FUNCTION noted(n int) RETURNS bool LANGUAGE plpgsql AS
            $$ BEGIN DELETE FROM public.log WHERE a = n; RETURN true; END $$;
        CREATE TABLE t (a int CHECK (noted(a)));
        INSERT INTO t VALUES (1), (2), (3);
        INSERT INTO log VALUES (1), (2), (4);";
    let system = origin(&cluster, script, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    // One connection: two would load both tables at once, and it would be chance how many rows remain.
    let run = system.restore(1, &["--to", "new", "--jobs", "1"]).await?;
    assert!(run.stderr.contains("table public.log has 1 rows, 3 were dumped"), "{run:?}");
    assert!(run.stderr.contains("was dropped"), "{run:?}");
    assert_eq!(databases(&cluster).await?, "");
    Ok(())
}

/// An index that takes a minute to build.
const SLOW: &str = "CREATE FUNCTION slow(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
        $$ BEGIN IF current_database() <> 'origin' THEN PERFORM pg_sleep(0.1); END IF; RETURN a; END $$;
    CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 600) g;
    CREATE INDEX t_slow ON t (slow(id));";

async fn is_building(cluster: &Cluster) -> Outcome<bool> {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'drctl\\_restoring\\_%' AND query LIKE 'CREATE INDEX%'";
    Ok(cluster.text("postgres", query).await? != "0")
}

#[tokio::test]
async fn an_interrupted_restore_takes_everything_back() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, SLOW, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    let key = system.operational.display().to_string();
    for (jobs, signal) in [("1", rustix::process::Signal::INT), ("2", rustix::process::Signal::TERM)] {
        let mut command =
            system.command(&["restore", "database", "--identity", &key, "--to", "new", "--jobs", jobs]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        until("the index is being built", async || is_building(&cluster).await).await?;
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal)?;
        let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await??;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(130), "{stderr}");
        assert!(stderr.contains("was dropped"), "{stderr}");
        assert_eq!(databases(&cluster).await?, "");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_killed_restore_leaves_is_found_and_dropped_on_request() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, SLOW, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    let key = system.operational.display().to_string();
    let mut command = system.command(&["restore", "database", "--identity", &key, "--to", "new"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    until("the index is being built", async || is_building(&cluster).await).await?;
    let busy = system.restore(0, &["--to", "new", "--plan"]).await?;
    assert!(busy.stdout.contains("another restore is at work there"), "{busy:?}");
    child.kill()?;
    child.wait()?;
    until("nobody is in it any more", async || {
        let end =
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname LIKE 'drctl\\_%'";
        Ok(cluster.text("postgres", end).await? == "0")
    })
    .await?;
    let left = databases(&cluster).await?;
    assert!(left.starts_with("drctl_restoring_"), "{left}");
    let found = system.restore(0, &["--to", "new", "--plan"]).await?;
    assert!(found.stdout.contains(&format!("DROP DATABASE \"{left}\"")), "{found:?}");
    assert_eq!(databases(&cluster).await?, left, "it is dropped only when asked for");
    cluster.execute("origin", &["DROP INDEX t_slow"]).await?;
    system.expect(0, &["backup"]).await?;
    system.restore(0, &["--to", "new", "--drop-leftovers"]).await?;
    assert_eq!(databases(&cluster).await?, "new");
    Ok(())
}

#[tokio::test]
async fn chosen_tables_come_with_what_belongs_to_them() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, HARD_THINGS, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;

    let run = system.restore(0, &["--to", "one", "--table", "shop.customer"]).await?;
    assert!(run.stderr.contains("left out: foreign key") || !run.stderr.contains("left out"), "{run:?}");
    let belongings = "SELECT string_agg(indexrelid::regclass::text, ' ' ORDER BY indexrelid::regclass::text) FROM pg_index WHERE indrelid = 'shop.customer'::regclass";
    assert_eq!(cluster.text("one", belongings).await?, cluster.text("origin", belongings).await?);
    assert_eq!(cluster.text("one", "SELECT count(*) FROM shop.customer").await?, "102");
    assert_eq!(cluster.text("one", "SELECT last_value FROM shop.customer_id_seq").await?, "70007");
    let others = "SELECT string_agg(relname, ' ') FROM pg_class c WHERE relkind = 'r' AND oid >= 16384 AND relname <> 'customer'";
    assert_eq!(cluster.text("one", others).await?, "");

    system.restore(0, &["--to", "parts", "--table", "shop.event", "--table", "shop.customer"]).await?;
    assert_eq!(cluster.text("parts", "SELECT count(*) FROM shop.event").await?, "110");
    let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = 'shop.event'::regclass";
    assert_eq!(cluster.text("parts", keys).await?, "1");

    let alone = system.restore(0, &["--to", "alone", "--table", "shop.staff"]).await?;
    assert!(alone.stderr.contains("left out: foreign key staff"), "{alone:?}");

    let quoted = r#""Größe & Co. ""quoted"" 日本"."select ""from"" wo; -- ä""#;
    system.restore(0, &["--to", "quoted", "--table", quoted]).await?;
    system.restore(0, &["--to", "schema", "--schema", "shop", "--no-owner"]).await?;
    assert_eq!(cluster.text("schema", "SELECT count(*) FROM shop.big").await?, "20");
    assert_eq!(databases(&cluster).await?, "alone one parts quoted schema");
    Ok(())
}

#[tokio::test]
async fn missing_roles_are_made_on_request_and_existing_ones_left_alone() -> Outcome<()> {
    let (cluster, target) = tokio::try_join!(Cluster::start(15), Cluster::start(15))?;
    let roles = "CREATE ROLE app LOGIN PASSWORD 'app'; CREATE ROLE reader; GRANT reader TO app;
        CREATE ROLE owner; ALTER ROLE owner SET work_mem = '7MB';";
    let script = format!(
        "{roles} CREATE TABLE t (a int); ALTER TABLE t OWNER TO owner; GRANT SELECT ON t TO app, reader;"
    );
    let system = origin(&cluster, &script, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    target.execute("postgres", &["CREATE ROLE owner CONNECTION LIMIT 3"]).await?;
    let to = target.url("new");
    let missing = system.restore(1, &["--to", &to]).await?;
    assert!(missing.stderr.contains("the target server has no roles `app`, `reader`"), "{missing:?}");
    assert!(missing.stderr.contains("--globals") && missing.stderr.contains("--no-owner"), "{missing:?}");

    system.restore(0, &["--to", &target.url("unowned"), "--no-owner"]).await?;
    let owner = "SELECT relowner::regrole || ' ' || coalesce(relacl::text, 'default') FROM pg_class WHERE relname = 't'";
    assert_eq!(target.text("unowned", owner).await?, "postgres default");

    let made = system.restore(0, &["--to", &to, "--globals"]).await?;
    assert!(made.stderr.contains("left as they are, since they exist: owner, postgres"), "{made:?}");
    assert_same(&dumped(&cluster, "origin")?, &dumped(&target, "new")?);
    let password = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'";
    assert_eq!(target.text("postgres", password).await?, cluster.text("postgres", password).await?);
    let existing = "SELECT rolconnlimit || ' ' || coalesce(rolconfig::text, 'none') FROM pg_roles WHERE rolname = 'owner'";
    assert_eq!(target.text("postgres", existing).await?, "3 none");
    assert_eq!(target.text("postgres", "SELECT pg_has_role('app', 'reader', 'MEMBER')").await?, "true");
    system.restore(0, &["--to", &target.url("again"), "--globals"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_dump_goes_into_a_newer_server_but_not_into_an_older_one() -> Outcome<()> {
    let (old, new) = tokio::try_join!(Cluster::start(15), Cluster::start(17))?;
    let system = origin(&old, SMALL, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    system.restore(0, &["--to", &new.url("newer")]).await?;
    assert_eq!(new.text("newer", "SELECT count(*) FROM t").await?, "20000");

    let system = origin(&new, SMALL, &[Place::Directory]).await?;
    system.append(&format!("tools = \"{}\"", programs(17)?.display()))?;
    system.expect(0, &["backup"]).await?;
    let refused = system.restore(1, &["--to", &old.url("older")]).await?;
    assert!(
        refused.stderr.contains("the target server is PostgreSQL 15, the dump is of PostgreSQL 17"),
        "{refused:?}"
    );
    system.restore(0, &["--to", "same", "--jobs", "2"]).await?;
    assert_same(&dumped(&new, "origin")?, &dumped(&new, "same")?);
    Ok(())
}

/// Version 17 of pg_restore makes a setting that a server of version 15 does not know.
#[tokio::test]
async fn a_dump_by_newer_programs_goes_back_into_its_own_server() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, SMALL, &[Place::Directory]).await?;
    system.append(&format!("tools = \"{}\"", programs(17)?.display()))?;
    system.expect(0, &["backup"]).await?;
    for jobs in ["1", "2"] {
        let name = format!("restored{jobs}");
        let run = system.restore(0, &["--to", &name, "--jobs", jobs]).await?;
        assert!(run.stderr.contains("does not know"), "{run:?}");
        assert_same(&dumped(&cluster, "origin")?, &dumped(&cluster, &name)?);
    }
    // With any other complaint beside it, it is a failure.
    cluster
        .execute(
            "origin",
            &[
                "CREATE TABLE u (a int CHECK (coalesce(current_setting('of_test.here', true), '') = 'x'))",
                "SET of_test.here = 'x'",
                "INSERT INTO u VALUES (1)",
            ],
        )
        .await?;
    system.expect(0, &["backup"]).await?;
    let run = system.restore(1, &["--to", "without_setting"]).await?;
    assert!(run.stderr.contains("pg_restore passed over errors"), "{run:?}");
    assert_eq!(databases(&cluster).await?, "restored1 restored2");
    Ok(())
}
