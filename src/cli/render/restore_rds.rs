//! How the plan and the report of a restore into an RDS instance look.

use serde::Serialize;

use super::super::output::{Output, style};
use crate::checks::CheckVerdict;
use crate::cli::restore::seconds;
use crate::restore::physical::shown;
use crate::restore::rds::{
    Changed, NewGroup, PlannedSetting, RdsRestorePlan, RdsRestoreReport, RestoreSource,
};
use crate::text::approximate_duration;

#[derive(Serialize)]
struct PlanDocument<'a> {
    source: &'a str,
    region: &'a str,
    instance: &'a str,
    via: &'static str,
    from: String,
    until: String,
    resumed: bool,
    cost: &'a str,
    settings: Vec<PlannedSetting>,
    changed: &'a [Changed],
    begun_otherwise: &'a [String],
    notes: &'a [String],
    not_reproduced: &'a [String],
}

/// The plan: the result of `--plan`, otherwise said beside it.
pub(crate) fn show_plan(output: &Output, plan: &RdsRestorePlan, is_result: bool) {
    if output.is_json() {
        output.document("instance-plan", &document(plan));
        return;
    }
    for line in lines(plan) {
        if is_result { output.line(line) } else { output.note(line) }
    }
}

fn document(plan: &RdsRestorePlan) -> PlanDocument<'_> {
    PlanDocument {
        source: plan.source.as_str(),
        region: &plan.chosen.region,
        instance: plan.to(),
        via: match plan.chosen.via {
            RestoreSource::Snapshot { .. } => "snapshot",
            RestoreSource::Automated { .. } => "automated-backups",
        },
        from: plan.chosen.via.tag(),
        until: shown(plan.until).to_string(),
        resumed: plan.resumed,
        cost: &plan.cost,
        settings: plan.shown(),
        changed: &plan.changed,
        begun_otherwise: &plan.begun_otherwise,
        notes: &plan.notes,
        not_reproduced: plan.not_reproduced(),
    }
}

fn lines(plan: &RdsRestorePlan) -> Vec<String> {
    let row = |label: &str, text: String| format!("{}{label:>20}{:#} {text}", style::NAME, style::NAME);
    let what = plan.id.noun();
    let mut lines = vec![
        row("From", format!("{}, in {}", plan.chosen.via.words(), plan.chosen.region)),
        row("Data until", shown(plan.until).to_string()),
        row("To", format!("{} {what} `{}`", if plan.resumed { "going on with" } else { "a new" }, plan.to())),
    ];
    let set_up = match &plan.profile_of {
        Some(backup) => format!("as recorded with {backup}"),
        None => "as the database is now".to_owned(),
    };
    lines.push(row("Set up", set_up));
    lines.extend(plan.shown().into_iter().map(|setting| row(setting.name, setting.value)));
    lines.extend(plan.changed.iter().map(|changed| row("Changed by you", told(changed))));
    lines.extend(plan.begun_otherwise.iter().map(|words| row("Begun otherwise", words.clone())));
    for NewGroup { group, family, of_cluster } in &plan.parameter_groups {
        let what = if *of_cluster { "cluster parameter group" } else { "parameter group" };
        let text = format!("{what} `{}` ({family}) with {} parameters", group.name, group.parameters.len());
        lines.push(row("Makes", text));
    }
    lines.push(row("Costs", plan.cost.clone()));
    lines.extend(plan.not_reproduced().iter().map(|words| row("Not as before", words.clone())));
    lines.extend(plan.notes.iter().map(|words| row("Note", words.clone())));
    for (region, reason) in &plan.not_asked {
        lines.push(row("Not asked", format!("{region}, which may have more: {reason}")));
    }
    lines
}

/// `class=db.r6g.large, and not db.m7g.large`
fn told(changed: &Changed) -> String {
    let was = changed.was.as_ref().filter(|was| **was != changed.value);
    let was = was.map(|was| format!(", and not {was}"));
    format!("{changed}{}", was.unwrap_or_default())
}

pub(crate) fn show_report(output: &Output, report: &RdsRestoreReport) {
    if output.is_json() {
        output.document("instance-restored", report);
        return;
    }
    let mark = |mark: Option<f64>| mark.map(|mark| format!("after {}", approximate_duration(seconds(mark))));
    let good = style::GOOD;
    output.line(format!(
        "{good}restored{good:#} `{}` in {}: {}:{}, data until {}",
        report.instance,
        report.region,
        report.host,
        report.port,
        shown(report.until)
    ));
    output.line(format!("  {:>10}: {}", "from", report.from));
    if !report.members.is_empty() {
        output.line(format!("  {:>10}: {}", "instances", report.members.join(", ")));
    }
    for (name, mark) in [
        ("available", mark(report.marks.available)),
        ("usable", mark(report.marks.usable)),
        ("validated", mark(report.marks.validated)),
        ("hydrated", mark(report.marks.hydrated)),
        ("backed up", mark(report.marks.backed_up)),
    ] {
        let unreached = || match name {
            "validated" => unvalidated(report),
            "backed up" if report.backups.is_none() && report.members.is_empty() => "no".to_owned(),
            _ => "not known".to_owned(),
        };
        output.line(format!("  {name:>10}: {}", mark.unwrap_or_else(unreached)));
    }
    if let Some(server) = &report.server {
        let tls = if server.tls { "with TLS" } else { "without TLS" };
        let commit = server.newest_commit.map(|time| format!(", newest commit {}", shown(time)));
        output.line(format!(
            "  PostgreSQL {}, logged in {tls}, {} tables{}",
            server.version,
            server.tables,
            commit.unwrap_or_default()
        ));
    }
    report.changed.iter().for_each(|changed| output.line(format!("  changed by you: {}", told(changed))));
    let bad = style::BAD;
    for finding in &report.checks {
        let name = &finding.check;
        output.line(match &finding.verdict {
            CheckVerdict::Pass { found } => format!("  check `{name}`: {good}holds{good:#}, it is {found}"),
            CheckVerdict::Fail { reason } => format!("  check `{name}`: {bad}failed{bad:#}, {reason}"),
            CheckVerdict::Undetermined { reason } => {
                format!("  check `{name}`: could not be asked, {reason}")
            }
        });
    }
    report.notes.iter().for_each(|note| output.line(format!("  {note}")));
    report.not_reproduced.iter().for_each(|words| output.note(format!("note: {words}")));
}

fn unvalidated(report: &RdsRestoreReport) -> String {
    match (report.server.is_some(), report.checks.is_empty()) {
        (false, _) => "not known".to_owned(),
        (true, true) => "not asked: the policy's drill has no queries for this source".to_owned(),
        (true, false) => "no: see the checks".to_owned(),
    }
}
