//! The whole application.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;

use super::super::Context;
use super::super::catalog_view::warn_lost;
use super::super::error::CommandError;
use super::super::exit::Exit;
use super::super::hints::{self, exit_of_refusals, hints_for_refusals};
use super::super::render::restore_application::{show_plan, show_report};
use super::{RestoreArgs, logical, open, physical};
use crate::application::{
    ApplicationError, ApplicationReport, ApplicationRequest, ApplicationTarget, MemberError, PointSelector,
    WalAccess, prepare,
};
use crate::checks;
use crate::model::{Judgement, SourceName};
use crate::platform::expand_home;
use crate::policy::{Check, Policy};
use crate::recoverability::survey::missing_wal;
use crate::repository::{Inventory, Listing};
use crate::restore::content::ContentRestoreRequest;
use crate::restore::logical::{CatalogHints, DumpRestoreRequest};
use crate::restore::physical::PhysicalRestoreRequest;
use crate::run::RunContext;

const AT_ONCE: usize = 2;

/// What is restored together
#[derive(Debug, Args)]
#[command(next_help_heading = "Restoring the whole application")]
pub(super) struct ApplicationArgs {
    /// Every source of the policy's recovery point, or every source where it has none. `--to DIRECTORY` restores each into
    /// a directory of its name there, and a dump into a new database `NAME_restored` on the source's own server. `--to
    /// PLAN.toml` says it for each: `[to]`, then a line a source, `database = "postgres://user@host/new_database"`, `uploads =
    /// "/srv/uploads"`; above it `leave_out = ["cache"]`, below it `[password]`, `database = "env:NAME"`; `--plan` prints one.
    /// The same command again resumes what was interrupted, or failed. With `--point-in-time` a cluster whose WAL is archived
    /// is recovered to that time, and of everything else the last backup before it is restored
    #[arg(long, conflicts_with_all = ["source", "backup"])]
    all: bool,
    /// This recovery point: its id, or the beginning of it [default: the last one that can be restored whole]
    #[arg(long, value_name = "ID", requires = "all", conflicts_with = "moment")]
    point: Option<String>,
    /// Stop when a source cannot be restored [default: restore the others]
    #[arg(long, requires = "all")]
    fail_fast: bool,
}

impl ApplicationArgs {
    pub(super) fn is_given(&self) -> bool {
        self.all
    }
}

/// Options of restores of one source that have a meaning here, too.
const TAKEN: [&str; 2] = ["--to", "--jobs"];

pub(super) async fn run(
    args: &RestoreArgs,
    policy: &Policy,
    context: &Context,
) -> Result<Exit, CommandError> {
    let others: Vec<_> = args.given().map(|(name, _)| name).filter(|name| !TAKEN.contains(name)).collect();
    if !others.is_empty() {
        return Err(CommandError::usage(format!("{} does not go with `--all`", others.join(", ")))
            .hint("Restore that source alone: `drctl restore SOURCE …`."));
    }
    let selector = match (&args.application.point, args.moment.is_given()) {
        (Some(prefix), _) => PointSelector::Prefix(prefix.clone()),
        (None, true) => {
            args.moment.time_or_latest()?.flatten().map_or(PointSelector::Newest, PointSelector::Time)
        }
        (None, false) => PointSelector::Latest,
    };
    let to = expand_home(Path::new(args.to())).map_err(CommandError::usage)?;
    let to = ApplicationTarget::read(&to).map_err(|error| {
        CommandError::usage(error).hint("`drctl restore --all --to DIRECTORY --plan` prints a plan file.")
    })?;
    let identities = context.identities(&args.identity).await?;
    let run = open(args, policy, context, identities).await?;
    let known = match &run.catalog {
        Some(catalog) => logical::known(catalog, context, &run, None).await,
        None => CatalogHints { doubtful: super::doubtful(&run, &[]).await, ..CatalogHints::default() },
    };
    let request = ApplicationRequest {
        selector,
        to,
        from: args.from.clone(),
        at_once: args.jobs.map_or(AT_ONCE, |jobs| usize::try_from(jobs).unwrap_or(AT_ONCE)),
        fail_fast: args.application.fail_fast,
        scratch: args.scratch.clone(),
        wal: WalAccess {
            command: physical::wal_command(args, policy, context)?,
            repositories: physical::directories(policy),
        },
        inventory: inventory(&run, policy, &known).await,
        known,
    };
    let checks: BTreeMap<SourceName, Vec<Check>> = policy
        .sources
        .iter()
        .map(|source| (source.name.clone(), checks::of_source(policy.drill.as_ref(), &source.name)))
        .collect();
    let prepared = prepare(&run, policy, request, &checks).await.map_err(refused)?;
    show_plan(&context.output, prepared.plan(), args.plan.then(|| prepared.plan_file()).as_deref());
    if args.plan {
        return Ok(Exit::Done);
    }
    let (report, unrecorded) = prepared.run(&run).await.map_err(CommandError::failed)?;
    unrecorded.iter().for_each(|lost| warn_lost(context, lost));
    run.close().await;
    show_report(&context.output, &report);
    report.verdict.reasons.iter().for_each(|reason| context.output.reason(&reason.message));
    Ok(exit(&report, context))
}

/// Returns what the repositories have, each backup in those that could give it back: a copy that was found bad could not.
async fn inventory(run: &RunContext, policy: &Policy, known: &CatalogHints) -> Inventory {
    let listing = Listing::of_system(&run.repositories, &run.system).await;
    for lost in run.repositories.lost().iter().chain(&listing.unlisted) {
        run.events.warning(format!("repository {} cannot be read: {}", lost.name, lost.reason()));
    }
    let mut inventory = Inventory::load(&listing, &run.system, &crate::model::BackupKind::ALL).await;
    for record in &mut inventory.backups {
        let id = record.manifest.id.clone();
        record.holders.retain(|name| !known.doubtful.contains(&(id.clone(), name.clone())));
    }
    let ids: Vec<_> = inventory.backups.iter().map(|record| record.manifest.id.clone()).collect();
    let ids: Vec<_> = ids.iter().collect();
    let names = policy.repositories.iter().map(|config| &config.name);
    let lacking = missing_wal(&run.repositories, &inventory, &ids, names).await;
    for record in &mut inventory.backups {
        let id = record.manifest.id.clone();
        record.holders.retain(|name| lacking.obstacle(&id, name).is_none());
    }
    inventory
}

/// Returns the error of an application that is not restored, with the hints of each member's own method.
fn refused(error: ApplicationError) -> CommandError {
    let (exit, hints) = match &error {
        ApplicationError::Refused(refusals) => (exit_of_refusals(refusals), hints_for_refusals(refusals)),
        ApplicationError::Members(members) => {
            let each = members.iter().map(|member| match &member.error {
                MemberError::Dump(error) => hints::of_refused::<DumpRestoreRequest>(error),
                MemberError::Cluster(error) => hints::of_refused::<PhysicalRestoreRequest>(error),
                MemberError::Content(error) => hints::of_refused::<ContentRestoreRequest>(error),
                MemberError::Destination(_) => (Exit::Usage, vec![ELSEWHERE.to_owned()]),
                MemberError::Refused(refusal) => {
                    let refusals = std::slice::from_ref(refusal);
                    (exit_of_refusals(refusals), hints_for_refusals(refusals))
                }
            });
            let (exits, hints): (Vec<_>, Vec<_>) = each.unzip();
            let first = exits.first().copied().unwrap_or(Exit::Failed);
            let exit = if exits.iter().all(|exit| *exit == first) { first } else { Exit::Failed };
            let mut all: Vec<String> = Vec::new();
            for hint in hints.into_iter().flatten() {
                if !all.contains(&hint) {
                    all.push(hint);
                }
            }
            if members.iter().any(|member| matches!(member.error, MemberError::Dump(_)))
                && !all.iter().any(|hint| hint == ELSEWHERE)
            {
                all.push(ELSEWHERE.to_owned());
            }
            (exit, all)
        }
        ApplicationError::State(_) => (Exit::Failed, vec![]),
        ApplicationError::Interrupted => (Exit::Interrupted, vec![]),
    };
    hints.into_iter().fold(CommandError::new(exit, error), CommandError::hint)
}

const ELSEWHERE: &str = "A plan file says where each source goes, such as a database to another server: `--to PLAN.toml`, with `[to]` and a line for each, like `database = \"postgres://user@host/new_database\"` and `uploads = \"/srv/uploads\"`.";

fn exit(report: &ApplicationReport, context: &Context) -> Exit {
    let restored = report.members.iter().filter(|member| member.is_restored()).count();
    match report.verdict.outcome {
        _ if context.cancel.is_cancelled() && restored < report.members.len() => Exit::Interrupted,
        _ if restored == 0 => Exit::Failed,
        _ if restored < report.members.len() => Exit::Partly,
        Judgement::Fail => Exit::DrillFailed,
        Judgement::Undetermined => Exit::Undetermined,
        Judgement::Pass if report.is_sound() => Exit::Done,
        Judgement::Pass => Exit::Partly,
    }
}
