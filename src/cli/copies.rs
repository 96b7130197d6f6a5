use std::collections::BTreeSet;

use serde::Serialize;

use super::Context;
use super::catalog_view::{brought_up, missing, not_opened, recall, say_created, warn, warn_lost};
use super::error::CommandError;
use super::exit::Exit;
use super::notify::{Concluded, around};
use super::style;
use crate::catalog::{Filter, Refreshed};
use crate::copies::backups::{SyncReport, SyncedBackup};
use crate::copies::wal::SyncedWal;
use crate::copies::{self, CopiesReport, SourceWal};
use crate::model::{BackupId, Outcome, RepositoryName, SourceName};
use crate::notify::findings::{self, Occasion};
use crate::policy::{Job, Policy};
use crate::recoverability::missing_copies::MissingCopy;
use crate::repository::Unavailable;
use crate::repository::journal::{Detail, Removal};
use crate::run::RunContext;
use crate::text::{count, error_chain, format_size};

/// Look after the copies
#[derive(Debug, clap::Args)]
pub struct CopiesArgs {
    #[command(subcommand)]
    command: CopiesCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CopiesCommand {
    /// Copy what one repository has and another lacks, as it is stored and without keys
    #[command(after_help = super::exit::HELP)]
    Sync,
    /// Record that backups which are gone from a repository were removed on purpose
    ///
    /// `drctl verify` and `drctl status` report a backup that was there and is not any more, each time. This says that it
    /// is no fault: they do not report it again, and `drctl copies sync` does not copy it back. Nothing is deleted.
    #[command(after_help = super::exit::HELP)]
    Forget(ForgetArgs),
    /// Bring back backups that delete markers hide or that newer versions overwrite
    ///
    /// In a bucket that keeps versions, an intruder who may delete or write hides backups, and cannot remove what is locked. This
    /// shows which delete markers would be removed, and which older version would be copied on top; `--apply` does that. No
    /// version of anything is deleted. What retention removed comes back only by its id.
    #[command(after_help = super::exit::HELP)]
    Undelete(super::undelete::UndeleteArgs),
}

#[derive(Debug, clap::Args)]
struct ForgetArgs {
    /// Backups that are gone, by id or prefix
    #[arg(value_name = "ID", required_unless_present = "all")]
    backups: Vec<String>,
    /// Every backup that is gone
    #[arg(long, conflicts_with = "backups")]
    all: bool,
    /// From this repository only
    #[arg(long, value_name = "REPOSITORY")]
    from: Option<RepositoryName>,
}

pub(super) async fn run(args: CopiesArgs, context: &Context) -> Result<Exit, CommandError> {
    match args.command {
        CopiesCommand::Sync => sync(context).await,
        CopiesCommand::Forget(args) => forget(args, context).await,
        CopiesCommand::Undelete(args) => super::undelete::run(args, context).await,
    }
}

async fn sync(context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    around(Job::Copies, context, &policy, complete(context, &policy)).await
}

async fn complete(context: &Context, policy: &Policy) -> Result<Concluded, CommandError> {
    let now = context.clock.now();
    let (catalog, repositories) = recall(context, policy, context.repositories(policy).await).await;
    let repositories = repositories.for_writing(&policy.system, None, now).await;
    let repositories = repositories.map_err(|error| not_opened(context, error))?;
    say_created(context, &repositories);
    let (catalog, refreshed) = brought_up(context, policy, catalog, &repositories).await?;
    warn(context, &refreshed);
    let entries = catalog.backups(&Filter::default()).await?;
    let history = catalog.history().await?;
    let lost = lost(missing(policy, &catalog, Some(&refreshed), &history).await?);
    let run = RunContext::begin(
        policy.system.clone(),
        repositories,
        Some(catalog),
        context.clock.clone(),
        context.output.events(),
        context.cancel.clone(),
    );
    let report = copies::sync(&run, policy, &entries, &history).await;
    let CopiesReport { backups, wal } = &report;
    run.clone().close().await;
    backups.unrecorded.iter().for_each(|lost| warn_lost(context, lost));
    if context.output.is_json() {
        context.output.document("copies-sync", &document(&report, &refreshed, &lost));
    } else {
        show(context, backups, refreshed.is_complete(), !lost.is_empty());
        show_lost(context, &lost);
        wal.iter().for_each(|wal| show_wal(context, wal));
    }
    reasons(backups, wal).iter().for_each(|reason| context.output.reason(reason));
    lost.iter().for_each(|backup| context.output.reason(format!("no repository has {backup} any more")));
    let occasion = Occasion { policy, run: &run.id, now };
    let unreached =
        refreshed.lost.iter().map(|lost| format!("{} could not be read: {}", lost.name, lost.reason()));
    let findings = findings::copies(&report, &lost, &unreached.collect::<Vec<_>>(), occasion);
    let exit = match () {
        () if backups.interrupted => Exit::Interrupted,
        () if report.is_complete()
            && refreshed.is_complete()
            && lost.is_empty()
            && backups.unrecorded.is_empty() =>
        {
            Exit::Done
        }
        () if !backups.backups.is_empty() && backups.backups.iter().all(|synced| synced.result.is_err()) => {
            Exit::Failed
        }
        () => Exit::Partly,
    };
    Ok(Concluded { exit, findings })
}

/// Returns the backups that no repository has any more.
fn lost(missing: Vec<MissingCopy>) -> BTreeSet<BackupId> {
    missing.into_iter().filter(|missing| missing.is_lost).map(|missing| missing.backup).collect()
}

/// Returns text like `3 backups copied, 1 repaired`.
fn done_words(report: &SyncReport) -> String {
    let done = report.backups.iter().filter(|synced| synced.result.is_ok());
    let (repaired, copied): (Vec<_>, Vec<_>) = done.partition(|synced| synced.is_repair);
    let backups = |done: &[&SyncedBackup], word| format!("{} {word}", count(done.len() as u64, "backup"));
    match (copied.is_empty(), repaired.is_empty()) {
        (_, true) => backups(&copied, "copied"),
        (true, false) => backups(&repaired, "repaired"),
        (false, false) => format!("{}, {} repaired", backups(&copied, "copied"), repaired.len()),
    }
}

fn show_lost(context: &Context, lost: &BTreeSet<BackupId>) {
    for backup in lost {
        let bad = style::BAD;
        context.output.line(format!("{bad}lost{bad:#} {backup}: no repository has it any more"));
    }
    if !lost.is_empty() {
        context.output.note(
            "hint: Does a disk, or a bucket that keeps versions, still have it? Where it was removed on purpose, `drctl copies forget` records that.",
        );
    }
}

async fn forget(args: ForgetArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    if let Some(name) = args.from.as_ref().filter(|name| policy.repository(name).is_none()) {
        return Err(CommandError::usage(format!("the policy has no repository `{name}`")));
    }
    let (catalog, repositories) = recall(context, &policy, context.repositories(&policy).await).await;
    let repositories = repositories.for_writing(&policy.system, None, context.clock.now()).await;
    let repositories = repositories.map_err(|error| not_opened(context, error))?;
    let (catalog, refreshed) = brought_up(context, &policy, catalog, &repositories).await?;
    warn(context, &refreshed);
    let history = catalog.history().await?;
    let mut gone = missing(&policy, &catalog, Some(&refreshed), &history).await?;
    gone.retain(|missing| {
        missing.is_gone() && args.from.as_ref().is_none_or(|from| *from == missing.repository)
    });
    let named = args.backups.iter().map(|prefix| named(prefix, &gone)).collect::<Result<BTreeSet<_>, _>>()?;
    gone.retain(|missing| args.all || named.contains(&missing.backup));
    let removed = gone.into_iter().map(|missing| Removal {
        backup: missing.backup,
        repository: missing.repository,
        objects: vec![],
        reason: "removed outside drctl".to_owned(),
    });
    let removed: Vec<_> = removed.collect();
    let run = RunContext::begin(
        policy.system.clone(),
        repositories,
        Some(catalog),
        context.clock.clone(),
        context.output.events(),
        context.cancel.clone(),
    );
    let unrecorded = match removed.is_empty() {
        true => vec![],
        false => {
            let detail = Detail { removals: removed.clone(), ..Detail::default() };
            run.conclude("copies-forget", Outcome::Succeeded, detail).await
        }
    };
    run.close().await;
    unrecorded.iter().for_each(|lost| warn_lost(context, lost));
    if context.output.is_json() {
        context.output.document("copies-forget", &serde_json::json!({ "removed": removed }));
    } else if removed.is_empty() {
        context.output.line("No backup is gone.");
    }
    for Removal { backup, repository, .. } in removed.iter().filter(|_| !context.output.is_json()) {
        let good = style::GOOD;
        context
            .output
            .line(format!("{good}recorded{good:#} that {backup} was removed from {repository} on purpose"));
    }
    Ok(if unrecorded.is_empty() { Exit::Done } else { Exit::Partly })
}

/// Finds the one missing backup with this id or prefix: one that is named too loosely would silence others.
fn named(prefix: &str, gone: &[MissingCopy]) -> Result<BackupId, CommandError> {
    let ids: BTreeSet<&BackupId> = gone.iter().map(|missing| &missing.backup).collect();
    let found: Vec<&BackupId> = ids.into_iter().filter(|id| id.as_str().starts_with(prefix)).collect();
    match found.as_slice() {
        [] => Err(CommandError::usage(format!("no backup is gone whose id begins with `{prefix}`"))
            .hint("`drctl verify` names those that are.")),
        _ if prefix.is_empty() => Err(CommandError::usage("an empty id names no backup")
            .hint("Name a backup; `--all` means every one that is gone.")),
        [id] => Ok((*id).clone()),
        several => {
            let names: Vec<_> = several.iter().map(|id| id.as_str()).collect();
            Err(CommandError::usage(format!(
                "`{prefix}` is the beginning of several ids: {}",
                names.join(", ")
            )))
        }
    }
}

/// Returns why it was not a success. Failed queries are in the warnings.
fn reasons(report: &SyncReport, wal: &[SourceWal]) -> Vec<String> {
    let backups = report.backups.iter().filter_map(|synced| {
        let error = synced.result.as_ref().err()?;
        Some(format!("{} was not copied to {}: {}", synced.backup, synced.to, error_chain(error)))
    });
    let files = wal.iter().flat_map(|wal| &wal.synced.failed);
    let files = files.map(|(lacking, lost)| {
        format!("{} was not copied to {}: {}", lacking.key, lacking.to, lost.reason())
    });
    backups.chain(files).collect()
}

fn show_wal(context: &Context, wal: &SourceWal) {
    let output = &context.output;
    let SyncedWal { copied, mended, bytes, failed, unlisted } = &wal.synced;
    for (lacking, lost) in failed {
        let bad = style::BAD;
        output.line(format!("{bad}failed{bad:#} {} to {}", lacking.key, lacking.to));
        output.line(format!("       from {}: {}", lost.name, lost.reason()));
    }
    for lost in unlisted {
        let words = format!("failed to list the WAL in `{}`: {}", lost.name, lost.reason());
        output.warn(words);
    }
    let faint = style::FAINT;
    if *mended > 0 {
        let good = style::GOOD;
        let files = count(*mended as u64, "file");
        output.line(format!(
            "{good}repaired{good:#} {files} of WAL of {} that were not what was stored, or had lost what was kept with them",
            wal.source
        ));
    }
    let line = match (copied, wal.is_complete()) {
        (0, true) if *mended > 0 => return,
        (0, true) => format!("No WAL of {} is missing anywhere.", wal.source),
        (0, false) => return,
        (copied, _) => {
            let files = count(*copied as u64, "file");
            format!("{files} of WAL of {} copied, {}.", wal.source, format_size(*bytes))
        }
    };
    output.line(format!("{faint}{line}{faint:#}"));
}

fn show(context: &Context, report: &SyncReport, read_whole: bool, has_lost: bool) {
    let output = &context.output;
    for synced in &report.backups {
        let (backup, to) = (&synced.backup, &synced.to);
        match &synced.result {
            Ok(copied) => {
                let stood = match copied.stood {
                    0 => String::new(),
                    stood => format!(", {} stood there already", count(stood as u64, "object")),
                };
                let (good, bytes, from) = (style::GOOD, format_size(copied.bytes), &copied.from);
                let word = if synced.is_repair { "repaired" } else { "copied" };
                let (link, replaced) = match (synced.is_repair, copied.replaced) {
                    (true, 0) => ("in", String::new()),
                    (true, number) => ("in", format!(", {} replaced", count(number as u64, "bad object"))),
                    (false, _) => ("to", String::new()),
                };
                output.line(format!(
                    "{good}{word}{good:#} {backup} {link} {to} from {from}, {bytes}{replaced}{stood}"
                ));
            }
            Err(error) => {
                let bad = style::BAD;
                output.line(format!("{bad}failed{bad:#} {backup} to {to}"));
                output.line(format!("       {}", error_chain(error)));
            }
        }
        synced
            .tried
            .iter()
            .for_each(|error| output.line(format!("       before that: {}", error_chain(error))));
    }
    for reason in &report.records_failed {
        output.warn(format!("a record of the journal was not copied: {reason}"));
    }
    let records = match report.records {
        0 => String::new(),
        number => format!("; {} of the journal copied", count(number as u64, "record")),
    };
    let done = report.backups.iter().filter(|synced| synced.result.is_ok()).count();
    let left = if has_lost { "backup that is left" } else { "backup" };
    let reached = if read_whole { "Every repository" } else { "Every repository that could be read" };
    let faint = style::FAINT;
    let line = match (report.backups.len(), done) {
        (0, _) if report.interrupted => "Nothing was copied.".to_owned(),
        (0, _) => format!("{reached} has every {left}{records}."),
        (all, done) if all == done && !report.interrupted => {
            format!("{}{records}. {reached} has every {left} now.", done_words(report))
        }
        (all, done) => format!("{done} of {} copied{records}.", count(all as u64, "backup")),
    };
    output.line(format!("{faint}{line}{faint:#}"));
    if done < report.backups.len() {
        output.note("hint: `drctl verify` reads each copy again.");
    }
}

#[derive(Serialize)]
struct SyncDocument<'a> {
    complete: bool,
    interrupted: bool,
    records_copied: usize,
    records_failed: &'a [String],
    not_reached: Vec<LostRow<'a>>,
    /// Backups that no repository has any more.
    lost: &'a BTreeSet<BackupId>,
    backups: Vec<SyncedRow<'a>>,
    wal: Vec<WalCopyRow<'a>>,
}

#[derive(Serialize)]
struct WalCopyRow<'a> {
    source: &'a SourceName,
    complete: bool,
    files_copied: usize,
    files_mended: usize,
    copied_bytes: u64,
    failed: Vec<String>,
}

#[derive(Serialize)]
struct LostRow<'a> {
    repository: &'a RepositoryName,
    reason: String,
}

#[derive(Serialize)]
struct SyncedRow<'a> {
    backup: &'a BackupId,
    to: &'a RepositoryName,
    from: Option<&'a RepositoryName>,
    copied_bytes: Option<u64>,
    error: Option<String>,
}

fn document<'a>(
    report: &'a CopiesReport,
    refreshed: &'a Refreshed,
    lost: &'a BTreeSet<BackupId>,
) -> SyncDocument<'a> {
    let CopiesReport { backups: synced_backups, wal } = report;
    let lost_row = |lost: &'a Unavailable| LostRow { repository: &lost.name, reason: lost.reason() };
    let backups = synced_backups.backups.iter().map(|synced| {
        let copied = synced.result.as_ref().ok();
        SyncedRow {
            backup: &synced.backup,
            to: &synced.to,
            from: copied.map(|copied| &copied.from),
            copied_bytes: copied.map(|copied| copied.bytes),
            error: synced.result.as_ref().err().map(|error| error_chain(error)),
        }
    });
    SyncDocument {
        complete: report.is_complete() && refreshed.is_complete() && lost.is_empty(),
        lost,
        interrupted: synced_backups.interrupted,
        records_copied: synced_backups.records,
        records_failed: &synced_backups.records_failed,
        not_reached: refreshed.lost.iter().map(lost_row).collect(),
        backups: backups.collect(),
        wal: wal
            .iter()
            .map(|wal| WalCopyRow {
                source: &wal.source,
                complete: wal.is_complete(),
                files_copied: wal.synced.copied,
                files_mended: wal.synced.mended,
                copied_bytes: wal.synced.bytes,
                failed: wal.synced.failed.iter().map(|(lacking, _)| lacking.key.clone()).collect(),
            })
            .collect(),
    }
}
