//! The page about an incident: what happened, what was achieved and decided, and the draft of its review.

mod course;
mod measured;
mod review;

pub use measured::{Achieved, achieved};

use chrono::{DateTime, Utc};

use self::course::{decisions, messages, steps, timeline, trouble};
use self::review::{protect_again, review};
use super::figures::lasting;
use super::page::{Block, Figure, Headline, Page, Section, Tone, utc};
use crate::runbook::{Incident, Opening, Runbook, StepState, states};

/// Returns the page of an incident, as of `now`; `None`: its record does not begin with its opening.
pub fn incident_page(incident: &Incident, runbook: &Runbook, now: DateTime<Utc>) -> Option<Page> {
    let opening = incident.opening()?;
    let achieved = achieved(incident, runbook);
    let states = states(runbook, incident);
    let what = if opening.is_rehearsal { "Rehearsal" } else { "Incident" };
    let mut sections = vec![
        Section::new("", vec![Block::Figures(figures(incident, opening, &achieved, &states, now))]),
        Section::new("Timeline", vec![timeline(incident)]),
        Section::new("Decisions", decisions(incident)),
        Section::new("Steps", vec![steps(incident, &states)]),
        Section::new("What did not go as expected", trouble(incident, &states)),
        Section::new("Who was informed", messages(incident)),
        Section::new("What to protect again", vec![protect_again(incident, opening)]),
    ];
    sections.extend(review(incident, opening, runbook, &achieved, &states));
    Some(Page {
        title: format!("{what}: {}", runbook.title),
        subtitle: format!("{}, {}, since {}", opening.system, incident.id, utc(opening.since)),
        verdict: headline(incident, opening, &achieved),
        sections,
        footer: format!(
            "From the record of {} by drctl {}; runbook {} ({}, SHA-256 {}).",
            incident.id, opening.drctl_version, opening.runbook, opening.file, opening.sha256
        ),
    })
}

fn headline(incident: &Incident, opening: &Opening, achieved: &Achieved) -> Headline {
    let (tone, word, sentence) = match (incident.is_closed(), achieved.rto_seconds) {
        (false, _) => {
            let by = incident.leader();
            (Tone::Warning, "Open", format!("The incident is not closed; {by} led it last."))
        }
        (true, None) => {
            (Tone::Warning, "Closed", "The runbook was run to its end; no recovery was measured.".to_owned())
        }
        (true, Some(rto)) => {
            let (took, target) = (lasting(rto), lasting(opening.rto_seconds as f64));
            let missed = rto > opening.rto_seconds as f64;
            let loss = achieved.rpo_seconds.map_or(String::new(), |rpo| {
                let missed = if rpo > opening.rpo_seconds as f64 { "more than" } else { "within" };
                let target = lasting(opening.rpo_seconds as f64);
                format!(", and {} of data were lost, {missed} the RPO of {target}", lasting(rpo))
            });
            let is_lossy = achieved.rpo_seconds.is_some_and(|rpo| rpo > opening.rpo_seconds as f64);
            match (missed, is_lossy) {
                (false, false) => (
                    Tone::Good,
                    "Recovered",
                    format!("Recovered in {took}, within the RTO of {target}{loss}."),
                ),
                (false, true) => (
                    Tone::Bad,
                    "Objective missed",
                    format!("Recovered in {took}, within the RTO of {target}{loss}."),
                ),
                (true, _) => {
                    let sentence = format!("Recovered in {took}, and the RTO is {target}{loss}.");
                    (Tone::Bad, "Objective missed", sentence)
                }
            }
        }
    };
    let word =
        if opening.is_rehearsal { format!("Rehearsal, {}", word.to_lowercase()) } else { word.to_owned() };
    Headline { tone, word, sentence }
}

fn figures(
    incident: &Incident,
    opening: &Opening,
    achieved: &Achieved,
    states: &[(&crate::runbook::Step, StepState)],
    now: DateTime<Utc>,
) -> Vec<Figure> {
    let measured = |label: &str, value: Option<f64>, target: u64, how: &str| Figure {
        label: label.to_owned(),
        value: value.map_or("not measured".to_owned(), lasting),
        note: format!("of {}; {how}", lasting(target as f64)),
        tone: match value {
            None => Tone::Neutral,
            Some(value) if value > target as f64 => Tone::Bad,
            Some(_) => Tone::Good,
        },
    };
    let count =
        |wanted: &dyn Fn(&StepState) -> bool| states.iter().filter(|(_, state)| wanted(state)).count();
    let skipped = count(&|state| *state == StepState::Skipped);
    let open = count(&|state| !state.is_over());
    let end = if incident.is_closed() { incident.entries.last().map_or(now, |last| last.at) } else { now };
    vec![
        measured("RTO", achieved.rto_seconds, opening.rto_seconds, achieved.rto_method),
        measured("RPO", achieved.rpo_seconds, opening.rpo_seconds, achieved.rpo_method),
        Figure {
            label: "Duration".to_owned(),
            value: lasting((end - opening.since).as_seconds_f64()),
            note: if incident.is_closed() { "to its end" } else { "so far" }.to_owned(),
            tone: Tone::Neutral,
        },
        Figure {
            label: "Steps".to_owned(),
            value: count(&|state| matches!(state, StepState::Done | StepState::Rehearsed)).to_string(),
            note: format!("of {}; {skipped} skipped, {open} to do", states.len()),
            tone: if skipped + open > 0 { Tone::Warning } else { Tone::Good },
        },
    ]
}
