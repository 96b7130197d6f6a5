//! `drctl runbook`: shows, checks and runs runbooks, and reports what was done.

mod check;
mod closing;
mod incidents;
mod known;
mod list;
mod operator;
mod plan;
mod report;
mod run;
mod show;
mod stakeholders;
mod status;

pub(super) use incidents::incident_damage;

pub(super) use known::checked;
pub(super) use status::{concern, reviewed};

use std::path::PathBuf;

use super::Context;
use super::error::CommandError;
use super::exit::{self, Exit};

/// Be led through an incident, and keep its record
#[derive(Debug, clap::Args)]
pub struct RunbookArgs {
    #[command(subcommand)]
    command: RunbookCommand,
    /// A directory of runbooks; one of the same name replaces drctl's [default: the policy's]
    #[arg(long, global = true, value_name = "DIRECTORY", value_parser = super::path_arg::path())]
    directory: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum RunbookCommand {
    /// List the runbooks, and what leads to each
    #[command(after_help = exit::HELP)]
    List,
    /// Print a runbook
    #[command(after_help = exit::HELP)]
    Show {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Report every fault of runbooks, with its line
    ///
    /// Names, conditions, variables, expectations, links, and every command of drctl, as this version reads it.
    #[command(after_help = exit::HELP)]
    Check {
        /// Runbooks to check [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Be led through a runbook, step by step, or resume where it was left
    ///
    /// Every step is asked about before it is run, and recorded in every repository before and after. Whatever ends it,
    /// `--resume ID` continues, on another host too. A step that began and never ended is asked about.
    ///
    /// Without a terminal, answers are read from stdin, a line each: `run`, `done [NOTE]`, `skip REASON`, `pause`; for a
    /// decision, the answer and the reason.
    #[command(after_help = exit::HELP)]
    Run(Box<run::RunArgs>),
    /// Write the report of an incident: what was done and decided, by whom, how long it took, and what is to do now
    #[command(after_help = exit::HELP)]
    Report(report::ReportArgs),
    /// Say when each runbook was run last, by whom, what failed, and when it is due again
    ///
    /// The exit status is 21 where a runbook is overdue. Incidents that were not ended are listed, too.
    #[command(after_help = exit::HELP)]
    Status,
}

pub(super) async fn run(args: RunbookArgs, context: &Context) -> Result<Exit, CommandError> {
    let directory = args.directory.as_deref();
    match args.command {
        RunbookCommand::List => list::run(directory, context),
        RunbookCommand::Show { name } => show::run(&name, directory, context),
        RunbookCommand::Check { names } => check::run(&names, directory, context),
        RunbookCommand::Run(args) => run::run(*args, directory, context).await,
        RunbookCommand::Report(args) => report::run(args, context).await,
        RunbookCommand::Status => status::run(directory, context).await,
    }
}
