//! `drctl demo`: an application is backed up, lost, and restored, twice, while the user watches.
//!
//! *Invariants.* Nothing is simulated: each command it shows is parsed and run as if it had been typed, and
//! whether the data came back is verified in the databases themselves. Everything is in one temporary folder,
//! which is removed at the end together with the server, unless `--keep` was given.
//!
//! PostgreSQL refuses to run as root, and archives and fetches WAL as its own user: started by root, the demo
//! continues as that user ([`drop_privileges`]).

mod database;
mod drop_privileges;
mod files;
mod sandbox;
mod script;
mod server;

use std::path::PathBuf;
use std::pin::Pin;

use super::Context;
use super::error::CommandError;
use super::exit::Exit;

use sandbox::DemoSandbox;

/// Back up a throw-away application, lose it, and get it back
///
/// Starts its own PostgreSQL server in a temporary folder; needs only PostgreSQL's programs.
#[derive(Debug, clap::Args)]
#[command(after_help = super::exit::HELP)]
pub struct DemoArgs {
    /// Keep the server, the repositories and the keys to explore, and print how
    #[arg(long)]
    keep: bool,
    /// Its temporary folder, when it continues as another user
    #[arg(long, hide = true, value_name = "DIRECTORY")]
    within: Option<PathBuf>,
}

/// A running command, which returns its exit status.
pub(super) type RunCommand<'a> = Pin<Box<dyn Future<Output = Result<Exit, CommandError>> + 'a>>;

/// Parses the words after `drctl` and runs them: passed by the dispatcher, which knows all verbs.
pub(super) type RunTyped = for<'a> fn(&[&str], &'a Context) -> RunCommand<'a>;

pub(super) async fn run(args: DemoArgs, context: &Context, drctl: RunTyped) -> Result<Exit, CommandError> {
    if context.output.is_json() {
        return Err(CommandError::usage("the demo is for people to watch, and writes no JSON"));
    }
    if args.within.is_none() && rustix::process::geteuid().is_root() {
        return Err(drop_privileges::go_on(&context.cancel).await);
    }
    let mut stage = DemoSandbox::set(context, drctl, args.within).await?;
    let told = script::tell(&mut stage).await;
    if args.keep && told.is_ok() {
        stage.leave();
        return Ok(Exit::Done);
    }
    // The server is stopped before its files are removed, whatever happened.
    let torn_down = stage.teardown().await;
    told?;
    torn_down?;
    Ok(Exit::Done)
}
