//! A drill on the terminal.

use std::time::Duration;

use super::super::Context;
use super::super::error::CommandError;
use super::super::exit::Exit;
use super::super::table::{Cell, TextTable};
use crate::drill::{DrillRecord, DrillRequest, DrillVerdict, Preview, SampledRestore};
use crate::model::Sha256Hex;
use crate::text::{format_duration, format_size, format_time};

/// Shows what would be restored.
pub(super) fn preview(
    context: &Context,
    request: &DrillRequest,
    preview: Preview,
) -> Result<Exit, CommandError> {
    let output = &context.output;
    preview.notes.iter().for_each(|note| output.warn(note));
    let choice = match preview.choice {
        Ok(choice) => choice,
        Err(why) => return Err(CommandError::new(Exit::Nothing, why)),
    };
    let what = match &choice.restore {
        SampledRestore::Dump(backup) => format!("dump {backup}"),
        SampledRestore::Cluster { backup: Some(backup), target } => {
            format!("base backup {backup} to {target}")
        }
        SampledRestore::Cluster { backup: None, target } => {
            format!("the base backup that fits, and WAL, to {target}")
        }
    };
    if output.is_json() {
        let document = serde_json::json!({
            "scenario": request.sample.scenario,
            "restores": what,
            "method": choice.method,
            "seed": choice.is_random.then_some(request.sample.seed),
            "candidates": choice.candidates,
            "from": request.from,
            "directory": request.root,
            "plain_bytes": preview.plain_bytes,
        });
        output.document("drill-plan", &document);
        return Ok(Exit::Done);
    }
    output.line(format!("Scenario   {}: {}", request.sample.scenario, request.sample.scenario.incident()));
    output.line(format!("Restores   {what}"));
    let seed = if choice.is_random { format!(", seed {}", request.sample.seed) } else { String::new() };
    output.line(format!("Chosen     {} of {} backups{seed}", choice.method, choice.candidates));
    if let Some(from) = &request.from {
        output.line(format!("From       {from}"));
    }
    let size = preview.plain_bytes.map(|bytes| format!(", {} before its indexes", format_size(bytes)));
    output.line(format!("Into       a sandbox in {}{}", request.root.display(), size.unwrap_or_default()));
    output.line(format!("Checks     {}", request.checks.len()));
    Ok(Exit::Done)
}

/// Shows what a drill found.
pub(super) fn record(
    context: &Context,
    record: &DrillRecord,
    verdict: &DrillVerdict,
    sha256: Option<Sha256Hex>,
) {
    let output = &context.output;
    let line = |name: &str, text: String| output.line(format!("{name:<11}{text}"));
    line("Verdict", format!("{}: {}", verdict.outcome, verdict.sentence));
    let scenario = record.identity.scenario;
    line("Scenario", format!("{scenario}: {}", scenario.incident()));
    line("Objectives", format!("{}; {}", rto(record), rpo(record)));
    if let Some(point) = record.sample.recovery_point {
        line(
            "Backup of",
            format!("{}, {} of {}", format_time(point), record.sample.method, record.sample.candidates),
        );
    }
    let isolation = record.environment.isolation.as_deref().unwrap_or("not started");
    line("Sandbox", format!("isolation: {isolation}"));
    let mut table = TextTable::head(["PHASE", "TIME", "BYTES"].map(Cell::new));
    for phase in &record.phases {
        let time = seconds(phase.seconds);
        let time = if phase.is_allowance { format!("{time} allowed") } else { time };
        let bytes = phase.bytes.map(format_size).unwrap_or_default();
        table.row([phase.phase.clone(), time, bytes].map(Cell::new));
    }
    output.line("");
    table.lines().iter().for_each(|row| output.line(row));
    if !record.results.checks.is_empty() {
        let mut table = TextTable::head(["CHECK", "OUTCOME", "FOUND"].map(Cell::new));
        for check in &record.results.checks {
            let found = check.found.clone().unwrap_or_default();
            table.row([check.check.clone(), check.outcome.to_string(), found].map(Cell::new));
        }
        output.line("");
        table.lines().iter().for_each(|row| output.line(row));
    }
    output.line("");
    for finding in &record.findings {
        line("Finding", finding.clone());
    }
    let digest = sha256.map(|digest| format!(" (SHA-256 {digest})")).unwrap_or_default();
    line("Record", format!("{}{digest}", record.identity.drill));
}

fn rto(record: &DrillRecord) -> String {
    let objective = seconds(record.criteria.rto_seconds);
    match record.results.rto_seconds {
        Some(rto) => format!("RTO {} of {objective}", seconds(rto)),
        None => format!("RTO not measured, objective {objective}"),
    }
}

fn rpo(record: &DrillRecord) -> String {
    let objective = seconds(record.criteria.rpo_seconds);
    match record.results.rpo_seconds {
        Some(rpo) => format!("RPO {} of {objective}", seconds(rpo)),
        None => format!("RPO {}", record.results.rpo_method),
    }
}

fn seconds(seconds: f64) -> String {
    format_duration(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
}
