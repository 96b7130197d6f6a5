//! Restores as `pg_restore` can be told to make them: under the final name, for what looks at it and for roles that may
//! make no database; without some of it; with another locale.

use std::process::Stdio;

use crate::restore::{databases, origin, until};
use crate::support::Outcome;
use crate::support::postgres::{Cluster, ClusterOptions};
use crate::support::system::{Place, System};

fn comment_of(database: &str) -> String {
    format!(
        "SELECT coalesce(shobj_description(oid, 'pg_database'), '') || '|' || datconnlimit || '|' || datallowconn
           FROM pg_database WHERE datname = '{database}'"
    )
}

/// Fails wherever it does not have its own name.
const NAMED: &str = "CREATE FUNCTION here(a int) RETURNS bool LANGUAGE sql AS
        $$ SELECT current_database() IN ('origin', 'shop', 'mine', 'postgres') $$;
    CREATE TABLE t (a int CHECK (here(a)));
    INSERT INTO t SELECT g FROM generate_series(1, 100) g;
    COMMENT ON DATABASE origin IS 'the shop'; ALTER DATABASE origin CONNECTION LIMIT 7;";

#[tokio::test]
async fn pg_cron_comes_back_under_the_name_it_is_bound_to() -> Outcome<()> {
    let options = ClusterOptions::new(15)
        .setting("shared_preload_libraries", "pg_cron")
        .setting("cron.database_name", "shop");
    let cluster = Cluster::start_with(options).await?;
    cluster.execute("postgres", &["CREATE DATABASE shop"]).await?;
    let script = "CREATE EXTENSION pg_cron; SELECT cron.schedule('nightly', '0 3 * * *', 'SELECT 1');
        SELECT cron.schedule('paused', '* * * * *', 'SELECT 1');
        UPDATE cron.job SET active = jobname <> 'paused', nodename = 'production', nodeport = 1;
        CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 100) g;
        CREATE FUNCTION slow(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
            $$ BEGIN IF (SELECT count(*) FROM cron.job) > 0 THEN PERFORM pg_sleep(0.03); END IF; RETURN a; END $$;
        CREATE INDEX t_slow ON t (slow(a));";
    cluster.psql("shop", script).await?;
    let system = System::new(&cluster.url("shop"), &[Place::Directory])?;
    system.expect(0, &["backup"]).await?;

    // Known before anything is loaded.
    let refused = system.restore(1, &["--to", "new"]).await?;
    refused.says("pg_cron")?.says("`shop`")?.says("--no-rename")?;
    cluster.execute("postgres", &["DROP DATABASE shop WITH (FORCE)"]).await?;
    let refused = system.restore(1, &["--to", &cluster.url("shop")]).await?;
    refused.says("--no-rename")?;

    let planned = system.restore(0, &["--to", &cluster.url("shop"), "--no-rename", "--plan"]).await?;
    planned.says("Loads as shop")?.says("the jobs of pg_cron are restored inactive")?;
    // Its launcher looks at them as soon as they are loaded, long before the database is published.
    let key = system.operational.display().to_string();
    let shop = cluster.url("shop");
    let arguments =
        ["restore", "database", "--identity", &key, "--to", &shop, "--no-rename", "--output", "json"];
    let mut child = system.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let building =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop' AND query LIKE 'CREATE INDEX t_slow%'";
    until("the index is being built", async || {
        assert_eq!(child.try_wait()?, None, "it ended before");
        Ok(cluster.text("postgres", building).await? != "0")
    })
    .await?;
    let states = "SELECT string_agg(jobname || ' ' || active, ', ' ORDER BY jobname) FROM cron.job";
    assert_eq!(cluster.text("shop", states).await?, "nightly false, paused false");
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await??;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout)?;
    let report: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap_or_default())?;
    let inactive = report["details"]["inactive_jobs"].as_array().cloned().unwrap_or_default();
    assert_eq!(inactive.len(), 1, "{report}");
    assert_eq!((&inactive[0]["name"], &inactive[0]["server"]), (&"nightly".into(), &"production:1".into()));
    assert_eq!(cluster.text("shop", states).await?, "nightly false, paused false");
    cluster.execute("shop", &[inactive[0]["activate"].as_str().unwrap_or_default()]).await?;
    assert_eq!(cluster.text("shop", states).await?, "nightly true, paused false");
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'drctl%'";
    assert_eq!(cluster.text("shop", left).await?, "0");
    assert_eq!(cluster.text("postgres", &comment_of("shop")).await?, "|-1|true");
    assert_eq!(databases(&cluster).await?, "shop");

    cluster.execute("postgres", &["DROP DATABASE shop WITH (FORCE)"]).await?;
    let active = ["--to", &shop, "--no-rename", "--jobs", "1", "--with-active-jobs"];
    system.restore(0, &active).await?.says("stay active")?;
    assert_eq!(cluster.text("shop", states).await?, "nightly true, paused false");
    Ok(())
}

#[tokio::test]
async fn a_database_is_loaded_under_its_name_and_marked_until_it_is_proven() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let slow = "CREATE FUNCTION slow(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
            $$ BEGIN IF current_database() = 'shop' THEN PERFORM pg_sleep(0.1); END IF; RETURN a; END $$;
        CREATE INDEX t_slow ON t (slow(a));";
    let system = origin(&cluster, &format!("{NAMED}{slow}"), &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    system.restore(1, &["--to", "other"]).await?.says("TABLE DATA")?;
    assert_eq!(databases(&cluster).await?, "");
    // Under a name that does not do either it fails, and is dropped.
    system.restore(1, &["--to", "other", "--no-rename"]).await?.says("was dropped")?;
    assert_eq!(databases(&cluster).await?, "");

    // Killed on the way, it says that it is not complete.
    let key = system.operational.display().to_string();
    let arguments = ["restore", "database", "--identity", &key, "--to", "shop", "--no-rename"];
    let mut child = system.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let building =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop' AND query LIKE 'CREATE INDEX%'";
    until("the index is being built", async || Ok(cluster.text("postgres", building).await? != "0")).await?;
    let marked = cluster.text("postgres", &comment_of("shop")).await?;
    assert!(marked.starts_with("drctl: being restored") && marked.ends_with("|0|true"), "{marked}");
    child.kill()?;
    child.wait()?;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'shop'";
    until("nobody is in it any more", async || Ok(cluster.text("postgres", end).await? == "0")).await?;
    let left = system.restore(1, &["--to", "shop", "--no-rename"]).await?;
    left.says("is left of a restore that did not end")?.says("--drop-leftovers")?;
    cluster.execute("origin", &["DROP INDEX t_slow"]).await?;
    system.expect(0, &["backup"]).await?;
    system.restore(0, &["--to", "shop", "--no-rename", "--drop-leftovers"]).await?;
    assert_eq!(cluster.text("shop", "SELECT count(*) FROM t").await?, "100");
    assert_eq!(cluster.text("postgres", &comment_of("shop")).await?, "the shop|7|true");
    assert_eq!(databases(&cluster).await?, "shop");
    Ok(())
}

#[tokio::test]
async fn an_empty_database_of_ones_own_is_enough() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, NAMED, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    cluster.execute("postgres", &["CREATE ROLE app LOGIN", "CREATE DATABASE mine OWNER app"]).await?;
    let mine = cluster.url_as("app", "mine");
    let refused = system.restore(1, &["--to", &mine, "--no-owner"]).await?;
    refused.says("may not create databases")?.says("--no-rename")?;
    let planned = system.restore(0, &["--to", &mine, "--no-owner", "--no-rename", "--plan"]).await?;
    planned.says("the empty database")?;
    system.restore(0, &["--to", &mine, "--no-owner", "--no-rename"]).await?;
    assert_eq!(cluster.text("mine", "SELECT count(*) FROM t").await?, "100");
    assert_eq!(cluster.text("postgres", &comment_of("mine")).await?, "the shop|7|true");

    // Where everybody may always connect to, and some keep their data.
    system.restore(2, &["--to", "postgres"]).await?.says("--no-rename")?;
    system.restore(0, &["--to", "postgres", "--no-rename"]).await?;
    assert_eq!(cluster.text("postgres", "SELECT count(*) FROM t").await?, "100");
    let occupied = system.restore(1, &["--to", "postgres", "--no-rename"]).await?;
    occupied.says("is not empty: it has table public.t")?;

    // What fails there stays, and says what it is: the database itself is not drctl's to drop.
    cluster.execute("template1", &["CREATE DATABASE yours OWNER app"]).await?;
    let yours = cluster.url_as("app", "yours");
    let failed = system.restore(1, &["--to", &yours, "--no-owner", "--no-rename"]).await?;
    failed.says("`yours`")?.says("not complete")?;
    let comment = cluster.text("template1", &comment_of("yours")).await?;
    assert!(comment.starts_with("drctl: holds a part") && comment.contains("not complete"), "{comment}");
    let again = system.restore(1, &["--to", &yours, "--no-owner", "--no-rename", "--drop-leftovers"]).await?;
    again.says("is left of a restore that did not end")?;
    Ok(())
}

#[tokio::test]
async fn what_is_not_wanted_stays_out_and_the_locale_may_be_another() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let script = "CREATE TABLE customer (id int PRIMARY KEY);
        CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customer);
        INSERT INTO customer SELECT g FROM generate_series(1, 10) g;
        INSERT INTO orders SELECT g, g FROM generate_series(1, 10) g;
        CREATE SCHEMA audit; CREATE TABLE audit.log (a int); INSERT INTO audit.log VALUES (1);
        CREATE VIEW newest AS SELECT max(a) FROM audit.log; CREATE EXTENSION hstore;";
    let system = origin(&cluster, script, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    let arguments =
        ["--to", "slim", "--exclude-table-data", "customer", "--exclude-schema", "audit", "--locale", "C"];
    let slim = system.restore(0, &arguments).await?;
    slim.says("left out: foreign key public.orders orders_customer_fkey")?
        .says("left out: view public.newest")?;
    let counts = "SELECT (SELECT count(*) FROM customer) || ' ' || (SELECT count(*) FROM orders)";
    assert_eq!(cluster.text("slim", counts).await?, "0 10");
    assert_eq!(cluster.text("slim", "SELECT to_regnamespace('audit') IS NULL").await?, "true");
    let locale = "SELECT datcollate || ' ' || datctype FROM pg_database WHERE datname = 'slim'";
    assert_eq!(cluster.text("postgres", locale).await?, "C C");
    system.restore(2, &["--to", "new", "--exclude-schema", "audti"]).await?.says("no schema `audti`")?;
    assert_eq!(databases(&cluster).await?, "slim");
    Ok(())
}
