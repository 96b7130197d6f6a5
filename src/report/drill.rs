//! The page of one drill.

use chrono::{DateTime, Utc};

use super::figures::{against, lasting, lasting_or, outcome_tone, outcome_word, percent};
use super::forecast::{forecast_sentence, forecast_tone};
use super::page::{
    Block, Budget, BudgetPart, Cell, Column, Figure, Headline, Page, PhaseBar, Section, Table, Tone, utc,
};
use crate::drill::evidence::StoredDrill;
use crate::drill::forecast::Forecast;
use crate::drill::{CheckEvidence, DrillRecord};
use crate::model::RepositoryName;
use crate::text::{count, format_size, format_time};

/// So many drills are shown beside.
const PAST: usize = 12;

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
    sections.push(recovery_time(record));
    sections.push(data_loss(record));
    sections.push(checks(record));
    sections.push(sample(record));
    sections.push(environment(record));
    sections.push(trend(report));
    sections.push(cleanup(record));
    sections.push(repeat(record));
    sections.push(evidence(report));
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
        tone: outcome_tone(&verdict.outcome),
        word: outcome_word(&verdict.outcome).to_owned(),
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
        found.is_some_and(|found| found.outcome == "pass")
    });
    let (passed, all) = (passed.count(), criteria.checks.len());
    let checks = Figure {
        label: "Checks of the data".to_owned(),
        value: if all == 0 { "none".to_owned() } else { format!("{passed} of {all}") },
        note: if all == 0 { "the policy has none".to_owned() } else { "passed".to_owned() },
        tone: match passed == all {
            true if all > 0 => Tone::Good,
            _ if results.checks.iter().any(|found| found.outcome == "fail") => Tone::Bad,
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
            vec![Cell::text(&reason.message), Cell::text(&reason.cause), Cell::code(&reason.code)]
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

fn recovery_time(record: &DrillRecord) -> Section {
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

/// Facts, with those left out that are not known.
fn facts(facts: impl IntoIterator<Item = (&'static str, Option<Cell>)>) -> Block {
    Block::Facts(facts.into_iter().filter_map(|(name, cell)| Some((name.to_owned(), cell?))).collect())
}

fn data_loss(record: &DrillRecord) -> Section {
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

fn checks(record: &DrillRecord) -> Section {
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
    let word = match found.outcome.as_str() {
        "pass" => "passed",
        "fail" => "failed",
        other => other,
    };
    let reasons = found.reasons.join("; ");
    let text = if reasons.is_empty() { word.to_owned() } else { format!("{word}: {reasons}") };
    Cell::text(text).tone(outcome_tone(&found.outcome))
}

fn sample(record: &DrillRecord) -> Section {
    let sample = &record.sample;
    let seed = sample.seed.map(|seed| format!(", with seed {seed}")).unwrap_or_default();
    let chosen = format!("{} of {}{seed}", sample.method, count(sample.candidates, "candidate"));
    let age = sample.age_seconds.map(|age| format!(" ({} before the drill)", lasting(age)));
    let mut blocks = vec![facts([
        ("Incident", Some(Cell::text(record.identity.scenario.incident()))),
        ("Chosen", Some(Cell::text(chosen))),
        ("Backup", sample.backup.as_ref().map(|backup| Cell::code(backup.as_str()))),
        ("Kind", sample.kind.map(|kind| Cell::text(kind.to_string()))),
        (
            "Recovery point",
            sample.recovery_point.map(|at| Cell::text(format!("{}{}", utc(at), age.unwrap_or_default()))),
        ),
        ("Target", sample.target.map(|at| Cell::text(utc(at)))),
        ("Read from", sample.repository.as_ref().map(|name| Cell::text(name.as_str()))),
        ("System identifier", sample.system_identifier.map(|id| Cell::code(id.to_string()))),
        ("Opened with", sample.key_fingerprint.as_ref().map(|print| Cell::code(format!("SHA-256 {print}")))),
        ("Key holder", record.people.key_holder.as_ref().map(Cell::text)),
    ])];
    if sample.backup.is_none() {
        blocks.insert(0, Block::Notice(Tone::Bad, "There was no backup to restore.".to_owned()));
    }
    if !sample.artifacts.is_empty() {
        let head =
            vec![Column::text("Artifact"), Column::number("Data"), Column::text("SHA-256 of the data")];
        let rows = sample.artifacts.iter().map(|artifact| {
            vec![
                Cell::text(&artifact.name),
                Cell::text(format_size(artifact.bytes)),
                Cell::code(artifact.sha256.to_string()),
            ]
        });
        blocks.push(Block::Table(Table { head, rows: rows.collect() }));
    }
    if !sample.passed_over.is_empty() {
        let head = vec![Column::text("Passed over"), Column::text("Why")];
        let rows = sample.passed_over.iter();
        let rows = rows.map(|over| vec![Cell::code(over.backup.as_str()), Cell::text(&over.reason)]);
        blocks.push(Block::Table(Table { head, rows: rows.collect() }));
    }
    Section::new("The backup, and how it was chosen", blocks)
}

fn environment(record: &DrillRecord) -> Section {
    let environment = &record.environment;
    let isolation = environment.isolation.as_ref().map(|isolation| {
        let tone = if isolation == "unverified" { Tone::Warning } else { Tone::Good };
        Cell::text(isolation).tone(tone)
    });
    let mut blocks = vec![facts([
        ("Sandbox", Some(Cell::text(environment.sandbox.as_deref().unwrap_or("none was started")))),
        ("Isolation", isolation),
        ("Host", Some(Cell::text(&record.people.host))),
        ("Operating system", Some(Cell::text(&environment.operating_system))),
        ("PostgreSQL", environment.postgres.as_ref().map(Cell::text)),
        ("Processors", Some(Cell::text(environment.processors.to_string()))),
        ("Memory", environment.memory_bytes.map(|bytes| Cell::text(format_size(bytes)))),
        ("Free disk space", environment.disk_free_bytes.map(|bytes| Cell::text(format_size(bytes)))),
    ])];
    if !environment.isolation_probes.is_empty() {
        blocks.push(Block::Text("What was tried out of the sandbox:".to_owned()));
        blocks.push(Block::List(environment.isolation_probes.clone()));
    }
    Section::new("Where it was restored", blocks)
}

fn trend(report: &DrillReport<'_>) -> Section {
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
        let outcome = &past.verdict.outcome;
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

fn cleanup(record: &DrillRecord) -> Section {
    let cleanup = &record.cleanup;
    let mut blocks = vec![match (cleanup.is_complete, cleanup.left.is_empty()) {
        (true, true) => Block::Notice(Tone::Good, "Nothing of the drill is left.".to_owned()),
        _ => Block::Notice(Tone::Bad, "Not everything was removed.".to_owned()),
    }];
    let lists = [
        ("Left:", &cleanup.left),
        ("Removed:", &cleanup.removed),
        ("Leftovers of earlier drills that were removed:", &cleanup.leftovers_removed),
    ];
    for (words, items) in lists {
        if !items.is_empty() {
            blocks.extend([Block::Text(words.to_owned()), Block::List(items.clone())]);
        }
    }
    if let Some(cost) = record.cost {
        blocks.push(Block::Text(format!("It cost {cost:.2} US dollars.")));
    }
    Section::new("Clean-up", blocks)
}

/// Returns the command that repeats a drill with the same backup, or the same target.
pub fn repeat_command(record: &DrillRecord) -> String {
    let (identity, sample) = (&record.identity, &record.sample);
    let what = match (sample.target, &sample.backup, sample.seed) {
        (Some(target), _, _) => format!(" --point-in-time {}", format_time(target)),
        (None, Some(backup), _) => format!(" --backup {backup}"),
        (None, None, Some(seed)) => format!(" --seed {seed}"),
        (None, None, None) => String::new(),
    };
    format!("drctl drill run --scenario {} --source {}{what}", identity.scenario, identity.source)
}

fn repeat(record: &DrillRecord) -> Section {
    let text =
        "It needs the policy, the repositories and the identity; it restores into a sandbox and removes it.";
    Section::new(
        "How to repeat it",
        vec![Block::Command(repeat_command(record)), Block::Text(text.to_owned())],
    )
}

fn evidence(report: &DrillReport<'_>) -> Section {
    let (stored, record) = (report.drill, &report.drill.record);
    let (identity, people) = (&record.identity, &record.people);
    let held: Vec<&str> = report.repositories.iter().map(RepositoryName::as_str).collect();
    let mut blocks: Vec<Block> =
        report.damage.iter().map(|damage| Block::Notice(Tone::Bad, damage.clone())).collect();
    blocks.push(facts([
        ("Drill", Some(Cell::code(identity.drill.as_str()))),
        ("System, source", Some(Cell::text(format!("{}, {}", identity.system, identity.source)))),
        ("Due", identity.occurrence.map(|at| Cell::text(utc(at)))),
        ("Trigger", Some(Cell::text(identity.trigger.as_str()))),
        ("Begun", Some(Cell::text(utc(record.begun)))),
        ("Ended", Some(Cell::text(utc(record.ended)))),
        ("Requested by", Some(Cell::text(&people.requested_by))),
        ("Run by", Some(Cell::text(format!("{} on {}", people.operator, people.host)))),
        ("CI job", people.job_url.as_ref().map(Cell::text)),
        ("Acknowledged", Some(acknowledged(stored))),
        ("SHA-256 of the record", Some(Cell::code(stored.sha256.to_string()))),
        ("Stored as", Some(Cell::code(&report.key))),
        ("In", Some(Cell::text(held.join(", ")))),
        (
            "Record before",
            Some(identity.previous.as_ref().map_or(Cell::text("none: it is the first"), |previous| {
                Cell::code(format!("{} SHA-256 {}", previous.drill, previous.sha256))
            })),
        ),
        ("SHA-256 of the policy", Some(Cell::code(identity.policy_sha256.to_string()))),
        ("drctl", Some(Cell::text(&identity.drctl_version))),
        ("SHA-256 of drctl", identity.drctl_sha256.map(|sha256| Cell::code(sha256.to_string()))),
    ]));
    Section::new("The record", blocks)
}

fn acknowledged(drill: &StoredDrill) -> Cell {
    match &drill.acknowledgement {
        Some(seen) => Cell::text(format!("by {} at {}: {}", seen.by, utc(seen.at), seen.note)),
        None => Cell::text("not yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::{Scenario, passed};

    #[test]
    fn a_drill_is_repeated_with_what_it_restored() {
        let mut record = passed();
        let command = "drctl drill run --scenario region-loss --source database";
        assert_eq!(
            repeat_command(&record),
            format!("{command} --backup 20261101T030000Z-database-logical-2222")
        );
        record.sample.backup = None;
        record.sample.seed = Some(7);
        assert_eq!(repeat_command(&record), format!("{command} --seed 7"));
        record.identity.scenario = Scenario::PointInTime;
        record.sample.target = Some(record.begun);
        let command = command.replace("region-loss", "point-in-time");
        assert_eq!(repeat_command(&record), format!("{command} --point-in-time 2026-11-01T05:00:00Z"));
    }
}
