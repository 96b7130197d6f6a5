use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::any::AnyPoolOptions;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AnyConnection, AnyPool, Connection as _, Executor as _};

use super::{CatalogError, CatalogLocation};
use crate::model::SystemName;
use crate::platform::{give_to_folder_owner, seed};
use crate::postgres::{ConnectError, ConnectionParameters, close};

static MIGRATIONS: Migrator = sqlx::migrate!("src/catalog/migrations");

/// How long a statement waits for another writing process.
const BUSY: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(20);

/// The known facts about one system's repositories. Systems share a database without seeing each other, and
/// so do two repositories with the same system name.
#[derive(Clone, Debug)]
pub struct Catalog {
    pub(super) pool: AnyPool,
    pub(super) name: SystemName,
    /// The key of rows: the system's name, and the repository's ID once that is known.
    pub(super) system: String,
    location: String,
}

impl Catalog {
    /// Opens the catalog and creates it if it does not exist: a refresh fills an empty catalog.
    pub async fn open(location: &CatalogLocation, system: &SystemName) -> Result<Self, CatalogError> {
        sqlx::any::install_default_drivers();
        let shown = location.to_string();
        let is_sqlite = !matches!(location, CatalogLocation::Postgres(_));
        if let CatalogLocation::Sqlite(path) = location {
            create_private(path)
                .map_err(|source| CatalogError::Create { location: shown.clone(), source })?;
        }
        let failed = |source| match is_damage(&source) {
            true => CatalogError::Damaged { location: shown.clone(), source: source.into() },
            false => CatalogError::Open { location: shown.clone(), source },
        };
        if let CatalogLocation::Postgres(url) = location {
            reach(url).await.map_err(|source| CatalogError::Reach { location: shown.clone(), source })?;
        }
        let url = location.url()?;
        // Once outside the pool, which would retry permanent failures until its timeout.
        let first = async {
            if matches!(location, CatalogLocation::Memory) {
                return Ok(());
            }
            let mut connection = AnyConnection::connect(url.as_str()).await?;
            prepare(&mut connection, is_sqlite).await?;
            connection.close().await
        };
        match tokio::time::timeout(CONNECT, first).await {
            Ok(opened) => opened.map_err(failed)?,
            Err(_) => return Err(failed(sqlx::Error::PoolTimedOut)),
        }
        let pool = match location {
            // A second connection would have another database, and closing one deletes its database.
            CatalogLocation::Memory => {
                AnyPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None)
            }
            _ => AnyPoolOptions::new().max_connections(2),
        };
        let pool = pool
            .acquire_timeout(CONNECT)
            .after_connect(move |connection, _| Box::pin(prepare(connection, is_sqlite)))
            .connect(url.as_str())
            .await
            .map_err(failed)?;
        let catalog = Self { pool, name: system.clone(), system: system.to_string(), location: shown };
        catalog.migrate().await?;
        Ok(catalog)
    }

    /// Selects the facts about the repository with this ID.
    pub fn of_repository(mut self, id: Option<&str>) -> Self {
        if let Some(id) = id {
            self.system = format!("{}@{id}", self.name);
        }
        self
    }

    /// Renames a damaged SQLite file, so that the next [`Catalog::open`] creates a new one. Returns its new
    /// path; `None` for PostgreSQL, or if there is no file.
    pub fn put_aside(
        location: &CatalogLocation,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<Option<PathBuf>, CatalogError> {
        let CatalogLocation::Sqlite(path) = location else { return Ok(None) };
        let suffix = |end: &str| {
            let mut name = path.clone().into_os_string();
            name.push(end);
            PathBuf::from(name)
        };
        let aside = suffix(&now.format(".damaged-%Y%m%dT%H%M%SZ").to_string());
        let failed = |source| CatalogError::Create { location: location.to_string(), source };
        match std::fs::rename(path, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        }
        // SQLite's WAL belongs to the damaged file and must not be applied to the new one.
        for end in ["-wal", "-shm"] {
            match std::fs::remove_file(suffix(end)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(Some(aside))
    }

    /// Returns the location, for display.
    pub fn location(&self) -> &str {
        &self.location
    }

    pub fn system_name(&self) -> &SystemName {
        &self.name
    }

    /// Closes the catalog once all writes are in the file.
    pub async fn close(self) {
        self.pool.close().await;
    }

    /// Migrates the schema. SQLite has no lock for migrations: of two processes that begin at once one fails,
    /// and finds the work done when it retries.
    async fn migrate(&self) -> Result<(), CatalogError> {
        let (begun, mut attempts) = (Instant::now(), 0);
        loop {
            attempts += 1;
            match MIGRATIONS.run(&self.pool).await {
                Ok(()) => return Ok(()),
                Err(MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..)) => {
                    return Err(CatalogError::Newer { location: self.location.clone() });
                }
                Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _))
                    if is_damage(&error) =>
                {
                    return Err(CatalogError::Damaged {
                        location: self.location.clone(),
                        source: error.into(),
                    });
                }
                Err(source) if attempts >= 20 && !(is_contended(&source) && begun.elapsed() < BUSY) => {
                    return Err(CatalogError::Migrate { location: self.location.clone(), source });
                }
                Err(_) => tokio::time::sleep(retry_pause()).await,
            }
        }
    }

    /// Converts the error of a statement, for `map_err`.
    pub(super) fn failed(&self, action: &'static str) -> impl Fn(sqlx::Error) -> CatalogError {
        move |source| {
            let location = self.location.clone();
            if is_damage(&source) {
                CatalogError::Damaged { location, source: source.into() }
            } else {
                CatalogError::Query { action, location, source }
            }
        }
    }

    /// Creates the error for a row with invalid contents.
    pub(super) fn damaged(
        &self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> CatalogError {
        CatalogError::Damaged { location: self.location.clone(), source: source.into() }
    }
}

/// Opens one session like all others of drctl: it respects the environment, and leaves no state on a pooler.
async fn reach(url: &url::Url) -> Result<(), ConnectError> {
    let connection = ConnectionParameters::from_url(url)?.connect().await?;
    close(connection).await;
    Ok(())
}

async fn prepare(connection: &mut AnyConnection, is_sqlite: bool) -> Result<(), sqlx::Error> {
    if is_sqlite {
        let busy = format!("PRAGMA busy_timeout = {}", BUSY.as_millis());
        connection.execute(sqlx::AssertSqlSafe(busy)).await?;
        // Changing the mode does not wait for other processes, regardless of the timeout.
        let begun = Instant::now();
        while let Err(error) = connection.execute("PRAGMA journal_mode = WAL").await {
            if !is_busy(&error) || begun.elapsed() > BUSY {
                return Err(error);
            }
            tokio::time::sleep(retry_pause()).await;
        }
        connection.execute("PRAGMA synchronous = NORMAL").await?;
    }
    Ok(())
}

/// Returns a random pause, so that two conflicting processes do not retry at the same time.
fn retry_pause() -> Duration {
    Duration::from_millis(20 + u64::from(seed() % 100))
}

fn is_contended(error: &MigrateError) -> bool {
    matches!(error, MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) if is_busy(error))
}

/// Returns whether the error is SQLITE_BUSY or SQLITE_LOCKED, with any extended code.
fn is_busy(error: &sqlx::Error) -> bool {
    sqlite_code(error).is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

/// Returns whether the error is SQLITE_CORRUPT or SQLITE_NOTADB, with any extended code.
fn is_damage(error: &sqlx::Error) -> bool {
    sqlite_code(error).is_some_and(|code| matches!(code & 0xff, 11 | 26))
}

fn sqlite_code(error: &sqlx::Error) -> Option<u32> {
    let sqlx::Error::Database(error) = error else { return None };
    error.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    error.code().and_then(|code| code.parse().ok())
}

fn create_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        let is_new = !directory.exists();
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        if is_new {
            give_to_folder_owner(directory)?;
        }
    }
    // SQLite gives its other files the mode of this one.
    let mut options = std::fs::OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => Ok(()),
        Ok(_) => give_to_folder_owner(path),
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Row as _;

    use super::*;

    #[tokio::test]
    async fn a_catalog_of_before_keeps_what_it_knows_of_its_repository_and_drops_the_rest() {
        let mut old = sqlx::SqliteConnection::connect("sqlite::memory:").await.unwrap();
        old.execute(include_str!("migrations/0001_begin.sql")).await.unwrap();
        old.execute(
            "INSERT INTO repositories VALUES ('shop', 'primary', '/p', 'id1', '2026', NULL);
             INSERT INTO repositories VALUES ('shop', 'west', '/w', 'id1', '2026', NULL);
             INSERT INTO copies VALUES ('shop', 'b1', 'primary', 'stored', NULL, NULL, NULL);
             INSERT INTO copies VALUES ('other', 'b2', 'primary', 'stored', NULL, NULL, NULL);",
        )
        .await
        .unwrap();
        old.execute(include_str!("migrations/0002_by_repository.sql")).await.unwrap();
        let rows =
            old.fetch_all("SELECT system, name, marked FROM repositories ORDER BY name").await.unwrap();
        let rows: Vec<(String, String, Option<String>)> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        let row = |name: &str, marked: Option<&str>| {
            ("shop@id1".to_owned(), name.to_owned(), marked.map(str::to_owned))
        };
        // An empty copy was seen, too: only a copy that held something is known to have been a repository.
        assert_eq!(rows, [row("primary", Some("2026")), row("west", None)]);
        let copies = old.fetch_all("SELECT system FROM copies").await.unwrap();
        assert_eq!(copies.iter().map(|row| row.get(0)).collect::<Vec<String>>(), ["shop@id1"]);
    }
}
