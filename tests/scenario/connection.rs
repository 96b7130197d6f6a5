//! Which server is read, and by which settings: as libpq's environment variables and the role's own have it.

use crate::support::Outcome;
use crate::support::postgres::Cluster;
use crate::support::system::{Place, System};

impl System {
    /// What was read, by the newest manifest.
    async fn read_from(&self) -> Outcome<(String, String)> {
        let backup = self.expect(0, &["backup", "--accept-new-cluster", "--output", "json"]).await?;
        let last: serde_json::Value = serde_json::from_str(backup.stdout.lines().last().unwrap_or_default())?;
        let id = self.backups_in("primary").pop().ok_or("there is no backup")?;
        let show = self.expect(0, &["show", &id, "--output", "json"]).await?;
        let shown: serde_json::Value = serde_json::from_str(&show.stdout)?;
        let server = shown["manifest"]["server"].clone();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        assert_eq!(last["sources"][0]["read_from"], server["address"], "{last}");
        Ok((text(&server["address"]), text(&server["system_identifier"])))
    }
}

#[tokio::test]
async fn the_server_that_is_read_is_the_one_that_the_environment_names() -> Outcome<()> {
    let (one, other) = tokio::try_join!(Cluster::start(15), Cluster::start(15))?;
    let mut system = System::new("postgres:///postgres?user=postgres", &[Place::Directory])?;
    for cluster in [&one, &other] {
        system.set("PGHOST", "127.0.0.1");
        system.set("PGPORT", &cluster.port().to_string());
        let (address, identifier) = system.read_from().await?;
        assert_eq!(address, format!("127.0.0.1:{}/postgres", cluster.port()));
        let query = "SELECT system_identifier FROM pg_control_system()";
        assert_eq!(identifier, cluster.text("postgres", query).await?);
    }
    let show = system.expect(0, &["show", &system.backups_in("primary")[1]]).await?;
    assert!(show.stdout.contains(&format!("at 127.0.0.1:{}/postgres", other.port())), "{show:?}");

    // What libpq's programs alone would obey is refused before anything is connected to.
    for (name, value) in
        [("PGREQUIREAUTH", "none"), ("PGHOSTADDR", "127.0.0.2"), ("PGTARGETSESSIONATTRS", "standby")]
    {
        let mut command = system.command(&["backup"]);
        command.env(name, value);
        let output = tokio::process::Command::from(command).output().await?;
        let said = String::from_utf8([output.stdout, output.stderr].concat())?;
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("`{name}={value}`")), "{said}");
    }
    assert_eq!(system.backups_in("primary").len(), 2);

    // A service is obeyed by both, or by neither.
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pg_service.conf");
    std::fs::write(
        &file,
        format!("[one]\nhost=127.0.0.1\nport={}\n[bad]\nchannel_binding=require\n", one.port()),
    )?;
    system.unset("PGHOST");
    system.unset("PGPORT");
    system.set("PGSERVICEFILE", &file.display().to_string());
    system.set("PGSERVICE", "one");
    let (address, _) = system.read_from().await?;
    assert_eq!(address, format!("127.0.0.1:{}/postgres", one.port()));
    system.set("PGSERVICE", "bad");
    let run = system.expect(1, &["backup"]).await?;
    run.says("`channel_binding=require` in the service `bad`")?;
    Ok(())
}

#[tokio::test]
async fn what_the_environment_asks_of_tls_is_not_left_out() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let mut system = System::new(&cluster.url("postgres"), &[Place::Directory])?;
    system.set("PGSSLMODE", "require");
    let run = system.expect(1, &["backup"]).await?;
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(said.contains("TLS") || said.contains("SSL"), "{said}");

    let authority = cluster.turn_tls_on().await?;
    system.expect(0, &["backup"]).await?;
    // The certificate is for `localhost`.
    system.set("PGSSLROOTCERT", &authority.display().to_string());
    system.set("PGSSLMODE", "verify-full");
    system.expect(1, &["backup"]).await?;
    system.rewrite("127.0.0.1", "localhost")?;
    system.expect(0, &["backup"]).await?;
    Ok(())
}

/// Defaults that end statements, or forbid them, of the role, the database and the server.
#[tokio::test]
async fn what_a_role_or_a_server_sets_ends_neither_a_backup_nor_a_restore() -> Outcome<()> {
    let cluster = Cluster::start(17).await?;
    let script =
        "CREATE TABLE t AS SELECT g AS id, repeat('x', 100) AS text FROM generate_series(1, 200000) g;
        CREATE INDEX t_slow ON t ((text || id));";
    cluster.execute("postgres", &["CREATE DATABASE origin"]).await?;
    cluster.psql("origin", script).await?;
    let system = System::new(&cluster.url("origin"), &[Place::Directory])?;
    system.append(&format!("tools = \"{}\"", cluster.programs().display()))?;
    // Shorter than the load of the table and of its index, and longer than a busy host takes for a session's first
    // message, which lifts them.
    let limits: Vec<String> = [
        "statement_timeout = 150",
        "lock_timeout = 150",
        "idle_in_transaction_session_timeout = 150",
        "idle_session_timeout = 150",
        "transaction_timeout = 150",
        "default_transaction_read_only = on",
        "default_transaction_isolation = 'serializable'",
        "client_encoding = 'LATIN1'",
        "\"DateStyle\" = 'German'",
        "search_path = 'nowhere'",
    ]
    .iter()
    .map(|setting| format!("ALTER ROLE postgres SET {setting}"))
    .collect();
    let limits: Vec<&str> = limits.iter().map(String::as_str).collect();
    cluster.execute("postgres", &limits).await?;
    system.expect(0, &["backup"]).await?;
    let key = system.operational.display().to_string();
    let restore = |name: &'static str, jobs: &'static str| {
        let arguments = ["restore", "database", "--identity", &key, "--to", name, "--jobs", jobs];
        arguments.map(str::to_owned)
    };
    for (name, jobs) in [("alone", "1"), ("together", "2")] {
        let arguments = restore(name, jobs);
        let run = system.expect(0, &arguments.each_ref().map(String::as_str)).await?;
        assert!(!run.stderr.contains("vacuumdb"), "{run:?}");
    }
    let mut psql = cluster.client("psql");
    psql.env("PGOPTIONS", "-c statement_timeout=0 -c transaction_timeout=0 -c idle_session_timeout=0");
    psql.args([
        "-X",
        "-A",
        "-t",
        "-d",
        "together",
        "-c",
        "SELECT reltuples FROM pg_class WHERE relname = 't'",
    ]);
    let output = tokio::process::Command::from(psql).output().await?;
    assert_eq!(String::from_utf8(output.stdout)?.trim(), "200000");
    Ok(())
}

/// What was loaded and is right is not thrown away for them.
#[tokio::test]
async fn statistics_that_fail_are_a_note() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    // Gathering statistics of the expression fails where the database has another name; loading does not.
    let script = "CREATE FUNCTION odd(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
            IF current_query() LIKE 'ANALYZE%' AND current_database() <> 'origin' THEN RAISE 'no statistics here'; END IF;
            RETURN a; END $$;
        CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) g;
        CREATE INDEX t_odd ON t (public.odd(id));";
    cluster.execute("postgres", &["CREATE DATABASE origin"]).await?;
    cluster.psql("origin", script).await?;
    let system = System::new(&cluster.url("origin"), &[Place::Directory])?;
    system.expect(0, &["backup"]).await?;
    let key = system.operational.display().to_string();
    let run = system.expect(0, &["restore", "database", "--identity", &key, "--to", "new"]).await?;
    assert!(
        run.stderr.contains("no statistics here") && run.stderr.contains("vacuumdb --analyze-only"),
        "{run:?}"
    );
    assert_eq!(cluster.text("new", "SELECT count(*) FROM t").await?, "100");
    Ok(())
}
