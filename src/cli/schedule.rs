use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::Context;
use super::catalog_view::{CatalogView, Freshness};
use super::error::CommandError;
use super::exit::Exit;
use super::run_due::history;
use super::style;
use super::table::{Cell, TextTable};
use crate::policy::{Policy, RepositoryLocation};
use crate::schedule::{ExportFormat, ExportRequest, TaskState, Turn, export, scheduled_tasks, task_states};
use crate::text::{count, format_time};

/// Show what the policy schedules, and write the files that have it done
#[derive(Debug, clap::Args)]
#[command(after_help = super::exit::HELP)]
pub struct ScheduleArgs {
    #[command(subcommand)]
    what: ScheduleCommand,
}

#[derive(Debug, Subcommand)]
enum ScheduleCommand {
    /// Show each task: when it last succeeded, whether it is due or late, and when it comes next
    List(ListArgs),
    /// Write the files that wake `drctl run-due` every few minutes
    Export(ExportArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    freshness: Freshness,
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    /// For whom
    #[arg(value_enum)]
    format: Format,
    /// Into this directory [default: to stdout]
    #[arg(long, value_name = "DIRECTORY", value_parser = super::path_arg::path())]
    to: Option<PathBuf>,
    /// The user that drctl runs as; for cron, a file of `/etc/cron.d` instead of a line of a crontab
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The container image with drctl and PostgreSQL's programs (Kubernetes)
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// The namespace (Kubernetes) [default: default]
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A line of cron
    Cron,
    /// A service and its timer
    Systemd,
    /// A CronJob
    Kubernetes,
}

pub(super) async fn run(args: ScheduleArgs, context: &Context) -> Result<Exit, CommandError> {
    match args.what {
        ScheduleCommand::List(args) => list(args, context).await,
        ScheduleCommand::Export(args) => write(args, context),
    }
}

#[derive(Serialize)]
struct ScheduleDocument<'a> {
    system: &'a str,
    timezone: &'a str,
    tasks: &'a [TaskState],
}

async fn list(args: ListArgs, context: &Context) -> Result<Exit, CommandError> {
    let view = CatalogView::open(context, args.freshness.offline).await?;
    let tasks = scheduled_tasks(&view.policy);
    let states = task_states(&tasks, &history(&view).await?, context.clock.now());
    view.catalog.close().await;
    if context.output.is_json() {
        let (system, timezone) = (view.policy.system.as_str(), view.policy.schedule.timezone.name());
        context.output.document("schedule", &ScheduleDocument { system, timezone, tasks: &states });
    } else {
        show(context, &view.policy, &states);
    }
    let late = states.iter().filter(|state| state.is_late).count();
    if late > 0 {
        context.output.reason(format!("late: {}", count(late as u64, "task")));
        return Ok(Exit::Partly);
    }
    Ok(Exit::Done)
}

fn show(context: &Context, policy: &Policy, states: &[TaskState]) {
    let output = &context.output;
    if states.is_empty() {
        output.line("the policy schedules nothing");
        output.note("hint: `[schedule]` in the policy says when; `drctl policy schema` describes its keys.");
        return;
    }
    let mut table = TextTable::head(["TASK", "SCHEDULE", "LAST SUCCESS", "STATE", "NEXT"].map(Cell::new));
    for state in states {
        let at = |time: Option<_>| time.map_or_else(|| "never".to_owned(), format_time);
        let (word, style) = described(state);
        table.row([
            Cell::new(state.task.to_string()).style(style::STRONG),
            Cell::new(match state.schedule.is_empty() {
                true => "when a copy is missing".to_owned(),
                false => state.schedule.join(", "),
            }),
            Cell::new(at(state.succeeded)),
            Cell::new(word).style(style),
            Cell::new(state.next.map(format_time).unwrap_or_default()),
        ]);
    }
    table.lines().iter().for_each(|line| output.line(line));
    output.note(format!(
        "note: the lines of the schedule are in {}, the times of this table in UTC",
        policy.schedule.timezone
    ));
}

fn described(state: &TaskState) -> (String, anstyle::Style) {
    let missed = match state.missed {
        0 => String::new(),
        missed => format!(", {missed} missed"),
    };
    match state.turn {
        Turn::Waits => ("done".to_owned(), style::GOOD),
        Turn::NothingYet => ("no backup yet".to_owned(), style::FAINT),
        Turn::Due if state.is_late => (format!("late{missed}"), style::BAD),
        Turn::Due => ("due".to_owned(), style::WARN),
        Turn::TriedAgain { at } => (format!("failed, tried again at {}", at.format("%H:%M")), style::WARN),
        Turn::GivenUp { attempts } => (format!("failed {attempts} times"), style::BAD),
    }
}

fn write(args: ExportArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    if scheduled_tasks(&policy).is_empty() {
        return Err(CommandError::usage("the policy schedules nothing")
            .hint("`[schedule]` in the policy says when; `drctl policy schema` describes its keys."));
    }
    let path = context.policy_path()?;
    let absolute = |path: PathBuf| {
        std::path::absolute(&path).map_err(|error| {
            CommandError::failed(error).context(format!("failed to resolve `{}`", path.display()))
        })
    };
    let program = std::env::current_exe()
        .map_err(|error| CommandError::failed(error).context("failed to find this drctl's own path"))?;
    let request = ExportRequest {
        format: match args.format {
            Format::Cron => ExportFormat::Cron,
            Format::Systemd => ExportFormat::Systemd,
            Format::Kubernetes => ExportFormat::Kubernetes,
        },
        system: policy.system.clone(),
        program,
        policy: absolute(path)?,
        user: args.user,
        writes: written(&policy).into_iter().map(absolute).collect::<Result<_, _>>()?,
        image: args.image,
        namespace: args.namespace,
    };
    let files = export(&request).map_err(|error| {
        CommandError::usage(error).hint("`drctl schedule export --help` has the options.")
    })?;
    let Some(directory) = args.to else {
        files.iter().for_each(|file| context.output.line(file.contents.trim_end()));
        return Ok(Exit::Done);
    };
    for file in &files {
        let path = directory.join(&file.name);
        write_new(&path, &file.contents).map_err(|error| {
            let hint = "A file that exists is not overwritten: remove it, or name another directory.";
            CommandError::failed(error).context(format!("failed to write `{}`", path.display())).hint(hint)
        })?;
        context.output.line(format!("wrote {}", path.display()));
    }
    Ok(Exit::Done)
}

fn write_new(path: &Path, contents: &str) -> std::io::Result<()> {
    std::fs::File::create_new(path)?.write_all(contents.as_bytes())
}

/// Returns the directories that tasks write to, beside drctl's own.
fn written(policy: &Policy) -> Vec<PathBuf> {
    let directories = policy.repositories.iter().filter_map(|repository| match &repository.place {
        RepositoryLocation::Directory(path) => Some(path.clone()),
        RepositoryLocation::S3 { .. } => None,
    });
    let drill = policy.drill.iter().filter_map(|drill| drill.directory.clone());
    directories.chain(drill).collect()
}
