use std::collections::BTreeSet;

use super::backups::{self, SyncReport, names};
use super::missing_wal::MissingWalCopies;
use super::wal::{self, SyncedWal};
use crate::catalog::{BackupEntry, BackupHistory};
use crate::model::{Lsn, Manifest, RepositoryName, SourceName, SystemName, WalName};
use crate::policy::{Policy, RuleTerms, SourceConfig};
use crate::repository::{layout, write_options};
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
    let now = run.clock.now();
    // Retention locks longer what proves to stand for a longer period.
    let at_least = |source: &SourceName| {
        let terms = RuleTerms::new(policy, source);
        let options = write_options(&policy.repositories, now, |name| terms.at_least(name, now));
        let of_source = |(name, options)| (source.clone(), name, options);
        options.into_iter().map(of_source).collect::<Vec<_>>()
    };
    let sources: BTreeSet<&SourceName> = entries.iter().map(|entry| &entry.manifest.source).collect();
    let locks: Vec<_> = sources.into_iter().flat_map(at_least).collect();
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
        let is_copied = |entry: &BackupEntry, to: &RepositoryName| {
            let mut copied = backups.backups.iter().filter(|one| one.result.is_ok());
            entry.copy(to).is_some_and(|copy| copy.is_held())
                || copied.any(|one| one.backup == *entry.id() && one.to == *to)
        };
        // A base backup there cannot be restored without its WAL.
        let is_required = |missing: &MissingWalCopies| {
            let there = entries.iter().filter(|entry| is_copied(entry, &missing.to));
            there.into_iter().any(|entry| requires(&entry.manifest, &policy.system, &missing.key))
        };
        planned.missing.retain(|missing| {
            !removed.has_wal(&policy.system, &missing.to, &missing.key) || is_required(missing)
        });
        let terms = RuleTerms::new(policy, &source.name);
        let locks = write_options(&policy.repositories, now, |name| terms.of_wal(name, now));
        let done = wal::execute(&run.repositories, planned, &locks, archiving.parallel, &run.cancel).await;
        let done = SyncedWal { unlisted: listing.unlisted, ..done };
        synced.push(SourceWal { source: source.name.clone(), synced: done });
    }
    CopiesReport { backups, wal: synced }
}

/// Returns whether a base backup cannot be restored without a WAL file, by the file's key.
fn requires(manifest: &Manifest, system: &SystemName, key: &str) -> bool {
    let (Some(physical), Some(file)) = (&manifest.physical, layout::parse_wal_key(system, key)) else {
        return false;
    };
    let segment = match file.name {
        WalName::Segment(segment) | WalName::Partial(segment) | WalName::Piece { segment, .. } => segment,
        WalName::History(_) | WalName::BackupLabel { .. } => return false,
    };
    let size = physical.segment_size;
    let last_byte = Lsn(physical.stop.0.saturating_sub(1)).max(physical.start);
    let range = size.number_of(physical.start)..=size.number_of(last_byte);
    manifest.source == file.source
        && manifest.cluster() == Some(file.cluster)
        && physical.timeline == segment.timeline
        && segment.number(size).is_some_and(|number| range.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Physical, Segment, SegmentSize, ServerFacts, SystemIdentifier, Timeline};
    use crate::repository::fixtures::{backup, system};
    use crate::wal::Archive;

    #[test]
    fn the_wal_between_start_and_stop_is_required_and_no_other() {
        let size = SegmentSize::DEFAULT;
        let mut manifest = backup(0).0;
        let (start, stop) = (Lsn(size.begin_of(5).0 + 40), Lsn(size.begin_of(7).0));
        manifest.physical = Some(Physical::sample(1, start, stop));
        let identifier = Some("7".to_owned());
        manifest.server = Some(ServerFacts {
            version: "17.5".to_owned(),
            major: 17,
            system_identifier: identifier,
            address: None,
            replaces: None,
        });
        let key = |cluster: u64, timeline: u32, number: u64| {
            let source = manifest.source.clone();
            let archive = Archive { system: system(), source, cluster: SystemIdentifier(cluster) };
            let segment = Segment::new(Timeline::new(timeline).unwrap(), number, size);
            archive.key(WalName::Segment(segment), ".zst.age")
        };
        let is_required = |key: String| requires(&manifest, &system(), &key);
        assert!(is_required(key(7, 1, 5)) && is_required(key(7, 1, 6)));
        assert!(!is_required(key(7, 1, 4)) && !is_required(key(7, 1, 7)));
        assert!(!is_required(key(8, 1, 5)) && !is_required(key(7, 2, 5)));
    }
}
