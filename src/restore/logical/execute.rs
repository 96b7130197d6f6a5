use super::archive_toc::TocEntry;
use super::database;
use super::fetch::{Scratch, lost, to_scratch};
use super::inspect::inspect;
use super::load::{self, StreamFailure};
use super::pg_restore_errors::PassedOver;
use super::plan::{DumpRestorePlan, DumpTransfer, LoadsInto};
use super::progress::LoadProgress;
use super::publish::{Publication, drop_replaced, publish};
use super::selection::SelectedEntries;
use super::{Compared, DumpCleanup, DumpRestoreError, DumpRestoreFailure, DumpRestoreReport, Run, VERB};
use crate::event::{Event, Phase, PhaseTimer};
use crate::model::{Cause, Judgement, RepositoryName, Verdict};
use crate::text::error_chain;

impl Run {
    /// Does what was planned. Until the last step the restored database has a name of its own, or a comment that
    /// says that it is not complete; whatever fails before, it is dropped.
    pub async fn execute(&self, plan: DumpRestorePlan) -> Result<DumpRestoreReport, DumpRestoreFailure> {
        self.events.emit(&Event::RunBegan { run: self.id.clone(), verb: VERB });
        let mut phases = PhaseTimer::new(&self.events);
        let mut globals_made = Vec::new();
        let begun = self.clock.now();
        let mut made = CreatedObjects::Nothing;
        let outcome = self.steps(&plan, &mut phases, &mut globals_made, &mut made).await;
        let phase = phases.current();
        let done = match outcome {
            Ok(done) => done,
            Err(source) => {
                let aftermath = self.take_back(&plan, made).await;
                let (backup, phases) = (plan.backup.clone(), phases.ended());
                return Err(DumpRestoreFailure { backup, phase, aftermath, globals_made, phases, source });
            }
        };
        let phases = phases.ended();
        Ok(DumpRestoreReport {
            run: self.id.clone(),
            backup: plan.backup.clone(),
            recovery_point: plan.recovery_point,
            repository: done.repository,
            server: plan.server.clone(),
            database: done.database,
            notes: {
                let compared = done.compared.iter().flat_map(|compared| &compared.notes);
                plan.notes.iter().chain(compared).cloned().chain(done.notes).collect()
            },
            compared: done.compared,
            verdict: done.verdict,
            phases,
            seconds: (self.clock.now() - begun).as_seconds_f64().max(0.0),
            stored_bytes: plan.stored_bytes,
            plain_bytes: plan.plain_bytes,
            globals: plan.globals.clone(),
            left_out: done.left_out,
        })
    }

    async fn steps(
        &self,
        plan: &DumpRestorePlan,
        phases: &mut PhaseTimer<'_>,
        globals_made: &mut Vec<String>,
        made: &mut CreatedObjects,
    ) -> Result<CompletedLoad, DumpRestoreError> {
        if plan.drop_leftovers {
            phases.begin(Phase::Prepare);
            self.drop_leftovers(plan).await?;
        }
        let mut not_made = Vec::new();
        if plan.globals.is_some() {
            phases.begin(Phase::Globals);
            not_made = self.make_globals(plan, globals_made).await?;
        }
        let loaded = match &plan.route {
            DumpTransfer::Scratch { directory, .. } => {
                phases.begin(Phase::Fetch);
                let (scratch, repository) = to_scratch(self, plan, directory).await?;
                let chosen = load::chosen(self, plan, &scratch).await?;
                load::tell_left_out(self, chosen.as_ref());
                self.load_file(plan, phases, made, (scratch, repository, chosen)).await?
            }
            DumpTransfer::Stream => self.load_stream(plan, phases, made).await?,
        };
        let finished = self.finish(plan, phases, &loaded).await;
        loaded.watch.end().await;
        let finished = finished?;
        phases.begin(Phase::Publish);
        let publication = Publication::of(plan, &finished.verdict);
        // From here on it is good, or as good as was asked for, and nothing may take it back.
        *made = CreatedObjects::Judged(publication.clone());
        let not_applied = database::apply_properties(self, plan).await?;
        let left_out = not_made.into_iter().chain(not_applied).collect();
        publish(self, &publication).await?;
        *made = CreatedObjects::Nothing;
        let left_behind = loaded.chosen.iter().flat_map(|chosen| &chosen.left_out);
        let left_behind = left_behind.map(|text| format!("left out: {text}"));
        let mut notes: Vec<String> = left_behind.chain(loaded.notes).chain(finished.notes).collect();
        if let Some(aside) = &publication.aside {
            notes.extend(drop_replaced(self, aside).await);
        }
        Ok(CompletedLoad {
            repository: loaded.repository,
            database: publication.database,
            compared: finished.compared,
            verdict: finished.verdict,
            left_out,
            notes,
        })
    }

    async fn create(
        &self,
        plan: &DumpRestorePlan,
        phases: &mut PhaseTimer<'_>,
        made: &mut CreatedObjects,
    ) -> Result<LoadProgress, DumpRestoreError> {
        self.check_interruption()?;
        phases.begin(Phase::CreateDatabase);
        // Nobody else has the temporary name. Of another one it is ours only if we know that we made it.
        if plan.loads_into == LoadsInto::Temporary {
            *made = CreatedObjects::Database;
        }
        if let Err(error) = database::create(self, plan).await {
            // The server said no; otherwise nobody knows what it did.
            if matches!(&error, DumpRestoreError::Statement { source: sqlx::Error::Database(_), .. }) {
                *made = CreatedObjects::Nothing;
            }
            return Err(error);
        }
        *made = CreatedObjects::Database;
        database::mark(self, plan).await?;
        let database = plan.inside(&self.target);
        let is_everything = plan.selection.is_none() && plan.exclusion.is_none();
        let expected = is_everything.then_some(plan.database_bytes);
        Ok(LoadProgress::begin(database, expected, self.events.clone(), &self.cancel))
    }

    async fn load_file(
        &self,
        plan: &DumpRestorePlan,
        phases: &mut PhaseTimer<'_>,
        made: &mut CreatedObjects,
        (scratch, repository, chosen): (Scratch, RepositoryName, Option<SelectedEntries>),
    ) -> Result<Loaded, DumpRestoreError> {
        let mut jobs = plan.jobs;
        let mut notes = Vec::new();
        loop {
            let watch = self.create(plan, phases, made).await?;
            phases.begin(Phase::Load);
            let loaded = load::from_scratch(self, plan, &scratch, chosen.as_ref(), (&watch, jobs)).await;
            let may_be_of_order = match &loaded {
                Ok(loaded) => loaded.passed_over.may_be_of_order(),
                Err(error) => load::may_be_of_order(error),
            };
            // What cannot be dropped cannot be loaded twice.
            if may_be_of_order && jobs > 1 && plan.loads_into != LoadsInto::Existing {
                watch.end().await;
                self.check_interruption()?;
                let why = match &loaded {
                    Ok(loaded) => {
                        loaded.passed_over.complaints.first().map(|first| first.text(scratch.entries()))
                    }
                    Err(error) => Some(error_chain(error)),
                };
                self.events.warning(format!(
                    "{jobs} jobs could not load it, and one does so now, in the dump's own order: {}",
                    why.unwrap_or_default()
                ));
                database::drop_database(&self.target, &plan.temporary).await?;
                *made = CreatedObjects::Nothing;
                notes.push(format!("loaded with one job, since {jobs} at a time failed"));
                jobs = 1;
                continue;
            }
            match loaded {
                Ok(loaded) => {
                    notes.extend(loaded.missing);
                    let passed_over = Self::told_of(loaded.passed_over, scratch.entries());
                    return Ok(Loaded { watch, repository, chosen, passed_over, notes });
                }
                Err(error) => {
                    watch.end().await;
                    return Err(error);
                }
            }
        }
    }

    /// Tries one repository after the other, each time into a new database.
    async fn load_stream(
        &self,
        plan: &DumpRestorePlan,
        phases: &mut PhaseTimer<'_>,
        made: &mut CreatedObjects,
    ) -> Result<Loaded, DumpRestoreError> {
        let mut tries = Vec::new();
        for name in &plan.repositories {
            let Some(repository) = self.repositories.find(name) else { continue };
            let watch = self.create(plan, phases, made).await?;
            phases.begin(Phase::Load);
            match load::from_stream(self, plan, repository, &watch).await {
                Ok(passed_over) => {
                    let passed_over = Self::told_of(passed_over, None);
                    let repository = name.clone();
                    return Ok(Loaded { watch, repository, chosen: None, passed_over, notes: vec![] });
                }
                Err(StreamFailure::Load(error)) => {
                    watch.end().await;
                    return Err(*error);
                }
                Err(StreamFailure::Input(reason)) => {
                    watch.end().await;
                    self.check_interruption()?;
                    database::drop_database(&self.target, &plan.temporary).await?;
                    *made = CreatedObjects::Nothing;
                    tries.push((name.clone(), reason.clone()));
                    lost(self, plan, name, reason);
                }
            }
        }
        Err(DumpRestoreError::Fetch { artifact: plan.steps.dump.name.clone(), tries })
    }

    /// What was passed over, in words, and said as it is known.
    fn told_of(passed_over: PassedOver, entries: Option<&[TocEntry]>) -> Vec<String> {
        let mut told: Vec<String> =
            passed_over.complaints.iter().map(|complaint| complaint.text(entries)).collect();
        if passed_over.untold > 0 {
            told.push(format!(
                "{} more errors, of which pg_restore gives the number only",
                passed_over.untold
            ));
        }
        told
    }

    async fn finish(
        &self,
        plan: &DumpRestorePlan,
        phases: &mut PhaseTimer<'_>,
        loaded: &Loaded,
    ) -> Result<LoadOutcome, DumpRestoreError> {
        let passes_over = plan.incomplete.is_some();
        let mut finished = LoadOutcome::default();
        for text in &loaded.passed_over {
            self.events.warning(format!("not loaded: {text}"));
            finished.verdict.add(Judgement::Fail, Cause::Backup, "not-loaded", text);
        }
        phases.begin(Phase::Analyze);
        finished.notes.extend(load::analyze(self, plan, &loaded.watch).await?);
        phases.begin(Phase::Compare);
        match inspect(self, plan, loaded.chosen.as_ref()).await {
            Ok(compared) => {
                for text in &compared.undetermined {
                    finished.verdict.add(Judgement::Undetermined, Cause::Environment, "not-compared", text);
                }
                finished.compared = Some(compared);
            }
            Err(DumpRestoreError::Different(all)) if passes_over => {
                for difference in all {
                    finished.verdict.add(Judgement::Fail, Cause::Backup, "different", difference.to_string());
                }
            }
            Err(error) if passes_over && !error.is_interruption() => {
                finished.verdict.add(
                    Judgement::Undetermined,
                    Cause::Tool,
                    "not-compared",
                    error_chain(&error),
                );
            }
            Err(error) => return Err(error),
        }
        self.check_interruption()?;
        Ok(finished)
    }

    /// After a failure: nothing that looks complete and is not may stay, and nothing that is complete may go.
    async fn take_back(&self, plan: &DumpRestorePlan, made: CreatedObjects) -> DumpCleanup {
        let database = plan.temporary.clone();
        match made {
            CreatedObjects::Nothing => DumpCleanup::NothingMade,
            // A connection that broke in the last step says nothing about whether the server took it.
            CreatedObjects::Judged(publication)
                if publication.database != database && database::is_gone(&self.target, &database).await =>
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
            CreatedObjects::Database => match database::drop_database(&self.target, &database).await {
                Ok(()) => DumpCleanup::Dropped { database },
                Err(error) => DumpCleanup::Left { database, reason: error_chain(&error) },
            },
        }
    }

    async fn drop_leftovers(&self, plan: &DumpRestorePlan) -> Result<(), DumpRestoreError> {
        for leftover in plan.leftovers.iter().filter(|leftover| leftover.may_be_dropped()) {
            database::drop_database(&self.target, &leftover.database).await?;
            self.events.notice(format!("dropped {}, left by an earlier restore", leftover.database));
        }
        Ok(())
    }
}

/// How far a restore came.
enum CreatedObjects {
    Nothing,
    /// A database that is not to stay.
    Database,
    /// One that was compared, and is to be published so.
    Judged(Publication),
}

/// A database that was loaded.
struct Loaded {
    watch: LoadProgress,
    repository: RepositoryName,
    chosen: Option<SelectedEntries>,
    /// What did not load, in words.
    passed_over: Vec<String>,
    /// What a person should know of the load.
    notes: Vec<String>,
}

/// A database that was judged.
#[derive(Default)]
struct LoadOutcome {
    compared: Option<Compared>,
    verdict: Verdict,
    notes: Vec<String>,
}

/// A database that was published.
struct CompletedLoad {
    repository: RepositoryName,
    database: String,
    compared: Option<Compared>,
    verdict: Verdict,
    left_out: Vec<String>,
    notes: Vec<String>,
}
