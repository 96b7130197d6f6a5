//! The recovery point that a run takes.

use super::planned_source::PlannedSource;
use super::report::{PointReport, SourceOutcome, SourceReport};
use crate::event::Events;
use crate::model::{BackupKind, PointFacts, PointMode, SourceName};
use crate::platform::CancellationToken;
use crate::policy::{PauseHooks, Policy};
use crate::repository::points::point_label;
use crate::run::pause::{Pause, PauseEnd, PauseError, PauseFacts, ResumedBecause};
use crate::text::format_duration;
use chrono::{DateTime, Utc};

/// Sources that are taken as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedPoint {
    /// In the order they are taken.
    pub members: Vec<SourceName>,
    pub hooks: Option<PauseHooks>,
}

impl PlannedPoint {
    /// Returns the policy's recovery point where all of its members are taken, and moves them to the front, in its order.
    pub(super) fn of(policy: &Policy, sources: &mut [PlannedSource]) -> Option<Self> {
        let point = policy.recovery_point.as_ref()?;
        let position = |name: &SourceName| point.members.iter().position(|member| member == name);
        let is_taken = |member: &SourceName| {
            sources.iter().any(|planned| planned.source.name == *member && planned.kind.is_some())
        };
        if !point.members.iter().all(is_taken) {
            return None;
        }
        sources.sort_by_key(|planned| position(&planned.source.name).unwrap_or(usize::MAX));
        Some(Self { members: point.members.clone(), hooks: point.pause.clone() })
    }

    pub(super) fn has(&self, source: &SourceName) -> bool {
        self.members.contains(source)
    }
}

/// A recovery point that is being taken.
#[derive(Debug)]
pub(super) struct PointRun {
    members: Vec<SourceName>,
    /// After this backup nothing needs the application to be paused.
    last: Option<(SourceName, Option<BackupKind>)>,
    pause: Option<Pause>,
}

impl PointRun {
    /// Pauses the application, where the policy says how. Nothing of the point may be taken where that fails.
    pub(super) async fn begin(
        planned: &PlannedPoint,
        sources: &[PlannedSource],
        facts: PauseFacts<'_>,
        events: &Events,
        cancel: &CancellationToken,
    ) -> Result<Self, PauseError> {
        let of_point = |planned_source: &&PlannedSource| planned.has(&planned_source.source.name);
        let last = sources.iter().rfind(of_point).map(|last| (last.source.name.clone(), last.kind));
        let pause = match &planned.hooks {
            Some(hooks) => match Pause::begin(hooks, facts, events, cancel).await {
                Ok(pause) => Some(pause),
                // It is reported by itself. As far as anyone knows the application is paused, and its data can be taken.
                Err(PauseError::LeftPaused { .. }) => None,
                Err(error) => return Err(error),
            },
            None => None,
        };
        Ok(Self { members: planned.members.clone(), last, pause })
    }

    /// Returns the facts for the manifest of a backup whose data was captured just now.
    pub(super) fn facts(&self, source: &SourceName) -> Option<PointFacts> {
        let position = self.members.iter().position(|member| member == source)?;
        let mode = match self.pause.as_ref().is_some_and(Pause::is_in_effect) {
            true => PointMode::Paused,
            false => PointMode::Ordered,
        };
        Some(PointFacts { mode, members: self.members.clone(), position })
    }

    /// Resumes the application where the data of the last member was captured: what is left is to store and commit it.
    pub(super) async fn captured(&self, source: &SourceName, kind: BackupKind) {
        if self.last.as_ref().is_some_and(|(last, of_kind)| last == source && *of_kind == Some(kind)) {
            self.resume().await;
        }
    }

    pub(super) async fn resume(&self) -> Option<PauseEnd> {
        match &self.pause {
            Some(pause) => Some(pause.end().await),
            None => None,
        }
    }

    /// Resumes the application, and reports what was reached. `reached`: of the backups that were committed.
    pub(super) async fn conclude(
        self,
        planned: &PlannedPoint,
        sources: &[SourceReport],
        reached: &[PointFacts],
    ) -> PointReport {
        let end = self.resume().await;
        report(planned, sources, reached, end)
    }
}

/// Returns what was reached. Pure.
fn report(
    planned: &PlannedPoint,
    sources: &[SourceReport],
    reached: &[PointFacts],
    end: Option<PauseEnd>,
) -> PointReport {
    let stored = |member: &SourceName| -> Vec<DateTime<Utc>> {
        let own = sources.iter().filter(|report| report.source == *member);
        own.filter_map(|report| match &report.outcome {
            SourceOutcome::Stored { recovery_point, .. } => Some(*recovery_point),
            _ => None,
        })
        .collect()
    };
    let missing: Vec<_> =
        planned.members.iter().filter(|member| stored(member).is_empty()).cloned().collect();
    let times: Vec<_> = planned.members.iter().flat_map(stored).collect();
    let spread = times.iter().max().zip(times.iter().min());
    let spread = spread.and_then(|(newest, oldest)| (*newest - *oldest).to_std().ok()).unwrap_or_default();
    let wanted = if planned.hooks.is_some() { PointMode::Paused } else { PointMode::Ordered };
    let mode = reached.iter().map(|facts| facts.mode).max().unwrap_or(wanted);
    let mut issues = Vec::new();
    if mode > wanted && planned.hooks.is_some() {
        let unpaused = reached.iter().filter(|facts| facts.mode > wanted);
        let mut names: Vec<_> =
            unpaused.filter_map(|facts| Some(format!("`{}`", facts.members.get(facts.position)?))).collect();
        names.dedup();
        let limit = planned.hooks.as_ref().map(|hooks| format_duration(hooks.deadline)).unwrap_or_default();
        let why = match &end {
            Some(PauseEnd { because: ResumedBecause::Deadline, .. }) => {
                format!("the pause reached its deadline of {limit}")
            }
            Some(_) => "the application was resumed before".to_owned(),
            None => {
                "an earlier run had paused the application, and it is not known whether it was".to_owned()
            }
        };
        issues.push(format!("{} backed up without a pause: {why}", verb(&names)));
    }
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|name| format!("`{name}`")).collect();
        issues.push(format!("the recovery point lacks {}", names.join(" and ")));
    }
    PointReport {
        mode,
        label: point_label(mode, spread),
        members: planned.members.clone(),
        missing,
        spread_seconds: spread.as_secs(),
        paused_seconds: end.as_ref().map(|end| end.paused.as_secs_f64()),
        issues,
        still_paused: end.and_then(|end| end.failed),
    }
}

fn verb(names: &[String]) -> String {
    format!("{} {}", names.join(" and "), if names.len() == 1 { "was" } else { "were" })
}

/// Reports a recovery point whose pause failed; `None`: the application is not paused by this run.
pub(super) fn point_not_taken(planned: &PlannedPoint, error: PauseError) -> Option<PointReport> {
    let PauseError::Hook { still_paused: Some(reason), .. } = error else { return None };
    Some(PointReport { still_paused: Some(reason), ..report(planned, &[], &[], None) })
}
