//! The logical source against real servers.

use drctl::postgres::{ConnectionParameters, count_rows, read_facts};

use crate::support::Outcome;
use crate::support::postgres::Cluster;

async fn facts_of(major: u32) -> Outcome<()> {
    let cluster = Cluster::start(major).await?;
    cluster
        .execute(
            "postgres",
            &[
                "CREATE DATABASE shop",
                "COMMENT ON DATABASE shop IS 'goods'",
                "GRANT CONNECT ON DATABASE shop TO pg_monitor",
                "ALTER DATABASE shop SET work_mem = '8MB'",
            ],
        )
        .await?;
    cluster
        .execute(
            "shop",
            &[
                r#"CREATE TABLE "Größe" (id serial PRIMARY KEY, a int DEFAULT 3)"#,
                r#"INSERT INTO "Größe" (a) SELECT generate_series(1, 7)"#,
            ],
        )
        .await?;
    let parameters = ConnectionParameters::from_url(&cluster.url("shop").parse()?)?;
    let mut connection = parameters.connect().await?;
    let mut facts = read_facts(&mut connection).await?;
    count_rows(&mut connection, &mut facts.tables).await?;
    assert_eq!(facts.major, major);
    assert_eq!(facts.name, "shop");
    assert_eq!(facts.comment.as_deref(), Some("goods"));
    assert_eq!(facts.settings[0].value, "8MB");
    assert!(
        facts
            .grants
            .is_some_and(|grants| grants.iter().any(|grant| grant.grantee.as_deref() == Some("pg_monitor")))
    );
    assert_eq!(facts.tables[0].rows, Some(7));
    assert_eq!(facts.tables[0].belongings, ["Größe_id_seq", "Größe_pkey", "a", "id"]);
    assert_eq!(facts.sequences[0].last_value, 7);
    assert_eq!(facts.roles, ["postgres"]);
    Ok(())
}

#[tokio::test]
async fn a_database_of_15_is_described() -> Outcome<()> {
    facts_of(15).await
}

#[tokio::test]
async fn a_database_of_17_is_described() -> Outcome<()> {
    facts_of(17).await
}
