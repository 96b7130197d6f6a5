//! Past drills, and what they let expect.

use super::DrillReport;
use crate::report::figures::{against, lasting, lasting_or, outcome_tone, outcome_word};
use crate::report::forecast::{forecast_sentence, forecast_tone};
use crate::report::page::{Block, Cell, Column, Section, Table};
use crate::text::format_size;

/// So many drills are shown beside.
const PAST: usize = 12;

pub(super) fn trend(report: &DrillReport<'_>) -> Section {
    let record = &report.drill.record;
    let mut blocks = Vec::new();
    if let Some(forecast) = &report.forecast {
        blocks.push(Block::Notice(forecast_tone(forecast), forecast_sentence(forecast)));
    }
    let head = vec![
        Column::text("Drill"),
        Column::text("Verdict"),
        Column::number("Data"),
        Column::number("Data loss"),
        Column::text(&format!("Recovery time, of {}", lasting(record.criteria.rto_seconds))),
    ];
    let shown = &report.past[report.past.len().saturating_sub(PAST)..];
    let scale = record.criteria.rto_seconds.max(1.0);
    let rows = shown.iter().rev().map(|drill| {
        let past = &drill.record;
        let outcome = past.verdict.outcome;
        let bytes = past.sample.artifacts.iter().map(|artifact| artifact.bytes).sum();
        let is_this = past.identity.drill == record.identity.drill;
        let day = past.begun.format("%Y-%m-%d");
        let rto = past.results.rto_seconds;
        let time = Cell::text(lasting_or(rto, "not measured"));
        vec![
            Cell::text(if is_this { format!("{day} (this one)") } else { day.to_string() }),
            Cell::text(outcome_word(outcome).to_lowercase()).tone(outcome_tone(outcome)),
            Cell::text(format_size(bytes)),
            Cell::text(lasting_or(past.results.rpo_seconds, "–")),
            match rto {
                Some(rto) => Cell { tone: against(rto, past.criteria.rto_seconds), ..time.bar(rto / scale) },
                None => time,
            },
        ]
    });
    let rows: Vec<_> = rows.collect();
    if rows.len() > 1 {
        blocks.push(Block::Table(Table { head, rows }));
        if report.past.len() > PAST {
            blocks.push(Block::Text(format!("The newest {PAST} of {} are shown.", report.past.len())));
        }
    } else {
        blocks.push(Block::Text("It is the first drill of this kind.".to_owned()));
    }
    Section::new("Past drills and forecast", blocks)
}
