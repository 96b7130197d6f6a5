//! A restored copy does nothing of what production does: no jobs, no slots; and its files are its owner's.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::Duration;

use crate::base::data_directory;
use crate::recovery::TWO;
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::{Ledger, Restored, options};
use crate::support::postgres::owner;

const SWITCH: &str = "SELECT pg_switch_wal()";
const WORKERS: &str = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pg_cron%'";

/// Restarts a restored server with the options that it was started with.
fn restart(archiving: &Archiving, restored: &Restored) -> Outcome<()> {
    let program = archiving.cluster.programs().join("pg_ctl");
    let mut command = match owner()? {
        Some(_) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    let log = restored.to.join("restarted.log");
    let status =
        command.args(["restart", "-s", "-w", "-D"]).arg(&restored.to).arg("-l").arg(&log).status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("no restart: {}", std::fs::read_to_string(log).unwrap_or_default()).into())
}

/// pg_cron runs `@reboot` jobs as soon as its worker begins, so that nothing waits for a minute to end.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_copy_runs_no_job_before_it_is_released() -> Outcome<()> {
    let options = options(15)
        .setting("shared_preload_libraries", "pg_stat_statements,pg_cron,auth_delay")
        .setting("cron.use_background_workers", "on");
    let archiving = Archiving::start(&TWO, "", options).await?;
    archiving.base("")?;
    let cluster = &archiving.cluster;
    Ledger::create(cluster).await?;
    let schedule = "CREATE EXTENSION pg_cron;
        SELECT cron.schedule('begins', '@reboot', $$INSERT INTO ledger (note) VALUES ('job')$$);
        SELECT cron.schedule('minutely', '* * * * *', $$INSERT INTO ledger (note) VALUES ('job')$$);
        CREATE SUBSCRIPTION theirs CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p
          WITH (connect = false, slot_name = 'production');";
    cluster.psql("postgres", schedule).await?;
    archiving.backup(0, &[]).await?;
    cluster
        .execute("postgres", &["UPDATE cron.job SET active = false WHERE jobname = 'minutely'", SWITCH])
        .await?;
    archiving.settle().await?;

    let plan = archiving.unrecovered(0, &["--latest", "--plan"]).await?;
    plan.says("`pg_cron` is not loaded")?.says("`pg_stat_statements` is loaded")?;
    let restored = archiving.recovered("copy", &["--latest"]).await?;
    let notes = restored.report["notes"].to_string();
    for words in ["`pg_cron` is not loaded", "recovery release", "`production`", "slot_name = NONE"] {
        assert!(notes.contains(words), "{words}: {notes}");
    }
    let jobs = "SELECT count(*) FROM ledger WHERE note = 'job'";
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(restored.text(WORKERS).await?, "0");
    assert_eq!(restored.text(jobs).await?, "0");
    let loaded = "SELECT current_setting('shared_preload_libraries')";
    assert_eq!(restored.text(loaded).await?, "pg_stat_statements,auth_delay");
    assert_eq!(restored.text("SELECT count(*) FROM cron.job").await?, "2");
    // ALTER SYSTEM drops the comments around drctl's settings.
    let mut connection = restored.connect().await?;
    sqlx::raw_sql("ALTER SYSTEM SET work_mem = '7MB'").execute(&mut connection).await?;
    drop(connection);

    let to = restored.to.display().to_string();
    let shown = archiving.run_as_server(&["recovery", "release", &to]).await?;
    shown.says("will be inactive")?.says("begins")?;
    assert_eq!(restored.text("SELECT count(*) FROM cron.job WHERE active").await?, "1");
    let released = archiving.run_as_server(&["recovery", "release", &to, "--apply"]).await?;
    assert_eq!(released.code, Some(0), "{released:#?}");
    released.says("shared_preload_libraries")?.says("SET \"active\" = true WHERE \"jobid\" = 1")?;
    assert_eq!(restored.text("SELECT count(*) FROM cron.job WHERE active").await?, "0");
    let auto = std::fs::read_to_string(restored.to.join("postgresql.auto.conf"))?;
    assert!(!auto.contains("preload") && !auto.contains("drctl") && auto.contains("7MB"), "{auto}");
    restart(&archiving, &restored)?;
    let process = std::fs::read_to_string(restored.to.join("postmaster.pid"))?;
    let process: i32 = process.lines().next().unwrap_or_default().parse()?;
    // The one that is ended with it.
    let mut report = restored.report.clone();
    report["details"]["started"]["process"] = process.into();
    let running = Restored::of(restored.leave(), report)?;
    crate::restore::until("pg_cron runs", async || Ok(running.text(WORKERS).await? == "1")).await?;
    assert_eq!(running.text(loaded).await?, "pg_stat_statements,pg_cron,auth_delay");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(running.text(jobs).await?, "0");
    let mut connection = running.connect().await?;
    sqlx::raw_sql("UPDATE cron.job SET active = true WHERE jobid = 1").execute(&mut connection).await?;
    drop(connection);
    restart(&archiving, &running)?;
    let process = std::fs::read_to_string(running.to.join("postmaster.pid"))?;
    let process: i32 = process.lines().next().unwrap_or_default().parse()?;
    let mut report = running.report.clone();
    report["details"]["started"]["process"] = process.into();
    let running = Restored::of(running.leave(), report)?;
    crate::restore::until("the job has run", async || Ok(running.text(jobs).await? == "1")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_root_restores_for_another_user_starts_with_its_tablespaces() -> Outcome<()> {
    let Some((user, _)) = owner()? else { return Ok(()) };
    let archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.base(&data_directory(&archiving))?;
    let cluster = &archiving.cluster;
    let place = cluster.socket_directory().join("fast");
    std::fs::create_dir(&place)?;
    cluster.hand_over()?;
    let create = format!("CREATE TABLESPACE fast LOCATION '{}'", place.display());
    let table = "CREATE TABLE there TABLESPACE fast AS SELECT g FROM generate_series(1, 2000) g";
    cluster.execute("postgres", &[&create, table]).await?;
    archiving.backup(0, &[]).await?;
    cluster.execute("postgres", &[SWITCH]).await?;
    archiving.settle().await?;

    let (to, key) =
        (archiving.system.path().join("given"), archiving.system.operational.display().to_string());
    let shown = to.display().to_string();
    let restore = ["restore", "database", "--latest", "--start", "--owner", "postgres", "--output", "json"];
    let mut command = Command::new(&archiving.drctl);
    command.args(restore).args(["--to", &shown, "--identity", &key]);
    let output = tokio::process::Command::from(command).output().await?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(0), "{said}");
    let stdout = String::from_utf8(output.stdout)?;
    let restored = Restored::of(to, serde_json::from_str(stdout.lines().last().unwrap_or_default())?)?;
    assert_eq!(restored.text("SELECT count(*) FROM there").await?, "2000");
    let beside = archiving.system.path().join("given-tablespaces").metadata()?;
    assert_eq!((beside.uid(), beside.mode() & 0o777), (user, 0o700));
    Ok(())
}

/// From PostgreSQL 17 on a trigger may run whenever somebody logs in. Its indexes were sorted by another version of a
/// library than this host has.
#[tokio::test(flavor = "multi_thread")]
async fn checks_of_a_restored_copy_run_no_trigger_and_see_what_is_sorted_otherwise() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(17)).await?;
    archiving.base("")?;
    archiving.system.append(
        "[drill]\nsource = \"database\"\n[[drill.checks]]\nname = \"rows\"\nsql = \"SELECT count(*) FROM ledger\"\nat_least = 1",
    )?;
    let cluster = &archiving.cluster;
    Ledger::create(cluster).await?;
    let trigger = "CREATE TABLE logins (at timestamptz DEFAULT clock_timestamp(), by text);
        CREATE FUNCTION note_login() RETURNS event_trigger LANGUAGE plpgsql AS $$
          BEGIN INSERT INTO public.logins (by) VALUES (current_setting('application_name')); END $$;
        CREATE EVENT TRIGGER note_login ON login EXECUTE FUNCTION note_login();
        ALTER EVENT TRIGGER note_login ENABLE ALWAYS;";
    cluster.psql("postgres", trigger).await?;
    let sorted = "CREATE COLLATION other (provider = icu, locale = 'de');
        CREATE TABLE sorted (t text COLLATE other PRIMARY KEY);
        SET allow_system_table_mods = on;
        UPDATE pg_collation SET collversion = '0' WHERE collname = 'other';";
    cluster.execute("postgres", &["CREATE DATABASE other_side"]).await?;
    cluster.psql("other_side", sorted).await?;
    archiving.backup(0, &[]).await?;
    archiving.settle().await?;
    let run = archiving.recover("copy", &["--latest", "--start", "--output", "json"]).await?;
    assert_eq!(run.code, Some(22), "{run:#?}");
    let restored = Restored::of(archiving.system.path().join("copy"), run.document()?)?;
    run.says("sorted with version 0 of a collation")?
        .says(r#"REINDEX DATABASE "other_side"; ALTER COLLATION public.other REFRESH VERSION"#)?;
    assert!(restored.report["checks"].to_string().contains("rows"), "{:#}", restored.report);
    let since = "SELECT count(*) FROM logins WHERE at > pg_postmaster_start_time() AND by";
    assert_eq!(restored.text(&format!("{since} LIKE 'drctl%'")).await?, "0");
    // Those of the application run again.
    assert_ne!(restored.text(&format!("{since} NOT LIKE 'drctl%'")).await?, "0");
    let auto = std::fs::read_to_string(restored.to.join("postgresql.auto.conf"))?;
    assert!(!auto.contains("event_triggers"), "{auto}");
    Ok(())
}
