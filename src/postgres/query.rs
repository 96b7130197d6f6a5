//! Queries with a deadline.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection};
use thiserror::Error;

use crate::text::format_duration;

/// The maximum time of a catalog query.
const QUESTION_WITHIN: Duration = Duration::from_secs(600);

/// Why a database could not be described.
#[derive(Debug, Error)]
pub enum FactsError {
    #[error("failed to read {what} of the database")]
    Question {
        what: &'static str,
        #[source]
        source: sqlx::Error,
    },
    #[error("failed to count the rows of `{table}`")]
    Count {
        table: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("failed to read {what} of the database: no answer in {}", format_duration(*.waited))]
    Deadline { what: String, waited: Duration },
}

pub(super) async fn answer<T>(
    what: &'static str,
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, FactsError> {
    match tokio::time::timeout(QUESTION_WITHIN, asked).await {
        Ok(answered) => answered.map_err(|source| FactsError::Question { what, source }),
        Err(_) => Err(FactsError::Deadline { what: what.to_owned(), waited: QUESTION_WITHIN }),
    }
}

pub(super) async fn one<T>(
    connection: &mut PgConnection,
    what: &'static str,
    query: &'static str,
) -> Result<T, FactsError>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    answer(what, sqlx::query_as(query).fetch_one(connection)).await
}

pub(super) async fn all<T>(
    connection: &mut PgConnection,
    what: &'static str,
    query: &'static str,
) -> Result<Vec<T>, FactsError>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    answer(what, sqlx::query_as(query).fetch_all(connection)).await
}

pub(super) async fn names(
    connection: &mut PgConnection,
    what: &'static str,
    query: &'static str,
) -> Result<Vec<String>, FactsError> {
    let rows: Vec<(String,)> = all(connection, what, query).await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

pub(super) async fn execute(
    connection: &mut PgConnection,
    what: &'static str,
    statement: &'static str,
) -> Result<(), FactsError> {
    answer(what, sqlx::query(statement).execute(connection)).await.map(drop)
}
