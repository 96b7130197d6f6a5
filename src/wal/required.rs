use std::fmt;

use super::{ReplayPosition, TimelineTarget, WalInventory};
use crate::model::{Lsn, Physical, Segment, Timeline};

/// What prevents a base backup from being restored at all: the first required WAL that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingRequiredWal {
    Segment(Segment),
    /// A server cannot reach the timeline.
    History(Timeline),
}

impl fmt::Display for MissingRequiredWal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(segment) => write!(f, "segment {segment} has not been archived there"),
            Self::History(timeline) => {
                write!(f, "{}.history has not been archived there", timeline.in_names())
            }
        }
    }
}

impl WalInventory {
    /// Returns the WAL that a base backup requires and that is missing.
    pub fn lacks(&self, physical: &Physical) -> Option<MissingRequiredWal> {
        let timeline = physical.timeline;
        if timeline > Timeline::FIRST && !self.histories().any(|held| held == timeline) {
            return Some(MissingRequiredWal::History(timeline));
        }
        let reach =
            self.reach(ReplayPosition { timeline, lsn: physical.start }, TimelineTarget::Timeline(timeline));
        let last_byte = Lsn(physical.stop.0.saturating_sub(1)).max(physical.start);
        let missing = || Segment::holding(timeline, reach.end.lsn, physical.segment_size);
        (!reach.covers(last_byte)).then(|| MissingRequiredWal::Segment(missing()))
    }
}

/// Returns the segment where the WAL of a base backup begins.
pub fn first_segment(physical: &Physical) -> Segment {
    Segment::holding(physical.timeline, physical.start, physical.segment_size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SegmentSize, WalName};

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn held(timeline: u32, numbers: std::ops::Range<u64>, history: bool) -> WalInventory {
        let timeline = Timeline::new(timeline).unwrap();
        let segments = numbers.map(|n| WalName::Segment(Segment::new(timeline, n, SIZE)));
        WalInventory::new(SIZE, segments.chain(history.then_some(WalName::History(timeline))))
    }

    #[test]
    fn every_segment_from_start_to_stop_is_needed_and_none_more() {
        let begin = |n| SIZE.begin_of(n);
        let copy = Physical::sample(1, Lsn(begin(5).0 + 40), Lsn(begin(7).0 + 300));
        assert_eq!(held(1, 5..8, false).lacks(&copy), None);
        let lacks = |range| held(1, range, false).lacks(&copy).map(|lacking| lacking.to_string());
        assert!(lacks(5..7).unwrap().starts_with("segment 000000010000000000000007 "));
        assert!(lacks(6..9).unwrap().starts_with("segment 000000010000000000000005 "));
        // The log ends with the segment before where the stop is at its begin.
        let copy = Physical::sample(1, Lsn(begin(5).0 + 40), begin(7));
        assert_eq!(held(1, 5..7, false).lacks(&copy), None);
    }

    #[test]
    fn a_later_timeline_needs_its_history() {
        let copy = Physical::sample(2, Lsn(SIZE.begin_of(5).0 + 40), Lsn(SIZE.begin_of(5).0 + 300));
        assert_eq!(held(2, 5..6, true).lacks(&copy), None);
        let lacking = held(2, 5..6, false).lacks(&copy);
        assert_eq!(lacking, Some(MissingRequiredWal::History(Timeline::new(2).unwrap())));
    }
}
