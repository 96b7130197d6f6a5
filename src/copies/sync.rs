use super::backups::{self, SyncReport, names};
use super::wal::{self, SyncedWal};
use crate::catalog::{BackupEntry, BackupHistory};
use crate::model::SourceName;
use crate::policy::{Policy, SourceConfig};
use crate::repository::write_options;
use crate::run::RunContext;

/// The result of completing the copies.
#[derive(Debug)]
pub struct CopiesReport {
    pub backups: SyncReport,
    /// The WAL of every source that archives it; empty where the run was interrupted before.
    pub wal: Vec<SourceWal>,
}

/// The WAL of one source, after it was copied.
#[derive(Debug)]
pub struct SourceWal {
    pub source: SourceName,
    pub synced: SyncedWal,
}

impl SourceWal {
    pub fn is_complete(&self) -> bool {
        self.synced.failed.is_empty() && self.synced.unlisted.is_empty()
    }
}

impl CopiesReport {
    pub fn is_complete(&self) -> bool {
        self.backups.is_complete() && self.wal.iter().all(SourceWal::is_complete)
    }
}

/// Completes the copies of all backups, then of the WAL, so that files archived meanwhile are included.
///
/// `run.repositories` must come from [`crate::repository::Repositories::for_writing`].
pub async fn sync(
    run: &RunContext,
    policy: &Policy,
    entries: &[BackupEntry],
    history: &BackupHistory,
) -> CopiesReport {
    let locks = write_options(&policy.repositories, run.clock.now());
    let planned = backups::plan(entries, &names(&run.repositories), history);
    // WAL that retention removed is not missing: it would be removed again.
    let removed = run.tombstones().await;
    let backups = backups::execute(run, planned, policy.transfer, &locks).await;
    let mut synced = Vec::new();
    for source in policy.sources.iter().filter(|_| !backups.interrupted) {
        let SourceConfig::Postgres(postgres) = &source.config else { continue };
        let Some(archiving) = &postgres.wal else { continue };
        let listing = wal::survey(&run.repositories, &policy.system, &source.name).await;
        let mut planned = wal::plan(&listing);
        planned.missing.retain(|missing| !removed.has_wal(&policy.system, &missing.to, &missing.key));
        let done = wal::execute(&run.repositories, planned, &locks, archiving.parallel, &run.cancel).await;
        let done = SyncedWal { unlisted: listing.unlisted, ..done };
        synced.push(SourceWal { source: source.name.clone(), synced: done });
    }
    CopiesReport { backups, wal: synced }
}
