use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::Context;
use super::catalog_view::Freshness;
use super::error::CommandError;
use super::exit::Exit;
use super::path_arg;
use super::policy_files::{policy_files, watch_all};
use super::style;
use super::system_status::snapshot_exit;
use super::table::{Cell, TextTable};
use crate::monitor::{FleetLine, Severity, Watched, worst_first};
use crate::text::{approximate_duration, count, format_time};

/// Look at many systems at once
#[derive(Debug, clap::Args)]
#[command(after_help = super::exit::HELP)]
pub struct FleetArgs {
    #[command(subcommand)]
    what: FleetCommand,
}

#[derive(Debug, Subcommand)]
enum FleetCommand {
    /// Show every system of a directory of policies, a line each, the worst first
    ///
    /// The exit status is that of `drctl status` for the worst of them.
    Status(FleetStatusArgs),
}

#[derive(Debug, clap::Args)]
struct FleetStatusArgs {
    /// Directories of policies, and policies [default: the policy, or the directory, of `--policy`]
    #[arg(value_name = "DIRECTORY", value_parser = path_arg::path())]
    policies: Vec<PathBuf>,
    #[command(flatten)]
    freshness: Freshness,
}

pub(super) async fn run(args: FleetArgs, context: &Context) -> Result<Exit, CommandError> {
    match args.what {
        FleetCommand::Status(args) => status(&args, context).await,
    }
}

#[derive(Serialize)]
struct FleetDocument<'a> {
    systems: &'a [FleetLine],
    /// How many there are of each severity.
    critical: usize,
    warning: usize,
    good: usize,
}

async fn status(args: &FleetStatusArgs, context: &Context) -> Result<Exit, CommandError> {
    let paths = policy_files(&args.policies, context)?;
    let watched = watch_all(&paths, args.freshness.offline, context).await;
    let lines = worst_first(&watched);
    let number = |severity| lines.iter().filter(|line| line.severity == severity).count();
    let [critical, warning, good] = [Severity::Critical, Severity::Warning, Severity::Good].map(number);
    if context.output.is_json() {
        context.output.document("fleet-status", &FleetDocument { systems: &lines, critical, warning, good });
    } else {
        show(context, &lines);
        let systems = count(lines.len() as u64, "system");
        context.output.line(format!("{systems}: {critical} at risk, {warning} with a warning, {good} good"));
    }
    let exit = watched.iter().map(exit).max_by_key(|exit| rank(*exit)).unwrap_or(Exit::Done);
    if exit != Exit::Done
        && let Some(worst) = lines.first()
    {
        let problem = worst.problems.first().map_or("", String::as_str);
        context.output.reason(format!("{}: {problem}", worst.system));
    }
    Ok(exit)
}

fn exit(watched: &Watched) -> Exit {
    match (&watched.failed, &watched.snapshot) {
        (None, Some(snapshot)) => snapshot_exit(snapshot),
        _ => Exit::Failed,
    }
}

/// Returns how bad a status is, from the best to the worst: of what is not known the worst is assumed.
fn rank(exit: Exit) -> u8 {
    match exit {
        Exit::Done => 0,
        Exit::Partly => 1,
        Exit::Undetermined => 2,
        Exit::ObjectiveMissed => 3,
        Exit::Nothing => 4,
        _ => 5,
    }
}

/// Returns the worst problem, and how many more there are.
fn problem(line: &FleetLine) -> String {
    let Some(first) = line.problems.first() else { return String::new() };
    let first = first.replace('\n', " ");
    match line.problems.len() - 1 {
        0 => first,
        more => format!("{first} (and {more} more)"),
    }
}

fn show(context: &Context, lines: &[FleetLine]) {
    let head = ["SYSTEM", "STATE", "LOSES", "LAST BACKUP", "DRILL PASSED", "RETENTION", "LATE", "PROBLEM"];
    let mut table = TextTable::head(head.map(Cell::new));
    for line in lines {
        let at = |time: Option<_>| time.map_or_else(|| "never".to_owned(), format_time);
        let (word, style) = match line.severity {
            Severity::Good => ("good", style::GOOD),
            Severity::Warning => ("warning", style::WARN),
            Severity::Critical => ("at risk", style::BAD),
        };
        let loses = match line.loses_seconds {
            _ if line.loses_everything => "everything".to_owned(),
            Some(seconds) => approximate_duration(std::time::Duration::from_secs(seconds)),
            None => "unknown".to_owned(),
        };
        let is_known = line.collected.is_some();
        let known = |text: String| Cell::new(if is_known { text } else { "unknown".to_owned() });
        table.row([
            Cell::new(&line.system).style(style::STRONG),
            Cell::new(word).style(style),
            known(loses),
            known(at(line.last_backup)),
            known(at(line.drill_passed)),
            known(at(line.retention_applied)),
            known(line.late.to_string()),
            // A table has one line a system.
            Cell::new(problem(line)),
        ]);
    }
    table.lines().iter().for_each(|line| context.output.line(line.trim_end()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_the_worst() {
        let worst = |exits: &[Exit]| exits.iter().copied().max_by_key(|exit| rank(*exit));
        assert_eq!(worst(&[Exit::Done, Exit::Partly]), Some(Exit::Partly));
        assert_eq!(worst(&[Exit::ObjectiveMissed, Exit::Nothing, Exit::Partly]), Some(Exit::Nothing));
        assert_eq!(worst(&[Exit::Failed, Exit::Nothing]), Some(Exit::Failed));
    }
}
