use std::collections::BTreeMap;

use serde::Serialize;

use super::Context;
use super::catalog_view::{brought_up, recall, warn_lost};
use super::error::CommandError;
use super::exit::Exit;
use super::style;
use crate::catalog::Catalog;
use crate::copies::{
    HiddenHow, HiddenItem, HiddenPart, HiddenSurvey, UndeletePlan, Undeleted, execute_undelete,
    plan_undelete, survey_hidden,
};
use crate::model::{BackupId, Outcome, RepositoryName, SourceName};
use crate::policy::{Policy, RuleTerms};
use crate::repository::journal::{Detail, Tombstones};
use crate::repository::{Repositories, write_options};
use crate::run::RunContext;
use crate::store::Lock;
use crate::text::{count, format_time};

const VERB: &str = "copies-undelete";

#[derive(Debug, clap::Args)]
pub(super) struct UndeleteArgs {
    /// Backups that are hidden or overwritten, by id or prefix [default: all that were not removed on purpose]
    #[arg(value_name = "ID")]
    backups: Vec<String>,
    /// Bring them back; without it the plan is shown and nothing is changed
    #[arg(long)]
    apply: bool,
}

/// Returns what is hidden or overwritten in every repository, whether its marker is still there or not.
pub(super) async fn hidden(
    context: &Context,
    policy: &Policy,
    catalog: &Catalog,
    repositories: &Repositories,
) -> Result<HiddenSurvey, CommandError> {
    let runs = catalog.runs(None).await?;
    let tombstones = Tombstones::new(&runs);
    Ok(survey_hidden(repositories, &policy.system, &tombstones, &context.cancel).await)
}

pub(super) async fn run(args: UndeleteArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let (catalog, repositories) = recall(context, &policy, context.repositories(&policy).await).await;
    // Also those whose marker is hidden: it is what is to come back.
    let readable = repositories.clone().for_reading(&policy.system, None).await;
    let (catalog, _) = brought_up(context, &policy, catalog, &readable).await?;
    let survey = hidden(context, &policy, &catalog, &repositories).await?;
    if survey.unversioned.len() == policy.repositories.len() {
        catalog.close().await;
        return Err(CommandError::failed("no repository keeps versions: what is gone from them is gone")
            .hint("`drctl copies sync` copies what another repository has."));
    }
    let wanted =
        args.backups.iter().map(|prefix| named(prefix, &survey.items)).collect::<Result<Vec<_>, _>>()?;
    let plan = plan_undelete(survey.items, &wanted);
    let done = match args.apply {
        true => execute_undelete(&repositories, &plan, locks(context, &policy), &context.cancel).await,
        false => vec![],
    };
    if done.iter().any(|one| one.objects > 0) {
        record(context, &policy, catalog, repositories, &done).await;
    } else {
        catalog.close().await;
    }
    let (unversioned, unknown) = (survey.unversioned, survey.unknown);
    if context.output.is_json() {
        let unknown = unknown.iter().map(|(name, why)| (name, why.as_str())).collect();
        let document = UndeleteDocument {
            applied: args.apply,
            plan: &plan,
            done: &done,
            unversioned: &unversioned,
            unknown,
        };
        context.output.document("copies-undelete", &document);
    } else {
        let nothing = nothing_found(unversioned.len(), unknown.len(), policy.repositories.len());
        show(context, &plan, &done, args.apply, nothing);
        for name in &unversioned {
            context.output.note(format!("note: `{name}` keeps no versions: what is gone from it is gone"));
        }
    }
    for (name, why) in &unknown {
        context.output.warn(format!("what is hidden in `{name}` is not known: {why}"));
        context.output.reason(format!("`{name}` could not be looked into: {why}"));
    }
    let failed: Vec<&Undeleted> = done.iter().filter(|one| !one.failed.is_empty()).collect();
    for one in &failed {
        for why in &one.failed {
            context.output.reason(format!("{} in {}: {why}", part(&one.part), one.repository));
        }
    }
    Ok(match () {
        () if context.cancel.is_cancelled() => Exit::Interrupted,
        () if failed.is_empty() && unknown.is_empty() && plan.lost.is_empty() => Exit::Done,
        () if !done.is_empty() && failed.len() == done.len() => Exit::Failed,
        () => Exit::Partly,
    })
}

/// Returns how copies of a source are locked there, as when they are written.
fn locks(
    context: &Context,
    policy: &Policy,
) -> impl Fn(&RepositoryName, Option<&SourceName>) -> Option<Lock> + use<> {
    let now = context.clock.now();
    let names: Vec<SourceName> = policy.sources.iter().map(|source| source.name.clone()).collect();
    let mut locks: BTreeMap<(RepositoryName, SourceName), Option<Lock>> = BTreeMap::new();
    for source in names {
        let terms = RuleTerms::new(policy, &source);
        let options = write_options(&policy.repositories, now, |name| terms.at_least(name, now));
        locks.extend(options.into_iter().map(|(name, options)| ((name, source.clone()), options.lock)));
    }
    move |name, source| locks.get(&(name.clone(), source?.clone())).copied().flatten()
}

async fn record(
    context: &Context,
    policy: &Policy,
    catalog: Catalog,
    repositories: Repositories,
    done: &[Undeleted],
) {
    let repositories = repositories.for_reading(&policy.system, None).await;
    let run = RunContext::begin(
        policy.system.clone(),
        repositories,
        Some(catalog),
        context.clock.clone(),
        context.output.events(),
        context.cancel.clone(),
    );
    let backups = done.iter().filter_map(|one| match &one.part {
        HiddenPart::Backup(backup) if one.failed.is_empty() => Some(backup.clone()),
        HiddenPart::Backup(_) | HiddenPart::Wal(_) | HiddenPart::Records => None,
    });
    let failed = done.iter().flat_map(|one| one.failed.iter().cloned());
    let detail =
        Detail { backups: backups.collect(), reasons: failed.take(100).collect(), ..Detail::default() };
    let outcome = match done.iter().all(|one| one.failed.is_empty()) {
        true => Outcome::Succeeded,
        false => Outcome::Degraded,
    };
    let unrecorded = run.conclude(VERB, outcome, detail).await;
    unrecorded.iter().for_each(|lost| warn_lost(context, lost));
    run.close().await;
}

fn named(prefix: &str, items: &[HiddenItem]) -> Result<BackupId, CommandError> {
    let mut ids: Vec<&BackupId> = items
        .iter()
        .filter_map(|item| match &item.part {
            HiddenPart::Backup(backup) => Some(backup).filter(|id| id.as_str().starts_with(prefix)),
            HiddenPart::Wal(_) | HiddenPart::Records => None,
        })
        .collect();
    ids.sort();
    ids.dedup();
    match ids.as_slice() {
        [id] if !prefix.is_empty() => Ok((*id).clone()),
        [] => Err(CommandError::usage(format!(
            "no backup is hidden or overwritten whose id begins with `{prefix}`"
        ))
        .hint("`drctl list --include-hidden` names those that are.")),
        several => Err(CommandError::usage(format!("`{prefix}` is the beginning of {} ids", several.len()))),
    }
}

fn part(part: &HiddenPart) -> String {
    match part {
        HiddenPart::Backup(backup) => backup.to_string(),
        HiddenPart::Wal(source) => format!("the WAL of {source}"),
        HiddenPart::Records => "the records of the repository".to_owned(),
    }
}

/// Returns `3 objects hidden, 1 overwritten since 2026-11-20 03:00:00 UTC`.
pub(super) fn words(item: &HiddenItem) -> String {
    let (hidden, overwritten) = (item.count(HiddenHow::Hidden), item.count(HiddenHow::Overwritten));
    let how = match (hidden, overwritten) {
        (hidden, 0) => format!("{} hidden by delete markers", count(hidden, "object")),
        (0, overwritten) => format!("{} overwritten", count(overwritten, "object")),
        (hidden, overwritten) => {
            format!("{} hidden by delete markers, {overwritten} overwritten", count(hidden, "object"))
        }
    };
    format!("{} in {}: {how} since {}", part(&item.part), item.repository, format_time(item.since))
}

/// Returns what is said where nothing was found: no more than what was looked into. `all`: the number of repositories.
pub(super) fn nothing_found(unversioned: usize, unknown: usize, all: usize) -> Option<&'static str> {
    match (unversioned, unknown) {
        (0, 0) => Some("Nothing is hidden or overwritten."),
        _ if unversioned + unknown >= all => None,
        (_, 0) => Some("Nothing is hidden or overwritten where versions are kept."),
        _ => Some("Nothing that is hidden or overwritten was found in the repositories that could be read."),
    }
}

fn show(context: &Context, plan: &UndeletePlan, done: &[Undeleted], is_applied: bool, nothing: Option<&str>) {
    let (output, good, bad, faint) = (&context.output, style::GOOD, style::BAD, style::FAINT);
    for item in plan.items.iter().filter(|_| !is_applied) {
        let copies = item.objects.iter().filter(|object| object.how == HiddenHow::Overwritten).count() as u64;
        let by = match copies {
            0 => "delete markers are removed".to_owned(),
            number => format!("the version that was stored of {} is copied on top", count(number, "object")),
        };
        output.line(format!("{good}comes back{good:#} {}; {by}", words(item)));
    }
    for one in done {
        let objects = count(one.objects, "object");
        let (name, repository) = (part(&one.part), &one.repository);
        match one.failed.first() {
            None => output.line(format!("{good}back{good:#} {name} in {repository}: {objects}")),
            Some(why) => {
                let others = one.failed.len() - 1;
                let others = if others > 0 { format!(", and {others} more") } else { String::new() };
                output.line(format!("{bad}failed{bad:#} {name} in {repository}: {why}{others}"));
            }
        }
    }
    for item in &plan.lost {
        let lost = item.lost().count() as u64;
        output.line(format!(
            "{bad}lost{bad:#} {}; no version of {} is intact",
            words(item),
            count(lost, "object")
        ));
    }
    for item in &plan.removed {
        output.line(format!("{faint}removed on purpose{faint:#} {}; it comes back by its id", words(item)));
    }
    match () {
        () if plan.items.is_empty() && plan.lost.is_empty() => {
            nothing.into_iter().for_each(|nothing| output.line(format!("{faint}{nothing}{faint:#}")));
        }
        () if !is_applied && !plan.items.is_empty() => {
            let strong = style::STRONG;
            output.line(format!(
                "Nothing was changed. `{strong}drctl copies undelete --apply{strong:#}` brings it back, and deletes no version."
            ));
        }
        () => {}
    }
    if !plan.lost.is_empty() {
        output.note("hint: `drctl copies sync` repairs from another repository what no version has.");
    }
    if is_applied && !plan.items.is_empty() {
        output.note("hint: `drctl verify` reads what came back. It may be hidden again: replace the credentials that may delete.");
    }
}

#[derive(Serialize)]
struct UndeleteDocument<'a> {
    applied: bool,
    #[serde(flatten)]
    plan: &'a UndeletePlan,
    done: &'a [Undeleted],
    unversioned: &'a [RepositoryName],
    unknown: BTreeMap<&'a RepositoryName, &'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_of_what_was_not_looked_into() {
        assert_eq!(nothing_found(0, 0, 2), Some("Nothing is hidden or overwritten."));
        for (unversioned, unknown) in [(1, 0), (0, 1)] {
            let said = nothing_found(unversioned, unknown, 2);
            assert!(said.is_some_and(|said| said.contains(" where ") || said.contains("could be read")));
        }
        for (unversioned, unknown) in [(2, 0), (0, 2), (1, 1)] {
            assert_eq!(nothing_found(unversioned, unknown, 2), None);
        }
    }
}
