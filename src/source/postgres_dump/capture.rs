//! A dump of one database by `pg_dump`, with the facts of its contents, from one snapshot.
//!
//! drctl opens a transaction, exports its snapshot, and has `pg_dump` read that snapshot while it counts rows
//! in it. So the counts are those of the dump, whatever is written meanwhile.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use thiserror::Error;

use super::manual_restore;
use super::privileges::{Unreadable, unreadable};
use super::program::{Dump, DumpError, STDERR_LINES, check_globals, judge};
use crate::event::{Events, Phase, PhaseTimer};
use crate::model::{DatabaseFacts, Details, SequenceState, ServerFacts};
use crate::pipeline::MemoryProducer;
use crate::platform::{CancellationToken, Piped, ProcessError};
use crate::policy::{LogicalDump, PostgresSource, RowCounts};
use crate::postgres::{
    ConnectError, ConnectionParameters, FactsError, SumRequest, Tools, ToolsError, close, count_rows,
    read_facts, read_sequences_again, server_major, sum_contents,
};
use crate::source::capture::{ArtifactSink, Captured, SinkError};
use crate::source::libpq::KEEPALIVES;
use crate::text::{error_chain, format_duration};

/// Names of the artifacts, without the suffixes of their encoding.
pub const DATABASE: &str = "database.dump";
pub const GLOBALS: &str = "globals.sql";
pub use crate::source::capture::DETAILS;

const GLOBALS_WITHIN: Duration = Duration::from_secs(600);
const QUESTION_WITHIN: Duration = Duration::from_secs(600);

/// Why a database could not be dumped.
#[derive(Debug, Error)]
pub enum LogicalError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("failed to find a pg_dump for `{database}`, whose server is PostgreSQL {version}")]
    Tools { database: String, version: String, source: ToolsError },
    #[error("failed to find out about `{database}`")]
    Question { database: String, source: sqlx::Error },
    #[error("failed to find out about `{database}`: no answer in {}", format_duration(QUESTION_WITHIN))]
    NoAnswer { database: String },
    #[error(
        "role `{role}` may not read all of `{database}`, and a backup without it would not be one:{}",
        listed(.list)
    )]
    Unreadable { role: String, database: String, list: Vec<Unreadable> },
    #[error("failed to describe what `{database}` holds")]
    Facts { database: String, source: FactsError },
    #[error("failed to dump `{database}`")]
    Start { database: String, source: ProcessError },
    #[error("failed to dump the roles of the server of `{database}`")]
    Globals { database: String, source: DumpError },
    #[error("failed to back up `{database}`")]
    Store { database: String, source: SinkError },
    #[error("failed to write down what `{database}` holds")]
    Details { database: String, source: serde_json::Error },
    #[error("failed to complete the backup of `{database}`: the run was interrupted")]
    Interrupted { database: String },
}

fn listed(list: &[Unreadable]) -> String {
    list.iter().map(|item| format!("\n    {item}")).collect()
}

/// A database that can be dumped completely: reachable, readable by its role, and with a matching `pg_dump`.
#[derive(Debug)]
pub struct DumpCapture {
    pub parameters: ConnectionParameters,
    pub tools: Tools,
    pub server: ServerFacts,
    pub is_standby: bool,
    /// Whether the role may read password hashes.
    pub reads_passwords: bool,
    connection: PgConnection,
}

/// Connects and refuses what could not be dumped completely. Nothing is changed or stored.
pub async fn prepare(source: &PostgresSource) -> Result<DumpCapture, LogicalError> {
    let parameters = ConnectionParameters::resolve(source).await?;
    let mut connection = parameters.connect().await?;
    let database = parameters.database.clone();
    let (version, major) = server_major(&mut connection)
        .await
        .map_err(|source| LogicalError::Facts { database: database.clone(), source })?;
    let tools = Tools::find(source.tools.as_deref(), major).await.map_err(|source| LogicalError::Tools {
        database: database.clone(),
        version: version.clone(),
        source,
    })?;
    let list = ask(&database, unreadable(&mut connection, major)).await?;
    if !list.is_empty() {
        let role = parameters.user.clone();
        close(connection).await;
        return Err(LogicalError::Unreadable { role, database, list });
    }
    let standing =
        sqlx::query_as("SELECT pg_is_in_recovery(), has_table_privilege('pg_catalog.pg_authid', 'SELECT')")
            .fetch_one(&mut connection);
    let (is_standby, reads_passwords): (bool, bool) = ask(&database, standing).await?;
    // Managed services hide it from their users, and it only serves to distinguish clusters.
    let system_identifier = sqlx::query_scalar("SELECT system_identifier::text FROM pg_control_system()")
        .fetch_one(&mut connection)
        .await
        .ok();
    // A connection pooler may use another name for it.
    let named: Result<String, _> =
        ask(&database, sqlx::query_scalar("SELECT current_database()::text").fetch_one(&mut connection))
            .await;
    let address = Some(format!("{}:{}/{}", parameters.host, parameters.port, named?));
    let server = ServerFacts { version, major, system_identifier, address, replaces: None };
    Ok(DumpCapture { parameters, tools, server, is_standby, reads_passwords, connection })
}

/// Dumps the database into `sink`.
pub async fn capture(
    prepared: DumpCapture,
    dump: &LogicalDump,
    sink: &mut dyn ArtifactSink,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Captured, LogicalError> {
    let database = prepared.parameters.database.clone();
    // Dropping this ends the child processes, too.
    let stop = cancel.child_token();
    let _stop_on_return = stop.clone().drop_guard();
    let outcome = run(prepared, dump, sink, events, &stop).await;
    // An error of a cancelled run during its shutdown is not the cause.
    if cancel.is_cancelled() { Err(LogicalError::Interrupted { database }) } else { outcome }
}

async fn run(
    mut prepared: DumpCapture,
    dump: &LogicalDump,
    sink: &mut dyn ArtifactSink,
    events: &Events,
    stop: &CancellationToken,
) -> Result<Captured, LogicalError> {
    let database = prepared.parameters.database.clone();
    let mut phases = PhaseTimer::new(events);
    phases.begin(Phase::Inspect);
    if prepared.parameters.reached().is_some_and(|reached| reached.pooled) {
        events.notice(
            "the server is read through a connection pooler, which keeps a connection for each session",
        );
    }
    let (recovery_point, snapshot) = export_snapshot(&mut prepared, dump.lock_wait).await?;
    let described = |source| LogicalError::Facts { database: database.clone(), source };
    let mut facts = read_facts(&mut prepared.connection).await.map_err(described)?;
    facts.snapshot_time = recovery_point;
    let estimate = ask(&database, expected_bytes(&mut prepared.connection)).await?;
    phases.end();

    let child = start_dump(&prepared, dump, &snapshot, &facts.encoding, stop).await?;
    // Read while pg_dump starts, so that the roles are those of its snapshot as closely as possible.
    let globals = if dump.globals { Some(read_globals(&prepared, events, stop).await?) } else { None };

    phases.begin(Phase::Dump);
    let stored = Box::new(Dump::new(child, events.clone()));
    let connection = &mut prepared.connection;
    let mut is_answering = true;
    let counting = async {
        match dump.row_counts {
            RowCounts::Exact => {
                let counted = count_rows(connection, &mut facts.tables).await;
                if counted.is_ok() {
                    is_answering = sum_contents(connection, &mut facts.tables, SumRequest::Budget).await;
                }
                counted
            }
            RowCounts::None => Ok(vec![]),
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
            counted = counting => counted.map(Some),
            () = over.cancelled() => Ok(None),
            () = stop.cancelled() => Ok(None),
        };
        if counted.is_err() {
            stop.cancel();
        }
        counted
    };
    let (stored, counted) = tokio::join!(storing, counting);
    // A failed count stopped pg_dump, so it is the cause of both.
    let counted = counted.map_err(described)?;
    let kept = |source| LogicalError::Store { database: database.clone(), source };
    let stored = stored.map_err(kept)?;
    let Some(uncounted) = counted else {
        return Err(LogicalError::Interrupted { database });
    };
    phases.end();
    tell_uncounted(&uncounted, events);
    // The snapshot was needed up to here.
    if is_answering {
        bound_sequences(&mut prepared.connection, &mut facts.sequences, events).await;
        close(prepared.connection).await;
    } else {
        events.warning(
            "the server stopped answering while contents were summed: not all are, and where the sequences are after the dump is not known",
        );
    }

    let mut artifacts = vec![stored];
    if let Some(sql) = globals {
        let producer = Box::new(MemoryProducer::new(sql.into_bytes()));
        artifacts.push(sink.store(GLOBALS, producer, None).await.map_err(kept)?);
    }
    let commands = manual_restore::commands(&artifacts[0], artifacts.get(1), &facts);
    let excluded = facts.not_included.clone();
    phases.begin(Phase::Details);
    artifacts.push(store_details(facts, sink, &database).await?);
    phases.end();
    Ok(Captured {
        recovery_point,
        server: Some(prepared.server),
        physical: None,
        parent: None,
        managed: None,
        missing_copies: vec![],
        warnings: vec![],
        producer: prepared.tools.version,
        artifacts,
        manual_restore: commands,
        excluded,
    })
}

/// Reports tables without counts. The dump is complete without them: a restore does not compare these tables.
fn tell_uncounted(tables: &[String], events: &Events) {
    if let Some(first) = tables.first() {
        let more = if tables.len() > 1 { format!(" and {} more", tables.len() - 1) } else { String::new() };
        events.warning(format!(
            "rows of {first}{more} were not counted, since no lock was to be had in time: a restore cannot compare them"
        ));
    }
}

/// Ends the transaction and reads the sequences' second bound, which a restore can do without.
async fn bound_sequences(connection: &mut PgConnection, sequences: &mut [SequenceState], events: &Events) {
    let read = async {
        sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await.map_err(|error| error_chain(&error))?;
        read_sequences_again(&mut *connection, sequences).await.map_err(|error| error_chain(&error))
    };
    let read = tokio::time::timeout(QUESTION_WITHIN, read).await;
    if let Err(reason) = read.unwrap_or_else(|_| Err("no answer".to_owned())) {
        events.warning(format!("where the sequences are after the dump could not be read: {reason}"));
    }
}

/// Begins the transaction whose snapshot is dumped. Every commit before the returned time is in the snapshot.
async fn export_snapshot(
    prepared: &mut DumpCapture,
    lock_wait: Duration,
) -> Result<(DateTime<Utc>, String), LogicalError> {
    let connection = &mut prepared.connection;
    let asked = async {
        let time: i64 = sqlx::query_scalar(RECOVERY_POINT).fetch_one(&mut *connection).await?;
        sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *connection).await?;
        // Counting waits for the same locks as pg_dump.
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

// A standby has what it has replayed. It is up to date as of the primary's last message only while it streams
// and has replayed all of it; otherwise as of the last commit it has replayed.
const RECOVERY_POINT: &str = "SELECT (extract(epoch FROM CASE
    WHEN NOT pg_is_in_recovery() THEN clock_timestamp()
    ELSE coalesce(
         (SELECT w.last_msg_send_time FROM pg_stat_wal_receiver w
           WHERE w.status = 'streaming' AND w.latest_end_lsn <= pg_last_wal_replay_lsn()),
         pg_last_xact_replay_timestamp(), clock_timestamp()) END) * 1000000)::int8";

/// Estimates the size of the dump: that of the database without its indexes, from statistics. Querying the
/// size of each table would wait for locked ones.
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

async fn start_dump(
    prepared: &DumpCapture,
    dump: &LogicalDump,
    snapshot: &str,
    encoding: &str,
    stop: &CancellationToken,
) -> Result<Piped, LogicalError> {
    let mut program = prepared
        .tools
        .pg_dump()
        .args(["--format=custom", "--compress=0", "--no-password"])
        .arg(format!("--snapshot={snapshot}"))
        // The database's own encoding: its contents need not have an equivalent in another one.
        .arg(format!("--encoding={encoding}"))
        .arg(format!("--lock-wait-timeout={}", milliseconds(dump.lock_wait)));
    if prepared.is_standby {
        // A standby has none, and requesting it is an error.
        program = program.arg("--no-unlogged-table-data");
    }
    let program = program.arg(format!("--dbname={KEEPALIVES}")).keep_stderr(STDERR_LINES);
    let started = |source| LogicalError::Start { database: prepared.parameters.database.clone(), source };
    prepared.parameters.apply(program).await?.pipe(stop).map_err(started)
}

/// Returns a time limit for PostgreSQL, in milliseconds; never 0, which means none.
fn milliseconds(limit: Duration) -> i32 {
    i32::try_from(limit.as_millis()).unwrap_or(i32::MAX).max(1)
}

async fn read_globals(
    prepared: &DumpCapture,
    events: &Events,
    stop: &CancellationToken,
) -> Result<String, LogicalError> {
    let database = &prepared.parameters.database;
    let failed = |source| LogicalError::Globals { database: database.clone(), source };
    let mut phases = PhaseTimer::new(events);
    phases.begin(Phase::Globals);
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
    // Any database would do, but this one is known to accept the role.
    let program = program
        .arg(format!("--database=dbname='{}'", database.replace('\\', r"\\").replace('\'', r"\'")))
        .keep_stderr(STDERR_LINES);
    let program = prepared.parameters.apply(program).await?;
    let finished = program.run(GLOBALS_WITHIN, stop).await.map_err(|source| failed(source.into()))?;
    judge("pg_dumpall", &finished.stderr, events).map_err(failed)?;
    check_globals(&finished.stdout).map_err(failed)?;
    phases.end();
    Ok(finished.stdout)
}

async fn store_details(
    facts: DatabaseFacts,
    sink: &mut dyn ArtifactSink,
    database: &str,
) -> Result<crate::model::Artifact, LogicalError> {
    let details = Details { database: Some(facts), ..Details::default() };
    let json = serde_json::to_vec_pretty(&details)
        .map_err(|source| LogicalError::Details { database: database.to_owned(), source })?;
    sink.store(DETAILS, Box::new(MemoryProducer::new(json)), None)
        .await
        .map_err(|source| LogicalError::Store { database: database.to_owned(), source })
}

async fn ask<T>(
    database: &str,
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, LogicalError> {
    match tokio::time::timeout(QUESTION_WITHIN, asked).await {
        Ok(answered) => {
            answered.map_err(|source| LogicalError::Question { database: database.to_owned(), source })
        }
        Err(_) => Err(LogicalError::NoAnswer { database: database.to_owned() }),
    }
}
