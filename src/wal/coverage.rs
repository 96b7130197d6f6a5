use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::fault::WalFault;
use super::partial_segment::PartialSegments;
use crate::model::{Ancestor, Lsn, Segment, SegmentSize, Timeline, WalName};
use crate::postgres::SEGMENT_HEADER;

/// The segments whose metadata is queried for damage by what only reports: 8 GiB of WAL, and a few seconds at
/// most. A restore queries all that it replays, and `drctl verify` reads them.
const DAMAGE_LOOK_BACK: usize = 512;

/// The WAL of a cluster in one repository. Consists of names only: it accesses no store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalInventory {
    size: SegmentSize,
    timelines: BTreeMap<Timeline, HeldSegments>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct HeldSegments {
    /// Numbers of complete segments.
    segments: BTreeSet<u64>,
    /// By the segment's number.
    pieces: BTreeMap<u64, Vec<(u32, u32)>>,
    has_history: bool,
    parent: Option<Ancestor>,
}

/// A position in the WAL where a server can begin or end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ReplayPosition {
    pub timeline: Timeline,
    pub lsn: Lsn,
}

/// The timeline to follow at a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimelineTarget {
    /// The newest timeline, as found by PostgreSQL's `latest`.
    Latest,
    Timeline(Timeline),
}

/// Segments that are missing although later ones exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub first: Segment,
    pub last: Segment,
    /// The number of segments.
    pub count: u64,
}

/// Consecutive segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentRange {
    pub first: Segment,
    pub last: Segment,
}

impl SegmentRange {
    fn has(&self, segment: Segment) -> bool {
        self.first.timeline == segment.timeline && (self.first..=self.last).contains(&segment)
    }
}

/// How far a server can replay from a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayRange {
    /// The end: everything before it is available without a gap.
    pub end: ReplayPosition,
    /// The complete segments to replay, in order.
    pub stretches: Vec<SegmentRange>,
    /// The available parts of the segment after the last complete one: begin and end of partial segments, in
    /// order.
    pub pieces: Option<(Segment, Vec<(u32, u32)>)>,
    pub stop: ReplayEnd,
    size: SegmentSize,
}

/// Why the replay ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayEnd {
    /// There is no more WAL.
    End,
    Gap(Gap),
    /// The origin of the timeline is unknown: its history file is missing or unreadable.
    NoHistory(Timeline),
    /// The timeline forked before the position, or from another timeline.
    NotAChild(Timeline),
    /// The WAL was damaged before it was archived, or written with `wal_level = minimal`, and later WAL exists.
    Damaged(DamagedWal),
}

/// Where recovery ends early: no record from `at` on is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedWal {
    pub segment: Segment,
    pub at: Lsn,
    pub fault: WalFault,
}

impl fmt::Display for DamagedWal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, at, fault } = self;
        match fault {
            WalFault::Damaged => write!(f, "segment {segment} is damaged at {at}"),
            WalFault::Minimal => {
                write!(
                    f,
                    "segment {segment} has WAL of `wal_level = minimal` from {at} on, which no server replays"
                )
            }
        }
    }
}

impl ReplayRange {
    /// Returns whether the WAL up to and including the record at `lsn` is available.
    pub fn covers(&self, lsn: Lsn) -> bool {
        lsn < self.end.lsn
    }

    /// Returns the segment it ends in where the timeline is left there: what the old timeline wrote past the
    /// end, in the complete or in partial segments, is not replayed.
    pub fn remaining_in(&self) -> Option<Segment> {
        let (last, written) = match &self.pieces {
            Some((segment, pieces)) => (*segment, pieces.iter().map(|(_, end)| u64::from(*end)).max()?),
            None => (self.backwards().next()?, self.size.bytes()),
        };
        let begin = last.begin(self.size)?;
        (self.end.lsn.0 < begin.0 + written).then_some(last)
    }

    /// Returns the first damage that a server reads which begins at `from`. `damaged`: in the order of the
    /// segments. WAL of an old timeline after the fork is not read.
    pub fn first_damage(
        &self,
        damaged: impl IntoIterator<Item = DamagedWal>,
        from: Lsn,
    ) -> Option<DamagedWal> {
        let is_read = |damaged: &DamagedWal| {
            damaged.at >= from && (damaged.segment.timeline != self.end.timeline || damaged.at < self.end.lsn)
        };
        damaged.into_iter().find(is_read)
    }

    /// Returns the newest complete segments, oldest first: as many as are inspected for damage where not every
    /// one can be.
    pub fn newest_segments(&self) -> Vec<Segment> {
        let mut newest: Vec<Segment> = self.backwards().take(DAMAGE_LOOK_BACK).collect();
        newest.reverse();
        newest
    }

    /// Truncates it to the intact WAL.
    pub fn until_damage(mut self, damaged: DamagedWal) -> Self {
        let DamagedWal { segment, at, .. } = damaged;
        if self.pieces.as_ref().is_some_and(|(of, _)| *of == segment) {
            let end = ReplayPosition { timeline: segment.timeline, lsn: at };
            return Self { end, stop: ReplayEnd::Damaged(damaged), ..self };
        }
        let number = segment.number(self.size);
        let Some((n, number)) = self.stretches.iter().position(|stretch| stretch.has(segment)).zip(number)
        else {
            return self;
        };
        let begin = self.size.begin_of(number);
        // A segment whose first record is damaged contributes nothing.
        let has_records = at.0 > begin.0 + SEGMENT_HEADER as u64;
        let is_first = self.stretches[n].first == segment;
        self.stretches.truncate(if has_records || !is_first { n + 1 } else { n });
        if let Some(last) = self.stretches.get_mut(n) {
            let intact = if has_records { number } else { number - 1 };
            last.last = Segment::new(segment.timeline, intact, self.size);
        }
        let lsn = if has_records { at } else { begin };
        let end = ReplayPosition { timeline: segment.timeline, lsn };
        Self { end, pieces: None, stop: ReplayEnd::Damaged(damaged), ..self }
    }

    /// Returns the segment from which the WAL at a position is replayed.
    pub fn segment_holding(&self, lsn: Lsn) -> Option<Segment> {
        let number = self.size.number_of(lsn);
        let pieces = self.pieces.iter().map(|(segment, _)| *segment);
        pieces.chain(self.backwards()).find(|segment| segment.number(self.size) == Some(number))
    }

    /// Returns the number of complete segments.
    pub fn segments(&self) -> u64 {
        let numbers = |segment: Segment| segment.number(self.size).unwrap_or_default();
        self.stretches.iter().map(|s| numbers(s.last) + 1 - numbers(s.first)).sum()
    }

    /// Returns the complete segments, the last first.
    pub fn backwards(&self) -> impl Iterator<Item = Segment> {
        self.stretches.iter().rev().flat_map(move |stretch| {
            let timeline = stretch.first.timeline;
            let (first, last) = (stretch.first.number(self.size), stretch.last.number(self.size));
            let numbers = first.zip(last).map(|(first, last)| first..=last);
            numbers.into_iter().flatten().rev().map(move |n| Segment::new(timeline, n, self.size))
        })
    }
}

impl WalInventory {
    pub fn new(size: SegmentSize, names: impl IntoIterator<Item = WalName>) -> Self {
        let mut holdings = Self { size, timelines: BTreeMap::new() };
        for name in names {
            let held = holdings.timelines.entry(name.timeline()).or_default();
            match name {
                WalName::Segment(segment) => held.segments.extend(segment.number(size)),
                WalName::Piece { segment, begin, end } => {
                    if let Some(number) = segment.number(size) {
                        held.pieces.entry(number).or_default().push((begin, end));
                    }
                }
                WalName::History(_) => held.has_history = true,
                WalName::Partial(_) | WalName::BackupLabel { .. } => {}
            }
        }
        holdings
    }

    /// Records the origin of a timeline, from its history file.
    pub fn forked_from(&mut self, timeline: Timeline, parent: Ancestor) {
        self.timelines.entry(timeline).or_default().parent = Some(parent);
    }

    /// Removes a file, as if it did not exist.
    pub fn forget(&mut self, name: WalName) {
        let Some(held) = self.timelines.get_mut(&name.timeline()) else { return };
        match name {
            WalName::Segment(segment) => {
                segment.number(self.size).map(|number| held.segments.remove(&number));
            }
            WalName::Piece { segment, begin, end } => {
                let number = segment.number(self.size);
                if let Some(pieces) = number.and_then(|number| held.pieces.get_mut(&number)) {
                    pieces.retain(|piece| *piece != (begin, end));
                }
            }
            WalName::History(_) => (held.has_history, held.parent) = (false, None),
            WalName::Partial(_) | WalName::BackupLabel { .. } => {}
        }
    }

    /// Adds what another repository has of the same WAL.
    pub fn merge(&mut self, other: &Self) {
        for (timeline, theirs) in &other.timelines {
            let held = self.timelines.entry(*timeline).or_default();
            held.segments.extend(&theirs.segments);
            for (number, pieces) in &theirs.pieces {
                held.pieces.entry(*number).or_default().extend(pieces);
            }
            held.has_history |= theirs.has_history;
            held.parent = held.parent.or(theirs.parent);
        }
    }

    pub fn segment_size(&self) -> SegmentSize {
        self.size
    }

    /// Returns the timelines with any files, oldest first.
    pub fn timelines(&self) -> impl Iterator<Item = Timeline> {
        self.timelines.keys().copied()
    }

    /// Returns the timelines whose history file exists.
    pub fn histories(&self) -> impl Iterator<Item = Timeline> {
        self.timelines.iter().filter(|(_, held)| held.has_history).map(|(timeline, _)| *timeline)
    }

    pub fn parent(&self, timeline: Timeline) -> Option<Ancestor> {
        self.timelines.get(&timeline)?.parent
    }

    /// Returns the number of complete segments of a timeline.
    pub fn count(&self, timeline: Timeline) -> u64 {
        self.timelines.get(&timeline).map_or(0, |held| held.segments.len() as u64)
    }

    /// Returns the last complete segment of a timeline.
    pub fn newest(&self, timeline: Timeline) -> Option<Segment> {
        let number = *self.timelines.get(&timeline)?.segments.last()?;
        Some(self.segment(timeline, number))
    }

    /// Returns the newest timeline that PostgreSQL finds when it begins on `start`: it requests consecutive
    /// history files until one is missing.
    pub fn latest_from(&self, start: Timeline) -> Timeline {
        let mut latest = start;
        while self.timelines.get(&latest.next()).is_some_and(|held| held.has_history) {
            latest = latest.next();
        }
        latest
    }

    /// Returns the gaps between the first segment of a timeline and its last, or its last fork. A timeline
    /// that forked from another one has to continue at the fork.
    pub fn gaps(&self, timeline: Timeline) -> Vec<Gap> {
        let Some(held) = self.timelines.get(&timeline) else { return vec![] };
        let mut numbers: Vec<u64> = held.segments.iter().copied().collect();
        let left_at = self.timelines.values().filter(|child| !child.segments.is_empty());
        let left_at = left_at.filter_map(|child| child.parent.filter(|parent| parent.timeline == timeline));
        let last_fork = left_at.map(|parent| self.size.number_of(parent.until)).max();
        if let Some(fork) = last_fork.filter(|fork| numbers.last().is_some_and(|last| last < fork)) {
            numbers.push(fork);
        }
        let of_parent = held.parent.and_then(|parent| Some((parent, self.timelines.get(&parent.timeline)?)));
        if let Some((parent, before)) = of_parent {
            // The segment it begins in is its own, or its parent's up to the fork.
            let fork = self.size.number_of(parent.until);
            let comes_from = if before.segments.contains(&fork) { Some(fork) } else { fork.checked_sub(1) };
            let has_begun_before = before.segments.range(..=fork).next().is_some();
            if let Some(number) = comes_from.filter(|_| has_begun_before && !numbers.is_empty()) {
                numbers.insert(0, number);
            }
        }
        let after = numbers.iter().skip(1);
        numbers
            .iter()
            .zip(after)
            .filter(|(before, after)| **after > **before + 1)
            .map(|(before, after)| self.gap(timeline, before + 1, after - 1))
            .collect()
    }

    /// Returns the segment behind a gap; `None` where the gap ends at a fork.
    pub fn after(&self, gap: Gap) -> Option<Segment> {
        let timeline = gap.last.timeline;
        let number = gap.last.number(self.size)? + 1;
        self.has(timeline, number).then(|| self.segment(timeline, number))
    }

    /// Returns the timelines with segments that no server can reach: their history file is missing.
    pub fn without_history(&self) -> impl Iterator<Item = Timeline> {
        let later = self.timelines.range(Timeline::FIRST.next()..);
        later
            .filter(|(_, held)| !held.segments.is_empty() && !held.has_history)
            .map(|(timeline, _)| *timeline)
    }

    /// Returns the oldest position from which the end of a timeline can be reached without a gap.
    pub fn contiguous_since(&self, timeline: Timeline) -> Option<ReplayPosition> {
        let mut timeline = timeline;
        let mut number = *self.timelines.get(&timeline)?.segments.last()?;
        loop {
            let held = self.timelines.get(&timeline)?;
            let first_of_run = run_before(&held.segments, number);
            let parent = held.parent.filter(|parent| self.size.number_of(parent.until) >= first_of_run);
            match parent {
                // The first segment of the timeline is complete; the one before is the parent's.
                Some(parent) => {
                    let begin = self.size.number_of(parent.until);
                    let before = begin.checked_sub(1).filter(|n| self.has(parent.timeline, *n));
                    match before {
                        Some(before) => (timeline, number) = (parent.timeline, before),
                        None => return Some(ReplayPosition { timeline, lsn: self.size.begin_of(begin) }),
                    }
                }
                None => return Some(ReplayPosition { timeline, lsn: self.size.begin_of(first_of_run) }),
            }
        }
    }

    /// Returns how far a server that has everything before `from` can replay.
    pub fn reach(&self, from: ReplayPosition, follow: TimelineTarget) -> ReplayRange {
        let goal = match follow {
            TimelineTarget::Latest => self.latest_from(from.timeline),
            TimelineTarget::Timeline(timeline) => timeline,
        };
        let ways = match self.ways(from, goal) {
            Ok(ways) => ways,
            Err(stop) => return self.reached(from, vec![], stop),
        };
        let mut next = self.size.number_of(from.lsn);
        let mut stretches = Vec::new();
        for (timeline, until) in ways {
            let first = next;
            let fork = until.map(|until| self.size.number_of(until));
            while fork.is_none_or(|fork| next < fork) && self.has(timeline, next) {
                next += 1;
            }
            if next > first {
                let (first, last) = (self.segment(timeline, first), self.segment(timeline, next - 1));
                stretches.push(SegmentRange { first, last });
            }
            match (fork, until) {
                // The child has the segment of the fork, with its parent's WAL before the fork, or partial
                // segments of it.
                (Some(fork), Some(until))
                    if next == fork && self.begins(self.child(timeline, goal), fork, until) => {}
                // It does not, but its parent has.
                (Some(fork), Some(until)) if next == fork && self.has(timeline, fork) => {
                    let segment = self.segment(timeline, fork);
                    stretches.push(SegmentRange { first: segment, last: segment });
                    let stop = self.stop(self.child(timeline, goal), fork);
                    return self.reached(ReplayPosition { timeline, lsn: until }, stretches, stop);
                }
                _ => {
                    let shipped = self.partial_segments(timeline, next);
                    let end = Lsn(self.size.begin_of(next).0 + u64::from(shipped.bytes()));
                    let end = ReplayPosition { timeline, lsn: until.map_or(end, |until| end.min(until)) };
                    let stop = match self.stop(timeline, next) {
                        // WAL past the fork exists, and WAL before it is missing.
                        ReplayEnd::End if fork.is_some() => {
                            let last = fork.unwrap_or(next).max(next + 1) - 1;
                            ReplayEnd::Gap(self.gap(timeline, next, last))
                        }
                        stop => stop,
                    };
                    let pieces = shipped.into_chain().map(|chain| (self.segment(timeline, next), chain));
                    return ReplayRange { pieces, ..self.reached(end, stretches, stop) };
                }
            }
        }
        // Every part of the path but the last has an end, and the last ends above.
        self.reached(from, stretches, ReplayEnd::End)
    }

    /// Returns the timelines on the path to `goal`, beginning with that of `from`, and where each is left.
    fn ways(&self, from: ReplayPosition, goal: Timeline) -> Result<Vec<(Timeline, Option<Lsn>)>, ReplayEnd> {
        let mut ways = vec![(goal, None)];
        let mut timeline = goal;
        while timeline != from.timeline {
            // The first timeline has no history file and no parent.
            if timeline < from.timeline {
                return Err(ReplayEnd::NotAChild(goal));
            }
            let parent = self.parent(timeline).ok_or(ReplayEnd::NoHistory(timeline))?;
            if parent.timeline < from.timeline || parent.timeline >= timeline {
                return Err(ReplayEnd::NotAChild(goal));
            }
            timeline = parent.timeline;
            ways.push((timeline, Some(parent.until)));
        }
        ways.reverse();
        match ways.first() {
            Some((_, Some(until))) if *until < from.lsn => Err(ReplayEnd::NotAChild(goal)),
            _ => Ok(ways),
        }
    }

    /// Returns the timeline after `timeline` on the path to `goal`.
    fn child(&self, timeline: Timeline, goal: Timeline) -> Timeline {
        let mut child = goal;
        while let Some(parent) = self.parent(child).filter(|parent| parent.timeline != timeline) {
            child = parent.timeline;
        }
        child
    }

    fn reached(&self, end: ReplayPosition, stretches: Vec<SegmentRange>, stop: ReplayEnd) -> ReplayRange {
        ReplayRange { end, stretches, pieces: None, stop, size: self.size }
    }

    fn partial_segments(&self, timeline: Timeline, number: u64) -> PartialSegments {
        let all = self.timelines.get(&timeline).and_then(|held| held.pieces.get(&number));
        PartialSegments::assemble(self.segment(timeline, number), self.size, all.cloned().unwrap_or_default())
    }

    fn stop(&self, timeline: Timeline, missing: u64) -> ReplayEnd {
        let held = self.timelines.get(&timeline);
        let later = held.and_then(|held| held.segments.range(missing..).next().copied());
        match later {
            Some(later) if later > missing => ReplayEnd::Gap(self.gap(timeline, missing, later - 1)),
            _ => ReplayEnd::End,
        }
    }

    fn has(&self, timeline: Timeline, number: u64) -> bool {
        self.timelines.get(&timeline).is_some_and(|held| held.segments.contains(&number))
    }

    /// Returns whether a timeline that began at `fork` has any WAL of its own in that segment.
    fn begins(&self, timeline: Timeline, number: u64, fork: Lsn) -> bool {
        let shipped =
            self.size.begin_of(number).0 + u64::from(self.partial_segments(timeline, number).bytes());
        self.has(timeline, number) || shipped > fork.0
    }

    fn segment(&self, timeline: Timeline, number: u64) -> Segment {
        Segment::new(timeline, number, self.size)
    }

    fn gap(&self, timeline: Timeline, first: u64, last: u64) -> Gap {
        Gap {
            first: self.segment(timeline, first),
            last: self.segment(timeline, last),
            count: last + 1 - first,
        }
    }
}

/// Returns the first of the numbers that lead to `last` without a gap.
fn run_before(numbers: &BTreeSet<u64>, last: u64) -> u64 {
    let mut first = last;
    while first > 0 && numbers.contains(&(first - 1)) {
        first -= 1;
    }
    first
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn timeline(number: u32) -> Timeline {
        Timeline::new(number).unwrap()
    }

    fn lsn(segment: u64, offset: u64) -> Lsn {
        Lsn(SIZE.begin_of(segment).0 + offset)
    }

    fn at(number: u32, lsn: Lsn) -> ReplayPosition {
        ReplayPosition { timeline: timeline(number), lsn }
    }

    fn holdings(segments: &[(u32, std::ops::Range<u64>)], forks: &[(u32, u32, Lsn)]) -> WalInventory {
        let names = segments.iter().flat_map(|(number, numbers)| {
            numbers.clone().map(|n| WalName::Segment(Segment::new(timeline(*number), n, SIZE)))
        });
        let histories = forks.iter().map(|(child, ..)| WalName::History(timeline(*child)));
        let mut holdings = WalInventory::new(SIZE, names.chain(histories));
        for (child, parent, until) in forks {
            holdings.forked_from(timeline(*child), Ancestor { timeline: timeline(*parent), until: *until });
        }
        holdings
    }

    #[test]
    fn log_without_a_gap_is_reached_to_its_end() {
        let held = holdings(&[(1, 5..9)], &[]);
        let reach = held.reach(at(1, lsn(6, 40)), TimelineTarget::Latest);
        assert_eq!((reach.end, reach.stop), (at(1, lsn(9, 0)), ReplayEnd::End));
        assert!(reach.covers(lsn(8, 100)) && !reach.covers(lsn(9, 0)));
        assert_eq!(reach.stretches[0].first.to_string(), "000000010000000000000006");
        assert_eq!(held.contiguous_since(timeline(1)), Some(at(1, lsn(5, 0))));
        assert_eq!(held.reach(at(1, lsn(3, 40)), TimelineTarget::Latest).end, at(1, lsn(3, 0)));
    }

    #[test]
    fn damage_ends_the_way_behind_the_last_intact_record() {
        let held = holdings(&[(1, 3..9)], &[]);
        let reach = held.reach(at(1, lsn(3, 100)), TimelineTarget::Latest);
        let until = |number: u64, offset: u64| {
            let segment = Segment::new(timeline(1), number, SIZE);
            let cut = reach.clone().until_damage(DamagedWal {
                segment,
                at: lsn(number, offset),
                fault: WalFault::Damaged,
            });
            (cut.end.lsn, cut.segments(), cut.remaining_in().and_then(|segment| segment.number(SIZE)))
        };
        assert_eq!(until(6, 96), (lsn(6, 96), 4, Some(6)));
        // Of the first record behind the header, or of one that begins in the segment before, there is nothing.
        assert_eq!(until(6, 40), (lsn(6, 0), 3, None));
        assert_eq!(until(6, 0), (lsn(6, 0), 3, None));
        assert_eq!(until(3, 40), (lsn(3, 0), 0, None));
        // It is not on the way.
        assert_eq!(until(9, 50), (reach.end.lsn, 6, None));
    }

    #[test]
    fn a_range_ends_within_a_partial_segment_too() {
        let whole = (5..7).map(|number| WalName::Segment(Segment::new(timeline(1), number, SIZE)));
        let segment = Segment::new(timeline(1), 7, SIZE);
        let held = WalInventory::new(SIZE, whole.chain([WalName::Piece { segment, begin: 0, end: 8192 }]));
        let reach = held.reach(at(1, lsn(5, 40)), TimelineTarget::Latest);
        assert_eq!(reach.end.lsn, lsn(7, 8192));
        assert_eq!(reach.segment_holding(lsn(7, 100)), Some(segment));
        assert_eq!(reach.segment_holding(lsn(9, 0)), None);
        let minimal = DamagedWal { segment, at: lsn(7, 4096), fault: WalFault::Minimal };
        let cut = reach.until_damage(minimal);
        assert_eq!((cut.end.lsn, cut.stop), (lsn(7, 4096), ReplayEnd::Damaged(minimal)));
        assert!(cut.pieces.is_some() && !cut.covers(lsn(7, 4096)));
        assert!(minimal.to_string().contains("`wal_level = minimal`"), "{minimal}");
    }

    #[test]
    fn a_gap_is_named_and_nothing_after_it_is_reached() {
        let held = holdings(&[(1, 5..7), (1, 9..12)], &[]);
        let reach = held.reach(at(1, lsn(5, 40)), TimelineTarget::Latest);
        assert_eq!(reach.end, at(1, lsn(7, 0)));
        let ReplayEnd::Gap(gap) = reach.stop else { panic!("{reach:?}") };
        assert_eq!((gap.first.number(SIZE), gap.last.number(SIZE), gap.count), (Some(7), Some(8), 2));
        assert_eq!(held.gaps(timeline(1)), [gap]);
        assert_eq!(held.contiguous_since(timeline(1)), Some(at(1, lsn(9, 0))));
    }

    #[test]
    fn two_promotions_are_followed_and_each_fork_once() {
        // Timeline 2 begins in segment 7, timeline 3 just where segment 9 does; the old ones went on.
        let forks = [(2, 1, lsn(7, 500)), (3, 2, lsn(9, 0))];
        let held = holdings(&[(1, 5..12), (2, 7..10), (3, 9..11)], &forks);
        let reach = held.reach(at(1, lsn(5, 40)), TimelineTarget::Latest);
        assert_eq!((reach.end, reach.stop), (at(3, lsn(11, 0)), ReplayEnd::End));
        let stretches: Vec<_> = reach
            .stretches
            .iter()
            .map(|s| (s.first.timeline.number(), s.first.number(SIZE).unwrap(), s.last.number(SIZE).unwrap()))
            .collect();
        assert_eq!(stretches, [(1, 5, 6), (2, 7, 8), (3, 9, 10)]);
        assert_eq!(held.contiguous_since(timeline(3)), Some(at(1, lsn(5, 0))));
        // Staying on a timeline is another way.
        let stays = held.reach(at(1, lsn(5, 40)), TimelineTarget::Timeline(timeline(1)));
        assert_eq!(stays.end, at(1, lsn(12, 0)));
        let second = held.reach(at(1, lsn(5, 40)), TimelineTarget::Timeline(timeline(2)));
        assert_eq!(second.end, at(2, lsn(10, 0)));
        // What was begun before is no child of what came after.
        let late = held.reach(at(1, lsn(8, 0)), TimelineTarget::Latest);
        assert_eq!(late.stop, ReplayEnd::NotAChild(timeline(3)));
        let gone = holdings(&[(1, 5..7)], &[(3, 2, lsn(9, 0))]);
        assert_eq!(gone.reach(at(1, lsn(5, 0)), TimelineTarget::Latest).end, at(1, lsn(7, 0)));
        let back = held.reach(at(2, lsn(8, 0)), TimelineTarget::Timeline(timeline(1)));
        assert_eq!(back.stop, ReplayEnd::NotAChild(timeline(1)));
        let unknown = gone.reach(at(1, lsn(5, 0)), TimelineTarget::Timeline(timeline(3)));
        assert_eq!(unknown.stop, ReplayEnd::NoHistory(timeline(2)));
    }

    #[test]
    fn a_fork_that_is_not_archived_yet_is_reached_as_far_as_its_parent_goes() {
        let held = holdings(&[(1, 5..8)], &[(2, 1, lsn(7, 500))]);
        let reach = held.reach(at(1, lsn(5, 0)), TimelineTarget::Latest);
        assert_eq!((reach.end, reach.stop), (at(1, lsn(7, 500)), ReplayEnd::End));
        assert_eq!(reach.remaining_in().and_then(|segment| segment.number(SIZE)), Some(7));
        assert_eq!(held.reach(at(1, lsn(5, 0)), TimelineTarget::Timeline(timeline(1))).remaining_in(), None);
        let held = holdings(&[(1, 5..6), (2, 7..9)], &[(2, 1, lsn(7, 500))]);
        let reach = held.reach(at(1, lsn(5, 0)), TimelineTarget::Latest);
        assert_eq!(reach.end, at(1, lsn(6, 0)));
        assert!(matches!(reach.stop, ReplayEnd::Gap(Gap { count: 1, .. })), "{reach:?}");
    }

    #[test]
    fn what_is_missing_around_a_fork_is_a_gap_of_its_timeline() {
        let gaps = |segments: &[(u32, std::ops::Range<u64>)], on: u32| -> Vec<(u64, u64)> {
            let held = holdings(segments, &[(2, 1, lsn(7, 500))]);
            let number = |segment: Segment| segment.number(SIZE).unwrap();
            held.gaps(timeline(on)).iter().map(|gap| (number(gap.first), number(gap.last))).collect()
        };
        assert_eq!(gaps(&[(1, 5..7), (2, 7..9)], 1), []);
        assert_eq!(gaps(&[(1, 5..7), (2, 7..9)], 2), []);
        assert_eq!(gaps(&[(1, 4..5), (2, 7..9)], 1), [(5, 6)]);
        assert_eq!(gaps(&[(1, 5..7), (2, 9..10)], 2), [(7, 8)]);
        assert_eq!(gaps(&[(1, 5..8), (2, 9..10)], 2), [(8, 8)]);
        assert_eq!(gaps(&[(1, 5..8), (2, 8..10)], 2), []);
        // The archive begins with the second one, or has not come to it yet.
        assert_eq!(gaps(&[(2, 9..10)], 2), []);
        assert_eq!(gaps(&[(1, 4..5)], 1), []);
        let held = holdings(&[(1, 5..7), (2, 7..9)], &[]);
        assert_eq!(held.without_history().collect::<Vec<_>>(), [timeline(2)]);
    }

    #[test]
    fn pieces_reach_into_the_segment_that_is_not_whole_yet() {
        let mut names: Vec<_> =
            (5..7).map(|n| WalName::Segment(Segment::new(timeline(1), n, SIZE))).collect();
        let segment = Segment::new(timeline(1), 7, SIZE);
        names.extend([(0, 400), (400, 900)].map(|(begin, end)| WalName::Piece { segment, begin, end }));
        let reach = WalInventory::new(SIZE, names).reach(at(1, lsn(5, 0)), TimelineTarget::Latest);
        assert_eq!((reach.end, reach.stop), (at(1, lsn(7, 900)), ReplayEnd::End));
    }

    #[test]
    fn pieces_of_the_segment_a_timeline_begins_in_lead_onto_it() {
        let fork = lsn(7, 500);
        let held = |pieces: &[(u32, u32, u32)], parent: std::ops::Range<u64>| {
            let whole = parent.map(|n| WalName::Segment(Segment::new(timeline(1), n, SIZE)));
            let pieces = pieces.iter().map(|(on, begin, end)| WalName::Piece {
                segment: Segment::new(timeline(*on), 7, SIZE),
                begin: *begin,
                end: *end,
            });
            let mut held =
                WalInventory::new(SIZE, whole.chain(pieces).chain([WalName::History(timeline(2))]));
            held.forked_from(timeline(2), Ancestor { timeline: timeline(1), until: fork });
            held.reach(at(1, lsn(5, 0)), TimelineTarget::Latest)
        };
        let both = held(&[(1, 0, 480), (2, 0, 900)], 5..7);
        assert_eq!((both.end, both.stop, both.remaining_in()), (at(2, lsn(7, 900)), ReplayEnd::End, None));
        // As long as they do not come as far, the parent leads further, and no further than the fork.
        let short = held(&[(1, 0, 480), (2, 0, 300)], 5..7);
        assert_eq!((short.end, short.remaining_in()), (at(1, lsn(7, 480)), None));
        let on = held(&[(1, 0, 800), (2, 0, 300)], 5..7);
        assert_eq!((on.end, on.remaining_in().is_some()), (at(1, fork), true));
        let whole = held(&[(2, 0, 900)], 5..8);
        assert_eq!((whole.end, whole.stop), (at(2, lsn(7, 900)), ReplayEnd::End));
    }

    proptest! {
        /// As PostgreSQL reads: of each number the newest timeline that has begun by then.
        #[test]
        fn what_is_reached_is_what_a_server_would_read(
            one in prop::collection::btree_set(0_u64..14, 0..14),
            two in prop::collection::btree_set(0_u64..14, 0..14),
            three in prop::collection::btree_set(0_u64..14, 0..14),
            first_fork in (3_u64..6, 0_u64..2), second_fork in (6_u64..10, 0_u64..2), begin in 0_u64..3,
        ) {
            let forks = [
                (2, 1, lsn(first_fork.0, first_fork.1 * 700)),
                (3, 2, lsn(second_fork.0, second_fork.1 * 700)),
            ];
            let sets = [one, two, three];
            let segments: Vec<_> = sets.iter().zip(1..).flat_map(|(set, number)| {
                set.iter().map(move |n| (number, *n..*n + 1))
            }).collect();
            let held = holdings(&segments, &forks);
            let begins = [0, first_fork.0, second_fork.0];
            let owner = |n: u64| (0..3).rev().find(|t| begins[*t] <= n).unwrap_or(0);
            let mut next = begin;
            while sets[owner(next)].contains(&next) {
                next += 1;
            }
            let found = held.reach(at(1, lsn(begin, 0)), TimelineTarget::Latest);
            // A parent that has the segment its child begins in leads up to the fork.
            let end = if begins.contains(&next) && next > 0 && sets[owner(next) - 1].contains(&next) {
                forks[owner(next) - 1].2
            } else {
                lsn(next, 0)
            };
            prop_assert_eq!(found.end.lsn, end, "{:?}", found);
            let read: u64 = found.stretches.iter().map(|s| s.last.number(SIZE).unwrap() + 1 - s.first.number(SIZE).unwrap()).sum();
            prop_assert!(read == next - begin || read == next - begin + 1);
        }
    }
}
