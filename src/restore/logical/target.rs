//! The facts of the target server, read before anything is decided. Reading changes nothing: the one
//! statement that creates something is rolled back.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::existing_database::existing;
use super::marks::{AT_WORK, BEING_RESTORED, COMMENT, HOLDS_A_PART, REPLACED, RESTORING, WAS_EMPTY};
use super::query::{WITHIN, all, ask, names, one};
use super::server_directory::inspect as inspect_directories;
use super::{DumpRestoreError, ExistingDatabase, ServerDirectory};
use crate::model::DatabaseFacts;
use crate::postgres::{ConnectError, ConnectionParameters, close, literal};

/// Databases that can always be connected to.
const MAINTENANCE: [&str; 2] = ["postgres", "template1"];
/// The facts of the target server.
#[derive(Clone, Debug, Default)]
pub struct DatabaseServerFacts {
    /// `host:port`.
    pub server: String,
    pub version: String,
    pub major: u32,
    /// The role that restores.
    pub role: String,
    pub superuser: bool,
    pub may_create_databases: bool,
    pub may_create_roles: bool,
    /// Whether it has REPLICATION, and BYPASSRLS.
    pub may_replicate: bool,
    pub bypasses_row_security: bool,
    /// Roles of which the restoring role is a member.
    pub member_of: BTreeSet<String>,
    /// The database of the requested name, if any.
    pub existing: Option<ExistingDatabase>,
    pub roles: BTreeSet<String>,
    pub tablespaces: BTreeSet<String>,
    /// Directories on the server's host for tablespaces, by path.
    pub directories: BTreeMap<String, ServerDirectory>,
    pub databases: BTreeSet<String>,
    /// The only database that pg_cron can be in; absent where the server does not load it, or does not report
    /// it.
    pub cron_database: Option<String>,
    /// Available extensions, with their default versions.
    pub extensions: BTreeMap<String, String>,
    /// Why the recorded locale is unavailable; `None` where it is available, or where only trying can tell.
    pub locale_problem: Option<String>,
    pub leftovers: Vec<LeftoverDatabase>,
}

/// The leftover of a killed restore on the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftoverDatabase {
    pub database: String,
    pub comment: Option<String>,
    /// Connections of running restores. Others may be in it, too: monitoring connects to every database.
    pub connections: u64,
}

impl LeftoverDatabase {
    /// Returns whether drctl created it and it is not in use any more.
    pub fn may_be_dropped(&self) -> bool {
        let is_disposable =
            |comment: &String| comment.starts_with(BEING_RESTORED) || comment.starts_with(WAS_EMPTY);
        self.connections == 0 && self.comment.as_ref().is_some_and(is_disposable)
    }

    /// Returns whether it was loaded completely, and only needs to be renamed.
    pub fn is_kept(&self) -> bool {
        let is_ours = |comment: &String| comment.starts_with(COMMENT);
        self.comment.as_ref().is_some_and(is_ours) && !self.may_be_dropped() && self.connections == 0
    }
}

/// Connects to a maintenance database other than the one that will be replaced.
pub(super) async fn maintenance(target: &ConnectionParameters) -> Result<PgConnection, ConnectError> {
    let mut last = Err(ConnectError::NoDatabase);
    for name in MAINTENANCE.into_iter().filter(|name| *name != target.database) {
        last = target.with_database(name).connect().await;
        let is_missing = |error: &ConnectError| match error {
            ConnectError::Refused { source: sqlx::Error::Database(error), .. } => {
                error.code().is_some_and(|code| code == "3D000")
            }
            _ => false,
        };
        if !last.as_ref().is_err_and(is_missing) {
            break;
        }
    }
    last
}

/// Reads the facts. `recorded`: the facts of the dumped database; `directories`: those of tablespaces that
/// may be created.
pub(super) async fn inspect(
    target: &ConnectionParameters,
    recorded: &DatabaseFacts,
    directories: &BTreeSet<String>,
) -> Result<DatabaseServerFacts, DumpRestoreError> {
    let mut connection = maintenance(target).await.map_err(DumpRestoreError::Connect)?;
    let facts = read(&mut connection, target, recorded, directories).await;
    close(connection).await;
    facts
}

async fn read(
    connection: &mut PgConnection,
    target: &ConnectionParameters,
    recorded: &DatabaseFacts,
    directories: &BTreeSet<String>,
) -> Result<DatabaseServerFacts, DumpRestoreError> {
    let (version, major) =
        crate::postgres::server_major(connection).await.map_err(DumpRestoreError::TargetFacts)?;
    let (role, superuser, may_create_databases, may_create_roles, may_replicate, bypasses_row_security): (
        String,
        bool,
        bool,
        bool,
        bool,
        bool,
    ) = one(
        connection,
        "SELECT rolname::text, rolsuper, rolcreatedb OR rolsuper, rolcreaterole OR rolsuper,
                rolreplication OR rolsuper, rolbypassrls OR rolsuper
           FROM pg_roles WHERE rolname = current_user",
    )
    .await?;
    let extensions: Vec<(String, Option<String>)> =
        all(connection, "SELECT name::text, default_version FROM pg_available_extensions").await?;
    // Before the inspection of the existing database, whose own session would be taken for another restore.
    let leftovers = leftovers(connection, &target.database).await?;
    Ok(DatabaseServerFacts {
        server: format!("{}:{}", target.host, target.port),
        version,
        major,
        role,
        superuser,
        may_create_databases,
        may_create_roles,
        may_replicate,
        bypasses_row_security,
        member_of: names(
            connection,
            "SELECT rolname::text FROM pg_roles WHERE pg_has_role(current_user, oid, 'MEMBER')",
        )
        .await?,
        existing: existing(connection, target).await?,
        roles: names(connection, "SELECT rolname::text FROM pg_roles").await?,
        tablespaces: names(connection, "SELECT spcname::text FROM pg_tablespace").await?,
        directories: inspect_directories(connection, directories).await?,
        databases: names(connection, "SELECT datname::text FROM pg_database").await?,
        cron_database: one::<(Option<String>,)>(
            connection,
            "SELECT max(setting) FROM pg_settings WHERE name = 'cron.database_name'",
        )
        .await?
        .0,
        extensions: extensions
            .into_iter()
            .map(|(name, version)| (name, version.unwrap_or_default()))
            .collect(),
        locale_problem: locale_problem(connection, recorded).await?,
        leftovers,
    })
}

/// Returns databases with names that only drctl assigns, and the one with the final name where drctl's
/// comment says that it is incomplete.
async fn leftovers(
    connection: &mut PgConnection,
    database: &str,
) -> Result<Vec<LeftoverDatabase>, DumpRestoreError> {
    let query = format!(
        "SELECT d.datname::text, c.comment,
                (SELECT count(*) FROM (
                     SELECT pid FROM pg_locks
                      WHERE locktype = 'advisory' AND database = d.oid AND classid = {AT_WORK}::oid
                     UNION
                     SELECT pid FROM pg_stat_activity WHERE datid = d.oid AND starts_with(application_name, 'drctl')
                 ) AS ours)
           FROM pg_database d CROSS JOIN LATERAL shobj_description(d.oid, 'pg_database') AS c(comment)
          WHERE starts_with(d.datname, {}) OR starts_with(d.datname, {})
             OR d.datname = {} AND (starts_with(c.comment, {}) OR starts_with(c.comment, {})) ORDER BY 1",
        literal(RESTORING),
        literal(REPLACED),
        literal(database),
        literal(BEING_RESTORED),
        literal(HOLDS_A_PART),
    );
    let rows: Vec<(String, Option<String>, i64)> =
        ask(sqlx::query_as(AssertSqlSafe(query)).fetch_all(connection)).await?;
    let leftover = |(database, comment, connections)| LeftoverDatabase {
        database,
        comment,
        connections: u64::try_from(connections).unwrap_or_default(),
    };
    Ok(rows.into_iter().map(leftover).collect())
}

/// Checks with the server whether it has a locale, by creating a temporary collation of it in a transaction
/// that is rolled back.
async fn locale_problem(
    connection: &mut PgConnection,
    recorded: &DatabaseFacts,
) -> Result<Option<String>, DumpRestoreError> {
    let (encoding, has_icu): (String, bool) = one(
        connection,
        "SELECT current_setting('server_encoding'), EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i')",
    )
    .await?;
    if recorded.locale_provider == "icu" && !has_icu {
        return Ok(Some("it was built without ICU".to_owned()));
    }
    // The server checks a locale against the encoding of the current database.
    if encoding != recorded.encoding {
        return Ok(None);
    }
    for locale in [&recorded.collate, &recorded.ctype] {
        let statement =
            format!("CREATE COLLATION pg_temp.drctl_probe (PROVIDER = libc, LOCALE = {})", literal(locale));
        let mut transaction = ask(connection.begin()).await?;
        let made =
            tokio::time::timeout(WITHIN, sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *transaction));
        let made = made.await;
        ask(transaction.rollback()).await?;
        // Any other error (no privilege to create temporary objects) says nothing about the locale.
        if let Ok(Err(sqlx::Error::Database(error))) = made
            && error.code().is_some_and(|code| code == "22023")
        {
            return Ok(Some(error.message().to_owned()));
        }
    }
    Ok(None)
}
