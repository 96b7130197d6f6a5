//! The logical source against real servers.

use std::collections::BTreeMap;
use std::time::Duration;

use drctl::event::Events;
use drctl::model::{Artifact, DatabaseFacts, Details, TableKind};
use drctl::pipeline::Produce;
use drctl::platform::CancellationToken;
use drctl::policy::{LogicalDump, PasswordSource, PostgresSource, RowCounts};
use drctl::postgres::{ConnectionParameters, Tools, count_rows, read_facts};
use drctl::source::postgres_dump::capture;
use drctl::source::{ArtifactSink, Captured, LogicalError, SinkError, Unreadable};

use crate::support::Outcome;
use crate::support::postgres::{Cluster, ClusterOptions};
use crate::support::sink::MemorySink;

const HARD_THINGS: &str = include_str!("../support/hard_things.sql");

fn source(url: &str) -> Outcome<PostgresSource> {
    Ok(PostgresSource {
        url: Some(url.parse()?),
        url_ref: None,
        password: None,
        tools: None,
        logical: Some(dump()),
        base: None,
        wal: None,
    })
}

fn dump() -> LogicalDump {
    LogicalDump { row_counts: RowCounts::Exact, globals: true, lock_wait: Duration::from_secs(20) }
}

async fn capture(url: &str, sink: &mut dyn ArtifactSink) -> Outcome<Captured> {
    let prepared = capture::prepare(&source(url)?).await?;
    let (events, cancel) = (Events::default(), CancellationToken::new());
    Ok(capture::capture(prepared, &dump(), sink, &events, &cancel).await?)
}

fn facts(sink: &MemorySink) -> Outcome<DatabaseFacts> {
    let json = sink.bytes(capture::DETAILS).ok_or("there are no details")?;
    let details: Details = serde_json::from_slice(json)?;
    Ok(details.database.ok_or("the details hold no database")?)
}

/// What PostgreSQL's own program makes of the archive, read to its end.
fn dumped_sql(cluster: &Cluster, sink: &MemorySink) -> Outcome<String> {
    let dumped = tempfile::NamedTempFile::new()?;
    std::fs::write(dumped.path(), sink.bytes(capture::DATABASE).ok_or("there is no dump")?)?;
    let output = cluster.client("pg_restore").arg("--file=-").arg(dumped.path()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// An error with its causes, as the command line shows it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

async fn is_described(major: u32) -> Outcome<()> {
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
    sqlx::raw_sql("BEGIN").execute(&mut connection).await?;
    let mut facts = read_facts(&mut connection).await?;
    count_rows(&mut connection, &mut facts.tables).await?;
    assert_eq!(facts.major, major);
    assert_eq!(facts.name, "shop");
    assert_eq!(facts.comment.as_deref(), Some("goods"));
    assert_eq!((facts.encoding.as_str(), facts.collate.as_str()), ("UTF8", "C.UTF-8"));
    assert_eq!(facts.locale_provider, "libc");
    assert_eq!(facts.settings[0].value, "8MB");
    let grants = facts.grants.ok_or("there are grants")?;
    assert!(grants.iter().any(|grant| grant.grantee.as_deref() == Some("pg_monitor")));
    assert_eq!(facts.tables[0].rows, Some(7));
    assert_eq!(facts.tables[0].belongings, ["Größe_id_seq", "Größe_pkey", "a", "id"]);
    assert_eq!(facts.sequences[0].last_value, 7);
    assert_eq!(facts.roles, ["postgres"]);
    Ok(())
}

#[tokio::test]
async fn a_database_of_15_is_described() -> Outcome<()> {
    is_described(15).await
}

#[tokio::test]
async fn a_database_of_17_is_described() -> Outcome<()> {
    is_described(17).await
}

/// The inventory that a restore is compared with is right to the row, and so is the dump it belongs to.
#[tokio::test]
async fn hard_things_are_dumped_and_counted() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    cluster.execute("postgres", &["CREATE DATABASE hard"]).await?;
    cluster.psql("hard", HARD_THINGS).await?;
    let mut sink = MemorySink::default();
    let captured = capture(&cluster.url("hard"), &mut sink).await?;

    assert_eq!(sink.begun, ["database.dump", "globals.sql", "details.json"]);
    let globals = String::from_utf8(sink.bytes("globals.sql").unwrap_or_default().to_vec())?;
    assert!(globals.contains(r#"CREATE ROLE "hard ""Writer"" ä";"#), "{globals}");
    assert!(captured.producer.starts_with("pg_dump (PostgreSQL) "));
    assert!(captured.server.is_some_and(|server| server.major == 15 && server.system_identifier.is_some()));
    assert!(captured.manual_restore.iter().any(|line| line.contains("pg_restore")));

    let facts = facts(&sink)?;
    let rows: BTreeMap<&str, Option<u64>> =
        facts.tables.iter().map(|table| (table.name.as_str(), table.rows)).collect();
    let expected = [
        ("customer", Some(102)),
        ("event", None),
        ("event_2024", Some(22)),
        ("event_2025", None),
        ("event_2025 Käufe", Some(33)),
        ("event_rest", Some(44)),
        ("event_old", Some(11)),
        // Without the rows of what inherits from it.
        ("animal", Some(3)),
        ("dog", Some(5)),
        ("department", Some(2)),
        ("staff", Some(2)),
        ("no_columns", Some(2)),
        ("no_rows", Some(0)),
        (r#"select "from" wo; -- ä"#, Some(2)),
        ("session", Some(9)),
        ("big", Some(20)),
        ("per_kind", Some(2)),
        ("top", Some(1)),
        ("never_filled", None),
        ("ruled", Some(0)),
        ("secret", Some(3)),
        ("remote", None),
    ];
    assert_eq!(rows, BTreeMap::from(expected));
    let kind = |name: &str| facts.tables.iter().find(|table| table.name == name).map(|table| table.kind);
    assert_eq!(kind("event_2025"), Some(TableKind::Partitioned));
    assert_eq!(kind("never_filled"), Some(TableKind::MaterializedView));
    assert_eq!(kind("remote"), Some(TableKind::Foreign));

    let sequences: BTreeMap<&str, (i64, bool)> = facts
        .sequences
        .iter()
        .map(|sequence| (sequence.name.as_str(), (sequence.last_value, sequence.is_called)))
        .collect();
    let expected = [
        ("customer_id_seq", (70_007, true)),
        ("no_rows_id_seq", (5000, true)),
        ("never_called", (42, false)),
        // Five values are cached by the session that asked for one.
        ("Down", (88, true)),
        ("largest", (i64::MAX, false)),
    ];
    assert_eq!(sequences, BTreeMap::from(expected));

    assert_eq!(facts.large_objects, 3);
    assert_eq!(facts.schemas, ["Größe & Co. \"quoted\" 日本", "empty", "ext", "public", "shop"]);
    assert_eq!(facts.roles, [r#"hard "Writer" ä"#, "hard_owner", "hard_reader", "postgres"]);
    let extensions: Vec<&str> = facts.extensions.iter().map(|extension| extension.name.as_str()).collect();
    assert_eq!(extensions, ["hstore", "pgcrypto", "plpgsql", "postgres_fdw"]);
    assert_eq!(facts.connection_limit, 77);
    assert_eq!(facts.settings.len(), 3);
    assert_eq!(facts.not_included.len(), 1, "{:?}", facts.not_included);
    assert!(facts.not_included[0].contains(r#""shop"."remote""#));

    let sql = dumped_sql(&cluster, &sink)?;
    assert!(sql.contains("COPY shop.session (id, data) FROM stdin;"));
    assert!(sql.contains("SELECT pg_catalog.setval('shop.customer_id_seq', 70007, true);"));
    Ok(())
}

/// What is written after the snapshot is in neither the dump nor the counts.
#[tokio::test]
async fn counts_are_those_of_the_dump_while_others_write() -> Outcome<()> {
    struct Interfering {
        inner: MemorySink,
        cluster: Cluster,
    }
    #[async_trait::async_trait]
    impl ArtifactSink for Interfering {
        async fn store(
            &mut self,
            name: &str,
            producer: Box<dyn Produce>,
            estimate: Option<u64>,
        ) -> Result<Artifact, SinkError> {
            // pg_dump has begun by now, and nothing was counted yet.
            self.cluster.execute("postgres", &["DELETE FROM t WHERE a < 500"]).await?;
            self.inner.store(name, producer, estimate).await
        }
    }
    let cluster = Cluster::start(15).await?;
    cluster.execute("postgres", &["CREATE TABLE t AS SELECT generate_series(1, 1000) AS a"]).await?;
    let url = cluster.url("postgres");
    let mut sink = Interfering { inner: MemorySink::default(), cluster };
    capture(&url, &mut sink).await?;
    assert_eq!(facts(&sink.inner)?.tables[0].rows, Some(1000));
    let sql = dumped_sql(&sink.cluster, &sink.inner)?;
    assert!(sql.contains("\n7\n"), "a row that was deleted meanwhile is not there");
    Ok(())
}

/// A role that lacks something is refused with all that it lacks, before anything is dumped.
#[tokio::test]
async fn everything_unreadable_is_named_at_once() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    cluster.execute("postgres", &["CREATE DATABASE shop", "CREATE ROLE backup LOGIN"]).await?;
    cluster
        .execute(
            "shop",
            &[
                "CREATE TABLE fine (a int)",
                "GRANT SELECT ON fine TO backup",
                "CREATE TABLE denied (a int)",
                "CREATE TABLE some_columns (a int, b int)",
                "GRANT SELECT (a) ON some_columns TO backup",
                "CREATE SCHEMA hidden",
                "CREATE TABLE hidden.inside (a int)",
                "GRANT SELECT ON hidden.inside TO backup",
                "CREATE TABLE policed (a int)",
                "ALTER TABLE policed ENABLE ROW LEVEL SECURITY",
                "GRANT SELECT ON policed TO backup",
                "CREATE SEQUENCE counter",
                "SELECT lo_create(4711)",
                "CREATE SUBSCRIPTION news CONNECTION 'dbname=none' PUBLICATION p WITH (connect = false)",
            ],
        )
        .await?;
    let url = cluster.url_as("backup", "shop");
    let error = capture::prepare(&source(&url)?).await.err().ok_or("it was not refused")?;
    let LogicalError::Unreadable { role, list, .. } = &error else { return Err(chain(&error).into()) };
    assert_eq!(role, "backup");
    let public = |name: &str| ("public".to_owned(), name.to_owned());
    let table = |(schema, name)| Unreadable::Table { schema, name };
    let expected = [
        Unreadable::Schema("hidden".to_owned()),
        Unreadable::Sequence { schema: "public".to_owned(), name: "counter".to_owned() },
        table(public("denied")),
        Unreadable::RowSecurity { schema: "public".to_owned(), name: "policed".to_owned() },
        table(public("some_columns")),
        Unreadable::LargeObjects { first: vec![4711], count: 1 },
        Unreadable::Subscription("news".to_owned()),
    ];
    assert_eq!(*list, expected);
    assert!(error.to_string().contains(r#"table "public"."denied" (no SELECT)"#), "{error}");

    // With what it needs, and without being a superuser, it is let in and takes no passwords.
    cluster
        .execute(
            "shop",
            &[
                "ALTER SUBSCRIPTION news SET (slot_name = NONE)",
                "DROP SUBSCRIPTION news",
                "GRANT USAGE ON SCHEMA hidden TO backup",
                "GRANT SELECT ON denied, some_columns, counter TO backup",
                "ALTER ROLE backup BYPASSRLS PASSWORD 'hunter2'",
                "GRANT SELECT ON LARGE OBJECT 4711 TO backup",
            ],
        )
        .await?;
    let mut sink = MemorySink::default();
    capture(&url, &mut sink).await?;
    let globals = String::from_utf8(sink.bytes("globals.sql").unwrap_or_default().to_vec())?;
    assert!(globals.contains("CREATE ROLE backup;") && !globals.contains("PASSWORD"), "{globals}");
    Ok(())
}

/// A pg_dump older than the server is refused, and both are named.
#[tokio::test]
async fn a_server_newer_than_every_pg_dump_is_refused() -> Outcome<()> {
    let newer = Cluster::start(17).await?;
    let parameters = ConnectionParameters::from_url(&newer.url("postgres").parse()?)?;
    let mut connection = parameters.connect().await?;
    let (_, major) = drctl::postgres::server_major(&mut connection).await?;
    let only = [crate::support::postgres::programs(15)?];
    let error = Tools::find_in(&only, None, major).await.err().ok_or("it was not refused")?.to_string();
    assert!(error.contains("no pg_dump of PostgreSQL 17 or newer"), "{error}");
    assert!(error.contains("pg_dump (PostgreSQL) 15."), "{error}");

    // The one that came with it is found where the policy says, and dumps it.
    let mut source = source(&newer.url("postgres"))?;
    source.tools = Some(newer.programs().to_owned());
    let prepared = capture::prepare(&source).await?;
    assert_eq!(prepared.tools.major, 17);
    let mut sink = MemorySink::default();
    capture::capture(prepared, &dump(), &mut sink, &Events::default(), &CancellationToken::new()).await?;
    assert!(sink.bytes("database.dump").is_some_and(|bytes| bytes.starts_with(b"PGDMP")));
    Ok(())
}

/// Reads a little of the dump, does something, and goes on as `inner` does.
struct Midway<F> {
    inner: MemorySink,
    act: Option<F>,
}

#[async_trait::async_trait]
impl<F: FnOnce() -> Outcome<()> + Send + 'static> ArtifactSink for Midway<F> {
    async fn store(
        &mut self,
        name: &str,
        mut producer: Box<dyn Produce>,
        estimate: Option<u64>,
    ) -> Result<Artifact, SinkError> {
        if let Some(act) = self.act.take() {
            producer = tokio::task::spawn_blocking(move || {
                producer.read_exact(&mut [0; 100_000])?;
                act()?;
                Ok::<_, SinkError>(producer)
            })
            .await??;
        }
        self.inner.store(name, producer, estimate).await
    }
}

async fn large_cluster() -> Outcome<Cluster> {
    let cluster = Cluster::start(15).await?;
    cluster
        .execute(
            "postgres",
            &["CREATE TABLE t AS SELECT n, repeat(md5(n::text), 30) AS body FROM generate_series(1, 20000) n"],
        )
        .await?;
    Ok(cluster)
}

/// The process that dumps the server at `port`.
fn pg_dump_of(port: u16) -> Outcome<rustix::process::Pid> {
    let wanted = format!("PGPORT={port}");
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let is_dump = std::fs::read(path.join("comm")).is_ok_and(|name| name == b"pg_dump\n");
        let environment = std::fs::read(path.join("environ")).unwrap_or_default();
        if is_dump && environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()) {
            let id = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            return id.and_then(rustix::process::Pid::from_raw).ok_or_else(|| "no process id".into());
        }
    }
    Err("pg_dump is not running".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pg_dump_that_is_killed_fails_the_backup() -> Outcome<()> {
    let cluster = large_cluster().await?;
    let port = cluster.port();
    let kill = move || {
        rustix::process::kill_process(pg_dump_of(port)?, rustix::process::Signal::KILL)?;
        Ok(())
    };
    let mut sink = Midway { inner: MemorySink::default(), act: Some(kill) };
    let error = capture(&cluster.url("postgres"), &mut sink).await.err().ok_or("it passed")?;
    let text = chain(&*error);
    assert!(text.contains("`pg_dump` was killed (signal 9"), "{text}");
    assert!(sink.inner.artifacts.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_fails_the_backup() -> Outcome<()> {
    let mut cluster = large_cluster().await?;
    let url = cluster.url("postgres");
    let kill = move || {
        cluster.kill();
        Ok(())
    };
    let mut sink = Midway { inner: MemorySink::default(), act: Some(kill) };
    let error = capture(&url, &mut sink).await.err().ok_or("it passed")?;
    let text = chain(&*error);
    // pg_dump and the count read from the server at the same time: either may be the first to notice.
    let noticed = ["server closed the connection", "terminat", "error communicating with database"];
    assert!(noticed.iter().any(|said| text.contains(said)), "{text}");
    assert!(sink.inner.artifacts.is_empty());
    Ok(())
}

/// What cannot be counted stops the dump, and is the error that is shown.
#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_fails_stops_pg_dump() -> Outcome<()> {
    let cluster = large_cluster().await?;
    // Reading the view's rows fails; dumping its definition does not.
    cluster.execute("postgres", &["CREATE MATERIALIZED VIEW z AS SELECT 1 AS a"]).await?;
    let path = cluster.text("postgres", "SELECT pg_relation_filepath('z')").await?;
    cluster.execute("postgres", &["CHECKPOINT"]).await?;
    std::fs::write(cluster.data().join(path), vec![0xff; 8192])?;
    let cluster = cluster.start_again().await?;
    let mut sink = MemorySink::default();
    let error = capture(&cluster.url("postgres"), &mut sink).await.err().ok_or("it passed")?;
    let text = chain(&*error);
    assert!(text.contains(r#"failed to count the rows of `"public"."z"`"#), "{text}");
    assert!(sink.artifacts.is_empty());
    assert!(pg_dump_of(cluster.port()).is_err(), "pg_dump is still running");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_dump_is_stopped() -> Outcome<()> {
    let cluster = large_cluster().await?;
    let cancel = CancellationToken::new();
    let interrupt = {
        let cancel = cancel.clone();
        move || {
            cancel.cancel();
            Ok(())
        }
    };
    let mut sink = Midway { inner: MemorySink::default(), act: Some(interrupt) };
    let prepared = capture::prepare(&source(&cluster.url("postgres"))?).await?;
    let captured = capture::capture(prepared, &dump(), &mut sink, &Events::default(), &cancel).await;
    assert!(matches!(captured, Err(LogicalError::Interrupted { .. })), "{captured:?}");
    assert!(sink.inner.artifacts.is_empty());
    assert!(pg_dump_of(cluster.port()).is_err(), "pg_dump is still running");
    Ok(())
}

/// A standby is dumped as of what it has replayed, without what it cannot have.
#[tokio::test]
async fn a_standby_is_dumped() -> Outcome<()> {
    let primary = Cluster::start(15).await?;
    primary.execute("postgres", &["CREATE UNLOGGED TABLE scratch (id serial)"]).await?;
    let standby = primary.standby().await?;
    primary
        .execute("postgres", &["CREATE TABLE t AS SELECT generate_series(1, 5) AS a", "CREATE SEQUENCE s"])
        .await?;
    let before = chrono::DateTime::parse_from_rfc3339(
        &primary
            .text(
                "postgres",
                "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.USZ')",
            )
            .await?,
    )?;
    let position = primary.text("postgres", "SELECT pg_current_wal_lsn()").await?;
    let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{position}'");
    let begun = std::time::Instant::now();
    while standby.text("postgres", &replayed).await? != "true" {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "the standby does not follow: {}",
            standby.log_tail()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // From here on it cannot know how old its data becomes.
    drop(primary);
    let mut sink = MemorySink::default();
    let captured = capture(&standby.url("postgres"), &mut sink).await?;
    assert!(captured.recovery_point <= before, "{} is later than {before}", captured.recovery_point);
    let facts = facts(&sink)?;
    let rows: Vec<_> = facts.tables.iter().map(|table| (table.name.as_str(), table.rows)).collect();
    assert_eq!(rows, [("scratch", None), ("t", Some(5))]);
    let not_included = facts.not_included.join("\n");
    for name in [r#"unlogged "public"."scratch""#, r#"unlogged "public"."scratch_id_seq""#] {
        assert!(not_included.contains(name), "{not_included}");
    }
    assert!(dumped_sql(&standby, &sink)?.contains("COPY public.t (a) FROM stdin;"));
    Ok(())
}

/// Someone else's lock is waited for only as long as the policy says.
#[tokio::test]
async fn a_lock_is_not_waited_for_forever() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    cluster.execute("postgres", &["CREATE TABLE locked (a int)"]).await?;
    let mut holder = cluster.connect("postgres").await?;
    sqlx::raw_sql("BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE").execute(&mut holder).await?;
    let prepared = capture::prepare(&source(&cluster.url("postgres"))?).await?;
    let short = LogicalDump { lock_wait: Duration::from_millis(300), ..dump() };
    let mut sink = MemorySink::default();
    let captured =
        capture::capture(prepared, &short, &mut sink, &Events::default(), &CancellationToken::new()).await;
    let text = chain(&captured.err().ok_or("it passed")?);
    assert!(text.contains(" timeout") && text.contains("locked"), "{text}");
    Ok(())
}

/// With a password by reference, over a socket and over TCP; never on a command line.
#[tokio::test]
async fn a_password_by_reference_is_used() -> Outcome<()> {
    let cluster = Cluster::start_with(ClusterOptions::new(15).scram("s3 cr'et\\%")).await?;
    let secret = tempfile::NamedTempFile::new()?;
    std::fs::write(secret.path(), "s3 cr'et\\%\n")?;
    let socket = format!(
        "postgres:///postgres?user=postgres&host={}&port={}",
        cluster.socket_directory().display(),
        cluster.port()
    );
    for url in [cluster.url("postgres"), socket] {
        let mut source = source(&url)?;
        source.password = Some(PasswordSource::Secret(format!("file:{}", secret.path().display()).parse()?));
        let prepared = capture::prepare(&source).await?;
        let mut sink = MemorySink::default();
        capture::capture(prepared, &dump(), &mut sink, &Events::default(), &CancellationToken::new()).await?;
        assert_eq!(sink.artifacts.len(), 3);
    }
    let mut wrong = source(&cluster.url("postgres"))?;
    std::fs::write(secret.path(), "wrong\n")?;
    wrong.password = Some(PasswordSource::Secret(format!("file:{}", secret.path().display()).parse()?));
    let text = chain(&capture::prepare(&wrong).await.err().ok_or("it was let in")?);
    assert!(text.contains("password authentication failed"), "{text}");
    Ok(())
}

/// What the URL says about TLS holds, and both drctl and pg_dump get through with it.
#[tokio::test]
async fn tls_is_as_strict_as_the_url_says() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let authority = cluster.turn_tls_on().await?;
    let url = |host: &str, settings: &str| {
        format!("postgres://postgres@{host}:{}/postgres?{settings}", cluster.port())
    };
    let verified = format!("sslmode=verify-full&sslrootcert={}", authority.display());
    let mut sink = MemorySink::default();
    capture(&url("localhost", &verified), &mut sink).await?;
    assert_eq!(sink.artifacts.len(), 3);

    // Another name than the certificate's, and an authority that did not sign it.
    let other_name = capture::prepare(&source(&url("127.0.0.1", &verified))?).await.err();
    let text = chain(&other_name.ok_or("another name was accepted")?);
    assert!(text.contains("certificate"), "{text}");
    let unknown = capture::prepare(&source(&url("localhost", "sslmode=verify-full"))?).await.err();
    let text = chain(&unknown.ok_or("an unknown authority was accepted")?);
    assert!(text.contains("certificate"), "{text}");

    // Asked for where there is none.
    let plain = Cluster::start(15).await?;
    let refused =
        capture::prepare(&source(&format!("{}?sslmode=require", plain.url("postgres")))?).await.err();
    let text = chain(&refused.ok_or("a connection without TLS was accepted")?);
    assert!(text.contains("TLS"), "{text}");
    Ok(())
}
