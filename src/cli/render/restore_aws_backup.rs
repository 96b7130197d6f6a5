//! How the plan and the report of a resource's restore look.

use super::super::output::{Output, style};
use crate::cli::restore::seconds;
use crate::restore::aws_backup::{EarlierJob, ResourceRestorePlan, ResourceRestoreReport};
use crate::text::{approximate_duration, format_time};

/// The plan: the result of `--plan`, otherwise said beside it.
pub(crate) fn show_plan(output: &Output, plan: &ResourceRestorePlan, is_result: bool) {
    if output.is_json() {
        output.document("restore-plan", plan);
        return;
    }
    for line in plan_lines(plan) {
        if is_result { output.line(line) } else { output.note(line) }
    }
}

fn plan_lines(plan: &ResourceRestorePlan) -> Vec<String> {
    let row = |label: &str, text: String| format!("{}{label:>12}{:#} {text}", style::NAME, style::NAME);
    let age = approximate_duration(seconds(plan.age_seconds as f64));
    let mut lines = vec![
        row("Backup", plan.backup.to_string()),
        row("Data of", format!("{} ({age} ago)", format_time(plan.recovery_point))),
        row("Of", format!("{} ({})", plan.resource, plan.resource_type)),
        row("From", format!("{} in vault `{}`, {}", plan.point, plan.vault, plan.region)),
        row("As", plan.role.clone()),
    ];
    lines.extend(plan.metadata.iter().map(|(key, value)| row("With", format!("{key} = {value}"))));
    lines.extend(
        plan.left_out
            .iter()
            .map(|left| row("Without", format!("{} = {}: {}", left.key, left.value, left.reason))),
    );
    lines.extend(plan.earlier.as_ref().map(|earlier| row("Job", earlier_text(earlier))));
    lines.extend(plan.notes.iter().map(|note| row("Note", note.clone())));
    lines
}

fn earlier_text(earlier: &EarlierJob) -> String {
    let begun = earlier.begun.map(|time| format!(" at {}", format_time(time))).unwrap_or_default();
    match (earlier.is_over, earlier.is_there) {
        (true, Some(_)) => format!(
            "{}, begun{begun}, was told just this and has ended, and what it made is there: nothing is begun without `--again`",
            earlier.job
        ),
        (true, None) => format!(
            "{}, begun{begun}, was told just this and has ended: nothing is begun without `--again`, and whether what it made is still there is not known",
            earlier.job
        ),
        (false, _) => format!("{}, begun{begun}, was told just this and is gone on with", earlier.job),
    }
}

pub(crate) fn show_report(output: &Output, report: &ResourceRestoreReport) {
    if output.is_json() {
        output.document("restore-report", report);
        return;
    }
    let created = report.created.as_deref().unwrap_or("a resource that AWS Backup does not name");
    let took =
        report.seconds.map(|took| format!(" in {}", approximate_duration(seconds(took)))).unwrap_or_default();
    let (word, style) = match (report.issues.is_empty(), report.was_over) {
        (true, false) => ("restored", style::GOOD),
        (true, true) if report.is_unseen => ("was restored before:", style::WARN),
        (true, true) => ("was restored before, and is there:", style::GOOD),
        (false, _) => ("completed with issues:", style::WARN),
    };
    output.line(format!(
        "{style}{word}{style:#} {} to {created} in {}, by job {}{took}",
        report.backup, report.region, report.job
    ));
    for shortcoming in report.shortcomings() {
        output.warn(shortcoming);
    }
    for note in &report.notes {
        output.note(note.clone());
    }
}
