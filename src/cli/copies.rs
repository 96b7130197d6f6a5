use serde::Serialize;

use super::Context;
use super::error::CommandError;
use super::exit::Exit;
use super::known::{warn, warn_lost};
use super::output::{count, size, style};
use crate::catalog::{Depth, Filter, Refreshed, refresh};
use crate::event::told;
use crate::model::{BackupId, RepositoryName, RunId};
use crate::platform::{host_name, seed};
use crate::repository::{Lost, write_options};
use crate::upkeep::Run;
use crate::upkeep::copies::{Report, execute, names, plan};

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
    let catalog = context.catalog(&policy).await?;
    let id = catalog.repository_id().await?;
    let now = context.clock.now();
    let repositories = context.repositories(&policy).await;
    let repositories = repositories.for_writing(&policy.system, id.as_deref(), now).await;
    let repositories = repositories.map_err(CommandError::failed)?;
    let refreshed = refresh(&catalog, &policy.system, &repositories, Depth::New, now).await?;
    warn(context, &refreshed);
    let entries = catalog.backups(&Filter::default()).await?;
    let plan = plan(&entries, &names(&repositories));
    let run = Run {
        id: RunId::new(now, seed()),
        system: policy.system.clone(),
        host: host_name(),
        clock: context.clock.clone(),
        repositories,
        catalog,
        events: context.output.events(),
        cancel: context.cancel.clone(),
    };
    let locks = write_options(&policy.repositories, now);
    let report = execute(&run, plan, policy.transfer, &locks).await.map_err(CommandError::failed)?;
    run.catalog.clone().close().await;
    report.unrecorded.iter().for_each(|lost| warn_lost(context, lost));
    if context.output.is_json() {
        context.output.document("copies-sync", &document(&report, &refreshed));
    } else {
        show(context, &report, refreshed.is_complete());
    }
    Ok(match () {
        () if report.interrupted => Exit::Interrupted,
        () if report.is_complete() && refreshed.is_complete() && report.unrecorded.is_empty() => Exit::Done,
        () if !report.backups.is_empty() && report.backups.iter().all(|synced| synced.result.is_err()) => {
            Exit::Failed
        }
        () => Exit::Partly,
    })
}

fn show(context: &Context, report: &Report, read_whole: bool) {
    let output = &context.output;
    for synced in &report.backups {
        let (backup, to) = (&synced.backup, &synced.to);
        match &synced.result {
            Ok(copied) => {
                let stood = match copied.stood {
                    0 => String::new(),
                    stood => format!(", {} stood there already", count(stood as u64, "object")),
                };
                let (good, bytes, from) = (style::GOOD, size(copied.bytes), &copied.from);
                output.line(format!("{good}copied{good:#} {backup} to {to} from {from}, {bytes}{stood}"));
            }
            Err(error) => {
                let bad = style::BAD;
                output.line(format!("{bad}failed{bad:#} {backup} to {to}"));
                output.line(format!("       {}", told(error)));
            }
        }
        synced.tried.iter().for_each(|error| output.line(format!("       before that: {}", told(error))));
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

fn document<'a>(report: &'a Report, refreshed: &'a Refreshed) -> SyncDocument<'a> {
    let lost_row = |lost: &'a Lost| LostRow { repository: &lost.name, reason: lost.reason() };
    let backups = report.backups.iter().map(|synced| {
        let copied = synced.result.as_ref().ok();
        SyncedRow {
            backup: &synced.backup,
            to: &synced.to,
            from: copied.map(|copied| &copied.from),
            copied_bytes: copied.map(|copied| copied.bytes),
            error: synced.result.as_ref().err().map(|error| told(error)),
        }
    });
    SyncDocument {
        complete: report.is_complete() && refreshed.is_complete(),
        interrupted: report.interrupted,
        records_copied: report.records,
        records_failed: &report.records_failed,
        not_reached: refreshed.lost.iter().map(lost_row).collect(),
        backups: backups.collect(),
    }
}
