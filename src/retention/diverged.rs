//! Two servers that archive side by side, each on a timeline of its own. Pure.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::holding::{HeldWal, RetentionSurvey};
use super::refusal::{Refusal, RefusalCode};
use crate::model::{
    Ancestor, Location, RepositoryName, Segment, SourceName, SystemIdentifier, Timeline, WalName,
};

/// What a replaced server still archives at its end.
const REPLACED_WITHIN: TimeDelta = TimeDelta::minutes(15);
/// One that has not archived for longer is gone.
const STILL_WRITES: TimeDelta = TimeDelta::days(2);

/// When segments were archived, by the first repository that took them: in one that was completed later, they look newer.
#[derive(Debug, Default)]
pub(super) struct Earliest(HashMap<(SystemIdentifier, Segment), DateTime<Utc>>);

impl Earliest {
    /// Returns when the other repositories took the segments of a source that left a timeline.
    pub(super) fn beside(survey: &RetentionSurvey, own: &RepositoryName, source: &SourceName) -> Self {
        let mut earliest = HashMap::new();
        for repository in survey.repositories.iter().filter(|one| one.name != *own) {
            let wal = repository.sources.get(source).into_iter().flat_map(|holdings| &holdings.wal);
            for wal in wal.filter(|wal| !wal.parents.is_empty()) {
                for file in &wal.files {
                    let WalName::Segment(segment) = file.name else { continue };
                    let at = earliest.entry((wal.cluster, segment)).or_insert(file.modified);
                    *at = file.modified.min(*at);
                }
            }
        }
        Self(earliest)
    }

    fn of(&self, cluster: SystemIdentifier, segment: Segment, here: DateTime<Utc>) -> DateTime<Utc> {
        self.0.get(&(cluster, segment)).copied().map_or(here, |at| at.min(here))
    }
}

/// A server that was replaced, and still archives, may be the one that the application uses.
pub(super) fn diverged(
    source: &SourceName,
    location: &Location,
    wal: &[HeldWal],
    earliest: &Earliest,
    now: DateTime<Utc>,
) -> Option<Refusal> {
    let (wal, timeline, parent) = wal.iter().find_map(|wal| {
        let segments = |of: Timeline| {
            wal.files.iter().filter_map(move |file| match file.name {
                WalName::Segment(segment) if segment.timeline == of => {
                    Some((segment, earliest.of(wal.cluster, segment, file.modified)))
                }
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
    use crate::model::SegmentSize;
    use crate::retention::holding::{RepositoryHoldings, SourceHoldings, WalFile};

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn at(minute: i64) -> DateTime<Utc> {
        "2026-11-20T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(minute)
    }

    fn found(old: &[(u64, i64)], now: i64) -> bool {
        found_beside(old, &[], now)
    }

    /// `elsewhere`: when another repository took them.
    fn found_beside(old: &[(u64, i64)], elsewhere: &[(u64, i64)], now: i64) -> bool {
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
        let there = elsewhere.iter().map(|(number, minute)| file(Timeline::FIRST, *number, *minute));
        let there = HeldWal { files: there.collect(), ..wal.clone() };
        let (source, west): (SourceName, RepositoryName) = ("db".parse().unwrap(), "west".parse().unwrap());
        let holdings = SourceHoldings { wal: vec![there], ..SourceHoldings::default() };
        let other = RepositoryHoldings {
            name: "primary".parse().unwrap(),
            sources: [(source.clone(), holdings)].into(),
            refusals: vec![],
        };
        let survey = RetentionSurvey { repositories: vec![other], ..RetentionSurvey::default() };
        let earliest = Earliest::beside(&survey, &west, &source);
        diverged(&source, &Location::Repository(west), &[wal], &earliest, at(now)).is_some()
    }

    #[test]
    fn a_copy_that_is_completed_after_a_failover_does_not_look_like_a_second_server() {
        let completed_late = [(9, 90), (11, 91), (12, 92)];
        assert!(found(&completed_late, 120));
        assert!(!found_beside(&completed_late, &[(9, -5), (11, 3), (12, 4)], 120));
        // Where the other one took them late, too, someone still writes them.
        assert!(found_beside(&completed_late, &[(9, -5), (11, 3), (12, 60)], 120));
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
