//! Whether retention runs, and could remove what it was to. Pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::catalog::BackupEntry;
use crate::model::Outcome;
use crate::policy::{CronLine, Policy, widest_gap};
use crate::repository::journal::{JournalRecord, RETENTION};
use crate::text::{format_duration, format_time};

/// A run that is late by less than this is no reason to warn.
const LEAST: Duration = Duration::from_secs(48 * 3600);
/// Without cron lines that say when it runs.
const UNSCHEDULED: Duration = Duration::from_secs(8 * 86_400);

/// What is wrong with how retention runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetentionConcern {
    /// When it last ended well.
    pub applied: Option<DateTime<Utc>>,
    pub message: String,
}

/// Returns what is wrong; `None`: nothing, or the policy has no retention.
pub fn retention_concern(
    policy: &Policy,
    runs: &[JournalRecord],
    entries: &[BackupEntry],
    now: DateTime<Utc>,
) -> Option<RetentionConcern> {
    policy.retention.as_ref()?;
    let lines: Vec<&CronLine> = policy.schedule.retention.iter().collect();
    let limit = match widest_gap(&lines) {
        Some(gap) => (gap * 2).max(LEAST),
        None => UNSCHEDULED,
    };
    let since = now - TimeDelta::from_std(limit).unwrap_or(TimeDelta::MAX);
    let mut own: Vec<&JournalRecord> = runs.iter().filter(|run| run.verb == RETENTION).collect();
    own.sort_by_key(|run| run.begun);
    let good = own.iter().rev().find(|run| run.outcome == Outcome::Succeeded);
    let applied = good.map(|run| run.ended);
    let message = match (own.last(), applied) {
        // There is nothing to remove yet.
        (None, _) if entries.iter().all(|entry| entry.id().begun() >= since) => return None,
        (None, _) => "retention was never applied: every backup is kept".to_owned(),
        (Some(last), _) if last.outcome != Outcome::Succeeded => {
            let why =
                last.detail.reasons.first().cloned().unwrap_or_else(|| last.outcome.as_str().to_owned());
            format!("retention could not remove everything at {}: {why}", format_time(last.ended))
        }
        (Some(_), Some(applied)) if applied < since => format!(
            "retention was last applied at {}, more than {} ago",
            format_time(applied),
            format_duration(limit)
        ),
        (Some(_), _) => return None,
    };
    Some(RetentionConcern { applied, message })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::RunId;
    use crate::policy::parse;
    use crate::repository::fixtures::{backup, noon};
    use crate::repository::journal::Detail;

    const POLICY: &str = include_str!("../../policies/course-companion-fte.toml");

    fn run(days_ago: i64, outcome: Outcome, reason: &str) -> JournalRecord {
        let at = noon() - TimeDelta::days(days_ago);
        let reasons = Some(reason.to_owned()).filter(|reason| !reason.is_empty()).into_iter().collect();
        let detail = Detail { reasons, ..Detail::default() };
        JournalRecord::new(&RunId::new(at, 1), RETENTION, (at, at), "a", outcome, detail)
    }

    fn said(runs: &[JournalRecord], after: TimeDelta) -> Option<String> {
        let policy = parse(Path::new("shop.toml"), POLICY).unwrap();
        let entries = [BackupEntry { manifest: backup(0).0, copies: vec![] }];
        retention_concern(&policy, runs, &entries, noon() + after).map(|concern| concern.message)
    }

    #[test]
    fn what_did_not_run_or_could_not_remove_is_a_concern() {
        let day = TimeDelta::days;
        assert_eq!(said(&[], day(1)), None);
        assert!(said(&[], day(30)).unwrap().contains("never applied"));
        let good = run(0, Outcome::Succeeded, "");
        assert_eq!(said(std::slice::from_ref(&good), day(1)), None);
        assert!(said(std::slice::from_ref(&good), day(3)).unwrap().contains("more than 2d ago"));
        let bad = run(0, Outcome::Degraded, "x in west: access is denied");
        let told = said(&[bad, run(1, Outcome::Succeeded, "")], day(0)).unwrap();
        assert!(told.contains("could not remove everything") && told.contains("access is denied"), "{told}");
        assert_eq!(said(&[run(1, Outcome::Failed, "x"), good], day(0)), None);
    }
}
