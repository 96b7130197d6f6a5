//! Many systems, a line each, the worst first. Pure.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{FailedCollection, SystemSnapshot, Watched};
use crate::status::ObjectiveVerdict;
use crate::text::{count, format_time};

/// How bad it is, from good to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    Good,
    Warning,
    Critical,
}

impl Severity {
    pub fn of_verdict(verdict: ObjectiveVerdict) -> Self {
        use ObjectiveVerdict as Verdict;
        match verdict {
            Verdict::Ok => Self::Good,
            Verdict::Late
            | Verdict::Behind
            | Verdict::MissingCopy
            | Verdict::BadCopy
            | Verdict::NoMarker
            | Verdict::Stalled
            | Verdict::NotReached
            | Verdict::WrongClock => Self::Warning,
            Verdict::Gap
            | Verdict::BadLog
            | Verdict::Lost
            | Verdict::DamagedPages
            | Verdict::NoBase
            | Verdict::ObjectiveMissed
            | Verdict::OtherCluster
            | Verdict::Nothing => Self::Critical,
        }
    }
}

/// One system among many.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FleetLine {
    pub system: String,
    pub severity: Severity,
    /// Absent where nothing was collected.
    pub verdict: Option<ObjectiveVerdict>,
    /// The most that would be lost if any one location were lost now; absent where that is everything, or unknown.
    pub loses_seconds: Option<u64>,
    pub loses_everything: bool,
    pub last_backup: Option<DateTime<Utc>>,
    pub drill_passed: Option<DateTime<Utc>>,
    pub retention_applied: Option<DateTime<Utc>>,
    pub late: usize,
    /// When it was collected.
    pub collected: Option<DateTime<Utc>>,
    /// What is wrong, the worst first.
    pub problems: Vec<String>,
}

impl FleetLine {
    /// Returns the line of a system.
    pub fn of(watched: &Watched) -> Self {
        let Some(snapshot) = &watched.snapshot else { return Self::unknown(watched) };
        let mut problems = problems(snapshot);
        if let Some(failed) = &watched.failed {
            problems.insert(0, (Severity::Critical, failed_words(failed, Some(snapshot.collected))));
        }
        // Stable: what is equally bad stays in order.
        problems.sort_by_key(|(severity, _)| Reverse(*severity));
        let (loses_seconds, loses_everything) = snapshot.worst_loss();
        let drill = snapshot.drill.as_ref();
        Self {
            system: watched.name.clone(),
            severity: problems.first().map_or(Severity::Good, |(severity, _)| *severity),
            verdict: Some(snapshot.verdict),
            loses_seconds: loses_seconds.filter(|_| !loses_everything),
            loses_everything,
            last_backup: snapshot.last_backup(),
            drill_passed: drill.and_then(|drill| drill.passed),
            retention_applied: snapshot.retention.as_ref().and_then(|retention| retention.applied),
            late: snapshot.late().count(),
            collected: Some(snapshot.collected),
            problems: problems.into_iter().map(|(_, text)| text).collect(),
        }
    }

    fn unknown(watched: &Watched) -> Self {
        let problem = match &watched.failed {
            Some(failed) => failed_words(failed, None),
            None => "not collected yet".to_owned(),
        };
        Self {
            system: watched.name.clone(),
            severity: if watched.failed.is_some() { Severity::Critical } else { Severity::Warning },
            verdict: None,
            loses_seconds: None,
            loses_everything: false,
            last_backup: None,
            drill_passed: None,
            retention_applied: None,
            late: 0,
            collected: None,
            problems: vec![problem],
        }
    }
}

fn failed_words(failed: &FailedCollection, collected: Option<DateTime<Utc>>) -> String {
    let known = match collected {
        Some(collected) => format!("; what is shown is of {}", format_time(collected)),
        None => String::new(),
    };
    format!("failed to collect at {}: {}{known}", format_time(failed.at), failed.reason)
}

/// Returns what is wrong with a system, and how bad each is.
fn problems(snapshot: &SystemSnapshot) -> Vec<(Severity, String)> {
    let mut found = Vec::new();
    let verdict = Severity::of_verdict(snapshot.verdict);
    if verdict > Severity::Good {
        found.push((verdict, format!("{}: {}", snapshot.verdict.as_str(), snapshot.sentence)));
    }
    let mut warn = |text: String| found.push((Severity::Warning, text));
    for task in snapshot.late() {
        let missed = match task.missed {
            0 => String::new(),
            missed => format!(", {} missed before", count(missed as u64, "time")),
        };
        let due = task.occurrence.map(format_time).unwrap_or_default();
        warn(format!("{} is late: it was due at {due}{missed}", task.task));
    }
    if let Some(drill) = &snapshot.drill {
        match &drill.concern {
            Some(concern) => warn(concern.message.clone()),
            None if drill.passed.is_none() => warn("no drill has passed yet".to_owned()),
            None => {}
        }
        let pressing = drill.forecasts.iter().filter(|forecast| forecast.is_pressing());
        pressing.for_each(|one| {
            warn(format!("{}: {}", one.path, crate::report::forecast_sentence(&one.forecast)))
        });
    }
    if let Some(concern) = snapshot.retention.as_ref().and_then(|retention| retention.concern.as_ref()) {
        warn(concern.message.clone());
    }
    snapshot.channels.iter().filter_map(|channel| channel.problem.clone()).for_each(&mut warn);
    snapshot.runbooks.iter().chain(&snapshot.paused).cloned().for_each(&mut warn);
    found
}

/// Returns a line for each system, the worst first.
pub fn worst_first(watched: &[Watched]) -> Vec<FleetLine> {
    let mut lines: Vec<FleetLine> = watched.iter().map(FleetLine::of).collect();
    lines.sort_by(|one, other| {
        let key = |line: &FleetLine| {
            Reverse((line.severity, line.verdict.is_none(), line.verdict, line.problems.len()))
        };
        key(one).cmp(&key(other)).then_with(|| one.system.cmp(&other.system))
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::snapshot::tests::{at, healthy, watched};

    #[test]
    fn a_system_without_problems_is_good() {
        let line = FleetLine::of(&watched(healthy()));
        assert_eq!((line.severity, line.problems.as_slice()), (Severity::Good, &[] as &[String]));
        assert_eq!((line.loses_seconds, line.loses_everything), (Some(300), false));
    }

    #[test]
    fn the_worst_comes_first_and_what_is_not_known_before_what_is_bad() {
        let named = |name: &str, change: fn(&mut SystemSnapshot)| {
            let mut snapshot = healthy();
            snapshot.system = name.parse().unwrap();
            change(&mut snapshot);
            watched(snapshot)
        };
        let failed = FailedCollection { at: at("2026-11-20T12:30:00Z"), reason: "no route".to_owned() };
        let unread = Watched { name: "unread".to_owned(), snapshot: None, failed: Some(failed.clone()) };
        let stale = Watched { failed: Some(failed), ..named("stale", |_| {}) };
        let all = [
            named("good", |_| {}),
            named("b-good", |_| {}),
            named("late", |snapshot| snapshot.tasks[0].is_late = true),
            named("never-drilled", |snapshot| {
                if let Some(drill) = &mut snapshot.drill {
                    drill.passed = None;
                }
                snapshot.tasks[0].is_late = true;
            }),
            named("missed", |snapshot| snapshot.verdict = ObjectiveVerdict::ObjectiveMissed),
            named("empty", |snapshot| snapshot.verdict = ObjectiveVerdict::Nothing),
            unread,
            stale,
        ];
        let lines = worst_first(&all);
        let names: Vec<&str> = lines.iter().map(|line| line.system.as_str()).collect();
        assert_eq!(names, ["unread", "empty", "missed", "stale", "never-drilled", "late", "b-good", "good"]);
        assert!(lines[3].problems[0].contains("what is shown is of 2026-11-20T12:00:00Z"), "{lines:?}");
    }

    #[test]
    fn a_copy_whose_loss_costs_everything_is_not_the_least() {
        let mut snapshot = healthy();
        snapshot.sources[0].status.if_lost[0].loses_seconds = None;
        let line = FleetLine::of(&watched(snapshot));
        assert_eq!((line.loses_seconds, line.loses_everything), (None, true));
    }
}
