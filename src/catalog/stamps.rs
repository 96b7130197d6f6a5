//! What listings said of objects when they were last read and accepted.

use std::collections::BTreeMap;

use super::{Catalog, CatalogError};
use crate::model::{RepositoryName, RunId};
use crate::repository::journal::JournalRecord;

impl Catalog {
    /// Returns the stamps of a repository's objects, by key.
    pub(super) async fn stamps(
        &self,
        repository: &RepositoryName,
    ) -> Result<BTreeMap<String, String>, CatalogError> {
        let rows = sqlx::query("SELECT object, stamp FROM stamps WHERE system = $1 AND repository = $2")
            .bind(&self.system)
            .bind(repository.as_str())
            .fetch_all(&self.pool)
            .await
            .map_err(self.failed("list stamps"))?;
        rows.iter().map(|row| Ok((self.column(row, "object")?, self.column(row, "stamp")?))).collect()
    }

    /// Records that objects were accepted as they were listed.
    pub(super) async fn record_stamps(
        &self,
        repository: &RepositoryName,
        stamps: &[(String, String)],
    ) -> Result<(), CatalogError> {
        if stamps.is_empty() {
            return Ok(());
        }
        let failed = self.failed("record stamps");
        let mut transaction = self.pool.begin().await.map_err(&failed)?;
        for (object, stamp) in stamps {
            sqlx::query(
                "INSERT INTO stamps (system, repository, object, stamp) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (system, repository, object) DO UPDATE SET stamp = excluded.stamp",
            )
            .bind(&self.system)
            .bind(repository.as_str())
            .bind(object)
            .bind(stamp)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)
    }

    /// Returns the record of a run as it is known; `None`: the run is not.
    pub(super) async fn run_record(&self, run: &RunId) -> Result<Option<JournalRecord>, CatalogError> {
        let row = sqlx::query("SELECT record FROM runs WHERE system = $1 AND id = $2")
            .bind(&self.system)
            .bind(run.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(self.failed("find a run"))?;
        let Some(row) = row else { return Ok(None) };
        let text: String = self.column(&row, "record")?;
        serde_json::from_str(&text).map(Some).map_err(|error| self.damaged(error))
    }
}
