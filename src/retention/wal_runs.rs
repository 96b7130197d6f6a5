//! The whole segments of a cluster's WAL, as runs without a gap: what [`crate::wal::WalInventory`] answers segment by
//! segment, for a million of them and every base backup.

use std::collections::{BTreeMap, BTreeSet};

use super::holding::{HeldPhysical, HeldWal, WalFile};
use crate::model::{Ancestor, Lsn, SegmentSize, Timeline, WalName};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalRuns {
    size: SegmentSize,
    /// First and last number of each run, in order.
    runs: BTreeMap<Timeline, Vec<(u64, u64)>>,
    histories: BTreeSet<Timeline>,
    parents: BTreeMap<Timeline, Ancestor>,
}

/// Where recovery from a base backup comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunEnd {
    pub timeline: Timeline,
    /// The first segment that is not there.
    pub next: u64,
}

impl WalRuns {
    /// Returns the runs of the files of which `keeps` is true.
    pub fn new(wal: &HeldWal, keeps: impl Fn(&WalFile) -> bool) -> Self {
        let mut numbers: BTreeMap<Timeline, Vec<u64>> = BTreeMap::new();
        let mut histories = BTreeSet::new();
        for file in wal.files.iter().filter(|file| keeps(file)) {
            match file.name {
                WalName::Segment(segment) => {
                    if let Some(number) = segment.number(wal.segment_size) {
                        numbers.entry(segment.timeline).or_default().push(number);
                    }
                }
                WalName::History(timeline) => {
                    histories.insert(timeline);
                }
                WalName::Partial(_) | WalName::Piece { .. } | WalName::BackupLabel { .. } => {}
            }
        }
        let runs = numbers.into_iter().map(|(timeline, numbers)| (timeline, runs(numbers))).collect();
        Self { size: wal.segment_size, runs, histories, parents: wal.parents.clone() }
    }

    /// Returns whether everything is there without which a base backup cannot be restored.
    pub fn covers(&self, base: &HeldPhysical) -> bool {
        let (first, last) = base.required();
        let has_history = base.timeline == Timeline::FIRST || self.histories.contains(&base.timeline);
        has_history && self.run_end(base.timeline, first).is_some_and(|end| end >= last)
    }

    /// Returns where recovery from a base backup comes to, along the newest timeline that leads from it.
    pub fn reach(&self, base: &HeldPhysical) -> RunEnd {
        let goal = self.latest_from(base.timeline);
        let path = self.path(base, goal).unwrap_or_else(|| vec![(base.timeline, None)]);
        let mut next = self.size.number_of(base.start);
        let mut end = RunEnd { timeline: base.timeline, next };
        for (n, (timeline, until)) in path.iter().enumerate() {
            let fork = until.map(|until| self.size.number_of(until));
            if let Some(last) = self.run_end(*timeline, next) {
                next = fork.map_or(last + 1, |fork| (last + 1).min(fork.max(next)));
            }
            end = RunEnd { timeline: *timeline, next };
            let child = path.get(n + 1).map(|(child, _)| *child);
            match (fork, until, child) {
                (Some(fork), _, Some(child)) if next == fork && self.run_end(child, fork).is_some() => {}
                // The parent has the segment of the fork, and its child nothing.
                (Some(fork), Some(until), _)
                    if next == fork
                        && self.run_end(*timeline, fork).is_some()
                        && *until > self.size.begin_of(fork) =>
                {
                    return RunEnd { timeline: *timeline, next: fork + 1 };
                }
                _ => return end,
            }
        }
        end
    }

    /// Returns the last segment of the run that one is in.
    fn run_end(&self, timeline: Timeline, number: u64) -> Option<u64> {
        let runs = self.runs.get(&timeline)?;
        let at = runs.partition_point(|(first, _)| *first <= number).checked_sub(1)?;
        let (_, last) = runs.get(at)?;
        (*last >= number).then_some(*last)
    }

    fn latest_from(&self, start: Timeline) -> Timeline {
        let mut latest = start;
        while self.histories.contains(&latest.next()) {
            latest = latest.next();
        }
        latest
    }

    /// The timelines on the way, and where each is left. `None`: there is no way.
    fn path(&self, base: &HeldPhysical, goal: Timeline) -> Option<Vec<(Timeline, Option<Lsn>)>> {
        let mut path = vec![(goal, None)];
        let mut timeline = goal;
        while timeline != base.timeline {
            let parent = self.parents.get(&timeline)?;
            if parent.timeline < base.timeline || parent.timeline >= timeline {
                return None;
            }
            let is_before = parent.timeline == base.timeline && parent.until < base.start;
            if is_before {
                return None;
            }
            timeline = parent.timeline;
            path.push((timeline, Some(parent.until)));
        }
        path.reverse();
        Some(path)
    }
}

/// Numbers that follow one another, as first and last.
fn runs(mut numbers: Vec<u64>) -> Vec<(u64, u64)> {
    numbers.sort_unstable();
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 >= number => *last = number.max(*last),
            _ => runs.push((number, number)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Physical, Segment, SystemIdentifier};
    use crate::wal::{ReplayPosition, TimelineTarget, WalInventory};

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn timeline(number: u32) -> Timeline {
        Timeline::new(number).unwrap()
    }

    fn file(name: WalName) -> WalFile {
        WalFile { name, bytes: 1, modified: DateTime::<Utc>::UNIX_EPOCH }
    }

    type Forks = Vec<(u32, u32, u64, u64)>;

    /// Segments of three timelines, and where the second and the third came from.
    fn archives() -> impl Strategy<Value = (Vec<(u32, u64)>, Forks)> {
        let segments = prop::collection::vec((1_u32..4, 0_u64..14), 0..40);
        let fork = |child: u32| (Just(child), 1..child, 0_u64..14, 0_u64..2);
        let forks = (prop::option::of(fork(2)), prop::option::of(fork(3)));
        (segments, forks.prop_map(|(second, third)| second.into_iter().chain(third).collect()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn runs_say_what_the_inventory_says_segment_by_segment(
            (segments, forks) in archives(), on in 1_u32..4, start in 0_u64..14, offset in 0_u64..2, length in 0_u64..4
        ) {
            // A timeline is not left before it began.
            let begun = |timeline: u32| forks.iter().find(|(child, ..)| *child == timeline).map(|fork| (fork.2, fork.3));
            prop_assume!(forks.iter().all(|(_, parent, number, offset)| begun(*parent) <= Some((*number, *offset))));
            let names: Vec<WalName> = segments
                .iter()
                .map(|(on, number)| WalName::Segment(Segment::new(timeline(*on), *number, SIZE)))
                .chain(forks.iter().map(|(child, ..)| WalName::History(timeline(*child))))
                .collect();
            let mut inventory = WalInventory::new(SIZE, names.iter().copied());
            let mut wal = HeldWal {
                cluster: SystemIdentifier(7),
                segment_size: SIZE,
                files: names.into_iter().map(file).collect(),
                parents: BTreeMap::new(),
            };
            for (child, parent, number, offset) in &forks {
                let until = Lsn(SIZE.begin_of(*number).0 + offset * 4000);
                let ancestor = Ancestor { timeline: timeline(*parent), until };
                inventory.forked_from(timeline(*child), ancestor);
                wal.parents.insert(timeline(*child), ancestor);
            }
            let runs = WalRuns::new(&wal, |_| true);
            let begin = Lsn(SIZE.begin_of(start).0 + offset * 4000);
            let stop = Lsn(begin.0 + 300 + length * SIZE.bytes());
            let physical = Physical::sample(on, begin, stop);
            let base = HeldPhysical {
                timeline: timeline(on),
                start: begin,
                stop,
                segment_size: SIZE,
            };
            prop_assert_eq!(runs.covers(&base), inventory.lacks(&physical).is_none());
            if !runs.covers(&base) {
                return Ok(());
            }
            let from = ReplayPosition { timeline: timeline(on), lsn: begin };
            let mut reach = inventory.reach(from, TimelineTarget::Latest);
            if matches!(reach.stop, crate::wal::ReplayEnd::NotAChild(_) | crate::wal::ReplayEnd::NoHistory(_)) {
                reach = inventory.reach(from, TimelineTarget::Timeline(from.timeline));
            }
            let end = runs.reach(&base);
            // A timeline may be left in the middle of a segment.
            let next = reach.end.lsn.0.div_ceil(SIZE.bytes());
            prop_assert_eq!((end.timeline, end.next), (reach.end.timeline, next), "{:?}", reach);
        }
    }
}
