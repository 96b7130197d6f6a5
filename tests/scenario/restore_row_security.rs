//! Restoring by a role that may not read everything it loads.

use crate::support::Outcome;
use crate::support::postgres::Cluster;
use crate::support::system::{Place, Run, System};

/// Restores the latest backup with the operational key, and more arguments.
async fn restore(system: &System, code: i32, arguments: &[&str]) -> Outcome<Run> {
    let key = system.operational.display().to_string();
    let first = ["restore", "database", "--identity", &key];
    let all: Vec<&str> = first.into_iter().chain(arguments.iter().copied()).collect();
    system.expect(code, &all).await
}

const SCRIPT: &str = "SET ROLE app;
    CREATE TABLE forced (id int, tenant int); INSERT INTO forced SELECT g, g % 3 FROM generate_series(1, 30) g;
    ALTER TABLE forced ENABLE ROW LEVEL SECURITY; ALTER TABLE forced FORCE ROW LEVEL SECURITY;
    CREATE POLICY p ON forced USING (tenant = current_setting('app.tenant')::int);
    CREATE TABLE secured (id int); INSERT INTO secured VALUES (1); ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
    CREATE TABLE closed (id int); INSERT INTO closed VALUES (1), (2); REVOKE ALL ON closed FROM app;
    GRANT INSERT ON closed TO app;
    CREATE SEQUENCE numbers; SELECT nextval('numbers'); REVOKE ALL ON numbers FROM app;
    CREATE TABLE plain (id int); INSERT INTO plain VALUES (1), (2), (3);";

#[tokio::test]
async fn rows_that_the_restoring_role_may_not_count_are_undetermined_and_not_lost() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let roles = ["CREATE ROLE app", "CREATE ROLE restorer LOGIN CREATEDB", "GRANT app TO restorer"];
    cluster.execute("postgres", &roles).await?;
    cluster.execute("postgres", &["CREATE DATABASE origin OWNER app"]).await?;
    cluster.psql("origin", SCRIPT).await?;
    let system = System::new(&cluster.url("origin"), &[Place::Directory])?;
    system.expect(0, &["backup"]).await?;

    let to = cluster.url_as("restorer", "new");
    let planned = restore(&system, 0, &["--to", &to, "--plan"]).await?;
    let foreseen = "restorer cannot count the rows of public.closed (SELECT was revoked from its owner), \
                    public.forced (row-level security hides rows)";
    assert!(planned.stdout.contains(foreseen), "{planned:?}");

    for jobs in ["1", "2"] {
        let name = format!("new{jobs}");
        let to = cluster.url_as("restorer", &name);
        let run = restore(&system, 22, &["--to", &to, "--jobs", jobs, "--output", "json"]).await?;
        let report: serde_json::Value = serde_json::from_str(run.stdout.lines().last().unwrap_or_default())?;
        let undetermined = report["details"]["compared"]["undetermined"].to_string();
        for what in [
            "rows not counted: table \\\"public\\\".\\\"forced\\\" (row-level",
            "closed\\\" (no SELECT)",
            "numbers\\\" (no SELECT)",
        ] {
            assert!(undetermined.contains(what), "{what}: {report}");
        }
        assert_eq!(report["details"]["compared"]["counted"], 2, "{report}");
        assert_eq!(cluster.text(&name, "SELECT count(*) FROM forced").await?, "30");
        assert_eq!(cluster.text(&name, "SELECT count(*) FROM closed").await?, "2");
    }
    let unowned =
        restore(&system, 22, &["--to", &cluster.url_as("restorer", "unowned"), "--no-owner"]).await?;
    unowned.says("undetermined: rows not counted: table \"public\".\"forced\"")?;
    assert!(!unowned.stdout.contains("closed"), "{unowned:?}");
    let run = restore(&system, 0, &["--to", "by_superuser"]).await?;
    assert!(!run.stdout.contains("undetermined"), "{run:?}");
    Ok(())
}
