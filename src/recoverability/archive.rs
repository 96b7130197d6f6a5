//! The state of a cluster's WAL in one repository, timeline by timeline. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::evidence::{Evidence, ListedWal, Question};
use crate::model::{BackupId, Manifest, Segment, Timeline, WalName, chain};
use crate::wal::{
    Archive, ArchiverFacts, CommitTimes, DamagedWal, Gap, ReplayEnd, ReplayPosition, ReplayRange,
    TimelineDivergence, TimelineTarget, WalInventory, complete_until_by_server,
};

/// The WAL of one cluster in one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveStatus {
    /// Oldest first.
    pub timelines: Vec<TimelineStatus>,
    /// The WAL is complete from here to the end: a backup that begins later can be recovered to the end.
    pub contiguous_since: Option<ReplayPosition>,
    /// The end; `None` where there is nothing.
    pub reach: Option<ReplayRange>,
    pub moment: CommitTimes,
    /// Segments that were damaged before they were archived: recovery ends in each, like at a gap.
    pub damaged: Vec<DamagedWal>,
    /// Where WAL is missing: the newest base backup after the gap, which can be recovered to the end.
    pub base: Option<BackupId>,
    /// A file whose archiving was confirmed to the server, and that is missing.
    pub lost: Option<WalName>,
    /// The newest WAL is not of the server's own timeline.
    pub beside: Option<TimelineDivergence>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineStatus {
    pub timeline: Timeline,
    /// Complete segments.
    pub segments: u64,
    pub newest: Option<Segment>,
    pub gaps: Vec<Gap>,
    /// No server can reach it.
    pub lacks_history: bool,
}

/// Assesses all WAL of a cluster. `server`: the server's facts, if it is of the same cluster.
///
/// The inner error says why the repository has none. Missing files whose archiving was confirmed, and base
/// backups after a gap, are filled in by the caller.
pub fn assess_archive(
    archive: &Archive,
    evidence: &Evidence,
    server: Option<&ArchiverFacts>,
) -> Result<Result<ArchiveStatus, String>, Question> {
    let held = match evidence.wal(archive, None)? {
        ListedWal::Held(held) => held,
        ListedWal::None(why) => return Ok(Err(why.clone())),
    };
    let on = server.map(|server| server.timeline);
    let damaged = match end(held, on) {
        Some((since, reach)) => {
            let mut damaged = evidence.damage(archive, &reach)?;
            damaged.retain(|damaged| reach.first_damage([*damaged], since.lsn).is_some());
            damaged
        }
        None => vec![],
    };
    let end = end(&without(held, &damaged), on);
    let mut moment = match &end {
        Some((_, reach)) => evidence.times(archive, reach)?,
        None => CommitTimes { complete: None, newest_commit: None },
    };
    if let (Some((_, reach)), Some(server)) = (&end, server) {
        moment.complete = moment.complete.max(complete_until_by_server(server, reach));
    }
    let timelines = held.timelines().map(|timeline| TimelineStatus {
        timeline,
        segments: held.count(timeline),
        newest: held.newest(timeline),
        gaps: held.gaps(timeline),
        lacks_history: held.without_history().any(|without| without == timeline),
    });
    Ok(Ok(ArchiveStatus {
        lost: None,
        base: None,
        damaged,
        beside: on.and_then(|on| TimelineDivergence::of_held(held, on)),
        timelines: timelines.collect(),
        contiguous_since: end.as_ref().map(|(since, _)| *since),
        reach: end.map(|(_, reach)| reach),
        moment,
    }))
}

/// Returns the inventory without damaged segments.
fn without(held: &WalInventory, damaged: &[DamagedWal]) -> WalInventory {
    let mut intact = held.clone();
    damaged.iter().for_each(|damaged| intact.forget(WalName::Segment(damaged.segment)));
    intact
}

/// Returns the start of the contiguous WAL up to the end of the server's timeline, and that end; of the
/// newest one with any segment where the server's has none.
fn end(held: &WalInventory, on: Option<Timeline>) -> Option<(ReplayPosition, ReplayRange)> {
    let timelines: Vec<_> = held.timelines().collect();
    let of_server = on.filter(|on| held.count(*on) > 0);
    let with_any = || timelines.into_iter().rev().find(|timeline| held.count(*timeline) > 0);
    let newest = of_server.or_else(with_any)?;
    let since = held.contiguous_since(newest)?;
    Some((since, held.reach(since, TimelineTarget::Timeline(newest))))
}

/// Returns the newest base backup that begins after every gap on the path to `reach`, and has all the WAL up
/// to it: with it, gaps only prevent recovery to earlier times. `bases`: existing ones, newest first.
pub fn base_after_gaps<'b>(
    archive: &Archive,
    held: &WalInventory,
    reach: &ReplayRange,
    bases: impl Iterator<Item = &'b Manifest>,
) -> Option<&'b BackupId> {
    let known: BTreeMap<&BackupId, &Manifest> = bases.map(|base| (&base.id, base)).collect();
    // Of what an incremental backup builds on, only the files are needed, and no WAL.
    let has_parents = |base: &Manifest| chain(base, |id| known.get(id).copied()).is_ok();
    let mut bases = known
        .values()
        .rev()
        .filter(|base| has_parents(base))
        .filter_map(|base| Some((*base, leads_to(base, archive, held, reach)?)));
    // Backups older than one that does not lead there are before the gap, too.
    bases.next().filter(|(_, leads)| *leads).map(|(base, _)| &base.id)
}

/// `None`: it is not a base backup of the cluster, or lacks WAL of its own.
fn leads_to(
    manifest: &Manifest,
    archive: &Archive,
    held: &WalInventory,
    reach: &ReplayRange,
) -> Option<bool> {
    let physical = manifest.physical.as_ref().filter(|_| manifest.cluster() == Some(archive.cluster))?;
    if held.lacks(physical).is_some() {
        return None;
    }
    let begin = ReplayPosition { timeline: physical.timeline, lsn: physical.start };
    let found = held.reach(begin, TimelineTarget::Timeline(reach.end.timeline));
    Some(found.stop == ReplayEnd::End && found.end == reach.end)
}

impl ArchiveStatus {
    /// Returns what is intact of its inventory.
    pub(super) fn intact(&self, held: &WalInventory) -> WalInventory {
        without(held, &self.damaged)
    }

    /// Returns whether WAL is missing or damaged.
    pub fn has_gaps(&self) -> bool {
        !self.damaged.is_empty()
            || self.timelines.iter().any(|timeline| !timeline.gaps.is_empty() || timeline.lacks_history)
    }

    /// Returns whether WAL is missing and no later base backup makes it unnecessary.
    pub fn is_broken(&self) -> bool {
        self.has_gaps() && self.base.is_none()
    }

    /// Returns the age of the time up to which the WAL is complete.
    pub fn behind(&self, now: DateTime<Utc>) -> Option<Duration> {
        let complete = self.moment.complete?;
        Some((now - complete).to_std().unwrap_or_default())
    }
}
