//! Completeness of WAL that is not archived yet, from the server's own facts: how little there is, and since
//! when.

use chrono::{DateTime, TimeDelta, Utc};

use super::archive::WHILE_WRITTEN;
use super::{ArchiverFacts, ReplayRange};

/// The minimum length of a record, so that fewer bytes hold no complete one.
const SHORTEST_RECORD: u64 = 24;
/// A busy server may be late to switch a segment after `archive_timeout`.
const ENDED_LATE: TimeDelta = TimeDelta::minutes(1);

/// Returns the time before which every commit is in `reach`, from the facts of the server that writes the
/// WAL: the times of files are no evidence as long as nothing is written. `reach` must have been queried
/// after the server. `None`: the facts are inconclusive.
pub fn complete_until_by_server(facts: &ArchiverFacts, reach: &ReplayRange) -> Option<DateTime<Utc>> {
    // A standby's replay may be far behind the primary's commits.
    if facts.is_standby || reach.end.timeline != facts.timeline {
        return None;
    }
    // It has written more meanwhile; or it was restored to an earlier state, and writes other WAL there.
    let missing = facts.lsn.0.checked_sub(reach.end.lsn.0)?;
    if missing < SHORTEST_RECORD {
        return Some(facts.asked - WHILE_WRITTEN);
    }
    let size = facts.segment_size;
    let written_now = size.begin_of(size.number_of(facts.lsn));
    let timeout = TimeDelta::from_std(facts.archive_timeout).ok().filter(|timeout| !timeout.is_zero())?;
    // Any commit in the current segment has waited no longer than this.
    (reach.end.lsn >= written_now).then(|| facts.asked - timeout - ENDED_LATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Lsn, Timeline, WalName};
    use crate::wal::archiver::facts::facts_for_tests;
    use crate::wal::{ReplayPosition, TimelineTarget, WalInventory};
    use std::time::Duration;

    const SEGMENT: u64 = 16 << 20;

    fn reach(names: &[&str]) -> ReplayRange {
        let facts = facts_for_tests();
        let names = names.iter().map(|name| name.parse::<WalName>().unwrap());
        let begin = ReplayPosition { timeline: Timeline::FIRST, lsn: Lsn(SEGMENT) };
        WalInventory::new(facts.segment_size, names).reach(begin, TimelineTarget::Timeline(Timeline::FIRST))
    }

    #[test]
    fn an_idle_server_has_nothing_that_is_not_there() {
        let whole = reach(&["000000010000000000000001"]);
        let pieces =
            reach(&["000000010000000000000001", "000000010000000000000002.00000000-00001000.partial"]);
        let facts = |lsn, minutes: u64| ArchiverFacts {
            lsn: Lsn(lsn),
            archive_timeout: Duration::from_secs(60 * minutes),
            ..facts_for_tests()
        };
        let ago = |facts: &ArchiverFacts, reach| {
            complete_until_by_server(facts, reach).map(|until| (facts.asked - until).num_seconds())
        };
        assert_eq!(ago(&facts(2 * SEGMENT, 0), &whole), Some(10));
        // Zeros at its end are not shipped.
        assert_eq!(ago(&facts(2 * SEGMENT + 0x1007, 0), &pieces), Some(10));
        assert_eq!(ago(&facts(2 * SEGMENT + 0x1018, 0), &pieces), None);
        assert_eq!(ago(&facts(2 * SEGMENT + 0x1018, 5), &pieces), Some(360));
        assert_eq!(ago(&facts(3 * SEGMENT - 1, 5), &whole), Some(360));
        assert_eq!(ago(&facts(3 * SEGMENT - 1, 0), &whole), None);
        // A segment that is complete is not there.
        assert_eq!(ago(&facts(3 * SEGMENT, 5), &whole), None);
        // It was put back in time.
        assert_eq!(ago(&facts(2 * SEGMENT - 1, 5), &whole), None);
        let standby = ArchiverFacts { is_standby: true, ..facts(2 * SEGMENT, 5) };
        let promoted = ArchiverFacts { timeline: Timeline::FIRST.next(), ..facts(2 * SEGMENT, 5) };
        assert_eq!((ago(&standby, &whole), ago(&promoted, &whole)), (None, None));
    }
}
