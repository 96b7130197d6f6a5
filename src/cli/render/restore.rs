//! The human-readable plan and report of a restore, for any method. Names of roles and objects may have line breaks:
//! each text is shown in one line.

use super::super::output::Output;
use super::super::style;
use super::duration::seconds;
use crate::event::Phase;
use crate::model::{Judgement, Reason};
use crate::restore::{PreparedRestore, RestoreReport, Restorer};
use crate::text::{approximate_duration, visible};

/// The maximum number of reasons shown to a person.
const REASONS: usize = 200;

/// Renders the parts that only one method has.
pub(crate) trait Render: Restorer {
    /// Returns a row each: the label and the text.
    fn plan_rows(plan: &Self::Plan) -> Vec<(&'static str, String)>;

    /// Returns what was restored, to follow "restored"; then further lines.
    fn report_lines(report: &RestoreReport<Self::Details>) -> (String, Vec<String>);

    /// Returns what an operator has to do now.
    fn warnings(_report: &RestoreReport<Self::Details>) -> Vec<String> {
        vec![]
    }
}

/// Shows the plan: as the result with `--plan`, otherwise as notes.
pub(crate) fn show_plan<M: Render>(output: &Output, prepared: &PreparedRestore<'_, M>, is_result: bool) {
    if output.is_json() {
        output.document("restore-plan", &prepared.document());
        return;
    }
    let mut rows = M::plan_rows(prepared.plan());
    let steps = prepared.steps().into_iter().map(Phase::as_str).collect::<Vec<_>>().join(", ");
    let at = rows.iter().position(|(label, _)| *label == NOTE).unwrap_or(rows.len());
    rows.insert(at, ("Steps", steps));
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or_default().max(12);
    for (label, text) in rows {
        let line = format!("{}{label:>width$}{:#} {}", style::NAME, style::NAME, visible(&text));
        if is_result { output.line(line) } else { output.note(line) }
    }
}

/// The label of the last rows.
pub(crate) const NOTE: &str = "Note";

pub(crate) fn notes(notes: &[String]) -> impl Iterator<Item = (&'static str, String)> {
    notes.iter().map(|note| (NOTE, note.clone()))
}

pub(crate) fn show_report<M: Render>(output: &Output, report: &RestoreReport<M::Details>) {
    if output.is_json() {
        output.document("restore-report", report);
        return;
    }
    let (word, colour) = match report.verdict.outcome {
        Judgement::Pass if report.left_out.is_empty() => ("restored", style::GOOD),
        Judgement::Pass => ("restored, not everything:", style::WARN),
        Judgement::Undetermined => ("restored, undetermined:", style::WARN),
        Judgement::Fail => ("restored, but incomplete, or its checks failed:", style::BAD),
    };
    let (headline, lines) = M::report_lines(report);
    output.line(format!("{colour}{word}{colour:#} {headline}"));
    lines.iter().for_each(|line| output.line(line));
    for check in &report.checks {
        if check.has_passed() {
            let found = visible(check.found.as_deref().unwrap_or_default());
            output.line(format!("         check `{}` passed: {found}", check.check));
        }
        show_reasons(output, &check.verdict.reasons);
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
        output.warn(format!("not restored: {}", visible(text)));
    }
    for text in &report.notes {
        output.note(format!("{}note:{:#} {}", style::NAME, style::NAME, visible(text)));
    }
    M::warnings(report).iter().for_each(|text| output.warn(visible(text)));
}

fn show_reasons(output: &Output, reasons: &[Reason]) {
    for reason in reasons.iter().take(REASONS) {
        let what = match reason.code {
            "not-compared" => "undetermined: ",
            "not-loaded" | "different" => "missing or different: ",
            _ => "",
        };
        output.line(format!("         {what}{}", visible(&reason.message)));
    }
    if reasons.len() > REASONS {
        let more = reasons.len() - REASONS;
        output.line(format!("         and {more} more, which `--output json` has"));
    }
}
