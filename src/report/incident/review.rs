//! What follows: what to protect again, and the draft of the review.

use super::super::figures::lasting;
use super::super::page::{Block, Section};
use super::course::seconds;
use super::measured::Achieved;
use crate::runbook::{Incident, IncidentEvent, Opening, Runbook, Step, StepState};

pub(super) fn protect_again(incident: &Incident, opening: &Opening) -> Block {
    let restored = incident.entries.iter().find_map(|entry| match &entry.event {
        IncidentEvent::Ended { restored: Some(restored), .. } => Some(restored.to.clone()),
        _ => None,
    });
    let mut items = Vec::new();
    if let Some(to) = restored {
        items.push(format!(
            "Does the policy lead to {to} now? drctl doctor checks what a backup of it needs."
        ));
        items.push(
            "Take a full backup: drctl backup. Nothing of the new server is in a repository before."
                .to_owned(),
        );
        items.push(
            "Where WAL is archived: drctl wal configure for the new server, and a base backup.".to_owned(),
        );
    }
    items.push("Is everything within its objectives again? drctl status".to_owned());
    items.push(
        "Does every repository have every backup and the record of this incident? drctl copies sync"
            .to_owned(),
    );
    items.push("Keep the backups that tell what happened: drctl hold add.".to_owned());
    items.push(
        "Remove what was made for the recovery, and revoke credentials that were given for it.".to_owned(),
    );
    if opening.is_rehearsal {
        items = vec!["Remove what the rehearsal made.".to_owned()];
    }
    Block::List(items)
}

/// Returns the draft; what only people know is left to them.
pub(super) fn review(
    incident: &Incident,
    opening: &Opening,
    runbook: &Runbook,
    achieved: &Achieved,
    states: &[(&Step, StepState)],
) -> Vec<Section> {
    let write = "To be written.".to_owned();
    let in_time = states.iter().filter(|(step, state)| {
        let took = seconds(incident, step);
        *state == StepState::Done && took.is_some_and(|took| took <= step.deadline.as_secs_f64())
    });
    let mut well: Vec<String> = Vec::new();
    let in_time = in_time.count();
    if in_time > 0 {
        well.push(format!("{in_time} of {} steps were done within their time.", states.len()));
    }
    if achieved.rto_seconds.is_some_and(|rto| rto <= opening.rto_seconds as f64) {
        well.push("The RTO was met.".to_owned());
    }
    if achieved.rpo_seconds.is_some_and(|rpo| rpo <= opening.rpo_seconds as f64) {
        well.push("The RPO was met.".to_owned());
    }
    well.push(write.clone());
    let mut badly: Vec<String> = Vec::new();
    for entry in &incident.entries {
        match &entry.event {
            IncidentEvent::Ended { step, end, is_expected: false, .. } => {
                badly.push(format!("Step {step} of the runbook did not work: {end}."));
            }
            IncidentEvent::Skipped { step, why } => badly.push(format!("Step {step} was skipped: {why}.")),
            _ => {}
        }
    }
    badly.push(write.clone());
    let mut actions: Vec<String> = badly
        .iter()
        .filter(|line| line.starts_with("Step "))
        .map(|line| format!("Correct runbook {}: {line}", runbook.name))
        .collect();
    actions.push(format!("Rehearse it again: drctl runbook run {} --rehearse", runbook.name));
    actions.push("Who does what until when: to be written.".to_owned());
    let took =
        achieved.rto_seconds.map_or("is not measured".to_owned(), |rto| format!("took {}", lasting(rto)));
    let summary = format!(
        "System {}. What led here: {}. What was done: {}. The recovery {took}. What it meant: to be written.",
        opening.system, runbook.header.trigger, runbook.title
    );
    let list = |title: &str, items: Vec<String>| Section::new(title, vec![Block::List(items)]);
    vec![
        Section::new("Post-mortem (draft)", vec![Block::Text(summary)]),
        list("Impact", vec!["Who could not do what, and from when to when: to be written.".to_owned()]),
        list("Cause", vec!["What led to it, and why it was possible: to be written.".to_owned()]),
        list("What went well", well),
        list("What went badly", badly),
        list("What is done about it", actions),
    ]
}
