//! Whether drills take place when they are due, and what the last one found. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::model::Outcome;
use crate::policy::{Drill, Policy, drill_grace_ends, last_firing};
use crate::repository::journal::{DRILL, JournalRecord};
use crate::text::format_time;

/// What is wrong with the drills.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DrillConcern {
    /// When one last passed.
    pub passed: Option<DateTime<Utc>>,
    /// None was run when one was due.
    pub is_overdue: bool,
    pub message: String,
}

/// Returns the runs of the policy's drill, oldest first. An interrupted one tells nothing, and one of another source is
/// none of these.
pub fn drill_runs<'r>(drill: &Drill, runs: &'r [JournalRecord]) -> Vec<&'r JournalRecord> {
    let is_own = |run: &&JournalRecord| {
        let is_of_source = run.detail.backups.iter().all(|backup| *backup.source() == drill.source);
        run.verb == DRILL && run.outcome != Outcome::Interrupted && is_of_source
    };
    let mut own: Vec<&JournalRecord> = runs.iter().filter(is_own).collect();
    own.sort_by_key(|run| run.begun);
    own
}

/// Returns what is wrong; `None`: nothing, or the policy schedules no drills. `oldest`: when the oldest backup was taken;
/// before it there was nothing to drill.
pub fn drill_concern(
    policy: &Policy,
    runs: &[JournalRecord],
    oldest: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<DrillConcern> {
    let drill = policy.drill.as_ref().filter(|drill| !drill.schedule.is_empty())?;
    let zone = policy.schedule.timezone;
    let own = drill_runs(drill, runs);
    let passed = own.iter().rev().find(|run| run.outcome == Outcome::Succeeded).map(|run| run.ended);
    let due = last_firing(&drill.schedule, zone, now).and_then(|due| {
        match drill_grace_ends(&drill.schedule, zone, due) <= now {
            true => Some(due),
            false => last_firing(&drill.schedule, zone, due - TimeDelta::seconds(1)),
        }
    });
    let due = due.filter(|due| oldest.is_some_and(|oldest| oldest < *due));
    let (is_overdue, message) = match (own.last(), due) {
        (None, Some(due)) => {
            (true, format!("no drill was ever run, and one was due at {}", format_time(due)))
        }
        (Some(last), Some(due)) if last.begun < due => {
            let message = format!(
                "the drill that was due at {} was not run; the last one was at {}",
                format_time(due),
                format_time(last.begun)
            );
            (true, message)
        }
        (Some(last), _) if last.outcome != Outcome::Succeeded => {
            let why =
                last.detail.reasons.first().cloned().unwrap_or_else(|| last.outcome.as_str().to_owned());
            (false, format!("the last drill, {}, did not pass: {why}", last.run))
        }
        _ => return None,
    };
    Some(DrillConcern { passed, is_overdue, message })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::RunId;
    use crate::policy::parse;
    use crate::repository::journal::Detail;

    /// Sundays at 05:00.
    const POLICY: &str = include_str!("../../policies/course-companion-fte.toml");

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn run(time: &str, outcome: Outcome) -> JournalRecord {
        let reasons = vec!["fail: check-failed (backup)".to_owned()];
        let detail = Detail { reasons, ..Detail::default() };
        JournalRecord::new(&RunId::new(at(time), 1), DRILL, (at(time), at(time)), "a", outcome, detail)
    }

    fn said(runs: &[JournalRecord], oldest: &str, now: &str) -> Option<String> {
        let policy = parse(Path::new("shop.toml"), POLICY).unwrap();
        drill_concern(&policy, runs, Some(at(oldest)), at(now)).map(|concern| concern.message)
    }

    #[test]
    fn a_drill_that_was_due_and_not_run_is_a_concern_and_so_is_one_that_did_not_pass() {
        let oldest = "2026-11-01T12:00:00Z";
        // Its grace has not ended, and before there was nothing to drill.
        assert_eq!(said(&[], oldest, "2026-11-08T20:00:00Z"), None);
        assert!(said(&[], oldest, "2026-11-09T06:00:00Z").unwrap().contains("no drill was ever run"));
        let good = run("2026-11-08T05:00:00Z", Outcome::Succeeded);
        assert_eq!(said(std::slice::from_ref(&good), oldest, "2026-11-15T20:00:00Z"), None);
        let told = said(std::slice::from_ref(&good), oldest, "2026-11-16T06:00:00Z").unwrap();
        assert!(told.contains("due at 2026-11-15T05:00:00Z"), "{told}");
        let bad = run("2026-11-15T05:00:00Z", Outcome::Failed);
        let told = said(&[good, bad], oldest, "2026-11-16T06:00:00Z").unwrap();
        assert!(told.contains("did not pass: fail: check-failed"), "{told}");
    }
}
