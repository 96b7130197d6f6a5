//! Queries to the target server, each with a time limit.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection};

use super::DumpRestoreError;

/// How long a query to the server may take.
pub(super) const WITHIN: Duration = Duration::from_secs(60);

pub(super) async fn ask<T>(
    question: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, DumpRestoreError> {
    match tokio::time::timeout(WITHIN, question).await {
        Ok(answered) => answered.map_err(DumpRestoreError::Target),
        Err(_) => Err(DumpRestoreError::TargetSilent { waited: WITHIN }),
    }
}

pub(super) async fn one<T>(connection: &mut PgConnection, query: &'static str) -> Result<T, DumpRestoreError>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    ask(sqlx::query_as(query).fetch_one(connection)).await
}

pub(super) async fn all<T>(
    connection: &mut PgConnection,
    query: &'static str,
) -> Result<Vec<T>, DumpRestoreError>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    ask(sqlx::query_as(query).fetch_all(connection)).await
}

pub(super) async fn names(
    connection: &mut PgConnection,
    query: &'static str,
) -> Result<BTreeSet<String>, DumpRestoreError> {
    let rows: Vec<(String,)> = all(connection, query).await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}
