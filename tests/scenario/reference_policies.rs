//! The RDS sources of the reference policies, as they stand in `policies/`: backed up, and brought back in the
//! other region when the first is gone.

use std::fmt::Write as _;
use std::path::Path;

use sqlx::{Connection as _, PgConnection};

use super::support::Outcome;
use super::support::rds::{Gone, RdsServer, Settings};
use super::support::system::{Place, System};

const HOME: &str = "us-east-1";
const AWAY: &str = "us-west-2";

/// The tables of source `instance`, with what only AWS can answer put in other words: where it is, who asks, and
/// the URL, whose server proves who it is by a certificate of AWS's.
fn source(policy: &str, server: &RdsServer, settings: &Settings) -> Outcome<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("policies/{policy}.toml"));
    let mut tables = String::new();
    let mut is_ours = false;
    for line in std::fs::read_to_string(path)?.lines() {
        if line.starts_with('[') {
            is_ours = line.starts_with("[sources.instance");
        }
        if is_ours && !line.starts_with("url = ") && !line.starts_with("password = ") {
            writeln!(tables, "{line}")?;
        }
        if line == "[sources.instance]" {
            let database = settings.database.as_deref().unwrap_or("postgres");
            writeln!(
                tables,
                "endpoint = \"{}\"\npoll = \"20ms\"\ndeadline = \"60s\"\n\
                 credentials = {{ access_key_id = \"env:RDS_KEY\", secret_access_key = \"env:RDS_SECRET\" }}\n\
                 url = \"postgres://{}@reference.invalid/{database}\"\npassword = \"env:RDS_PASSWORD\"",
                server.url(),
                settings.master_user,
            )?;
        }
    }
    Ok(tables)
}

/// What a policy says of one thing, between quotes.
fn word<'t>(tables: &'t str, key: &str) -> Option<&'t str> {
    tables.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = ")?.split('"').nth(1))
}

#[tokio::test]
async fn the_rds_source_of_each_is_backed_up_and_restored_in_the_other_region() -> Outcome<()> {
    for policy in ["ai-study-companion", "classboard", "insightshop"] {
        let server = RdsServer::start().await?;
        let settings = Settings::production(HOME);
        server.instance(HOME, policy, settings.clone()).await?;
        let tables = source(policy, &server, &settings)?;
        let subnet_group = word(&tables, "subnet_group").ok_or("the policy names no subnet group")?;
        server.add_subnet_group(AWAY, subnet_group);
        if let Some(group) = word(&tables, "parameter_group") {
            server.add_parameter_group(AWAY, group, &[("work_mem", "8192")]);
        }
        let mut system = System::of(&tables, &[Place::Directory, Place::Directory])?;
        system.set("RDS_KEY", "AKIDEXAMPLE");
        system.set("RDS_SECRET", "secret");
        system.set("RDS_PASSWORD", &settings.master_password);

        let mut connection = enter(&server, HOME, policy, &settings).await?;
        sqlx::raw_sql("CREATE TABLE pupils (name text); INSERT INTO pupils VALUES ('ada')")
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        system.expect(0, &["backup", "instance"]).await.map_err(|error| format!("{policy}: {error}"))?;

        server.lose_region(HOME, Gone::Unavailable);
        let identity = system.operational.to_str().ok_or("the path of the identity")?;
        let restore = ["restore", "instance", "--latest", "--to-instance", "new", "-i", identity];
        let run = system.expect(0, &restore).await.map_err(|error| format!("{policy}: {error}"))?;
        run.says("usable")?.says(AWAY)?;
        let mut connection = enter(&server, AWAY, "new", &settings).await?;
        let name: String = sqlx::query_scalar("SELECT name FROM pupils").fetch_one(&mut connection).await?;
        connection.close().await?;
        assert_eq!(name, "ada", "{policy}");
        assert_eq!(server.look_up(AWAY, "new")?.settings.subnet_group, subnet_group, "{policy}");
        assert_eq!(server.failures(), Vec::<String>::new(), "{policy}");
    }
    Ok(())
}

async fn enter(server: &RdsServer, region: &str, name: &str, settings: &Settings) -> Outcome<PgConnection> {
    let port = server.look_up(region, name)?.port().ok_or("no server")?;
    let options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username(&settings.master_user)
        .password(&settings.master_password)
        .database(settings.database.as_deref().unwrap_or("postgres"));
    Ok(PgConnection::connect_with(&options).await?)
}
