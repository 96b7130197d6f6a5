//! What a recovery achieved.

use chrono::{DateTime, Utc};

use crate::runbook::{Incident, IncidentEvent, Runbook, RunbookPhase, StepState, states};

/// RTO and RPO, as far as they can be measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Achieved {
    pub rto_seconds: Option<f64>,
    pub rto_method: &'static str,
    pub rpo_seconds: Option<f64>,
    pub rpo_method: &'static str,
    /// When the last step of the verification ended.
    pub recovered: Option<DateTime<Utc>>,
}

/// Measures from when it happened to the end of the verification, and back to the data that was restored.
pub fn achieved(incident: &Incident, runbook: &Runbook) -> Achieved {
    let since = incident.opening().map(|opening| opening.since);
    let states = states(runbook, incident);
    let ended = |phase: RunbookPhase| {
        let own: Vec<_> = states.iter().filter(|(step, _)| step.phase == phase).collect();
        let done =
            own.iter().filter(|(_, state)| matches!(state, StepState::Done)).map(|(step, _)| &step.name);
        let times = done.filter_map(|name| {
            let mut entries = incident.entries.iter().rev();
            entries.find(|entry| entry.event.step() == Some(name.as_str())).map(|entry| entry.at)
        });
        times.max().filter(|_| own.iter().all(|(_, state)| state.is_over()))
    };
    let recovered = ended(RunbookPhase::Verification);
    let restored = incident.entries.iter().rev().find_map(|entry| match &entry.event {
        IncidentEvent::Ended { restored, is_expected: true, .. } => restored.as_ref(),
        _ => None,
    });
    let between = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).as_seconds_f64().max(0.0);
    Achieved {
        rto_seconds: since.zip(recovered).map(|(since, recovered)| between(since, recovered)),
        rto_method: match recovered {
            Some(_) => "from when it happened to the end of the verification",
            None => "no verification was completed",
        },
        rpo_seconds: since.zip(restored).map(|(since, restored)| between(restored.recovery_point, since)),
        rpo_method: match restored {
            Some(_) => "from the recovery point of the restore to when it happened",
            None => "no step reported a restore",
        },
        recovered,
    }
}
