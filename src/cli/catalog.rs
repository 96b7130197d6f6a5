use serde::Serialize;

use super::Context;
use super::catalog_view::warn;
use super::context::catalog_location;
use super::error::CommandError;
use super::exit::Exit;
use super::style;
use crate::catalog::{Catalog, CatalogError, Depth, Filter, refresh};
use crate::repository::KnownLocations;
use crate::text::count;

/// Administer the catalog: the local index of the repositories
#[derive(Debug, clap::Args)]
pub struct CatalogArgs {
    #[command(subcommand)]
    command: CatalogCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CatalogCommand {
    /// Rebuild the catalog from the repositories; entries of an unavailable one are kept
    #[command(after_help = super::exit::HELP)]
    Rebuild,
}

pub(super) async fn run(args: CatalogArgs, context: &Context) -> Result<Exit, CommandError> {
    match args.command {
        CatalogCommand::Rebuild => rebuild(context).await,
    }
}

#[derive(Serialize)]
struct RebuildDocument {
    complete: bool,
    catalog: String,
    backups: usize,
    runs: usize,
    repositories_read: usize,
    repositories_not_reached: usize,
    refused: usize,
}

async fn rebuild(context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let location = catalog_location(&policy).await?;
    let now = context.clock.now();
    let catalog = match Catalog::open(&location, &policy.system).await {
        Err(CatalogError::Damaged { .. }) => {
            if let Some(aside) = Catalog::put_aside(&location, now)? {
                context.output.note(format!("The damaged catalog was moved to {}.", aside.display()));
            }
            Catalog::open(&location, &policy.system).await
        }
        opened => opened,
    };
    let catalog = catalog?;
    let repositories = context.repositories(&policy).await;
    // The known repositories are remembered; that one was replaced is forgotten.
    let (catalog, remembered) = catalog.remember(&repositories).await?;
    let repositories = repositories.remembering(KnownLocations { id: None, ..remembered });
    let repositories = repositories.for_reading(&policy.system, None).await;
    let catalog = catalog.of_repository(repositories.id());
    let rebuilt = refresh(&catalog, &policy.system, &repositories, Depth::Whole, now).await?;
    let backups = catalog.backups(&Filter::default()).await?;
    warn(context, &rebuilt);
    let complete = rebuilt.is_complete();
    let document = RebuildDocument {
        complete,
        catalog: catalog.location().to_owned(),
        backups: backups.len(),
        runs: rebuilt.runs,
        repositories_read: rebuilt.seen.len(),
        repositories_not_reached: rebuilt.lost.len(),
        refused: rebuilt.refused.len(),
    };
    if context.output.is_json() {
        context.output.document("catalog-rebuild", &document);
    } else {
        let (good, read) = (style::GOOD, rebuilt.seen.iter().map(|name| name.as_str()).collect::<Vec<_>>());
        let read = if read.is_empty() { "no repository".to_owned() } else { read.join(", ") };
        context.output.line(format!(
            "{good}rebuilt{good:#} {} from {read}: {}, {}",
            catalog.location(),
            count(backups.len() as u64, "backup"),
            count(rebuilt.runs as u64, "run"),
        ));
    }
    catalog.close().await;
    Ok(if complete { Exit::Done } else { Exit::Partly })
}
