use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::error::ask;
use super::{DATABASE, DETAILS, GLOBALS, LogicalError, Prepared};
use crate::event::{Event, Events, Phase};
use crate::model::{Artifact, DatabaseFacts, Details};
use crate::pipeline::FromMemory;
use crate::platform::{CancellationToken, Piped, ProcessError};
use crate::policy::{LogicalDump, RowCounts};
use crate::postgres::{close, count_rows, read_facts};
use crate::source::dump::{Dump, STDERR_LINES, check_globals, judge};
use crate::source::{ArtifactSink, Captured, by_hand};

const GLOBALS_WITHIN: Duration = Duration::from_secs(600);
/// A server that fell silent is noticed after two minutes, rather than after libpq's two hours.
const KEEPALIVES: &str = "keepalives_idle=60 keepalives_interval=15 keepalives_count=4";

/// Dumps the database into `sink`.
pub async fn capture(
    prepared: Prepared,
    dump: &LogicalDump,
    sink: &mut dyn ArtifactSink,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Captured, LogicalError> {
    let database = prepared.parameters.database.clone();
    // Whatever ends this ends the children too.
    let stop = cancel.child_token();
    let _stop_on_return = stop.clone().drop_guard();
    let outcome = run(prepared, dump, sink, events, &stop).await;
    // What a cancelled run trips over on its way out is not what went wrong.
    if cancel.is_cancelled() { Err(LogicalError::Interrupted { database }) } else { outcome }
}

async fn run(
    mut prepared: Prepared,
    dump: &LogicalDump,
    sink: &mut dyn ArtifactSink,
    events: &Events,
    stop: &CancellationToken,
) -> Result<Captured, LogicalError> {
    let database = prepared.parameters.database.clone();
    let timed = Timed::begin(Phase::Inspect, events);
    let inspected = stop.run_until_cancelled(inspect(&mut prepared, dump.lock_wait)).await;
    let Inspected { recovery_point, snapshot, mut facts, estimate } =
        inspected.unwrap_or_else(|| Err(LogicalError::Interrupted { database: database.clone() }))?;
    timed.end();

    let described = |source| LogicalError::Facts { database: database.clone(), source };
    let started = |source| LogicalError::Start { database: database.clone(), source };
    let child = start_dump(&prepared, dump, &snapshot, stop).map_err(started)?;
    // Taken while pg_dump sets out, so that the roles are those of its snapshot as nearly as can be.
    let globals = if dump.globals { Some(read_globals(&prepared, events, stop).await?) } else { None };

    let timed = Timed::begin(Phase::Dump, events);
    let stored = Box::new(Dump::new(child, events.clone()));
    let connection = &mut prepared.connection;
    let counting = async {
        match dump.row_counts {
            RowCounts::Exact => count_rows(connection, &mut facts.tables).await,
            RowCounts::None => Ok(()),
        }
    };
    let over = CancellationToken::new();
    let storing = async {
        let stored = sink.store(DATABASE, stored, Some(estimate)).await;
        if stored.is_err() {
            over.cancel();
        }
        stored
    };
    let counting = async {
        let counted = tokio::select! {
            counted = counting => counted.map(|()| true),
            () = over.cancelled() => Ok(false),
            () = stop.cancelled() => Ok(false),
        };
        if counted.is_err() {
            stop.cancel();
        }
        counted
    };
    let (stored, counted) = tokio::join!(storing, counting);
    // A count that failed stopped pg_dump, so it is the cause of both.
    let counted = counted.map_err(described)?;
    let kept = |source| LogicalError::Store { database: database.clone(), source };
    let stored = stored.map_err(kept)?;
    if !counted {
        return Err(LogicalError::Interrupted { database });
    }
    timed.end();
    // The snapshot was needed up to here.
    close(prepared.connection).await;

    let mut artifacts = vec![stored];
    if let Some(sql) = globals {
        let producer = Box::new(FromMemory::new(sql.into_bytes()));
        artifacts.push(sink.store(GLOBALS, producer, None).await.map_err(kept)?);
    }
    let by_hand = by_hand::commands(&artifacts[0], artifacts.get(1), &facts);
    let not_included = facts.not_included.clone();
    let timed = Timed::begin(Phase::Details, events);
    artifacts.push(store_details(facts, sink, &database).await?);
    timed.end();
    Ok(Captured {
        recovery_point,
        server: Some(prepared.server),
        producer: prepared.tools.version,
        artifacts,
        by_hand,
        not_included,
    })
}

/// What is known before the dump begins.
struct Inspected {
    recovery_point: DateTime<Utc>,
    snapshot: String,
    facts: DatabaseFacts,
    /// Bytes.
    estimate: u64,
}

async fn inspect(prepared: &mut Prepared, lock_wait: Duration) -> Result<Inspected, LogicalError> {
    let database = prepared.parameters.database.clone();
    let (recovery_point, snapshot) = export_snapshot(prepared, lock_wait).await?;
    let read = read_facts(&mut prepared.connection).await;
    let mut facts = read.map_err(|source| LogicalError::Facts { database: database.clone(), source })?;
    facts.snapshot_time = recovery_point;
    let estimate = ask(&database, expected_bytes(&mut prepared.connection)).await?;
    Ok(Inspected { recovery_point, snapshot, facts, estimate })
}

/// Begins the transaction whose snapshot is dumped. The time is one before which every commit is in the
/// snapshot.
async fn export_snapshot(
    prepared: &mut Prepared,
    lock_wait: Duration,
) -> Result<(DateTime<Utc>, String), LogicalError> {
    let connection = &mut prepared.connection;
    let asked = async {
        let time: i64 = sqlx::query_scalar(RECOVERY_POINT).fetch_one(&mut *connection).await?;
        sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *connection).await?;
        // What pg_dump waits for, counting waits for as well.
        sqlx::query("SELECT set_config('lock_timeout', $1, true)")
            .bind(milliseconds(lock_wait).to_string())
            .execute(&mut *connection)
            .await?;
        let snapshot: String =
            sqlx::query_scalar("SELECT pg_export_snapshot()").fetch_one(&mut *connection).await?;
        Ok((DateTime::from_timestamp_micros(time).unwrap_or_default(), snapshot))
    };
    ask(&prepared.parameters.database, asked).await
}

// A standby has what it has replayed. It is up to date as of the primary's last message only while it
// streams and has replayed all of it; otherwise as of the last commit it has seen.
const RECOVERY_POINT: &str = "SELECT (extract(epoch FROM CASE
    WHEN NOT pg_is_in_recovery() THEN clock_timestamp()
    ELSE coalesce(
         (SELECT w.last_msg_send_time FROM pg_stat_wal_receiver w
           WHERE w.status = 'streaming' AND w.latest_end_lsn <= pg_last_wal_replay_lsn()),
         pg_last_xact_replay_timestamp(), clock_timestamp()) END) * 1000000)::int8";

/// How large the dump may become: what the database takes without its indexes, as far as its statistics know
/// them. Asking each table for its size would wait for those that are locked.
async fn expected_bytes(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let bytes: i64 = sqlx::query_scalar(
        "SELECT greatest(pg_database_size(current_database())
                         - coalesce(sum(relpages::int8), 0) * current_setting('block_size')::int8, 0)::int8
           FROM pg_class WHERE relkind = 'i'",
    )
    .fetch_one(connection)
    .await?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}

fn start_dump(
    prepared: &Prepared,
    dump: &LogicalDump,
    snapshot: &str,
    stop: &CancellationToken,
) -> Result<Piped, ProcessError> {
    let mut program = prepared
        .tools
        .pg_dump()
        .args(["--format=custom", "--compress=0", "--no-password"])
        .arg(format!("--snapshot={snapshot}"))
        .arg(format!("--lock-wait-timeout={}", milliseconds(dump.lock_wait)));
    if prepared.is_standby {
        // It has none, and asking for it is an error.
        program = program.arg("--no-unlogged-table-data");
    }
    let program = program.arg(format!("--dbname={KEEPALIVES}")).keep_stderr(STDERR_LINES);
    prepared.parameters.apply(program).pipe(stop)
}

/// A time limit as PostgreSQL takes it, where 0 would be none.
fn milliseconds(limit: Duration) -> i32 {
    i32::try_from(limit.as_millis()).unwrap_or(i32::MAX).max(1)
}

async fn read_globals(
    prepared: &Prepared,
    events: &Events,
    stop: &CancellationToken,
) -> Result<String, LogicalError> {
    let database = &prepared.parameters.database;
    let failed = |source| LogicalError::Globals { database: database.clone(), source };
    let timed = Timed::begin(Phase::Globals, events);
    let program = prepared.tools.program("pg_dumpall").map_err(|source| LogicalError::Tools {
        database: database.clone(),
        version: prepared.server.version.clone(),
        source,
    })?;
    let mut program = program.args(["--globals-only", "--no-password"]);
    if !prepared.reads_passwords {
        program = program.arg("--no-role-passwords");
        events.notice("the role may not read password hashes: after a restore of roles their passwords have to be set again");
    }
    // Any database will do, but this one is known to let the role in.
    let program = program
        .arg(format!("--database=dbname='{}'", database.replace('\\', r"\\").replace('\'', r"\'")))
        .keep_stderr(STDERR_LINES);
    let program = prepared.parameters.apply(program).env("PGCLIENTENCODING", "UTF8");
    let finished = program.run(GLOBALS_WITHIN, stop).await.map_err(|source| failed(source.into()))?;
    judge("pg_dumpall", &finished.stderr, events).map_err(failed)?;
    check_globals(&finished.stdout).map_err(failed)?;
    timed.end();
    Ok(finished.stdout)
}

async fn store_details(
    facts: DatabaseFacts,
    sink: &mut dyn ArtifactSink,
    database: &str,
) -> Result<Artifact, LogicalError> {
    let details = Details { database: Some(facts) };
    let json = serde_json::to_vec_pretty(&details)
        .map_err(|source| LogicalError::Details { database: database.to_owned(), source })?;
    sink.store(DETAILS, Box::new(FromMemory::new(json)), None)
        .await
        .map_err(|source| LogicalError::Store { database: database.to_owned(), source })
}

/// A phase that is announced and timed.
struct Timed<'a> {
    phase: Phase,
    begun: Instant,
    events: &'a Events,
}

impl<'a> Timed<'a> {
    fn begin(phase: Phase, events: &'a Events) -> Self {
        events.emit(&Event::PhaseBegan { phase });
        Self { phase, begun: Instant::now(), events }
    }

    fn end(self) {
        let seconds = self.begun.elapsed().as_secs_f64();
        self.events.emit(&Event::PhaseEnded { phase: self.phase, seconds });
    }
}
