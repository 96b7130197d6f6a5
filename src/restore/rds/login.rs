use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::Connection as _;

use super::report::RdsEndpoint;
use crate::aws::rds::Database;
use crate::checks::CheckResult;
use crate::event::Events;
use crate::model::RestoreProfile;
use crate::platform::{CancellationToken, SecretRef};
use crate::policy::{PasswordSource, PostgresSource};
use crate::postgres::{self, ConnectError, ConnectionParameters};
use crate::restore::AwsRestoreError;
use crate::text::{error_chain, format_duration};

/// The name of a new instance resolves everywhere only after minutes.
const PATIENCE: Duration = Duration::from_secs(600);
/// The maximum interval between attempts.
const USUAL: Duration = Duration::from_secs(20);

/// A database that was logged in to, and what its checks found.
pub(super) struct LoggedIn {
    pub(super) parameters: ConnectionParameters,
    pub(super) server: RdsEndpoint,
    pub(super) checks: Vec<CheckResult>,
}

/// A login to a database, with what the policy keeps secret at hand.
pub(crate) struct Login {
    parameters: ConnectionParameters,
    /// The secret where RDS keeps the password of the role. The policy's is that of the original.
    kept_by_rds: Option<SecretRef>,
}

impl Login {
    /// Resolves the policy's login at the address of the database; a master whose password RDS manages logs
    /// in with that.
    pub(crate) async fn resolve(
        login: &PostgresSource,
        database: &Database,
        region: &str,
    ) -> Result<Self, AwsRestoreError> {
        let endpoint = database.endpoint.as_ref().ok_or(AwsRestoreError::NoEndpoint)?;
        let bare = PostgresSource { password: None, ..login.clone() };
        let by_token = matches!(login.password, Some(PasswordSource::IamToken(_)));
        let mut kept_by_rds = None;
        if let Some(secret) = database.master_secret.as_ref().filter(|_| !by_token) {
            let user = resolve(&bare).await?.user;
            kept_by_rds = (database.profile.master_username.as_ref() == Some(&user))
                .then(|| SecretRef::SecretsManager { id: secret.clone(), key: Some("password".to_owned()) });
        }
        let resolved = match kept_by_rds {
            Some(_) => resolve(&bare).await?,
            None => resolve(login).await?,
        };
        // Waiting would not turn it on.
        if by_token && database.profile.iam_authentication == Some(false) {
            return Err(AwsRestoreError::NoIam { instance: database.id.identifier().to_owned() });
        }
        Ok(Self { parameters: resolved.at(&endpoint.host, endpoint.port, region), kept_by_rds })
    }

    /// Returns the current parameters: RDS rotates the passwords that it manages.
    async fn now(&self) -> Result<ConnectionParameters, ConnectError> {
        let mut parameters = self.parameters.clone();
        if let Some(secret) = &self.kept_by_rds {
            let password = secret.resolve().await.map_err(ConnectError::Password)?;
            parameters.password = Some(postgres::Password::Known(password));
        }
        Ok(parameters)
    }

    /// Checks that its password or token can be obtained.
    pub(crate) async fn is_at_hand(&self) -> Result<(), ConnectError> {
        self.now().await?.prove().await
    }

    pub(crate) async fn attempt(&self) -> Result<ConnectionParameters, ConnectError> {
        let parameters = self.now().await?;
        let connection = parameters.connect().await?;
        let _closed = connection.close().await;
        Ok(parameters)
    }
}

async fn resolve(login: &PostgresSource) -> Result<ConnectionParameters, AwsRestoreError> {
    ConnectionParameters::resolve(login).await.map_err(AwsRestoreError::Unresolved)
}

/// Returns whether the policy's login, by a password, is that of the master, as far as the policy names the
/// role.
pub(crate) fn is_of_master(login: &PostgresSource, profile: &RestoreProfile) -> bool {
    let by_token = matches!(login.password, Some(PasswordSource::IamToken(_)));
    let user = login.url.as_ref().and_then(|url| ConnectionParameters::from_url(url).ok());
    !by_token && user.is_some_and(|parameters| Some(parameters.user) == profile.master_username)
}

/// Logs in with the policy's login at the new address, retrying until it works.
pub(crate) async fn log_in(
    login: &PostgresSource,
    database: &Database,
    region: &str,
    every: Duration,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<ConnectionParameters, AwsRestoreError> {
    let login = Login::resolve(login, database, region).await?;
    let patience = PATIENCE.mul_f64((every.as_secs_f64() / USUAL.as_secs_f64()).min(1.0)).max(every * 10);
    let begun = Instant::now();
    let mut last = String::new();
    loop {
        match login.attempt().await {
            Ok(parameters) => return Ok(parameters),
            Err(source) if begun.elapsed() > patience => {
                return Err(AwsRestoreError::Login { waited: patience, source });
            }
            Err(error) => {
                // It may be the password, which no waiting would change.
                let reason = error_chain(&error);
                if reason != last {
                    events.notice(format!(
                        "login failed, and is retried for {}: {reason}",
                        format_duration(patience)
                    ));
                    last = reason;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = cancel.cancelled() => return Err(AwsRestoreError::Interrupted),
        }
    }
}

/// Runs queries that only an intact server can answer.
pub(crate) async fn look(parameters: &ConnectionParameters) -> Result<RdsEndpoint, AwsRestoreError> {
    let unsound = |error: sqlx::Error| AwsRestoreError::Unsound(error.to_string());
    let connection = parameters.connect().await;
    let mut connection =
        connection.map_err(|source| AwsRestoreError::Login { waited: Duration::ZERO, source })?;
    let (recovering, version, tls): (bool, String, bool) = sqlx::query_as(
        "SELECT pg_is_in_recovery(), current_setting('server_version'),
                coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(unsound)?;
    if recovering {
        return Err(AwsRestoreError::Unsound("it is still in recovery, and takes no writes".to_owned()));
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
    Ok(RdsEndpoint { version, tls, tables: tables.unsigned_abs(), newest_commit })
}

/// Returns the newest commit where `track_commit_timestamp` is on.
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
