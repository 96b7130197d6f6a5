//! `drctl recovery`: the steps after a cluster was restored.

use std::path::PathBuf;

use serde::Serialize;

use super::Context;
use super::error::CommandError;
use super::exit::Exit;
use super::style;
use crate::restore::InactiveJob;
use crate::restore::physical::{JobsError, Release, ReleaseError, ReleasedJobs, release};
use crate::text::count;

/// Prepare a restored cluster for production
#[derive(Debug, clap::Args)]
pub struct RecoveryArgs {
    #[command(subcommand)]
    command: RecoveryCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RecoveryCommand {
    Release(ReleaseArgs),
}

const HELP: &str = "\
A restored server is isolated: it archives nothing, follows no other server and waits for no standby. This removes the
settings that drctl wrote for that to postgresql.auto.conf, and those of the recovery; it loads the libraries of the
server that was backed up again (pg_cron and the like). Where that is pg_cron, its active jobs are set inactive first, in
the running server, and each is shown with the statement that turns it on: they may connect to production. Restart the
server afterwards, and take a base backup at once: earlier backups lead to the old timeline. Changes nothing without
--apply.";

/// Remove the settings that isolate a restored cluster
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
struct ReleaseArgs {
    /// Its data directory
    directory: PathBuf,
    /// Leave jobs of pg_cron active: they run again as soon as the server is restarted
    #[arg(long)]
    with_active_jobs: bool,
    /// Remove them
    #[arg(long)]
    apply: bool,
}

#[derive(Serialize)]
struct ReleaseDocument<'a> {
    file: &'a std::path::Path,
    settings: &'a [String],
    /// Libraries that run scheduled jobs and are loaded again.
    job_libraries: &'a [String],
    /// Jobs that are, or with `--apply` will be, set inactive; absent where they stay as they are or are unknown.
    inactive_jobs: Option<&'a [InactiveJob]>,
    applied: bool,
}

pub(super) async fn run(args: RecoveryArgs, context: &Context) -> Result<Exit, CommandError> {
    let RecoveryCommand::Release(args) = args.command;
    let directory = std::path::absolute(&args.directory).map_err(CommandError::usage)?;
    let released = release(&directory, args.apply, args.with_active_jobs).await;
    let released = released.map_err(|error| failed(error, &directory))?;
    let output = &context.output;
    if output.is_json() {
        let inactive_jobs = match &released.jobs {
            ReleasedJobs::Inactive(jobs) => Some(&jobs[..]),
            ReleasedJobs::AsTheyAre | ReleasedJobs::Active(_) | ReleasedJobs::Unknown(_) => None,
        };
        let document = ReleaseDocument {
            file: &released.file,
            settings: &released.settings,
            job_libraries: &released.job_libraries,
            inactive_jobs,
            applied: released.applied,
        };
        output.document("recovery-release", &document);
        return Ok(Exit::Done);
    }
    let file = released.file.display();
    if released.settings.is_empty() {
        output.line(format!("{file} has no recovery settings: nothing to remove."));
        return Ok(Exit::Done);
    }
    let (word, colour) =
        if released.applied { ("taken out", style::GOOD) } else { ("takes out", style::WARN) };
    for setting in &released.settings {
        output.line(format!("{colour}{word}{colour:#}  {setting}"));
    }
    show_jobs(context, &released);
    if released.applied {
        output.note("Restart the server, and take a base backup at once: `drctl backup SOURCE --kind base`.");
    } else {
        output.note(format!("`--apply` removes it from {file}."));
    }
    Ok(Exit::Done)
}

/// Shows what becomes of scheduled jobs.
fn show_jobs(context: &Context, released: &Release) {
    let output = &context.output;
    let mut others: Vec<&str> = released.job_libraries.iter().map(String::as_str).collect();
    match &released.jobs {
        ReleasedJobs::AsTheyAre => {}
        ReleasedJobs::Active(jobs) => output.warn(format!(
            "{} of pg_cron {} active, and no configuration file loads it: a server that is started with it, as by `-c shared_preload_libraries`, runs them; `UPDATE cron.job SET active = false` in its database keeps them from that",
            count(jobs.len() as u64, "job"),
            if jobs.len() == 1 { "is" } else { "are" }
        )),
        ReleasedJobs::Unknown(reason) => output.note(format!(
            "`--apply` sets the active jobs of pg_cron inactive; which they are is not known: {reason}"
        )),
        ReleasedJobs::Inactive(jobs) => {
            let word = if released.applied { "inactive" } else { "will be inactive" };
            for job in jobs {
                let name = job.name.as_deref().unwrap_or("without a name");
                let server = job.server.as_deref().unwrap_or("this server");
                output.line(format!(
                    "{word}  job {} ({name}) in {server}; on again: {};",
                    job.id, job.activate
                ));
            }
        }
    }
    if !matches!(released.jobs, ReleasedJobs::AsTheyAre | ReleasedJobs::Active(_)) {
        others.retain(|library| *library != "pg_cron");
    }
    if !others.is_empty() {
        output.note(format!(
            "Jobs of {} run again after a restart, wherever they connect to, which may still be production.",
            others.join(", ")
        ));
    }
}

fn failed(error: ReleaseError, directory: &std::path::Path) -> CommandError {
    match error {
        ReleaseError::Jobs { source: ref cause, ref done } => {
            let start = format!("pg_ctl -D {} start", directory.display());
            let first = match cause {
                JobsError::NotRunning(_) => {
                    format!("Start it (`{start}`): pg_cron is not loaded before it is released.")
                }
                _ => "Run it as a user that may log in as a superuser, or set PGUSER and PGPASSWORD."
                    .to_owned(),
            };
            let stay: Vec<String> = done.iter().map(ToString::to_string).collect();
            let error = stay.into_iter().fold(CommandError::failed(error), CommandError::hint);
            error.hint(first).hint(
                "Or set them inactive yourself, in the database of pg_cron: `SET session_replication_role = replica; UPDATE cron.job SET active = false;`. `--with-active-jobs` changes no jobs.",
            )
        }
        ReleaseError::Recovering(ref directory) => {
            let start = format!("pg_ctl -D {} start", directory.display());
            CommandError::failed(error).hint(format!(
                "Start it (`{start}`) and wait until it has recovered, or restore with `--start`."
            ))
        }
        ReleaseError::NoDataDirectory(_) | ReleaseError::NotRestored(_) => CommandError::usage(error),
        error => CommandError::failed(error),
    }
}
