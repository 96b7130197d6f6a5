//! Two servers that archive side by side, each on a timeline of its own. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::holding::HeldWal;
use super::refusal::{Refusal, RefusalCode};
use crate::model::{Ancestor, Location, SourceName, Timeline, WalName};

/// What a replaced server still archives at its end.
const REPLACED_WITHIN: TimeDelta = TimeDelta::minutes(15);
/// One that has not archived for longer is gone.
const STILL_WRITES: TimeDelta = TimeDelta::days(2);

/// A server that was replaced, and still archives, may be the one that the application uses.
pub(super) fn diverged(
    source: &SourceName,
    location: &Location,
    wal: &[HeldWal],
    now: DateTime<Utc>,
) -> Option<Refusal> {
    let (wal, timeline, parent) = wal.iter().find_map(|wal| {
        let segments = |of: Timeline| {
            wal.files.iter().filter_map(move |file| match file.name {
                WalName::Segment(segment) if segment.timeline == of => Some((segment, file.modified)),
                _ => None,
            })
        };
        let is_written = |(timeline, parent): &(&Timeline, &Ancestor)| {
            let fork = wal.segment_size.number_of(parent.until);
            let Some(begun) = segments(**timeline).map(|(_, at)| at).min() else { return false };
            segments(parent.timeline).any(|(segment, at)| {
                let is_past = segment.number(wal.segment_size).is_some_and(|number| number > fork);
                is_past && at > begun + REPLACED_WITHIN && at > now - STILL_WRITES
            })
        };
        let (timeline, parent) = wal.parents.iter().find(is_written)?;
        Some((wal, *timeline, parent.timeline))
    })?;
    let message = format!(
        "two servers archive the WAL of {source} (cluster {}) in `{location}`: one on timeline {parent}, one on timeline {timeline}",
        wal.cluster
    );
    let hint = "stop archiving on the server that is not production; where the plan keeps what production needs, confirm it";
    Some(Refusal::new(RefusalCode::TimelinesDiverged, message, hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Segment, SegmentSize, SystemIdentifier};
    use crate::retention::holding::WalFile;

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn at(minute: i64) -> DateTime<Utc> {
        "2026-11-20T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(minute)
    }

    fn found(old: &[(u64, i64)], now: i64) -> bool {
        let second = Timeline::FIRST.next();
        let file = |timeline, number, minute| WalFile {
            name: WalName::Segment(Segment::new(timeline, number, SIZE)),
            bytes: 1,
            modified: at(minute),
        };
        let mut files: Vec<_> =
            old.iter().map(|(number, minute)| file(Timeline::FIRST, *number, *minute)).collect();
        files.extend([file(second, 10, 0), file(second, 11, 5)]);
        let ancestor = Ancestor { timeline: Timeline::FIRST, until: SIZE.begin_of(10) };
        let wal = HeldWal {
            cluster: SystemIdentifier(7),
            segment_size: SIZE,
            files,
            parents: [(second, ancestor)].into(),
        };
        diverged(&"db".parse().unwrap(), &Location::Repository("west".parse().unwrap()), &[wal], at(now))
            .is_some()
    }

    #[test]
    fn a_replaced_server_that_goes_on_archiving_is_noticed_until_it_is_gone() {
        assert!(found(&[(9, -5), (12, 60)], 120));
        // What it archived at its end, before the fork, or long ago.
        assert!(!found(&[(9, -5), (11, 3)], 120));
        assert!(!found(&[(9, 60)], 120));
        assert!(!found(&[(12, 60)], 5 * 24 * 60));
    }
}
