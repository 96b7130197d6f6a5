use std::path::PathBuf;

use sqlx::PgConnection;

use super::error::BaseError;
use super::preflight::BasePreflight;
use super::query::ask;
use super::{directory_check, replication_check};
use crate::model::{SegmentSize, ServerFacts, Tablespace, Timeline};
use crate::policy::{BaseBackup, BaseMethod, PostgresSource, WalMethod};
use crate::postgres::{ConnectionParameters, Tools, close, server_major};

/// A server that can be copied, and whose copy can be restored.
#[derive(Debug)]
pub struct BaseBackupCapture {
    pub parameters: ConnectionParameters,
    pub server: ServerFacts,
    pub is_standby: bool,
    /// The timeline it writes; `None` on a standby.
    pub timeline: Option<Timeline>,
    pub page_checksums: bool,
    pub segment_size: SegmentSize,
    /// Those outside of the data directory.
    pub tablespaces: Vec<Tablespace>,
    /// Whether it summarizes WAL, so that incremental copies are possible.
    pub summarizes: bool,
    /// The server's last archiving attempt failed: it would wait at the end of a copy until that succeeds.
    pub archiving_fails: Option<String>,
    /// How it is read.
    pub reader: SettingsReader,
    pub(super) connection: PgConnection,
}

/// The origin of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsReader {
    Replication(Tools),
    DataDirectory(PathBuf),
}

#[derive(sqlx::FromRow)]
struct SettingsSource {
    system_identifier: String,
    is_standby: bool,
    timeline: Option<i32>,
    page_checksums: bool,
    segment_size: i64,
    wal_level: String,
    archive_mode: String,
    archive_command: String,
    archive_library: String,
    summarizes: bool,
    may_replicate: bool,
    may_start: bool,
    port: String,
    started: i64,
    failed_file: Option<String>,
}

// The system identifier is a signed number there.
const STANDING: &str = "
SELECT c.system_identifier::text, pg_is_in_recovery() AS is_standby,
       CASE WHEN NOT pg_is_in_recovery()
            THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int4 END AS timeline,
       current_setting('data_checksums') = 'on' AS page_checksums,
       (SELECT setting::int8 FROM pg_settings WHERE name = 'wal_segment_size') AS segment_size,
       current_setting('wal_level') AS wal_level, current_setting('archive_mode') AS archive_mode,
       coalesce(current_setting('archive_command', true), '') AS archive_command,
       coalesce(current_setting('archive_library', true), '') AS archive_library,
       coalesce(current_setting('summarize_wal', true), 'off') = 'on' AS summarizes,
       r.rolsuper OR r.rolreplication AS may_replicate,
       (SELECT bool_and(has_function_privilege(p.oid, 'EXECUTE')) FROM pg_proc p
         WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname IN
               ('pg_backup_start', 'pg_backup_stop', 'pg_start_backup', 'pg_stop_backup')) AS may_start,
       current_setting('port') AS port,
       extract(epoch FROM pg_postmaster_start_time())::int8 AS started,
       (SELECT a.last_failed_wal FROM pg_stat_archiver a
         WHERE current_setting('archive_mode') <> 'off' AND NOT pg_is_in_recovery()
           AND a.last_failed_time >= coalesce(a.last_archived_time, '-infinity')) AS failed_file
  FROM pg_control_system() c, pg_roles r WHERE r.rolname = current_user";

// The timeline that the server of `url` writes, where another one is copied instead.
const WRITES: &str = "
SELECT system_identifier::text,
       CASE WHEN NOT pg_is_in_recovery()
            THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int4 END
  FROM pg_control_system()";

// In-place tablespaces are a part of the data directory.
const TABLESPACES: &str = "
SELECT oid::int8, pg_tablespace_location(oid) FROM pg_tablespace
 WHERE pg_tablespace_location(oid) LIKE '/%' ORDER BY oid";

/// Connects and refuses what could not be copied or restored. Nothing is changed or stored.
pub async fn prepare(source: &PostgresSource, base: &BaseBackup) -> Result<BaseBackupCapture, BaseError> {
    let mut copied = source.clone();
    if base.url.is_some() || base.url_ref.is_some() {
        (copied.url, copied.url_ref) = (base.url.clone(), base.url_ref.clone());
    }
    let parameters = ConnectionParameters::resolve(&copied).await?;
    let mut connection = parameters.connect().await?;
    let server = parameters.to_string();
    let (version, major) = server_major(&mut connection)
        .await
        .map_err(|source| BaseError::Facts { server: server.clone(), source })?;
    let standing = sqlx::query_as(STANDING).fetch_one(&mut connection);
    let standing: SettingsSource = ask(&server, standing).await?;
    let tablespaces = tablespaces(&mut connection, &server).await?;
    let segment_size = u64::try_from(standing.segment_size).ok().and_then(|size| SegmentSize::new(size).ok());
    let segment_size = segment_size.ok_or_else(|| BaseError::Value {
        server: server.clone(),
        what: "wal_segment_size",
        value: standing.segment_size.to_string(),
    })?;

    let mut objections = log_objections(source, &standing);
    let timeline = standing.timeline.and_then(timeline);
    if let (true, Some(own)) = (base.url.is_some() || base.url_ref.is_some(), timeline)
        && let Some(other) = other_primary(source, &standing.system_identifier).await
        && other != own
    {
        objections.push(BasePreflight::Promoted { server: server.clone(), own, other });
    }
    let reader = match &base.method {
        BaseMethod::Replication => {
            let role = parameters.user.clone();
            if !standing.may_replicate {
                objections.push(BasePreflight::NoReplication { role });
            }
            if !tablespaces.is_empty() {
                let places = tablespaces.iter().map(|tablespace| tablespace.location.clone());
                objections.push(BasePreflight::Tablespaces(places.collect()));
            }
            match Tools::find_of(source.tools.as_deref(), major).await {
                Ok(tools) => {
                    if standing.may_replicate {
                        objections.extend(replication_check::rejection(&parameters, &tools).await);
                    }
                    Some(SettingsReader::Replication(tools))
                }
                Err(error) => {
                    objections.push(BasePreflight::NoProgram(error.to_string()));
                    None
                }
            }
        }
        BaseMethod::DataDirectory { path } => {
            if !standing.may_start {
                let function = if major >= 15 { "pg_backup_start" } else { "pg_start_backup" };
                objections.push(BasePreflight::MayNotStart { role: parameters.user.clone(), function });
            }
            let here = directory_check::ServerIdentity {
                system_identifier: &standing.system_identifier,
                port: &standing.port,
                started: standing.started,
            };
            objections.extend(directory_check::objections(path, &tablespaces, &here));
            Some(SettingsReader::DataDirectory(path.clone()))
        }
    };
    let (Some(reader), []) = (reader, objections.as_slice()) else {
        close(connection).await;
        return Err(BaseError::Refused { server, list: objections });
    };
    let address = format!("{}:{}", parameters.host, parameters.port);
    Ok(BaseBackupCapture {
        parameters,
        server: ServerFacts {
            version,
            major,
            system_identifier: Some(standing.system_identifier),
            address: Some(address),
            replaces: None,
        },
        is_standby: standing.is_standby,
        timeline,
        page_checksums: standing.page_checksums,
        segment_size,
        tablespaces,
        summarizes: standing.summarizes,
        archiving_fails: standing
            .failed_file
            .map(|file| format!("{file} was not archived when it was last tried")),
        reader,
        connection,
    })
}

fn timeline(number: i32) -> Option<Timeline> {
    u32::try_from(number).ok().and_then(Timeline::new)
}

/// Returns the timeline that the source's own server writes, where it is of the same cluster, not a standby,
/// and can be queried: one that is gone is replaced by the copied one.
async fn other_primary(source: &PostgresSource, cluster: &str) -> Option<Timeline> {
    let parameters = ConnectionParameters::resolve(source).await.ok()?;
    let mut connection = parameters.connect().await.ok()?;
    let asked = sqlx::query_as(WRITES).fetch_one(&mut connection);
    let answered: Option<(String, Option<i32>)> = ask(&parameters.to_string(), asked).await.ok();
    close(connection).await;
    answered.filter(|(identifier, _)| identifier == cluster).and_then(|(_, number)| timeline(number?))
}

/// Queries the server's tablespaces outside of the data directory.
pub(super) async fn tablespaces(
    connection: &mut PgConnection,
    server: &str,
) -> Result<Vec<Tablespace>, BaseError> {
    let found: Vec<(i64, String)> = ask(server, sqlx::query_as(TABLESPACES).fetch_all(connection)).await?;
    let tablespace = |(oid, location)| Tablespace { oid: u32::try_from(oid).unwrap_or_default(), location };
    Ok(found.into_iter().map(tablespace).collect())
}

/// Checks whether the WAL that the copy needs can be archived.
fn log_objections(source: &PostgresSource, standing: &SettingsSource) -> Vec<BasePreflight> {
    let mut objections = vec![];
    if standing.wal_level == "minimal" {
        objections.push(BasePreflight::MinimalLog);
    }
    match source.wal.as_ref().map(|wal| &wal.method) {
        None => objections.push(BasePreflight::NoLogMethod),
        // A standby's WAL is archived by its primary.
        Some(WalMethod::Archive) if !standing.is_standby => {
            if standing.archive_mode == "off" {
                objections.push(BasePreflight::ArchivingOff);
            } else if standing.archive_command.trim().is_empty() && standing.archive_library.is_empty() {
                objections.push(BasePreflight::NoArchiveCommand);
            }
        }
        Some(_) => {}
    }
    objections
}
