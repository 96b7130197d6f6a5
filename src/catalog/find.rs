use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::record::time;
use super::{Catalog, CatalogError};
use crate::model::{AssuranceLevel, BackupId, CopyCheck, Manifest, RepositoryName, RunId, SourceName};
use crate::repository::{BackupRecord, Inventory, KnownLocations, Repositories, journal};

/// A backup and its copies.
#[derive(Clone, Debug, PartialEq)]
pub struct BackupEntry {
    pub manifest: Manifest,
    /// By name of the repository, including those that lost it.
    pub copies: Vec<CopyEntry>,
}

impl BackupEntry {
    pub fn id(&self) -> &BackupId {
        &self.manifest.id
    }

    pub fn copy(&self, repository: &RepositoryName) -> Option<&CopyEntry> {
        self.copies.iter().find(|copy| copy.repository == *repository)
    }

    /// Returns whether any repository still holds it.
    pub fn is_held(&self) -> bool {
        self.copies.iter().any(CopyEntry::is_held)
    }

    /// Returns the best state of its good copies; `None` if there is none.
    pub fn state(&self) -> Option<AssuranceLevel> {
        self.copies.iter().filter(|copy| copy.is_good()).map(|copy| copy.state).max()
    }
}

/// A backup in one repository.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyEntry {
    pub repository: RepositoryName,
    pub state: AssuranceLevel,
    /// When a listing first showed that it was missing.
    pub vanished: Option<DateTime<Utc>>,
    pub last_check: Option<CopyCheck>,
}

impl CopyEntry {
    pub fn is_held(&self) -> bool {
        self.vanished.is_none()
    }

    /// Returns whether it is held and no fault of it is known.
    pub fn is_good(&self) -> bool {
        self.is_held() && self.last_check.as_ref().is_none_or(CopyCheck::is_good)
    }
}

/// Returns the copies that are held and have no known fault. `entries`: newest first.
pub fn intact_copies(entries: &[BackupEntry]) -> Inventory {
    let records = entries.iter().map(|entry| {
        let good = entry.copies.iter().filter(|copy| copy.is_good());
        let holders: Vec<_> = good.map(|copy| copy.repository.clone()).collect();
        BackupRecord { manifest: entry.manifest.clone(), holders }
    });
    let backups = records.filter(|record| !record.holders.is_empty()).collect();
    Inventory { backups, rejected: vec![] }
}

/// The known facts about a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryEntry {
    pub name: RepositoryName,
    pub location: String,
    pub repository_id: Option<String>,
    /// When it was last listed completely.
    pub seen: Option<DateTime<Utc>>,
    /// Why it could not be listed the last time.
    pub problem: Option<String>,
}

/// Which backups to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub source: Option<SourceName>,
    /// Includes those that no repository holds any more.
    pub vanished: bool,
}

/// How many candidates an ambiguous prefix returns.
const CANDIDATES: usize = 10;

impl Catalog {
    /// Lists backups, newest first.
    pub async fn backups(&self, filter: &Filter) -> Result<Vec<BackupEntry>, CatalogError> {
        let rows = sqlx::query("SELECT manifest FROM backups WHERE system = $1 AND ($2 = '' OR source = $2)")
            .bind(&self.system)
            .bind(filter.source.as_ref().map_or("", SourceName::as_str))
            .fetch_all(&self.pool)
            .await
            .map_err(self.failed("list backups"))?;
        let mut copies = self.copies(None).await?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            let entry = self.entry(&row, &mut copies)?;
            if filter.vanished || entry.is_held() {
                entries.push(entry);
            }
        }
        entries.sort_by(|a, b| b.id().cmp(a.id()));
        Ok(entries)
    }

    /// Returns the backup with this ID, or the only one whose ID begins with the text.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`], [`CatalogError::Ambiguous`] with the candidates.
    pub async fn find(&self, text: &str) -> Result<BackupEntry, CatalogError> {
        if text.is_empty() {
            return Err(CatalogError::Unknown(text.to_owned()));
        }
        let length = i32::try_from(text.chars().count()).unwrap_or(i32::MAX);
        let rows = sqlx::query(
            "SELECT id, manifest FROM backups WHERE system = $1 AND substr(id, 1, $2) = $3
             ORDER BY begun DESC LIMIT 11",
        )
        .bind(&self.system)
        .bind(length)
        .bind(text)
        .fetch_all(&self.pool)
        .await
        .map_err(self.failed("find a backup"))?;
        let exact = rows.iter().find(|row| row.try_get::<String, _>("id").is_ok_and(|id| id == text));
        let row = match (exact, rows.as_slice()) {
            (Some(row), _) | (None, [row]) => row,
            (None, []) => return Err(CatalogError::Unknown(text.to_owned())),
            (None, several) => {
                let mut found = Vec::new();
                for row in several.iter().take(CANDIDATES) {
                    found.push(self.parsed(row, "id")?);
                }
                let more = several.len() > CANDIDATES;
                return Err(CatalogError::Ambiguous { text: text.to_owned(), found, more });
            }
        };
        let id: BackupId = self.parsed(row, "id")?;
        let mut copies = self.copies(Some(&id)).await?;
        self.entry(row, &mut copies)
    }

    pub async fn repositories(&self) -> Result<Vec<RepositoryEntry>, CatalogError> {
        let rows = sqlx::query(
            "SELECT name, location, repository_id, seen, problem FROM repositories WHERE system = $1
             ORDER BY name",
        )
        .bind(&self.system)
        .fetch_all(&self.pool)
        .await
        .map_err(self.failed("list repositories"))?;
        rows.iter()
            .map(|row| {
                let name = self.parsed(row, "name")?;
                let location = self.column::<String>(row, "location")?;
                let repository_id = self.column(row, "repository_id")?;
                let seen = self.optional_time(row, "seen")?;
                Ok(RepositoryEntry {
                    name,
                    location,
                    repository_id,
                    seen,
                    problem: self.column(row, "problem")?,
                })
            })
            .collect()
    }

    /// Returns the ID shared by the repositories, from the one that was seen last.
    pub async fn repository_id(&self) -> Result<Option<String>, CatalogError> {
        let known = self.repositories().await?.into_iter().filter(|entry| entry.repository_id.is_some());
        Ok(known.max_by_key(|entry| entry.seen).and_then(|entry| entry.repository_id))
    }

    /// Returns the known facts about the system's repositories at these locations, and the catalog of just
    /// them.
    ///
    /// The first location with known facts decides: if another repository with the system's name replaced it,
    /// it is still the location of the known one.
    pub async fn remember(self, repositories: &Repositories) -> Result<(Self, KnownLocations), CatalogError> {
        let rows = sqlx::query(
            "SELECT name, location, repository_id, seen, marked FROM repositories
             WHERE system LIKE $1 AND repository_id IS NOT NULL",
        )
        .bind(format!("{}@%", self.name))
        .fetch_all(&self.pool)
        .await
        .map_err(self.failed("list repositories"))?;
        let mut known = Vec::new();
        for row in &rows {
            let seen = self.optional_time(row, "marked")?.max(self.optional_time(row, "seen")?);
            let (id, location) =
                (self.column::<String>(row, "repository_id")?, self.column::<String>(row, "location")?);
            let is_marked = self.optional_time(row, "marked")?;
            known.push((self.parsed::<RepositoryName>(row, "name")?, location, id, seen, is_marked));
        }
        let id = repositories.iter().find_map(|repository| {
            let location = repository.store.location();
            let there = known.iter().filter(|(_, known, ..)| *known == location);
            there.max_by_key(|(.., seen, _)| *seen).map(|(_, _, id, ..)| id.clone())
        });
        let is_ours = |known: &str| id.as_deref() == Some(known);
        let remembered = KnownLocations {
            marked: known
                .iter()
                .filter(|(_, _, id, ..)| is_ours(id))
                .filter_map(|(name, .., marked)| Some((name.clone(), (*marked)?)))
                .collect(),
            others: known
                .iter()
                .filter(|(_, location, id, ..)| !is_ours(id) && !location.is_empty())
                .map(|(_, location, ..)| location.clone())
                .collect(),
            id: id.clone(),
        };
        Ok((self.of_repository(id.as_deref()), remembered))
    }

    /// Lists runs that began at `since` or later, newest first.
    pub async fn runs(
        &self,
        since: Option<DateTime<Utc>>,
    ) -> Result<Vec<journal::JournalRecord>, CatalogError> {
        let rows =
            sqlx::query("SELECT record FROM runs WHERE system = $1 AND begun >= $2 ORDER BY begun DESC")
                .bind(&self.system)
                .bind(since.map(time).unwrap_or_default())
                .fetch_all(&self.pool)
                .await
                .map_err(self.failed("list runs"))?;
        rows.iter().map(|row| self.record(row)).collect()
    }

    pub(super) fn record(&self, row: &AnyRow) -> Result<journal::JournalRecord, CatalogError> {
        let text: String = self.column(row, "record")?;
        serde_json::from_str(&text).map_err(|error| self.damaged(error))
    }

    pub(super) async fn run_ids(&self) -> Result<BTreeSet<RunId>, CatalogError> {
        let rows = sqlx::query("SELECT id FROM runs WHERE system = $1")
            .bind(&self.system)
            .fetch_all(&self.pool)
            .await
            .map_err(self.failed("list runs"))?;
        rows.iter().map(|row| self.parsed(row, "id")).collect()
    }

    /// Returns the backups that a repository is known to hold, and those it is known to have lost.
    pub(super) async fn held_by(
        &self,
        repository: &RepositoryName,
    ) -> Result<(BTreeSet<BackupId>, BTreeSet<BackupId>), CatalogError> {
        let (held, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            self.known_in(repository).await?.into_iter().partition(|(_, vanished)| vanished.is_none());
        Ok((held.into_keys().collect(), gone.into_keys().collect()))
    }

    /// Returns every backup that a repository is known to have held, and since when it does not any more.
    pub(super) async fn known_in(
        &self,
        repository: &RepositoryName,
    ) -> Result<BTreeMap<BackupId, Option<DateTime<Utc>>>, CatalogError> {
        let rows = sqlx::query("SELECT backup, vanished FROM copies WHERE system = $1 AND repository = $2")
            .bind(&self.system)
            .bind(repository.as_str())
            .fetch_all(&self.pool)
            .await
            .map_err(self.failed("list copies"))?;
        rows.iter()
            .map(|row| Ok((self.parsed(row, "backup")?, self.optional_time(row, "vanished")?)))
            .collect()
    }

    /// Returns the manifest as it was recorded.
    pub(super) async fn manifest(&self, backup: &BackupId) -> Result<Option<Manifest>, CatalogError> {
        let row = sqlx::query("SELECT manifest FROM backups WHERE system = $1 AND id = $2")
            .bind(&self.system)
            .bind(backup.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(self.failed("find a backup"))?;
        row.map(|row| self.entry(&row, &mut BTreeMap::new()).map(|entry| entry.manifest)).transpose()
    }

    /// Returns the last checks of a backup's held copies.
    pub(super) async fn copy_checks(&self, backup: &BackupId) -> Result<Vec<CopyCheck>, CatalogError> {
        let copies = self.copies(Some(backup)).await?.remove(backup).unwrap_or_default();
        Ok(copies.into_iter().filter(CopyEntry::is_held).filter_map(|copy| copy.last_check).collect())
    }

    async fn copies(
        &self,
        backup: Option<&BackupId>,
    ) -> Result<BTreeMap<BackupId, Vec<CopyEntry>>, CatalogError> {
        let rows = sqlx::query(
            "SELECT backup, repository, state, vanished, last_check FROM copies
             WHERE system = $1 AND ($2 = '' OR backup = $2)",
        )
        .bind(&self.system)
        .bind(backup.map_or("", BackupId::as_str))
        .fetch_all(&self.pool)
        .await
        .map_err(self.failed("list copies"))?;
        let mut copies: BTreeMap<BackupId, Vec<CopyEntry>> = BTreeMap::new();
        for row in rows {
            let check: Option<String> = self.column(&row, "last_check")?;
            let last_check = check.map(|text| serde_json::from_str(&text)).transpose();
            let entry = CopyEntry {
                repository: self.parsed(&row, "repository")?,
                state: match self.column::<String>(&row, "state")?.as_str() {
                    "stored" => AssuranceLevel::Stored,
                    "checked" => AssuranceLevel::Checked,
                    "proven" => AssuranceLevel::Proven,
                    other => return Err(self.damaged(format!("`{other}` is not a state"))),
                },
                vanished: self.optional_time(&row, "vanished")?,
                last_check: last_check.map_err(|error| self.damaged(error))?,
            };
            copies.entry(self.parsed(&row, "backup")?).or_default().push(entry);
        }
        copies.values_mut().for_each(|held| held.sort_by(|a, b| a.repository.cmp(&b.repository)));
        Ok(copies)
    }

    fn entry(
        &self,
        row: &AnyRow,
        copies: &mut BTreeMap<BackupId, Vec<CopyEntry>>,
    ) -> Result<BackupEntry, CatalogError> {
        let text: String = self.column(row, "manifest")?;
        let manifest: Manifest = serde_json::from_str(&text).map_err(|error| self.damaged(error))?;
        let copies = copies.remove(&manifest.id).unwrap_or_default();
        Ok(BackupEntry { manifest, copies })
    }

    pub(super) fn column<T>(&self, row: &AnyRow, name: &str) -> Result<T, CatalogError>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>,
    {
        row.try_get(name).map_err(|error| self.damaged(error))
    }

    fn parsed<T>(&self, row: &AnyRow, name: &str) -> Result<T, CatalogError>
    where
        T: std::str::FromStr,
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        self.column::<String>(row, name)?.parse().map_err(|error: T::Err| self.damaged(error))
    }

    fn optional_time(&self, row: &AnyRow, name: &str) -> Result<Option<DateTime<Utc>>, CatalogError> {
        let text: Option<String> = self.column(row, name)?;
        text.map(|text| text.parse()).transpose().map_err(|error: chrono::ParseError| self.damaged(error))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::catalog::CatalogLocation;
    use crate::repository::fixtures::{backup, noon, system};

    #[tokio::test]
    async fn a_prefix_finds_one_and_several_are_listed() {
        let root = tempfile::tempdir().unwrap();
        let location = CatalogLocation::Sqlite(root.path().join("catalog.db"));
        let catalog = Catalog::open(&location, &system()).await.unwrap();
        let holders = ["primary".parse().unwrap()];
        for minutes in [0, 1, 70] {
            catalog.record_backup(&backup(minutes).0, &holders).await.unwrap();
        }
        let found = catalog.find("20261120T1310").await.unwrap();
        assert_eq!(found.manifest, backup(70).0);
        let error = catalog.find("20261120T12").await.unwrap_err();
        let CatalogError::Ambiguous { found, more: false, .. } = &error else { panic!("{error}") };
        assert_eq!(*found, [backup(1).0.id, backup(0).0.id]);
        assert!(error.to_string().contains(backup(1).0.id.as_str()), "{error}");
        for unknown in ["", "2025", "%", "20261120t12", "20261120T120000Z-database-logical-zzzz"] {
            assert!(matches!(catalog.find(unknown).await, Err(CatalogError::Unknown(_))), "{unknown}");
        }
        catalog.forget(&backup(70).0.id).await.unwrap();
        assert!(catalog.find("20261120T1310").await.is_err());
        assert_eq!(catalog.backups(&Filter::default()).await.unwrap().len(), 2);

        // Another system in the same file sees none of it.
        let other = Catalog::open(&location, &"blog".parse().unwrap()).await.unwrap();
        assert!(other.backups(&Filter::default()).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_file_is_private_and_a_damaged_one_says_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("new folder/catalog.db");
        let location = CatalogLocation::Sqlite(path.clone());
        Catalog::open(&location, &system()).await.unwrap().close().await;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        std::fs::write(
            &path,
            "this is not a database, but it is long enough to be taken for one".repeat(100),
        )
        .unwrap();
        let error = Catalog::open(&location, &system()).await.unwrap_err();
        assert!(matches!(error, CatalogError::Damaged { .. }), "{error:?}");
        let aside = Catalog::put_aside(&location, noon()).unwrap().unwrap();
        assert!(aside.exists());
        Catalog::open(&location, &system()).await.unwrap();
    }

    #[tokio::test]
    async fn processes_that_begin_at_once_all_open_and_write() {
        let root = tempfile::tempdir().unwrap();
        let location = CatalogLocation::Sqlite(root.path().join("catalog.db"));
        let tasks: Vec<_> = (0..12)
            .map(|n| {
                let location = location.clone();
                tokio::spawn(async move {
                    let catalog = Catalog::open(&location, &system()).await?;
                    let holders = ["primary".parse().unwrap()];
                    for minutes in 0..5 {
                        catalog.record_backup(&backup(n * 5 + minutes).0, &holders).await?;
                    }
                    Ok::<_, CatalogError>(())
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let catalog = Catalog::open(&location, &system()).await.unwrap();
        assert_eq!(catalog.backups(&Filter::default()).await.unwrap().len(), 60);
    }
}
