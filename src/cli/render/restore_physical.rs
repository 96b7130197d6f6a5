//! The human-readable plan and report of a physical restore.

use super::super::style;
use super::restore::{Render, notes};
use crate::restore::RestoreReport;
use crate::restore::physical::{
    PhysicalDetails, PhysicalRestorePlan, PhysicalRestoreRequest, ResolvedTarget, shown,
};
use crate::text::{count, format_size};

const UNKNOWN_LIBRARIES: &str = "the backup does not say which the server loads: those whose background workers are known to run jobs are left out, and the report names them";

impl Render for PhysicalRestoreRequest {
    fn plan_rows(plan: &PhysicalRestorePlan) -> Vec<(&'static str, String)> {
        let names = |names: &[crate::model::RepositoryName]| {
            names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", then ")
        };
        let log_from =
            if plan.log_from.is_empty() { "every repository".to_owned() } else { names(&plan.log_from) };
        let known = match (plan.newest_commit, plan.complete_until) {
            (Some(newest), _) => format!(", newest commit {}", shown(newest)),
            (None, Some(complete)) => format!(", complete until {}", shown(complete)),
            (None, None) => String::new(),
        };
        let mut lines = vec![
            ("Target", format!("{}{}", plan.target, if plan.exclusive { ", just before it" } else { "" })),
            ("Backup", format!("{}, whole at {}", plan.backup, shown(plan.recovery_point))),
        ];
        if let Some(full) = plan.chain.first() {
            let between = match plan.chain.len() - 1 {
                0 => String::new(),
                1 => " and one of changes after it".to_owned(),
                more => format!(" and {more} of changes after it"),
            };
            lines.push(("Builds on", format!("{full}{between}: put together by pg_combinebackup")));
        }
        lines.extend([
            ("From", names(&plan.repositories)),
            (
                "WAL",
                format!(
                    "{} ({}) from {} on timeline {}, read from {log_from}",
                    count(plan.segments, "segment"),
                    format_size(plan.log_bytes),
                    plan.begins.lsn,
                    plan.begins.timeline
                ),
            ),
            (
                "Proven",
                format!("without a gap to {} on timeline {}{known}", plan.proven.lsn, plan.proven.timeline),
            ),
            ("Ends", format!("{}, following timeline {}", ends(&plan.goal, plan.exclusive), plan.timeline)),
            (
                if plan.changes { "Changes" } else { "To" },
                format!("{}, a data directory of PostgreSQL {}", plan.to.display(), plan.major),
            ),
            (
                "Transfers",
                format!("{}, unpacked {}", format_size(plan.stored_bytes), format_size(plan.plain_bytes)),
            ),
        ]);
        if plan.scratch_bytes > 0 {
            let text =
                format!("{} more, at most, until they are put together", format_size(plan.scratch_bytes));
            lines.push(("Scratch", text));
        }
        for space in &plan.tablespaces {
            let what = match space.made_at {
                Some(at) => format!("created by the WAL at {at}"),
                None => format_size(space.bytes),
            };
            let text = format!("{} ({what}), was at {}: to {}", space.oid, space.was, space.to.display());
            lines.push(("Tablespace", text));
        }
        if let Some(wal) = &plan.wal_directory {
            lines.push(("WAL", format!("pg_wal is a link to {}", wal.display())));
        }
        if plan.resumes {
            let text = "the recovery of an earlier restore: its files are not fetched again".to_owned();
            lines.push(("Resumes", text));
        }
        if let Some(owner) = &plan.owner {
            lines.push(("Owner", owner.clone()));
        }
        match &plan.libraries {
            Some(libraries) => {
                lines.extend(libraries.iter().map(|library| ("Library", library.to_string())));
            }
            None => lines.push(("Libraries", UNKNOWN_LIBRARIES.to_owned())),
        }
        let starts = if plan.start { "started, waited for and proven" } else { "not started" };
        lines.push(("Then", starts.to_owned()));
        lines.extend(notes(&plan.notes));
        lines
    }

    fn report_lines(report: &RestoreReport<PhysicalDetails>) -> (String, Vec<String>) {
        let details = &report.details;
        let backup = report.backup.as_ref().map(ToString::to_string).unwrap_or_default();
        let headline = format!(
            "{backup} into {} from {}: {}, {}",
            report.to,
            details.repository,
            count(details.files, "file"),
            format_size(details.plain_bytes)
        );
        let mut lines = Vec::new();
        if details.reused_bytes > 0 {
            lines.push(format!("         {} of it stood there already", format_size(details.reused_bytes)));
        }
        match &details.started {
            Some(started) => {
                let last = started.last_commit.map_or_else(
                    || "no transaction was replayed".to_owned(),
                    |last| format!("the last transaction is of {}", shown(last)),
                );
                let good = style::GOOD;
                lines.push(format!("{good}recovered{good:#} to {}: {last}", started.ended_at));
                lines.push(format!(
                    "         running on 127.0.0.1:{} (process {}) on timeline {}; its log is {}",
                    started.port,
                    started.process,
                    started.timeline,
                    started.log.display()
                ));
                lines.push(
                    "         by the options it was started with it listens on this host only: restart it to use its own configuration"
                        .to_owned(),
                );
            }
            None => lines.push(format!("         start it with: pg_ctl -D {} start", report.to)),
        }
        (headline, lines)
    }
}

fn ends(goal: &ResolvedTarget, exclusive: bool) -> String {
    match goal {
        ResolvedTarget::End => "where the archive ends".to_owned(),
        ResolvedTarget::Until(lsn) => format!("at {lsn}, where the archive ends now"),
        ResolvedTarget::Time(time) if exclusive => {
            format!("before the first commit at {} or after it", shown(*time))
        }
        ResolvedTarget::Lsn(_) | ResolvedTarget::Transaction(_) | ResolvedTarget::Name(_) if exclusive => {
            format!("just before: {}", ends(goal, false))
        }
        ResolvedTarget::Time(time) => format!("before the first commit after {}", shown(*time)),
        ResolvedTarget::Lsn(lsn) => format!("at {lsn}"),
        ResolvedTarget::Transaction(number) => format!("with transaction {number}"),
        ResolvedTarget::Name(name) => format!("at restore point `{name}`"),
    }
}
