//! How the plan and the report of a recovery look.

use super::super::output::{Output, style};
use crate::cli::restore::seconds;
use crate::restore::physical::{PhysicalRestorePlan, PhysicalRestoreReport, ResolvedTarget, shown};
use crate::text::{approximate_duration, count, format_size};

/// The plan: the result of `--plan`, otherwise said beside it.
pub(crate) fn show_plan(output: &Output, plan: &PhysicalRestorePlan, is_result: bool) {
    if output.is_json() {
        output.document("recovery-plan", plan);
        return;
    }
    for line in plan_lines(plan) {
        if is_result { output.line(line) } else { output.note(line) }
    }
}

fn plan_lines(plan: &PhysicalRestorePlan) -> Vec<String> {
    let row = |label: &str, text: String| format!("{}{label:>12}{:#} {text}", style::NAME, style::NAME);
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
        row("Target", format!("{}{}", plan.target, if plan.exclusive { ", just before it" } else { "" })),
        row("Backup", format!("{}, whole at {}", plan.backup, shown(plan.recovery_point))),
    ];
    if let Some(full) = plan.chain.first() {
        let between = match plan.chain.len() - 1 {
            0 => String::new(),
            1 => " and one of changes after it".to_owned(),
            more => format!(" and {more} of changes after it"),
        };
        lines.push(row("Builds on", format!("{full}{between}: put together by pg_combinebackup")));
    }
    lines.extend([
        row("From", names(&plan.repositories)),
        row(
            "Log",
            format!(
                "{} ({}) from {} on timeline {}, read from {log_from}",
                count(plan.segments, "segment"),
                format_size(plan.log_bytes),
                plan.begins.lsn,
                plan.begins.timeline
            ),
        ),
        row(
            "Proven",
            format!("without a gap to {} on timeline {}{known}", plan.proven.lsn, plan.proven.timeline),
        ),
        row("Ends", format!("{}, following timeline {}", ends(&plan.goal, plan.exclusive), plan.timeline)),
        row(
            if plan.changes { "Changes" } else { "To" },
            format!("{}, a data directory of PostgreSQL {}", plan.to.display(), plan.major),
        ),
        row(
            "Transfers",
            format!("{}, unpacked {}", format_size(plan.stored_bytes), format_size(plan.plain_bytes)),
        ),
    ]);
    if plan.scratch_bytes > 0 {
        let text = format!("{} more, at most, until they are put together", format_size(plan.scratch_bytes));
        lines.push(row("Scratch", text));
    }
    for space in &plan.tablespaces {
        let what = match space.made_at {
            Some(at) => format!("created by the WAL at {at}"),
            None => format_size(space.bytes),
        };
        let text = format!("{} ({what}), was at {}: to {}", space.oid, space.was, space.to.display());
        lines.push(row("Tablespace", text));
    }
    if let Some(wal) = &plan.wal_directory {
        lines.push(row("WAL", format!("pg_wal is a link to {}", wal.display())));
    }
    if plan.resumes {
        let text = "the recovery of an earlier restore: its files are not fetched again".to_owned();
        lines.push(row("Resumes", text));
    }
    if let Some(owner) = &plan.owner {
        lines.push(row("Owner", owner.clone()));
    }
    let starts = if plan.start { "started, waited for and proven" } else { "not started" };
    lines.push(row("Then", starts.to_owned()));
    lines.extend(plan.notes.iter().map(|note| row("Note", note.clone())));
    lines
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

pub(crate) fn show_report(output: &Output, report: &PhysicalRestoreReport) {
    if output.is_json() {
        output.document("recovery-report", report);
        return;
    }
    let to = report.to.display();
    output.line(format!(
        "{}restored{:#} {} into {to} from {}: {}, {}",
        style::GOOD,
        style::GOOD,
        report.backup,
        report.repository,
        count(report.files, "file"),
        format_size(report.plain_bytes)
    ));
    if report.reused_bytes > 0 {
        output.line(format!("         {} of it stood there already", format_size(report.reused_bytes)));
    }
    match &report.started {
        Some(started) => {
            let last = started.last_commit.map_or_else(
                || "no transaction was replayed".to_owned(),
                |last| format!("the last transaction is of {}", shown(last)),
            );
            output.line(format!("{}recovered{:#} to {}: {last}", style::GOOD, style::GOOD, started.ended_at));
            output.line(format!(
                "         running on 127.0.0.1:{} (process {}) on timeline {}; its log is {}",
                started.port,
                started.process,
                started.timeline,
                started.log.display()
            ));
        }
        None => output.line(format!("         start it with: pg_ctl -D {to} start")),
    }
    for phase in &report.phases {
        output.line(format!(
            "{:>16}  {}",
            phase.phase.as_str(),
            approximate_duration(seconds(phase.seconds))
        ));
    }
    output.line(format!("{:>16}  {}", "in all", approximate_duration(seconds(report.seconds))));
    let note = |text: &str| output.note(format!("{}note:{:#} {text}", style::NAME, style::NAME));
    report.notes.iter().for_each(|text| note(text));
    if report.started.is_some() {
        note(
            "it listens on this host only, by the options it was started with: restart it to use its own configuration",
        );
    }
}
