use sqlx::PgConnection;

use super::archive::Entry;
use super::database::{self, execute as statement};
use super::fetch::{Scratch, lost, to_scratch};
use super::inspect::inspect;
use super::load::{self, StreamFailure};
use super::passed_over::PassedOver;
use super::plan::{LoadsInto, RestorePlan, Route};
use super::publish::{Publication, drop_replaced, publish};
use super::selection::Chosen;
use super::target::maintenance;
use super::watch::{Watch, close};
use super::{Aftermath, Compared, Failure, Report, RestoreError, Run, VERB};
use crate::event::{Event, Phase, told};
use crate::model::{Cause, Judgement, RepositoryName, Verdict};
use crate::repository::Phases;

impl Run {
    /// Does what was planned. Until the last step the restored database has a name of its own, or a comment that
    /// says that it is not complete; whatever fails before, it is dropped.
    pub async fn execute(&self, plan: RestorePlan) -> Result<Report, Failure> {
        self.events.emit(&Event::RunBegan { run: self.id.clone(), verb: VERB });
        let mut phases = Phases::new(&*self.clock, &self.events);
        let mut globals_made = Vec::new();
        let begun = self.clock.now();
        let mut made = Made::Nothing;
        let outcome = self.steps(&plan, &mut phases, &mut globals_made, &mut made).await;
        let phase = phases.current();
        let done = match outcome {
            Ok(done) => done,
            Err(source) => {
                let aftermath = self.take_back(&plan, made).await;
                let (backup, phases) = (plan.backup.clone(), phases.ended());
                return Err(Failure { backup, phase, aftermath, globals_made, phases, source });
            }
        };
        let phases = phases.ended();
        Ok(Report {
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
        plan: &RestorePlan,
        phases: &mut Phases<'_>,
        globals_made: &mut Vec<String>,
        made: &mut Made,
    ) -> Result<Done, RestoreError> {
        if plan.drop_leftovers {
            phases.begin(Phase::Prepare);
            self.drop_leftovers(plan).await?;
        }
        if plan.globals.is_some() {
            phases.begin(Phase::Globals);
            self.make_globals(plan, globals_made).await?;
        }
        let loaded = match &plan.route {
            Route::Scratch { directory, .. } => {
                phases.begin(Phase::Fetch);
                let (scratch, repository) = to_scratch(self, plan, directory).await?;
                let chosen = load::chosen(self, plan, &scratch).await?;
                load::tell_left_out(self, chosen.as_ref());
                self.load_file(plan, phases, made, (scratch, repository, chosen)).await?
            }
            Route::Stream => self.load_stream(plan, phases, made).await?,
        };
        let finished = self.finish(plan, phases, &loaded).await;
        loaded.watch.end().await;
        let finished = finished?;
        phases.begin(Phase::Publish);
        let publication = Publication::of(plan, &finished.verdict);
        // From here on it is good, or as good as was asked for, and nothing may take it back.
        *made = Made::Judged(publication.clone());
        let left_out = database::apply_properties(self, plan).await?;
        publish(self, &publication).await?;
        *made = Made::Nothing;
        let left_behind = loaded.chosen.iter().flat_map(|chosen| &chosen.left_out);
        let left_behind = left_behind.map(|text| format!("left out: {text}"));
        let mut notes: Vec<String> = left_behind.chain(finished.notes).collect();
        if let Some(aside) = &publication.aside {
            notes.extend(drop_replaced(self, aside).await);
        }
        Ok(Done {
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
        plan: &RestorePlan,
        phases: &mut Phases<'_>,
        made: &mut Made,
    ) -> Result<Watch, RestoreError> {
        self.check_interruption()?;
        phases.begin(Phase::CreateDatabase);
        // Nobody else has the temporary name. Of another one it is ours only if we know that we made it.
        if plan.loads_into == LoadsInto::Temporary {
            *made = Made::Database;
        }
        if let Err(error) = database::create(self, plan).await {
            // The server said no; otherwise nobody knows what it did.
            if matches!(&error, RestoreError::Statement { source: sqlx::Error::Database(_), .. }) {
                *made = Made::Nothing;
            }
            return Err(error);
        }
        *made = Made::Database;
        database::mark(self, plan).await?;
        let database = plan.inside(&self.target);
        let is_everything = plan.selection.is_none() && plan.exclusion.is_none();
        let expected = is_everything.then_some(plan.database_bytes);
        Ok(Watch::begin(database, expected, self.events.clone(), &self.cancel))
    }

    async fn load_file(
        &self,
        plan: &RestorePlan,
        phases: &mut Phases<'_>,
        made: &mut Made,
        (scratch, repository, chosen): (Scratch, RepositoryName, Option<Chosen>),
    ) -> Result<Loaded, RestoreError> {
        let watch = self.create(plan, phases, made).await?;
        phases.begin(Phase::Load);
        match load::from_scratch(self, plan, &scratch, chosen.as_ref(), &watch).await {
            Ok(passed_over) => {
                let passed_over = Self::told_of(passed_over, scratch.entries());
                Ok(Loaded { watch, repository, chosen, passed_over })
            }
            Err(error) => {
                watch.end().await;
                Err(error)
            }
        }
    }

    /// Tries one repository after the other, each time into a new database.
    async fn load_stream(
        &self,
        plan: &RestorePlan,
        phases: &mut Phases<'_>,
        made: &mut Made,
    ) -> Result<Loaded, RestoreError> {
        let mut tries = Vec::new();
        for name in &plan.repositories {
            let Some(repository) = self.repositories.find(name) else { continue };
            let watch = self.create(plan, phases, made).await?;
            phases.begin(Phase::Load);
            match load::from_stream(self, plan, repository, &watch).await {
                Ok(passed_over) => {
                    let passed_over = Self::told_of(passed_over, None);
                    return Ok(Loaded { watch, repository: name.clone(), chosen: None, passed_over });
                }
                Err(StreamFailure::Load(error)) => {
                    watch.end().await;
                    return Err(*error);
                }
                Err(StreamFailure::Input(reason)) => {
                    watch.end().await;
                    self.check_interruption()?;
                    database::drop_database(&self.target, &plan.temporary).await?;
                    *made = Made::Nothing;
                    tries.push((name.clone(), reason.clone()));
                    lost(self, plan, name, reason);
                }
            }
        }
        Err(RestoreError::Fetch { artifact: plan.steps.dump.name.clone(), tries })
    }

    /// What was passed over, in words, and said as it is known.
    fn told_of(passed_over: PassedOver, entries: Option<&[Entry]>) -> Vec<String> {
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
        plan: &RestorePlan,
        phases: &mut Phases<'_>,
        loaded: &Loaded,
    ) -> Result<Finished, RestoreError> {
        let passes_over = plan.incomplete.is_some();
        let mut finished = Finished::default();
        for text in &loaded.passed_over {
            self.events.warning(format!("not loaded: {text}"));
            finished.verdict.add(Judgement::Fail, Cause::Backup, "not-loaded", text);
        }
        phases.begin(Phase::Analyze);
        finished.notes.extend(load::analyze(self, plan, &loaded.watch).await?);
        phases.begin(Phase::Compare);
        match inspect(self, plan, loaded.chosen.as_ref()).await {
            Ok(compared) => finished.compared = Some(compared),
            Err(RestoreError::Different(all)) if passes_over => {
                for difference in all {
                    finished.verdict.add(Judgement::Fail, Cause::Backup, "different", difference.to_string());
                }
            }
            Err(error) if passes_over && !error.is_interruption() => {
                finished.verdict.add(Judgement::Undetermined, Cause::Tool, "not-compared", told(&error));
            }
            Err(error) => return Err(error),
        }
        self.check_interruption()?;
        Ok(finished)
    }

    /// After a failure: nothing that looks complete and is not may stay, and nothing that is complete may go.
    async fn take_back(&self, plan: &RestorePlan, made: Made) -> Aftermath {
        let database = plan.temporary.clone();
        match made {
            Made::Nothing => Aftermath::NothingMade,
            // A connection that broke in the last step says nothing about whether the server took it.
            Made::Judged(publication)
                if publication.database != database && database::is_gone(&self.target, &database).await =>
            {
                Aftermath::Published { database: publication.database }
            }
            Made::Judged(publication) => Aftermath::Kept {
                database,
                is_complete: publication.is_complete,
                by_hand: publication.by_hand(),
            },
            Made::Database if plan.loads_into == LoadsInto::Existing => Aftermath::Marked { database },
            Made::Database => match database::drop_database(&self.target, &database).await {
                Ok(()) => Aftermath::Dropped { database },
                Err(error) => Aftermath::Left { database, reason: told(&error) },
            },
        }
    }

    async fn drop_leftovers(&self, plan: &RestorePlan) -> Result<(), RestoreError> {
        for leftover in plan.leftovers.iter().filter(|leftover| leftover.may_be_dropped()) {
            database::drop_database(&self.target, &leftover.database).await?;
            self.events.notice(format!("dropped {}, left by an earlier restore", leftover.database));
        }
        Ok(())
    }

    async fn make_globals(&self, plan: &RestorePlan, made: &mut Vec<String>) -> Result<(), RestoreError> {
        let Some(globals) = &plan.globals else { return Ok(()) };
        self.check_interruption()?;
        let mut connection = maintenance(&self.target).await.map_err(RestoreError::Connect)?;
        let constants = "SET standard_conforming_strings = on; SET client_encoding = 'UTF8'".to_owned();
        statement(&mut connection, "prepare for roles", constants).await?;
        statement(&mut connection, "make roles", "BEGIN".to_owned()).await?;
        run_all(&mut connection, "make roles", &globals.role_statements).await?;
        statement(&mut connection, "make roles", "COMMIT".to_owned()).await?;
        made.extend(globals.roles.iter().map(|role| format!("role {role}")));
        run_all(&mut connection, "make tablespaces", &globals.tablespace_statements).await?;
        made.extend(globals.tablespaces.iter().map(|name| format!("tablespace {name}")));
        close(connection).await;
        if !globals.existing_roles.is_empty() {
            self.events
                .notice(format!("left as they are, since they exist: {}", globals.existing_roles.join(", ")));
        }
        for text in &globals.left_out {
            self.events.warning(format!("left out of the roles and tablespaces: {text}"));
        }
        if !globals.need_password.is_empty() {
            self.events.warning(format!(
                "these roles may log in and need a password, which the backup does not hold: {}",
                globals.need_password.join(", ")
            ));
        }
        Ok(())
    }
}

async fn run_all(
    connection: &mut PgConnection,
    what: &str,
    statements: &[super::statements::Statement],
) -> Result<(), RestoreError> {
    for one in statements {
        statement(connection, &format!("{what} (`{}`)", one.gist()), one.sql().to_owned()).await?;
    }
    Ok(())
}

/// How far a restore came.
enum Made {
    Nothing,
    /// A database that is not to stay.
    Database,
    /// One that was compared, and is to be published so.
    Judged(Publication),
}

/// A database that was loaded.
struct Loaded {
    watch: Watch,
    repository: RepositoryName,
    chosen: Option<Chosen>,
    /// What did not load, in words.
    passed_over: Vec<String>,
}

/// A database that was judged.
#[derive(Default)]
struct Finished {
    compared: Option<Compared>,
    verdict: Verdict,
    notes: Vec<String>,
}

/// A database that was published.
struct Done {
    repository: RepositoryName,
    database: String,
    compared: Option<Compared>,
    verdict: Verdict,
    left_out: Vec<String>,
    notes: Vec<String>,
}
