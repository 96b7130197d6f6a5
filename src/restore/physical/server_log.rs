//! What a server logged about its recovery, compared with the plan. Pure.

use chrono::{DateTime, Utc};

use super::plan::{PhysicalRestorePlan, ResolvedTarget};
use super::target::{RecoveryTarget, parse_time, shown};
use crate::model::{Lsn, Timeline};

/// How a recovery ended, according to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReplayResult {
    /// The timeline it started.
    pub(super) timeline: Timeline,
    /// The parent timeline, and the fork position: from the history file it wrote.
    pub(super) parent: Timeline,
    pub(super) at: Lsn,
    /// `before commit of transaction 741, time …`, where it had a target.
    pub(super) stopped: Option<String>,
    pub(super) last_commit: Option<DateTime<Utc>>,
}

impl ReplayResult {
    pub(super) fn read(log: &str, control: &str) -> Result<Self, String> {
        // Only this start: an existing log file is appended to.
        let log = log.rfind("starting PostgreSQL ").map_or(log, |at| &log[at..]);
        let after = |words: &str| log.lines().rev().find_map(|line| Some(line.split_once(words)?.1.trim()));
        let state = control.lines().find_map(|line| line.strip_prefix("Database cluster state:"));
        if state.map(str::trim) != Some("in production") {
            return Err(format!("its control file says `{}`", state.unwrap_or("nothing").trim()));
        }
        if !log.contains("archive recovery complete") {
            return Err("it has not said that its recovery is complete".to_owned());
        }
        let timeline = after("selected new timeline ID: ").and_then(|text| text.parse().ok());
        let timeline: Timeline = timeline.ok_or("it has not said which timeline it began")?;
        let last_commit = match after("last completed transaction was at log time ") {
            None => None,
            Some(text) => {
                let why = |_| format!("the time of its last transaction, `{text}`, is not understood");
                Some(parse_time(text).map_err(why)?)
            }
        };
        Ok(Self {
            timeline,
            parent: timeline,
            at: Lsn(0),
            stopped: after("recovery stopping ").map(str::to_owned),
            last_commit,
        })
    }
}

/// Verifies that recovery ended where the plan says; the error is the reason, as text.
pub(super) fn prove(plan: &PhysicalRestorePlan, ended: &ReplayResult) -> Result<(), String> {
    if ended.parent > plan.timeline || ended.timeline <= plan.timeline {
        return Err(format!(
            "it left timeline {} for {}, and was to follow {}",
            ended.parent, ended.timeline, plan.timeline
        ));
    }
    if ended.at < plan.steps.physical.stop {
        return Err(format!("it ended at {}, before the backup was complete", ended.at));
    }
    if let Some(until) = plan.until.filter(|until| ended.at > *until) {
        return Err(format!("it ended at {}, and was to go to {until}", ended.at));
    }
    let stopped = ended.stopped.as_deref();
    if plan.goal.is_named() != stopped.is_some() {
        return Err(match stopped {
            Some(words) => format!("it stopped {words}, and was not told to"),
            None => "it did not say that it stopped at the target".to_owned(),
        });
    }
    // Whatever the server was configured with, this is the target of the request.
    if let RecoveryTarget::Time(time) = &plan.target
        && let Some(last) = ended.last_commit
        && (last > *time || (plan.exclusive && last == *time))
    {
        return Err(format!("it replayed a transaction of {}", shown(last)));
    }
    let stopped = stopped.unwrap_or_default();
    let fits = match &plan.goal {
        ResolvedTarget::End | ResolvedTarget::Until(_) => return reached_the_end(plan, ended),
        ResolvedTarget::Time(_) => stopped.starts_with("before "),
        ResolvedTarget::Lsn(lsn) => {
            let words = if plan.exclusive { "before WAL location" } else { "after WAL location" };
            stopped.starts_with(words) && (plan.exclusive || ended.at > *lsn)
        }
        ResolvedTarget::Transaction(number) => stopped.contains(&format!("of transaction {number},")),
        ResolvedTarget::Name(name) => stopped.starts_with(&format!("at restore point \"{name}\"")),
    };
    if fits { Ok(()) } else { Err(format!("it stopped {stopped}")) }
}

/// Verifies that at least something of the last verified segment was replayed, and nothing beyond the limit.
fn reached_the_end(plan: &PhysicalRestorePlan, ended: &ReplayResult) -> Result<(), String> {
    let size = plan.steps.physical.segment_size;
    let last = size.begin_of(size.number_of(Lsn(plan.proven.lsn.0.saturating_sub(1))));
    if ended.at <= last {
        return Err(format!("it ended at {}, and the WAL is proven to {}", ended.at, plan.proven.lsn));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "
2026-11-20 12:00:00.000 GMT [1] LOG:  starting point-in-time recovery to 2026-11-20 11:00:00+00
2026-11-20 12:00:01.000 GMT [1] LOG:  restored log file \"000000010000000000000003\" from archive
2026-11-20 12:00:02.000 GMT [1] LOG:  recovery stopping before commit of transaction 741, time 2026-11-20 11:00:00.5+00
2026-11-20 12:00:02.000 GMT [1] LOG:  redo done at 0/3000148 system usage: CPU
2026-11-20 12:00:02.000 GMT [1] LOG:  last completed transaction was at log time 2026-11-20 10:59:59.25+00
2026-11-20 12:00:02.000 GMT [1] LOG:  selected new timeline ID: 2
2026-11-20 12:00:02.000 GMT [1] LOG:  archive recovery complete
";
    const CONTROL: &str = "Database cluster state:               in production\n";

    #[test]
    fn a_log_says_how_it_ended() {
        let ended = ReplayResult::read(LOG, CONTROL).unwrap();
        assert_eq!(ended.timeline.number(), 2);
        assert_eq!(
            ended.stopped.as_deref(),
            Some("before commit of transaction 741, time 2026-11-20 11:00:00.5+00")
        );
        assert_eq!(ended.last_commit.map(shown).as_deref(), Some("2026-11-20T10:59:59.250Z"));
        assert!(ReplayResult::read(LOG, "Database cluster state:   in archive recovery\n").is_err());
        assert!(ReplayResult::read(&LOG.replace("archive recovery complete", ""), CONTROL).is_err());
        assert!(ReplayResult::read(&LOG.replace("selected new", ""), CONTROL).is_err());
    }
}
