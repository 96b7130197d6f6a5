//! The human-readable plan and report of a restore of content.

use super::duration::seconds;
use super::restore::{Render, notes};
use crate::restore::RestoreReport;
use crate::restore::content::{ContentDetails, ContentRestorePlan, ContentRestoreRequest};
use crate::text::{approximate_duration, format_size, format_time};

impl Render for ContentRestoreRequest {
    fn plan_rows(plan: &ContentRestorePlan) -> Vec<(&'static str, String)> {
        let age = approximate_duration(seconds(plan.age_seconds as f64));
        let mut rows = vec![
            ("Backup", plan.backup.to_string()),
            ("Data of", format!("{} ({age} ago)", format_time(plan.recovery_point))),
            ("To", plan.to.clone()),
            ("Size", format!("{}, {} stored", format_size(plan.bytes), format_size(plan.stored_bytes))),
        ];
        if let [full, increments @ ..] = &plan.backups[..]
            && !increments.is_empty()
        {
            rows.push(("Builds on", format!("{full}, and {} after it", increments.len())));
        }
        rows.extend(notes(&plan.notes));
        rows
    }

    fn report_lines(report: &RestoreReport<ContentDetails>) -> (String, Vec<String>) {
        let backup = report.backup.as_ref().map(ToString::to_string).unwrap_or_default();
        let counts = match &report.details.counts[..] {
            [] => String::new(),
            counts => format!(": {}", counts.join(", ")),
        };
        let headline =
            format!("{backup} to {}, of {}{counts}", report.to, format_time(report.recovery_point));
        (headline, vec![])
    }
}
