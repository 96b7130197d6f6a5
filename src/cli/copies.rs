use serde::Serialize;

use super::Context;
use super::catalog_view::{brought_up, not_opened, recall, say_created, warn, warn_lost};
use super::error::CommandError;
use super::exit::Exit;
use super::style;
use crate::catalog::{Filter, Refreshed};
use crate::copies::backups::SyncReport;
use crate::copies::wal::SyncedWal;
use crate::copies::{self, CopiesReport, SourceWal};
use crate::model::{BackupId, RepositoryName, SourceName};
use crate::repository::Unavailable;
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
}

pub(super) async fn run(args: CopiesArgs, context: &Context) -> Result<Exit, CommandError> {
    match args.command {
        CopiesCommand::Sync => sync(context).await,
    }
}

async fn sync(context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let now = context.clock.now();
    let (catalog, repositories) = recall(context, &policy, context.repositories(&policy).await).await;
    let repositories = repositories.for_writing(&policy.system, None, now).await;
    let repositories = repositories.map_err(|error| not_opened(context, error))?;
    say_created(context, &repositories);
    let (catalog, refreshed) = brought_up(context, &policy, catalog, &repositories).await?;
    warn(context, &refreshed);
    let entries = catalog.backups(&Filter::default()).await?;
    let run = RunContext::begin(
        policy.system.clone(),
        repositories,
        Some(catalog),
        context.clock.clone(),
        context.output.events(),
        context.cancel.clone(),
    );
    let report = copies::sync(&run, &policy, &entries).await;
    let CopiesReport { backups, wal } = &report;
    run.clone().close().await;
    backups.unrecorded.iter().for_each(|lost| warn_lost(context, lost));
    if context.output.is_json() {
        context.output.document("copies-sync", &document(&report, &refreshed));
    } else {
        show(context, backups, refreshed.is_complete());
        wal.iter().for_each(|wal| show_wal(context, wal));
    }
    reasons(backups, wal).iter().for_each(|reason| context.output.reason(reason));
    Ok(match () {
        () if backups.interrupted => Exit::Interrupted,
        () if report.is_complete() && refreshed.is_complete() && backups.unrecorded.is_empty() => Exit::Done,
        () if !backups.backups.is_empty() && backups.backups.iter().all(|synced| synced.result.is_err()) => {
            Exit::Failed
        }
        () => Exit::Partly,
    })
}

/// Returns why the exit status is not 0. What could not be queried is in the warnings.
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
            "{good}repaired{good:#} {files} of WAL of {} whose size differed from the recorded one",
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

fn show(context: &Context, report: &SyncReport, read_whole: bool) {
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
                output.line(format!("{good}copied{good:#} {backup} to {to} from {from}, {bytes}{stood}"));
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
    let reached = if read_whole { "Every repository" } else { "Every repository that could be read" };
    let faint = style::FAINT;
    let line = match (report.backups.len(), done) {
        (0, _) if report.interrupted => "Nothing was copied.".to_owned(),
        (0, _) => format!("{reached} has every backup{records}."),
        (all, done) if all == done && !report.interrupted => {
            format!("{} copied{records}. {reached} has every backup now.", count(done as u64, "backup"))
        }
        (all, done) => format!("{done} of {} copied{records}.", count(all as u64, "backup")),
    };
    output.line(format!("{faint}{line}{faint:#}"));
    if done < report.backups.len() {
        output.note("hint: `drctl verify` looks into each copy; nothing is ever overwritten.");
    }
}

#[derive(Serialize)]
struct SyncDocument<'a> {
    complete: bool,
    interrupted: bool,
    records_copied: usize,
    records_failed: &'a [String],
    not_reached: Vec<LostRow<'a>>,
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

fn document<'a>(report: &'a CopiesReport, refreshed: &'a Refreshed) -> SyncDocument<'a> {
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
        complete: report.is_complete() && refreshed.is_complete(),
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
