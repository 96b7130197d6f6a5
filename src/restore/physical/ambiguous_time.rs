//! A moment that two timelines have: where one was left, and the one that left it had committed nothing yet.

use chrono::{DateTime, Utc};

use super::replay_effects::each_record_of;
use super::select::BaseBackup;
use super::target::shown;
use super::wal_survey::WalArchives;
use super::{PhysicalRestoreError, RecoveryTarget};
use crate::model::{Ancestor, Lsn, Timeline};
use crate::restore::Refusal;
use crate::run::RunContext;
use crate::wal::{ReplayPosition, TimelineTarget};

/// A commit, and where its record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Commit {
    time: DateTime<Utc>,
    at: Lsn,
}

/// Whether what was committed by the target depends on a timeline that nobody chose; then both are named.
pub(super) async fn two_have_it(
    run: &RunContext,
    log: &WalArchives,
    base: &BaseBackup,
    goal: Timeline,
    target: &RecoveryTarget,
) -> Result<Option<Refusal>, PhysicalRestoreError> {
    for (left, child) in forks(log, base.physical.timeline, goal) {
        let (is_on_child, rival) = match target {
            RecoveryTarget::Time(time) => {
                let begun = first_commit(run, log, child, left.until).await?;
                if begun.is_some_and(|begun| begun.time <= *time) {
                    // It is in the life of the newer one.
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

/// Where the way from a timeline to another leaves each, and for which one; in order.
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

/// Another timeline than `child` on which something was committed since the place where that begins, until `time`.
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
        // One that was left earlier, of a server that had ended before, is none: its life is over by then.
        let first = first_commit(run, log, other, from.until).await?.filter(in_time);
        if let Some(first) = first
            && (from.until >= left.until || is_later(run, log, left, other).await?)
        {
            return Ok(Some((other, first)));
        }
    }
    Ok(None)
}

/// Whether a timeline went on after the last commit before the place where another one was left.
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
    // Without one in the same segment nothing is known, and asking is better than guessing.
    Ok(last.is_none_or(|last| newest.is_some_and(|newest| newest > last)))
}

/// The first commit on a timeline from a position on, as far as its log is there.
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
