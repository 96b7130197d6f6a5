//! A SQLite database: into a new file, which has its name when it was checked.

use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::fetch::ArtifactFetch;
use super::method::{ContentMethod, RestoredContent, TargetSurvey};
use super::survey::ChainLink;
use super::target::{NewFile, new_path};
use super::{ContentRestoreError, ContentRestorePlan, ContentRestoreRequest};
use crate::checks::CheckResult;
use crate::model::{Cause, SqliteFacts};
use crate::platform::CancellationToken;
use crate::restore::teardown::not_of_this_method;
use crate::restore::{CreatedObject, Refusal};
use crate::run::RunContext;
use crate::source::SQLITE_DATABASE;
use crate::sqlite::{COMPANIONS, Inspection, SqliteError, inspect};
use crate::text::{count, error_chain};

/// A SQLite database.
#[derive(Clone, Copy, Debug)]
pub(super) struct SqliteDatabase;

#[async_trait(?Send)]
impl ContentMethod for SqliteDatabase {
    async fn survey(
        &self,
        _run: &RunContext,
        request: &ContentRestoreRequest,
        chain: &[ChainLink],
    ) -> Result<TargetSurvey, ContentRestoreError> {
        let bytes = chain.iter().map(|link| link.manifest.plain_size()).sum();
        let (path, mut refusals) = new_path(Path::new(&request.target.to), bytes);
        refusals.extend(companion(&path));
        let notes = vec![
            "only the user who restores it may read the file: `chown` it to the application's user"
                .to_owned(),
        ];
        Ok(TargetSurvey { to: path.display().to_string(), refusals, notes })
    }

    async fn restore(
        &self,
        fetch: &ArtifactFetch<'_>,
        plan: &ContentRestorePlan,
        created: &mut Vec<CreatedObject>,
    ) -> Result<RestoredContent, ContentRestoreError> {
        let none = || ContentRestoreError::NoArtifact { artifact: SQLITE_DATABASE.to_owned() };
        let link = plan.chain.last().ok_or_else(none)?;
        let artifact = link.manifest.artifact_of(SQLITE_DATABASE).ok_or_else(none)?;
        let path = PathBuf::from(&plan.to);
        let file = NewFile::create(&path)?;
        let writer = file.writer()?;
        fetch.consume(link, artifact, move |plain| writer.write(plain)).await?;
        let found = checked(file.part(), &fetch.run.cancel).await?;
        // Another process may have created one since.
        if let Some(refusal) = companion(&path) {
            return Err(ContentRestoreError::Refused(vec![refusal]));
        }
        file.publish()?;
        created.push(CreatedObject::File { path, run: fetch.run.id.clone() });
        let counts = vec![count(found.facts.tables.len() as u64, "table"), count(found.facts.rows(), "row")];
        let checks = compare(link.details.sqlite.as_ref(), &found.facts);
        Ok(RestoredContent { counts, checks, notes: found.notices, ..RestoredContent::default() })
    }

    async fn remove(&self, run: &RunContext, object: &CreatedObject) -> Result<(), String> {
        match object {
            CreatedObject::File { path, run: by } if *by == run.id => {
                fs::remove_file(path).map_err(|error| error.to_string())
            }
            _ => Err(not_of_this_method()),
        }
    }
}

/// A stale `-wal` or `-journal` would be applied to the restored file, and damage it.
fn companion(path: &Path) -> Option<Refusal> {
    let beside = COMPANIONS.iter().map(|ending| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    });
    let found = beside.into_iter().find(|beside| fs::symlink_metadata(beside).is_ok())?;
    let message = format!("`{}` exists: SQLite would apply it to the restored file", found.display());
    Some(Refusal::usage("stale-companion", message))
}

/// Checks a file that does not have its name yet.
pub(super) async fn checked(
    path: &Path,
    cancel: &CancellationToken,
) -> Result<Inspection, ContentRestoreError> {
    let (own, stop) = (path.to_owned(), cancel.clone());
    let inspected = tokio::task::spawn_blocking(move || inspect(&own, &stop)).await;
    match inspected.unwrap_or(Err(SqliteError::Stopped)) {
        Ok(found) if found.damage.is_empty() => Ok(found),
        Ok(found) => Err(ContentRestoreError::Damaged {
            what: format!("`PRAGMA integrity_check` has {}", found.counted_damage()),
        }),
        Err(SqliteError::Interrupted) => Err(ContentRestoreError::Interrupted),
        Err(error) => Err(ContentRestoreError::Damaged { what: error_chain(&error) }),
    }
}

/// Compares the row counts with those that were recorded.
pub(super) fn compare(recorded: Option<&SqliteFacts>, found: &SqliteFacts) -> Vec<CheckResult> {
    const INTEGRITY: &str = "integrity";
    const ROWS: &str = "row counts";
    let counted = format!("{} in {}", count(found.rows(), "row"), count(found.tables.len() as u64, "table"));
    let rows = match recorded {
        None => CheckResult::undetermined(
            ROWS,
            Cause::Backup,
            "not-recorded",
            "the backup does not say how many rows each table had",
        ),
        Some(recorded) if recorded.tables == found.tables => CheckResult::passed(ROWS, counted),
        Some(recorded) => CheckResult::failed(
            ROWS,
            Cause::Backup,
            "other-counts",
            format!("{}: {counted}, and other counts were recorded", differing(recorded, found)),
        ),
    };
    vec![CheckResult::passed(INTEGRITY, "ok"), rows]
}

/// Names the first tables that differ.
fn differing(recorded: &SqliteFacts, found: &SqliteFacts) -> String {
    const NAMED: usize = 5;
    let lacks = |one: &SqliteFacts, other: &SqliteFacts| -> Vec<String> {
        let differ = one.tables.iter().filter(|table| !other.tables.contains(table));
        differ.map(|table| table.name.clone()).collect()
    };
    let mut names = lacks(recorded, found);
    names.extend(lacks(found, recorded));
    names.sort();
    names.dedup();
    names.truncate(NAMED);
    crate::text::quoted_list(&names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SqliteTable;

    fn facts(tables: &[(&str, u64)]) -> SqliteFacts {
        let tables =
            tables.iter().map(|(name, rows)| SqliteTable { name: (*name).to_owned(), rows: Some(*rows) });
        SqliteFacts { tables: tables.collect(), ..SqliteFacts::default() }
    }

    #[test]
    fn counts_that_differ_fail_and_name_the_table() {
        let recorded = facts(&[("a", 1), ("b", 2)]);
        assert!(compare(Some(&recorded), &recorded).iter().all(CheckResult::has_passed));
        let other = compare(Some(&recorded), &facts(&[("a", 1), ("b", 3)]));
        assert!(other[1].verdict.reasons[0].message.starts_with("`b`: 4 rows in 2 tables"), "{other:?}");
        assert!(!compare(None, &recorded)[1].has_passed());
    }

    #[test]
    fn a_wal_beside_the_target_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        assert!(companion(&path).is_none());
        for ending in ["-wal", "-shm", "-journal"] {
            let beside = folder.path().join(format!("shop.db{ending}"));
            fs::write(&beside, "").unwrap();
            assert!(companion(&path).unwrap().message.contains(ending));
            fs::remove_file(beside).unwrap();
        }
    }
}
