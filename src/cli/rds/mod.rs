//! `drctl rds`: commands that exist for RDS only.

mod cleanup;
mod promote;
mod replicate;

use super::Context;
use super::error::CommandError;
use super::exit::Exit;

/// Promote a restored instance to production, and administer what RDS keeps
#[derive(Debug, clap::Args)]
pub struct RdsArgs {
    #[command(subcommand)]
    command: RdsCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RdsCommand {
    Promote(promote::PromoteArgs),
    ReplicateAutomatedBackups(replicate::ReplicateArgs),
    Cleanup(cleanup::CleanupArgs),
}

pub(super) async fn run(args: RdsArgs, context: &Context) -> Result<Exit, CommandError> {
    match args.command {
        RdsCommand::Promote(args) => promote::run(args, context).await,
        RdsCommand::ReplicateAutomatedBackups(args) => replicate::run(args, context).await,
        RdsCommand::Cleanup(args) => cleanup::run(args, context).await,
    }
}
