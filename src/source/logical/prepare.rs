use sqlx::PgConnection;

use super::LogicalError;
use super::error::ask;
use crate::model::ServerFacts;
use crate::policy::PostgresSource;
use crate::postgres::{ConnectionParameters, Tools, close, server_major};
use crate::source::unreadable;

/// A database that can be dumped whole: reached, read by its role, and with a `pg_dump` that fits.
#[derive(Debug)]
pub struct Prepared {
    pub parameters: ConnectionParameters,
    pub tools: Tools,
    pub server: ServerFacts,
    pub is_standby: bool,
    /// Whether the role may read the hashes of passwords.
    pub reads_passwords: bool,
    pub(super) connection: PgConnection,
}

/// Connects and refuses what could not be dumped whole. Nothing is changed, and nothing stored.
pub async fn prepare(source: &PostgresSource) -> Result<Prepared, LogicalError> {
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
    // Managed services keep it from their users, and it only serves to tell clusters apart.
    let identifier = sqlx::query_scalar("SELECT system_identifier::text FROM pg_control_system()")
        .fetch_one(&mut connection);
    let system_identifier = ask(&database, identifier).await.ok();
    let server = ServerFacts { version, major, system_identifier };
    Ok(Prepared { parameters, tools, server, is_standby, reads_passwords, connection })
}
