//! What comes next in an incident, from its entries and the runbook alone. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::incident::{CommandEnd, Incident, IncidentEvent};
use super::model::{Runbook, Step, variable};

/// What became of a step so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepState {
    Pending,
    /// It began, and it is not known what became of it.
    Unfinished {
        since: DateTime<Utc>,
        on: String,
    },
    /// It ended in another way than the runbook expects.
    Unexpected(CommandEnd),
    Done,
    Skipped,
    Rehearsed,
    /// Its condition does not hold.
    NotApplicable,
}

impl StepState {
    /// Returns whether there is nothing left to do.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Done | Self::Skipped | Self::Rehearsed | Self::NotApplicable)
    }
}

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Next<'r> {
    Do(&'r Step),
    /// A person says what became of it.
    Clarify {
        step: &'r Step,
        since: DateTime<Utc>,
        on: String,
    },
    /// A person says whether it counts.
    Judge {
        step: &'r Step,
        end: CommandEnd,
    },
    /// Every step is over.
    Close,
    Closed,
}

/// Returns what comes next.
pub fn next<'r>(runbook: &'r Runbook, incident: &Incident) -> Next<'r> {
    if incident.is_closed() {
        return Next::Closed;
    }
    for (step, state) in states(runbook, incident) {
        match state {
            StepState::Pending => return Next::Do(step),
            StepState::Unfinished { since, on } => return Next::Clarify { step, since, on },
            StepState::Unexpected(end) => return Next::Judge { step, end },
            _ => {}
        }
    }
    Next::Close
}

/// Returns the state of every step, in order.
pub fn states<'r>(runbook: &'r Runbook, incident: &Incident) -> Vec<(&'r Step, StepState)> {
    let answers = decisions(incident);
    let mut states: Vec<(&Step, StepState)> = Vec::new();
    for step in &runbook.steps {
        let holds = step.when.as_ref().is_none_or(|condition| {
            // A decision that is still to be made comes first, and is asked about before.
            answers.get(&condition.decision) == Some(&condition.answer)
        });
        let is_open = step.when.as_ref().is_some_and(|condition| {
            let mut before = states.iter();
            before.any(|(before, state)| before.name == condition.decision && !state.is_over())
        });
        let state = match holds || is_open {
            true => state(step, incident),
            false => StepState::NotApplicable,
        };
        states.push((step, state));
    }
    states
}

fn state(step: &Step, incident: &Incident) -> StepState {
    let own = incident.entries.iter().rev().find(|entry| entry.event.step() == Some(step.name.as_str()));
    let Some(entry) = own else { return StepState::Pending };
    match &entry.event {
        IncidentEvent::Began { .. } => StepState::Unfinished { since: entry.at, on: entry.host.clone() },
        IncidentEvent::Ended { is_expected: false, end, .. } => StepState::Unexpected(end.clone()),
        IncidentEvent::Skipped { .. } => StepState::Skipped,
        IncidentEvent::Rehearsed { .. } => StepState::Rehearsed,
        _ => StepState::Done,
    }
}

/// Returns the answers so far, by decision.
pub fn decisions(incident: &Incident) -> BTreeMap<String, String> {
    let decided = incident.entries.iter().filter_map(|entry| match &entry.event {
        IncidentEvent::Decided { step, answer, .. } => Some((step.clone(), answer.clone())),
        _ => None,
    });
    decided.collect()
}

/// Returns the variables that a step sees. `policy`: the path of the policy.
pub fn values(incident: &Incident, policy: &str, now: DateTime<Utc>) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let Some(opening) = incident.opening() else { return values };
    for (name, value) in opening.parameters.iter().chain(&decisions(incident)) {
        values.insert(variable(name), value.clone());
    }
    let elapsed = (now - opening.since).to_std().unwrap_or_default();
    values.insert("DRCTL_POLICY".to_owned(), policy.to_owned());
    values.insert("SYSTEM".to_owned(), opening.system.to_string());
    values.insert("INCIDENT".to_owned(), incident.id.to_string());
    values.insert("ELAPSED".to_owned(), crate::text::approximate_duration(elapsed));
    values
}
