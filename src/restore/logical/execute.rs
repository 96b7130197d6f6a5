use super::compare::OTHER_CONTENTS;
use super::database;
use super::fetch::{Scratch, lost, to_scratch};
use super::inactive_jobs;
use super::inspect::inspect;
use super::load::{self, StreamFailure};
use super::loading::{DumpTransfer, LoadsInto};
use super::pg_restore_errors::{NotLoaded, UnfilledView};
use super::plan::DumpRestorePlan;
use super::progress::LoadProgress;
use super::publish::{Publication, drop_replaced, publish};
use super::roles::make_globals;
use super::selection::SelectedEntries;
use super::{Compared, DumpAftermath, DumpCleanup, DumpDetails, DumpRestoreError, DumpRestoreRequest};
use crate::checks::CheckResult;
use crate::event::Phase;
use crate::model::{Cause, Judgement, RepositoryName, Verdict};
use crate::restore::{
    CreatedObject, Executed, InactiveJob, RestoreError as _, RestoreProgress, Restored, Stopped,
};
use crate::run::RunContext;
use crate::text::error_chain;

/// The check that compares the restored database with the recorded facts.
const SAME: &str = "same-as-dumped";

/// Executes the plan. Until the last step the restored database has a temporary name, or a comment that says
/// that it is incomplete; on an earlier failure it is dropped.
pub(super) async fn execute(
    run: &RunContext,
    plan: &DumpRestorePlan,
    progress: &mut RestoreProgress<'_>,
) -> Executed<DumpRestoreRequest> {
    let mut globals_made = Vec::new();
    let mut made = CreatedObjects::Nothing;
    let done = match steps(run, plan, progress, &mut globals_made, &mut made).await {
        Ok(done) => done,
        Err(error) => {
            let cleanup = take_back(plan, made).await;
            return Err(Stopped { error, aftermath: DumpAftermath { cleanup, globals_made } });
        }
    };
    let database = plan.steps.target.with_database(&done.database);
    progress.validate(Ok(vec![database]), plan.recovery_point).await;
    let compared = done.compared.iter().flat_map(|compared| &compared.notes);
    let jobs = done.inactive_jobs.iter().map(ToString::to_string).collect::<Vec<_>>();
    Ok(Restored {
        to: format!("{} on {}", done.database, plan.server),
        recovery_point: plan.recovery_point,
        left_out: done.left_out,
        notes: plan.notes.iter().chain(compared).cloned().chain(done.notes).chain(jobs).collect(),
        details: DumpDetails {
            repository: done.repository,
            server: plan.server.clone(),
            database: done.database,
            compared: done.compared,
            stored_bytes: plan.stored_bytes,
            plain_bytes: plan.plain_bytes,
            globals: plan.globals.clone(),
            inactive_jobs: done.inactive_jobs,
        },
    })
}

async fn steps(
    run: &RunContext,
    plan: &DumpRestorePlan,
    progress: &mut RestoreProgress<'_>,
    globals_made: &mut Vec<String>,
    made: &mut CreatedObjects,
) -> Result<CompletedLoad, DumpRestoreError> {
    if plan.drop_leftovers {
        progress.begin(Phase::Prepare);
        drop_leftovers(run, plan).await?;
    }
    let mut not_made = Vec::new();
    if plan.globals.is_some() {
        progress.begin(Phase::Globals);
        let globals = make_globals(run, plan, globals_made).await;
        progress.created.extend(globals_made.iter().map(|global| {
            CreatedObject::shared(global.clone(), "other databases of the server may use it by now")
        }));
        not_made = globals?;
    }
    let loaded = match &plan.route {
        DumpTransfer::Scratch { directory, .. } => {
            progress.begin(Phase::Fetch);
            let (scratch, repository) = to_scratch(run, plan, directory).await?;
            let chosen = load::chosen(plan, &scratch).await?;
            load::tell_left_out(run, chosen.as_ref());
            load_file(run, plan, progress, made, (scratch, repository, chosen)).await?
        }
        DumpTransfer::Stream => load_stream(run, plan, progress, made).await?,
    };
    let finished = finish(run, plan, progress, &loaded).await;
    loaded.watch.end().await;
    let finished = finished?;
    progress.begin(Phase::Publish);
    let publication = Publication::for_plan(plan, &finished.verdict);
    // From here on it is as good as requested, and must not be dropped.
    *made = CreatedObjects::Judged(publication.clone());
    let not_applied = database::apply_properties(plan).await?;
    let left_out = not_made.into_iter().chain(not_applied).collect();
    publish(plan, &publication).await?;
    *made = CreatedObjects::Nothing;
    let left_behind = loaded.chosen.iter().flat_map(|chosen| &chosen.left_out);
    let left_behind = left_behind.map(|text| format!("left out: {text}"));
    let mut notes: Vec<String> = left_behind.chain(loaded.notes).chain(finished.notes).collect();
    if let Some(aside) = &publication.aside {
        notes.extend(drop_replaced(plan, aside).await);
    }
    let found = finished.compared.as_ref().map(Compared::words);
    progress.checks.push(CheckResult { check: SAME.to_owned(), verdict: finished.verdict, found });
    Ok(CompletedLoad {
        repository: loaded.repository,
        database: publication.database,
        compared: finished.compared,
        left_out,
        notes,
        inactive_jobs: finished.inactive_jobs,
    })
}

async fn create(
    run: &RunContext,
    plan: &DumpRestorePlan,
    progress: &mut RestoreProgress<'_>,
    made: &mut CreatedObjects,
) -> Result<LoadProgress, DumpRestoreError> {
    run.check_interruption()?;
    progress.begin(Phase::CreateDatabase);
    // The temporary name is unique. A database of another name is ours only if it is known that this run
    // created it.
    if plan.loads_into == LoadsInto::Temporary {
        *made = CreatedObjects::Database;
    }
    if let Err(error) = database::create(plan).await {
        // The server rejected it; with any other error it is unknown whether it took effect.
        if matches!(&error, DumpRestoreError::Statement { source: sqlx::Error::Database(_), .. }) {
            *made = CreatedObjects::Nothing;
        }
        return Err(error);
    }
    *made = CreatedObjects::Database;
    progress.created.retain(|object| matches!(object, CreatedObject::Shared { .. }));
    progress.created.push(created(plan).await?);
    database::mark(run, plan).await?;
    inactive_jobs::hold(plan).await?;
    let database = plan.inside();
    let is_everything = plan.selection.is_none() && plan.exclusion.is_none();
    let expected = is_everything.then_some(plan.database_bytes);
    Ok(LoadProgress::begin(database, expected, run.events.clone(), &run.cancel))
}

/// Returns what teardown removes.
async fn created(plan: &DumpRestorePlan) -> Result<CreatedObject, DumpRestoreError> {
    if plan.loads_into == LoadsInto::Existing {
        let what = format!("database `{}` on {}", plan.database, plan.server);
        return Ok(CreatedObject::shared(what, "it existed before the restore"));
    }
    let oid = database::oid(&plan.steps.target, &plan.temporary).await?;
    let mut names = vec![plan.temporary.clone(), plan.database.clone()];
    names.extend(plan.incomplete.clone());
    names.dedup();
    Ok(CreatedObject::Database { oid, names })
}

async fn load_file(
    run: &RunContext,
    plan: &DumpRestorePlan,
    progress: &mut RestoreProgress<'_>,
    made: &mut CreatedObjects,
    (scratch, repository, chosen): (Scratch, RepositoryName, Option<SelectedEntries>),
) -> Result<Loaded, DumpRestoreError> {
    let mut jobs = plan.jobs;
    let mut notes = Vec::new();
    loop {
        let watch = create(run, plan, progress, made).await?;
        progress.begin(Phase::Load);
        let loaded = load::from_scratch(run, plan, &scratch, chosen.as_ref(), (&watch, jobs)).await;
        let may_be_of_order = match &loaded {
            Ok(loaded) => loaded.passed_over.may_be_of_order(),
            Err(error) => load::may_be_of_order(error),
        };
        // What cannot be dropped cannot be loaded twice.
        if may_be_of_order && jobs > 1 && plan.loads_into != LoadsInto::Existing {
            watch.end().await;
            run.check_interruption()?;
            let why = match &loaded {
                Ok(loaded) => {
                    loaded.passed_over.complaints.first().map(|first| first.text(scratch.entries()))
                }
                Err(error) => Some(error_chain(error)),
            };
            run.events.warning(format!(
                "{jobs} jobs could not load it, and one does so now, in the dump's own order: {}",
                why.unwrap_or_default()
            ));
            database::drop_database(&plan.steps.target, &plan.temporary).await?;
            *made = CreatedObjects::Nothing;
            notes.push(format!("loaded with one job, since {jobs} at a time failed"));
            jobs = 1;
            continue;
        }
        match loaded {
            Ok(loaded) => {
                notes.extend(loaded.missing);
                notes.extend(loaded.passed_over.remarks.iter().cloned());
                let passed_over = loaded.passed_over.not_loaded(scratch.entries());
                let unfilled = loaded.unfilled;
                return Ok(Loaded { watch, repository, chosen, passed_over, unfilled, notes });
            }
            Err(error) => {
                watch.end().await;
                return Err(error);
            }
        }
    }
}

/// Tries the repositories in turn, each time into a new database.
async fn load_stream(
    run: &RunContext,
    plan: &DumpRestorePlan,
    progress: &mut RestoreProgress<'_>,
    made: &mut CreatedObjects,
) -> Result<Loaded, DumpRestoreError> {
    let mut tries = Vec::new();
    for name in &plan.repositories {
        let Some(repository) = run.repositories.find(name) else { continue };
        let watch = create(run, plan, progress, made).await?;
        progress.begin(Phase::Load);
        match load::from_stream(run, plan, repository, &watch).await {
            Ok(mut passed_over) => {
                let entries = plan.steps.entries.as_deref();
                let unfilled = match plan.steps.goes_past_views {
                    true => passed_over.take_unfilled(entries),
                    false => vec![],
                };
                let notes = passed_over.remarks.clone();
                let passed_over = passed_over.not_loaded(entries);
                let repository = name.clone();
                return Ok(Loaded { watch, repository, chosen: None, passed_over, unfilled, notes });
            }
            Err(StreamFailure::Load(error)) => {
                watch.end().await;
                return Err(*error);
            }
            Err(StreamFailure::Input(reason)) => {
                watch.end().await;
                run.check_interruption()?;
                database::drop_database(&plan.steps.target, &plan.temporary).await?;
                *made = CreatedObjects::Nothing;
                tries.push((name.clone(), reason.clone()));
                lost(run, plan, name, reason);
            }
        }
    }
    Err(DumpRestoreError::Fetch { artifact: plan.steps.dump.name.clone(), tries })
}

async fn finish(
    run: &RunContext,
    plan: &DumpRestorePlan,
    progress: &mut RestoreProgress<'_>,
    loaded: &Loaded,
) -> Result<LoadOutcome, DumpRestoreError> {
    let passes_over = plan.incomplete.is_some();
    let mut finished = LoadOutcome::default();
    for NotLoaded { text, cause } in &loaded.passed_over {
        run.events.warning(format!("not loaded: {text}"));
        finished.verdict.add(Judgement::Fail, *cause, "not-loaded", text);
    }
    for view in &loaded.unfilled {
        let text = format!(
            "materialised view {}.{} is not filled: {}; `{}` does it once that is there",
            view.schema,
            view.name,
            view.reason,
            view.refresh()
        );
        run.events.warning(text.clone());
        finished.verdict.add(Judgement::Undetermined, Cause::Environment, "not-refreshed", text);
    }
    finished.inactive_jobs = inactive_jobs::deactivate(plan).await?;
    progress.begin(Phase::Analyze);
    finished.notes.extend(load::analyze(run, plan, &loaded.watch).await?);
    progress.begin(Phase::Compare);
    match inspect(run, plan, loaded.chosen.as_ref(), &loaded.unfilled).await {
        Ok(compared) => {
            for text in &compared.undetermined {
                finished.verdict.add(Judgement::Undetermined, Cause::Environment, "not-compared", text);
            }
            for text in &compared.dangling {
                let code = "large-objects-left-out";
                finished.verdict.add(Judgement::Undetermined, Cause::Objective, code, text);
            }
            for table in &compared.other_contents {
                let message = format!("table {table} has as many rows as were dumped, and other contents");
                finished.verdict.add(Judgement::Fail, Cause::Backup, OTHER_CONTENTS, message);
            }
            finished.compared = Some(compared);
        }
        Err(DumpRestoreError::Different(all)) if passes_over => {
            for difference in all {
                finished.verdict.add(Judgement::Fail, Cause::Backup, "different", difference.to_string());
            }
        }
        Err(error) if passes_over && !error.is_interruption() => {
            finished.verdict.add(Judgement::Undetermined, Cause::Tool, "not-compared", error_chain(&error));
        }
        Err(error) => return Err(error),
    }
    run.check_interruption()?;
    Ok(finished)
}

/// Cleans up after a failure: nothing incomplete may remain that looks complete, and nothing complete may be
/// dropped.
async fn take_back(plan: &DumpRestorePlan, made: CreatedObjects) -> DumpCleanup {
    let database = plan.temporary.clone();
    match made {
        CreatedObjects::Nothing => DumpCleanup::NothingMade,
        // A connection that broke in the last step leaves open whether the server executed it.
        CreatedObjects::Judged(publication)
            if publication.database != database && database::is_gone(&plan.steps.target, &database).await =>
        {
            DumpCleanup::Published { database: publication.database }
        }
        CreatedObjects::Judged(publication) => DumpCleanup::Kept {
            database,
            is_complete: publication.is_complete,
            by_hand: publication.by_hand(),
        },
        CreatedObjects::Database if plan.loads_into == LoadsInto::Existing => {
            DumpCleanup::Marked { database }
        }
        CreatedObjects::Database => match database::drop_database(&plan.steps.target, &database).await {
            Ok(()) => DumpCleanup::Dropped { database },
            Err(error) => DumpCleanup::Left { database, reason: error_chain(&error) },
        },
    }
}

async fn drop_leftovers(run: &RunContext, plan: &DumpRestorePlan) -> Result<(), DumpRestoreError> {
    for leftover in plan.leftovers.iter().filter(|leftover| leftover.may_be_dropped()) {
        database::drop_database(&plan.steps.target, &leftover.database).await?;
        run.events.notice(format!("dropped {}, left by an earlier restore", leftover.database));
    }
    Ok(())
}

/// How far a restore came.
enum CreatedObjects {
    Nothing,
    /// A database that must be dropped on failure.
    Database,
    /// A database that was compared, and is published according to the result.
    Judged(Publication),
}

/// A database that was loaded.
struct Loaded {
    watch: LoadProgress,
    repository: RepositoryName,
    chosen: Option<SelectedEntries>,
    /// What did not load.
    passed_over: Vec<NotLoaded>,
    /// Materialised views that were not filled, for want of what the target does not reach.
    unfilled: Vec<UnfilledView>,
    /// Notes for the operator on the load.
    notes: Vec<String>,
}

/// A database that was compared and judged.
#[derive(Default)]
struct LoadOutcome {
    compared: Option<Compared>,
    verdict: Verdict,
    notes: Vec<String>,
    inactive_jobs: Vec<InactiveJob>,
}

/// A database that was published.
struct CompletedLoad {
    repository: RepositoryName,
    database: String,
    compared: Option<Compared>,
    left_out: Vec<String>,
    notes: Vec<String>,
    inactive_jobs: Vec<InactiveJob>,
}
