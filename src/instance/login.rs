use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::Connection as _;

use super::run::Server;
use super::{InstanceError, InstancePlan};
use crate::aws::rds::Database;
use crate::check::{self, Finding};
use crate::event::{Events, lasting, told};
use crate::platform::CancellationToken;
use crate::policy::{Password, PostgresSource};
use crate::postgres::{ConnectError, ConnectionParameters, close};

/// The name of a new instance is known everywhere only after minutes.
const PATIENCE: Duration = Duration::from_secs(600);
/// For those that ask more often than every so often.
const USUAL: Duration = Duration::from_secs(20);

/// How somebody logs in to a database, with what the policy keeps secret at hand.
pub(super) struct Login {
    parameters: ConnectionParameters,
}

impl Login {
    /// As the policy says, at the address of the database.
    pub(super) async fn of(
        login: &PostgresSource,
        database: &Database,
        region: &str,
    ) -> Result<Self, InstanceError> {
        let endpoint = database.endpoint.as_ref().ok_or(InstanceError::NoEndpoint)?;
        let resolved = ConnectionParameters::resolve(login).await.map_err(InstanceError::Unresolved)?;
        // Waiting would not turn it on.
        let by_token = matches!(login.password, Some(Password::IamToken(_)));
        if by_token && database.profile.iam_authentication == Some(false) {
            return Err(InstanceError::NoIam { instance: database.id.identifier().to_owned() });
        }
        Ok(Self { parameters: resolved.at(&endpoint.host, endpoint.port, region) })
    }

    /// Whether what it proves itself with can be had.
    pub(super) async fn is_at_hand(&self) -> Result<(), ConnectError> {
        self.parameters.prove().await
    }

    pub(super) async fn attempt(&self) -> Result<ConnectionParameters, ConnectError> {
        let connection = self.parameters.connect().await?;
        let _closed = connection.close().await;
        Ok(self.parameters.clone())
    }
}

/// Logs in as the policy says, at the new address, until it works.
pub(super) async fn log_in(
    login: &PostgresSource,
    database: &Database,
    region: &str,
    every: Duration,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<ConnectionParameters, InstanceError> {
    let login = Login::of(login, database, region).await?;
    let patience = PATIENCE.mul_f64((every.as_secs_f64() / USUAL.as_secs_f64()).min(1.0)).max(every * 10);
    let begun = Instant::now();
    let mut last = String::new();
    loop {
        match login.attempt().await {
            Ok(parameters) => return Ok(parameters),
            Err(source) if begun.elapsed() > patience => {
                return Err(InstanceError::Login { waited: patience, source });
            }
            Err(error) => {
                // Whoever waits sees at once what stands in the way; it may be the password.
                let reason = told(&error);
                if reason != last {
                    events.notice(format!(
                        "nobody can log in yet, and it is tried for {}: {reason}",
                        lasting(patience)
                    ));
                    last = reason;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = cancel.cancelled() => return Err(InstanceError::Interrupted),
        }
    }
}

/// Reads what only a whole server can answer.
pub(super) async fn look(parameters: &ConnectionParameters) -> Result<Server, InstanceError> {
    let unsound = |error: sqlx::Error| InstanceError::Unsound(error.to_string());
    let connection = parameters.connect().await;
    let mut connection =
        connection.map_err(|source| InstanceError::Login { waited: Duration::ZERO, source })?;
    let (recovering, version, tls): (bool, String, bool) = sqlx::query_as(
        "SELECT pg_is_in_recovery(), current_setting('server_version'),
                coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(unsound)?;
    if recovering {
        return Err(InstanceError::Unsound("it is still in recovery, and takes no writes".to_owned()));
    }
    let tables: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(unsound)?;
    let newest_commit = newest_commit(&mut connection).await.map_err(unsound)?;
    let _closed = connection.close().await;
    Ok(Server { version, tls, tables: tables.unsigned_abs(), newest_commit })
}

/// Asks what the policy says must be true of it.
pub(super) async fn validate(
    parameters: &ConnectionParameters,
    plan: &InstancePlan,
    events: &Events,
) -> Result<Vec<Finding>, InstanceError> {
    if plan.checks.is_empty() {
        return Ok(vec![]);
    }
    let connection = parameters.connect().await;
    let mut connection =
        connection.map_err(|source| InstanceError::Login { waited: Duration::ZERO, source })?;
    let findings = check::run(&mut connection, &plan.checks, plan.until).await;
    close(connection).await;
    for finding in &findings {
        match finding.reason() {
            None => events.notice(format!("check `{}` holds", finding.check)),
            Some(reason) => events.warning(reason),
        }
    }
    Ok(findings)
}

/// Only where `track_commit_timestamp` is on.
async fn newest_commit(connection: &mut sqlx::PgConnection) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let tracks: String = sqlx::query_scalar("SELECT current_setting('track_commit_timestamp')")
        .fetch_one(&mut *connection)
        .await?;
    if tracks != "on" {
        return Ok(None);
    }
    let micros: Option<i64> = sqlx::query_scalar(
        "SELECT (extract(epoch FROM timestamp) * 1000000)::int8 FROM pg_last_committed_xact()",
    )
    .fetch_optional(&mut *connection)
    .await?
    .flatten();
    Ok(micros.and_then(DateTime::from_timestamp_micros))
}
