use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{CheckResult, CheckVerdict, evaluate};
use crate::policy::{Check, Probe};
use crate::text::format_duration;

/// One query may not take longer.
const WITHIN: Duration = Duration::from_secs(600);

/// What a person calls this database is found as the application finds it, and times are written in one way.
const SETTINGS: &str = "SET LOCAL search_path TO DEFAULT; SET LOCAL TimeZone TO 'UTC';
    SET LOCAL DateStyle TO 'ISO'; SET LOCAL statement_timeout TO ";

/// Asks a database what can be asked of one, in the policy's order; other checks are left out.
///
/// `until`: the moment that was restored to.
pub async fn run(connection: &mut PgConnection, checks: &[Check], until: DateTime<Utc>) -> Vec<CheckResult> {
    let mut findings = Vec::new();
    for check in checks {
        let Probe::Sql { query, expectations } = &check.probe else { continue };
        let verdict = match tokio::time::timeout(WITHIN, ask(connection, query)).await {
            Ok(Ok(rows)) => evaluate(&rows, expectations, until),
            Ok(Err(error)) => CheckVerdict::Undetermined { reason: crate::text::error_chain(&error) },
            Err(_) => {
                CheckVerdict::Undetermined { reason: format!("no answer within {}", format_duration(WITHIN)) }
            }
        };
        findings.push(CheckResult { check: check.name.clone(), verdict });
    }
    findings
}

/// The rows of the query's only column, as text.
async fn ask(connection: &mut PgConnection, query: &str) -> Result<Vec<Option<String>>, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN READ ONLY").await?;
    let settings = format!("{SETTINGS}{}", WITHIN.as_millis());
    sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut *transaction).await?;
    // On a line of its own, for a query that ends with a comment.
    let query = query.trim().trim_end_matches(';');
    let query = format!("SELECT answer::text FROM (\n{query}\n) AS asked(answer) LIMIT 2");
    let rows = sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut *transaction).await?;
    transaction.rollback().await?;
    Ok(rows)
}
