//! `drctl drill`: runs drills, and shows what they found and whether one is overdue.

mod ack;
mod drill_request;
mod known_drills;
mod lines;
mod list;
mod report;
mod run;
mod run_args;
mod several;
mod show;
mod view;

use super::Context;
use super::error::CommandError;
use super::exit::{self, Exit};
use crate::drill::integrity::Damage;
use crate::policy::Policy;

/// Practise a restore, and show what past drills proved and measured
#[derive(Debug, clap::Args)]
pub struct DrillArgs {
    #[command(subcommand)]
    command: DrillCommand,
}

#[derive(Debug, clap::Subcommand)]
enum DrillCommand {
    Run(Box<run_args::RunArgs>),
    /// List the drills, newest first, what a recovery would take today, and whether a drill is overdue
    ///
    /// The exit status is 20 where a record was changed or removed, 3 where a repository could not be read, and 21 where
    /// a drill is overdue: it was due, its grace is over, and there is no record of it.
    #[command(after_help = exit::HELP)]
    List(list::ListArgs),
    /// Show everything about one drill
    #[command(after_help = exit::HELP)]
    Show(show::ShowArgs),
    /// Write a report of one drill, or of every drill that was due in a period
    ///
    /// With `--from`, every time at which the policy's schedule asked for a drill is listed, with what became of it.
    #[command(after_help = exit::HELP)]
    Report(report::ReportArgs),
    /// Record that a named person has seen a drill; its verdict stays
    #[command(after_help = exit::HELP)]
    Ack(ack::AckArgs),
}

/// Returns the records of drills that do not hold, and whether every repository was read.
pub(super) async fn damage(context: &Context, policy: Policy) -> (Vec<Damage>, bool) {
    let view = known_drills::DrillView::of_policy(context, policy).await;
    (view.evidence.damage, view.unread.is_empty())
}

pub(super) async fn run(args: DrillArgs, context: &Context) -> Result<Exit, CommandError> {
    match args.command {
        DrillCommand::Run(args) if !args.also.is_empty() => several::run(&args, context).await,
        DrillCommand::Run(args) => run::run(*args, context).await,
        DrillCommand::List(args) => list::run(args, context).await,
        DrillCommand::Show(args) => show::run(args, context).await,
        DrillCommand::Report(args) => report::run(args, context).await,
        DrillCommand::Ack(args) => ack::run(args, context).await,
    }
}
