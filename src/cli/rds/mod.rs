//! `drctl rds`: what only RDS needs.

mod promote;

use super::Context;
use super::error::CommandError;
use super::exit::Exit;

/// Put a restored instance in production's place
#[derive(Debug, clap::Args)]
pub struct RdsArgs {
    #[command(subcommand)]
    command: RdsCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RdsCommand {
    Promote(promote::PromoteArgs),
}

pub(super) async fn run(args: RdsArgs, context: &Context) -> Result<Exit, CommandError> {
    match args.command {
        RdsCommand::Promote(args) => promote::run(args, context).await,
    }
}
