use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::Context;
use super::super::catalog_view::hint_lost;
use super::super::error::CommandError;
use super::super::exit::Exit;
use crate::model::{Lsn, SourceName, WalName};
use crate::text::{approximate_duration, count, format_size};
use crate::wal::{Backlog, PushError, PushResult, WalFault};

/// The time during which further files are started after the requested one.
const BACKLOG_TIME: Duration = Duration::from_secs(30);

const HELP: &str = "\
In postgresql.conf:
  archive_mode = on
  archive_command = 'drctl wal push %p'

Exit status:
  0        every repository that must have the file has confirmed it
  1..125   not archived; PostgreSQL keeps the file and retries
Never above, and never ended by its own signal: PostgreSQL does not count those as failures.";

/// Archive a WAL file, as archive_command
#[derive(Debug, clap::Args)]
#[command(after_help = HELP, allow_missing_positional = true)]
pub(super) struct PushArgs {
    /// The source, where the policy archives more than one
    source: Option<SourceName>,
    /// The file, as PostgreSQL's %p
    #[arg(value_name = "%p")]
    path: PathBuf,
    /// How many other waiting files to archive with it
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    drain: usize,
}

pub(super) async fn run(args: PushArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let (source, archiving) = super::archived(&policy, args.source.as_ref())?;
    let pusher = super::pusher(context, &policy, source, archiving, context.cancel.clone()).await?;
    let pushed = pusher.push(&args.path).await;
    let pg_wal = args.path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let backlog = Backlog::read(pg_wal.unwrap_or(Path::new(".")));
    // An existing file was archived together with others: they follow, and exist, too.
    let is_new = pushed.as_ref().is_ok_and(|pushed| !pushed.stored.is_empty());
    if (is_new || pushed.is_err())
        && let Ok(backlog) = &backlog
    {
        let drained =
            pusher.archive_backlog(backlog, &pushed, args.drain, Instant::now() + BACKLOG_TIME).await;
        if drained.archived > 0 {
            tracing::info!("{} more archived", count(drained.archived as u64, "file"));
        }
        warn_of_faults(context, drained.faults);
        for error in drained.failed {
            tracing::info!("{}", crate::text::error_chain(&error));
        }
    }
    match pushed {
        Ok(pushed) => {
            said(context, &pushed);
            Ok(Exit::Done)
        }
        Err(PushError::Interrupted) => Err(CommandError::new(Exit::Interrupted, PushError::Interrupted)),
        Err(error) => Err(failed(error, backlog.ok().as_ref(), context)),
    }
}

fn said(context: &Context, pushed: &PushResult) {
    warn_of_faults(context, pushed.fault.map(|(at, fault)| (pushed.name, at, fault)));
    for lost in &pushed.behind {
        let words = format!("`{}` is not in `{}`: {}", pushed.name, lost.name, lost.reason());
        context.output.warn(words);
    }
    if context.output.is_json() {
        let data = serde_json::json!({
            "file": pushed.name.to_string(), "stored": pushed.stored, "stood": pushed.stood,
            "behind": pushed.behind.iter().map(|lost| &lost.name).collect::<Vec<_>>(),
        });
        context.output.document("wal-push", &data);
    }
}

/// Warns of WAL in which recovery ends. The server archives it nevertheless: keeping it back would fill its disk,
/// and the WAL before that is needed.
fn warn_of_faults(context: &Context, faults: impl IntoIterator<Item = (WalName, Lsn, WalFault)>) {
    for (name, at, fault) in faults {
        context.output.warn(match fault {
            WalFault::Damaged => format!(
                "WAL in `{name}` is damaged at {at}, and was archived as it is: recovery ends there; take a base backup (`drctl backup --kind base`) and check the server's storage"
            ),
            WalFault::Minimal => format!(
                "WAL in `{name}` was written with `wal_level = minimal` from {at} on: recovery from any base backup there is ends there; take a new one (`drctl backup --kind base`)"
            ),
        });
    }
}

fn failed(error: PushError, backlog: Option<&Backlog>, context: &Context) -> CommandError {
    let held = match &error {
        PushError::NotEverywhere { held, .. } if !held.is_empty() => held.clone(),
        _ => vec![],
    };
    error.unusable().for_each(|lost| hint_lost(context, lost));
    let hints = hints(&error);
    let mut error = hints.into_iter().fold(CommandError::failed(error), CommandError::hint);
    if !held.is_empty() {
        let names: Vec<_> = held.iter().map(|name| format!("`{name}`")).collect();
        error = error.hint(format!(
            "It is in {}. PostgreSQL keeps it and tries again. A repository that may lag can be named in `optional`.",
            names.join(" and ")
        ));
    }
    match backlog.filter(|backlog| !backlog.files.is_empty()) {
        Some(backlog) => error.hint(disk_pressure_hint(backlog, context)),
        None => error,
    }
}

/// Returns what an operator has to do where PostgreSQL's retries cannot help.
fn hints(error: &PushError) -> Vec<String> {
    let mut hints = vec![];
    if error.is_of_another_cluster() {
        hints.push(
            "A re-initialised or upgraded cluster has a new system identifier and needs its own source in the policy."
                .to_owned(),
        );
    }
    if error.is_unfinished() {
        hints.push(
            "The server archives it once it is full, or after `SELECT pg_switch_wal()`. If that server will never run again, copy the segment to a directory of its own and push it from there."
                .to_owned(),
        );
    }
    if let Some(key) = error.conflicting_object_at() {
        hints.push(format!(
            "Which one is right? `drctl wal fetch --identity FILE %f SOMEWHERE` fetches the archived one, and `pg_waldump` reads both. If two servers archive here on one timeline, give the copied one its own source. If the archived one is wrong, as when it was pushed before it was complete, delete `{key}` from that repository: the next call archives the server's. If it cannot be deleted, archive to a source of another name in the policy, and take a base backup (`drctl backup --kind base`)."
        ));
    }
    if let Some(key) = error.unverifiable_object_at() {
        hints.push(format!(
            "Was the directory copied without its metadata? `drctl wal fetch --identity FILE %f SOMEWHERE` fetches it for a comparison with the server's (`cmp`); then delete `{key}` from that repository, and the next call archives the server's with its metadata."
        ));
    }
    hints
}

/// Describes the effect on the server's disk.
fn disk_pressure_hint(backlog: &Backlog, context: &Context) -> String {
    let waits = backlog.oldest().and_then(|oldest| (context.clock.now() - oldest).to_std().ok());
    let mut words = format!(
        "backlog of {}, the oldest waiting for {}; {} are free for WAL",
        count(backlog.files.len() as u64, "file"),
        approximate_duration(waits.unwrap_or_default()),
        format_size(backlog.free),
    );
    if let Some(lasts) = backlog.disk_lasts() {
        words.push_str(&format!(", which lasts for about {} at this rate", approximate_duration(lasts)));
    }
    format!("{words}. PostgreSQL stops when its disk is full.")
}
