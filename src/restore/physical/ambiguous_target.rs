//! A target that exists on two timelines, or only on an abandoned one: a time at which the fork had no commit
//! of its own yet; a transaction ID, which each timeline assigns again; a restore point.

use chrono::{DateTime, Utc};

use super::replay_effects::{READ_AT_MOST, each_record_of, end_of_transaction, names_given};
use super::select::BaseBackup;
use super::target::shown;
use super::wal_survey::WalArchives;
use super::{PhysicalRestoreError, RecoveryTarget};
use crate::model::{Ancestor, Lsn, Timeline};
use crate::restore::Refusal;
use crate::run::RunContext;
use crate::wal::{ReplayPosition, ReplayRange, TimelineTarget, WalInventory};

/// A commit and the position of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Commit {
    time: DateTime<Utc>,
    at: Lsn,
}

/// Returns a refusal that names both timelines where the outcome for this target depends on a timeline that
/// was not chosen explicitly.
pub(super) async fn two_have_it(
    run: &RunContext,
    log: &WalArchives,
    (base, reach): (&BaseBackup, &ReplayRange),
    goal: Timeline,
    target: &RecoveryTarget,
) -> Result<Option<Refusal>, PhysicalRestoreError> {
    if let RecoveryTarget::Transaction(number) = target {
        return two_have_transaction(run, log, (base, reach), goal, *number).await;
    }
    for (left, child) in forks(log, base.physical.timeline, goal) {
        let (is_on_child, rival) = match target {
            RecoveryTarget::Time(time) => {
                let begun = first_commit(run, log, child, left.until).await?;
                if begun.is_some_and(|begun| begun.time <= *time) {
                    // It belongs to the newer timeline.
                    continue;
                }
                (begun, rival_at(run, log, left, child, *time).await?)
            }
            RecoveryTarget::Lsn(lsn) if *lsn > left.until => {
                let went_on = first_commit(run, log, left.timeline, left.until).await?;
                let reached = went_on.filter(|commit| commit.at <= *lsn);
                let begun = first_commit(run, log, child, left.until).await?;
                (begun, reached.map(|commit| (left.timeline, commit)))
            }
            _ => return Ok(None),
        };
        return Ok(rival.map(|(other, commit)| {
            let nothing_until = match is_on_child {
                Some(begun) => format!("nothing until {},", shown(begun.time)),
                None => "nothing that is archived,".to_owned(),
            };
            let message = format!(
                "{target} is on two timelines: timeline {child} was forked at {} and committed {nothing_until} and timeline {other} has a commit of {}",
                left.until,
                shown(commit.time)
            );
            Refusal::usage("two-timelines", message).with("child", child).with("other", other)
        }));
    }
    Ok(None)
}

/// Returns a refusal for a transaction ID that was assigned both on the path to `goal` and on a timeline off
/// that path.
async fn two_have_transaction(
    run: &RunContext,
    log: &WalArchives,
    (base, reach): (&BaseBackup, &ReplayRange),
    goal: Timeline,
    number: u64,
) -> Result<Option<Refusal>, PhysicalRestoreError> {
    let mut rival = None;
    for part in beside(&log.together, goal) {
        let reach = part.reach(log);
        if reach.segments() > READ_AT_MOST as u64 {
            run.events.warning(format!(
                "timeline {} was not searched for transaction {number}: it has {} segments",
                part.timeline,
                reach.segments()
            ));
            continue;
        }
        if end_of_transaction(run, log, &reach, part.from, number).await?.is_some() {
            rival = Some(part);
            break;
        }
    }
    let Some(AbandonedPart { timeline: other, from }) = rival else { return Ok(None) };
    let own = end_of_transaction(run, log, reach, base.physical.start, number).await?;
    Ok(Some(match own {
        Some(at) => {
            let message = format!(
                "transaction {number} is on two timelines: on the way to timeline {goal} it ends at {at}, and timeline {other}, which parted from that at {from}, has another one"
            );
            Refusal::usage("transaction-on-two-timelines", message).with("goal", goal).with("other", other)
        }
        None => {
            let message = format!(
                "transaction {number} is not on the way to timeline {goal}: it is on timeline {other}, which parted from that at {from}"
            );
            Refusal::nothing("other-timeline", message).with("other", other)
        }
    }))
}

/// Returns a refusal that locates a restore point which is not on the path to `goal` but on another timeline.
pub(super) async fn elsewhere(
    run: &RunContext,
    log: &WalArchives,
    goal: Timeline,
    name: &str,
) -> Result<Option<Refusal>, PhysicalRestoreError> {
    for part in beside(&log.together, goal) {
        let given = names_given(run, log, &part.reach(log)).await?.unwrap_or_default();
        let found = given.iter().rfind(|(other, at)| other == name && *at >= part.from);
        if let Some((_, at)) = found {
            let AbandonedPart { timeline: other, from } = part;
            let message = format!(
                "restore point `{name}` is not on the way to timeline {goal}: it is on timeline {other} at {at}, which parted from that at {from}"
            );
            return Ok(Some(Refusal::nothing("other-timeline", message).with("other", other)));
        }
    }
    Ok(None)
}

/// The part of a timeline, from a position on, that is not on the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AbandonedPart {
    timeline: Timeline,
    from: Lsn,
}

impl AbandonedPart {
    fn reach(self, log: &WalArchives) -> ReplayRange {
        let Self { timeline, from } = self;
        log.together.reach(ReplayPosition { timeline, lsn: from }, TimelineTarget::Timeline(timeline))
    }
}

/// Returns all parts that are not on the path to `goal`, newest timeline first.
fn beside(log: &WalInventory, goal: Timeline) -> Vec<AbandonedPart> {
    let mut way = vec![(goal, None)];
    while let Some((child, _)) = way.last().copied()
        && let Some(left) = log.parent(child).filter(|left| left.timeline < child)
    {
        way.push((left.timeline, Some(left.until)));
    }
    let part = |timeline: Timeline| {
        let from = match way.iter().find(|(on, _)| *on == timeline) {
            Some((_, left)) => (*left)?,
            None => log.parent(timeline)?.until,
        };
        Some(AbandonedPart { timeline, from })
    };
    let mut parts: Vec<_> = log.timelines().filter_map(part).collect();
    parts.reverse();
    parts
}

/// Returns where the path from one timeline to another forks off each ancestor, and into which child; in
/// order.
fn forks(log: &WalArchives, from: Timeline, goal: Timeline) -> Vec<(Ancestor, Timeline)> {
    let (mut child, mut forks) = (goal, Vec::new());
    while child != from
        && let Some(left) = log.together.parent(child).filter(|left| left.timeline < child)
    {
        forks.push((left, child));
        child = left.timeline;
    }
    forks.reverse();
    forks
}

/// Returns a timeline other than `child` that has a commit between the fork position of `child` and `time`.
async fn rival_at(
    run: &RunContext,
    log: &WalArchives,
    left: Ancestor,
    child: Timeline,
    time: DateTime<Utc>,
) -> Result<Option<(Timeline, Commit)>, PhysicalRestoreError> {
    let in_time = |commit: &Commit| commit.time <= time;
    if let Some(commit) = first_commit(run, log, left.timeline, left.until).await?.filter(in_time) {
        return Ok(Some((left.timeline, commit)));
    }
    let siblings = log.together.histories().filter(|other| *other != child);
    for other in siblings {
        let Some(from) = log.together.parent(other).filter(|from| from.timeline == left.timeline) else {
            continue;
        };
        // A fork taken earlier, from a server that had already ended, is no rival: its history is over by
        // then.
        let first = first_commit(run, log, other, from.until).await?.filter(in_time);
        if let Some(first) = first
            && (from.until >= left.until || is_later(run, log, left, other).await?)
        {
            return Ok(Some((other, first)));
        }
    }
    Ok(None)
}

/// Returns whether a timeline has activity after the last commit before another timeline's fork position.
async fn is_later(
    run: &RunContext,
    log: &WalArchives,
    left: Ancestor,
    other: Timeline,
) -> Result<bool, PhysicalRestoreError> {
    let reach = |timeline, lsn| {
        log.together.reach(ReplayPosition { timeline, lsn }, TimelineTarget::Timeline(timeline))
    };
    let segment = log.together.segment_size().begin_of(log.together.segment_size().number_of(left.until));
    let mut last = None;
    each_record_of(run, log, &reach(left.timeline, segment), |record| {
        if record.begins >= left.until {
            return true;
        }
        last = last.max(record.transaction_end().filter(|(_, is_commit)| *is_commit).map(|(time, _)| time));
        false
    })
    .await?;
    let from = log.together.parent(other).map(|from| from.until).unwrap_or_default();
    let newest = log.moment(&reach(other, from)).await?.newest_commit;
    // Without a commit in the same segment the order is unknown, and asking is better than guessing.
    Ok(last.is_none_or(|last| newest.is_some_and(|newest| newest > last)))
}

/// Returns the first commit on a timeline from a position on, as far as its WAL is available.
async fn first_commit(
    run: &RunContext,
    log: &WalArchives,
    timeline: Timeline,
    from: Lsn,
) -> Result<Option<Commit>, PhysicalRestoreError> {
    let reach =
        log.together.reach(ReplayPosition { timeline, lsn: from }, TimelineTarget::Timeline(timeline));
    let mut first = None;
    each_record_of(run, log, &reach, |record| {
        let ended = record.transaction_end().filter(|(_, is_commit)| *is_commit);
        if let Some((time, _)) = ended.filter(|_| record.begins >= from) {
            first = Some(Commit { time, at: record.begins });
        }
        first.is_some()
    })
    .await?;
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Segment, SegmentSize, WalName};

    #[test]
    fn what_is_not_on_the_way_is_every_timeline_from_where_it_parts() {
        let size = SegmentSize::DEFAULT;
        let timeline = |number| Timeline::new(number).unwrap();
        let lsn = |segment| size.begin_of(segment);
        let on = |number, segment| WalName::Segment(Segment::new(timeline(number), segment, size));
        let histories = [2, 3, 4].map(|number| WalName::History(timeline(number)));
        let segments = [on(1, 5), on(1, 9), on(2, 6), on(3, 8), on(4, 7)];
        let mut log = WalInventory::new(size, segments.into_iter().chain(histories));
        // The second and the fourth come from the first, the third from the second.
        for (child, parent, until) in [(2, 1, 6), (3, 2, 8), (4, 1, 7)] {
            log.forked_from(timeline(child), Ancestor { timeline: timeline(parent), until: lsn(until) });
        }
        let beside = |goal| -> Vec<_> {
            let parts = beside(&log, timeline(goal));
            parts.into_iter().map(|part| (part.timeline.number(), part.from)).collect()
        };
        assert_eq!(beside(4), [(3, lsn(8)), (2, lsn(6)), (1, lsn(7))]);
        assert_eq!(beside(3), [(4, lsn(7)), (2, lsn(8)), (1, lsn(6))]);
        assert_eq!(beside(1), [(4, lsn(7)), (3, lsn(8)), (2, lsn(6))]);
    }
}
