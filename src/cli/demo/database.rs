use sqlx::{AssertSqlSafe, PgConnection};

use crate::cli::error::CommandError;
use crate::postgres::{ConnectError, ConnectionParameters, identifier};

const APPLICATION: &str = include_str!("application.sql");

/// The contents of a table, to compare two databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DemoTable {
    pub(super) name: String,
    pub(super) rows: i64,
    /// Of the text of every row, independent of their order.
    digest: String,
}

/// Connects as an application would.
pub(super) async fn connect(url: &str) -> Result<PgConnection, CommandError> {
    let url = url::Url::parse(url).map_err(CommandError::failed)?;
    let parameters = ConnectionParameters::from_url(&url).map_err(CommandError::failed)?;
    let mut connection =
        parameters.connect().await.map_err(|error: ConnectError| CommandError::failed(error))?;
    run(&mut connection, "SET search_path TO public").await?;
    Ok(connection)
}

/// Creates the application's tables and fills them.
pub(super) async fn fill(connection: &mut PgConnection) -> Result<(), CommandError> {
    run(connection, APPLICATION).await
}

pub(super) async fn run(connection: &mut PgConnection, statements: &str) -> Result<(), CommandError> {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(connection)
        .await
        .map_err(CommandError::failed)?;
    Ok(())
}

/// Runs a query that returns one text.
pub(super) async fn text(connection: &mut PgConnection, query: &'static str) -> Result<String, CommandError> {
    sqlx::query_scalar(query).fetch_one(connection).await.map_err(CommandError::failed)
}

/// Reads every table of the application.
pub(super) async fn tables(connection: &mut PgConnection) -> Result<Vec<DemoTable>, CommandError> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
          WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(CommandError::failed)?;
    let mut tables = Vec::new();
    for name in names {
        let query = format!(
            "SELECT count(*), coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), '') FROM {} AS t",
            identifier(&name)
        );
        let (rows, digest): (i64, String) = sqlx::query_as(AssertSqlSafe(query))
            .fetch_one(&mut *connection)
            .await
            .map_err(CommandError::failed)?;
        tables.push(DemoTable { name, rows, digest });
    }
    Ok(tables)
}
