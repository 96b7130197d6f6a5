//! The page of one drill.

mod backup;
mod measured;
mod past;
mod record;

use chrono::{DateTime, Utc};

use super::figures::{against, lasting, outcome_tone, outcome_word, percent};
use super::page::{Block, Cell, Column, Figure, Headline, Page, Section, Table, Tone, utc};
use crate::drill::DrillRecord;
use crate::drill::evidence::StoredDrill;
use crate::drill::forecast::Forecast;
use crate::model::{Judgement, RepositoryName};
use crate::text::format_size;

pub use measured::recovery_time;
pub use record::repeat_command;

/// A drill, and what is known beside its record.
#[derive(Clone, Debug)]
pub struct DrillReport<'a> {
    pub drill: &'a StoredDrill,
    /// Why the record is not to be relied on.
    pub damage: Vec<String>,
    /// The key of the record in a repository.
    pub key: String,
    /// The repositories that have it.
    pub repositories: Vec<RepositoryName>,
    /// Drills on the same path, the oldest first, this one among them.
    pub past: Vec<&'a StoredDrill>,
    /// `None`: nothing was restored that there could be one of.
    pub forecast: Option<Forecast>,
    pub made_at: DateTime<Utc>,
}

/// Returns the page of a drill.
pub fn drill_page(report: &DrillReport<'_>) -> Page {
    let record = &report.drill.record;
    let mut sections = vec![Section::new("", vec![Block::Figures(figures(record))])];
    sections.extend(reasons(record));
    sections.push(measured::recovery_time(record));
    sections.push(measured::data_loss(record));
    sections.push(measured::checks(record));
    sections.push(backup::sample(record));
    sections.push(backup::environment(record));
    sections.push(past::trend(report));
    sections.push(record::cleanup(record));
    sections.push(record::repeat(record));
    sections.push(record::evidence(report));
    Page {
        title: format!("Restore drill of {}: {}", record.identity.system, record.identity.scenario),
        subtitle: format!("{} · {}", record.begun.format("%-d %B %Y"), record.identity.drill),
        verdict: headline(report),
        sections,
        footer: format!(
            "Made by drctl {} at {} from the record of the drill. It says what one drill did and measured.",
            env!("CARGO_PKG_VERSION"),
            utc(report.made_at)
        ),
    }
}

fn headline(report: &DrillReport<'_>) -> Headline {
    let verdict = &report.drill.record.verdict;
    if let Some(damage) = report.damage.first() {
        return Headline {
            tone: Tone::Bad,
            word: "Not evidence".to_owned(),
            sentence: format!("This page cannot be relied on: {damage}."),
        };
    }
    Headline {
        tone: outcome_tone(verdict.outcome),
        word: outcome_word(verdict.outcome).to_owned(),
        sentence: verdict.sentence.clone(),
    }
}

fn figures(record: &DrillRecord) -> Vec<Figure> {
    let (results, criteria) = (&record.results, &record.criteria);
    let objective = |seconds: f64| format!("objective {}", lasting(seconds));
    let rto = match results.rto_seconds {
        Some(rto) => Figure {
            label: "Recovery time (RTO)".to_owned(),
            value: lasting(rto),
            note: format!("{}, {} used", objective(criteria.rto_seconds), percent(rto, criteria.rto_seconds)),
            tone: against(rto, criteria.rto_seconds),
        },
        None => Figure {
            label: "Recovery time (RTO)".to_owned(),
            value: "not measured".to_owned(),
            note: format!("{}; nothing was usable", objective(criteria.rto_seconds)),
            tone: Tone::Warning,
        },
    };
    let rpo = match results.rpo_seconds {
        Some(rpo) => Figure {
            label: "Data loss (RPO)".to_owned(),
            value: lasting(rpo),
            note: objective(criteria.rpo_seconds),
            tone: against(rpo, criteria.rpo_seconds),
        },
        None => Figure {
            label: "Data loss (RPO)".to_owned(),
            value: "not measured".to_owned(),
            note: match record.identity.scenario.measures_rpo() {
                true => objective(criteria.rpo_seconds),
                false => "an older backup, on purpose".to_owned(),
            },
            tone: Tone::Neutral,
        },
    };
    let passed = record.criteria.checks.iter().filter(|criterion| {
        let found = results.checks.iter().find(|found| found.check == criterion.check);
        found.is_some_and(|found| found.outcome == Judgement::Pass)
    });
    let (passed, all) = (passed.count(), criteria.checks.len());
    let checks = Figure {
        label: "Checks of the data".to_owned(),
        value: if all == 0 { "none".to_owned() } else { format!("{passed} of {all}") },
        note: if all == 0 { "the policy has none".to_owned() } else { "passed".to_owned() },
        tone: match passed == all {
            true if all > 0 => Tone::Good,
            _ if results.checks.iter().any(|found| found.outcome == Judgement::Fail) => Tone::Bad,
            _ => Tone::Warning,
        },
    };
    let bytes = record.sample.artifacts.iter().map(|artifact| artifact.bytes).sum();
    let kind = record.sample.kind.map_or("no backup".to_owned(), |kind| format!("{kind} backup"));
    let age = record.sample.age_seconds.map(|age| format!(", {} old", lasting(age))).unwrap_or_default();
    let data = Figure {
        label: "Size of the data".to_owned(),
        value: format_size(bytes),
        note: format!("{kind}{age}"),
        tone: Tone::Neutral,
    };
    vec![rto, rpo, checks, data]
}

fn reasons(record: &DrillRecord) -> Option<Section> {
    let mut blocks = Vec::new();
    let reasons = &record.verdict.reasons;
    if !reasons.is_empty() {
        let rows = reasons.iter().map(|reason| {
            vec![Cell::text(&reason.message), Cell::text(reason.cause.as_str()), Cell::code(&reason.code)]
        });
        let head = vec![Column::text("Reason"), Column::text("Cause"), Column::text("Code")];
        blocks.push(Block::Table(Table { head, rows: rows.collect() }));
    }
    for (words, items) in
        [("To follow up:", &record.findings), ("Otherwise than in a real recovery:", &record.deviations)]
    {
        if !items.is_empty() {
            blocks.extend([Block::Text(words.to_owned()), Block::List(items.clone())]);
        }
    }
    (!blocks.is_empty()).then(|| Section::new("What stands out", blocks))
}

/// Facts, with those left out that are not known.
fn facts(facts: impl IntoIterator<Item = (&'static str, Option<Cell>)>) -> Block {
    Block::Facts(facts.into_iter().filter_map(|(name, cell)| Some((name.to_owned(), cell?))).collect())
}
