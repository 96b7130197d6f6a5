//! Which roles a restore needs, and how it makes them.

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

#[tokio::test]
async fn roles_that_only_made_extensions_are_not_needed_and_platforms_roles_are_made_bare() -> Outcome<()> {
    let (cluster, target) = tokio::try_join!(Cluster::start(15), Cluster::start(15))?;
    let roles =
        ["CREATE ROLE rdsadmin SUPERUSER LOGIN", "CREATE ROLE app", "CREATE DATABASE origin OWNER app"];
    cluster.execute("postgres", &roles).await?;
    let script = "SET SESSION AUTHORIZATION rdsadmin; CREATE SCHEMA ext AUTHORIZATION app;
        CREATE EXTENSION hstore SCHEMA ext; CREATE EXTENSION postgres_fdw; CREATE EXTENSION pg_stat_statements;
        RESET SESSION AUTHORIZATION; SET ROLE app;
        CREATE TABLE t (id int PRIMARY KEY, attributes ext.hstore); INSERT INTO t VALUES (1, 'a=>1');";
    cluster.psql("origin", script).await?;
    let system = System::new(&cluster.url("origin"), &[Place::Directory])?;
    system.expect(0, &["backup"]).await?;
    target.execute("postgres", &["CREATE ROLE app"]).await?;
    restore(&system, 0, &["--to", &target.url("plain")]).await?;
    let owner = "SELECT relowner::regrole FROM pg_class WHERE relname = 't'";
    assert_eq!(target.text("plain", owner).await?, "app");

    // As on RDS up to version 14, where the schema public was the administrator's.
    let script = "GRANT SELECT ON t TO rdsadmin; CREATE ROLE tenant;
        ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t TO tenant USING (id > 0);";
    cluster.psql("origin", script).await?;
    system.expect(0, &["backup"]).await?;
    let refused = restore(&system, 1, &["--to", &target.url("named")]).await?;
    assert!(refused.stderr.contains("the target server has no roles `rdsadmin`, `tenant`"), "{refused:?}");
    let refused = restore(&system, 1, &["--to", &target.url("named"), "--no-owner"]).await?;
    assert!(refused.stderr.contains("the target server has no role `tenant`, for which"), "{refused:?}");
    let made = restore(&system, 0, &["--to", &target.url("named"), "--globals"]).await?;
    assert!(made.stderr.contains("attributes of role rdsadmin"), "{made:?}");
    let bare = "SELECT rolsuper::text || rolcanlogin FROM pg_roles WHERE rolname = 'rdsadmin'";
    assert_eq!(target.text("postgres", bare).await?, "falsefalse");
    let may = "SELECT has_table_privilege('rdsadmin', 't', 'SELECT')";
    assert_eq!(target.text("named", may).await?, "true");
    restore(&system, 0, &["--to", &target.url("unowned"), "--no-owner"]).await?;
    Ok(())
}

const NAMES: &str = r#"
    CREATE ROLE replication LOGIN REPLICATION PASSWORD 'NOSUPERUSER'; CREATE ROLE granted; CREATE ROLE password LOGIN;
    CREATE ROLE superuser CREATEDB BYPASSRLS; CREATE ROLE "in" CREATEROLE; CREATE ROLE "a ""b"" 'c'; \" LOGIN;
    CREATE ROLE """quoted"""; CREATE ROLE tablespace; CREATE ROLE parameter;
    CREATE ROLE U&"line\000Abreak";
    ALTER ROLE "in" SET search_path TO 'x', "y z"; ALTER ROLE "a ""b"" 'c'; \" SET application_name TO 'it''s; \';
    ALTER ROLE granted SET log_statement TO 'ddl'; ALTER ROLE password IN DATABASE origin SET work_mem TO '7MB';
    COMMENT ON ROLE """quoted""" IS E'; \' -- "';
    GRANT granted TO password WITH ADMIN OPTION; GRANT granted TO "in" WITH INHERIT FALSE, SET FALSE GRANTED BY password;
    GRANT granted TO "in" WITH INHERIT TRUE GRANTED BY postgres; GRANT pg_read_all_data TO parameter;
    GRANT SET ON PARAMETER log_statement TO parameter WITH GRANT OPTION; GRANT parameter TO replication;
    SET allow_in_place_tablespaces = on; CREATE TABLESPACE "fa st" OWNER password LOCATION '';"#;

/// Roles and their memberships, as `pg_dumpall` writes them; tablespaces are left out.
fn globals(cluster: &Cluster) -> Outcome<Vec<String>> {
    let output = cluster.client("pg_dumpall").args(["--roles-only", "--database=postgres"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let is_statement = |line: &&str| !line.is_empty() && !line.starts_with('-') && !line.starts_with('\\');
    Ok(text.lines().filter(is_statement).map(str::to_owned).collect())
}

#[tokio::test]
async fn roles_of_any_name_come_back_as_they_were_and_what_is_lost_is_said() -> Outcome<()> {
    let (cluster, target, managed) =
        tokio::try_join!(Cluster::start(17), Cluster::start(17), Cluster::start(17))?;
    cluster.execute("postgres", &["CREATE DATABASE origin"]).await?;
    cluster.psql("origin", NAMES).await?;
    let script = r#"CREATE TABLE t (a int) TABLESPACE "fa st"; ALTER TABLE t OWNER TO password;
        GRANT SELECT ON t TO """quoted""", replication, U&"line\000Abreak"; ALTER DATABASE origin OWNER TO password;"#;
    cluster.psql("origin", script).await?;
    let system = System::new(&cluster.url("origin"), &[Place::Directory])?;
    system.append(&format!("tools = \"{}\"", cluster.programs().display()))?;
    system.expect(0, &["backup"]).await?;

    let without = ["--globals", "--no-tablespaces", "--to"];
    // A name is no line of its own.
    let planned = restore(&system, 0, &[&without[..], &[&target.url("new"), "--plan"]].concat()).await?;
    assert!(planned.stdout.contains(r"role line\nbreak"), "{planned:?}");
    restore(&system, 0, &[&without[..], &[&target.url("new")]].concat()).await?;
    let missing = |line: &String| line.contains("IN DATABASE");
    let (mut before, mut after) = (globals(&cluster)?, globals(&target)?);
    before.retain(|line| !missing(line));
    after.retain(|line| !missing(line));
    assert_eq!(before, after);
    let tablespaces = "SELECT count(*) FROM pg_tablespace WHERE spcname = 'fa st'";
    assert_eq!(target.text("postgres", tablespaces).await?, "0");

    managed.execute("postgres", &["CREATE ROLE maker LOGIN CREATEDB CREATEROLE"]).await?;
    let to = managed.url_as("maker", "new");
    let partly = restore(&system, 3, &[&without[..], &[&to]].concat()).await?;
    for said in [
        "REPLICATION of role replication: maker may not give it",
        "BYPASSRLS of role superuser: maker may not give it",
        "permission denied to set parameter",
        "maker is a member now, to give them what they own, of password",
    ] {
        assert!(partly.stderr.contains(said), "{said}: {partly:?}");
    }
    let owner = "SELECT relowner::regrole FROM pg_class WHERE relname = 't'";
    assert_eq!(managed.text("new", owner).await?, "password");
    let could_log_in = "SELECT rolpassword IS NOT NULL FROM pg_authid WHERE rolname = 'replication'";
    assert_eq!(managed.text("postgres", could_log_in).await?, "true");
    Ok(())
}
