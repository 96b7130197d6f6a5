//! `drctl rds`: what only RDS needs.

mod cleanup;
mod promote;
mod replicate;

use super::Context;
use super::error::CommandError;
use super::exit::Exit;

/// Put a restored instance in production's place, and look after what RDS keeps
#[derive(Debug, clap::Args)]
pub struct RdsArgs {
    #[command(subcommand)]
    command: RdsCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RdsCommand {
    Promote(promote::PromoteArgs),
    ReplicateAutomatedBackups(replicate::ReplicateArgs),
    Reap(cleanup::CleanupArgs),
}

pub(super) async fn run(args: RdsArgs, context: &Context) -> Result<Exit, CommandError> {
    match args.command {
        RdsCommand::Promote(args) => promote::run(args, context).await,
        RdsCommand::ReplicateAutomatedBackups(args) => replicate::run(args, context).await,
        RdsCommand::Reap(args) => cleanup::run(args, context).await,
    }
}
