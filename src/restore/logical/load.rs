//! Runs `pg_restore` and `vacuumdb`.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::DumpRestoreError;
use super::archive_toc::{Index, TocEntry};
use super::fetch::{Scratch, plain, tell};
use super::foreseen::choose_from;
use super::loading::DumpTransfer;
use super::passes::{PassKind, passes};
use super::pg_restore_errors;
use super::pg_restore_errors::{PassedOver, STDERR_LINES, UnfilledView};
use super::plan::DumpRestorePlan;
use super::progress::{LOST_AFTER, LoadProgress};
use super::query::ask;
use super::selection::SelectedEntries;
use super::target::maintenance;
use crate::event::Event;
use crate::pipeline::{CountingReader, OpenError};
use crate::platform::{PipeStdinError, ProcessError, ProcessOutcome, Program};
use crate::postgres::close;
use crate::repository::Repository;
use crate::run::RunContext;

/// A load may take days; a stall is detected by the load monitor.
const WITHIN: Duration = Duration::from_secs(14 * 24 * 3600);

/// Returns a program of the right version, connected to the temporary database.
async fn program(plan: &DumpRestorePlan, name: &'static str) -> Result<Program, DumpRestoreError> {
    let program = plan.steps.tools.program(name).map_err(DumpRestoreError::Tools)?;
    let program = plan
        .inside()
        .apply_lasting(program, plan.steps.tools.major)
        .await
        .map_err(DumpRestoreError::Connect)?;
    Ok(program.arg("--no-password").arg(format!("--dbname={}", plan.temporary)))
}

async fn pg_restore(plan: &DumpRestorePlan, kind: PassKind) -> Result<Program, DumpRestoreError> {
    // Only then it names the object that a message is about.
    let program = program(plan, "pg_restore").await?.arg("--verbose");
    let mut program = program.keep_stderr(STDERR_LINES).keep_stderr_where(pg_restore_errors::is_no_chatter);
    // In a stream comments on extensions cannot be loaded separately.
    let is_tolerant = plan.steps.comments_apart && plan.route == DumpTransfer::Stream;
    if plan.incomplete.is_some() {
        program = program
            .keep_stderr_where(pg_restore_errors::is_account)
            .accept_failure(pg_restore_errors::went_to_its_end);
    } else if kind == PassKind::Refresh || plan.steps.goes_past_views {
        program = program.accept_failure(pg_restore_errors::filled_what_it_could);
    } else if plan.steps.tolerates_settings || is_tolerant {
        program = program.accept_failure(pg_restore_errors::only_tolerated);
    } else {
        program = match kind {
            PassKind::Strict => program.arg("--exit-on-error"),
            PassKind::Extensions | PassKind::ExtensionComments | PassKind::Refresh => {
                program.accept_failure(pg_restore_errors::only_tolerated)
            }
        };
    }
    if !plan.steps.owners {
        program = program.args(["--no-owner", "--no-acl"]);
    }
    if !plan.steps.tablespaces {
        program = program.arg("--no-tablespaces");
    }
    Ok(program)
}

/// Selects what was requested from the archive; `None` is everything.
pub(super) async fn chosen(
    plan: &DumpRestorePlan,
    scratch: &Scratch,
) -> Result<Option<SelectedEntries>, DumpRestoreError> {
    let (selection, exclusion) = (&plan.steps.selection, &plan.steps.exclusion);
    if selection.is_everything() && exclusion.is_nothing() {
        return Ok(None);
    }
    let index =
        scratch.index.as_ref().map_err(|error| DumpRestoreError::Choose { reason: error.to_string() })?;
    let converted;
    let entries = if index.is_plain() {
        &index.entries
    } else {
        converted = in_utf8(plan, index).await?;
        &converted
    };
    let chosen = choose_from(entries, selection, exclusion);
    if chosen.as_ref().is_some_and(|chosen| chosen.ids.is_empty()) {
        return Err(DumpRestoreError::Choose { reason: "it has nothing of what was named".to_owned() });
    }
    Ok(chosen)
}

/// Returns the entries of an archive in another encoding, with UTF-8 names. PostgreSQL converts them: any
/// server knows all of its encodings.
async fn in_utf8(plan: &DumpRestorePlan, index: &Index) -> Result<Vec<TocEntry>, DumpRestoreError> {
    let names = index.foreign_names();
    let mut connection = maintenance(&plan.steps.target).await.map_err(DumpRestoreError::Connect)?;
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

/// The result of a load from a file.
pub(super) struct FileLoad {
    pub(super) passed_over: PassedOver,
    /// Extensions that the target did not create and that nothing is known to need, as text.
    pub(super) missing: Vec<String>,
    pub(super) unfilled: Vec<UnfilledView>,
}

/// Loads from the file, with the given number of connections.
pub(super) async fn from_scratch(
    run: &RunContext,
    plan: &DumpRestorePlan,
    scratch: &Scratch,
    chosen: Option<&SelectedEntries>,
    (watch, jobs): (&LoadProgress, u32),
) -> Result<FileLoad, DumpRestoreError> {
    let entries = scratch.entries();
    let mut loaded = FileLoad { passed_over: PassedOver::default(), missing: vec![], unfilled: vec![] };
    for pass in passes(entries, chosen, jobs, plan.steps.comments_apart) {
        let mut program = pg_restore(plan, pass.kind).await?.arg(format!("--jobs={}", pass.jobs));
        let list = pass.ids.as_ref().map(|ids| list(plan, ids)).transpose()?;
        if let Some(list) = &list {
            program = program.arg(format!("--use-list=/proc/{}/fd/{}", std::process::id(), list.as_raw_fd()));
        }
        let program = program.arg(scratch.path());
        watch.set_loading(true);
        let outcome = program.run(WITHIN, watch.token()).await;
        watch.set_loading(false);
        let judged = judge(outcome, run, plan, (watch, pass.jobs), entries);
        let lacks_something = match &judged {
            Ok(passed_over) => !passed_over.is_nothing(),
            Err(error) => error.is_of_load(),
        };
        if let Some(chosen) = chosen.filter(|_| lacks_something && pass.kind == PassKind::Extensions)
            && let Some(missing) = unneeded(plan, entries.unwrap_or_default(), chosen).await?
        {
            loaded.missing = missing;
            loaded
                .passed_over
                .remarks
                .extend(judged.map(|passed_over| passed_over.remarks).unwrap_or_default());
            continue;
        }
        let mut passed_over = judged?;
        if pass.kind == PassKind::Refresh {
            loaded.unfilled = passed_over.take_unfilled(entries);
        }
        loaded.passed_over.add(passed_over);
    }
    Ok(loaded)
}

/// Returns the extensions that were not created, as text; `None` where one of them is known to be needed.
async fn unneeded(
    plan: &DumpRestorePlan,
    entries: &[TocEntry],
    chosen: &SelectedEntries,
) -> Result<Option<Vec<String>>, DumpRestoreError> {
    let mut connection = plan.inside().connect().await.map_err(DumpRestoreError::Connect)?;
    let query = sqlx::query_scalar("SELECT extname::text FROM pg_extension").fetch_all(&mut connection);
    let made: Vec<String> = ask(query).await?;
    close(connection).await;
    let is_missing = |entry: &&TocEntry| {
        entry.kind == "EXTENSION" && chosen.first.contains(&entry.id) && !made.contains(&entry.name)
    };
    let missing: Vec<&TocEntry> = entries.iter().filter(is_missing).collect();
    if missing.iter().any(|entry| chosen.needed_extensions.contains(&entry.id)) {
        return Ok(None);
    }
    let words = |entry: &&TocEntry| {
        format!(
            "extension {}: the target did not make it, and nothing chosen is known to need it",
            entry.name
        )
    };
    Ok(Some(missing.iter().map(words).collect()))
}

/// Returns whether a single job may load what several concurrent ones could not: it keeps to the dump's own
/// order, in which rows come after those that a constraint or a trigger looks up.
pub(super) fn may_be_of_order(error: &DumpRestoreError) -> bool {
    let (DumpRestoreError::Load(error)
    | DumpRestoreError::PassedOver(error)
    | DumpRestoreError::LoadObject { source: error, .. }) = error
    else {
        return false;
    };
    let ProcessError::Failed { stderr, .. } = error else { return false };
    pg_restore_errors::may_be_of_order(stderr.iter().map(String::as_str))
}

/// Writes the input of `--use-list`: an id per line, in the archive's order.
fn list(plan: &DumpRestorePlan, ids: &[u32]) -> Result<std::fs::File, DumpRestoreError> {
    let directory = match &plan.route {
        DumpTransfer::Scratch { directory, .. } => directory.clone(),
        DumpTransfer::Stream => std::env::temp_dir(),
    };
    let lines: String = ids.iter().map(|id| format!("{id};\n")).collect();
    let written = tempfile::tempfile_in(&directory)
        .and_then(|mut file| file.write_all(lines.as_bytes()).map(|()| file));
    written.map_err(|source| DumpRestoreError::Scratch { directory, source })
}

/// Why a streamed load failed.
pub(super) enum StreamFailure {
    /// The repository did not return the dump, or returned a damaged one.
    Input(String),
    Load(Box<DumpRestoreError>),
}

fn in_load(error: DumpRestoreError) -> StreamFailure {
    StreamFailure::Load(Box::new(error))
}

/// Loads directly from a repository, with one connection.
pub(super) async fn from_stream(
    run: &RunContext,
    plan: &DumpRestorePlan,
    repository: &Repository,
    watch: &LoadProgress,
) -> Result<PassedOver, StreamFailure> {
    let entries = plan.steps.entries.as_deref();
    let program = pg_restore(plan, PassKind::Strict).await.map_err(in_load)?;
    let begin = plain(run, plan, repository);
    let opened = tokio::task::spawn_blocking(begin).await;
    let opened = opened.unwrap_or_else(|error| Err(OpenError::Read(std::io::Error::other(error))));
    let plain = opened.map_err(|error| StreamFailure::Input(crate::text::error_chain(&error)))?;
    let count = Arc::<AtomicU64>::default();
    let input = CountingReader { plain, count: Arc::clone(&count) };
    let feeding = program.feed(input, WITHIN, watch.token());
    let fed = tell(run, "Loading", &count, plan.steps.dump.plain.size, feeding).await;
    match fed {
        Err(PipeStdinError::Input { source, .. }) if !run.cancel.is_cancelled() => {
            Err(StreamFailure::Input(crate::text::error_chain(&source)))
        }
        Err(PipeStdinError::Input { .. }) => Err(in_load(DumpRestoreError::Interrupted)),
        Err(PipeStdinError::Process(error)) => {
            judge(Err(error), run, plan, (watch, 1), entries).map_err(in_load)
        }
        Ok(finished) => judge(Ok(finished), run, plan, (watch, 1), entries).map_err(in_load),
    }
}

fn judge(
    outcome: Result<ProcessOutcome, ProcessError>,
    run: &RunContext,
    plan: &DumpRestorePlan,
    (watch, jobs): (&LoadProgress, u32),
    entries: Option<&[TocEntry]>,
) -> Result<PassedOver, DumpRestoreError> {
    match outcome {
        Ok(finished) => {
            let tolerates_settings = plan.steps.tolerates_settings;
            Ok(pg_restore_errors::passed_over(&finished.stderr, jobs, tolerates_settings, entries))
        }
        Err(_) if watch.is_lost() => Err(DumpRestoreError::ServerLost { waited: LOST_AFTER }),
        Err(_) if run.cancel.is_cancelled() => Err(DumpRestoreError::Interrupted),
        Err(source) => {
            let ProcessError::Failed { stderr, .. } = &source else {
                return Err(DumpRestoreError::Load(source));
            };
            let object = pg_restore_errors::first(stderr).and_then(|complaint| complaint.object(entries));
            Err(match object {
                Some(object) if plan.incomplete.is_none() => DumpRestoreError::LoadObject { object, source },
                _ if plan.steps.tolerates_settings => DumpRestoreError::PassedOver(source),
                _ => DumpRestoreError::Load(source),
            })
        }
    }
}

/// Collects statistics, so that the first queries get good plans. Returns a note where that failed: the data
/// is correct without them.
pub(super) async fn analyze(
    run: &RunContext,
    plan: &DumpRestorePlan,
    watch: &LoadProgress,
) -> Result<Option<String>, DumpRestoreError> {
    let program = match program(plan, "vacuumdb").await {
        Ok(program) => program,
        Err(error) => return Ok(Some(unplanned(run, &error))),
    };
    let program = program.args(["--analyze-only", "--quiet"]).arg(format!("--jobs={}", plan.jobs));
    match program.run(WITHIN, watch.token()).await {
        Ok(_) => Ok(None),
        Err(_) if watch.is_lost() => Err(DumpRestoreError::ServerLost { waited: LOST_AFTER }),
        Err(_) if run.cancel.is_cancelled() => Err(DumpRestoreError::Interrupted),
        Err(error) => Ok(Some(unplanned(run, &DumpRestoreError::Analyze(error)))),
    }
}

fn unplanned(run: &RunContext, error: &DumpRestoreError) -> String {
    let text = format!(
        "{}; until `vacuumdb --analyze-only` succeeds in it, queries may be slow",
        crate::text::error_chain(error)
    );
    run.events.warning(text.clone());
    text
}

/// Reports what a selection leaves out.
pub(super) fn tell_left_out(run: &RunContext, chosen: Option<&SelectedEntries>) {
    for text in chosen.iter().flat_map(|chosen| &chosen.left_out) {
        run.events.emit(&Event::Notice { message: format!("left out: {text}") });
    }
}
