//! Extensions in restores: with a few tables, and with rows of their own.

use crate::support::Outcome;
use crate::support::postgres::{Cluster, ClusterOptions};
use crate::support::system::{Place, Run, System};

/// Restores the latest backup with the operational key, and more arguments.
async fn restore(system: &System, code: i32, arguments: &[&str]) -> Outcome<Run> {
    let key = system.operational.display().to_string();
    let first = ["restore", "database", "--identity", &key];
    let all: Vec<&str> = first.into_iter().chain(arguments.iter().copied()).collect();
    system.expect(code, &all).await
}

const ONLY_HERE: &str = "CREATE TYPE @extschema@.only_here AS ENUM ('a');";

#[tokio::test]
async fn chosen_tables_bring_the_extensions_they_may_need() -> Outcome<()> {
    let (cluster, target) = tokio::try_join!(
        Cluster::start_with(ClusterOptions::new(15).extension("only_here", ONLY_HERE)),
        Cluster::start(15)
    )?;
    cluster.execute("postgres", &["CREATE DATABASE origin"]).await?;
    let script = "CREATE SCHEMA ext; CREATE EXTENSION btree_gist SCHEMA ext; CREATE EXTENSION pg_trgm SCHEMA ext;
        CREATE EXTENSION hstore; CREATE EXTENSION only_here SCHEMA ext; CREATE SCHEMA s;
        CREATE TABLE booking (room int, during tsrange, EXCLUDE USING gist (room WITH =, during WITH &&));
        INSERT INTO booking VALUES (1, '[2026-01-01, 2026-01-02)');
        CREATE TABLE s.words (word text DEFAULT ('a=>1'::public.hstore)::text, CHECK (ext.similarity(word, 'x') >= 0));
        INSERT INTO s.words DEFAULT VALUES; CREATE INDEX words_word ON s.words USING gin (word ext.gin_trgm_ops);
        CREATE TABLE special (a ext.only_here);";
    cluster.psql("origin", script).await?;
    let system = System::new(&cluster.url("origin"), &[Place::Directory])?;
    system.expect(0, &["backup"]).await?;

    let run = restore(&system, 0, &["--to", &target.url("one"), "--table", "booking"]).await?;
    for said in
        ["every extension comes along", "btree_gist", "extension only_here: the target did not make it"]
    {
        assert!(run.stderr.contains(said), "{said}: {run:?}");
    }
    let excludes =
        "SELECT count(*) FROM pg_constraint WHERE contype = 'x' AND conrelid = 'booking'::regclass";
    assert_eq!(target.text("one", excludes).await?, "1");
    restore(&system, 0, &["--to", &target.url("schema"), "--schema", "s", "--jobs", "2", "--no-owner"])
        .await?;
    assert_eq!(target.text("schema", "SELECT word FROM s.words").await?, "\"a\"=>\"1\"");
    let schema = "SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'pg_trgm'";
    assert_eq!(target.text("schema", schema).await?, "ext");

    let refused = restore(&system, 1, &["--to", &target.url("no"), "--table", "special"]).await?;
    assert!(refused.stderr.contains("does not have the files of the extension `only_here`"), "{refused:?}");
    Ok(())
}

/// As topologies and their layers are in PostGIS, and partitioned tables in pg_partman.
const IN_ORDER: &str = "CREATE TABLE @extschema@.parent (id int PRIMARY KEY, text text);
    CREATE TABLE @extschema@.child (parent int NOT NULL REFERENCES @extschema@.parent);
    SELECT pg_extension_config_dump('parent', ''); SELECT pg_extension_config_dump('child', '');";

#[tokio::test]
async fn rows_of_an_extensions_tables_are_loaded_in_their_order_by_several_jobs() -> Outcome<()> {
    let cluster = Cluster::start_with(ClusterOptions::new(15).extension("in_order", IN_ORDER)).await?;
    cluster.execute("postgres", &["CREATE DATABASE origin"]).await?;
    let script = "CREATE EXTENSION in_order; CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1);
        INSERT INTO parent SELECT g, repeat('x', 100) FROM generate_series(1, 100000) g; INSERT INTO child VALUES (100000);";
    cluster.psql("origin", script).await?;
    let system = System::new(&cluster.url("origin"), &[Place::Directory])?;
    system.expect(0, &["backup"]).await?;
    let run = restore(&system, 0, &["--to", "new", "--jobs", "2"]).await?;
    assert!(!run.stderr.contains("loaded with one job"), "{run:?}");
    assert_eq!(cluster.text("new", "SELECT count(*) FROM child").await?, "1");
    restore(&system, 0, &["--to", "some", "--jobs", "2", "--table", "child", "--table", "parent"]).await?;
    assert_eq!(cluster.text("some", "SELECT count(*) FROM parent").await?, "100000");
    Ok(())
}

#[tokio::test]
async fn what_several_jobs_cannot_load_is_loaded_by_one() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    cluster.execute("postgres", &["CREATE DATABASE origin"]).await?;
    // Jobs take the largest tables first, and one after the other comes what the first row of `b` looks for.
    let script = "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (300);
        CREATE FUNCTION is_known(int) RETURNS bool LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM public.a WHERE id = $1)';
        CREATE TABLE b (a int CHECK (is_known(a)), text text);
        INSERT INTO b SELECT 300, repeat('x', 1000) FROM generate_series(1, 300);
        CREATE TABLE c (text text); INSERT INTO c SELECT repeat('x', 1000) FROM generate_series(1, 10000);";
    cluster.psql("origin", script).await?;
    let system = System::new(&cluster.url("origin"), &[Place::Directory])?;
    system.expect(0, &["backup"]).await?;
    let run = restore(&system, 0, &["--to", "new", "--jobs", "2"]).await?;
    assert!(run.stderr.contains("2 jobs could not load it, and one does so now"), "{run:?}");
    assert!(run.stderr.contains("loaded with one job, since 2 at a time failed"), "{run:?}");
    assert_eq!(cluster.text("new", "SELECT count(*) FROM b").await?, "300");
    Ok(())
}
