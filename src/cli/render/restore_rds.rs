//! The human-readable plan and report of a restore into an RDS instance.

use super::duration::seconds;
use super::restore::{Render, notes};
use crate::restore::RestoreReport;
use crate::restore::physical::shown;
use crate::restore::rds::{Changed, NewGroup, RdsDetails, RdsRestorePlan, RdsRestoreRequest};
use crate::text::approximate_duration;

impl Render for RdsRestoreRequest {
    fn plan_rows(plan: &RdsRestorePlan) -> Vec<(&'static str, String)> {
        let what = plan.id.noun();
        let mut lines = vec![
            ("From", format!("{}, in {}", plan.chosen.via.words(), plan.chosen.region)),
            ("Data until", shown(plan.until).to_string()),
            ("To", format!("{} {what} `{}`", if plan.resumed { "resuming" } else { "a new" }, plan.to())),
        ];
        let set_up = match &plan.profile_of {
            Some(backup) => format!("as recorded with {backup}"),
            None => "as the database is now".to_owned(),
        };
        lines.push(("Set up", set_up));
        lines.extend(plan.shown().into_iter().map(|setting| (setting.name, setting.value)));
        lines.extend(plan.changed.iter().map(|changed| ("Changed by you", told(changed))));
        lines.extend(plan.settings_drift.iter().map(|words| ("Begun otherwise", words.clone())));
        for NewGroup { group, family, of_cluster } in plan.parameter_groups() {
            let what = if *of_cluster { "cluster parameter group" } else { "parameter group" };
            let text =
                format!("{what} `{}` ({family}) with {} parameters", group.name, group.parameters.len());
            lines.push(("Makes", text));
        }
        lines.push(("Costs", plan.cost.clone()));
        lines.extend(plan.not_reproduced().iter().map(|words| ("Not as before", words.clone())));
        for (region, reason) in &plan.not_asked {
            lines.push(("Not asked", format!("{region}, which may have more: {reason}")));
        }
        lines.extend(notes(&plan.notes));
        lines
    }

    fn report_lines(report: &RestoreReport<RdsDetails>) -> (String, Vec<String>) {
        let details = &report.details;
        let headline = format!("{}, data until {}", report.to, shown(report.recovery_point));
        let mut lines = Vec::new();
        let mark =
            |mark: Option<f64>| mark.map(|mark| format!("after {}", approximate_duration(seconds(mark))));
        lines.push(format!("  {:>10}: {}", "from", details.from));
        if !details.members.is_empty() {
            lines.push(format!("  {:>10}: {}", "instances", details.members.join(", ")));
        }
        for (name, mark) in [
            ("available", mark(details.marks.available)),
            ("usable", mark(details.marks.usable)),
            ("validated", mark(details.marks.validated)),
            ("hydrated", mark(details.marks.hydrated)),
            ("backed up", mark(details.marks.backed_up)),
        ] {
            let unreached = || match name {
                "validated" => unvalidated(report),
                "backed up" if details.backups.is_none() && details.members.is_empty() => "no".to_owned(),
                _ => "not known".to_owned(),
            };
            lines.push(format!("  {name:>10}: {}", mark.unwrap_or_else(unreached)));
        }
        if let Some(server) = &details.server {
            let tls = if server.tls { "with TLS" } else { "without TLS" };
            let commit = server.newest_commit.map(|time| format!(", newest commit {}", shown(time)));
            lines.push(format!(
                "  PostgreSQL {}, logged in {tls}, {} tables{}",
                server.version,
                server.tables,
                commit.unwrap_or_default()
            ));
        }
        details.changed.iter().for_each(|changed| lines.push(format!("  changed by you: {}", told(changed))));

        lines.extend(details.not_reproduced.iter().map(|words| format!("  not as before: {words}")));
        (headline, lines)
    }
}

/// Returns text like `class=db.r6g.large, and not db.m7g.large`.
fn told(changed: &Changed) -> String {
    let was = changed.was.as_ref().filter(|was| **was != changed.value);
    let was = was.map(|was| format!(", and not {was}"));
    format!("{changed}{}", was.unwrap_or_default())
}

fn unvalidated(report: &RestoreReport<RdsDetails>) -> String {
    // The login is one of the checks.
    match (report.details.server.is_some(), report.checks.len() < 2) {
        (false, _) => "not known".to_owned(),
        (true, true) => "not asked: the policy's drill has no queries for this source".to_owned(),
        (true, false) => "no: see the checks".to_owned(),
    }
}
