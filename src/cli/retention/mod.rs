//! `drctl retention`: what is kept, what goes, and the proof.

mod apply;
mod calendar;
mod plan;
mod simulate;
mod view;

use super::Context;
use super::error::CommandError;
use super::exit::{self, Exit};

/// Remove what the policy's rules no longer keep, after proving what can still be restored
#[derive(Debug, clap::Args)]
pub struct RetentionArgs {
    #[command(subcommand)]
    command: RetentionCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RetentionCommand {
    /// Show what stays and why, what would go, and what can be restored before and after
    #[command(after_help = exit::HELP)]
    Plan,
    /// Remove what the plan shows, in every repository and region
    ///
    /// Refuses what the plan refuses. Rules that were never applied, and plans that remove a large part of what there
    /// is, need the digest that `drctl retention plan` shows.
    #[command(after_help = exit::HELP)]
    Apply(apply::ApplyArgs),
    /// Play the rules forward: count, size and what is restorable on each day
    #[command(after_help = exit::HELP)]
    Simulate(simulate::SimulateArgs),
}

pub(super) async fn run(args: RetentionArgs, context: &Context) -> Result<Exit, CommandError> {
    match args.command {
        RetentionCommand::Plan => plan::run(context).await,
        RetentionCommand::Apply(args) => apply::run(args, context).await,
        RetentionCommand::Simulate(args) => simulate::run(args, context).await,
    }
}
