use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Context;
use super::catalog_view::{CatalogView, brought_up, recall, warn_lost};
use super::error::CommandError;
use super::exit::{self, Exit};
use super::table::{Cell, TextTable};
use crate::catalog::{BackupEntry, Filter};
use crate::model::{BackupId, RunId, SourceName};
use crate::platform::{host_name, seed};
use crate::policy::Policy;
use crate::repository::Repositories;
use crate::retention::hold_store::{self, Holds, Release};
use crate::retention::{HeldObjects, HeldScope, Hold, hold_objects};
use crate::text::{count, error_chain, format_time};

/// Keep backups whatever the rules of retention say
#[derive(Debug, clap::Args)]
pub struct HoldArgs {
    #[command(subcommand)]
    command: HoldCommand,
}

#[derive(Debug, clap::Subcommand)]
enum HoldCommand {
    /// Place a hold on a backup, or on all of a source
    #[command(after_help = exit::HELP)]
    Add(AddArgs),
    /// List the holds, and those that were released
    #[command(after_help = exit::HELP)]
    List,
    /// Release a hold
    #[command(after_help = exit::HELP)]
    Release(ReleaseArgs),
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// The backup, by id or prefix
    #[arg(value_name = "ID", required_unless_present = "source", conflicts_with = "source")]
    backup: Option<String>,
    /// Every backup of this source that there is, those still to come, and its WAL
    #[arg(long, value_name = "SOURCE")]
    source: Option<SourceName>,
    /// Why; shown with every backup that it keeps
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who places it [default: USER@HOST]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// When it ends by itself, like `2027-03-01T00:00:00Z` [default: when it is released]
    #[arg(long, value_name = "TIME")]
    until: Option<DateTime<Utc>>,
}

#[derive(Debug, clap::Args)]
struct ReleaseArgs {
    /// The hold, as `drctl hold list` shows it
    #[arg(value_name = "HOLD")]
    hold: String,
    /// Why it is released
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who releases it [default: USER@HOST]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

pub(super) async fn run(args: HoldArgs, context: &Context) -> Result<Exit, CommandError> {
    match args.command {
        HoldCommand::Add(args) => add(args, context).await,
        HoldCommand::List => list(context).await,
        HoldCommand::Release(args) => release(args, context).await,
    }
}

/// Returns who was named, or the user that runs this, on this host.
pub(super) fn person(given: Option<String>) -> String {
    given.unwrap_or_else(|| {
        let named = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
        let user = named.unwrap_or_else(|| format!("uid {}", rustix::process::geteuid().as_raw()));
        format!("{user}@{}", host_name())
    })
}

async fn add(args: AddArgs, context: &Context) -> Result<Exit, CommandError> {
    let now = context.clock.now();
    if args.until.is_some_and(|until| until <= now) {
        return Err(
            CommandError::usage("the hold would be over already").hint("`--until` takes a time to come.")
        );
    }
    let known = CatalogView::open(context, false).await?;
    let on = match (&args.source, &args.backup) {
        (Some(source), _) => {
            if known.policy.source(source).is_none() {
                return Err(CommandError::usage(format!("the policy has no source `{source}`")));
            }
            HeldScope::Source(source.clone())
        }
        (None, prefix) => {
            HeldScope::Backup(known.find(prefix.as_deref().unwrap_or_default()).await?.id().clone())
        }
    };
    let (by, reason, until) = (person(args.by), args.reason, args.until);
    let (holds, is_whole) = read_all(context, &known.policy, &known.repositories).await;
    // Its release may be in a repository that was not read: then a new one is placed.
    let standing = holds.standing(&on, &by, now).filter(|_| is_whole);
    let hold = match standing {
        // Repeated, it completes what a repository has missed.
        Some(standing) if (&standing.reason, standing.until) == (&reason, until) => standing.clone(),
        Some(standing) => {
            let until = standing.until.map_or("it is released".to_owned(), format_time);
            return Err(CommandError::usage(format!(
                "{by} holds {} already, until {until}: hold `{}`, {}",
                describe(&on),
                standing.id,
                standing.reason
            ))
            .hint(format!(
                "To change it, place the new one with another `--by`, and release this one (`drctl hold release {}`).",
                standing.id
            )));
        }
        None => Hold { id: RunId::new(now, seed()).to_string(), on, reason, by, placed: now, until },
    };
    let lost = hold_store::add(&known.repositories, &known.policy.system, &hold).await;
    let lost = lost.map_err(CommandError::failed)?;
    let entries = known.entries().await?;
    let of_it: Vec<&BackupEntry> = entries.iter().filter(|entry| hold.keeps(entry.id())).collect();
    let (writable, system) = (known.repositories.writable(), &known.policy.system);
    let stores = hold_objects(writable, system, &of_it, true, |_| false).await;
    known.catalog.close().await;
    if context.output.is_json() {
        context.output.document("hold", &HoldDocument { hold: &hold, stores: &stores });
    } else {
        context.output.line(format!("hold {} on {}", hold.id, describe(&hold.on)));
        for store in stores.iter().filter(|store| store.objects > 0) {
            let objects = count(store.objects, "object");
            context.output.line(format!("the store of `{}` holds {objects} of it", store.repository));
        }
    }
    concluded(context, &lost, &stores)
}

#[derive(Serialize)]
struct HoldDocument<'a> {
    #[serde(flatten)]
    hold: &'a Hold,
    /// Stores that can hold objects themselves.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stores: &'a [HeldObjects],
}

/// A repository that does not know of it would remove what it keeps, were it the only one that can be reached.
fn concluded(
    context: &Context,
    lost: &[crate::repository::Unavailable],
    stores: &[HeldObjects],
) -> Result<Exit, CommandError> {
    for store in stores {
        if store.is_denied {
            context.output.note(format!(
                "note: the store of `{}` does not hold it: this host may not (s3:PutObjectLegalHold); retention keeps it",
                store.repository
            ));
        }
        if let Some(why) = &store.failed {
            let words =
                format!("the store of `{}` did not take the hold of every object: {why}", store.repository);
            context.output.warn(&words);
            context.output.reason(words);
        }
    }
    for one in lost {
        warn_lost(context, one);
        context.output.reason(format!("`{}` did not take the record: {}", one.name, one.reason()));
    }
    if !lost.is_empty() {
        context.output.note("hint: Repeat it when the repository can be reached.");
    }
    let is_done = lost.is_empty() && stores.iter().all(|store| store.failed.is_none());
    Ok(if is_done { Exit::Done } else { Exit::Partly })
}

fn describe(on: &HeldScope) -> String {
    match on {
        HeldScope::Backup(backup) => backup.to_string(),
        HeldScope::Source(source) => format!("all of {source}"),
    }
}

async fn opened(context: &Context) -> Result<(Policy, Repositories, Holds, bool), CommandError> {
    let policy = context.policy()?;
    let (catalog, repositories) = recall(context, &policy, context.repositories(&policy).await).await;
    if let Some(catalog) = catalog {
        catalog.close().await;
    }
    let repositories = repositories.for_reading(&policy.system, None).await;
    repositories.lost().iter().for_each(|lost| warn_lost(context, lost));
    let (holds, is_whole) = read_all(context, &policy, &repositories).await;
    Ok((policy, repositories, holds, is_whole))
}

/// Returns the holds of every repository, and whether each could be read.
async fn read_all(context: &Context, policy: &Policy, repositories: &Repositories) -> (Holds, bool) {
    let (mut holds, mut is_whole) = (Holds::default(), repositories.lost().is_empty());
    for repository in repositories.iter() {
        match hold_store::read(&*repository.store, &policy.system).await {
            Ok(found) => holds.merge(found),
            Err(error) => {
                is_whole = false;
                context.output.warn(format!("the holds in `{}`: {}", repository.name, error_chain(&error)));
            }
        }
    }
    (holds, is_whole)
}

#[derive(Serialize)]
struct HoldsDocument<'a> {
    holds: Vec<HoldRow<'a>>,
}

#[derive(Serialize)]
struct HoldRow<'a> {
    #[serde(flatten)]
    hold: &'a Hold,
    /// `in-force`, `over`, `released`
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    released: Option<&'a Release>,
}

async fn list(context: &Context) -> Result<Exit, CommandError> {
    let (_, _, holds, is_whole) = opened(context).await?;
    let now = context.clock.now();
    let rows = holds.all.iter().map(|hold| {
        let released = holds.released.iter().find(|release| release.hold == hold.id);
        let state = match released {
            Some(_) => "released",
            None if hold.is_over(now) => "over",
            None => "in-force",
        };
        HoldRow { hold, state, released }
    });
    let rows: Vec<HoldRow<'_>> = rows.collect();
    if context.output.is_json() {
        context.output.document("holds", &HoldsDocument { holds: rows });
    } else if rows.is_empty() {
        let line = if is_whole { "There are no holds." } else { "No hold could be read." };
        context.output.line(line);
    } else {
        let mut table = TextTable::head(["HOLD", "ON", "STATE", "BY", "UNTIL", "REASON"].map(Cell::new));
        for HoldRow { hold, state, .. } in &rows {
            let until = hold.until.map_or("it is released".to_owned(), format_time);
            table.row(
                [&hold.id, &describe(&hold.on), &(*state).to_owned(), &hold.by, &until, &hold.reason]
                    .map(Cell::new),
            );
        }
        table.lines().iter().for_each(|line| context.output.line(line));
    }
    if !is_whole {
        context.output.reason("not every repository could be read");
    }
    Ok(if is_whole { Exit::Done } else { Exit::Partly })
}

async fn release(args: ReleaseArgs, context: &Context) -> Result<Exit, CommandError> {
    let (policy, repositories, holds, is_whole) = opened(context).await?;
    if !holds.all.iter().any(|hold| hold.id == args.hold) {
        let error = hold_store::HoldError::Unknown(args.hold);
        let hint = match is_whole {
            true => "`drctl hold list` shows what there is.",
            false => "Not every repository could be read. Repeat it when they can be reached.",
        };
        return Err(CommandError::usage(error).hint(hint));
    }
    // Repeated, it completes what a repository has missed.
    let others: Vec<Hold> = holds.in_force().filter(|hold| hold.id != args.hold).cloned().collect();
    let on = holds.all.iter().find(|hold| hold.id == args.hold).cloned();
    let known = holds.released.into_iter().find(|release| release.hold == args.hold);
    let release = known.unwrap_or_else(|| Release {
        hold: args.hold,
        by: person(args.by),
        reason: args.reason,
        released: context.clock.now(),
    });
    let lost = hold_store::release(&repositories, &policy.system, &release).await;
    let lost = lost.map_err(CommandError::failed)?;
    if context.output.is_json() {
        context.output.document("hold-released", &release);
    } else {
        context.output.line(format!("released hold {}", release.hold));
    }
    let stores = release_objects(context, &policy, &repositories, on.as_ref(), &others).await?;
    concluded(context, &lost, &stores)
}

/// Has stores release what no other hold keeps.
async fn release_objects(
    context: &Context,
    policy: &Policy,
    repositories: &Repositories,
    hold: Option<&Hold>,
    others: &[Hold],
) -> Result<Vec<HeldObjects>, CommandError> {
    let Some(hold) = hold else { return Ok(vec![]) };
    let (catalog, _) = brought_up(context, policy, None, repositories).await?;
    let entries = catalog.backups(&Filter::default()).await?;
    catalog.close().await;
    let of_it: Vec<&BackupEntry> = entries.iter().filter(|entry| hold.keeps(entry.id())).collect();
    let now = context.clock.now();
    let keeps_on = |id: &BackupId| others.iter().any(|other| !other.is_over(now) && other.keeps(id));
    Ok(hold_objects(repositories.writable(), &policy.system, &of_it, false, keeps_on).await)
}
