//! Recovery time, data loss and checks.

use super::facts;
use crate::drill::{CheckEvidence, DrillRecord};
use crate::report::figures::{against, lasting, lasting_or, outcome_tone, outcome_word};
use crate::report::page::{Block, Budget, BudgetPart, Cell, Column, PhaseBar, Section, Table, Tone, utc};
use crate::text::format_size;

/// Returns how long the recovery of a drill took, against the objective and by phase.
pub fn recovery_time(record: &DrillRecord) -> Section {
    let mut blocks = Vec::new();
    let objective = record.criteria.rto_seconds;
    match record.results.rto_seconds {
        Some(used) => {
            let parts = record.phases.iter().filter(|phase| phase.counts);
            let parts =
                parts.map(|phase| BudgetPart { seconds: phase.seconds, is_allowance: phase.is_allowance });
            blocks.push(Block::Budget(Budget {
                used_seconds: used,
                objective_seconds: objective,
                parts: parts.collect(),
                tone: against(used, objective),
            }));
        }
        None => blocks.push(Block::Notice(
            Tone::Warning,
            "The application was never usable: no recovery time was measured.".to_owned(),
        )),
    }
    let mut from = 0.0;
    let phases = record.phases.iter().map(|phase| {
        let bar = PhaseBar {
            name: phase.phase.clone(),
            from_seconds: from,
            seconds: phase.seconds,
            detail: phase.bytes.map(|bytes| rate(bytes, phase.seconds)).unwrap_or_default(),
            is_allowance: phase.is_allowance,
            counts: phase.counts,
        };
        from += phase.seconds;
        bar
    });
    let phases: Vec<PhaseBar> = phases.collect();
    if !phases.is_empty() {
        blocks.push(Block::Phases(phases));
    }
    let method = &record.results.rto_method;
    if !method.is_empty() {
        blocks.push(facts([("How measured", Some(Cell::text(method)))]));
    }
    Section::new("Recovery time by phase", blocks)
}

fn rate(bytes: u64, seconds: f64) -> String {
    let rate = if seconds >= 1.0 {
        format!(" at {}/s", format_size((bytes as f64 / seconds) as u64))
    } else {
        String::new()
    };
    format!("{}{rate}", format_size(bytes))
}

pub(super) fn data_loss(record: &DrillRecord) -> Section {
    let (results, criteria) = (&record.results, &record.criteria);
    let rpo = results.rpo_seconds;
    let lost = Cell::text(lasting_or(rpo, "not measured"))
        .tone(rpo.map_or(Tone::Neutral, |rpo| against(rpo, criteria.rpo_seconds)));
    let rows = [
        ("Assumed disaster", results.reference.map(|at| Cell::text(utc(at)))),
        ("Restored until", results.restored_until.map(|at| Cell::text(utc(at)))),
        ("Lost", Some(lost)),
        ("Objective", Some(Cell::text(lasting(criteria.rpo_seconds)))),
        ("How measured", (!results.rpo_method.is_empty()).then(|| Cell::text(&results.rpo_method))),
    ];
    Section::new("Data loss", vec![facts(rows)])
}

pub(super) fn checks(record: &DrillRecord) -> Section {
    if record.criteria.checks.is_empty() {
        let text = "The policy has no checks: that the application is usable was not asked of its data.";
        return Section::new("Checks", vec![Block::Notice(Tone::Warning, text.to_owned())]);
    }
    let head = ["Check", "Asked", "Expected", "Found", "Outcome"].map(Column::text).into();
    let rows = record.criteria.checks.iter().map(|criterion| {
        let found = record.results.checks.iter().find(|found| found.check == criterion.check);
        let expects = if criterion.expects.is_empty() { "success" } else { &criterion.expects };
        vec![
            Cell::text(&criterion.check),
            Cell::code(&criterion.asks),
            Cell::text(expects),
            Cell::text(found.and_then(|found| found.found.clone()).unwrap_or_default()),
            found.map_or(Cell::text("not run").tone(Tone::Warning), outcome),
        ]
    });
    Section::new("Checks", vec![Block::Table(Table { head, rows: rows.collect() })])
}

fn outcome(found: &CheckEvidence) -> Cell {
    let word = outcome_word(found.outcome).to_lowercase();
    let reasons = found.reasons.join("; ");
    let text = if reasons.is_empty() { word } else { format!("{word}: {reasons}") };
    Cell::text(text).tone(outcome_tone(found.outcome))
}
