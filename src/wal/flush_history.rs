//! A server's flush position over time: it determines up to which commit time received WAL is complete.
//!
//! The time at which a file was received does not: a receiver may be hours behind its server.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};

use crate::model::{Lsn, Segment, SegmentSize, Timeline, WalName};

/// The maximum length of a partial segment in bytes: more is split into further ones.
pub(super) const LONGEST_PIECE: u32 = 16 << 20;
/// More than are recorded in the hours that a receiver may be behind.
const MOST: usize = 8192;

/// One answer of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LsnSample {
    /// Before the query, by this host's clock.
    pub(super) at: DateTime<Utc>,
    pub(super) timeline: Timeline,
    /// Everything committed until then is before this position.
    pub(super) end: Lsn,
    /// Everything before it has been received.
    pub(super) received: Lsn,
}

/// The server's answers since streaming began, oldest first.
#[derive(Clone, Debug, Default)]
pub struct LsnTimeline {
    seen: VecDeque<LsnSample>,
}

impl LsnTimeline {
    pub(super) fn enter(&mut self, sighting: LsnSample) {
        if self.seen.len() == MOST {
            self.seen.pop_front();
        }
        self.seen.push_back(sighting);
    }

    /// Returns the time before which every commit is in the file or in an earlier one. A partial segment must
    /// have been cut after the last sample. `None`: unknown.
    pub(super) fn complete_until(&self, name: WalName, size: SegmentSize) -> Option<DateTime<Utc>> {
        match name {
            WalName::Segment(segment) => self.before(segment, size.bytes(), size),
            WalName::Piece { segment, begin, end } => {
                let is_last = end.saturating_sub(begin) < LONGEST_PIECE;
                let all_received = is_last.then(|| self.all_received(segment, size)).flatten();
                self.before(segment, end.into(), size).max(all_received)
            }
            WalName::Partial(_) | WalName::History(_) | WalName::BackupLabel { .. } => None,
        }
    }

    /// Returns when the server last had written at most the first bytes of a segment.
    fn before(&self, segment: Segment, bytes: u64, size: SegmentSize) -> Option<DateTime<Utc>> {
        let end = Lsn(segment.begin(size)?.0.checked_add(bytes)?);
        let before = |seen: &&LsnSample| seen.timeline == segment.timeline && seen.end <= end;
        self.seen.iter().rev().find(before).map(|seen| seen.at)
    }

    /// Returns when the server last had written nothing that was not received in this segment or before: its
    /// last bytes may be zeros, which are in no partial segment.
    fn all_received(&self, segment: Segment, size: SegmentSize) -> Option<DateTime<Utc>> {
        let newest = self.seen.back()?;
        let is_in_it = Segment::holding(newest.timeline, newest.received, size) == segment;
        let received = |seen: &&LsnSample| seen.timeline == newest.timeline && seen.end <= newest.received;
        is_in_it.then(|| self.seen.iter().rev().find(received)).flatten().map(|seen| seen.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn noon() -> DateTime<Utc> {
        "2026-11-20T12:00:00Z".parse().unwrap()
    }

    /// Minutes after noon.
    fn until(horizon: &LsnTimeline, name: &str) -> Option<i64> {
        let until = horizon.complete_until(name.parse().unwrap(), SIZE);
        until.map(|until| (until - noon()).num_minutes())
    }

    fn horizon(sightings: &[(i64, u64, u64)]) -> LsnTimeline {
        let mut horizon = LsnTimeline::default();
        for &(minutes, end, received) in sightings {
            horizon.enter(LsnSample {
                at: noon() + TimeDelta::minutes(minutes),
                timeline: Timeline::FIRST,
                end: Lsn(end),
                received: Lsn(received),
            });
        }
        horizon
    }

    #[test]
    fn a_receiver_that_is_behind_knows_what_it_does_not_have() {
        // The server is three segments ahead.
        let behind = horizon(&[(0, 0x120_0000, 0x110_0000), (60, 0x450_0000, 0x280_0000)]);
        assert_eq!(until(&behind, "000000010000000000000001"), Some(0));
        assert_eq!(until(&behind, "000000010000000000000002"), Some(0));
        assert_eq!(until(&behind, "000000010000000000000002.00000000-00800000.partial"), Some(0));
        assert_eq!(until(&behind, "000000010000000000000004"), Some(60));
        assert_eq!(until(&behind, "000000020000000000000004"), None);
        assert_eq!(until(&behind, "000000010000000000000000"), None);
        assert_eq!(until(&LsnTimeline::default(), "000000010000000000000001"), None);
    }

    #[test]
    fn zeros_at_the_end_do_not_hide_that_all_was_received() {
        let all = horizon(&[(0, 0x120_0010, 0x120_0010), (1, 0x120_0010, 0x120_0010)]);
        assert_eq!(until(&all, "000000010000000000000001.00000000-0020000D.partial"), Some(1));
        // What was received behind this segment need not be in a piece of it.
        assert_eq!(until(&all, "000000010000000000000000.00000000-0020000D.partial"), None);
        let more = horizon(&[(0, 0x120_0010, 0x120_0000), (1, 0x120_0800, 0x120_0010)]);
        assert_eq!(until(&more, "000000010000000000000001.00000000-0020000D.partial"), Some(0));
    }

    #[test]
    fn a_piece_that_others_follow_does_not_have_all() {
        let size = SegmentSize::new(64 << 20).unwrap();
        let mut horizon = LsnTimeline::default();
        let end = Lsn(0x400_0000 + (20 << 20));
        horizon.enter(LsnSample { at: noon(), timeline: Timeline::FIRST, end, received: end });
        let until = |name: &str| horizon.complete_until(name.parse().unwrap(), size);
        assert_eq!(until("000000010000000000000001.00000000-01000000.partial"), None);
        // Its last bytes are zeros.
        assert_eq!(until("000000010000000000000001.01000000-013FFFFF.partial"), Some(noon()));
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut horizon = horizon(&[(0, 0x100_0000, 0)]);
        let later = LsnSample { end: Lsn(0x900_0000), ..horizon.seen[0] };
        (0..MOST).for_each(|_| horizon.enter(later));
        assert_eq!(horizon.seen.len(), MOST);
        assert_eq!(until(&horizon, "000000010000000000000001"), None);
    }
}
