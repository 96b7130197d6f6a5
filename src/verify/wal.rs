//! Reads the archived WAL with which base backups are recovered again, in every repository.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;

use crate::catalog::BackupEntry;
use crate::event::{Event, Phase};
use crate::model::{BackupId, Lsn, Physical, RepositoryName, Segment, SourceName, WalCheck, WalName};
use crate::pipeline::Identities;
use crate::repository::{Repository, Unavailable};
use crate::run::RunContext;
use crate::store::StoreError;
use crate::text::error_chain;
use crate::wal::{
    Archive, CheckedSegment, DamagedWal, Provenance, ReplayEnd, ReplayPosition, ReplayRange, TimelineTarget,
    Unusable, WalFault, WalInventory,
};
use crate::wal::{all_listed, check_segment, checkpoint_segment, damage, first_segment, moment, tags};

/// Concurrent transfers: each may be a complete segment in memory.
const AT_ONCE: usize = 4;
const TOLD_EVERY: Duration = Duration::from_millis(250);

/// The WAL in one repository with which the base backups there are recovered, to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct WalItem {
    pub repository: RepositoryName,
    pub source: SourceName,
    /// `None`: the base backups do not record the cluster.
    archive: Option<Archive>,
    /// Oldest first.
    bases: Vec<(BackupId, Physical)>,
}

/// Plans the WAL of these base backups, per repository that holds them and per cluster. `only`: in this
/// repository.
pub fn plan(entries: &[&BackupEntry], only: Option<&RepositoryName>) -> Vec<WalItem> {
    let mut entries: Vec<&BackupEntry> =
        entries.iter().copied().filter(|entry| entry.manifest.physical.is_some()).collect();
    entries.sort_by_key(|entry| entry.manifest.recovery_point);
    let mut items: Vec<WalItem> = Vec::new();
    for entry in entries {
        let Some(physical) = &entry.manifest.physical else { continue };
        let (archive, source) = (Archive::from_manifest(&entry.manifest), entry.manifest.source.clone());
        let base = (entry.id().clone(), physical.clone());
        for copy in entry.copies.iter().filter(|copy| copy.is_held()) {
            if only.is_some_and(|only| *only != copy.repository) {
                continue;
            }
            let planned = items.iter_mut().find(|item| {
                item.repository == copy.repository && item.source == source && item.archive == archive
            });
            match planned {
                Some(item) => item.bases.push(base.clone()),
                None => items.push(WalItem {
                    repository: copy.repository.clone(),
                    source: source.clone(),
                    archive: archive.clone(),
                    bases: vec![base.clone()],
                }),
            }
        }
    }
    items
}

/// The finding on the WAL in one repository.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WalFinding {
    /// Files that equal what was archived.
    pub good: u64,
    /// The number of these whose plain bytes were compared.
    pub decrypted: u64,
    /// Files that were readable, without metadata to compare them with: only an identity could verify them.
    pub unproven: u64,
    /// Everything committed before is in the WAL that was read, by the clock of the archiving host.
    pub until: Option<DateTime<Utc>>,
    /// Where the reading began; `None`: nothing was read.
    pub since: Option<Segment>,
    /// Files that differ from what was stored.
    pub bad: Vec<WalName>,
    /// What prevents the WAL from being used.
    pub faults: Vec<String>,
    /// What could not be read for reasons other than its own bytes.
    pub unread: Vec<String>,
}

impl WalFinding {
    pub fn is_good(&self) -> bool {
        self.faults.is_empty() && self.unread.is_empty() && self.unproven == 0
    }

    pub fn is_bad(&self) -> bool {
        !self.faults.is_empty()
    }

    fn unread(reason: String) -> Self {
        Self { unread: vec![reason], ..Self::default() }
    }
}

impl WalItem {
    /// Returns the record of the check; `None` where the cluster is unknown.
    pub(crate) fn check(&self, finding: &WalFinding, at: DateTime<Utc>) -> Option<WalCheck> {
        Some(WalCheck {
            source: self.source.clone(),
            repository: self.repository.clone(),
            system_identifier: self.archive.as_ref()?.cluster,
            at,
            since: finding.since.map(|segment| segment.to_string()),
            whole: finding.unread.is_empty(),
            bad: finding.bad.iter().map(WalName::to_string).collect(),
        })
    }

    /// Returns the oldest of the base backups.
    pub fn since(&self) -> Option<&BackupId> {
        self.bases.first().map(|(id, _)| id)
    }
}

/// Reads everything that a server would replay from each base backup: along its own timeline, and to the
/// newest descendant.
///
/// A gap, and missing WAL that a base backup requires, are faults; the end of the WAL is not.
pub async fn read(run: &RunContext, item: &WalItem, identities: &Identities) -> WalFinding {
    let Some(repository) = run.repositories.find(&item.repository) else {
        let lost = run.repositories.lost().iter().find(|lost| lost.name == item.repository);
        return WalFinding::unread(lost.map_or_else(|| "it is not in use".to_owned(), Unavailable::reason));
    };
    let Some(archive) = &item.archive else {
        let lost = item
            .bases
            .iter()
            .map(|(base, _)| format!("{base} does not record the system identifier of the WAL it needs"));
        return WalFinding { faults: lost.collect(), ..WalFinding::default() };
    };
    run.events.emit(&Event::PhaseBegan { phase: Phase::Verify });
    // All files of a timeline sort after its first.
    let first = item.bases.iter().map(|(_, physical)| first_segment(physical)).min();
    let held = match all_listed(&*repository.store, archive, first, identities).await {
        Ok(held) => held,
        Err(error) if error.is_of_no_log() => {
            return WalFinding { faults: vec![error_chain(&error)], ..WalFinding::default() };
        }
        Err(error) => return WalFinding::unread(error_chain(&error)),
    };
    let mut finding = WalFinding { since: first, ..WalFinding::default() };
    let tombstones = run.tombstones().await;
    let was_removed =
        |segment| tombstones.has_segment(&item.repository, &item.source, archive.cluster, segment);
    let (item, others) = match of_this_history(repository, archive, item).await {
        Ok(split) => split,
        Err(error) => return WalFinding::unread(error_chain(&error)),
    };
    let item = &item;
    let (names, faults, newest) = files(item, &held, was_removed);
    finding.faults = faults;
    finding.faults.extend(others);
    let damaged = read_all(run, (repository, archive), item, &names, identities, &mut finding).await;
    if let Some((from, reach)) = newest {
        let mut damaged = damaged;
        match damage(&*repository.store, archive, &reach.newest_segments()).await {
            Ok(known) => damaged.extend(known.into_iter().filter_map(|(segment, found)| {
                let (at, fault) = found.filter(|(_, fault)| *fault == WalFault::Minimal)?;
                Some(DamagedWal { segment, at, fault })
            })),
            Err(error) => finding.unread.push(error_chain(&error)),
        }
        damaged.sort_by_key(|damaged| (damaged.segment, damaged.at));
        let reach = match reach.first_damage(damaged, from) {
            Some(damaged) => reach.until_damage(damaged),
            None => reach,
        };
        match moment(&*repository.store, archive, &reach).await {
            Ok(moment) => finding.until = moment.complete,
            Err(error) => finding.unread.push(error_chain(&error)),
        }
    }
    finding
}

/// Returns the item with only the base backups that the archived WAL is of, or may be of, and a fault for each other.
async fn of_this_history(
    repository: &Repository,
    archive: &Archive,
    item: &WalItem,
) -> Result<(WalItem, Vec<String>), StoreError> {
    let (mut bases, mut others) = (Vec::new(), Vec::new());
    for (id, physical) in &item.bases {
        let found = match checkpoint_segment(physical) {
            Some(segment) => tags(&*repository.store, archive, WalName::Segment(segment)).await?,
            None => None,
        };
        match Provenance::of(physical, found.as_ref()) {
            Provenance::Other(other) => others.push(format!("{id}: {other}")),
            Provenance::Same | Provenance::Unknown(_) => bases.push((id.clone(), physical.clone())),
        }
    }
    Ok((WalItem { bases, ..item.clone() }, others))
}

/// The files that servers would ask for, what keeps them from coming to the end, and where the newest of the
/// base backups leads.
/// `was_removed`: whether retention removed a segment. An older base backup is kept with the WAL that it needs, and what
/// follows may be gone.
fn files(
    item: &WalItem,
    held: &WalInventory,
    was_removed: impl Fn(Segment) -> bool,
) -> (Vec<WalName>, Vec<String>, Option<(Lsn, ReplayRange)>) {
    let (mut segments, mut names, mut faults) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut newest = None;
    for (base, physical) in &item.bases {
        faults.extend(held.lacks(physical).map(|lacking| format!("{base}: {lacking}")));
        let begin = ReplayPosition { timeline: physical.timeline, lsn: physical.start };
        for follow in [TimelineTarget::Timeline(physical.timeline), TimelineTarget::Latest] {
            let reach = held.reach(begin, follow);
            let is_expired = matches!(&reach.stop, ReplayEnd::Gap(gap) if was_removed(gap.first));
            faults.extend(fault(&reach.stop).filter(|_| !is_expired));
            segments.extend(reach.backwards());
            if let Some((segment, pieces)) = &reach.pieces {
                names.extend(pieces.iter().map(|(begin, end)| (*segment, *begin, *end)));
            }
            if !matches!(reach.stop, ReplayEnd::NotAChild(_)) {
                newest = Some((physical.start, reach));
            }
        }
    }
    faults.extend(held.without_history().map(|timeline| {
        format!("{}.history is missing, and segments of timeline {timeline} are there", timeline.in_names())
    }));
    let histories = held.histories().map(WalName::History);
    let pieces = names.into_iter().map(|(segment, begin, end)| WalName::Piece { segment, begin, end });
    let all = segments.into_iter().map(WalName::Segment).chain(histories).chain(pieces);
    (all.collect(), faults.into_iter().collect(), newest)
}

fn fault(stop: &ReplayEnd) -> Option<String> {
    match stop {
        ReplayEnd::Gap(gap) => {
            let more = if gap.count == 1 { String::new() } else { format!(" and {} more", gap.count - 1) };
            Some(format!("segment {}{more} is missing, and later ones are there", gap.first))
        }
        ReplayEnd::NoHistory(timeline) => {
            Some(format!("{}.history is missing or cannot be read", timeline.in_names()))
        }
        ReplayEnd::Damaged(damaged) => Some(damaged.to_string()),
        // One of an abandoned timeline leads along that one.
        ReplayEnd::End | ReplayEnd::NotAChild(_) => None,
    }
}

async fn read_all(
    run: &RunContext,
    (repository, archive): (&Repository, &Archive),
    item: &WalItem,
    names: &[WalName],
    identities: &Identities,
    finding: &mut WalFinding,
) -> Vec<DamagedWal> {
    let subject = format!("{} WAL of {}", item.repository, item.source);
    let checks = names
        .iter()
        .map(|name| async { (*name, check_segment(repository, archive, *name, identities).await) });
    let mut checks = futures_util::stream::iter(checks).buffered(AT_ONCE);
    let segment = item.bases.first().map_or(0, |(_, physical)| physical.segment_size.bytes());
    let mut damaged = Vec::new();
    let (mut done, mut told_at) = (0, None::<Instant>);
    while let Some((name, checked)) = checks.next().await {
        if run.cancel.is_cancelled() {
            finding.unread.push("the run was interrupted".to_owned());
            return damaged;
        }
        match checked {
            Ok(CheckedSegment::Plain) => {
                (finding.good, finding.decrypted) = (finding.good + 1, finding.decrypted + 1)
            }
            Ok(CheckedSegment::Stored) => finding.good += 1,
            Ok(CheckedSegment::Nothing) => finding.unproven += 1,
            Err(error) if error.is_damage() || error.is_absence() => {
                finding.bad.extend(error.is_damage().then_some(name));
                damaged.extend(damage_in(name, &error));
                finding.faults.push(error_chain(&error));
            }
            Err(error) => finding.unread.push(format!("{name}: {}", error_chain(&error))),
        }
        done += segment;
        if told_at.is_none_or(|at| at.elapsed() >= TOLD_EVERY) {
            told_at = Some(Instant::now());
            let total = Some(names.len() as u64 * segment);
            run.events.emit(&Event::Progress {
                subject: subject.clone(),
                bytes: done,
                total,
                estimated: true,
            });
        }
    }
    damaged
}

/// Returns where recovery ends because of a fault; `None` also where nothing of the segment can be used, which
/// begins with that.
fn damage_in(name: WalName, error: &Unusable) -> Option<DamagedWal> {
    let (WalName::Segment(segment), Unusable::Damaged { at, .. }) = (name, error) else { return None };
    Some(DamagedWal { segment, at: *at, fault: WalFault::Damaged })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Ancestor, SegmentSize, Timeline};

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn at(segment: u64, offset: u64) -> Lsn {
        Lsn(SIZE.begin_of(segment).0 + offset)
    }

    fn segment(timeline: u32, number: u64) -> WalName {
        WalName::Segment(Segment::new(Timeline::new(timeline).unwrap(), number, SIZE))
    }

    /// A base backup of timeline 1 from before the fork in segment 7, and one of timeline 2.
    fn item() -> WalItem {
        let base = |id: &str, timeline, first| {
            let physical = Physical::sample(timeline, at(first, 40), at(first, 300));
            (id.parse().unwrap(), physical)
        };
        WalItem {
            repository: "west".parse().unwrap(),
            source: "database".parse().unwrap(),
            archive: None,
            bases: vec![
                base("20261120T220251Z-database-base-2222", 1, 8),
                base("20261120T230251Z-database-base-2222", 2, 9),
            ],
        }
    }

    fn found(segments: &[(u32, u64)], with_history: bool) -> (usize, Vec<String>) {
        let second = Timeline::new(2).unwrap();
        let names = segments.iter().map(|(timeline, number)| segment(*timeline, *number));
        let names = names.chain(with_history.then_some(WalName::History(second)));
        let mut held = WalInventory::new(SIZE, names);
        if with_history {
            held.forked_from(second, Ancestor { timeline: Timeline::FIRST, until: at(7, 500) });
        }
        let (names, faults, _) = files(&item(), &held, |_| false);
        (names.len(), faults)
    }

    #[test]
    fn what_any_of_the_backups_needs_is_read_along_every_way() {
        // The first went on along the timeline that was left; it has nothing to do with the second.
        let whole = [(1, 8), (1, 9), (2, 9), (2, 10), (2, 11)];
        assert_eq!(found(&whole, true), (6, vec![]));
        let (_, faults) = found(&[(1, 8), (1, 9), (2, 10), (2, 11)], true);
        assert!(
            faults.iter().any(|fault| fault.contains("T230251Z") && fault.contains("0009")),
            "{faults:?}"
        );
        let (_, faults) = found(&[(1, 8), (2, 9), (2, 11)], true);
        assert!(
            faults.iter().any(|fault| fault.contains("00000002000000000000000A is missing")),
            "{faults:?}"
        );
        let (_, faults) = found(&whole, false);
        assert!(faults.iter().any(|fault| fault.contains("00000002.history is missing")), "{faults:?}");
    }

    #[test]
    fn wal_that_retention_removed_behind_a_backup_is_not_missing() {
        let second = Timeline::new(2).unwrap();
        let names = [segment(1, 8), segment(2, 9), segment(2, 11), WalName::History(second)];
        let mut held = WalInventory::new(SIZE, names);
        held.forked_from(second, Ancestor { timeline: Timeline::FIRST, until: at(7, 500) });
        let missing = |removed: WalName| {
            let faults = files(&item(), &held, |segment| Some(segment) == removed.as_segment()).1;
            faults.iter().any(|fault| fault.contains("is missing"))
        };
        assert!(missing(segment(2, 12)) && !missing(segment(2, 10)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_backup_of_an_unknown_cluster_is_not_good() {
        let bench = crate::verify::fixtures::TestBench::new(&["west"]).await;
        let finding = read(&bench.run, &item(), &Identities::default()).await;
        assert_eq!(finding.faults.len(), 2, "{finding:?}");
    }
}
