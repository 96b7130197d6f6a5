use std::path::PathBuf;

use clap::Subcommand;

use super::Context;
use super::error::CommandError;
use super::exit::Exit;
use super::keys_check::CheckArgs;
use crate::init::{KeyFile, KeysError, KeysPlan};

/// Generate and check the keys that backups are encrypted to
#[derive(Debug, clap::Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    what: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    Generate(KeysGenerateArgs),
    Check(CheckArgs),
}

/// Generate an operational and an escrow key
///
/// Writes the two identities (secret keys) with mode 0600, and prints the recipients (public keys) as the
/// policy takes them. Either identity alone opens every backup; without both, nothing does.
#[derive(Debug, clap::Args)]
struct KeysGenerateArgs {
    /// File of the identity for restores and drills in daily work
    #[arg(long, value_name = "FILE", value_parser = super::path_arg::path())]
    operational: PathBuf,
    /// File of the escrow identity, on another disk or a removable medium
    #[arg(long, value_name = "FILE", value_parser = super::path_arg::path())]
    escrow: PathBuf,
    /// Accept both in one directory, which can be lost together
    #[arg(long)]
    danger_same_place: bool,
}

pub(super) async fn run(args: &KeysArgs, context: &Context) -> Result<Exit, CommandError> {
    match &args.what {
        KeysCommand::Generate(args) => generate(args, context),
        KeysCommand::Check(args) => super::keys_check::run(args, context).await,
    }
}

fn generate(args: &KeysGenerateArgs, context: &Context) -> Result<Exit, CommandError> {
    let keys = KeysPlan::new(&args.operational, &args.escrow, args.danger_same_place)
        .and_then(|plan| plan.execute())
        .map_err(|error| refused(error, "--danger-same-place"))?;
    if context.output.is_json() {
        let keys: Vec<_> = keys
            .iter()
            .map(|key| serde_json::json!({ "holder": key.holder, "path": key.path, "recipient": key.recipient }))
            .collect();
        context.output.document("keys", &serde_json::json!({ "keys": keys }));
    } else {
        context.output.line("[encryption]\nrecipients = [");
        for key in &keys {
            context
                .output
                .line(format!("    {{ holder = \"{}\", key = \"{}\" }},", key.holder, key.recipient));
        }
        context.output.line("]");
    }
    context.output.note(what_to_do(&keys));
    Ok(Exit::Done)
}

/// Describes for a person what to do with each file.
pub(super) fn what_to_do(keys: &[KeyFile; 2]) -> String {
    let [operational, escrow] = keys.each_ref().map(|key| key.path.display());
    format!(
        "\nBackups are made for the recipients above; a host that makes them needs nothing else.\n\
         \n\
         {operational}\n\
         \x20 The operational identity opens every backup. Restores and drills need it: move it to where those are\n\
         \x20 done, or into a vault, and off the host that makes backups.\n\
         {escrow}\n\
         \x20 The escrow identity opens every backup, too. Move it away from everything that can fail with this\n\
         \x20 host: on paper or a removable medium, in another building, with someone else. Delete it here.\n\
         \n\
         Who loses both can restore nothing. `drctl keys check` proves that an identity opens a backup: do so now\n\
         and then with each."
    )
}

/// Returns the error of key generation; `flag` is the option that accepts one directory for both files.
pub(super) fn refused(error: KeysError, flag: &str) -> CommandError {
    match error {
        KeysError::Exists { .. } => {
            CommandError::usage(error).hint("Name a file that does not exist, or move the old identity away.")
        }
        KeysError::SamePlace { .. } => CommandError::usage(error)
            .hint("Write the escrow identity to another disk or a removable medium.")
            .hint(format!("`{flag}` accepts two files in one directory.")),
        KeysError::NoDirectory { .. } => {
            CommandError::usage(error).hint("Create the directory first, with mode 0700.")
        }
        KeysError::Write { .. } => CommandError::failed(error).hint("No identity was kept."),
    }
}
