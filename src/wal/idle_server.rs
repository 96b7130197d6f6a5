//! What a server says about log that nobody has yet: that there is little of it, and since when.

use chrono::{DateTime, TimeDelta, Utc};

use super::archive::WHILE_WRITTEN;
use super::{ArchiverFacts, ReplayRange};

/// No record is shorter, so that no whole one is in less.
const SHORTEST_RECORD: u64 = 24;
/// A busy server may be late to end a segment that has waited for `archive_timeout`.
const ENDED_LATE: TimeDelta = TimeDelta::minutes(1);

/// Everything committed before is in what is reached, as the server that writes the log lets one conclude: times
/// of files say nothing for as long as nothing is written. What is reached must have been asked for after the
/// server. `None`: nothing follows from what it says.
pub fn complete_until_by_server(facts: &ArchiverFacts, reach: &ReplayRange) -> Option<DateTime<Utc>> {
    // What a standby replays may be long behind what was committed.
    if facts.is_standby || reach.end.timeline != facts.timeline {
        return None;
    }
    // It has written more meanwhile; or it was put back in time, and writes something else there.
    let missing = facts.lsn.0.checked_sub(reach.end.lsn.0)?;
    if missing < SHORTEST_RECORD {
        return Some(facts.asked - WHILE_WRITTEN);
    }
    let size = facts.segment_size;
    let written_now = size.begin_of(size.number_of(facts.lsn));
    let timeout = TimeDelta::from_std(facts.archive_timeout).ok().filter(|timeout| !timeout.is_zero())?;
    // Whatever is committed in the segment that is written now has not waited longer.
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
