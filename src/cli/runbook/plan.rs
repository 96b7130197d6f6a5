//! What a runbook would do, without doing it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::style;
use crate::report::plain;
use crate::runbook::{Changes, Runbook, SeverityWord, Step, StepAction, fill};
use crate::text::format_duration;

#[derive(Serialize)]
struct PlanDocument<'a> {
    runbook: &'a str,
    title: &'a str,
    severity: SeverityWord,
    takes_seconds: u64,
    steps: Vec<StepRow<'a>>,
}

#[derive(Serialize)]
struct StepRow<'a> {
    step: &'a str,
    title: &'a str,
    phase: &'static str,
    line: usize,
    /// `run`, `manual`, `decision`, `tell`
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<&'static str>,
    deadline_seconds: u64,
    text: String,
    expect: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    if_not: Option<&'a str>,
}

/// Shows every step, with what is known filled in.
pub(super) fn show(context: &Context, runbook: &Runbook, values: &BTreeMap<String, String>) {
    let rows: Vec<StepRow<'_>> = runbook.steps.iter().map(|step| row(step, values)).collect();
    if context.output.is_json() {
        let document = PlanDocument {
            runbook: &runbook.name,
            title: &runbook.title,
            severity: runbook.header.severity.into(),
            takes_seconds: runbook.header.takes.as_secs(),
            steps: rows,
        };
        return context.output.document("runbook-plan", &document);
    }
    let output = &context.output;
    let (strong, faint) = (style::STRONG, style::FAINT);
    let severity = SeverityWord::from(runbook.header.severity).as_str();
    let takes = format_duration(runbook.header.takes);
    output.line(format!("{strong}{}{strong:#} ({severity}, about {takes})", plain(&runbook.title)));
    let mut phase = "";
    for (n, (row, step)) in rows.iter().zip(&runbook.steps).enumerate() {
        if phase != row.phase {
            phase = row.phase;
            output.line(format!("\n{strong}{phase}{strong:#}"));
        }
        output.line(format!("{:>4}  {}{}", n + 1, plain(row.title), marks(row, step)));
        for line in plain(&row.text).lines() {
            output.line(format!("      {faint}|{faint:#} {line}"));
        }
    }
}

fn marks(row: &StepRow<'_>, step: &Step) -> String {
    let mut marks = vec![row.step.to_owned(), format!("within {}", format_duration(step.deadline))];
    marks.extend(match &step.action {
        StepAction::Run { .. } => row.changes.map(|changes| format!("changes {changes}")),
        StepAction::Manual { .. } => Some("people do it".to_owned()),
        StepAction::Decide { .. } => Some("a decision".to_owned()),
        StepAction::Tell { severity, .. } => {
            Some(format!("a message, {}", SeverityWord::from(*severity).as_str()))
        }
    });
    marks.extend(row.when.as_ref().map(|when| format!("if {}", when.replace(':', " is "))));
    let (warn, faint) = (style::WARN, style::FAINT);
    let shown = marks.join(", ");
    match step.changes_production() {
        true => format!("  {warn}({shown}){warn:#}"),
        false => format!("  {faint}({shown}){faint:#}"),
    }
}

fn row<'a>(step: &'a Step, values: &BTreeMap<String, String>) -> StepRow<'a> {
    let (text, changes) = match &step.action {
        StepAction::Run { script, changes } => (fill(script, values), changes_word(*changes)),
        StepAction::Manual { text } => (fill(text, values), None),
        StepAction::Tell { template, .. } => (fill(template, values), None),
        StepAction::Decide { answers } => (format!("one of: {}", answers.join(", ")), None),
    };
    StepRow {
        step: &step.name,
        title: &step.title,
        phase: step.phase.as_str(),
        line: step.line,
        kind: step.action.as_str(),
        when: step.when.as_ref().map(ToString::to_string),
        changes,
        deadline_seconds: step.deadline.as_secs(),
        text,
        expect: &step.expect.text,
        if_not: step.if_not.as_deref(),
    }
}

fn changes_word(changes: Changes) -> Option<&'static str> {
    match changes {
        Changes::Nothing => None,
        Changes::Target => Some("the target"),
        Changes::Production => Some("production"),
    }
}
