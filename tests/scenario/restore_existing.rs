//! Restores onto servers that have something already: an empty database with properties of its own, one that looks
//! empty and is not, and directories of tablespaces that another cluster uses.

use crate::restore::{databases, origin};
use crate::support::Outcome;
use crate::support::postgres::Cluster;
use crate::support::system::Place;

const SMALL: &str = "CREATE TABLE t (a int); INSERT INTO t VALUES (1);
    COMMENT ON DATABASE origin IS 'the shop'; ALTER DATABASE origin SET work_mem = '8MB';
    ALTER DATABASE origin SET statement_timeout = '1h'; ALTER DATABASE origin CONNECTION LIMIT 7;";

const PROPERTIES: &str =
    "SELECT shobj_description(d.oid, 'pg_database') || ' ' || datconnlimit || ' ' || s.setconfig::text
    FROM pg_database d JOIN pg_db_role_setting s ON s.setdatabase = d.oid WHERE datname = 'mine'";

#[tokio::test]
async fn an_existing_database_keeps_its_own_settings_and_comment() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, SMALL, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    let own = [
        "CREATE DATABASE mine CONNECTION LIMIT 20",
        "COMMENT ON DATABASE mine IS 'ticket 12'",
        "ALTER DATABASE mine SET work_mem = '64MB'",
    ];
    cluster.execute("postgres", &own).await?;
    let planned = system.restore(0, &["--to", "mine", "--no-rename", "--plan"]).await?;
    planned
        .says("keeps what it has of its own: a comment, the setting work_mem, the connection limit 20")?
        .says("of the backup is not applied: the setting work_mem, the comment, the connection limit 7")?
        .says("gets of the backup: the setting statement_timeout")?;
    system.restore(0, &["--to", "mine", "--no-rename"]).await?;
    assert_eq!(
        cluster.text("postgres", PROPERTIES).await?,
        "ticket 12 20 {work_mem=64MB,statement_timeout=1h}"
    );

    // One that is replaced goes with all that it has, and the plan says so.
    cluster.execute("postgres", &[&["DROP DATABASE mine"][..], &own[..]].concat()).await?;
    let planned = system.restore(0, &["--to", "mine", "--plan"]).await?;
    planned
        .says("the empty database that is replaced has properties of its own, which go with it: a comment")?;
    system.restore(0, &["--to", "mine"]).await?;
    let recorded = "the shop 7 {work_mem=8MB,statement_timeout=1h}";
    assert_eq!(cluster.text("postgres", PROPERTIES).await?, recorded);
    Ok(())
}

#[tokio::test]
async fn a_database_with_anything_in_it_is_not_empty() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, SMALL, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    let operator = "CREATE FUNCTION f(int, int) RETURNS bool LANGUAGE sql AS 'SELECT true';
        CREATE OPERATOR pg_catalog.=== (leftarg = int, rightarg = int, function = f)";
    let all = [
        ("CREATE CAST (text AS int2) WITH INOUT", "cast from text to smallint"),
        (operator, "operator ===(integer,integer)"),
        ("CREATE OPERATOR FAMILY own USING btree", "operator family public.own"),
        (r#"CREATE COLLATION own FROM "C""#, "collation public.own"),
        ("CREATE TEXT SEARCH CONFIGURATION own (COPY = english)", "text search configuration public.own"),
        ("CREATE FOREIGN DATA WRAPPER own", "foreign-data wrapper own"),
        ("CREATE PUBLICATION own", "publication own"),
        ("CREATE EXTENSION hstore", "extension hstore"),
        ("SELECT lo_create(4711)", "large object 4711"),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", "default privileges"),
        ("CREATE TABLE p (a int) PARTITION BY RANGE (a)", "table public.p"),
        ("CREATE TYPE own AS (a int)", "type public.own"),
        ("CREATE SCHEMA own", "schema own"),
    ];
    let begun = "CREATE DATABASE taken";
    for (script, holds) in all {
        cluster.execute("postgres", &["DROP DATABASE IF EXISTS taken WITH (FORCE)", begun]).await?;
        cluster.psql("taken", script).await?;
        let refused = system.restore(1, &["--to", "taken", "--plan"]).await?;
        refused.says("database `taken` is not empty: it has ")?.says(holds)?;
    }
    // What an upgrade makes again is nothing of a user's.
    cluster.execute("postgres", &["DROP DATABASE taken WITH (FORCE)", begun]).await?;
    cluster.psql("taken", "DROP EXTENSION plpgsql; CREATE EXTENSION plpgsql").await?;
    system.restore(0, &["--to", "taken", "--plan"]).await?;
    // Without the schema public it is empty, and the dump does not load into it.
    cluster.psql("taken", "DROP SCHEMA public").await?;
    let refused = system.restore(1, &["--to", "taken", "--no-rename"]).await?;
    refused.says("no schema `public`")?.says("CREATE SCHEMA public")?;
    system.restore(0, &["--to", "taken"]).await?;
    assert_eq!(cluster.text("taken", "SELECT count(*) FROM t").await?, "1");
    Ok(())
}

/// As where a server is restored onto the host on which the old one still runs.
#[tokio::test]
async fn tablespaces_are_not_made_in_directories_that_another_cluster_uses() -> Outcome<()> {
    let (cluster, target) = tokio::try_join!(Cluster::start(15), Cluster::start(15))?;
    let directory = cluster.data().with_file_name("fast");
    let copy = format!("COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; mkdir {}'", directory.display());
    cluster.execute("postgres", &[&copy]).await?;
    let tablespace = format!("CREATE TABLESPACE fast LOCATION '{}'", directory.display());
    cluster.execute("postgres", &[&tablespace]).await?;
    let script = "CREATE TABLE t (a int) TABLESPACE fast; INSERT INTO t VALUES (1);";
    let system = origin(&cluster, script, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    let to = target.url("new");
    let path = directory.display().to_string();
    let refused = system.restore(1, &["--to", &to, "--globals"]).await?;
    refused
        .says(&format!("the directory `{path}` of tablespace `fast` is not empty"))?
        .says("another cluster may be using it")?
        .says("--no-tablespaces")?;
    // Nothing was changed, not even the roles.
    assert_eq!(databases(&target).await?, "");
    let tablespaces = "SELECT count(*) FROM pg_tablespace WHERE spcname = 'fast'";
    assert_eq!(target.text("postgres", tablespaces).await?, "0");

    system.restore(0, &["--to", &to, "--globals", "--no-tablespaces"]).await?;
    cluster.execute("postgres", &["DROP DATABASE origin WITH (FORCE)", "DROP TABLESPACE fast"]).await?;
    let again = target.url("again");
    let planned = system.restore(0, &["--to", &again, "--globals", "--plan"]).await?;
    planned.says(&format!("tablespace fast in {path}"))?;
    let remove = format!("COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; rmdir {path}'");
    cluster.execute("postgres", &[&remove]).await?;
    let missing = system.restore(1, &["--to", &again, "--globals"]).await?;
    missing.says(&format!("the directory `{path}` of tablespace `fast` does not exist"))?;
    cluster.execute("postgres", &[&copy]).await?;
    system.restore(0, &["--to", &again, "--globals"]).await?;
    assert_eq!(target.text("postgres", tablespaces).await?, "1");
    assert_eq!(target.text("again", "SELECT count(*) FROM t").await?, "1");
    Ok(())
}
