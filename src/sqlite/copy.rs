use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::connect::check_file;
use super::inspect::{Inspection, inspect};
use super::snapshot::Snapshot;
use super::{SqliteError, SqliteHeader};
use crate::platform::{CancellationToken, Clock};

/// Between two tries where SQLite does not wait by itself.
const PAUSE: Duration = Duration::from_millis(20);

/// A copy of a database.
#[derive(Debug)]
pub struct CopiedDatabase {
    /// The time just before its read transaction began: everything that was committed by then is in it.
    pub recovery_point: DateTime<Utc>,
    pub header: SqliteHeader,
    pub inspection: Inspection,
}

/// Copies a database into a new file, which only this user should be able to reach, and inspects the copy. A damaged
/// one is an error.
pub async fn copy_database(
    path: &Path,
    to: &Path,
    lock_wait: Duration,
    clock: &dyn Clock,
    cancel: &CancellationToken,
) -> Result<CopiedDatabase, SqliteError> {
    let header = check_file(path)?;
    let waits = Instant::now();
    let (recovery_point, snapshot) = loop {
        let now = clock.now();
        let own = path.to_owned();
        if let Some(snapshot) = blocking(move || Snapshot::begin(&own, header)).await? {
            break (now, snapshot);
        }
        if cancel.is_cancelled() {
            return Err(SqliteError::Interrupted);
        }
        if waits.elapsed() >= lock_wait {
            return Err(SqliteError::Locked { path: path.to_owned(), waited: lock_wait });
        }
        tokio::time::sleep(PAUSE).await;
    };
    let (copy, stop, own) = (to.to_owned(), cancel.clone(), path.to_owned());
    let inspection = blocking(move || {
        snapshot.copy_to(&copy, &stop)?;
        let inspection = inspect(&copy, &stop)?;
        match &inspection.damage[..] {
            [] => Ok(inspection),
            [_, ..] => Err(SqliteError::Damaged { path: own, findings: inspection.counted_damage() }),
        }
    });
    Ok(CopiedDatabase { recovery_point, header, inspection: inspection.await? })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SqliteError> + Send + 'static,
) -> Result<T, SqliteError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| SqliteError::Stopped)?
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
