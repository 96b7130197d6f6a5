//! Runs `pg_restore` and `vacuumdb`.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::archive::{Entry, Index};
use super::fetch::{Scratch, plain, tell};
use super::plan::{RestorePlan, Route};
use super::selection::{Chosen, choose};
use super::target::{ask, maintenance};
use super::watch::{LOST_AFTER, Watch, close};
use super::{RestoreError, Run};
use crate::event::Event;
use crate::pipeline::{Counting, OpenError};
use crate::platform::{FeedError, ProcessError, Program};
use crate::repository::Repository;

/// A load may take days; what must not happen is that nobody notices that it stands still. The watch does.
const WITHIN: Duration = Duration::from_secs(14 * 24 * 3600);
/// Lines of stderr that are kept, so that every complaint can be judged.
const STDERR_LINES: usize = 2000;
/// The setting that pg_restore makes and older servers do not know.
const TOLERATED: &str = "unrecognized configuration parameter \"transaction_timeout\"";

/// A program of the right version that works on the temporary database.
async fn program(run: &Run, plan: &RestorePlan, name: &'static str) -> Result<Program, RestoreError> {
    let program = plan.steps.tools.program(name).map_err(RestoreError::Tools)?;
    let program = plan
        .inside(&run.target)
        .apply_lasting(program, plan.steps.tools.major)
        .await
        .map_err(RestoreError::Connect)?;
    Ok(program.arg("--no-password").arg(format!("--dbname={}", plan.temporary)))
}

async fn pg_restore(run: &Run, plan: &RestorePlan) -> Result<Program, RestoreError> {
    let mut program = program(run, plan, "pg_restore").await?.keep_stderr(STDERR_LINES);
    if !plan.steps.tolerates_settings {
        program = program.arg("--exit-on-error");
    }
    if !plan.steps.owners {
        program = program.args(["--no-owner", "--no-acl"]);
    }
    if !plan.steps.tablespaces {
        program = program.arg("--no-tablespaces");
    }
    Ok(program)
}

/// Chooses out of the archive what was asked for; `None` is everything.
pub(super) async fn chosen(
    run: &Run,
    plan: &RestorePlan,
    scratch: &Scratch,
) -> Result<Option<Chosen>, RestoreError> {
    if plan.steps.selection.is_everything() {
        return Ok(None);
    }
    let index = scratch.index.as_ref().map_err(|error| RestoreError::Choose { reason: error.to_string() })?;
    let chosen = if index.is_plain() {
        choose(&index.entries, &plan.steps.selection)
    } else {
        choose(&in_utf8(run, index).await?, &plan.steps.selection)
    };
    if chosen.ids.is_empty() {
        return Err(RestoreError::Choose { reason: "it has nothing of what was named".to_owned() });
    }
    Ok(Some(chosen))
}

/// The entries of an archive in another encoding, with names as everything else has them. PostgreSQL converts
/// them: whichever server it is, it knows all of its encodings.
async fn in_utf8(run: &Run, index: &Index) -> Result<Vec<Entry>, RestoreError> {
    let names = index.foreign_names();
    let mut connection = maintenance(&run.target).await.map_err(RestoreError::Connect)?;
    let converted: Vec<Vec<u8>> = ask(sqlx::query_scalar(
        "SELECT pg_catalog.convert(n.name, $2::name, 'UTF8')
           FROM unnest($1::bytea[]) WITH ORDINALITY n(name, place) ORDER BY n.place",
    )
    .bind(&names)
    .bind(&index.encoding)
    .fetch_all(&mut connection))
    .await?;
    close(connection).await;
    let converted = converted.into_iter().map(|name| String::from_utf8_lossy(&name).into_owned());
    Ok(index.converted(&names.into_iter().zip(converted).collect()))
}

/// Loads from the file, with as many connections as planned.
pub(super) async fn from_scratch(
    run: &Run,
    plan: &RestorePlan,
    scratch: &Scratch,
    chosen: Option<&Chosen>,
    watch: &Watch,
) -> Result<(), RestoreError> {
    let mut program = pg_restore(run, plan).await?.arg(format!("--jobs={}", plan.jobs));
    let list = chosen.map(|chosen| list(plan, chosen)).transpose()?;
    if let Some(list) = &list {
        program = program.arg(format!("--use-list=/proc/{}/fd/{}", std::process::id(), list.as_raw_fd()));
    }
    let program = program.arg(scratch.path());
    watch.set_loading(true);
    let outcome = program.run(WITHIN, watch.token()).await;
    watch.set_loading(false);
    judge(outcome.map(drop), run, plan, watch)
}

/// What `--use-list` reads: an id a line, in the archive's order.
fn list(plan: &RestorePlan, chosen: &Chosen) -> Result<std::fs::File, RestoreError> {
    let directory = match &plan.route {
        Route::Scratch { directory, .. } => directory.clone(),
        Route::Stream => std::env::temp_dir(),
    };
    let lines: String = chosen.ids.iter().map(|id| format!("{id};\n")).collect();
    let written = tempfile::tempfile_in(&directory)
        .and_then(|mut file| file.write_all(lines.as_bytes()).map(|()| file));
    written.map_err(|source| RestoreError::Scratch { directory, source })
}

/// Why a streamed load failed.
pub(super) enum StreamFailure {
    /// The repository did not give the dump, or not the right one.
    Input(String),
    Load(Box<RestoreError>),
}

fn in_load(error: RestoreError) -> StreamFailure {
    StreamFailure::Load(Box::new(error))
}

/// Loads straight from a repository, with one connection.
pub(super) async fn from_stream(
    run: &Run,
    plan: &RestorePlan,
    repository: &Repository,
    watch: &Watch,
) -> Result<(), StreamFailure> {
    let program = pg_restore(run, plan).await.map_err(in_load)?;
    let begin = plain(run, plan, repository);
    let opened = tokio::task::spawn_blocking(begin).await;
    let opened = opened.unwrap_or_else(|error| Err(OpenError::Read(std::io::Error::other(error))));
    let plain = opened.map_err(|error| StreamFailure::Input(crate::event::told(&error)))?;
    let count = Arc::<AtomicU64>::default();
    let input = Counting { plain, count: Arc::clone(&count) };
    let feeding = program.feed(input, WITHIN, watch.token());
    let fed = tell(run, "Loading", &count, plan.steps.dump.plain.size, feeding).await;
    match fed {
        Err(FeedError::Input { source, .. }) if !run.cancel.is_cancelled() => {
            Err(StreamFailure::Input(crate::event::told(&source)))
        }
        Err(FeedError::Input { .. }) => Err(in_load(RestoreError::Interrupted)),
        Err(FeedError::Process(error)) => judge(Err(error), run, plan, watch).map_err(in_load),
        Ok(_) => Ok(()),
    }
}

fn judge(
    outcome: Result<(), ProcessError>,
    run: &Run,
    plan: &RestorePlan,
    watch: &Watch,
) -> Result<(), RestoreError> {
    match outcome {
        Ok(()) => Ok(()),
        Err(_) if watch.is_lost() => Err(RestoreError::ServerLost { waited: LOST_AFTER }),
        Err(_) if run.cancel.is_cancelled() => Err(RestoreError::Interrupted),
        Err(error) if plan.steps.tolerates_settings => {
            let ProcessError::Failed { stderr, .. } = &error else { return Err(RestoreError::Load(error)) };
            if only_tolerated(stderr) { Ok(()) } else { Err(RestoreError::PassedOver(error)) }
        }
        Err(error) => Err(RestoreError::Load(error)),
    }
}

/// Whether pg_restore went to its end, and passed over nothing but the one setting. At its end it says how
/// many errors it passed over, not counting all of those of its workers.
fn only_tolerated(stderr: &[String]) -> bool {
    let errors = stderr.iter().filter(|line| line.contains("ERROR:") || line.contains("error:")).count();
    let tolerated = stderr.iter().filter(|line| line.contains(TOLERATED)).count();
    let said: Option<usize> = stderr
        .last()
        .and_then(|line| line.strip_prefix("pg_restore: warning: errors ignored on restore: ")?.parse().ok());
    let is_all_there = stderr.len() < STDERR_LINES;
    is_all_there && errors == tolerated && said.is_some_and(|said| (1..=tolerated).contains(&said))
}

/// Gathers statistics, so that the first queries are planned as they should be. Gives words where there are none:
/// the data is right without them.
pub(super) async fn analyze(
    run: &Run,
    plan: &RestorePlan,
    watch: &Watch,
) -> Result<Option<String>, RestoreError> {
    let program = match program(run, plan, "vacuumdb").await {
        Ok(program) => program,
        Err(error) => return Ok(Some(unplanned(run, &error))),
    };
    let program = program.args(["--analyze-only", "--quiet"]).arg(format!("--jobs={}", plan.jobs));
    match program.run(WITHIN, watch.token()).await {
        Ok(_) => Ok(None),
        Err(_) if watch.is_lost() => Err(RestoreError::ServerLost { waited: LOST_AFTER }),
        Err(_) if run.cancel.is_cancelled() => Err(RestoreError::Interrupted),
        Err(error) => Ok(Some(unplanned(run, &RestoreError::Analyze(error)))),
    }
}

fn unplanned(run: &Run, error: &RestoreError) -> String {
    let text = format!(
        "{}; until `vacuumdb --analyze-only` succeeds in it, queries may be slow",
        crate::event::told(error)
    );
    run.events.warning(text.clone());
    text
}

/// Says what a choice leaves out.
pub(super) fn tell_left_out(run: &Run, chosen: Option<&Chosen>) {
    for text in chosen.iter().flat_map(|chosen| &chosen.left_out) {
        run.events.emit(&Event::Notice { message: format!("left out: {text}") });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn only_the_one_setting_is_passed_over_and_only_at_the_end() {
        let good = "pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter \"transaction_timeout\"\n\
                    Command was: SET transaction_timeout = 0;\n";
        let said = "pg_restore: warning: errors ignored on restore: 1";
        assert!(only_tolerated(&lines(&format!("{good}{said}"))));
        assert!(!only_tolerated(&lines(good)), "it did not come to its end");
        let bad = "pg_restore: error: could not execute query: ERROR:  role \"app\" does not exist\n";
        let two = "pg_restore: warning: errors ignored on restore: 2";
        assert!(!only_tolerated(&lines(&format!("{good}{bad}{two}"))));
        assert!(!only_tolerated(&lines(&format!("{good}{bad}{said}"))));
    }
}
