//! The human-readable plan and report of a restore of a whole application.

use super::super::output::Output;
use super::super::style;
use super::duration::seconds;
use crate::application::{ApplicationPlan, ApplicationReport, MemberOutcome, MemberPlan, MemberReport};
use crate::checks::CheckResult;
use crate::event::Phase;
use crate::model::Judgement;
use crate::text::{approximate_duration, count, format_size, format_time, visible};

/// How many reasons are shown of each member.
const REASONS: usize = 20;

/// Shows the plan: as the result with `--plan`, otherwise as notes. `file`: the same as a plan file, with `--plan`.
pub(crate) fn show_plan(output: &Output, plan: &ApplicationPlan, file: Option<&str>) {
    if output.is_json() {
        let mut document = serde_json::to_value(plan).unwrap_or_default();
        if let Some(file) = file {
            document["plan_file"] = serde_json::Value::from(file);
        }
        output.document("restore-application-plan", &document);
        return;
    }
    let line = |label: &str, text: &str| {
        let line = format!("{}{label:>12}{:#} {}", style::NAME, style::NAME, visible(text));
        if file.is_some() { output.line(line) } else { output.note(line) }
    };
    if let Some(point) = &plan.point {
        line("Point", point.as_str());
    }
    line("State", &plan.label);
    if let Some(time) = plan.time {
        line("Data of", &format_time(time));
    }
    let bytes = plan.members.iter().map(|member| member.bytes).sum();
    let stored = plan.members.iter().map(|member| member.stored_bytes).sum();
    line("Size", &format!("{}, {} stored", format_size(bytes), format_size(stored)));
    line("At a time", &count(plan.at_once as u64, "source"));
    for member in &plan.members {
        line(member.source.as_str(), &member_line(member));
        let steps: Vec<_> = member.steps.iter().copied().map(Phase::as_str).collect();
        if !steps.is_empty() {
            line("", &format!("steps: {}", steps.join(", ")));
        }
        member.notes.iter().for_each(|note| line("", &format!("note: {note}")));
    }
    plan.references.iter().for_each(|reference| line("Compares", reference));
    if plan.resumes {
        line("Resumes", "an earlier attempt; what it restored is left as it is");
    }
    plan.notes.iter().for_each(|note| line("Note", note));
    if let Some(file) = file {
        output.note("As a plan file, for `--to PLAN.toml`:");
        file.lines().for_each(|line| output.note(format!("  {line}")));
    }
}

fn member_line(member: &MemberPlan) -> String {
    let backup = member.backup.as_ref().map(ToString::to_string).unwrap_or_default();
    if member.is_restored {
        return format!("{backup} is restored to {}", member.to);
    }
    let takes =
        member.estimated_seconds.map(|took| format!(", about {}", approximate_duration(seconds(took))));
    let from: Vec<_> = member.from.iter().map(|name| name.as_str()).collect();
    format!(
        "{backup}, of {}, from {}, {}{}, to {}",
        format_time(member.recovery_point),
        from.join(" or "),
        format_size(member.bytes),
        takes.unwrap_or_default(),
        member.to
    )
}

pub(crate) fn show_report(output: &Output, report: &ApplicationReport) {
    if output.is_json() {
        output.document("restore-application-report", report);
        return;
    }
    report.members.iter().for_each(|member| show_member(output, member));
    report.references.iter().for_each(|check| show_check(output, check));
    let (word, colour) = match (report.verdict.outcome, report.is_sound()) {
        (_, true) => ("restored", style::GOOD),
        (Judgement::Pass, false) => ("restored, not everything:", style::WARN),
        (Judgement::Undetermined, _) => ("undetermined:", style::WARN),
        (Judgement::Fail, _) => ("failed:", style::BAD),
    };
    let there = report.members.iter().filter(|member| member.is_restored()).count();
    let what = match &report.point {
        Some(point) => format!("recovery point {point}, {}", report.label),
        None => report.label.clone(),
    };
    output.line(format!(
        "{colour}{word}{colour:#} {there} of {}, {what}, in {}",
        count(report.members.len() as u64, "source"),
        approximate_duration(seconds(report.rto_seconds))
    ));
    for note in &report.notes {
        output.note(format!("{}note:{:#} {}", style::NAME, style::NAME, visible(note)));
    }
    if there < report.members.len() {
        output.note("hint: The same command again resumes: what is restored is left as it is.");
    }
}

fn show_member(output: &Output, member: &MemberReport) {
    let (word, colour) = match &member.outcome {
        MemberOutcome::Restored { .. } | MemberOutcome::RestoredBefore { .. }
            if member.verdict.has_passed() && member.is_everything() =>
        {
            ("restored", style::GOOD)
        }
        MemberOutcome::Restored { .. } | MemberOutcome::RestoredBefore { .. } => {
            ("restored, not as it should be:", style::WARN)
        }
        MemberOutcome::Failed { .. } => ("failed", style::BAD),
        MemberOutcome::Interrupted => ("interrupted", style::BAD),
        MemberOutcome::NotStarted => ("not started", style::BAD),
    };
    let data = member.recovery_point.map(|time| format!(", of {}", format_time(time))).unwrap_or_default();
    let took = match &member.outcome {
        MemberOutcome::RestoredBefore { .. } => ", by an earlier attempt".to_owned(),
        MemberOutcome::NotStarted => String::new(),
        _ => format!(", {}", approximate_duration(seconds(member.seconds))),
    };
    output.line(format!("{colour}{word}{colour:#} {} to {}{data}{took}", member.source, visible(&member.to)));
    if let MemberOutcome::Restored { checks, left_out, notes, .. } = &member.outcome {
        checks.iter().for_each(|check| show_check(output, check));
        for text in left_out {
            output.warn(format!("not restored of {}: {}", member.source, visible(text)));
        }
        for note in notes {
            output.note(format!(
                "{}note:{:#} {}: {}",
                style::NAME,
                style::NAME,
                member.source,
                visible(note)
            ));
        }
    } else {
        for reason in member.verdict.reasons.iter().take(REASONS) {
            output.line(format!("         {}", visible(&reason.message)));
        }
    }
}

fn show_check(output: &Output, check: &CheckResult) {
    if check.has_passed() {
        let found = visible(check.found.as_deref().unwrap_or_default());
        output.line(format!("         check `{}` passed: {found}", check.check));
    }
    for reason in check.verdict.reasons.iter().take(REASONS) {
        output.line(format!("         {}", visible(&reason.message)));
    }
}
