use super::execution::Execution;
use super::login::{LoggedIn, is_of_master, log_in, look};
use super::plan::RdsRestoreStep;
use super::report::{RdsAftermath, RdsDetails};
use super::settings::{CHECKS, DONE};
use super::{RdsRestorePlan, RdsRestoreRequest};
use crate::aws::rds::{Changes, Database, Rds};
use crate::aws::{AwsFailure, AwsTags, FailureKind, PollProgress, PolledState, Start, start_or_adopt};
use crate::checks::CheckResult;
use crate::model::Cause;
use crate::restore::{AwsRestoreError, CreatedObject, Executed, RestoreProgress, Restored, Stopped};
use crate::run::RunContext;
use crate::text::format_time;

/// The check that the database can be logged in to and read.
const LOGIN: &str = "login";

/// Creates the instance, configures it, logs in, and waits until it is complete: executes the steps of the
/// plan.
pub(super) async fn execute(
    run: &RunContext,
    plan: &RdsRestorePlan,
    progress: &mut RestoreProgress<'_>,
) -> Executed<RdsRestoreRequest> {
    let stopped = |begun, error| {
        let aftermath = RdsAftermath::after_failure(begun, &error);
        Stopped { error, aftermath }
    };
    let rds = Rds::connect(&plan.place).await.map_err(|error| stopped(plan.resumed, error.into()))?;
    let mut execution = Execution::new(run, plan, rds);
    let walked = execution.walk(progress).await;
    progress.created.extend(execution.created());
    let database = walked.map_err(|error| stopped(execution.begun, error))?;
    let (host, port) =
        database.endpoint.map_or_else(Default::default, |endpoint| (endpoint.host, endpoint.port));
    Ok(Restored {
        to: format!("`{}` in {}, {host}:{port}", plan.to(), plan.chosen.region),
        recovery_point: plan.until,
        left_out: vec![],
        notes: execution.notes,
        details: RdsDetails {
            region: plan.chosen.region.clone(),
            from: plan.chosen.via.words(),
            instance: plan.to().to_owned(),
            members: database.profile.cluster.map_or_else(Vec::new, |cluster| {
                cluster.members.into_iter().map(|member| member.identifier).collect()
            }),
            host,
            port,
            resumed: plan.resumed,
            marks: execution.marks,
            server: execution.logged_in.map(|logged_in| logged_in.server),
            backups: plan.backups.days(),
            not_reproduced: plan.not_reproduced().to_vec(),
            changed: plan.changed.clone(),
        },
    })
}

impl Execution<'_> {
    async fn walk(&mut self, progress: &mut RestoreProgress<'_>) -> Result<Database, AwsRestoreError> {
        for step in &self.plan.steps {
            if self.is_done(step, progress).await? {
                continue;
            }
            if let Some(phase) = step.phase() {
                progress.begin(phase);
            }
            self.act(step, progress).await?;
        }
        self.database().await
    }

    /// Returns whether RDS shows that an earlier run did it, or that there is nothing to do. A proof, such as
    /// a login, always runs, and waits end at once where there is nothing to wait for.
    async fn is_done(
        &mut self,
        step: &RdsRestoreStep,
        progress: &RestoreProgress<'_>,
    ) -> Result<bool, AwsRestoreError> {
        Ok(match step {
            RdsRestoreStep::Create => self.begun,
            RdsRestoreStep::TurnOnBackups { .. } => {
                self.database().await?.profile.backup_retention_days != Some(0)
            }
            RdsRestoreStep::ApplyDeferredSettings => !self.defers_settings,
            RdsRestoreStep::Validate => self.logged_in.is_none() || !progress.validates(),
            _ => false,
        })
    }

    async fn act(
        &mut self,
        step: &RdsRestoreStep,
        progress: &mut RestoreProgress<'_>,
    ) -> Result<(), AwsRestoreError> {
        match step {
            RdsRestoreStep::CreateParameterGroup(group) => {
                let (name, tags) = (&group.group.name, &self.plan.settings.new.tags);
                self.rds.create_parameter_group(&group.group, &group.family, group.of_cluster, tags).await?;
                self.notes.push(format!("created parameter group `{name}` as it was recorded"));
                self.created.push(CreatedObject::shared(
                    format!("parameter group `{name}` in {}", self.rds.region()),
                    "a parameter group costs nothing, and other restores may use it by now",
                ));
            }
            RdsRestoreStep::Create => self.create().await?,
            RdsRestoreStep::AwaitAvailable => {
                self.open().await?;
                self.marks.available = self.elapsed();
            }
            RdsRestoreStep::ApplySettings => {
                self.defers_settings = self.must_defer_settings().await?;
                if !self.defers_settings {
                    self.set_up().await?;
                }
            }
            RdsRestoreStep::CreateMembers => {
                self.create_members().await?;
                self.open().await?;
                // It was not usable before.
                self.marks.available = self.elapsed();
            }
            RdsRestoreStep::TurnOnBackups { days } => self.turn_on_backups(*days).await?,
            RdsRestoreStep::LogIn => self.log_in(progress).await?,
            RdsRestoreStep::Validate => self.validate(progress).await,
            RdsRestoreStep::AwaitMembers => {
                self.await_members().await?;
                self.open().await?;
            }
            RdsRestoreStep::ApplyDeferredSettings => {
                self.available().await?;
                self.set_up().await?;
            }
            RdsRestoreStep::Hydrate => self.hydrate().await?,
            RdsRestoreStep::AwaitFirstBackup => self.await_first_backup().await?,
            RdsRestoreStep::NoteMissingBackups => self.note_missing_backups().await?,
            RdsRestoreStep::MarkRestored => self.mark_restored().await?,
        }
        Ok(())
    }

    async fn create(&mut self) -> Result<(), AwsRestoreError> {
        self.begun = true;
        let (rds, new) = (self.rds.clone(), &self.plan.settings.new);
        let origin = self.plan.chosen.via.origin();
        let create = async {
            match &self.plan.cluster {
                Some(cluster) => rds.restore_cluster(&origin, new, &cluster.new).await,
                None => rds.restore_instance(&origin, new).await,
            }
        };
        match start_or_adopt(create, rds.database(&self.plan.id)).await {
            // Its ownership is checked once it is usable.
            Start::Begun | Start::Found(_) => Ok(()),
            Start::Failed { failure, is_absent } => {
                self.begun = !is_absent;
                Err(failure.into())
            }
        }
    }

    /// Returns whether its settings have to wait until RDS has backed it up: it is usable meanwhile. A master
    /// whose password RDS creates can log in only afterwards.
    async fn must_defer_settings(&mut self) -> Result<bool, AwsRestoreError> {
        let is_put_off = !self.database().await?.is_available() && !self.plan.makes_new_password;
        if is_put_off {
            self.run.events.notice(format!(
                "RDS backs `{}` up, which may take hours, and changes nothing of it meanwhile: it is logged in to now, and set up afterwards",
                self.plan.to()
            ));
        }
        Ok(is_put_off)
    }

    /// Applies the settings that creation does not take, and restarts it where parameters require that.
    async fn set_up(&mut self) -> Result<(), AwsRestoreError> {
        let (rds, plan) = (self.rds.clone(), self.plan);
        let mut changes = plan.settings.changes.clone();
        if !changes.is_empty() && !is_set_up(&changes, &self.database().await?) {
            match self.repeat(async || rds.change(&plan.id, &changes).await).await {
                // A missing monitoring setting is no reason to be without the database.
                Err(AwsRestoreError::Aws(refused)) => {
                    let Some(note) = without_measurements(plan, &mut changes, &refused) else {
                        return Err(refused.into());
                    };
                    self.notes.push(note);
                    if !changes.is_empty() {
                        self.repeat(async || rds.change(&plan.id, &changes).await).await?;
                    }
                }
                made => made?,
            }
            self.settled(Database::seen, |database| is_set_up(&changes, database)).await?;
        }
        if self.database().await?.needs_restart {
            self.run.events.notice("some parameters take effect only after a restart: restarting it");
            self.repeat(async || rds.reboot_instance(plan.to()).await).await?;
            self.settled(Database::seen, |database| !database.needs_restart).await?;
        }
        Ok(())
    }

    async fn log_in(&mut self, progress: &mut RestoreProgress<'_>) -> Result<(), AwsRestoreError> {
        let Some(login) = &self.plan.login else {
            progress.checks.push(CheckResult::undetermined(
                LOGIN,
                Cause::Environment,
                "no-login",
                "login not verified: the policy has no `url` for this source",
            ));
            return Ok(());
        };
        let database = self.database().await?;
        let (place, events, cancel) = (&self.plan.place, &self.run.events, &self.run.cancel);
        let parameters = log_in(login, &database, &place.region, place.poll, events, cancel).await?;
        let server = look(&parameters).await?;
        let found = format!("PostgreSQL {}, {} tables", server.version, server.tables);
        progress.checks.push(CheckResult::passed(LOGIN, found));
        if let Some(secret) =
            database.master_secret.as_ref().filter(|_| is_of_master(login, &database.profile))
        {
            self.notes.push(format!(
                "logged in as the master with the password in {secret}: when it takes production's place, `password` in the policy has to name that (`secretsmanager:{secret}#password`)"
            ));
        }
        self.marks.usable = self.elapsed();
        let (host, port) = (&parameters.host, parameters.port);
        events.notice(format!("`{}` can be used, {host}:{port}", self.plan.to()));
        self.logged_in = Some(LoggedIn { parameters, server, checks: vec![] });
        Ok(())
    }

    async fn validate(&mut self, progress: &mut RestoreProgress<'_>) {
        let Some(logged_in) = &mut self.logged_in else { return };
        let parameters = logged_in.parameters.clone();
        logged_in.checks = progress.validate(Ok(vec![parameters]), self.plan.until).await;
        if !logged_in.checks.is_empty() && logged_in.checks.iter().all(CheckResult::has_passed) {
            self.marks.validated = self.elapsed();
        }
    }

    /// Waits for the blocks that are loaded from S3. Where RDS reports no progress, nothing is claimed.
    async fn hydrate(&mut self) -> Result<(), AwsRestoreError> {
        let database = self.database().await?;
        if self.plan.cluster.as_ref().is_some_and(|cluster| cluster.is_aurora) {
            self.notes.push(
                "Aurora fetches no blocks afterwards: its volume is complete when it is available".to_owned(),
            );
            return Ok(());
        }
        let Some(hydration) = &database.hydration else {
            self.notes.push(
                "RDS reports no blocks that are still to come: first reads of old data may be slow all the same"
                    .to_owned(),
            );
            return Ok(());
        };
        if !self.plan.hydrate {
            let percent = hydration.percent.map(|percent| format!(", {percent} %")).unwrap_or_default();
            self.notes.push(format!(
                "its blocks still come from S3 ({}{percent}), and what is not there yet is slow to read",
                hydration.status
            ));
            return Ok(());
        }
        let subject = format!("storage of `{}`", self.plan.to());
        if self.wait_or_note(&subject, hydrating).await?.is_some() {
            self.marks.hydrated = self.elapsed();
        }
        Ok(())
    }

    /// Tags it as complete: without the tag a restore is resumed, and cannot be promoted.
    async fn mark_restored(&mut self) -> Result<(), AwsRestoreError> {
        let mut done = AwsTags::default().with(DONE, format_time(self.plan.until));
        let checks = self.logged_in.iter().flat_map(|logged_in| &logged_in.checks);
        let (passed, all) = (checks.clone().filter(|check| check.has_passed()).count(), checks.count());
        if all > 0 {
            done = done.with(CHECKS, format!("{passed}/{all}"));
        }
        let database = self.database().await?;
        Ok(self.rds.add_tags(&database.arn, &done).await?)
    }
}

/// Removes the monitoring settings from the changes where AWS refuses them, and returns what is missing then.
/// `None`: another setting is refused. The role for the metrics may not be passed, or is missing; the class
/// of the instance, or its version, may not support these insights.
fn without_measurements(
    plan: &RdsRestorePlan,
    changes: &mut Changes,
    refused: &AwsFailure,
) -> Option<String> {
    let detail = refused.detail.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| detail.contains(word));
    if !matches!(refused.kind, FailureKind::Forbidden | FailureKind::Invalid) {
        return None;
    }
    if says(&["passrole", "monitoring"])
        && let Some(wanted) = changes.monitoring.take()
    {
        return Some(without_monitoring(plan, &wanted, refused));
    }
    if says(&["insights"]) && (changes.insights_mode.is_some() || changes.performance_insights.is_some()) {
        let insights = changes.insights_mode.take().map(|mode| format!("Database Insights (`{mode}`)"));
        changes.performance_insights = None;
        return Some(format!(
            "it has no {}, which AWS refused ({})",
            insights.unwrap_or_else(|| "Performance Insights".to_owned()),
            refused.detail
        ));
    }
    None
}

fn without_monitoring(plan: &RdsRestorePlan, wanted: &(u32, Option<String>), refused: &AwsFailure) -> String {
    let (noun, (interval, role)) = (plan.id.noun(), wanted);
    format!(
        "it has no Enhanced Monitoring, which AWS refused ({}): `aws rds modify-db-{noun} --db-{noun}-identifier {} --region {} --monitoring-interval {interval} --monitoring-role-arn {}` turns it on",
        refused.detail,
        plan.to(),
        plan.chosen.region,
        role.as_deref().unwrap_or("ROLE")
    )
}

/// Returns whether an earlier run has applied the changes already.
fn is_set_up(changes: &Changes, database: &Database) -> bool {
    let now = &database.profile;
    let monitoring = changes.monitoring.as_ref().map(|(interval, _)| *interval);
    let own = now.monitoring.as_ref().map(|monitoring| monitoring.interval_seconds);
    (changes.max_allocated_gib.is_none() || changes.max_allocated_gib == now.storage.max_allocated_gib)
        && (changes.maintenance_window.is_none() || changes.maintenance_window == now.maintenance_window)
        && (changes.minor_upgrades.is_none() || changes.minor_upgrades == now.minor_upgrades)
        && (monitoring.is_none() || monitoring == own)
        && (changes.performance_insights.is_none() || now.performance_insights.is_some())
        && (changes.insights_mode.is_none() || changes.insights_mode == now.insights_mode)
        && (!changes.manage_password || now.password_is_managed)
}

fn hydrating(database: Database) -> PolledState<Database> {
    match &database.hydration {
        None => PolledState::Done(database),
        Some(hydration) => PolledState::Working(PollProgress {
            status: hydration.status.clone(),
            percent: hydration.percent,
            detail: None,
        }),
    }
}
