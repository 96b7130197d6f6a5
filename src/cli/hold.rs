use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Context;
use super::catalog_view::{CatalogView, brought_up, recall, warn_lost};
use super::error::CommandError;
use super::exit::{self, Exit};
use super::table::{Cell, TextTable};
use crate::catalog::Filter;
use crate::model::{BackupId, RunId, SourceName};
use crate::platform::{host_name, seed};
use crate::policy::{Policy, RepositoryLocation};
use crate::repository::{Repositories, Unavailable};
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
    let (writable, system) = (known.repositories.writable(), &known.policy.system);
    let stores = hold_objects(writable, system, &entries, true, |id| hold.keeps(id), |_| false).await;
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
    for store in stores.iter().filter(|store| store.is_denied) {
        context.output.note(format!(
            "note: the store of `{}` does not hold it: this host may not (s3:PutObjectLegalHold); retention keeps it",
            store.repository
        ));
    }
    Ok(concluded(context, &lost, failures(&stores, "take the hold of every object")))
}

#[derive(Serialize)]
struct HoldDocument<'a> {
    #[serde(flatten)]
    hold: &'a Hold,
    /// Stores that can hold objects themselves.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stores: &'a [HeldObjects],
}

#[derive(Serialize)]
struct ReleaseDocument<'a> {
    #[serde(flatten)]
    release: &'a Release,
    /// Stores that held objects themselves.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stores: &'a [HeldObjects],
}

/// Returns what stores did not do, and why.
fn failures(stores: &[HeldObjects], what: &str) -> Vec<String> {
    let failed = stores.iter().filter_map(|store| Some((&store.repository, store.failed.as_ref()?)));
    failed.map(|(name, why)| format!("the store of `{name}` did not {what}: {why}")).collect()
}

/// A repository that does not know of it would remove what it keeps, were it the only one that can be reached.
fn concluded(context: &Context, lost: &[Unavailable], failures: Vec<String>) -> Exit {
    let is_done = lost.is_empty() && failures.is_empty();
    for words in failures {
        context.output.warn(&words);
        context.output.reason(words);
    }
    for one in lost {
        warn_lost(context, one);
        context.output.reason(format!("`{}` did not take the record: {}", one.name, one.reason()));
    }
    if !lost.is_empty() {
        context.output.note("hint: Repeat it when the repository can be reached.");
    }
    if is_done { Exit::Done } else { Exit::Partly }
}

/// Returns why stores hold objects still: they would keep them for ever, whatever the rules say.
fn still_held(stores: &[HeldObjects], is_whole: bool) -> Vec<String> {
    let mut reasons = failures(stores, "release every object");
    let denied = stores.iter().filter(|store| store.is_denied);
    reasons.extend(denied.map(|store| {
        format!(
            "the store of `{}` holds objects of it still: this host may not release them (s3:PutObjectLegalHold)",
            store.repository
        )
    }));
    if !is_whole {
        reasons.push(
            "stores hold the objects still: the holds of a repository are not known, and another one may keep them"
                .to_owned(),
        );
    }
    reasons
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
    let stores = match is_whole {
        true => release_objects(context, &policy, &repositories, on.as_ref(), &others).await?,
        false => vec![],
    };
    if context.output.is_json() {
        context.output.document("hold-released", &ReleaseDocument { release: &release, stores: &stores });
    } else {
        context.output.line(format!("released hold {}", release.hold));
    }
    // Directories hold nothing.
    let may_hold = policy.repositories.iter().any(|config| matches!(config.place, RepositoryLocation::S3(_)));
    let held = still_held(&stores, is_whole || !may_hold);
    if stores.iter().any(|store| store.is_denied) {
        context.output.note("hint: Repeat it with credentials that may.");
    } else if !held.is_empty() && lost.is_empty() {
        context.output.note("hint: Repeat it: what was released already stays so.");
    }
    Ok(concluded(context, &lost, held))
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
    let now = context.clock.now();
    let keeps_on = |id: &BackupId| others.iter().any(|other| !other.is_over(now) && other.keeps(id));
    let is_of_it = |id: &BackupId| hold.keeps(id);
    Ok(hold_objects(repositories.writable(), &policy.system, &entries, false, is_of_it, keeps_on).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_keeps_its_hold_is_no_success() {
        let store = |is_denied, failed: Option<&str>| HeldObjects {
            repository: "west".parse().unwrap(),
            objects: 3,
            is_denied,
            failed: failed.map(str::to_owned),
        };
        assert_eq!(still_held(&[store(false, None)], true), Vec::<String>::new());
        let denied = still_held(&[store(true, None)], true);
        assert!(matches!(&denied[..], [why] if why.contains("still") && why.contains("may not release")));
        let failed = still_held(&[store(false, Some("timed out"))], true);
        assert_eq!(failed, ["the store of `west` did not release every object: timed out"]);
        assert_eq!(still_held(&[], false).len(), 1, "another hold may keep them");
    }
}
