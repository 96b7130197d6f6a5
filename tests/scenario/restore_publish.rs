//! The last steps of a restore on a server where others are at work: giving the database its name, and dropping what
//! is not wanted.

use sqlx::Connection as _;

use crate::restore::{databases, origin, until};
use crate::support::Outcome;
use crate::support::postgres::Cluster;
use crate::support::system::{Place, System};

const SMALL: &str = "CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 1000) g;";

/// An index that takes two seconds to build wherever it is restored to.
const SLOW: &str = "CREATE FUNCTION slow(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
        $$ BEGIN IF current_database() <> 'origin' THEN PERFORM pg_sleep(0.1); END IF; RETURN a; END $$;
    CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 20) g;
    CREATE INDEX t_slow ON t (slow(a));";

/// The name of the database that is being restored, as soon as there is one.
async fn being_restored(cluster: &Cluster) -> Outcome<String> {
    let query =
        "SELECT coalesce(max(datname), '') FROM pg_database WHERE datname LIKE 'drctl\\_restoring\\_%'";
    let mut name = String::new();
    until("a database is being restored", async || {
        name = cluster.text("postgres", query).await?;
        Ok(!name.is_empty())
    })
    .await?;
    Ok(name)
}

/// A superuser's session in the database that is being restored, as monitoring has one in every database.
async fn monitor(cluster: &Cluster) -> Outcome<sqlx::PgConnection> {
    let name = being_restored(cluster).await?;
    cluster.connect(&name).await
}

/// A role that may make databases, and end nobody's session but its own.
async fn with_restorer(cluster: &Cluster, script: &str) -> Outcome<System> {
    let system = origin(cluster, script, &[Place::Directory]).await?;
    cluster.execute("postgres", &["CREATE ROLE restorer LOGIN CREATEDB"]).await?;
    system.expect(0, &["backup"]).await?;
    Ok(system)
}

#[tokio::test]
async fn a_session_that_cannot_be_ended_is_waited_for() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = with_restorer(&cluster, SLOW).await?;
    let to = cluster.url_as("restorer", "new");
    let arguments = ["--to", &to, "--no-owner"];
    let watching = async {
        let monitor = monitor(&cluster).await?;
        let tried = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COMMENT ON DATABASE % IS NULL;%RENAME TO%'";
        until("it is given its name", async || Ok(cluster.text("postgres", tried).await? != "0")).await?;
        Ok(monitor.close().await?)
    };
    let restore = system.restore(0, &arguments);
    let (restored, watched): (_, Outcome<()>) = tokio::join!(restore, watching);
    restored?;
    watched?;
    assert_eq!(cluster.text("new", "SELECT count(*) FROM t").await?, "20");
    assert_eq!(databases(&cluster).await?, "new");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_given_its_name_is_kept_with_the_words_that_do_it() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = with_restorer(&cluster, SLOW).await?;
    let to = cluster.url_as("restorer", "new");
    let arguments = ["--to", &to, "--no-owner"];
    let restore = system.restore(3, &arguments);
    let (kept, monitor) = tokio::join!(restore, monitor(&cluster));
    let (kept, monitor) = (kept?, monitor?);
    kept.says("is complete and compared")?;
    assert!(!kept.stderr.contains("DROP DATABASE"), "{kept:?}");
    let name = databases(&cluster).await?;
    let rename = format!("ALTER DATABASE \"{name}\" RENAME TO \"new\"");
    kept.says(&rename)?;

    // Nothing takes it for a leftover.
    monitor.close().await?;
    let planned = system.restore(0, &["--to", &to, "--no-owner", "--plan", "--drop-leftovers"]).await?;
    planned.says(&rename)?;
    let statement = kept.stderr.lines().find_map(|line| line.split_once("not connected to it: "));
    let (_, statement) = statement.ok_or("no statement")?;
    cluster.execute("postgres", &[statement]).await?;
    assert_eq!(databases(&cluster).await?, "new");
    assert_eq!(cluster.text("new", "SELECT count(*) FROM t").await?, "20");
    let comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'new'";
    assert_eq!(cluster.text("postgres", comment).await?, "");

    // The name was taken by somebody else meanwhile.
    cluster.execute("postgres", &["ALTER DATABASE new RENAME TO old"]).await?;
    let taking = async {
        being_restored(&cluster).await?;
        cluster.execute("postgres", &["CREATE DATABASE new"]).await
    };
    let (kept, taken) = tokio::join!(system.restore(3, &arguments), taking);
    kept?.says("is complete and compared")?;
    taken?;
    assert!(databases(&cluster).await?.starts_with("drctl_restoring_"), "{}", databases(&cluster).await?);
    Ok(())
}

#[tokio::test]
async fn a_leftover_that_monitoring_looks_into_is_dropped_all_the_same() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, SMALL, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    let left = "drctl_restoring_20200101000000_000001";
    let comment = format!("COMMENT ON DATABASE {left} IS 'drctl: being restored from x'");
    cluster.execute("postgres", &[&format!("CREATE DATABASE {left}"), &comment]).await?;
    let _monitor = cluster.connect(left).await?;
    system.restore(0, &["--to", "new", "--plan"]).await?.says(&format!("DROP DATABASE \"{left}\""))?;
    system.restore(0, &["--to", "new", "--drop-leftovers"]).await?;
    assert_eq!(databases(&cluster).await?, "new");
    Ok(())
}

#[tokio::test]
async fn a_subscription_is_never_in_the_way_of_taking_a_restore_back() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let script = "CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 1000) g;
        CREATE FUNCTION half(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
            $$ BEGIN IF current_database() = 'broken' THEN RAISE 'no'; END IF; RETURN a / 2; END $$;
        CREATE SUBSCRIPTION news CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p WITH (connect = false);
        ALTER SUBSCRIPTION news SET (slot_name = 'news');";
    let system = origin(&cluster, script, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;

    // One that was restored asks nothing of its publisher.
    system.restore(0, &["--to", "new"]).await?;
    let state = "SELECT string_agg(datname || ' ' || subenabled || ' ' || subslotname, ', ')
        FROM pg_subscription JOIN pg_database d ON d.oid = subdbid WHERE datname = 'new'";
    assert_eq!(cluster.text("postgres", state).await?, "new false news");

    // One that failed is dropped.
    cluster
        .psql(
            "origin",
            "CREATE FUNCTION fails(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
                $$ BEGIN IF current_database() <> 'origin' THEN RAISE 'no'; END IF; RETURN a; END $$;
             CREATE INDEX t_fails ON t (fails(a));",
        )
        .await?;
    system.expect(0, &["backup"]).await?;
    let failed = system.restore(1, &["--to", "broken"]).await?;
    failed.says("was dropped")?;
    assert_eq!(databases(&cluster).await?, "new");

    // And so is what a killed restore has left.
    let left = "drctl_restoring_20200101000000_000001";
    let comment = format!("COMMENT ON DATABASE {left} IS 'drctl: being restored from x'");
    let make = "CREATE SUBSCRIPTION news CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p WITH (connect = false)";
    cluster.execute("postgres", &[&format!("CREATE DATABASE {left}"), &comment]).await?;
    cluster.execute(left, &[make, "ALTER SUBSCRIPTION news SET (slot_name = 'news')"]).await?;
    cluster.execute("origin", &["DROP INDEX t_fails"]).await?;
    system.expect(0, &["backup"]).await?;
    system.restore(0, &["--to", "again", "--drop-leftovers"]).await?;
    assert_eq!(databases(&cluster).await?, "again new");
    Ok(())
}
