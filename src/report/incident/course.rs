//! What happened, step by step.

use super::super::figures::lasting;
use super::super::page::{Block, Cell, Column, Table, Tone, utc};
use crate::runbook::{Entry, Incident, IncidentEvent, Step, StepState};

pub(super) fn timeline(incident: &Incident) -> Block {
    let head = ["Time", "Who", "Step", "What"].map(Column::text).to_vec();
    let rows = incident.entries.iter().map(|entry| {
        let (what, tone) = describe(entry);
        vec![
            Cell::text(utc(entry.at)),
            Cell::text(format!("{} on {}", entry.by, entry.host)),
            Cell::code(entry.event.step().unwrap_or_default()),
            Cell::text(what).tone(tone),
        ]
    });
    Block::Table(Table { head, rows: rows.collect() })
}

fn describe(entry: &Entry) -> (String, Tone) {
    let noted = |what: &str, note: &str| match note.is_empty() {
        true => what.to_owned(),
        false => format!("{what}: {note}"),
    };
    match &entry.event {
        IncidentEvent::Opened(opening) if opening.is_rehearsal => {
            (format!("began to rehearse runbook {}", opening.runbook), Tone::Neutral)
        }
        IncidentEvent::Opened(opening) => (format!("began runbook {}", opening.runbook), Tone::Neutral),
        IncidentEvent::Began { .. } => ("began".to_owned(), Tone::Neutral),
        IncidentEvent::Ended { end, seconds, is_expected: true, .. } => {
            (format!("as expected: {end}, after {}", lasting(*seconds)), Tone::Good)
        }
        IncidentEvent::Ended { end, seconds, .. } => {
            (format!("not as expected: {end}, after {}", lasting(*seconds)), Tone::Bad)
        }
        IncidentEvent::Done { note, .. } => (noted("done", note), Tone::Good),
        IncidentEvent::Decided { answer, why, .. } => (format!("decided {answer}: {why}"), Tone::Neutral),
        IncidentEvent::Skipped { why, .. } => (noted("skipped", why), Tone::Warning),
        IncidentEvent::Rehearsed { .. } => ("rehearsed, not run".to_owned(), Tone::Neutral),
        IncidentEvent::Told { deliveries, severity, .. } => {
            let sent = deliveries.iter().filter(|delivery| delivery.is_delivered).count();
            let tone = if sent > 0 { Tone::Good } else { Tone::Warning };
            (
                format!("message ({}): {sent} of {} channels took it", severity.as_str(), deliveries.len()),
                tone,
            )
        }
        IncidentEvent::Paused { why } => (format!("paused: {why}"), Tone::Neutral),
        IncidentEvent::Resumed { from: Some(from) } => (format!("taken over from {from}"), Tone::Neutral),
        IncidentEvent::Resumed { from: None } => ("resumed".to_owned(), Tone::Neutral),
        IncidentEvent::Closed { .. } => ("closed".to_owned(), Tone::Neutral),
    }
}

pub(super) fn decisions(incident: &Incident) -> Vec<Block> {
    let rows: Vec<Vec<Cell>> = incident
        .entries
        .iter()
        .filter_map(|entry| match &entry.event {
            IncidentEvent::Decided { step, answer, why } => Some(vec![
                Cell::text(utc(entry.at)),
                Cell::code(step.clone()),
                Cell::text(answer.clone()),
                Cell::text(entry.by.clone()),
                Cell::text(why.clone()),
            ]),
            _ => None,
        })
        .collect();
    if rows.is_empty() {
        return vec![Block::Text("Nothing was decided.".to_owned())];
    }
    let head = ["Time", "Decision", "Answer", "By", "Why"].map(Column::text).to_vec();
    vec![Block::Table(Table { head, rows })]
}

pub(super) fn steps(incident: &Incident, states: &[(&Step, StepState)]) -> Block {
    let head = ["Step", "Phase", "State", "Time", "Within", "Who"];
    let head = head.map(|title| match title {
        "Time" | "Within" => Column::number(title),
        other => Column::text(other),
    });
    let rows = states.iter().map(|(step, state)| {
        let (word, tone) = state_word(state);
        let seconds = seconds(incident, step);
        let is_late = seconds.is_some_and(|seconds| seconds > step.deadline.as_secs_f64());
        let time = Cell::text(seconds.map_or(String::new(), lasting));
        vec![
            Cell::code(step.name.clone()),
            Cell::text(step.phase.as_str()),
            Cell::text(word).tone(tone),
            if is_late { time.tone(Tone::Warning) } else { time },
            Cell::text(lasting(step.deadline.as_secs_f64())),
            Cell::text(last(incident, step).map_or("", |entry| entry.by.as_str())),
        ]
    });
    Block::Table(Table { head: head.to_vec(), rows: rows.collect() })
}

fn state_word(state: &StepState) -> (&'static str, Tone) {
    match state {
        StepState::Pending => ("to do", Tone::Warning),
        StepState::Unfinished { .. } => ("end unknown", Tone::Bad),
        StepState::Unexpected(_) => ("not as expected", Tone::Bad),
        StepState::Done => ("done", Tone::Good),
        StepState::Skipped => ("skipped", Tone::Warning),
        StepState::Rehearsed => ("rehearsed", Tone::Good),
        StepState::NotApplicable => ("did not apply", Tone::Neutral),
    }
}

fn last<'i>(incident: &'i Incident, step: &Step) -> Option<&'i Entry> {
    incident.entries.iter().rev().find(|entry| entry.event.step() == Some(step.name.as_str()))
}

/// Returns the seconds from the first entry of a step to its last.
pub(super) fn seconds(incident: &Incident, step: &Step) -> Option<f64> {
    let first = incident.entries.iter().find(|entry| entry.event.step() == Some(step.name.as_str()))?;
    Some((last(incident, step)?.at - first.at).as_seconds_f64())
}

pub(super) fn trouble(incident: &Incident, states: &[(&Step, StepState)]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for entry in &incident.entries {
        match &entry.event {
            IncidentEvent::Ended { step, end, is_expected: false, output, .. } => {
                blocks.push(Block::Notice(Tone::Bad, format!("Step {step} at {}: {end}.", utc(entry.at))));
                if !output.is_empty() {
                    blocks.push(Block::Command(output.join("\n")));
                }
            }
            IncidentEvent::Skipped { step, why } => {
                let text = format!("Step {step} was skipped by {}: {why}.", entry.by);
                blocks.push(Block::Notice(Tone::Warning, text));
            }
            IncidentEvent::Told { step, deliveries, .. } => {
                for delivery in deliveries.iter().filter(|delivery| !delivery.is_delivered) {
                    let text = format!(
                        "Step {step}: {} did not take the message: {}.",
                        delivery.channel, delivery.reason
                    );
                    blocks.push(Block::Notice(Tone::Warning, text));
                }
            }
            _ => {}
        }
    }
    for (step, _) in states {
        if let Some(seconds) = seconds(incident, step).filter(|took| *took > step.deadline.as_secs_f64()) {
            let (took, within) = (lasting(seconds), lasting(step.deadline.as_secs_f64()));
            blocks.push(Block::Notice(
                Tone::Warning,
                format!("Step {} took {took}, and {within} were planned.", step.name),
            ));
        }
    }
    if blocks.is_empty() {
        blocks.push(Block::Text("Nothing.".to_owned()));
    }
    blocks
}

pub(super) fn messages(incident: &Incident) -> Vec<Block> {
    let mut blocks = Vec::new();
    for entry in &incident.entries {
        if let IncidentEvent::Told { severity, text, deliveries, .. } = &entry.event {
            let to = deliveries.iter().map(|delivery| match delivery.is_delivered {
                true => delivery.channel.clone(),
                false => format!("{} ({})", delivery.channel, delivery.reason),
            });
            let to = to.collect::<Vec<_>>().join(", ");
            blocks.push(Block::Facts(vec![
                ("At".to_owned(), Cell::text(utc(entry.at))),
                ("As".to_owned(), Cell::text(severity.as_str())),
                ("By".to_owned(), Cell::text(to)),
            ]));
            blocks.push(Block::Text(text.clone()));
        }
    }
    if blocks.is_empty() {
        blocks.push(Block::Text("No message was sent.".to_owned()));
    }
    blocks
}
