//! Which WAL stays: what kept base backups need, and what the window of point-in-time recovery needs. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::holding::{HeldBackup, HeldPhysical, HeldWal, WalFile};
use super::proof::ReachedBase;
use super::wal_runs::RunEnd;
use crate::model::{BackupId, Segment, SegmentSize, SystemIdentifier, Timeline, WalName};

/// Says of each file of one cluster's WAL whether it stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalRule {
    size: SegmentSize,
    /// Nothing of it goes: why.
    keeps_all: Option<&'static str>,
    /// From this segment of this timeline on, and on every later timeline, everything stays.
    floor: Option<(Timeline, u64)>,
    /// What was written since then stays on every timeline.
    young: Option<DateTime<Utc>>,
    /// Segments that base backups need to be restored at all, by timeline: first and last, in order and apart.
    required: BTreeMap<Timeline, Vec<(u64, u64)>>,
    /// How many base backups those are.
    bases: usize,
}

/// What of one cluster's WAL goes, and how much stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WalPlan {
    pub cluster: SystemIdentifier,
    /// Segments that follow one another and that go.
    pub remove: Vec<WalRange>,
    pub kept_files: u64,
    pub kept_bytes: u64,
    pub removed_files: u64,
    pub removed_bytes: u64,
    /// Why the rest stays, in words.
    pub reasons: Vec<String>,
    #[serde(skip)]
    pub rule: WalRule,
}

/// Files of one timeline whose segments follow one another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WalRange {
    pub timeline: Timeline,
    pub first: String,
    pub last: String,
    pub files: u64,
    pub bytes: u64,
}

impl WalRule {
    /// Keeps everything.
    pub fn everything(size: SegmentSize, why: &'static str) -> Self {
        Self { size, keeps_all: Some(why), floor: None, young: None, required: BTreeMap::new(), bases: 0 }
    }

    /// `continuous`: base backups from whose start on everything stays. `young`: what was written since then stays;
    /// `None`: without a window of point-in-time recovery, age says nothing.
    pub fn new<'b>(
        size: SegmentSize,
        kept: impl Iterator<Item = &'b HeldPhysical>,
        continuous: impl Iterator<Item = &'b HeldPhysical>,
        young: Option<DateTime<Utc>>,
    ) -> Self {
        let begin = |base: &HeldPhysical| (base.timeline, base.required().0);
        let floor = continuous.map(begin).min();
        let mut rule = Self { size, keeps_all: None, floor, young, required: BTreeMap::new(), bases: 0 };
        rule.require(kept);
        rule
    }

    /// Keeps what more base backups need.
    pub fn require<'b>(&mut self, bases: impl Iterator<Item = &'b HeldPhysical>) {
        for base in bases {
            self.required.entry(base.timeline).or_default().push(base.required());
            self.bases += 1;
        }
        for ranges in self.required.values_mut() {
            ranges.sort_unstable();
            let mut apart: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
            for (first, last) in ranges.drain(..) {
                match apart.last_mut() {
                    Some((_, end)) if *end >= first => *end = last.max(*end),
                    _ => apart.push((first, last)),
                }
            }
            *ranges = apart;
        }
    }

    pub fn keeps(&self, file: &WalFile) -> bool {
        let segment = match file.name {
            // They are small, and the way to every later timeline leads through them.
            WalName::History(_) => return true,
            WalName::Segment(segment) | WalName::Partial(segment) => segment,
            WalName::Piece { segment, .. } | WalName::BackupLabel { segment, .. } => segment,
        };
        let Some(number) = segment.number(self.size) else { return true };
        let after_floor = self.floor.is_some_and(|(timeline, first)| {
            segment.timeline > timeline || (segment.timeline == timeline && number >= first)
        });
        self.keeps_all.is_some()
            || after_floor
            || self.young.is_some_and(|since| file.modified >= since)
            || self.is_required(segment.timeline, number)
    }

    fn is_required(&self, timeline: Timeline, number: u64) -> bool {
        let Some(ranges) = self.required.get(&timeline) else { return false };
        let before = ranges.partition_point(|(first, _)| *first <= number);
        before.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| *last >= number)
    }
}

/// Plans one cluster's WAL.
pub(super) fn plan_wal(wal: &HeldWal, rule: WalRule) -> WalPlan {
    let mut plan = WalPlan {
        cluster: wal.cluster,
        remove: Vec::new(),
        kept_files: 0,
        kept_bytes: 0,
        removed_files: 0,
        removed_bytes: 0,
        reasons: rule.reasons(),
        rule,
    };
    let mut removed: Vec<(Timeline, u64, u64)> = Vec::new();
    for file in &wal.files {
        if plan.rule.keeps(file) {
            plan.kept_files += 1;
            plan.kept_bytes += file.bytes;
        } else {
            plan.removed_files += 1;
            plan.removed_bytes += file.bytes;
            removed
                .extend(number(file.name, wal.segment_size).map(|(timeline, n)| (timeline, n, file.bytes)));
        }
    }
    removed.sort_unstable();
    let mut ranges: Vec<(Timeline, u64, u64, u64, u64)> = Vec::new();
    for (timeline, n, bytes) in removed {
        match ranges.last_mut() {
            Some((of, _, last, files, sum)) if *of == timeline && *last + 1 >= n => {
                (*last, *files, *sum) = (n, *files + 1, *sum + bytes);
            }
            _ => ranges.push((timeline, n, n, 1, bytes)),
        }
    }
    let name = |timeline, n| Segment::new(timeline, n, wal.segment_size).to_string();
    plan.remove = ranges
        .into_iter()
        .map(|(timeline, first, last, files, bytes)| WalRange {
            timeline,
            first: name(timeline, first),
            last: name(timeline, last),
            files,
            bytes,
        })
        .collect();
    plan
}

impl WalRule {
    fn reasons(&self) -> Vec<String> {
        let name = |timeline, n| Segment::new(timeline, n, self.size).to_string();
        let mut reasons: Vec<String> = Vec::new();
        reasons.extend(self.keeps_all.map(str::to_owned));
        if self.keeps_all.is_none() {
            if let Some((timeline, first)) = self.floor {
                reasons.push(format!("from {} on: recovery to any time begins there", name(timeline, first)));
            }
            match self.bases {
                0 => {}
                1 => reasons.push("what 1 base backup needs to be restored".to_owned()),
                bases => reasons.push(format!("what {bases} base backups need to be restored")),
            }
        }
        reasons.push("every history file".to_owned());
        reasons
    }
}

fn number(name: WalName, size: SegmentSize) -> Option<(Timeline, u64)> {
    let segment = match name {
        WalName::History(_) => return None,
        WalName::Segment(segment) | WalName::Partial(segment) => segment,
        WalName::Piece { segment, .. } | WalName::BackupLabel { segment, .. } => segment,
    };
    Some((segment.timeline, segment.number(size)?))
}

/// Returns the base backups of the window of point-in-time recovery, of those of one cluster that can be restored.
/// `newest`: the latest time that anything of the source can be brought back to; what leads there stays, however old.
///
/// Bases from which recovery comes to the same end are one line. A line that reaches into the window begins with the
/// newest base that is not younger than the window, and where none is as old, with the oldest; it has every later one
/// too, so that recovery does not have to replay the whole window.
pub(super) fn window_bases<'h>(
    bases: &[ReachedBase<'h>],
    from: DateTime<Utc>,
    newest: DateTime<Utc>,
) -> Vec<&'h BackupId> {
    let rank = |base: &'h HeldBackup| (base.recovery_point, &base.id);
    let inside = || bases.iter().filter(|reached| reached.until >= from || reached.until >= newest);
    let mut begins: BTreeMap<RunEnd, &'h HeldBackup> = BTreeMap::new();
    for reached in inside() {
        let begin = begins.entry(reached.end).or_insert(reached.base);
        let (old, new) = (rank(begin), rank(reached.base));
        let is_better = match (old.0 <= from, new.0 <= from) {
            (true, true) => new > old,
            (true, false) => false,
            (false, true) => true,
            (false, false) => new < old,
        };
        if is_better {
            *begin = reached.base;
        }
    }
    let is_on_line = |reached: &&ReachedBase<'h>| {
        begins.get(&reached.end).is_some_and(|begin| rank(begin) <= rank(reached.base))
    };
    inside().filter(is_on_line).map(|reached| &reached.base.id).collect()
}
