//! What there is to restore, as the repositories in use say.

use std::collections::BTreeSet;

use super::sample::{Candidate, ReplayWindow};
use crate::model::{BackupId, BackupKind, Manifest, RepositoryName, SourceName};
use crate::recoverability::evidence::Evidence;
use crate::recoverability::survey::settle;
use crate::recoverability::wal::wal_windows;
use crate::repository::{Inventory, Listing, Repositories, run_record};
use crate::run::RunContext;
use crate::text::error_chain;

const KINDS: [BackupKind; 2] = [BackupKind::Logical, BackupKind::Base];

/// The backups of a source that can go into a sandbox.
#[derive(Debug, Default)]
pub(super) struct Located {
    pub(super) inventory: Inventory,
    /// Newest first.
    pub(super) candidates: Vec<Candidate>,
    /// What each repository can give back by WAL.
    pub(super) windows: Vec<ReplayWindow>,
    /// Copies that were found bad.
    pub(super) doubtful: BTreeSet<(BackupId, RepositoryName)>,
    /// Repositories that were not read, and why.
    pub(super) unread: Vec<String>,
    /// Backups whose manifest is not what it should be.
    pub(super) rejected: Vec<String>,
    /// Repositories whose WAL was not listed, and why.
    pub(super) wal_unread: Vec<String>,
}

impl Located {
    /// Returns why the answer may be incomplete.
    pub(super) fn notes(&self) -> Vec<String> {
        [&self.unread, &self.rejected, &self.wal_unread].into_iter().flatten().cloned().collect()
    }
}

/// Reads the manifests and lists the WAL of the run's repositories.
pub(super) async fn locate(run: &RunContext, source: &SourceName) -> Located {
    let (repositories, system) = (&run.repositories, &run.system);
    let listing = Listing::of_source(repositories, system, source).await;
    let unread: Vec<String> = listing
        .unlisted
        .iter()
        .chain(repositories.lost())
        .map(|lost| format!("`{}` was not read: {}", lost.name, lost.reason()))
        .collect();
    let inventory = Inventory::load(&listing, system, &KINDS).await;
    let rejected = inventory.rejected.iter().map(|rejected| {
        format!(
            "`{}` in `{}` was passed over: {}",
            rejected.backup,
            rejected.repository,
            error_chain(&rejected.error)
        )
    });
    let rejected = rejected.collect();
    let checks = run_record::recent_checks(repositories, system).await;
    let doubtful: BTreeSet<_> = checks
        .into_iter()
        .filter(|check| !check.is_good())
        .map(|check| (check.backup, check.repository))
        .collect();
    let candidates: Vec<Candidate> = inventory
        .backups_of(source)
        .map(|record| Candidate {
            id: record.id().clone(),
            recovery_point: record.manifest.recovery_point,
            holders: record.holders.clone(),
            stop: record.manifest.physical.as_ref().map(|physical| physical.stop),
            obstacle: obstacle(&inventory, record, &doubtful),
        })
        .collect();
    let mut wal_unread = Vec::new();
    let windows = windows(repositories, &inventory, source, &candidates, &mut wal_unread).await;
    Located { inventory, candidates, windows, doubtful, unread, rejected, wal_unread }
}

fn obstacle(
    inventory: &Inventory,
    record: &crate::repository::BackupRecord,
    doubtful: &BTreeSet<(BackupId, RepositoryName)>,
) -> Option<String> {
    let is_doubtful = |name: &&RepositoryName| !doubtful.contains(&(record.id().clone(), (*name).clone()));
    let mut intact = record.holders.iter().filter(is_doubtful).peekable();
    if intact.peek().is_none() {
        return Some("the last check found it bad in every repository that has it".to_owned());
    }
    let broken: Vec<_> = intact.map(|name| inventory.chain_in(record, name)).collect();
    match broken.iter().all(Result::is_err) {
        true => broken.into_iter().find_map(Result::err).map(|broken| broken.to_string()),
        false => None,
    }
}

async fn windows(
    repositories: &Repositories,
    inventory: &Inventory,
    source: &SourceName,
    candidates: &[Candidate],
    unread: &mut Vec<String>,
) -> Vec<ReplayWindow> {
    let is_good = |id: &BackupId| candidates.iter().any(|one| one.id == *id && one.obstacle.is_none());
    let mut windows = Vec::new();
    for repository in repositories.iter() {
        let held = inventory
            .backups_of(source)
            .filter(|record| record.is_held_by(&repository.name) && is_good(record.id()));
        let bases: Vec<&Manifest> =
            held.map(|record| &record.manifest).filter(|manifest| manifest.physical.is_some()).collect();
        if bases.is_empty() {
            continue;
        }
        let mut evidence = Evidence::default();
        match settle(repository, &mut evidence, |known| wal_windows(&bases, known, None, &[])).await {
            Ok(found) => windows.extend(
                found
                    .into_iter()
                    .filter_map(|window| Some(ReplayWindow { from: window.from?, until: window.until })),
            ),
            Err(error) => {
                unread.push(format!("the WAL in `{}` was not read: {}", repository.name, error_chain(&error)))
            }
        }
    }
    windows.sort_by_key(|window| std::cmp::Reverse(window.until));
    windows.dedup();
    windows
}
