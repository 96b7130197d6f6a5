//! When each runbook was run last, and whether it is to be run again. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::Outcome;
use crate::repository::journal::JournalRecord;

/// A runbook that is to be rehearsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewed {
    pub runbook: String,
    pub every: Duration,
}

/// The last time that a runbook was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rehearsal {
    pub at: DateTime<Utc>,
    /// `incident`, `rehearsal`, `drill`
    pub kind: String,
    pub by: String,
    pub host: String,
    pub outcome: Outcome,
    /// Steps that failed, or were skipped.
    pub failed: Vec<String>,
    pub skipped: Vec<String>,
}

/// A runbook, and when it is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rehearsed {
    pub runbook: String,
    /// `None`: never.
    pub last: Option<Rehearsal>,
    /// `None`: at once, since it was never run.
    pub due: Option<DateTime<Utc>>,
    pub is_overdue: bool,
}

/// Returns the last run of each runbook. One that was interrupted proves nothing; one in which a step failed counts,
/// and says so.
pub fn rehearsals(runbooks: &[Reviewed], runs: &[JournalRecord], now: DateTime<Utc>) -> Vec<Rehearsed> {
    let rehearsed = runbooks.iter().map(|reviewed| {
        let own = runs.iter().filter_map(|record| {
            let run = record.detail.runbook.as_ref().filter(|run| run.runbook == reviewed.runbook)?;
            (record.outcome != Outcome::Interrupted).then_some((record, run))
        });
        let last = own.max_by_key(|(record, _)| record.ended).map(|(record, run)| Rehearsal {
            at: record.ended,
            kind: run.kind.clone(),
            by: run.by.clone(),
            host: record.host.clone(),
            outcome: record.outcome,
            failed: run.failed.clone(),
            skipped: run.skipped.clone(),
        });
        let due = last.as_ref().map(|last| last.at + reviewed.every);
        let is_overdue = due.is_none_or(|due| due < now);
        Rehearsed { runbook: reviewed.runbook.clone(), last, due, is_overdue }
    });
    rehearsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RunId, Sha256Hex};
    use crate::repository::journal::{Detail, RunbookRun};

    fn record(begun: &str, outcome: Outcome) -> JournalRecord {
        let begun: DateTime<Utc> = begun.parse().unwrap();
        let run = RunbookRun {
            runbook: "lost".into(),
            sha256: Sha256Hex::digest(b""),
            incident: None,
            kind: "drill".into(),
            by: "ann".into(),
            steps: vec![],
            failed: vec!["restore".into()],
            skipped: vec![],
        };
        let detail = Detail { runbook: Some(run), ..Detail::default() };
        JournalRecord::new(&RunId::new(begun, 1), "drill", (begun, begun), "a", outcome, detail)
    }

    #[test]
    fn a_runbook_is_overdue_when_it_was_not_run_for_its_time() {
        let every = Duration::from_secs(90 * 24 * 3600);
        let books = ["lost", "other"].map(|name| Reviewed { runbook: name.into(), every });
        let runs = [
            record("2026-08-01T00:00:00Z", Outcome::Succeeded),
            record("2026-09-10T00:00:00Z", Outcome::Failed),
            record("2026-11-20T00:00:00Z", Outcome::Interrupted),
        ];
        let found = |now: &str| rehearsals(&books, &runs, now.parse().unwrap());
        let [lost, other] = &found("2026-11-30T00:00:00Z")[..] else { panic!() };
        assert!(!lost.is_overdue && other.is_overdue && other.last.is_none());
        let last = lost.last.as_ref().unwrap();
        assert_eq!(
            (last.at.to_rfc3339(), &last.failed[..]),
            ("2026-09-10T00:00:00+00:00".to_owned(), &["restore".to_owned()][..])
        );
        assert!(found("2026-12-10T00:00:00Z")[0].is_overdue);
    }
}
