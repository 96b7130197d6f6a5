use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{CheckResult, CheckVerdict, evaluate};
use crate::policy::{Check, Expectation, Probe};
use crate::postgres::{ConnectionParameters, close};
use crate::text::{error_chain, format_duration};

/// Timeout of one query.
const WITHIN: Duration = Duration::from_secs(600);

/// Resolves names as the application does, and writes times in one format.
const SETTINGS: &str = "SET LOCAL search_path TO DEFAULT; SET LOCAL TimeZone TO 'UTC';
    SET LOCAL DateStyle TO 'ISO'; SET LOCAL statement_timeout TO ";

/// Runs the policy's checks on a database, in the policy's order; skips checks of other kinds.
///
/// `ways`: the addresses to try, of which the first that works is used, or why there is none; `until`: the
/// recovery target.
pub async fn run(
    ways: Result<Vec<ConnectionParameters>, String>,
    checks: &[Check],
    until: DateTime<Utc>,
) -> Vec<CheckResult> {
    let mut reached = match ways {
        Ok(ways) => connect(&ways).await,
        Err(reason) => Err(reason),
    };
    let mut results = Vec::new();
    for check in checks {
        let Probe::Sql { query, expectations } = &check.probe else { continue };
        let answer = match &mut reached {
            Ok(connection) => ask_within(connection, query, expectations, until).await,
            Err(reason) => CheckVerdict::Undetermined { reason: reason.clone() },
        };
        results.push(CheckResult::of_policy(&check.name, answer));
    }
    if let Ok(connection) = reached {
        close(connection).await;
    }
    results
}

pub(super) async fn connect(ways: &[ConnectionParameters]) -> Result<PgConnection, String> {
    let mut reasons = Vec::new();
    for way in ways {
        match way.connect().await {
            Ok(connection) => return Ok(connection),
            Err(error) => reasons.push(error_chain(&error)),
        }
    }
    Err(format!("failed to log in: {}", reasons.join("; ")))
}

async fn ask_within(
    connection: &mut PgConnection,
    query: &str,
    expectations: &[Expectation],
    until: DateTime<Utc>,
) -> CheckVerdict {
    match tokio::time::timeout(WITHIN, ask(connection, query)).await {
        Ok(Ok(rows)) => evaluate(&rows, expectations, until),
        Ok(Err(error)) if is_not_there(&error) => CheckVerdict::NotThere { reason: error_chain(&error) },
        Ok(Err(error)) => CheckVerdict::Undetermined { reason: error_chain(&error) },
        Err(_) => {
            CheckVerdict::Undetermined { reason: format!("no answer within {}", format_duration(WITHIN)) }
        }
    }
}

/// Whether the server has not what is asked for, or does not let the role see it.
fn is_not_there(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| ["42501", "42P01", "42703", "3F000"].contains(&&*code))
}

/// Returns the rows of the query's only column, as text.
async fn ask(connection: &mut PgConnection, query: &str) -> Result<Vec<Option<String>>, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN READ ONLY").await?;
    let settings = format!("{SETTINGS}{}", WITHIN.as_millis());
    sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut *transaction).await?;
    // On a line of its own, in case the query ends with a comment.
    let query = query.trim().trim_end_matches(';');
    let query = format!("SELECT answer::text FROM (\n{query}\n) AS asked(answer) LIMIT 2");
    let rows = sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut *transaction).await?;
    transaction.rollback().await?;
    Ok(rows)
}
