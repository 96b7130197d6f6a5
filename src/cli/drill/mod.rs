//! `drctl drill`: restores for real, in a sandbox, and what came of it.

mod run;
mod view;

use super::Context;
use super::error::CommandError;
use super::exit::Exit;

/// Restore for real, in a sandbox: check, measure RTO and RPO, and keep the evidence
#[derive(Debug, clap::Args)]
pub struct DrillArgs {
    #[command(subcommand)]
    command: DrillCommand,
}

#[derive(Debug, clap::Subcommand)]
enum DrillCommand {
    Run(Box<run::RunArgs>),
}

pub(super) async fn run(args: DrillArgs, context: &Context) -> Result<Exit, CommandError> {
    match args.command {
        DrillCommand::Run(args) => run::run(*args, context).await,
    }
}
