use std::time::Duration;

use super::database;
use super::database::DemoTable;
use super::files::sessions_in;
use super::sandbox::DemoSandbox;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::text::count;

/// The application's database.
const DATABASE: &str = "shop";
/// The name that `drctl init` gives the source.
const SOURCE: &str = "database";
/// The name that a restore of the whole application gives the database.
const RESTORED: &str = "shop_restored";
const ARCHIVED_WITHIN: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(100);

pub(super) async fn tell(stage: &mut DemoSandbox) -> Result<(), CommandError> {
    let dumped = application(stage).await?;
    policy(stage).await?;

    stage.heading("3. Can this host do what the policy asks?");
    // It rightly warns: two directories on one disk are no disaster recovery.
    stage.drctl_ending(&["doctor"], &[Exit::Done, Exit::Partly]).await?;

    stage.heading("4. The database, the files and the sessions, to both regions at once");
    stage.drctl(&["backup"]).await?;
    stage.drctl(&["list", "--points"]).await?;

    let (before, moment) = disaster(stage).await?;

    stage.heading("6. What can be recovered?");
    stage.drctl(&["status"]).await?;

    recover(stage, &before, &moment).await?;

    stage.heading("8. The region is lost, with the application's files and the operational key");
    let files = stage.files();
    let original = files.contents()?;
    let sessions = sessions_in(&files.sessions())?;
    let (primary, key, root) = (stage.primary(), stage.operational(), files.root());
    stage.show(&format!("rm -r {} {} {}", primary.display(), key.display(), root.display()));
    stage.lose_region()?;
    files.lose()?;
    stage.say("Remaining: the copy in us-west-2, and the key in the safe. One command restores the whole application:");
    let (escrow, restored) = (stage.escrow(), stage.restored());
    let (escrow, to) = (escrow.to_string_lossy(), restored.to_string_lossy());
    stage.drctl(&["restore", "--all", "--to", &to, "--identity", &escrow]).await?;
    compare(stage, &stage.server.url(RESTORED), RESTORED, &dumped, "when it was dumped").await?;
    if files.restored_contents(&restored.join("files"))? != original {
        return Err(CommandError::failed("the restored files are not what they were"));
    }
    let found = sessions_in(&restored.join("sessions"))?;
    if found != sessions {
        return Err(CommandError::failed(format!("{found} sessions were restored instead of {sessions}")));
    }
    stage.say(format!(
        "Every one of {} is what it was, secrets among them, and so are {}.",
        count(original.len() as u64, "file"),
        count(sessions, "session")
    ));
    drill(stage, &escrow).await
}

/// The same once more, as cron does it every month.
async fn drill(stage: &DemoSandbox, escrow: &str) -> Result<(), CommandError> {
    stage.heading(
        "9. The drill of every month: the whole application once more, in a sandbox without a network",
    );
    let (directory, page) = (stage.folder().join("drills"), stage.folder().join("drill.html"));
    let (directory, page) = (directory.to_string_lossy(), page.to_string_lossy());
    let run = ["drill", "run", "--scenario", "application", "--identity", escrow, "--directory", &directory];
    // A container may not let anyone make a network namespace, and a drill without one is none.
    // The primary, which is lost, does not get its record.
    let exit = stage.drctl_ending(&run, &[Exit::Done, Exit::Partly, Exit::Undetermined]).await?;
    // The primary is lost for the report, too.
    let report = ["drill", "report", "--to", &page];
    stage.drctl_ending(&report, &[Exit::Done, Exit::Partly]).await?;
    match exit {
        Exit::Done | Exit::Partly => {
            stage.say(format!("Everyone who asks whether backups work gets that page: {page}"))
        }
        _ => stage.say("This host cannot isolate a sandbox, so the drill proves nothing, and says so."),
    }
    Ok(())
}

async fn application(stage: &DemoSandbox) -> Result<Vec<DemoTable>, CommandError> {
    stage.heading("1. An application: a database, uploads, secrets and sessions");
    let mut server = database::connect(&stage.server.url("postgres")).await?;
    database::run(&mut server, &format!("CREATE DATABASE {DATABASE}")).await?;
    let mut shop = database::connect(&stage.server.url(DATABASE)).await?;
    database::fill(&mut shop).await?;
    let tables = database::tables(&mut shop).await?;
    stage.say(format!(
        "A PostgreSQL {} of its own, with a database `{DATABASE}`: {}.",
        stage.server.major(),
        rows(&tables)
    ));
    let files = stage.files();
    files.create()?;
    stage.say("Beside it: 200 uploads, a `.env` with secrets, and sessions in SQLite.");
    stage.say(format!("Everything is in {}.", stage.folder().display()));
    Ok(tables)
}

async fn policy(stage: &DemoSandbox) -> Result<(), CommandError> {
    stage.heading("2. A policy, and two keys");
    stage.say("Two directories stand for two regions. The second key is for the safe.");
    stage.make_places()?;
    let url = stage.server.url(DATABASE);
    let [primary, copy, operational, escrow] =
        [stage.primary(), stage.copy(), stage.operational(), stage.escrow()]
            .map(|path| path.to_string_lossy().into_owned());
    let arguments = [
        "init",
        "--system",
        "shop",
        "--database",
        &url,
        "--primary",
        &primary,
        "--copy",
        &copy,
        "--copy-name",
        "us-west-2",
        "--operational",
        &operational,
        "--escrow",
        &escrow,
        "--point-in-time",
    ];
    stage.drctl(&arguments).await?;
    stage.complete_policy()?;
    stage.say("The server archives each WAL segment when it is full; here, at least every second:");
    stage.drctl_ending(&["wal", "configure", "--apply"], &[Exit::Done, Exit::Partly]).await?;
    let mut server = database::connect(&stage.server.url("postgres")).await?;
    let statement = "ALTER SYSTEM SET archive_timeout = '1s'";
    stage.show(&format!("psql -c \"{statement}\""));
    database::run(&mut server, statement).await?;
    database::run(&mut server, "SELECT pg_reload_conf()").await
}

/// Returns the tables before the disaster, and its time.
async fn disaster(stage: &DemoSandbox) -> Result<(Vec<DemoTable>, String), CommandError> {
    stage.heading("5. The application keeps writing, and someone runs a statement in the wrong window");
    let mut shop = database::connect(&stage.server.url(DATABASE)).await?;
    database::run(&mut shop, ONE_MORE_DAY).await?;
    let before = database::tables(&mut shop).await?;
    stage.say(format!("Added since the backup: {}.", rows(&before)));
    let moment = database::text(
        &mut shop,
        "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
    )
    .await?;
    let statement = "DELETE FROM payments";
    stage.say(format!("At {moment}:"));
    stage.show(&format!("psql {DATABASE} -c '{statement}'"));
    database::run(&mut shop, statement).await?;
    archived(&mut shop).await?;
    Ok((before, moment))
}

const ONE_MORE_DAY: &str = "
    WITH placed AS (
        INSERT INTO orders (customer, placed, status, cents, lines)
        SELECT 1 + n % 5000, now(), 'paid', 100 + n, '[]' FROM generate_series(1, 500) AS n RETURNING id, cents)
    INSERT INTO payments (\"order\", paid, cents, reference)
    SELECT id, now(), cents, 'demo-' || id FROM placed";

/// Waits until the server has archived everything written so far.
async fn archived(connection: &mut sqlx::PgConnection) -> Result<(), CommandError> {
    let written = database::text(connection, "SELECT pg_walfile_name(pg_current_wal_lsn())").await?;
    let deadline = tokio::time::Instant::now() + ARCHIVED_WITHIN;
    loop {
        let last =
            database::text(connection, "SELECT coalesce(max(last_archived_wal), '') FROM pg_stat_archiver")
                .await?;
        if last.as_str() >= written.as_str() {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            return Err(CommandError::failed(format!("the server has not archived {written} in a minute")));
        }
        tokio::time::sleep(STEP).await;
    }
}

/// Recovers to the second before, next to the server that keeps running.
async fn recover(stage: &mut DemoSandbox, before: &[DemoTable], moment: &str) -> Result<(), CommandError> {
    stage.heading("7. Point-in-time recovery to the second before, on a separate server");
    let (data, identity) = (stage.recovered(), stage.operational());
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(CommandError::failed)?
        .port();
    stage.note_recovered(data.clone());
    let (to, identity, number) = (data.to_string_lossy(), identity.to_string_lossy(), port.to_string());
    stage
        .drctl(&[
            "restore",
            SOURCE,
            "--point-in-time",
            moment,
            "--to",
            &to,
            "--start",
            "--port",
            &number,
            "--identity",
            &identity,
        ])
        .await?;
    let url = format!("postgres:///{DATABASE}?host={to}&port={port}&user=postgres");
    compare(stage, &url, "the recovered server", before, "just before").await
}

/// Compares the databases by querying them, not drctl.
async fn compare(
    stage: &DemoSandbox,
    url: &str,
    name: &str,
    original: &[DemoTable],
    when: &str,
) -> Result<(), CommandError> {
    let mut restored = database::connect(url).await?;
    let tables = database::tables(&mut restored).await?;
    if tables != original {
        return Err(CommandError::failed(format!(
            "{name} is not what `{DATABASE}` was: {} instead of {}",
            rows(&tables),
            rows(original)
        )));
    }
    stage.say(format!("Every row of {name} is what it was {when}: {}.", rows(&tables)));
    Ok(())
}

fn rows(tables: &[DemoTable]) -> String {
    let list: Vec<String> = tables
        .iter()
        .map(|table| format!("{} ({})", table.name, count(table.rows.unsigned_abs(), "row")))
        .collect();
    list.join(", ")
}
