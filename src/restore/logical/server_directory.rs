//! Directories on the host of the target server, as seen by the server itself.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::DumpRestoreError;
use super::query::ask;

/// How many of the entries of a directory are named.
const NAMED: usize = 3;
/// The folder that a file system has at its root from the beginning.
const OF_FILE_SYSTEM: &str = "lost+found";

/// The state of a directory for a tablespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerDirectory {
    Missing,
    NotADirectory,
    Empty,
    /// Some of its entries.
    Holds(Vec<String>),
    /// Why the server does not report it: only superusers and some roles may list it.
    Unknown(String),
}

/// Inspects directories, by path.
pub(super) async fn inspect(
    connection: &mut PgConnection,
    paths: &BTreeSet<String>,
) -> Result<BTreeMap<String, ServerDirectory>, DumpRestoreError> {
    let mut found = BTreeMap::new();
    for path in paths {
        let state = match look(connection, path).await {
            Err(DumpRestoreError::Target(sqlx::Error::Database(error))) => {
                ServerDirectory::Unknown(error.message().to_owned())
            }
            looked => looked?,
        };
        found.insert(path.clone(), state);
    }
    Ok(found)
}

async fn look(connection: &mut PgConnection, path: &str) -> Result<ServerDirectory, DumpRestoreError> {
    let is_directory: Option<bool> =
        ask(sqlx::query_scalar("SELECT s.isdir FROM pg_catalog.pg_stat_file($1, true) s")
            .bind(path)
            .fetch_one(&mut *connection))
        .await?;
    match is_directory {
        None => return Ok(ServerDirectory::Missing),
        Some(false) => return Ok(ServerDirectory::NotADirectory),
        Some(true) => {}
    }
    let entries: Vec<String> = ask(sqlx::query_scalar(
        "SELECT f.name FROM pg_catalog.pg_ls_dir($1) f(name) WHERE f.name <> $2 ORDER BY 1 LIMIT $3",
    )
    .bind(path)
    .bind(OF_FILE_SYSTEM)
    .bind(i64::try_from(NAMED).unwrap_or_default())
    .fetch_all(&mut *connection))
    .await?;
    Ok(if entries.is_empty() { ServerDirectory::Empty } else { ServerDirectory::Holds(entries) })
}
