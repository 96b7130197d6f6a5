//! Sets the jobs of pg_cron inactive in a restored cluster, before the library that runs them is loaded again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use thiserror::Error;

use crate::platform::{CancellationToken, Program};
use crate::postgres::{ConnectError, ConnectionParameters, close, without_event_triggers};
use crate::restore::scheduled_jobs::{InactiveJob, PG_CRON};

const WITHIN: Duration = Duration::from_secs(60);
/// Databases that can always be connected to.
const ANY: [&str; 2] = ["postgres", "template1"];
/// The lines of `postmaster.pid`.
const PORT: usize = 3;
const SOCKET_DIRECTORY: usize = 4;
const ADDRESS: usize = 5;

/// Why jobs were not set inactive.
#[derive(Debug, Error)]
pub enum JobsError {
    #[error("the server in `{0}` does not run")]
    NotRunning(PathBuf),
    #[error("failed to log in to the server in `{directory}`")]
    LogIn {
        directory: PathBuf,
        #[source]
        source: ConnectError,
    },
    #[error("failed to read or change the jobs in database `{database}`")]
    Change {
        database: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("failed to read or change the jobs: no answer in 60s")]
    Silent,
}

/// Jobs that were not all set inactive.
#[derive(Debug)]
pub(super) struct JobsFailed {
    pub(super) error: JobsError,
    /// Those that were, in other databases.
    pub(super) done: Vec<InactiveJob>,
}

/// Returns the active jobs of pg_cron in all databases of the server that runs in the directory; with `apply`
/// they are set inactive. pg_cron itself must not be loaded.
pub(super) async fn deactivate(directory: &Path, apply: bool) -> Result<Vec<InactiveJob>, JobsFailed> {
    let mut jobs = Vec::new();
    let done = tokio::time::timeout(WITHIN, in_every_database(directory, apply, &mut jobs)).await;
    match done.unwrap_or(Err(JobsError::Silent)) {
        Ok(()) => Ok(jobs),
        Err(error) => Err(JobsFailed { error, done: if apply { jobs } else { vec![] } }),
    }
}

async fn in_every_database(
    directory: &Path,
    apply: bool,
    jobs: &mut Vec<InactiveJob>,
) -> Result<(), JobsError> {
    let (server, mut connection) = log_in(directory).await?;
    let query = "SELECT datname::text FROM pg_catalog.pg_database WHERE datallowconn AND datconnlimit <> -2 ORDER BY 1";
    let databases: Result<Vec<String>, _> = sqlx::query_scalar(query).fetch_all(&mut connection).await;
    close(connection).await;
    let change = |database: &str, source| JobsError::Change { database: database.to_owned(), source };
    for database in databases.map_err(|error| change(&server.database, error))? {
        let connected = server.with_database(&database).connect().await;
        let mut connection =
            connected.map_err(|source| JobsError::LogIn { directory: directory.to_owned(), source })?;
        let found = in_database(&mut connection, apply).await.map_err(|error| change(&database, error));
        close(connection).await;
        jobs.extend(found?);
    }
    Ok(())
}

async fn in_database(connection: &mut PgConnection, apply: bool) -> Result<Vec<InactiveJob>, sqlx::Error> {
    if !PG_CRON.is_in(connection).await? {
        return Ok(vec![]);
    }
    // A role that does not see every job is to fail, and not to find none.
    sqlx::raw_sql("SET row_security = off").execute(&mut *connection).await?;
    if !apply {
        return PG_CRON.active_jobs(connection).await;
    }
    let mut transaction = connection.begin().await?;
    // The table's trigger calls the library, which only a server that was started with it can load.
    sqlx::raw_sql("SET LOCAL session_replication_role = replica").execute(&mut *transaction).await?;
    let jobs = PG_CRON.deactivate(&mut transaction).await?;
    transaction.commit().await?;
    Ok(jobs)
}

/// Returns a login to the server of a directory that needs no password; `None`: there is none.
pub(super) async fn own_login(directory: &Path) -> Option<ConnectionParameters> {
    let (login, connection) = log_in(directory).await.ok()?;
    close(connection).await;
    Some(login)
}

/// Logs in as libpq would, and where that fails as the user that owns the directory.
async fn log_in(directory: &Path) -> Result<(ConnectionParameters, PgConnection), JobsError> {
    let (host, port) = address(directory).ok_or_else(|| JobsError::NotRunning(directory.to_owned()))?;
    let failed = |source| JobsError::LogIn { directory: directory.to_owned(), source };
    let any = "postgres:///postgres".parse().map_err(|_| failed(ConnectError::NoDatabase))?;
    let mut own = ConnectionParameters::from_url(&any).map_err(failed)?.locally(&host, port);
    // What a login runs is for the application's logins.
    let off = major(directory).and_then(without_event_triggers);
    own.settings.extend(off.map(|(name, value)| (name, value.to_owned())));
    let mut users = vec![own.user.clone()];
    users.extend(owner(directory).await.filter(|owner| *owner != own.user));
    let mut last = ConnectError::NoDatabase;
    for user in users {
        for database in ANY {
            let mut server = own.with_database(database);
            server.user.clone_from(&user);
            match server.connect().await {
                Ok(mut connection) => {
                    // The file may be left from before, and another server listen there now.
                    if !is_of(directory, &mut connection).await {
                        close(connection).await;
                        return Err(JobsError::NotRunning(directory.to_owned()));
                    }
                    return Ok((server, connection));
                }
                Err(error) => last = error,
            }
        }
    }
    Err(failed(last))
}

fn major(directory: &Path) -> Option<u32> {
    fs::read_to_string(directory.join("PG_VERSION")).ok()?.trim().parse().ok()
}

/// Whether the server's data directory is this one, and not another of the same name.
async fn is_of(directory: &Path, connection: &mut PgConnection) -> bool {
    let asked = sqlx::query_scalar::<_, String>("SELECT current_setting('data_directory')");
    let Ok(own) = asked.fetch_one(connection).await else { return false };
    let place = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    place(Path::new(&own)).is_some_and(|own| Some(own) == place(directory))
}

/// Returns where the server listens: the directory of its socket, or an address; `None`: it does not run.
fn address(directory: &Path) -> Option<(String, u16)> {
    let text = fs::read_to_string(directory.join("postmaster.pid")).ok()?;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let port = lines.get(PORT)?.parse().ok()?;
    let host = match (*lines.get(SOCKET_DIRECTORY)?, lines.get(ADDRESS).copied().unwrap_or_default()) {
        ("", "" | "*" | "0.0.0.0") => "127.0.0.1",
        ("", address) => address,
        (socket, _) => socket,
    };
    Some((host.to_owned(), port))
}

async fn owner(directory: &Path) -> Option<String> {
    let user = fs::metadata(directory).ok()?.uid().to_string();
    let program = Program::new("id").arg("-un").arg("--").arg(user);
    let said = program.run(Duration::from_secs(10), &CancellationToken::new()).await.ok()?;
    Some(said.stdout.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_where_it_says_that_it_listens() {
        let folder = tempfile::tempdir().unwrap();
        let at = |socket: &str, address_line: &str| {
            let text = format!("4711\n/data\n1800000000\n5433\n{socket}\n{address_line}\n  1  2\nready   \n");
            fs::write(folder.path().join("postmaster.pid"), text).unwrap();
            address(folder.path()).unwrap()
        };
        assert_eq!(at("/data", "127.0.0.1"), ("/data".to_owned(), 5433));
        assert_eq!(at("", "10.0.0.1"), ("10.0.0.1".to_owned(), 5433));
        assert_eq!(at("", "*"), ("127.0.0.1".to_owned(), 5433));
        fs::remove_file(folder.path().join("postmaster.pid")).unwrap();
        assert_eq!(address(folder.path()), None);
    }
}
