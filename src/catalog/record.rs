use chrono::{DateTime, SecondsFormat, Utc};

use super::{Catalog, CatalogError};
use crate::model::{AssuranceLevel, BackupId, CopyCheck, Manifest, RepositoryName, SourceName};
use crate::repository::{Repositories, journal};

/// Formats a time as it is stored: it sorts as text.
pub(super) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(super) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Catalog {
    /// Records a run and its checks. A known run is left unchanged.
    pub async fn record_run(&self, record: &journal::JournalRecord) -> Result<(), CatalogError> {
        let failed = self.failed("record a run");
        let text = serde_json::to_string(record).map_err(|error| self.damaged(error))?;
        sqlx::query(
            "INSERT INTO runs (system, id, verb, begun, ended, host, outcome, record)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (system, id) DO NOTHING",
        )
        .bind(&self.system)
        .bind(record.run.as_str())
        .bind(&record.verb)
        .bind(time(record.begun))
        .bind(time(record.ended))
        .bind(&record.host)
        .bind(record.outcome.as_str())
        .bind(text)
        .execute(&self.pool)
        .await
        .map_err(&failed)?;
        for check in &record.detail.checks {
            self.record_check(check).await?;
        }
        for copy in &record.detail.proven {
            self.record_proven(copy, record.ended).await?;
        }
        Ok(())
    }

    /// Records that a drill that ended at `at` restored a copy and found it good, unless it was found bad or vanished
    /// since.
    pub async fn record_proven(
        &self,
        copy: &journal::ProvenCopy,
        at: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        let refutes = |check: &CopyCheck| {
            check.repository == copy.repository
                && check.backup == copy.backup
                && check.at > at
                && !check.is_good()
        };
        let is_refuted =
            self.known_check(&copy.backup, &copy.repository).await?.is_some_and(|known| refutes(&known))
                || self
                    .runs_about(&copy.backup, at)
                    .await?
                    .iter()
                    .any(|run| run.detail.checks.iter().any(refutes));
        if is_refuted {
            return Ok(());
        }
        sqlx::query(
            "UPDATE copies SET state = $1
             WHERE system = $2 AND backup = $3 AND repository = $4 AND vanished IS NULL",
        )
        .bind(AssuranceLevel::Proven.as_str())
        .bind(&self.system)
        .bind(copy.backup.as_str())
        .bind(copy.repository.as_str())
        .execute(&self.pool)
        .await
        .map_err(self.failed("record a drill"))?;
        Ok(())
    }

    /// Records a backup and the repositories that hold it: those with its manifest.
    pub async fn record_backup(
        &self,
        manifest: &Manifest,
        holders: &[RepositoryName],
    ) -> Result<(), CatalogError> {
        let failed = self.failed("record a backup");
        let text = serde_json::to_string(manifest).map_err(|error| self.damaged(error))?;
        let mut transaction = self.pool.begin().await.map_err(&failed)?;
        sqlx::query(
            "INSERT INTO backups (system, id, source, kind, run, recovery_point, begun, ended, host,
                                  plain_size, stored_size, manifest)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (system, id) DO NOTHING",
        )
        .bind(&self.system)
        .bind(manifest.id.as_str())
        .bind(manifest.source.as_str())
        .bind(manifest.kind.as_str())
        .bind(manifest.run.as_str())
        .bind(time(manifest.recovery_point))
        .bind(time(manifest.begun))
        .bind(time(manifest.ended))
        .bind(&manifest.host)
        .bind(size(manifest.plain_size()))
        .bind(size(manifest.stored_size()))
        .bind(text)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        for artifact in &manifest.artifacts {
            sqlx::query(
                "INSERT INTO artifacts (system, backup, name, plain_size, plain_sha256, stored_size, objects)
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (system, backup, name) DO NOTHING",
            )
            .bind(&self.system)
            .bind(manifest.id.as_str())
            .bind(&artifact.name)
            .bind(size(artifact.plain.size))
            .bind(artifact.plain.sha256.to_string())
            .bind(size(artifact.stored_size()))
            .bind(size(artifact.objects.len() as u64))
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        }
        for repository in holders {
            // A copy that had vanished and exists again was rewritten: its earlier checks no longer apply.
            sqlx::query(
                "INSERT INTO copies (system, backup, repository, state) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (system, backup, repository) DO UPDATE SET
                    state = CASE WHEN copies.vanished IS NULL THEN copies.state ELSE excluded.state END,
                    checked_at = CASE WHEN copies.vanished IS NULL THEN copies.checked_at ELSE NULL END,
                    last_check = CASE WHEN copies.vanished IS NULL THEN copies.last_check ELSE NULL END,
                    vanished = NULL",
            )
            .bind(&self.system)
            .bind(manifest.id.as_str())
            .bind(repository.as_str())
            .bind(AssuranceLevel::Stored.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)
    }

    /// Records the result of a check of one copy, unless a later check of it is known.
    pub async fn record_check(&self, check: &CopyCheck) -> Result<(), CatalogError> {
        let failed = self.failed("record a check");
        let text = serde_json::to_string(check).map_err(|error| self.damaged(error))?;
        if self
            .known_check(&check.backup, &check.repository)
            .await?
            .is_some_and(|known| known.outlasts(check))
        {
            return Ok(());
        }
        // The bytes of an AWS-managed backup are never read; its artifacts have only its settings.
        let is_read = check.is_good() && !check.backup.kind().is_managed();
        let state = if is_read { AssuranceLevel::Checked } else { AssuranceLevel::Stored };
        let is_proof_kept = check.is_good() || self.is_proven_since(check).await?;
        let kept = if is_proof_kept { AssuranceLevel::Proven.as_str() } else { "" };
        sqlx::query(
            "UPDATE copies SET checked_at = $1, last_check = $2,
                    state = CASE WHEN state = $3 THEN state ELSE $4 END
             WHERE system = $5 AND backup = $6 AND repository = $7
               AND (checked_at IS NULL OR checked_at <= $1)",
        )
        .bind(time(check.at))
        .bind(text)
        .bind(kept)
        .bind(state.as_str())
        .bind(&self.system)
        .bind(check.backup.as_str())
        .bind(check.repository.as_str())
        .execute(&self.pool)
        .await
        .map_err(&failed)?;
        Ok(())
    }

    /// Returns the last check of a copy that is held.
    async fn known_check(
        &self,
        backup: &BackupId,
        repository: &RepositoryName,
    ) -> Result<Option<CopyCheck>, CatalogError> {
        let known = self.copy_checks(backup).await?;
        Ok(known.into_iter().find(|known| known.repository == *repository))
    }

    /// Returns whether a drill restored the copy after the check: the order in which they become known says nothing.
    async fn is_proven_since(&self, check: &CopyCheck) -> Result<bool, CatalogError> {
        let is_copy =
            |copy: &journal::ProvenCopy| copy.backup == check.backup && copy.repository == check.repository;
        let runs = self.runs_about(&check.backup, check.at).await?;
        Ok(runs.iter().any(|run| run.ended >= check.at && run.detail.proven.iter().any(is_copy)))
    }

    /// Returns the known runs that ended since then and name the backup.
    async fn runs_about(
        &self,
        backup: &BackupId,
        since: DateTime<Utc>,
    ) -> Result<Vec<journal::JournalRecord>, CatalogError> {
        let rows =
            sqlx::query("SELECT record FROM runs WHERE system = $1 AND ended >= $2 AND record LIKE $3")
                .bind(&self.system)
                .bind(time(since))
                .bind(format!("%{backup}%"))
                .fetch_all(&self.pool)
                .await
                .map_err(self.failed("list runs"))?;
        rows.iter().map(|row| self.record(row)).collect()
    }

    /// Returns the known runs of drills.
    pub async fn drill_runs(&self) -> Result<Vec<journal::JournalRecord>, CatalogError> {
        let rows = sqlx::query("SELECT record FROM runs WHERE system = $1 AND verb = $2")
            .bind(&self.system)
            .bind(journal::DRILL)
            .fetch_all(&self.pool)
            .await
            .map_err(self.failed("list runs"))?;
        rows.iter().map(|row| self.record(row)).collect()
    }

    /// Returns when the first backup of a source was taken that any known run names, whether it is kept still or not.
    pub async fn first_backup(&self, source: &SourceName) -> Result<Option<DateTime<Utc>>, CatalogError> {
        let rows = sqlx::query(
            "SELECT record FROM runs WHERE system = $1 AND record LIKE $2 ORDER BY begun LIMIT 50",
        )
        .bind(&self.system)
        .bind(format!("%Z-{source}-%"))
        .fetch_all(&self.pool)
        .await
        .map_err(self.failed("list runs"))?;
        let runs: Result<Vec<journal::JournalRecord>, CatalogError> =
            rows.iter().map(|row| self.record(row)).collect();
        let backups = runs?.into_iter().flat_map(|run| run.detail.backups);
        Ok(backups.filter(|backup| backup.source() == source).map(|backup| backup.begun()).min())
    }

    /// Deletes a backup from the catalog; the repositories are not changed.
    pub async fn forget(&self, backup: &BackupId) -> Result<(), CatalogError> {
        let failed = self.failed("forget a backup");
        let mut transaction = self.pool.begin().await.map_err(&failed)?;
        for statement in [
            "DELETE FROM copies WHERE system = $1 AND backup = $2",
            "DELETE FROM artifacts WHERE system = $1 AND backup = $2",
            "DELETE FROM backups WHERE system = $1 AND id = $2",
        ] {
            sqlx::query(statement)
                .bind(&self.system)
                .bind(backup.as_str())
                .execute(&mut *transaction)
                .await
                .map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)
    }

    /// Records that a listing showed that the repository no longer holds a backup.
    pub(super) async fn record_vanished(
        &self,
        backup: &BackupId,
        repository: &RepositoryName,
        at: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        sqlx::query(
            "UPDATE copies SET vanished = $1
             WHERE system = $2 AND backup = $3 AND repository = $4 AND vanished IS NULL",
        )
        .bind(time(at))
        .bind(&self.system)
        .bind(backup.as_str())
        .bind(repository.as_str())
        .execute(&self.pool)
        .await
        .map_err(self.failed("record a missing backup"))?;
        Ok(())
    }

    /// Records that a repository once held a backup and does not any more, as known before it was read again.
    pub(super) async fn record_gone(
        &self,
        backup: &BackupId,
        repository: &RepositoryName,
        since: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        sqlx::query(
            "INSERT INTO copies (system, backup, repository, state, vanished) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (system, backup, repository) DO NOTHING",
        )
        .bind(&self.system)
        .bind(backup.as_str())
        .bind(repository.as_str())
        .bind(AssuranceLevel::Stored.as_str())
        .bind(time(since))
        .execute(&self.pool)
        .await
        .map_err(self.failed("record a missing backup"))?;
        Ok(())
    }

    /// Records that a repository was listed completely.
    pub(super) async fn record_seen(
        &self,
        repository: &RepositoryName,
        location: &str,
        repository_id: Option<&str>,
        at: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        sqlx::query(
            "INSERT INTO repositories (system, name, location, repository_id, seen, problem)
             VALUES ($1, $2, $3, $4, $5, NULL)
             ON CONFLICT (system, name) DO UPDATE SET location = excluded.location,
                 repository_id = COALESCE(excluded.repository_id, repositories.repository_id),
                 seen = excluded.seen, problem = NULL",
        )
        .bind(&self.system)
        .bind(repository.as_str())
        .bind(location)
        .bind(repository_id)
        .bind(time(at))
        .execute(&self.pool)
        .await
        .map_err(self.failed("record a repository"))?;
        Ok(())
    }

    /// Records the repositories with a marker: none of them is initialised again if it is missing later.
    pub async fn record_marked(
        &self,
        repositories: &Repositories,
        at: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        for repository in repositories.marked() {
            sqlx::query(
                "INSERT INTO repositories (system, name, location, repository_id, marked)
                 VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (system, name) DO UPDATE SET location = excluded.location,
                     repository_id = excluded.repository_id, marked = excluded.marked",
            )
            .bind(&self.system)
            .bind(repository.name.as_str())
            .bind(repository.store.location())
            .bind(repositories.id())
            .bind(time(at))
            .execute(&self.pool)
            .await
            .map_err(self.failed("record a repository"))?;
        }
        Ok(())
    }

    /// Records that a repository could not be listed; the known facts stay.
    pub(super) async fn record_problem(
        &self,
        repository: &RepositoryName,
        problem: &str,
    ) -> Result<(), CatalogError> {
        sqlx::query(
            "INSERT INTO repositories (system, name, location, repository_id, seen, problem)
             VALUES ($1, $2, '', NULL, NULL, $3)
             ON CONFLICT (system, name) DO UPDATE SET problem = excluded.problem",
        )
        .bind(&self.system)
        .bind(repository.as_str())
        .bind(problem)
        .execute(&self.pool)
        .await
        .map_err(self.failed("record a repository"))?;
        Ok(())
    }

    /// Deletes the facts about one repository, before it is read again.
    pub(super) async fn clear_repository(&self, repository: &RepositoryName) -> Result<(), CatalogError> {
        for statement in [
            "DELETE FROM copies WHERE system = $1 AND repository = $2",
            "DELETE FROM stamps WHERE system = $1 AND repository = $2",
            "DELETE FROM repositories WHERE system = $1 AND name = $2",
        ] {
            sqlx::query(statement)
                .bind(&self.system)
                .bind(repository.as_str())
                .execute(&self.pool)
                .await
                .map_err(self.failed("clear a repository"))?;
        }
        Ok(())
    }

    /// Deletes runs, so that they are read again.
    pub(super) async fn clear_runs(&self) -> Result<(), CatalogError> {
        sqlx::query("DELETE FROM runs WHERE system = $1")
            .bind(&self.system)
            .execute(&self.pool)
            .await
            .map_err(self.failed("clear the runs"))?;
        Ok(())
    }

    /// Deletes backups that no repository is known to have held.
    pub(super) async fn clear_orphans(&self) -> Result<(), CatalogError> {
        for statement in [
            "DELETE FROM artifacts WHERE system = $1 AND NOT EXISTS (SELECT 1 FROM copies
                WHERE copies.system = artifacts.system AND copies.backup = artifacts.backup)",
            "DELETE FROM backups WHERE system = $1 AND NOT EXISTS (SELECT 1 FROM copies
                WHERE copies.system = backups.system AND copies.backup = backups.id)",
        ] {
            sqlx::query(statement)
                .bind(&self.system)
                .execute(&self.pool)
                .await
                .map_err(self.failed("clear backups"))?;
        }
        Ok(())
    }
}
