use std::collections::BTreeSet;

use super::{Catalog, CatalogError};
use crate::model::{BackupId, RepositoryName};
use crate::repository::journal::JournalRecord;

/// The journal's facts about backups, whether a repository has them or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupHistory {
    /// Backups that were taken and committed.
    pub taken: BTreeSet<BackupId>,
    /// Copies that were removed on purpose.
    pub removed: BTreeSet<(BackupId, RepositoryName)>,
}

impl BackupHistory {
    pub fn from_records<'r>(records: impl IntoIterator<Item = &'r JournalRecord>) -> Self {
        let mut history = Self::default();
        for record in records {
            if record.verb == "backup" {
                history.taken.extend(record.detail.backups.iter().cloned());
            }
            let removed = record.detail.removals.iter();
            history.removed.extend(removed.map(|copy| (copy.backup.clone(), copy.repository.clone())));
        }
        history
    }

    pub fn is_removed(&self, backup: &BackupId, repository: &RepositoryName) -> bool {
        self.removed.contains(&(backup.clone(), repository.clone()))
    }
}

impl Catalog {
    /// Returns the facts about backups in the journal, as far as it was read.
    pub async fn history(&self) -> Result<BackupHistory, CatalogError> {
        let rows = sqlx::query(
            "SELECT record FROM runs WHERE system = $1 AND (verb = 'backup' OR record LIKE '%\"removals\":%')",
        )
        .bind(&self.system)
        .fetch_all(&self.pool)
        .await
        .map_err(self.failed("list runs"))?;
        let records = rows.iter().map(|row| self.record(row)).collect::<Result<Vec<_>, _>>()?;
        Ok(BackupHistory::from_records(&records))
    }
}
