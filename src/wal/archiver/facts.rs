use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use thiserror::Error;

use crate::model::{Lsn, SegmentSize, SystemIdentifier, Timeline, WalName};
use crate::platform::free_space;
use crate::text::format_duration;
use crate::wal::{Backlog, ServerHost, is_this_host};

const QUESTION_WITHIN: Duration = Duration::from_secs(10);

/// Why the server did not report how it archives.
#[derive(Debug, Error)]
pub enum ServerError {
    #[error("failed to query the archiver of the server")]
    Question(#[source] sqlx::Error),
    #[error("failed to query the archiver of the server: no answer in {}", format_duration(QUESTION_WITHIN))]
    NoAnswer,
    #[error("unexpected answer of the server: {0} is `{1}`")]
    Value(&'static str, String),
}

/// The facts of a server that concern archiving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiverFacts {
    /// When it was queried, by its own clock.
    pub asked: DateTime<Utc>,
    pub system_identifier: SystemIdentifier,
    pub timeline: Timeline,
    /// Its write position; on a standby, its replay position.
    pub lsn: Lsn,
    pub segment_size: SegmentSize,
    pub is_standby: bool,
    /// `on`, `off` or `always`.
    pub archive_mode: String,
    /// `None` where the role may not read it.
    pub archive_command: Option<String>,
    pub host: ServerHost,
    /// A segment is switched after this long if anything was written; zero: only when it is full.
    pub archive_timeout: Duration,
    pub last_archived: Option<DateTime<Utc>>,
    pub last_archived_file: Option<WalName>,
    pub failed_count: i64,
    pub last_failed: Option<DateTime<Utc>>,
    /// As reported by the server.
    pub last_failed_file: Option<String>,
    /// Physical replication slots.
    pub slots: Vec<SlotFacts>,
    pub backlog: Waiting,
}

/// A replication slot for streaming WAL.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct SlotFacts {
    pub name: String,
    /// A receiver is connected to it now.
    pub is_active: bool,
    /// `reserved`, `extended`, `unreserved` or `lost`; `None` where it was never used.
    pub wal_status: Option<String>,
}

/// The backlog of the archiver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// `None` where the role may not read it.
    pub files: Option<u64>,
    pub oldest: Option<DateTime<Utc>>,
    /// Bytes free for WAL, where the server is on this host.
    pub free: Option<u64>,
    /// The time until they are used up, if nothing is archived.
    pub lasts: Option<Duration>,
}

#[derive(sqlx::FromRow)]
struct ServerFactsRow {
    asked: i64,
    system_identifier: i64,
    timeline: i32,
    lsn: String,
    segment_size: i64,
    is_standby: bool,
    archive_mode: String,
    archive_command: Option<String>,
    archive_timeout: i64,
    last_archived: Option<i64>,
    last_archived_file: Option<String>,
    failed_count: i64,
    last_failed: Option<i64>,
    last_failed_file: Option<String>,
    data_directory: Option<String>,
    is_near: bool,
    looks: bool,
}

// Settings that a role may not read are missing in the view. The last checkpoint may be of the timeline that
// a server was promoted from.
const FACTS: &str = "
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8 AS asked,
       s.system_identifier,
       CASE WHEN pg_is_in_recovery()
            THEN coalesce((SELECT nullif(r.min_recovery_end_timeline, 0) FROM pg_control_recovery() r), c.timeline_id)
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int4 END AS timeline,
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text AS lsn,
       (SELECT setting::int8 FROM pg_settings WHERE name = 'wal_segment_size') AS segment_size,
       pg_is_in_recovery() AS is_standby,
       current_setting('archive_mode') AS archive_mode,
       (SELECT setting FROM pg_settings WHERE name = 'archive_command') AS archive_command,
       (SELECT setting::int8 FROM pg_settings WHERE name = 'archive_timeout') AS archive_timeout,
       (extract(epoch FROM a.last_archived_time) * 1000)::int8 AS last_archived,
       a.last_archived_wal AS last_archived_file,
       a.failed_count,
       (extract(epoch FROM a.last_failed_time) * 1000)::int8 AS last_failed,
       a.last_failed_wal AS last_failed_file,
       (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS data_directory,
       coalesce(inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1', true) AS is_near,
       has_function_privilege('pg_ls_archive_statusdir()', 'EXECUTE') AS looks
  FROM pg_control_system() s, pg_control_checkpoint() c, pg_stat_archiver a";

const WAITING: &str = "
SELECT count(*), (extract(epoch FROM min(modification)) * 1000)::int8
  FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'";

const SLOTS: &str = "
SELECT slot_name::text AS name, active AS is_active, wal_status
  FROM pg_replication_slots WHERE slot_type = 'physical'";

/// Queries how a server archives.
pub async fn server_facts(connection: &mut PgConnection) -> Result<ArchiverFacts, ServerError> {
    let row: ServerFactsRow = bounded(sqlx::query_as(FACTS).fetch_one(&mut *connection)).await?;
    let slots = bounded(sqlx::query_as(SLOTS).fetch_all(&mut *connection)).await?;
    let mut backlog = Waiting::default();
    if row.looks {
        let (files, oldest): (i64, Option<i64>) =
            bounded(sqlx::query_as(WAITING).fetch_one(&mut *connection)).await?;
        backlog.files = u64::try_from(files).ok();
        backlog.oldest = oldest.and_then(DateTime::from_timestamp_millis);
    }
    let data_directory = row.data_directory.map(PathBuf::from);
    if let Some(pg_wal) = data_directory.as_ref().map(|directory| directory.join("pg_wal"))
        && pg_wal.is_dir()
    {
        backlog.free = free_space(&pg_wal).ok();
        backlog.lasts = Backlog::read(&pg_wal).ok().and_then(|backlog| backlog.disk_lasts());
    }
    let number =
        |what, value: i64| u64::try_from(value).map_err(|_| ServerError::Value(what, value.to_string()));
    let timeline = u32::try_from(row.timeline).ok().and_then(Timeline::new);
    let size = number("wal_segment_size", row.segment_size)?;
    let asked = DateTime::from_timestamp_millis(row.asked);
    let system_identifier = SystemIdentifier(row.system_identifier.cast_unsigned());
    let own = data_directory.filter(|directory| is_this_host(directory, system_identifier, row.is_near));
    Ok(ArchiverFacts {
        asked: asked.ok_or(ServerError::Value("the time", row.asked.to_string()))?,
        system_identifier,
        timeline: timeline.ok_or(ServerError::Value("the timeline", row.timeline.to_string()))?,
        lsn: row.lsn.parse().map_err(|_| ServerError::Value("the position", row.lsn.clone()))?,
        segment_size: SegmentSize::new(size)
            .map_err(|_| ServerError::Value("wal_segment_size", size.to_string()))?,
        is_standby: row.is_standby,
        archive_mode: row.archive_mode,
        archive_command: row.archive_command,
        host: ServerHost::new(own),
        archive_timeout: Duration::from_secs(number("archive_timeout", row.archive_timeout)?),
        last_archived: row.last_archived.and_then(DateTime::from_timestamp_millis),
        last_archived_file: row.last_archived_file.and_then(|name| name.parse().ok()),
        failed_count: row.failed_count,
        last_failed: row.last_failed.and_then(DateTime::from_timestamp_millis),
        last_failed_file: row.last_failed_file,
        slots,
        backlog,
    })
}

async fn bounded<T>(question: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, ServerError> {
    match tokio::time::timeout(QUESTION_WITHIN, question).await {
        Ok(answer) => answer.map_err(ServerError::Question),
        Err(_) => Err(ServerError::NoAnswer),
    }
}

/// Returns the facts of a server that has archived nothing, without failures.
#[cfg(test)]
pub(crate) fn facts_for_tests() -> ArchiverFacts {
    ArchiverFacts {
        asked: "2026-11-20T12:00:00Z".parse().unwrap_or_default(),
        system_identifier: SystemIdentifier(7),
        timeline: Timeline::FIRST,
        lsn: Lsn(0x300_0000),
        segment_size: SegmentSize::DEFAULT,
        is_standby: false,
        archive_mode: "on".to_owned(),
        archive_command: None,
        host: ServerHost::ELSEWHERE,
        archive_timeout: Duration::ZERO,
        last_archived: None,
        last_archived_file: None,
        failed_count: 0,
        last_failed: None,
        last_failed_file: None,
        slots: vec![],
        backlog: Waiting::default(),
    }
}
