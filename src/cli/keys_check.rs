use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::Context;
use super::catalog_view::CatalogView;
use super::error::CommandError;
use super::exit::Exit;
use super::style;
use crate::catalog::BackupEntry;
use crate::model::{BackupId, Protection, RepositoryName, SourceName};
use crate::pipeline::Identities;
use crate::text::error_chain;
use crate::verify::identity::opens;

/// Prove that an identity opens a backup
///
/// Decrypts and unpacks the smallest file of the newest backup of each source, or of the backups named,
/// with each identity separately. Nothing of it is shown or kept.
#[derive(Debug, clap::Args)]
#[command(after_help = super::exit::HELP)]
pub(super) struct CheckArgs {
    /// Backups, by id or prefix [default: the newest of each source]
    #[arg(value_name = "ID")]
    backups: Vec<String>,
    /// A file with identities; may be given more than once
    #[arg(long, short, value_name = "FILE", required = true, env = "DRCTL_IDENTITY", value_parser = super::path_arg::path())]
    identity: Vec<PathBuf>,
    /// From this repository [default: the first that has the backup]
    #[arg(long, value_name = "REPOSITORY")]
    from: Option<RepositoryName>,
}

/// One identity file and one backup.
#[derive(Serialize)]
struct KeyCheckRow {
    identity: PathBuf,
    backup: BackupId,
    repository: RepositoryName,
    opens: bool,
    reason: Option<String>,
    #[serde(skip)]
    wrong_key: bool,
}

pub(super) async fn run(args: &CheckArgs, context: &Context) -> Result<Exit, CommandError> {
    let known = CatalogView::open(context, false).await?;
    let chosen = chosen(args, &known).await?;
    if chosen.is_empty() {
        return Err(CommandError::new(Exit::Nothing, "there is no backup to open")
            .hint("Take one with `drctl backup`, then check the keys."));
    }
    let mut checks = Vec::new();
    for path in &args.identity {
        let identities = context.identities(std::slice::from_ref(path)).await?;
        for entry in &chosen {
            checks.push(check(args, context, &known, path, &identities, entry).await?);
        }
    }
    known.catalog.close().await;
    if context.output.is_json() {
        context.output.document("keys-check", &serde_json::json!({ "checks": checks }));
    } else {
        checks.iter().for_each(|check| show(check, context));
    }
    Ok(match checks.iter().find(|check| !check.opens) {
        None => Exit::Done,
        Some(_) if checks.iter().any(|check| check.wrong_key) => Exit::CannotDecrypt,
        Some(_) => Exit::Failed,
    })
}

async fn chosen(args: &CheckArgs, known: &CatalogView) -> Result<Vec<BackupEntry>, CommandError> {
    let mut chosen: Vec<BackupEntry> = Vec::new();
    for text in &args.backups {
        chosen.push(known.find(text).await?);
    }
    if args.backups.is_empty() {
        let mut seen: Vec<SourceName> = Vec::new();
        for entry in known.entries().await? {
            if entry.is_held() && !seen.contains(entry.id().source()) {
                seen.push(entry.id().source().clone());
                chosen.push(entry);
            }
        }
    }
    Ok(chosen)
}

async fn check(
    args: &CheckArgs,
    context: &Context,
    known: &CatalogView,
    path: &std::path::Path,
    identities: &Identities,
    entry: &BackupEntry,
) -> Result<KeyCheckRow, CommandError> {
    let holds = |name: &RepositoryName| entry.copy(name).is_some_and(|copy| copy.is_held());
    let repository = known
        .repositories
        .iter()
        .filter(|repository| args.from.as_ref().is_none_or(|from| *from == repository.name))
        .find(|repository| holds(&repository.name))
        .ok_or_else(|| {
            CommandError::new(Exit::Nothing, format!("no reachable repository has `{}`", entry.id()))
        })?;
    if entry.manifest.protection == Protection::None {
        context.output.warn(format!("`{}` is not encrypted: it opens without any key", entry.id()));
    }
    let store = Arc::clone(&repository.store);
    let outcome =
        opens(store, &known.policy.system, &entry.manifest, identities, context.cancel.clone()).await;
    Ok(KeyCheckRow {
        identity: path.to_owned(),
        backup: entry.id().clone(),
        repository: repository.name.clone(),
        opens: outcome.is_ok(),
        wrong_key: outcome.as_ref().is_err_and(|error| error.is_wrong_key()),
        reason: outcome.err().map(|error| error_chain(&error)),
    })
}

fn show(check: &KeyCheckRow, context: &Context) {
    let (word, colour) = if check.opens { ("opens", style::GOOD) } else { ("does not open", style::BAD) };
    let reason = check.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    context.output.line(format!(
        "{} {colour}{word}{colour:#} {} in {}{reason}",
        check.identity.display(),
        check.backup,
        check.repository
    ));
}
