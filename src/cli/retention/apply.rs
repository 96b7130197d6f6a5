use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::plan::show_refusal;
use super::view::RetentionView;
use crate::cli::Context;
use crate::cli::catalog_view::warn_lost;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::notify::{Concluded, around};
use crate::cli::output::Output;
use crate::cli::style;
use crate::model::{RunId, SourceName};
use crate::notify::findings::{self, Occasion};
use crate::platform::{CancellationToken, seed};
use crate::policy::Job;
use crate::repository::lease::{self, Acquired, Lease};
use crate::repository::{Repositories, layout};
use crate::retention::{ApplyParts, ApplyReport, EndedHold, LeftAlone, RefusalCode, RefusedSource, execute};
use crate::run::RunContext;
use crate::text::{count, error_chain, format_size, format_time};

#[derive(Debug, clap::Args)]
pub(super) struct ApplyArgs {
    /// The digest of the plan that is meant, as `drctl retention plan` shows it
    #[arg(long, value_name = "DIGEST")]
    confirm: Option<String>,
}

pub(super) async fn run(args: ApplyArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    around(Job::Retention, context, &policy, work(args, context)).await
}

async fn work(args: ApplyArgs, context: &Context) -> Result<Concluded, CommandError> {
    let now = context.clock.now();
    let id = RunId::new(now, seed());
    let view = RetentionView::open(context, &id).await?;
    let sources = to_work_on(&view);
    let lost = CancellationToken::new();
    let leases = take_leases(context, &view, &sources, &id, &lost).await;
    // What was planned before the leases were held may be another by now.
    let view = if sources.is_empty() {
        view
    } else {
        view.catalog.close().await;
        match RetentionView::open(context, &id).await {
            Ok(view) => view,
            Err(error) => {
                release(leases).await;
                return Err(error);
            }
        }
    };
    let is_confirmed = match &args.confirm {
        Some(digest) if *digest != view.plan.digest => {
            release(leases).await;
            let message = format!("the plan is `{}` now, not `{digest}`", view.plan.digest);
            return Err(CommandError::usage(message)
                .hint("Something changed since. Look at `drctl retention plan` again."));
        }
        confirm => confirm.is_some(),
    };
    let mut run = RunContext::begin(
        view.policy.system.clone(),
        view.repositories,
        Some(view.catalog),
        context.clock.clone(),
        context.output.events(),
        merged(&context.cancel, &lost),
    );
    run.id = id;
    let run_id = run.id.clone();
    let leased: BTreeSet<SourceName> = leases.iter().map(|(source, _)| source.clone()).collect();
    let plan = &view.plan;
    let parts = ApplyParts {
        surveyed: &view.surveyed,
        entries: &view.entries,
        regions: &view.regions,
        leased: &leased,
        is_confirmed,
    };
    let report = execute(&run, plan, parts).await;
    release(leases).await;
    run.close().await;
    report.unrecorded.iter().for_each(|lost| warn_lost(context, lost));
    if context.output.is_json() {
        context.output.document("retention-apply", &ApplyDocument { digest: &plan.digest, report: &report });
    } else {
        show(&context.output, &report);
        if needs_confirmation(&report) {
            let digest = &plan.digest;
            context.output.note(format!(
                "hint: `drctl retention plan` shows what goes; `drctl retention apply --confirm {digest}` removes it."
            ));
        }
    }
    reasons(&report).iter().for_each(|reason| context.output.reason(reason));
    let occasion = Occasion { policy: &view.policy, run: &run_id, now };
    Ok(Concluded { exit: exit(&report), findings: findings::retention(&report, occasion) })
}

#[derive(Serialize)]
struct ApplyDocument<'a> {
    digest: &'a str,
    #[serde(flatten)]
    report: &'a ApplyReport,
}

/// Sources of which something goes, or is left over.
fn to_work_on(view: &RetentionView) -> Vec<SourceName> {
    let removing = view.plan.sources.iter().filter(|source| source.removes_anything());
    let due = view.surveyed.leftovers.iter().filter(|left| left.is_due);
    let all: BTreeSet<SourceName> = removing
        .map(|source| source.source.clone())
        .chain(due.map(|left| left.backup.source().clone()))
        .collect();
    all.into_iter().collect()
}

/// One for each source, where every host looks for it: the first repository that can be reached.
async fn take_leases(
    context: &Context,
    view: &RetentionView,
    sources: &[SourceName],
    run: &RunId,
    lost: &CancellationToken,
) -> Vec<(SourceName, Lease)> {
    let mut leases = Vec::new();
    for source in sources {
        // A run that is known to be alive is not waited for.
        if view.surveyed.survey.active.iter().any(|active| active.source == *source) {
            continue;
        }
        if let Some(lease) = take_lease(context, &view.repositories, view, source, run, lost).await {
            leases.push((source.clone(), lease));
        }
    }
    leases
}

async fn take_lease(
    context: &Context,
    repositories: &Repositories,
    view: &RetentionView,
    source: &SourceName,
    run: &RunId,
    lost: &CancellationToken,
) -> Option<Lease> {
    for repository in repositories.writable() {
        let key = layout::lease(&view.policy.system, source.as_str());
        let (store, clock) = (Arc::clone(&repository.store), context.clock.clone());
        let taken =
            lease::acquire(store, key, run, crate::retention::VERB, lease::TIME_TO_LIVE, clock, lost.clone());
        match taken.await {
            Ok(Acquired::Held(lease)) => return Some(lease),
            Ok(Acquired::Busy(_)) => return None,
            Err(error) => context.output.warn(format!(
                "the lease of `{source}` cannot be taken in repository {}: {}",
                repository.name,
                error_chain(&error)
            )),
        }
    }
    None
}

async fn release(leases: Vec<(SourceName, Lease)>) {
    for (_, lease) in leases {
        lease.release().await;
    }
}

/// Cancelled when either is.
fn merged(one: &CancellationToken, other: &CancellationToken) -> CancellationToken {
    let (token, other) = (one.child_token(), other.clone());
    let linked = token.clone();
    tokio::spawn(async move {
        other.cancelled().await;
        linked.cancel();
    });
    token
}

fn needs_confirmation(report: &ApplyReport) -> bool {
    let mut refusals = report.refused.iter().flat_map(|refused| &refused.refusals);
    refusals.any(|refusal| refusal.code.can_be_confirmed())
}

fn show(output: &Output, report: &ApplyReport) {
    let (good, bad, faint) = (style::GOOD, style::BAD, style::FAINT);
    for removed in &report.removed {
        let size = match (removed.location.is_region(), removed.bytes) {
            (true, 0) => String::new(),
            (_, bytes) => format!(", {}", format_size(bytes)),
        };
        output.line(format!("{good}removed{good:#} {} from {}{size}", removed.backup, removed.location));
    }
    for removed in &report.deleting {
        output.line(format!(
            "deleting {} from {}: a later run removes its manifest",
            removed.backup, removed.location
        ));
    }
    for wal in &report.wal {
        let (files, size) = (count(wal.files, "WAL file"), format_size(wal.bytes));
        output.line(format!("{good}removed{good:#} {files} of {} from {}, {size}", wal.source, wal.location));
    }
    if report.leftover_objects > 0 {
        let (objects, size) = (count(report.leftover_objects, "object"), format_size(report.leftover_bytes));
        output.line(format!("{good}removed{good:#} {objects} of no backup, {size}"));
    }
    if report.aborted_uploads > 0 {
        output.line(format!("aborted {}", count(report.aborted_uploads, "unfinished upload")));
    }
    for locked in &report.locked {
        let until = locked
            .until
            .map_or("by a hold of the store".to_owned(), |until| format!("until {}", format_time(until)));
        output
            .line(format!("locked {} in {} {until}: a later run removes it", locked.backup, locked.location));
    }
    for locked in &report.locked_wal {
        let until = locked.until.map_or(String::new(), |until| format!(" until {}", format_time(until)));
        output.line(format!(
            "locked {} of {} in {}{until} or longer: a later run removes them",
            count(locked.files, "WAL file"),
            locked.source,
            locked.location
        ));
    }
    for EndedHold { location, hold } in &report.ended_holds {
        output.note(format!(
            "hint: Hold {hold} keeps nothing any more, and {location} has it still: `drctl hold release {hold} --reason TEXT` has it taken off."
        ));
    }
    for locked in &report.extended {
        let until = locked.until.map(|until| format!(" until {}", format_time(until))).unwrap_or_default();
        output.line(format!("{good}locked{good:#} {} in {}{until}", locked.backup, locked.location));
    }
    for failed in &report.failed_locks {
        let (backup, location) = (&failed.backup, &failed.location);
        output.line(format!("{bad}not locked{bad:#} {backup} in {location} for longer: {}", failed.reason));
    }
    for failed in &report.failed {
        output.line(format!("{bad}failed{bad:#} {} in {}: {}", failed.what, failed.location, failed.reason));
    }
    for RefusedSource { location, source, refusals } in &report.refused {
        output.line(format!("{source} in {location}: nothing was removed"));
        refusals.iter().for_each(|refusal| show_refusal(output, refusal));
    }
    for LeftAlone { what, why, is_in_policy } in &report.left {
        let named = if *is_in_policy { "" } else { ", which the policy does not name any more" };
        output.line(format!("left alone: {what}{named}: {why}"));
    }
    for skipped in &report.skipped {
        output.line(format!("{}: nothing was removed", skipped.location));
        skipped.refusals.iter().for_each(|refusal| show_refusal(output, refusal));
    }
    if report.failed.iter().any(|failed| failed.is_denied) {
        output.note("hint: This host may not delete there. Run it where the permissions of `drctl iam show retention` are.");
    }
    if !report.removed_anything()
        && report.is_complete()
        && report.locked.is_empty()
        && report.locked_wal.is_empty()
    {
        output.line(format!("{faint}Nothing goes: every backup is kept by a rule.{faint:#}"));
    }
}

fn reasons(report: &ApplyReport) -> Vec<String> {
    let refused = report.refused.iter().flat_map(|refused| {
        let told = |refusal: &crate::retention::Refusal| {
            format!("{} in {}: {}", refused.source, refused.location, refusal.message)
        };
        refused.refusals.iter().map(told).collect::<Vec<_>>()
    });
    let skipped = report.skipped.iter().flat_map(|skipped| &skipped.refusals);
    let skipped = skipped.map(|refusal| refusal.message.clone());
    let failed = report
        .failed
        .iter()
        .map(|failed| format!("{} was not removed from {}: {}", failed.what, failed.location, failed.reason));
    let locks = report.failed_locks.iter();
    let locks = locks.map(|failed| {
        format!("{} in {} was not locked longer: {}", failed.backup, failed.location, failed.reason)
    });
    refused.chain(skipped).chain(failed).chain(locks).collect()
}

fn exit(report: &ApplyReport) -> Exit {
    let is_busy =
        |refused: &RefusedSource| refused.refusals.iter().any(|one| one.code == RefusalCode::SourceBusy);
    match () {
        () if report.interrupted => Exit::Interrupted,
        () if report.is_complete() && report.unrecorded.is_empty() => Exit::Done,
        () if report.removed_anything() || report.is_complete() => Exit::Partly,
        // Nothing had to go where it could be planned.
        () if report.failed.is_empty() && report.refused.is_empty() => Exit::Partly,
        () if report.failed.is_empty() && report.refused.iter().all(is_busy) => Exit::LeaseHeld,
        () => Exit::Failed,
    }
}
