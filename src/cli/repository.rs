use super::Context;
use super::catalog_view::{hint_lost, not_opened};
use super::error::CommandError;
use super::exit::Exit;
use super::style;
use crate::model::{Outcome, RepositoryName, RunId};
use crate::platform::{host_name, seed};
use crate::policy::{Policy, RepositoryLocation};
use crate::repository::{Repositories, journal, run_record};
use crate::store::directory::DirectoryStore;

/// Administer the repositories
#[derive(Debug, clap::Args)]
pub struct RepositoryArgs {
    #[command(subcommand)]
    command: RepositoryCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RepositoryCommand {
    /// Create a repository in an empty location, also where one existed before
    ///
    /// A backup creates new repositories by itself, and rejects one that existed before and is now empty:
    /// its file system may not be mounted. This recreates it, with a missing directory; existing objects are not
    /// changed.
    #[command(after_help = super::exit::HELP)]
    Create(CreateArgs),
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// The repository, as the policy names it: `primary`, or a copy
    #[arg(value_name = "REPOSITORY")]
    name: RepositoryName,
}

pub(super) async fn run(args: RepositoryArgs, context: &Context) -> Result<Exit, CommandError> {
    match args.command {
        RepositoryCommand::Create(args) => create(&args.name, context).await,
    }
}

async fn create(name: &RepositoryName, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let config = policy
        .repository(name)
        .ok_or_else(|| CommandError::usage(format!("the policy has no repository `{name}`")))?;
    // A directory that must be a mount point is not created: nothing would be mounted there.
    if let (RepositoryLocation::Directory(root), false) = (&config.place, config.mount) {
        DirectoryStore::create(root).await.map_err(CommandError::failed)?;
    }
    let (catalog, repositories) = context.recall(&policy).await;
    let begun = context.clock.now();
    let repositories = repositories.creating(name).for_writing(&policy.system, None, begun).await;
    let repositories = repositories.map_err(|error| not_opened(context, error))?;
    if let Some(lost) = repositories.lost().iter().find(|lost| lost.name == *name) {
        hint_lost(context, lost);
        return Err(
            CommandError::failed(lost.reason()).context(format!("failed to create repository `{name}`"))
        );
    }
    let is_new = repositories.created().any(|created| created.name == *name);
    if is_new {
        record(context, &policy, &repositories).await;
    }
    if let Some(catalog) = catalog {
        let catalog = catalog.of_repository(repositories.id());
        if let Err(error) = catalog.record_marked(&repositories, begun).await {
            context.output.warn(crate::text::error_chain(&error));
        }
        catalog.close().await;
    }
    let location = repositories.find(name).map(|repository| repository.store.location()).unwrap_or_default();
    if context.output.is_json() {
        let data = serde_json::json!({ "repository": name, "location": location, "created": is_new });
        context.output.document("repository-create", &data);
    } else if is_new {
        let good = style::GOOD;
        context.output.line(format!("{good}created{good:#} repository `{name}` in {location}"));
        context.output.note("hint: `drctl copies sync` copies the existing backups to it.");
    } else {
        context.output.line(format!("{location} is repository `{name}` already"));
    }
    Ok(Exit::Done)
}

async fn record(context: &Context, policy: &Policy, repositories: &Repositories) {
    let now = context.clock.now();
    let (run, times) = (RunId::new(now, seed()), (now, now));
    let detail = journal::Detail::default();
    let record = journal::JournalRecord::new(
        &run,
        "repository-create",
        times,
        &host_name(),
        Outcome::Succeeded,
        detail,
    );
    match run_record::append(repositories, &policy.system, record).await {
        Ok(lost) => lost.iter().for_each(|lost| super::catalog_view::warn_lost(context, lost)),
        Err(error) => context.output.warn(crate::text::error_chain(&error)),
    }
}
