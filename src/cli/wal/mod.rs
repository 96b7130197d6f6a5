mod configure;
mod fetch;
mod push;
mod status;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Context;
use super::context::open_catalog;
use super::error::CommandError;
use super::exit::Exit;
use crate::aws::S3Timeouts;
use crate::catalog::Catalog;
use crate::model::SourceName;
use crate::pipeline::Recipe;
use crate::platform::{CancellationToken, Clock as _, SystemClock};
use crate::policy::{Policy, RuleTerms, WalArchiving};
use crate::repository::{Repositories, write_options};
use crate::wal::{Memory, Pusher};

/// Archive WAL, and fetch it back
#[derive(Debug, clap::Args)]
pub struct WalArgs {
    #[command(subcommand)]
    command: WalCommand,
}

#[derive(Debug, clap::Subcommand)]
enum WalCommand {
    Push(push::PushArgs),
    Fetch(fetch::FetchArgs),
    Status(status::WalStatusArgs),
    Configure(configure::ConfigureArgs),
    Stream(stream::StreamArgs),
}

pub(super) async fn run(args: WalArgs, context: &Context) -> Result<Exit, CommandError> {
    match args.command {
        WalCommand::Push(args) => push::run(args, context).await,
        WalCommand::Fetch(args) => fetch::run(args, context).await,
        WalCommand::Status(args) => status::run(args, context).await,
        WalCommand::Configure(args) => configure::run(args, context).await,
        WalCommand::Stream(args) => stream::run(args, context).await,
    }
}

/// Returns the selected source, and its WAL archiving.
fn archived<'p>(
    policy: &'p Policy,
    named: Option<&SourceName>,
) -> Result<(&'p SourceName, &'p WalArchiving), CommandError> {
    let mut archived = policy.sources.iter().filter_map(|source| Some((&source.name, source.wal()?)));
    let hint = "A source whose WAL is archived has `methods = [\"base\", \"wal\"]` in the policy.";
    match named {
        Some(name) => archived.find(|(known, _)| *known == name).ok_or_else(|| {
            let words = format!("the policy archives no WAL of a source `{name}`");
            CommandError::usage(words).hint(hint)
        }),
        None => match (archived.next(), archived.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(CommandError::usage("the policy archives no WAL").hint(hint)),
            (Some(_), Some(_)) => {
                let words = "the policy archives the WAL of more than one source";
                Err(CommandError::usage(words)
                    .hint("Name the source before the file: `drctl wal push SOURCE %p`."))
            }
        },
    }
}

/// Creates the pusher for the WAL of a source.
async fn pusher(
    context: &Context,
    policy: &Policy,
    source: &SourceName,
    archiving: &WalArchiving,
    cancel: CancellationToken,
) -> Result<Pusher, CommandError> {
    Ok(Pusher {
        system: policy.system.clone(),
        source: source.clone(),
        repositories: context.repositories_with(policy, patience()).await,
        options: {
            let (terms, now) = (RuleTerms::new(policy, source), context.clock.now());
            write_options(&policy.repositories, now, |name| terms.of_wal(name, now))
        },
        optional_repositories: archiving.optional_repositories.clone(),
        recipe: Recipe::new(policy.compression, &policy.encryption).map_err(CommandError::usage)?,
        parallel: archiving.parallel,
        clock: context.clock.clone(),
        cancel,
        horizon: None,
        known: Arc::default(),
        memory: Arc::new(CatalogMemory(policy.clone())),
    })
}

/// The catalog's facts about the policy's repositories: opened only where one seems to be new.
#[derive(Debug)]
struct CatalogMemory(Policy);

#[async_trait]
impl Memory for CatalogMemory {
    async fn recall(&self, repositories: Repositories) -> Repositories {
        let Some(catalog) = self.catalog().await else { return repositories };
        match catalog.remember(&repositories).await {
            Ok((_, remembered)) => repositories.remembering(remembered),
            Err(error) => {
                tracing::info!("{}", crate::text::error_chain(&error));
                repositories
            }
        }
    }

    async fn keep(&self, repositories: &Repositories) {
        let Some(catalog) = self.catalog().await else { return };
        let catalog = catalog.of_repository(repositories.id());
        if let Err(error) = catalog.record_marked(repositories, SystemClock.now()).await {
            tracing::info!("{}", crate::text::error_chain(&error));
        }
        catalog.close().await;
    }
}

impl CatalogMemory {
    async fn catalog(&self) -> Option<Catalog> {
        match open_catalog(&self.0).await {
            Ok(catalog) => Some(catalog),
            Err(error) => {
                tracing::info!("continuing without the catalog: {error}");
                None
            }
        }
    }
}

/// Returns shorter timeouts: PostgreSQL retries a failed push itself, and a fetch can query other copies, so
/// neither waits long for a failing store.
fn patience() -> S3Timeouts {
    S3Timeouts { attempts: 5, slowest: 128 << 10, ..S3Timeouts::within(Duration::from_secs(40)) }
}
