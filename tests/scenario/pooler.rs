//! A connection pooler between drctl and the server, with an application that goes through it as well.

use crate::support::Outcome;
use crate::support::pooler::Pooler;
use crate::support::postgres::Cluster;
use crate::support::system::{Place, System};

/// What poolers are commonly told, since drivers send it.
const COMMON: &str = "extra_float_digits";
/// As some are told so that `PGOPTIONS` does no harm.
const ALL: &str = "extra_float_digits,options";

async fn shop() -> Outcome<Cluster> {
    let cluster = Cluster::start(15).await?;
    cluster.execute("postgres", &["CREATE DATABASE shop"]).await?;
    cluster.execute("shop", &["CREATE TABLE orders AS SELECT generate_series(1, 10) AS id"]).await?;
    Ok(cluster)
}

/// What the application finds on the connections that the pooler keeps, with each of several sessions.
async fn application(cluster: &Cluster, pooler: &Pooler) -> Outcome<Vec<String>> {
    let mut answers = Vec::new();
    for _ in 0..4 {
        let mut psql = cluster.client("psql");
        psql.env("PGPORT", pooler.port().to_string()).args(["-X", "-A", "-t", "-d", "shop", "-c"]);
        psql.arg(
            "SELECT count(*) || ' ' || current_setting('search_path') || ' ' || current_setting('lock_timeout')
                    || ' ' || (SELECT count(*) FROM pg_prepared_statements) FROM orders",
        );
        let output = tokio::process::Command::from(psql).output().await?;
        answers.push(String::from_utf8([output.stdout, output.stderr].concat())?.trim().to_owned());
    }
    Ok(answers)
}

const UNDISTURBED: &str = r#"10 "$user", public 0 0"#;

#[tokio::test]
async fn the_application_behind_a_pooler_is_not_disturbed_by_a_backup_or_doctor() -> Outcome<()> {
    let cluster = shop().await?;
    for ignored in [COMMON, ALL] {
        let pooler = Pooler::start(&cluster, "transaction", ignored).await?;
        let system = System::new(&pooler.url("shop"), &[Place::Directory])?;
        for arguments in [&["backup"][..], &["doctor"][..]] {
            let run = system.drctl(arguments).await?;
            assert_eq!(application(&cluster, &pooler).await?, [UNDISTURBED; 4], "{arguments:?}, {ignored}");
            let said = format!("{}{}", run.stdout, run.stderr);
            assert!(said.contains("is a connection pooler that gives each transaction another"), "{said}");
            assert_eq!(run.code, Some(1), "{said}");
        }
        assert!(system.backups_in("primary").is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn a_pooler_that_keeps_sessions_is_backed_up_through_and_named() -> Outcome<()> {
    let cluster = shop().await?;
    let pooler = Pooler::start(&cluster, "session", COMMON).await?;
    let system = System::new(&pooler.url("shop"), &[Place::Directory])?;
    let run = system.expect(0, &["backup"]).await?;
    assert!(run.stderr.contains("through a connection pooler"), "{run:?}");
    assert!(run.stdout.contains(&format!("read from 127.0.0.1:{}/shop", pooler.port())), "{run:?}");
    assert_eq!(application(&cluster, &pooler).await?, [UNDISTURBED; 4]);
    Ok(())
}

/// A backup goes on without it, and says so.
#[tokio::test]
async fn a_catalog_behind_a_pooler_is_not_used_and_nothing_stays_there() -> Outcome<()> {
    let cluster = shop().await?;
    let pooler = Pooler::start(&cluster, "transaction", COMMON).await?;
    let system = System::new(&cluster.url("shop"), &[Place::Directory])?;
    system.append(&format!("[catalog]\nurl = \"{}\"", pooler.url("shop")))?;
    let run = system.expect(0, &["backup"]).await?;
    assert!(run.stderr.contains("is a connection pooler that gives each transaction another"), "{run:?}");
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    assert_eq!(cluster.text("postgres", locks).await?, "0");
    assert_eq!(application(&cluster, &pooler).await?, [UNDISTURBED; 4]);
    Ok(())
}
