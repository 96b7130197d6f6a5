use thiserror::Error;

use crate::policy::PostgresSource;
use crate::postgres::{
    ConnectError, ConnectionParameters, FactsError, Tools, ToolsError, close, server_major,
};

/// Why a database could not be inspected.
#[derive(Debug, Error)]
pub enum ProbeError {
    #[error("failed to reach the database")]
    Connect(#[source] ConnectError),
    #[error("failed to query the database")]
    Facts(#[source] FactsError),
    #[error("failed to query `{database}`")]
    Ask {
        database: String,
        #[source]
        source: sqlx::Error,
    },
}

/// The facts about a database that determine its policy.
#[derive(Debug)]
pub struct ProbeResult {
    pub database: String,
    /// `server_version`
    pub version: String,
    pub bytes: u64,
    /// Whether it is in recovery.
    pub is_standby: bool,
    /// Whether it runs in Amazon RDS.
    pub is_rds: bool,
    pub role: String,
    pub is_superuser: bool,
    /// The programs that can dump it, or why there are none.
    pub tools: Result<Tools, ToolsError>,
}

/// Inspects a database over one connection; read-only.
pub async fn probe(source: &PostgresSource) -> Result<ProbeResult, ProbeError> {
    let parameters = ConnectionParameters::resolve(source).await.map_err(ProbeError::Connect)?;
    let mut connection = parameters.connect().await.map_err(ProbeError::Connect)?;
    let asked = async {
        let (version, major) = server_major(&mut connection).await.map_err(ProbeError::Facts)?;
        let row: (i64, bool, bool, String, bool) = sqlx::query_as(
            "SELECT pg_database_size(current_database()), pg_is_in_recovery(),
                    EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_superuser'),
                    current_user::text, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)",
        )
        .fetch_one(&mut connection)
        .await
        .map_err(|source| ProbeError::Ask { database: parameters.to_string(), source })?;
        Ok((version, major, row))
    };
    let outcome = asked.await;
    close(connection).await;
    let (version, major, (bytes, is_standby, is_rds, role, is_superuser)) = outcome?;
    Ok(ProbeResult {
        database: parameters.database.clone(),
        version,
        bytes: u64::try_from(bytes).unwrap_or_default(),
        is_standby,
        is_rds,
        role,
        is_superuser,
        tools: Tools::find(source.tools.as_deref(), major).await,
    })
}
