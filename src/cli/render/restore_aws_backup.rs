//! The human-readable plan and report of a resource's restore.

use super::duration::seconds;
use super::restore::{Render, notes};
use crate::restore::RestoreReport;
use crate::restore::aws_backup::{EarlierJob, ResourceDetails, ResourceRestorePlan, ResourceRestoreRequest};
use crate::text::{approximate_duration, format_time};

impl Render for ResourceRestoreRequest {
    fn plan_rows(plan: &ResourceRestorePlan) -> Vec<(&'static str, String)> {
        let age = approximate_duration(seconds(plan.age_seconds as f64));
        let mut lines = vec![
            ("Backup", plan.backup.to_string()),
            ("Data of", format!("{} ({age} ago)", format_time(plan.recovery_point))),
            ("Of", format!("{} ({})", plan.resource, plan.resource_type)),
            ("From", format!("{} in vault `{}`, {}", plan.point, plan.vault, plan.region)),
            ("As", plan.role.clone()),
        ];
        lines.extend(plan.metadata.iter().map(|(key, value)| ("With", format!("{key} = {value}"))));
        lines.extend(
            plan.left_out
                .iter()
                .map(|left| ("Without", format!("{} = {}: {}", left.key, left.value, left.reason))),
        );
        lines.extend(plan.earlier.as_ref().map(|earlier| ("Job", earlier_text(earlier))));
        lines.extend(notes(&plan.notes));
        lines
    }

    fn report_lines(report: &RestoreReport<ResourceDetails>) -> (String, Vec<String>) {
        let details = &report.details;
        let backup = report.backup.as_ref().map(ToString::to_string).unwrap_or_default();
        let took = details.job_seconds.map(|took| format!(" in {}", approximate_duration(seconds(took))));
        let before = match (details.was_over, details.is_unseen) {
            (true, true) => ", which was restored before",
            (true, false) => ", which was restored before, and is there",
            (false, _) => "",
        };
        let issues = if details.issues.is_empty() { "" } else { ", which completed with issues" };
        let headline = format!(
            "{backup} to {}, by job {}{}{before}{issues}",
            report.to,
            details.job,
            took.unwrap_or_default()
        );
        (headline, vec![])
    }
}

fn earlier_text(earlier: &EarlierJob) -> String {
    let begun = earlier.begun.map(|time| format!(" at {}", format_time(time))).unwrap_or_default();
    match (earlier.is_over, earlier.is_there) {
        (true, Some(_)) => format!(
            "{}, started{begun} with the same metadata, has ended, and what it made exists: nothing is started without `--again`",
            earlier.job
        ),
        (true, None) => format!(
            "{}, started{begun} with the same metadata, has ended: nothing is started without `--again`, and whether what it made still exists is not known",
            earlier.job
        ),
        (false, _) => format!("{}, started{begun} with the same metadata, is resumed", earlier.job),
    }
}
