//! Dumps of which something cannot load: `drctl restore --continue` publishes the rest under another name, with an
//! account of what is missing.

use crate::restore::{databases, origin};
use crate::support::Outcome;
use crate::support::postgres::Cluster;
use crate::support::system::{Place, Run};

/// A good database whose dump cannot load as a whole, as pg_dump leaves it to who wrote it:
/// - an index whose function finds another by the search path, which a restore empties,
/// - a check that reads another table, which comes later,
/// - a materialised view over a server that is away by then.
fn unloadable(cluster: &Cluster) -> String {
    format!(
        "CREATE FUNCTION half(a int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a / 2';
        CREATE FUNCTION quarter(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
            $$ BEGIN RETURN half(half(a)); END $$;
        CREATE TABLE orders (id int PRIMARY KEY);
        INSERT INTO orders SELECT g FROM generate_series(1, 1000) g;
        CREATE INDEX orders_quarter ON orders (quarter(id));
        CREATE TABLE parent (id int);
        INSERT INTO parent VALUES (1), (2);
        CREATE FUNCTION known(a int) RETURNS bool LANGUAGE sql AS
            'SELECT EXISTS (SELECT FROM public.parent WHERE id = a)';
        CREATE TABLE child (id int CHECK (known(id)));
        INSERT INTO child VALUES (1), (2);
        CREATE EXTENSION postgres_fdw;
        CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw
            OPTIONS (host '127.0.0.1', port '{}', dbname 'origin');
        CREATE USER MAPPING FOR PUBLIC SERVER away OPTIONS (user 'postgres');
        CREATE FOREIGN TABLE far (id int) SERVER away OPTIONS (table_name 'orders');
        CREATE MATERIALIZED VIEW mirror AS SELECT id FROM far;
        COMMENT ON DATABASE origin IS 'the shop';
        ALTER SERVER away OPTIONS (SET port '1');",
        cluster.port()
    )
}

/// What a report in JSON gives as missing.
fn missing(run: &Run) -> Outcome<Vec<String>> {
    let report = run.document()?;
    let reasons = report["verdict"]["reasons"].as_array().ok_or("no reasons")?;
    Ok(reasons.iter().map(|reason| reason["message"].as_str().unwrap_or_default().to_owned()).collect())
}

#[tokio::test]
async fn what_cannot_load_does_not_take_the_rest_along() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, &unloadable(&cluster), &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;

    // As a rule it is everything or nothing; and it says what is in the way, and the way round it.
    let strict = system.restore(1, &["--to", "new", "--jobs", "1"]).await?;
    strict.says("TABLE DATA public.child")?.says("was dropped")?.says("`--continue`")?;
    assert_eq!(databases(&cluster).await?, "");

    for (jobs, name) in [("1", "streamed"), ("2", "fetched")] {
        let arguments = ["--to", name, "--continue", "--jobs", jobs, "--output", "json"];
        let run = system.restore(20, &arguments).await?;
        let report = run.document()?;
        assert_eq!(report["verdict"]["outcome"], "fail", "{report}");
        assert_eq!(report["details"]["database"], format!("{name}_incomplete"), "{report}");
        let missing = missing(&run)?;
        let is_named = |words: &str| missing.iter().any(|message| message.contains(words));
        let expected = ["orders_quarter", "mirror", "known"];
        assert!(is_named(expected[0]) && is_named(expected[1]), "{missing:#?}");
        if jobs == "1" {
            // In the archive's order it cannot load.
            assert!(is_named("TABLE DATA public.child"), "{missing:#?}");
            assert!(is_named("table public.child has 0 rows, 2 were dumped"), "{missing:#?}");
        } else {
            assert!(is_named("INDEX public.orders_quarter"), "{missing:#?}");
        }
        let incomplete = format!("{name}_incomplete");
        assert_eq!(cluster.text(&incomplete, "SELECT count(*) FROM orders").await?, "1000");
        let comment = format!(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{incomplete}'"
        );
        let comment = cluster.text("postgres", &comment).await?;
        for words in ["drctl: incomplete", "mirror", "orders_quarter", "the shop"] {
            assert!(comment.contains(words), "{words}: {comment}");
        }
    }
    assert_eq!(databases(&cluster).await?, "fetched_incomplete streamed_incomplete");

    // What is published so is nobody's leftover, and is not loaded over.
    let again = system.restore(1, &["--to", "fetched", "--continue", "--drop-leftovers"]).await?;
    again.says("`fetched_incomplete` exists")?;
    let planned = system.restore(0, &["--to", "fetched", "--continue=partly", "--plan"]).await?;
    planned.says("partly")?;
    let told = system.restore(20, &["--to", "fetched", "--continue=partly", "--jobs", "1"]).await?;
    told.says("incomplete")?.says("MATERIALIZED VIEW DATA public.mirror")?;
    assert_eq!(databases(&cluster).await?, "fetched_incomplete partly streamed_incomplete");
    Ok(())
}

#[tokio::test]
async fn what_loads_whole_gets_its_own_name_with_continue_too() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let script = "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2);
        CREATE TABLE log (a int);
        CREATE FUNCTION wiped(a int) RETURNS bool LANGUAGE plpgsql AS
            $$ BEGIN DELETE FROM public.log; RETURN true; END $$;
        COMMENT ON DATABASE origin IS 'the shop';";
    let system = origin(&cluster, script, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    for jobs in ["1", "2"] {
        let name = format!("new{jobs}");
        let arguments = ["--to", &name, "--continue", "--jobs", jobs, "--output", "json"];
        let report = system.restore(0, &arguments).await?.document()?;
        assert_eq!(report["verdict"], serde_json::json!({ "outcome": "pass", "reasons": [] }));
        assert_eq!(report["details"]["database"], name);
    }
    assert_eq!(databases(&cluster).await?, "new1 new2");

    // Loads without an error, and is not what was dumped: checking a row takes others away.
    let wrong = "ALTER TABLE t ADD CHECK (wiped(a)); INSERT INTO log VALUES (1), (2)";
    cluster.psql("origin", wrong).await?;
    system.expect(0, &["backup"]).await?;
    let run = system.restore(20, &["--to", "wrong", "--continue", "--jobs", "1"]).await?;
    run.says("table public.log has 0 rows, 2 were dumped")?.says("wrong_incomplete")?;
    assert_eq!(databases(&cluster).await?, "new1 new2 wrong_incomplete");
    Ok(())
}

#[tokio::test]
async fn a_view_over_a_server_that_is_away_stays_empty_and_takes_nothing_along() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let port = cluster.port();
    let script = format!(
        "CREATE TABLE orders (id int PRIMARY KEY);
        INSERT INTO orders SELECT g FROM generate_series(1, 1000) g;
        CREATE EXTENSION postgres_fdw;
        CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw
            OPTIONS (host '127.0.0.1', port '{port}', dbname 'origin');
        CREATE USER MAPPING FOR PUBLIC SERVER away OPTIONS (user 'postgres');
        CREATE FOREIGN TABLE far (id int) SERVER away OPTIONS (table_name 'orders');
        CREATE MATERIALIZED VIEW mirror AS SELECT id FROM far;
        CREATE UNIQUE INDEX ON mirror (id);
        CREATE MATERIALIZED VIEW summary AS SELECT count(*) FROM mirror;
        CREATE MATERIALIZED VIEW near AS SELECT id FROM orders;
        ALTER SERVER away OPTIONS (SET port '1');"
    );
    let system = origin(&cluster, &script, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    let planned = system.restore(0, &["--to", "new", "--jobs", "2", "--plan"]).await?;
    planned.says("filled by their queries")?.says("public.mirror")?;
    let run = system.restore(22, &["--to", "new", "--jobs", "2"]).await?;
    run.says("materialised view public.mirror is not filled")?;
    run.says(r#"`REFRESH MATERIALIZED VIEW "public"."summary"` does it once that is there"#)?;
    // Nor does it end a load from a stream, in which views come last.
    let run = system.restore(22, &["--to", "streamed", "--jobs", "1"]).await?;
    run.says("materialised view public.mirror is not filled")?;
    assert_eq!(cluster.text("streamed", "SELECT count(*) FROM near").await?, "1000");
    assert_eq!(databases(&cluster).await?, "new streamed");
    let counted = "SELECT (SELECT count(*) FROM orders) || ' ' || (SELECT count(*) FROM near)";
    assert_eq!(cluster.text("new", counted).await?, "1000 1000");
    let there = format!("ALTER SERVER away OPTIONS (SET port '{port}')");
    let refresh =
        [r#"REFRESH MATERIALIZED VIEW "public"."mirror""#, r#"REFRESH MATERIALIZED VIEW "public"."summary""#];
    cluster.execute("new", &[&there, refresh[0], refresh[1]]).await?;
    assert_eq!(cluster.text("new", "SELECT count FROM summary").await?, "1000");

    // What is wrong with a view itself is still everything or nothing.
    let broken = [
        "ALTER TABLE orders ADD d int DEFAULT 1",
        "CREATE MATERIALIZED VIEW odd AS SELECT 1 / d FROM orders",
        "UPDATE orders SET d = 0 WHERE id = 7",
    ];
    cluster.execute("origin", &broken).await?;
    system.expect(0, &["backup"]).await?;
    system
        .restore(1, &["--to", "other", "--jobs", "2"])
        .await?
        .says("division by zero")?
        .says("was dropped")?;
    Ok(())
}
