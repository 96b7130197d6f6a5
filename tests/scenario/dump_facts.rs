//! What is recorded with a dump, and how a restore judges by it: sequences that move meanwhile, tables beyond the
//! server's room for locks, event triggers that write, names in other encodings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::Outcome;
use crate::support::postgres::{Cluster, ClusterOptions};
use crate::support::system::{Place, Run, System};

async fn origin(cluster: &Cluster, create: &str, script: &str) -> Outcome<System> {
    cluster.execute("postgres", &[create]).await?;
    cluster.psql("origin", script).await?;
    System::new(&cluster.url("origin"), &[Place::Directory])
}

const CREATE: &str = "CREATE DATABASE origin";

async fn restore(system: &System, code: i32, arguments: &[&str]) -> Outcome<Run> {
    let key = system.operational.display().to_string();
    let first = ["restore", "database", "--identity", &key];
    system.expect(code, &[&first[..], arguments].concat()).await
}

/// The report of a restore that was to print JSON.
fn report(run: &Run) -> Outcome<serde_json::Value> {
    Ok(serde_json::from_str(run.stdout.lines().last().unwrap_or_default())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn sequences_that_are_set_back_while_they_are_dumped_do_not_spoil_the_dump() -> Outcome<()> {
    let cluster = Arc::new(Cluster::start(15).await?);
    let script = "CREATE SEQUENCE cycling MAXVALUE 50 CYCLE;
        CREATE SEQUENCE falling INCREMENT -1 MINVALUE -50 CYCLE;
        CREATE SEQUENCE restarted; CREATE SEQUENCE cached CACHE 20; CREATE SEQUENCE still;
        CREATE TABLE counted (id int GENERATED ALWAYS AS IDENTITY, a int);
        SELECT setval('still', 7);
        SELECT nextval(s) FROM unnest('{cycling,falling,restarted,cached}'::regclass[]) s, generate_series(1, 49);
        INSERT INTO counted (a) SELECT generate_series(1, 49);";
    let system = origin(&cluster, CREATE, script).await?;
    let over = Arc::<AtomicBool>::default();
    let busy = tokio::spawn({
        let (cluster, over) = (Arc::clone(&cluster), Arc::clone(&over));
        async move {
            while !over.load(Ordering::SeqCst) {
                let statements = [
                    "SELECT nextval(s) FROM unnest('{cycling,falling,cached}'::regclass[]) s, generate_series(1, 7)",
                    "ALTER SEQUENCE restarted RESTART",
                    "ALTER SEQUENCE counted_id_seq RESTART",
                    "INSERT INTO counted (a) SELECT generate_series(1, 3)",
                    "SELECT nextval('restarted') FROM generate_series(1, 11)",
                ];
                cluster.execute("origin", &statements).await?;
            }
            Outcome::Ok(())
        }
    });
    for _ in 0..3 {
        system.expect(0, &["backup"]).await?;
    }
    over.store(true, Ordering::SeqCst);
    busy.await??;
    for (n, id) in system.backups_in("primary").iter().enumerate() {
        let run =
            restore(&system, 0, &["--backup", id, "--to", &format!("new{n}"), "--output", "json"]).await?;
        let report = report(&run)?;
        assert!(report["details"]["compared"]["sequences"].as_u64() >= Some(1), "{report}");
    }
    assert_eq!(cluster.text("new0", "SELECT last_value FROM still").await?, "7");
    Ok(())
}

/// Counting a table locks each of its indexes too, and pg_dump does not.
#[tokio::test]
async fn more_tables_and_indexes_than_there_is_room_for_locks_are_counted() -> Outcome<()> {
    let options = ClusterOptions::new(15)
        .setting("max_locks_per_transaction", "20")
        .setting("max_connections", "20")
        .setting("max_wal_senders", "0")
        .setting("max_worker_processes", "2");
    let cluster = Cluster::start_with(options).await?;
    let script = "SELECT format('CREATE TABLE t%s (a int PRIMARY KEY, b int UNIQUE, c int UNIQUE, d int UNIQUE, e int UNIQUE)', n)
        FROM generate_series(1, 200) n \\gexec\nINSERT INTO t7 (a) VALUES (1), (2); CREATE TABLE last (a serial);";
    let system = origin(&cluster, CREATE, script).await?;
    system.expect(0, &["backup"]).await?;
    let run = restore(&system, 0, &["--to", "new", "--jobs", "1", "--output", "json"]).await?;
    let report = report(&run)?;
    assert_eq!(report["details"]["compared"]["counted"], 201, "{report}");
    assert_eq!(report["details"]["compared"]["rows"], 2, "{report}");
    Ok(())
}

/// Counting needs the indexes as well, which pg_dump does not.
#[tokio::test]
async fn a_count_that_gets_no_lock_does_not_cost_the_dump() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let script =
        "CREATE TABLE a AS SELECT 1 AS id; CREATE INDEX a_id ON a (id); CREATE TABLE b AS SELECT 2 AS id;";
    let system = origin(&cluster, CREATE, script).await?;
    system.append("[sources.database.logical]\nlock_wait = \"1s\"")?;
    let mut rebuilding = cluster.connect("origin").await?;
    sqlx::raw_sql("BEGIN; REINDEX INDEX a_id").execute(&mut rebuilding).await?;
    let run = system.expect(0, &["backup"]).await?;
    assert!(run.stderr.contains(r#"rows of "public"."a" were not counted"#), "{run:?}");
    sqlx::raw_sql("COMMIT").execute(&mut rebuilding).await?;
    let run = restore(&system, 0, &["--to", "new", "--output", "json"]).await?;
    let report = report(&run)?;
    assert_eq!(
        (&report["details"]["compared"]["tables"], &report["details"]["compared"]["counted"]),
        (&2.into(), &1.into()),
        "{report}"
    );
    assert_eq!(cluster.text("new", "SELECT count(*) FROM a").await?, "1");
    Ok(())
}

/// Checking a row writes another one, so that loading writes more than was dumped.
#[tokio::test]
async fn rows_that_are_written_during_a_restore_are_a_note() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let script = "CREATE TABLE log (a int);
        CREATE FUNCTION noted(a int) RETURNS bool LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO public.log VALUES (a); RETURN true; END $$;
        CREATE TABLE t (a int CHECK (noted(a)));
        INSERT INTO t VALUES (1), (2), (3);";
    let system = origin(&cluster, CREATE, script).await?;
    system.expect(0, &["backup"]).await?;
    let run = restore(&system, 0, &["--to", "new", "--jobs", "1", "--output", "json"]).await?;
    let report = report(&run)?;
    let notes = report["notes"].to_string();
    assert!(notes.contains("table public.log has 6 rows, 3 were dumped"), "{report}");
    Ok(())
}

const AUDIT: &str = "CREATE TABLE audit (at timestamptz DEFAULT now(), what text);
    CREATE FUNCTION note_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS
        $$ BEGIN INSERT INTO public.audit (what) VALUES (tg_tag); END $$;
    CREATE EVENT TRIGGER note_ddl ON ddl_command_end EXECUTE FUNCTION note_ddl();
    CREATE TABLE t AS SELECT generate_series(1, 5) AS a;
    CREATE MATERIALIZED VIEW v AS SELECT * FROM t;";

/// The example of PostgreSQL's own documentation, which notes who logs in.
#[tokio::test]
async fn event_triggers_of_what_is_restored_are_off_where_the_server_can() -> Outcome<()> {
    let cluster = Cluster::start(17).await?;
    let login = "CREATE TABLE user_login_log (id serial, who text);
        CREATE FUNCTION init_session() RETURNS event_trigger SECURITY DEFINER LANGUAGE plpgsql AS $$ BEGIN
            IF current_database() LIKE 'drctl%' THEN RAISE EXCEPTION 'Login forbidden'; END IF;
            INSERT INTO public.user_login_log (who) VALUES (session_user); END $$;
        CREATE EVENT TRIGGER init_session ON login EXECUTE FUNCTION init_session();
        ALTER EVENT TRIGGER init_session ENABLE ALWAYS;";
    let system = origin(&cluster, CREATE, &format!("{AUDIT}{login}")).await?;
    system.append(&format!("tools = \"{}\"", cluster.programs().display()))?;
    system.expect(0, &["backup"]).await?;
    for jobs in ["1", "2"] {
        let name = format!("new{jobs}");
        let run = restore(&system, 0, &["--to", &name, "--jobs", jobs, "--output", "json"]).await?;
        let report = report(&run)?;
        assert!(!report["notes"].to_string().contains("audit"), "{report}");
        assert!(!report["notes"].to_string().contains("login"), "{report}");
        assert_eq!(report["details"]["compared"]["counted"], 4, "{report}");
    }
    Ok(())
}

#[tokio::test]
async fn names_with_umlauts_are_chosen_and_compared_whatever_the_encoding() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let create = "CREATE DATABASE origin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'";
    let script = r#"SET client_encoding = 'UTF8'; CREATE SCHEMA "Bücher";
        CREATE TABLE "Käufe" ("Größe" serial PRIMARY KEY, a text);
        INSERT INTO "Käufe" (a) VALUES ('ä'), ('ö'), ('ü');
        CREATE TABLE "Bücher"."Über" AS SELECT 1 AS a;"#;
    let mut system = origin(&cluster, create, script).await?;
    // Neither it nor the role's own has a say in what is dumped.
    system.set("PGCLIENTENCODING", "LATIN1");
    cluster.execute("postgres", &["ALTER ROLE postgres SET client_encoding = 'WIN1252'"]).await?;
    system.expect(0, &["backup"]).await?;
    for (to, arguments, rows) in [
        ("one", &["--table", r#"public."Käufe""#][..], 3),
        ("two", &["--schema", "Bücher"][..], 1),
        ("all", &[][..], 4),
    ] {
        let run = restore(&system, 0, &[&["--to", to, "--output", "json"][..], arguments].concat()).await?;
        let report = report(&run)?;
        assert_eq!(report["details"]["compared"]["rows"], rows, "{report}");
        assert!(!report["notes"].to_string().contains("not compared"), "{report}");
    }
    assert_eq!(
        cluster.text("one", r#"SELECT string_agg(a, '' ORDER BY "Größe") FROM "Käufe""#).await?,
        "äöü"
    );
    assert_eq!(cluster.text("one", r#"SELECT last_value FROM "Käufe_Größe_seq""#).await?, "3");
    Ok(())
}

/// Bytes that are no text in any other encoding are dumped and restored as they are.
#[tokio::test]
async fn a_database_without_an_encoding_keeps_its_bytes() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let create = "CREATE DATABASE origin TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'";
    let script = "SET client_encoding = 'SQL_ASCII'; CREATE TABLE \"Käufe\" (a text); INSERT INTO \"Käufe\" VALUES (E'\\xe4\\xff');";
    let system = origin(&cluster, create, script).await?;
    system.expect(0, &["backup"]).await?;
    restore(&system, 0, &["--to", "new", "--table", r#"public."Käufe""#]).await?;
    let query = r#"SELECT encode(convert_to(a, 'SQL_ASCII'), 'hex') FROM "Käufe""#;
    assert_eq!(cluster.text("new", query).await?, "e4ff");
    Ok(())
}
