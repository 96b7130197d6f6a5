use sqlx::PgConnection;

use super::database::{self, execute as statement};
use super::fetch::{Scratch, lost, to_scratch};
use super::inspect::inspect;
use super::load::{self, StreamFailure};
use super::plan::{RestorePlan, Route};
use super::selection::Chosen;
use super::target::maintenance;
use super::watch::{Watch, close};
use super::{Aftermath, Compared, Failure, Report, RestoreError, Run, VERB};
use crate::event::{Event, Phase, told};
use crate::model::RepositoryName;
use crate::repository::Phases;

impl Run {
    /// Does what was planned. Until the last step the restored database has a name of its own; whatever fails
    /// before, it is dropped.
    pub async fn execute(&self, plan: RestorePlan) -> Result<Report, Failure> {
        self.events.emit(&Event::RunBegan { run: self.id.clone(), verb: VERB });
        let mut phases = Phases::new(&*self.clock, &self.events);
        let mut globals_made = Vec::new();
        let begun = self.clock.now();
        let mut made = false;
        let outcome = self.steps(&plan, &mut phases, &mut globals_made, &mut made).await;
        let phase = phases.current();
        let done = match outcome {
            Ok(done) => done,
            Err(source) => {
                let aftermath =
                    if made { self.take_back(&plan, phase).await } else { Aftermath::NothingMade };
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
            database: plan.database.clone(),
            notes: plan.notes.iter().chain(&done.compared.notes).cloned().chain(done.notes).collect(),
            compared: done.compared,
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
        made: &mut bool,
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
        let (compared, left_out) = finished?;
        phases.begin(Phase::Publish);
        let aside = database::publish(self, plan).await?;
        // From here on it is published, and nothing may take it back.
        *made = false;
        let left_behind = loaded.chosen.iter().flat_map(|chosen| &chosen.left_out);
        let mut notes: Vec<String> = left_behind.map(|text| format!("left out: {text}")).collect();
        if let Some(aside) = aside {
            notes.extend(database::drop_replaced(self, &aside).await);
        }
        Ok(Done { repository: loaded.repository, compared, left_out, notes })
    }

    async fn create(
        &self,
        plan: &RestorePlan,
        phases: &mut Phases<'_>,
        made: &mut bool,
    ) -> Result<Watch, RestoreError> {
        self.check_interruption()?;
        phases.begin(Phase::CreateDatabase);
        *made = true;
        if let Err(error) = database::create(self, plan).await {
            // The server said no; otherwise nobody knows what it did.
            *made = !matches!(&error, RestoreError::Statement { source: sqlx::Error::Database(_), .. });
            return Err(error);
        }
        database::mark(self, plan).await?;
        let database = plan.inside(&self.target);
        let expected = plan.steps.selection.is_everything().then_some(plan.database_bytes);
        Ok(Watch::begin(database, expected, self.events.clone(), &self.cancel))
    }

    async fn load_file(
        &self,
        plan: &RestorePlan,
        phases: &mut Phases<'_>,
        made: &mut bool,
        (scratch, repository, chosen): (Scratch, RepositoryName, Option<Chosen>),
    ) -> Result<Loaded, RestoreError> {
        let watch = self.create(plan, phases, made).await?;
        phases.begin(Phase::Load);
        let loaded = load::from_scratch(self, plan, &scratch, chosen.as_ref(), &watch).await;
        if let Err(error) = loaded {
            watch.end().await;
            return Err(error);
        }
        Ok(Loaded { watch, repository, chosen })
    }

    /// Tries one repository after the other, each time into a new database.
    async fn load_stream(
        &self,
        plan: &RestorePlan,
        phases: &mut Phases<'_>,
        made: &mut bool,
    ) -> Result<Loaded, RestoreError> {
        let mut tries = Vec::new();
        for name in &plan.repositories {
            let Some(repository) = self.repositories.find(name) else { continue };
            let watch = self.create(plan, phases, made).await?;
            phases.begin(Phase::Load);
            match load::from_stream(self, plan, repository, &watch).await {
                Ok(()) => return Ok(Loaded { watch, repository: name.clone(), chosen: None }),
                Err(StreamFailure::Load(error)) => {
                    watch.end().await;
                    return Err(*error);
                }
                Err(StreamFailure::Input(reason)) => {
                    watch.end().await;
                    self.check_interruption()?;
                    database::drop_database(&self.target, &plan.temporary, true).await?;
                    *made = false;
                    tries.push((name.clone(), reason.clone()));
                    lost(self, plan, name, reason);
                }
            }
        }
        Err(RestoreError::Fetch { artifact: plan.steps.dump.name.clone(), tries })
    }

    async fn finish(
        &self,
        plan: &RestorePlan,
        phases: &mut Phases<'_>,
        loaded: &Loaded,
    ) -> Result<(Compared, Vec<String>), RestoreError> {
        phases.begin(Phase::Analyze);
        let unplanned = load::analyze(self, plan, &loaded.watch).await?;
        phases.begin(Phase::Compare);
        let mut compared = inspect(self, plan, loaded.chosen.as_ref()).await?;
        compared.notes.extend(unplanned);
        self.check_interruption()?;
        Ok((compared, database::apply_properties(self, plan).await?))
    }

    /// After a failure: nothing that looks complete and is not may stay.
    async fn take_back(&self, plan: &RestorePlan, phase: Phase) -> Aftermath {
        let database = plan.temporary.clone();
        // A connection that broke in the last step says nothing about whether the server took it.
        if phase == Phase::Publish && database::is_gone(&self.target, &database).await {
            return Aftermath::Published { database: plan.database.clone() };
        }
        match database::drop_database(&self.target, &database, true).await {
            Ok(()) => Aftermath::Dropped { database },
            Err(error) => Aftermath::Left { database, reason: told(&error) },
        }
    }

    async fn drop_leftovers(&self, plan: &RestorePlan) -> Result<(), RestoreError> {
        for leftover in plan.leftovers.iter().filter(|leftover| leftover.may_be_dropped()) {
            // Without force: if someone is in it now, it is none.
            database::drop_database(&self.target, &leftover.database, false).await?;
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

/// A database that was loaded.
struct Loaded {
    watch: Watch,
    repository: RepositoryName,
    chosen: Option<Chosen>,
}

/// A database that was published.
struct Done {
    repository: RepositoryName,
    compared: Compared,
    left_out: Vec<String>,
    notes: Vec<String>,
}
