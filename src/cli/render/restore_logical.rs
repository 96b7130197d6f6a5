//! The human-readable plan and report of a dump's restore.

use super::duration::seconds;
use super::restore::{Render, notes};
use crate::restore::RestoreReport;
use crate::restore::logical::{
    DumpDetails, DumpRestorePlan, DumpRestoreRequest, DumpTransfer, GlobalsPlan, LeftoverDatabase, LoadsInto,
};
use crate::text::{approximate_duration, count, format_size, format_time};

impl Render for DumpRestoreRequest {
    fn plan_rows(plan: &DumpRestorePlan) -> Vec<(&'static str, String)> {
        let age = approximate_duration(seconds(plan.age_seconds as f64));
        let from: Vec<&str> = plan.repositories.iter().map(|name| name.as_str()).collect();
        let mut lines = vec![
            ("Backup", plan.backup.to_string()),
            ("Data of", format!("{} ({age} ago)", format_time(plan.recovery_point))),
            ("From", from.join(", then ")),
            (
                "To",
                format!(
                    "{}, {} on {} (PostgreSQL {})",
                    plan.database,
                    new_or_empty(plan),
                    plan.server,
                    plan.server_version
                ),
            ),
            (
                "Holds",
                format!(
                    "{} with {}{}, {} on disk where it was dumped",
                    count(plan.tables, "table"),
                    count(plan.rows, "row"),
                    large_objects(plan),
                    format_size(plan.database_bytes)
                ),
            ),
            (
                "Transfers",
                format!("{}, unpacked {}", format_size(plan.stored_bytes), format_size(plan.plain_bytes)),
            ),
            (
                "Loads as",
                format!("{} with {}, {}", loads_as(plan), count(u64::from(plan.jobs), "job"), plan.tool),
            ),
            ("Scratch", scratch(plan)),
            ("Takes", estimate(plan)),
        ];
        if let Some(selection) = &plan.selection {
            lines.push(("Only", selection.clone()));
        }
        if let Some(exclusion) = &plan.exclusion {
            lines.push(("Without", exclusion.clone()));
        }
        if let Some(globals) = &plan.globals {
            let made: Vec<String> = globals
                .roles
                .iter()
                .map(|role| format!("role {role}"))
                .chain(globals.tablespaces.iter().map(|name| tablespace(globals, name)))
                .collect();
            let none = "nothing, all of them exist".to_owned();
            lines.push(("Makes first", if made.is_empty() { none } else { made.join(", ") }));
            lines.extend(globals.left_out.iter().map(|text| ("Leaves out", text.clone())));
            if !globals.joined.is_empty() {
                lines.push(("Joins", format!("{}, to give them what they own", globals.joined.join(", "))));
            }
        }
        lines.extend(
            plan.leftovers.iter().map(|leftover| ("Left over", leftover_text(leftover, plan.drop_leftovers))),
        );
        lines.extend(notes(&plan.notes));
        lines
    }

    fn report_lines(report: &RestoreReport<DumpDetails>) -> (String, Vec<String>) {
        let backup = report.backup.as_ref().map(ToString::to_string).unwrap_or_default();
        (format!("{backup} into {} from {}", report.to, report.details.repository), vec![])
    }

    fn warnings(report: &RestoreReport<DumpDetails>) -> Vec<String> {
        let globals = report.details.globals.iter().filter(|globals| !globals.need_password.is_empty());
        globals
            .map(|globals| format!("these roles need a password now: {}", globals.need_password.join(", ")))
            .collect()
    }
}

fn large_objects(plan: &DumpRestorePlan) -> String {
    match plan.large_objects {
        0 => String::new(),
        number if plan.restores_large_objects => format!(", {}", count(number, "large object")),
        number => format!(", none of {} in the backup", count(number, "large object")),
    }
}

fn tablespace(globals: &GlobalsPlan, name: &str) -> String {
    match globals.locations.iter().find(|place| place.tablespace == name) {
        Some(place) => format!("tablespace {name} in {}", place.location),
        None => format!("tablespace {name}"),
    }
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
