//! `drctl recovery`: the steps after a cluster was restored.

use std::path::PathBuf;

use serde::Serialize;

use super::Context;
use super::error::CommandError;
use super::exit::Exit;
use super::style;
use crate::restore::physical::{ReleaseError, release};

/// Prepare a restored cluster for production
#[derive(Debug, clap::Args)]
pub struct RecoveryArgs {
    #[command(subcommand)]
    command: RecoveryCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RecoveryCommand {
    Release(ReleaseArgs),
}

const HELP: &str = "\
A restored server is isolated: it archives nothing, follows no other server and waits for no standby. This removes the
settings that drctl wrote for that to postgresql.auto.conf, and those of the recovery; it loads the libraries of the
server that was backed up again (pg_cron and the like). Restart the server afterwards, and take a base backup at once: earlier backups lead to the old timeline. Changes nothing without --apply.";

/// Remove the settings that isolate a restored cluster
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
struct ReleaseArgs {
    /// Its data directory
    directory: PathBuf,
    /// Remove them
    #[arg(long)]
    apply: bool,
}

#[derive(Serialize)]
struct ReleaseDocument<'a> {
    file: &'a std::path::Path,
    settings: &'a [String],
    applied: bool,
}

pub(super) async fn run(args: RecoveryArgs, context: &Context) -> Result<Exit, CommandError> {
    let RecoveryCommand::Release(args) = args.command;
    let directory = std::path::absolute(&args.directory).map_err(CommandError::usage)?;
    let apply = args.apply;
    let released = tokio::task::spawn_blocking(move || release(&directory, apply)).await;
    let released = released.map_err(CommandError::failed)?.map_err(failed)?;
    let output = &context.output;
    if output.is_json() {
        let document =
            ReleaseDocument { file: &released.file, settings: &released.settings, applied: released.applied };
        output.document("recovery-release", &document);
        return Ok(Exit::Done);
    }
    let file = released.file.display();
    if released.settings.is_empty() {
        output.line(format!("{file} has no recovery settings: nothing to remove."));
        return Ok(Exit::Done);
    }
    let (word, colour) =
        if released.applied { ("taken out", style::GOOD) } else { ("takes out", style::WARN) };
    for setting in &released.settings {
        output.line(format!("{colour}{word}{colour:#}  {setting}"));
    }
    if released.settings.iter().any(|setting| setting.contains("shared_preload_libraries")) {
        output.note(
            "The jobs of pg_cron run again after a restart, in the server that `nodename` and `nodeport` of `cron.job` name: where that is still production, change them first.",
        );
    }
    if released.applied {
        output.note("Restart the server, and take a base backup at once: `drctl backup SOURCE --kind base`.");
    } else {
        output.note(format!("`--apply` removes it from {file}."));
    }
    Ok(Exit::Done)
}

fn failed(error: ReleaseError) -> CommandError {
    match error {
        ReleaseError::Recovering(ref directory) => {
            let start = format!("pg_ctl -D {} start", directory.display());
            CommandError::failed(error).hint(format!(
                "Start it (`{start}`) and wait until it has recovered, or restore with `--start`."
            ))
        }
        ReleaseError::NoDataDirectory(_) | ReleaseError::NotRestored(_) => CommandError::usage(error),
        error => CommandError::failed(error),
    }
}
