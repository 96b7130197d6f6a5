//! Tells people what came of a command: the one place from where notices and heartbeats are sent.

mod around;
mod list;
mod test;

pub(super) use around::{Concluded, around, around_with, newest_data};

use super::Context;
use super::error::CommandError;
use super::exit::Exit;

/// Tell people, by the channels of the policy
#[derive(Debug, clap::Args)]
pub struct NotifyArgs {
    #[command(subcommand)]
    command: NotifyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum NotifyCommand {
    /// Send a test to each channel, and say what became of it
    #[command(after_help = super::exit::HELP)]
    Test(test::TestArgs),
    /// List the open notices, and which channels took them
    #[command(after_help = super::exit::HELP)]
    List,
}

pub(super) async fn run(args: NotifyArgs, context: &Context) -> Result<Exit, CommandError> {
    match args.command {
        NotifyCommand::Test(args) => test::run(args, context).await,
        NotifyCommand::List => list::run(context).await,
    }
}
