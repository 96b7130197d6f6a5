//! `drctl demo`: a database is backed up, lost, and restored, twice, before one's eyes.
//!
//! *Invariants.* Nothing is pretended: each command it shows is parsed and run as if it had been typed, and
//! whether the data came back is asked of the databases themselves. Everything lies in one temporary folder,
//! which is gone at the end, and so is the server, unless `--keep` was given.
//!
//! PostgreSQL refuses to run as root, and what it archives and fetches it does as its own user: started by
//! root, the demo goes on as that user ([`drop_privileges`]).

mod database;
mod drop_privileges;
mod sandbox;
mod script;
mod server;

use std::path::PathBuf;
use std::pin::Pin;

use super::Context;
use super::error::CommandError;
use super::exit::Exit;

use sandbox::DemoSandbox;

/// Back up a throw-away database, lose it, and get it back
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

/// A command on its way, which ends with its exit status.
pub(super) type RunCommand<'a> = Pin<Box<dyn Future<Output = Result<Exit, CommandError>> + 'a>>;

/// Parses the words after `drctl` and runs them: given by the dispatcher, which knows all verbs.
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
    // The server ends before its files go, whatever happened.
    let torn_down = stage.teardown().await;
    told?;
    torn_down?;
    Ok(Exit::Done)
}
