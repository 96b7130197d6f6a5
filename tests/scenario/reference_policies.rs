//! The reference policies as they stand in `policies/`. The RDS sources: backed up, and brought back in the other
//! region when the first is gone. The database that lies in two stores of Cloudflare: brought back from the second.

use std::fmt::Write as _;
use std::path::Path;

use sqlx::{Connection as _, PgConnection};

use super::support::Outcome;
use super::support::postgres::Cluster;
use super::support::r2::R2;
use super::support::rds::{Gone, RdsServer, Settings};
use super::support::s3::{ACCESS_KEY, SECRET_KEY};
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
        let is_login = ["url = ", "password = ", "authentication = "].iter().any(|key| line.starts_with(key));
        if is_ours && !is_login {
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

/// The policy of Course Companion FTE, with other endpoints and other people's keys, in place of what the system has.
fn course_companion(system: &System, primary: &R2, eu: &R2) -> Outcome<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/course-companion-fte.toml");
    let own = std::fs::read_to_string(system.policy())?;
    let mut policy = String::new();
    for line in std::fs::read_to_string(path)?.lines() {
        let holder = ["holder = \"operational\"", "holder = \"escrow\""]
            .into_iter()
            .find(|holder| line.contains(holder));
        let line = match holder {
            Some(holder) => own.lines().find(|line| line.contains(holder)).ok_or("no such key")?,
            None => line,
        };
        let line = line
            .replace("https://0123456789abcdef0123456789abcdef.eu.r2.cloudflarestorage.com", &eu.endpoint())
            .replace(
                "https://0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com",
                &primary.endpoint(),
            );
        writeln!(policy, "{line}")?;
    }
    // So that a small database takes several parts.
    writeln!(policy, "[transfer]\npart_size = \"5MiB\"")?;
    Ok(std::fs::write(system.policy(), policy)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_two_stores_of_cloudflare_comes_back_from_the_second() -> Outcome<()> {
    let (primary, eu, cluster) = (R2::start().await?, R2::start().await?, Cluster::start(15).await?);
    primary.make_bucket("course-companion-backups")?;
    primary.make_bucket("course-companion-content")?;
    primary.write("course-companion-content", "chapter-1.md", b"# One")?;
    eu.make_bucket("course-companion-backups-eu")?;
    let mut system = System::of("", &[])?;
    course_companion(&system, &primary, &eu)?;
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port());
    system.set("DATABASE_URL", &url);
    for store in ["R2", "R2_EU"] {
        system.set(&format!("{store}_ACCESS_KEY_ID"), ACCESS_KEY);
        system.set(&format!("{store}_SECRET_ACCESS_KEY"), SECRET_KEY);
    }
    // Random, so that it takes several parts.
    cluster
        .execute(
            "postgres",
            &[
                "CREATE TABLE chapters (n int PRIMARY KEY, text text)",
                "INSERT INTO chapters SELECT n, string_agg(md5(random()::text), '') FROM generate_series(1, 800) n, generate_series(1, 1000) GROUP BY n",
            ],
        )
        .await?;

    // The cluster's script is not on this host: that is no success, and said.
    let run = system.expect(3, &["backup"]).await?;
    run.says("failed cluster")?
        .says("failed to start `/usr/local/bin/export-cluster`")?
        .says("-content-bucket-")?;
    system.expect(0, &["backup", "database"]).await?;
    let parts = |store: &R2| store.proxy.calls().iter().filter(|call| call.contains("partNumber=")).count();
    assert!(parts(&primary) > 1 && parts(&eu) > 1, "an object in one part proves nothing");
    system.expect(0, &["verify"]).await?;
    // What is not backed up at all is not called well.
    let run = system.expect(10, &["status"]).await?;
    run.says("eu")?.says("a source has no backup that could be restored")?;
    // What one store missed is completed later.
    eu.go();
    system.expect(3, &["backup", "database"]).await?.says("eu")?;
    let met = eu.proxy.taken();
    eu.come_back();
    system.expect(0, &["copies", "sync"]).await?;
    system.expect(0, &["verify"]).await?;
    let asked = (primary.proxy.taken(), eu.proxy.taken());
    assert_eq!(asked, (primary.questions(), met), "R2 does not have what was asked");

    system.drctl(&["doctor"]).await?.says("repository eu")?;
    assert!(primary.questions() > 0 && eu.questions() > 0, "nobody asked whether objects are locked");
    assert_eq!(
        (primary.proxy.taken(), eu.proxy.taken()),
        (primary.questions(), met + eu.questions()),
        "only what a bucket can do is asked of it"
    );

    primary.go();
    let key = system.operational.display().to_string();
    let restore = ["restore", "database", "--from", "eu", "--to", "again", "-i", &key];
    system.expect(0, &restore).await?;
    let sum = "SELECT md5(string_agg(text, '' ORDER BY n)) FROM chapters";
    assert_eq!(cluster.text("again", sum).await?, cluster.text("postgres", sum).await?);
    let restore = ["restore", "content", "--from", "eu", "--to", "content", "-i", &key];
    system.expect(0, &restore).await?;
    assert_eq!(std::fs::read(system.path().join("content/chapter-1.md"))?, b"# One");
    system.expect(3, &["verify"]).await?.says("unknown")?.says("good")?;
    system.drctl(&["status"]).await?.says("not reached")?;
    system.expect(1, &["doctor"]).await?.says("primary")?;
    assert_eq!(eu.proxy.taken(), met + eu.questions(), "R2 does not have what was asked");
    Ok(())
}
