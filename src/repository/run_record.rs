//! The record of a run in every repository.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};

use super::journal::{JournalError, JournalRecord, newest, read, runs, serialise, write};
use super::manifest::FormatVersion;
use super::opened::Unavailable;
use super::repositories::Repositories;
use crate::model::{CopyCheck, SystemName, latest_checks};

/// Records that a restore reads to learn which copies were found damaged.
const CHECKS_LOOKED_BACK: usize = 64;
/// Records that are read concurrently.
const AT_ONCE: usize = 8;

/// Writes the record of a run to every writable repository, the same bytes to each, and returns those that
/// did not store it. `record.format` and `record.previous` are filled in here.
///
/// # Errors
/// Only if the record cannot be serialised.
pub async fn append(
    repositories: &Repositories,
    system: &SystemName,
    mut record: JournalRecord,
) -> Result<Vec<Unavailable>, JournalError> {
    record.format = FormatVersion::CURRENT.to_string();
    record.previous = None;
    record.detail.repositories.extend(repositories.marked().map(|repository| repository.name.clone()));
    record.detail.repositories.extend(repositories.remembered().marked.keys().cloned());
    for repository in repositories.writable() {
        // The first answer decides: the bytes must be the same everywhere.
        if let Ok(previous) = newest(&*repository.store, system, &record.run).await {
            if let Some((digest, named)) = previous {
                record.previous = Some(digest);
                record.detail.repositories.extend(named);
            }
            break;
        }
    }
    let bytes = serialise(&record)?;
    let written = join_all(repositories.writable().map(async |repository| {
        let result = write(&*repository.store, system, &record.run, bytes.clone()).await;
        result.err().map(|error| Unavailable::new(repository, error))
    }));
    Ok(written.await.into_iter().flatten().collect())
}

/// Returns the verification results in the newest records of these repositories, the latest check of each
/// copy only. An unreadable record or repository is skipped.
pub async fn recent_checks(repositories: &Repositories, system: &SystemName) -> Vec<CopyCheck> {
    let listed =
        repositories.iter().map(async |repository| (repository, runs(&*repository.store, system).await));
    let mut known = BTreeMap::new();
    for (repository, listed) in join_all(listed).await {
        match listed {
            Ok(listed) => listed.into_iter().for_each(|run| {
                known.entry(run).or_insert(repository);
            }),
            Err(error) => tracing::info!("{}", crate::text::error_chain(&error)),
        }
    }
    let newest = known.into_iter().rev().take(CHECKS_LOOKED_BACK);
    let mut records = stream::iter(newest)
        .map(async |(run, repository)| read(&*repository.store, system, &run).await)
        .buffered(AT_ONCE);
    let mut checks = Vec::new();
    while let Some(record) = records.next().await {
        let Ok((record, _)) = record else { continue };
        checks.extend(record.detail.checks);
    }
    latest_checks(checks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Outcome, RunId, Sha256Hex};
    use crate::repository::fixtures::{noon, repositories, system};
    use crate::repository::journal::Detail;

    fn record(minutes: i64) -> JournalRecord {
        let begun = noon() + chrono::TimeDelta::minutes(minutes);
        JournalRecord {
            format: String::new(),
            run: RunId::new(begun, 1),
            verb: "backup".to_owned(),
            begun,
            ended: begun,
            host: "a".to_owned(),
            outcome: Outcome::Succeeded,
            previous: None,
            detail: Detail::default(),
        }
    }

    #[tokio::test]
    async fn each_record_holds_the_digest_of_the_one_before() {
        let root = tempfile::tempdir().unwrap();
        let repositories = repositories(root.path(), &["primary", "copy"]).await;
        let store = &*repositories.iter().next().unwrap().store;
        let mut before = None;
        // The third is three months after the second.
        for minutes in [0, 1, 60 * 24 * 92] {
            let lost = append(&repositories, &system(), record(minutes)).await.unwrap();
            assert!(lost.is_empty(), "{lost:?}");
            let (read, bytes) = read(store, &system(), &record(minutes).run).await.unwrap();
            assert_eq!(read.previous, before);
            before = Some(Sha256Hex::digest(&bytes));
        }
        for repository in repositories.iter() {
            assert_eq!(runs(&*repository.store, &system()).await.unwrap().len(), 3);
        }
    }

    #[tokio::test]
    async fn a_repository_that_does_not_take_a_record_is_named() {
        let root = tempfile::tempdir().unwrap();
        let repositories = repositories(root.path(), &["missing-primary", "copy"]).await;
        let lost = append(&repositories, &system(), record(0)).await.unwrap();
        let [lost] = lost.as_slice() else { panic!("{lost:?}") };
        assert_eq!(lost.name.as_str(), "missing-primary");
        assert!(lost.reason().contains("no such bucket or directory"), "{}", lost.reason());
        let copy = repositories.iter().nth(1).unwrap();
        assert_eq!(runs(&*copy.store, &system()).await.unwrap(), [record(0).run]);
    }

    #[tokio::test]
    async fn of_checks_the_latest_of_each_copy_is_known_on_every_host() {
        use crate::model::{CheckDepth, CopyFault, ObjectFault};
        let root = tempfile::tempdir().unwrap();
        let repositories = repositories(root.path(), &["primary", "copy"]).await;
        let backup = crate::repository::fixtures::backup(0).0.id;
        for (minutes, name, is_good) in [(1, "primary", false), (2, "primary", true), (3, "copy", false)] {
            let fault = ObjectFault { object: "x".into(), fault: CopyFault::Short, detail: String::new() };
            let check = CopyCheck {
                backup: backup.clone(),
                repository: name.parse().unwrap(),
                at: noon() + chrono::TimeDelta::minutes(minutes),
                depth: CheckDepth::Stored,
                faults: if is_good { vec![] } else { vec![fault] },
            };
            let mut record = record(minutes);
            record.detail.checks.push(check);
            append(&repositories, &system(), record).await.unwrap();
        }
        let found = recent_checks(&repositories, &system()).await;
        let shown: Vec<_> = found.iter().map(|check| (check.repository.as_str(), check.is_good())).collect();
        assert_eq!(shown, [("copy", false), ("primary", true)]);
    }

    #[tokio::test]
    async fn a_record_is_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        let repositories = repositories(root.path(), &["primary"]).await;
        append(&repositories, &system(), record(0)).await.unwrap();
        let other = JournalRecord { outcome: Outcome::Failed, ..record(0) };
        assert_eq!(append(&repositories, &system(), other).await.unwrap().len(), 1);
        let store = &*repositories.iter().next().unwrap().store;
        assert_eq!(read(store, &system(), &record(0).run).await.unwrap().0.outcome, Outcome::Succeeded);
    }
}
