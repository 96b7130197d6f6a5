use clap::{Subcommand, ValueEnum};

use super::Context;
use super::error::CommandError;
use super::exit::Exit;
use crate::iam;
use crate::iam::{Account, INLINE_LIMIT, IamDocument, IamError, IamRole, MANAGED_LIMIT};
use crate::policy::{Encryption, Policy, RepositoryLocation};

/// Print the AWS permissions that each role of drctl needs
#[derive(Debug, clap::Args)]
pub struct IamArgs {
    #[command(subcommand)]
    what: IamCommand,
}

#[derive(Debug, Subcommand)]
enum IamCommand {
    Show(IamShowArgs),
}

/// Print the IAM policy of a role, generated from the policy file
///
/// It allows what drctl does in that role with the buckets, databases, vaults and keys that the policy names,
/// and denies what would destroy backups, whatever else the role may do. Give the roles to different principals:
/// no principal should be able both to write backups and to delete them.
#[derive(Debug, clap::Args)]
#[command(after_help = super::exit::HELP)]
struct IamShowArgs {
    role: RoleArg,
    /// The account, where the policy names none in an ARN or more than one
    #[arg(long, value_name = "ID")]
    account: Option<Account>,
    /// Print only this part, where the policy exceeds a managed policy's 6,144 characters
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    part: Option<u16>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum RoleArg {
    /// Takes backups and archives WAL; can neither read nor delete them
    Writer,
    /// Restores and drills; changes only what it created
    Restorer,
    /// Deletes expired backups; cannot read a backup
    Retention,
    /// Reads repositories and the configuration in AWS, for `verify`; changes nothing
    Auditor,
    /// For people, in an incident: promotes a restored database to production
    BreakGlass,
}

impl From<RoleArg> for IamRole {
    fn from(word: RoleArg) -> Self {
        match word {
            RoleArg::Writer => Self::Writer,
            RoleArg::Restorer => Self::Restorer,
            RoleArg::Retention => Self::Retention,
            RoleArg::Auditor => Self::Auditor,
            RoleArg::BreakGlass => Self::BreakGlass,
        }
    }
}

pub(super) fn run(args: &IamArgs, context: &Context) -> Result<Exit, CommandError> {
    let IamCommand::Show(args) = &args.what;
    let policy = context.policy()?;
    let role = IamRole::from(args.role);
    let document = iam::document(&policy, role, args.account.as_ref()).map_err(refused)?;
    let parts = document.parts(MANAGED_LIMIT);
    let shown = match args.part {
        None => &document,
        Some(n) => parts.get(usize::from(n) - 1).ok_or_else(|| {
            CommandError::usage(format!("there is no part {n} of it"))
                .hint(format!("Its parts are `--part 1` to `--part {}`.", parts.len()))
        })?,
    };
    let text = match context.output.is_json() {
        true => serde_json::to_string(shown),
        false => serde_json::to_string_pretty(shown),
    };
    context.output.line(text.map_err(CommandError::failed)?);
    for note in notes(&policy, role, &document, parts.len(), args.part) {
        context.output.note(note);
    }
    Ok(Exit::Done)
}

fn refused(error: IamError) -> CommandError {
    let hint = match &error {
        IamError::NoAccount { .. } => {
            "Name it with `--account ID`: `aws sts get-caller-identity --query Account --output text` prints it."
        }
        IamError::NothingInAws { .. } => {
            "Stores other than AWS have their own keys: create one there with no more permissions than this role."
        }
    };
    CommandError::usage(error).hint(hint)
}

/// Returns notes on what the document cannot express.
fn notes(
    policy: &Policy,
    role: IamRole,
    document: &IamDocument,
    parts: usize,
    part: Option<u16>,
) -> Vec<String> {
    let mut notes = Vec::new();
    let characters = document.characters();
    if part.is_none() && characters > MANAGED_LIMIT {
        let inline = match characters > INLINE_LIMIT {
            true => "and more than inline policies may have together (10,240)".to_owned(),
            false => "as an inline policy it fits (10,240)".to_owned(),
        };
        notes.push(format!(
            "note: {characters} characters are more than a managed policy takes (6,144); {inline}. `--part 1` to `--part {parts}` print it as {parts} managed policies for the same role."
        ));
    }
    for repository in &policy.repositories {
        if let RepositoryLocation::S3(place) = &repository.place
            && let Some(endpoint) = &place.endpoint
        {
            notes.push(format!(
                "note: repository `{}` is at {endpoint}, which IAM does not cover: give its key there no more permissions than this role.",
                repository.name
            ));
        }
    }
    match (role, &policy.encryption) {
        (IamRole::Auditor, Encryption::Age { .. }) => notes.push(
            "note: `drctl verify` needs only this role; `drctl copies sync` also needs `writer`. What it reads is encrypted.".to_owned(),
        ),
        (IamRole::Auditor | IamRole::Writer, Encryption::None) => notes.push(
            "note: backups are not encrypted: `s3:GetObject` on them is access to the data.".to_owned(),
        ),
        _ => {}
    }
    notes
}
