//! `drctl init`: keys and a policy, from flags or from questions.

mod questions;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::Context;
use super::error::CommandError;
use super::exit::Exit;
use super::keys;
use crate::init::compose::{self, Proposal};
use crate::init::{KeysPlan, PolicyTemplate, ProbeResult, probe};
use crate::policy;
use crate::policy::{Lint, Policy, RepositoryLocation, Source};
use crate::text::format_size;

/// Write a first policy and its keys
///
/// Asks for missing flags when it runs on a terminal. The policy is written to `--policy`, or to
/// ./drctl.toml. Connects to the database first, and overwrites nothing.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct InitArgs {
    /// Name of the application: a-z, 0-9 and `-`
    #[arg(long, value_name = "NAME")]
    system: Option<String>,
    /// The database: postgres://user@host:port/database without a password, or env:NAME
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Where its password is stored: env:NAME, file:/path, command:…
    #[arg(long, value_name = "REFERENCE")]
    password: Option<String>,
    /// The primary repository: s3://bucket/prefix or a directory
    #[arg(long, value_name = "PLACE")]
    primary: Option<String>,
    /// Region of the primary's bucket
    #[arg(long)]
    region: Option<String>,
    /// Address of the primary's server, where it is not AWS
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// A copy in another region: s3://bucket/prefix or a directory
    #[arg(long, value_name = "PLACE")]
    copy: Option<String>,
    /// The copy's name
    #[arg(long, value_name = "NAME", default_value = "offsite")]
    copy_name: String,
    /// Region of the copy's bucket
    #[arg(long, value_name = "REGION")]
    copy_region: Option<String>,
    /// Address of the copy's server, where it is not AWS
    #[arg(long, value_name = "URL")]
    copy_endpoint: Option<String>,
    /// An age recipient to encrypt to, instead of new keys; twice at least
    #[arg(long, value_name = "AGE1", conflicts_with_all = ["operational", "escrow"])]
    recipient: Vec<String>,
    /// File of the new identity for restores and drills in daily work
    #[arg(long, value_name = "FILE", value_parser = super::path_arg::path())]
    operational: Option<PathBuf>,
    /// File of the new escrow identity
    #[arg(long, value_name = "FILE", value_parser = super::path_arg::path())]
    escrow: Option<PathBuf>,
    /// Accept both identities in one directory, which can be lost together
    #[arg(long)]
    danger_same_place: bool,
    /// Add base backups and WAL archiving for point-in-time recovery, of a server you run yourself
    #[arg(long)]
    point_in_time: bool,
    /// Create missing directories of repositories
    #[arg(long)]
    create_directories: bool,
    /// Propose the whole policy from a docker-compose.yml: its PostgreSQL, Redis, SQLite and ChromaDB, uploads,
    /// configuration and secrets. Reads files only; Docker is not needed
    #[arg(long, value_name = "FILE", value_parser = super::path_arg::path())]
    compose: Option<PathBuf>,
    /// Do not connect to the database
    #[arg(long)]
    no_probe: bool,
}

pub(super) async fn run(args: InitArgs, context: &Context) -> Result<Exit, CommandError> {
    let path = context.global.policy.clone().unwrap_or_else(|| PathBuf::from("drctl.toml"));
    if std::fs::symlink_metadata(&path).is_ok() {
        return Err(CommandError::usage(format!(
            "`{}` already exists, and nothing is ever overwritten",
            path.display()
        ))
        .hint("Name another file with `--policy FILE`, or edit the existing policy."));
    }
    let proposal = match &args.compose {
        Some(file) => Some(compose::propose_from(file).map_err(|error| {
            CommandError::usage(error).hint("Nothing was written; `--compose` names a compose file.")
        })?),
        None => None,
    };
    let args = proposal.iter().fold(args, with_proposal);
    let answers = questions::complete(args, context).await?;
    let keys = answers.keys_plan()?;
    let mut draft = answers.draft;
    draft.sources = proposal.iter().flat_map(|proposal| proposal.sources.clone()).collect();
    // Everything else must be valid before keys are created.
    if keys.is_some() {
        draft.recipients = STAND_INS.map(|key| (None, key.to_owned())).into();
    }
    let policy = checked(&path, &draft)?;
    if !answers.no_probe && !draft.database.is_empty() {
        let found = look(&policy).await?;
        report(&found, context);
        draft.remark = Some(format!(
            "PostgreSQL {}, {}, when this was written.",
            found.version,
            format_size(found.bytes)
        ));
    }
    if answers.create_directories {
        create_directories(&policy, context)?;
    }
    let policy = write(&path, draft, keys.as_ref(), context)?;
    for Lint { key, message, hint, .. } in policy::lint(&policy) {
        context.output.warn(format!("{key}: {message}\n  hint: {hint}"));
    }
    for note in proposal.iter().flat_map(|proposal| &proposal.notes) {
        context.output.warn(note);
    }
    context.output.note(next(&path, &policy));
    Ok(Exit::Done)
}

/// Answers what the compose file answers, where no flag does.
fn with_proposal(args: InitArgs, proposal: &Proposal) -> InitArgs {
    // Without a database there, there is nothing to ask about one.
    let database = args.database.or_else(|| Some(proposal.database.clone().unwrap_or_default()));
    let password = args.password.or_else(|| Some(proposal.password.clone().unwrap_or_default()));
    InitArgs { system: args.system.or_else(|| proposal.system.clone()), database, password, ..args }
}

fn next(path: &Path, policy: &Policy) -> String {
    let directories = policy.repositories.iter().filter_map(|repository| match &repository.place {
        RepositoryLocation::Directory(path) if !path.is_dir() => Some(path.display().to_string()),
        _ => None,
    });
    let mut text = format!("\nNext: read {}", path.display());
    // Directories are created on request only: an unmounted disk must not be taken for an empty repository.
    for directory in directories {
        text.push_str(&format!(", make the directory {directory} or mount its file system"));
    }
    text.push_str(", then `drctl doctor` and `drctl backup`.");
    text
}

/// Creates the missing directories of repositories.
fn create_directories(policy: &Policy, context: &Context) -> Result<(), CommandError> {
    use std::os::unix::fs::DirBuilderExt as _;
    for repository in &policy.repositories {
        let RepositoryLocation::Directory(directory) = &repository.place else { continue };
        if directory.is_dir() {
            continue;
        }
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o750).create(directory);
        made.map_err(|source| {
            let words = format!("failed to create the directory `{}`", directory.display());
            CommandError::failed(source).context(words).hint("Nothing else was written.")
        })?;
        context.output.note(format!("Created the directory {}.", directory.display()));
    }
    Ok(())
}

/// Valid recipients without identities, for a check before there are keys. Never written.
const STAND_INS: [&str; 2] = [
    "age1852e78nhcmsdysa0x7x8akh04sklkgkfdvktz8p8sdtmv8hljyqs5eva9j",
    "age1e7f99awn9x7yz9jxqgjp5tavtvc3fqwgzyv9g20gqz3f8yqg6unsdrgttq",
];

/// Validates the draft, and reports faults by key: its line numbers mean nothing to a user who gave flags.
fn checked(path: &Path, draft: &PolicyTemplate) -> Result<Policy, CommandError> {
    policy::parse(path, &draft.text()).map_err(|faults| {
        let mut text = "the answers do not form a valid policy".to_owned();
        for fault in &faults.faults {
            text.push_str(&format!("\n{}: {}", fault.key, fault.message));
        }
        faults
            .faults
            .into_iter()
            .filter_map(|fault| fault.hint)
            .fold(CommandError::usage(text), CommandError::hint)
    })
}

async fn look(policy: &Policy) -> Result<ProbeResult, CommandError> {
    let postgres = policy.sources.iter().find_map(Source::postgres);
    let Some(postgres) = postgres else { return Err(CommandError::failed("the draft has no database")) };
    probe(postgres).await.map_err(|error| {
        CommandError::failed(error)
            .hint("Nothing was written. `--no-probe` writes the policy without connecting.")
    })
}

fn report(found: &ProbeResult, context: &Context) {
    let standby = if found.is_standby { ", a standby" } else { "" };
    let note = format!(
        "Found {}: PostgreSQL {}, {}{standby}.",
        found.database,
        found.version,
        format_size(found.bytes)
    );
    context.output.note(note);
    match &found.tools {
        Ok(tools) => {
            context.output.note(format!("{} in {} can dump it.", tools.version, tools.directory.display()))
        }
        Err(error) => context.output.warn(error.to_string()),
    }
    if !found.is_superuser {
        context.output.note(format!(
            "Role {} is not a superuser: passwords of roles are not backed up, and a table it cannot read fails the \
             backup. `drctl doctor` checks.",
            found.role
        ));
    }
    if found.is_rds {
        context
            .output
            .note("It runs on Amazon RDS: policies/template.toml also shows a source of kind `rds`.");
    }
}

/// Writes the keys first, since the policy names them; if writing the policy fails, they are removed again.
fn write(
    path: &Path,
    mut draft: PolicyTemplate,
    keys: Option<&KeysPlan>,
    context: &Context,
) -> Result<Policy, CommandError> {
    let made = match keys {
        Some(plan) => Some(plan.execute().map_err(|error| keys::refused(error, "--danger-same-place"))?),
        None => None,
    };
    if let Some(made) = &made {
        draft.recipients =
            made.iter().map(|key| (Some(key.holder.to_owned()), key.recipient.clone())).collect();
    }
    let outcome = checked(path, &draft).and_then(|policy| {
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(|source| {
                CommandError::failed(source).context(format!("failed to write `{}`", path.display()))
            })?;
        let written = file.write_all(draft.text().as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|source| {
            let _gone = std::fs::remove_file(path);
            CommandError::failed(source).context(format!("failed to write `{}`", path.display()))
        })?;
        Ok(policy)
    });
    let policy = match outcome {
        Ok(policy) => policy,
        Err(error) => {
            for key in made.iter().flatten() {
                let _gone = std::fs::remove_file(&key.path);
            }
            return Err(error);
        }
    };
    if context.output.is_json() {
        let keys: Vec<_> = made
            .iter()
            .flatten()
            .map(|key| serde_json::json!({ "holder": key.holder, "path": key.path, "recipient": key.recipient }))
            .collect();
        context.output.document("init", &serde_json::json!({ "policy": path, "keys": keys }));
    } else {
        context.output.line(format!("policy       {}", path.display()));
        for key in made.iter().flatten() {
            context.output.line(format!("{:<12} {}  {}", key.holder, key.path.display(), key.recipient));
        }
    }
    if let Some(made) = &made {
        context.output.note(keys::what_to_do(made));
    }
    Ok(policy)
}
