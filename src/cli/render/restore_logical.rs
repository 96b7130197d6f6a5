//! How the plan and the report of a dump's restore look.

use super::super::output::{Output, style};
use crate::cli::restore::seconds;
use crate::model::Judgement;
use crate::restore::logical::{
    DumpRestorePlan, DumpRestoreReport, DumpTransfer, LeftoverDatabase, LoadsInto,
};
use crate::text::{approximate_duration, count, format_size, format_time};

/// Reasons that a person is shown.
const REASONS: usize = 200;

/// The plan: the result of `--plan`, otherwise said beside it.
pub(crate) fn show_plan(output: &Output, plan: &DumpRestorePlan, is_result: bool) {
    if output.is_json() {
        output.document("restore-plan", plan);
        return;
    }
    for line in plan_lines(plan) {
        if is_result { output.line(line) } else { output.note(line) }
    }
}

fn plan_lines(plan: &DumpRestorePlan) -> Vec<String> {
    let row = |label: &str, text: String| format!("{}{label:>12}{:#} {text}", style::NAME, style::NAME);
    let age = approximate_duration(seconds(plan.age_seconds as f64));
    let from: Vec<&str> = plan.repositories.iter().map(|name| name.as_str()).collect();
    let mut lines = vec![
        row("Backup", plan.backup.to_string()),
        row("Data of", format!("{} ({age} ago)", format_time(plan.recovery_point))),
        row("From", from.join(", then ")),
        row(
            "To",
            format!(
                "{}, {} on {} (PostgreSQL {})",
                plan.database,
                new_or_empty(plan),
                plan.server,
                plan.server_version
            ),
        ),
        row(
            "Holds",
            format!(
                "{} with {} rows, {} on disk where it was dumped",
                count(plan.tables, "table"),
                plan.rows,
                format_size(plan.database_bytes)
            ),
        ),
        row(
            "Transfers",
            format!("{}, unpacked {}", format_size(plan.stored_bytes), format_size(plan.plain_bytes)),
        ),
        row(
            "Loads as",
            format!("{} with {}, {}", loads_as(plan), count(u64::from(plan.jobs), "job"), plan.tool),
        ),
        row("Scratch", scratch(plan)),
        row("Takes", estimate(plan)),
    ];
    if let Some(selection) = &plan.selection {
        lines.push(row("Only", selection.clone()));
    }
    if let Some(exclusion) = &plan.exclusion {
        lines.push(row("Without", exclusion.clone()));
    }
    if let Some(globals) = &plan.globals {
        let made: Vec<String> = globals
            .roles
            .iter()
            .map(|role| format!("role {role}"))
            .chain(globals.tablespaces.iter().map(|name| format!("tablespace {name}")))
            .collect();
        let none = "nothing, all of them exist".to_owned();
        lines.push(row("Makes first", if made.is_empty() { none } else { made.join(", ") }));
        lines.extend(globals.left_out.iter().map(|text| row("Leaves out", text.clone())));
        if !globals.joined.is_empty() {
            lines.push(row("Joins", format!("{}, to give them what they own", globals.joined.join(", "))));
        }
    }
    lines.extend(
        plan.leftovers.iter().map(|leftover| row("Left over", leftover_text(leftover, plan.drop_leftovers))),
    );
    lines.extend(plan.notes.iter().map(|note| row("Note", note.clone())));
    lines
}

fn new_or_empty(plan: &DumpRestorePlan) -> &'static str {
    match (plan.loads_into, plan.replaces_empty) {
        (LoadsInto::Existing, _) => "the empty database of that name",
        (_, true) => "a new database (the empty one of that name is replaced)",
        (_, false) => "a new database",
    }
}

fn loads_as(plan: &DumpRestorePlan) -> String {
    let mark = "whose comment says that it is not complete until it was compared,";
    match plan.loads_into {
        LoadsInto::Temporary => plan.temporary.clone(),
        LoadsInto::New => format!("{}, {mark} and which others are kept out of,", plan.temporary),
        LoadsInto::Existing => format!("{}, {mark}", plan.temporary),
    }
}

fn scratch(plan: &DumpRestorePlan) -> String {
    match &plan.route {
        DumpTransfer::Scratch { directory, needed, free } => {
            format!(
                "{} in {}, where {} are free",
                format_size(*needed),
                directory.display(),
                format_size(*free)
            )
        }
        DumpTransfer::Stream => "none: streamed into pg_restore".to_owned(),
    }
}

fn estimate(plan: &DumpRestorePlan) -> String {
    match plan.estimated_seconds {
        Some(estimated) => {
            let runs = count(plan.measured_by.runs as u64, "restore");
            format!("about {}, by {runs} before", approximate_duration(seconds(estimated)))
        }
        None => "unknown: no restore was measured yet".to_owned(),
    }
}

fn leftover_text(leftover: &LeftoverDatabase, drop: bool) -> String {
    let LeftoverDatabase { database, connections, .. } = leftover;
    match (leftover.may_be_dropped(), drop) {
        (true, true) => format!("{database}, of a restore that was killed: will be dropped"),
        (true, false) => format!(
            "{database}, of a restore that was killed: DROP DATABASE \"{database}\"; or `--drop-leftovers`"
        ),
        (false, _) if leftover.is_kept() => {
            format!("{database}, which is not published: {}", leftover.comment.as_deref().unwrap_or_default())
        }
        (false, _) if *connections > 0 => format!("{database}: another restore is at work there"),
        (false, _) => {
            format!("{database}, without drctl's comment: look at it, then DROP DATABASE \"{database}\"")
        }
    }
}

pub(crate) fn show_report(output: &Output, report: &DumpRestoreReport) {
    if output.is_json() {
        output.document("restore-report", report);
        return;
    }
    let (word, colour) = match report.verdict.outcome {
        Judgement::Pass => ("restored", style::GOOD),
        Judgement::Undetermined => ("restored, undetermined:", style::WARN),
        Judgement::Fail => ("restored, incomplete:", style::BAD),
    };
    output.line(format!(
        "{colour}{word}{colour:#} {} into {} on {} from {}",
        report.backup, report.database, report.server, report.repository
    ));
    for reason in report.verdict.reasons.iter().take(REASONS) {
        let what = if reason.code == "not-compared" { "undetermined" } else { "missing or different" };
        output.line(format!("         {what}: {}", reason.message));
    }
    if report.verdict.reasons.len() > REASONS {
        let more = report.verdict.reasons.len() - REASONS;
        output.line(format!("         and {more} more, which `--output json` has"));
    }
    if let Some(compared) = &report.compared {
        output.line(format!(
            "         the same as dumped: {} ({} counted, {} rows), {}, {}, {}",
            count(compared.tables, "table"),
            compared.counted,
            compared.rows,
            count(compared.sequences, "sequence"),
            count(compared.extensions, "extension"),
            count(compared.large_objects, "large object"),
        ));
    }
    for phase in &report.phases {
        output.line(format!(
            "{:>16}  {}",
            phase.phase.as_str(),
            approximate_duration(seconds(phase.seconds))
        ));
    }
    output.line(format!("{:>16}  {}", "in all", approximate_duration(seconds(report.seconds))));
    for text in &report.left_out {
        output.warn(format!("not restored: {text}"));
    }
    for text in &report.notes {
        output.note(format!("{}note:{:#} {text}", style::NAME, style::NAME));
    }
    if let Some(globals) = report.globals.as_ref().filter(|globals| !globals.need_password.is_empty()) {
        output.warn(format!("these roles need a password now: {}", globals.need_password.join(", ")));
    }
}
