use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{PgConnection, Row as _};
use thiserror::Error;

use super::DesiredSettings;
use super::facts::{Access, HbaRule, ServerRole, ServerSetting, SettingFacts, Slot};
use crate::model::SystemIdentifier;
use crate::platform::{CancellationToken, ProcessError};
use crate::postgres::{ConnectError, ConnectionParameters, FactsError, Tools, server_major};
use crate::text::format_duration;
use crate::wal::{ServerHost, is_this_host, judge};

const QUESTION_WITHIN: Duration = Duration::from_secs(10);
const LET_IN_WITHIN: Duration = Duration::from_secs(15);

/// Why a server did not report its configuration.
#[derive(Debug, Error)]
pub enum ConfigureError {
    #[error("failed to connect to the server")]
    Connect(#[from] ConnectError),
    #[error("failed to query the settings of `{server}`")]
    Question { server: String, source: sqlx::Error },
    #[error("failed to query the version of `{server}`")]
    Version { server: String, source: FactsError },
    #[error("failed to query the settings of `{server}`: no answer in {}", format_duration(QUESTION_WITHIN))]
    NoAnswer { server: String },
}

/// The server to inspect and to change.
#[derive(Clone, Debug)]
pub struct ServerSession {
    /// The connection parameters of the policy's role.
    pub parameters: ConnectionParameters,
    /// A role that queries and changes it instead.
    pub administrator: Option<String>,
    /// Where to look for PostgreSQL's programs first.
    pub tools: Option<PathBuf>,
}

const SETTINGS: &str = "
SELECT name, setting, source, context, pending_restart FROM pg_settings
 WHERE name IN ('wal_level', 'full_page_writes', 'archive_mode', 'archive_command', 'archive_library',
                'archive_timeout', 'max_wal_senders', 'max_replication_slots', 'max_slot_wal_keep_size',
                'summarize_wal', 'hba_file', 'password_encryption', 'data_directory')";

const HOST: &str = "
SELECT system_identifier, coalesce(inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1', true)
  FROM pg_control_system()";

// The last entry of a name counts.
const FILES: &str = "
SELECT name, setting FROM pg_file_settings WHERE name IS NOT NULL AND setting IS NOT NULL ORDER BY seqno";

const ROLE: &str = "
SELECT rolname::text, rolsuper, rolreplication, pg_has_role(oid, 'pg_monitor', 'USAGE'),
       coalesce((SELECT bool_and(has_function_privilege(r.oid, p.oid, 'EXECUTE')) FROM pg_proc p
         WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname IN
               ('pg_backup_start', 'pg_backup_stop', 'pg_start_backup', 'pg_stop_backup')), false)
  FROM pg_roles r WHERE rolname = $1";

const SLOTS: &str = "SELECT slot_name::text, slot_type, active, wal_status FROM pg_replication_slots";

const HERE: &str = "
SELECT pg_is_in_recovery(), (SELECT count(*) FROM pg_stat_replication), host(inet_client_addr()),
       coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
       has_table_privilege('pg_hba_file_rules', 'SELECT')
         AND has_function_privilege('pg_hba_file_rules()', 'EXECUTE'),
       has_table_privilege('pg_file_settings', 'SELECT')
         AND has_function_privilege('pg_show_all_file_settings()', 'EXECUTE')";

const HBA: &str = "
SELECT line_number, coalesce(database, '{}'), coalesce(user_name, '{}'), error FROM pg_hba_file_rules
 ORDER BY line_number";

impl ServerSession {
    /// Connects as the role that reads and changes the settings.
    pub async fn connect(&self) -> Result<PgConnection, ConfigureError> {
        let mut parameters = self.parameters.clone();
        if let Some(role) = &self.administrator {
            parameters.user.clone_from(role);
            // The policy's password is that of the other role.
            parameters.password = None;
        }
        Ok(parameters.connect().await?)
    }

    /// Queries all facts that a plan needs.
    pub async fn facts(
        &self,
        connection: &mut PgConnection,
        wanted: &DesiredSettings,
        cancel: &CancellationToken,
    ) -> Result<SettingFacts, ConfigureError> {
        let server = self.parameters.to_string();
        let version = server_major(connection).await;
        let (_, major) = version.map_err(|source| ConfigureError::Version { server, source })?;
        let settings = self.ask(sqlx::query_as(SETTINGS).fetch_all(&mut *connection)).await?;
        let settings = settings.into_iter().map(|(name, value, source, context, pending_restart)| {
            (name, ServerSetting { value, source, context, pending_restart })
        });
        let settings = settings.collect::<BTreeMap<String, ServerSetting>>();
        let here = self.ask(sqlx::query(HERE).fetch_one(&mut *connection)).await?;
        let question = |source| ConfigureError::Question { server: self.parameters.to_string(), source };
        let senders: i64 = here.try_get(1).map_err(question)?;
        let (reads_hba, reads_files): (bool, bool) =
            (here.try_get(4).map_err(question)?, here.try_get(5).map_err(question)?);
        let role = sqlx::query_as(ROLE).bind(&self.parameters.user).fetch_optional(&mut *connection);
        let role =
            self.ask(role).await?.map(|(name, is_superuser, may_replicate, monitors, may_start_backups)| {
                ServerRole { name, is_superuser, may_replicate, monitors, may_start_backups }
            });
        let slots = self.ask(sqlx::query_as(SLOTS).fetch_all(&mut *connection)).await?;
        let slots = slots.into_iter().map(|(name, kind, is_active, wal_status)| Slot {
            name,
            kind,
            is_active,
            wal_status,
        });
        let hba = if reads_hba { Some(self.hba(connection).await?) } else { None };
        let files = if reads_files {
            let files: Vec<(String, String)> =
                self.ask(sqlx::query_as(FILES).fetch_all(&mut *connection)).await?;
            Some(files.into_iter().collect())
        } else {
            None
        };
        let may_replicate = role.as_ref().is_some_and(|role| role.may_replicate || role.is_superuser);
        let access = if wanted.replicates && may_replicate {
            self.access(major, cancel).await
        } else {
            Access::NotTried
        };
        let host = match settings.get("data_directory") {
            Some(directory) => self.host(connection, Path::new(&directory.value)).await?,
            None => ServerHost::ELSEWHERE,
        };
        let facts = SettingFacts {
            major,
            is_standby: here.try_get(0).map_err(question)?,
            settings,
            files,
            role,
            slots: slots.collect(),
            senders: u64::try_from(senders).unwrap_or_default(),
            hba,
            client: here.try_get(2).map_err(question)?,
            tls: here.try_get(3).map_err(question)?,
            access,
            push: None,
        };
        let push = facts.archive_command().map(|line| judge(line, &wanted.source, &wanted.target, &host));
        Ok(SettingFacts { push, ..facts })
    }

    /// Returns the host of the server, if it is this one.
    async fn host(
        &self,
        connection: &mut PgConnection,
        data_directory: &Path,
    ) -> Result<ServerHost, ConfigureError> {
        let (cluster, is_near): (i64, bool) = self.ask(sqlx::query_as(HOST).fetch_one(connection)).await?;
        let is_this = is_this_host(data_directory, SystemIdentifier(cluster.cast_unsigned()), is_near);
        Ok(if is_this { ServerHost::new(Some(data_directory.to_owned())) } else { ServerHost::ELSEWHERE })
    }

    async fn hba(&self, connection: &mut PgConnection) -> Result<Vec<HbaRule>, ConfigureError> {
        let rules = self.ask(sqlx::query_as(HBA).fetch_all(connection)).await?;
        let rule = |(line, databases, users, error)| HbaRule { line, databases, users, error };
        Ok(rules.into_iter().map(rule).collect())
    }

    /// Tries a replication connection: only the server itself knows which of its lines applies.
    async fn access(&self, major: u32, cancel: &CancellationToken) -> Access {
        let tools = match Tools::find_of(self.tools.as_deref(), major).await {
            Ok(tools) => tools,
            Err(error) => return Access::Unknown(error.to_string()),
        };
        let psql = match tools.program("psql") {
            Ok(psql) => psql,
            Err(error) => return Access::Unknown(error.to_string()),
        };
        let psql = psql.args(["--no-psqlrc", "--no-password", "--quiet", "--command=IDENTIFY_SYSTEM"]);
        let psql = match self.parameters.apply(psql.arg("--dbname=replication=true")).await {
            Ok(psql) => psql,
            Err(error) => return Access::Unknown(crate::text::error_chain(&error)),
        };
        match psql.run(LET_IN_WITHIN, cancel).await {
            Ok(_) => Access::LetIn,
            Err(ProcessError::Failed { stderr, .. }) if !stderr.is_empty() => {
                Access::Refused(stderr.join(" "))
            }
            Err(error) => Access::Unknown(crate::text::error_chain(&error)),
        }
    }

    pub(super) async fn ask<T>(
        &self,
        asked: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, ConfigureError> {
        let server = || self.parameters.to_string();
        match tokio::time::timeout(QUESTION_WITHIN, asked).await {
            Ok(answered) => answered.map_err(|source| ConfigureError::Question { server: server(), source }),
            Err(_) => Err(ConfigureError::NoAnswer { server: server() }),
        }
    }
}
