use std::time::Instant;

use super::login::{is_of_master, log_in, look, validate};
use super::run::{Milestones, RdsEndpoint, RdsRestoreFailure, RdsRestoreReport, Run};
use super::settings::{CHECKS, DONE};
use super::{Backups, NewGroup, RdsRestoreError, RdsRestorePlan};
use crate::aws::rds::{Changes, Database, Rds};
use crate::aws::{AwsFailure, AwsTags, FailureKind, Poll, PollError, PollProgress, PolledState};
use crate::checks::CheckResult;
use crate::event::{Phase, PhaseTimer};
use crate::text::{error_chain, format_time};

/// Polls after which a change that is not to be seen is told of: ten minutes at the usual pace.
pub(super) const SETTLING: u32 = 30;

/// What was reached so far.
#[derive(Debug, Default)]
pub(super) struct ReachedState {
    begun: bool,
    pub(super) marks: Milestones,
    server: Option<RdsEndpoint>,
    checks: Vec<CheckResult>,
    pub(super) notes: Vec<String>,
}

impl Run {
    /// Makes the instance, sets it up, logs in, and waits until it is whole.
    pub async fn execute(&self, plan: &RdsRestorePlan) -> Result<RdsRestoreReport, RdsRestoreFailure> {
        let mut phases = PhaseTimer::new(&self.events);
        let notes = plan.other_database.iter().chain(&plan.begun_otherwise).cloned().collect();
        let mut reached = ReachedState { begun: plan.resumed, notes, ..ReachedState::default() };
        let outcome = self.act(plan, &mut phases, &mut reached).await;
        let phase = phases.current();
        let phases = phases.ended();
        match outcome {
            Ok(database) => {
                let endpoint = database.endpoint;
                let (host, port) =
                    endpoint.map_or_else(Default::default, |endpoint| (endpoint.host, endpoint.port));
                Ok(RdsRestoreReport {
                    run: self.id.clone(),
                    region: plan.chosen.region.clone(),
                    from: plan.chosen.via.words(),
                    instance: plan.to().to_owned(),
                    members: database.profile.cluster.map_or_else(Vec::new, |cluster| {
                        cluster.members.into_iter().map(|member| member.identifier).collect()
                    }),
                    host,
                    port,
                    until: plan.until,
                    resumed: plan.resumed,
                    marks: reached.marks,
                    server: reached.server,
                    checks: reached.checks,
                    backups: plan.backups.days(),
                    not_reproduced: plan.not_reproduced().to_vec(),
                    changed: plan.changed.clone(),
                    phases,
                    notes: reached.notes,
                })
            }
            Err(source) => Err(RdsRestoreFailure {
                to: plan.to().to_owned(),
                region: plan.chosen.region.clone(),
                phase,
                begun: reached.begun,
                phases,
                source,
            }),
        }
    }

    async fn act(
        &self,
        plan: &RdsRestorePlan,
        phases: &mut PhaseTimer<'_>,
        reached: &mut ReachedState,
    ) -> Result<Database, RdsRestoreError> {
        let began = Instant::now();
        let since = || Some(began.elapsed().as_secs_f64());
        let rds = Rds::of(&plan.place).await?;
        phases.begin(Phase::CreateInstance);
        for NewGroup { group, family, of_cluster } in &plan.parameter_groups {
            rds.create_parameter_group(group, family, *of_cluster, &plan.settings.new.tags).await?;
            reached.notes.push(format!("made parameter group `{}` of what was recorded", group.name));
        }
        if !plan.resumed {
            self.create(&rds, plan, reached).await?;
        }
        phases.begin(Phase::Available);
        let mut database = self.open(&rds, plan).await?;
        reached.marks.available = since();

        phases.begin(Phase::Settings);
        let is_put_off = self.puts_off(plan, &database);
        if !is_put_off {
            database = self.set_up(&rds, plan, database, reached).await?;
        }

        if let Some(cluster) = &plan.cluster {
            phases.begin(Phase::Members);
            self.begin_members(&rds, plan, cluster).await?;
            database = self.open(&rds, plan).await?;
            // Nobody could do anything with it before.
            reached.marks.available = since();
        }
        // RDS restarts it for that: whoever is told that it can be used is not to be thrown out again.
        if let Backups::TurnedOn(days) = plan.backups
            && database.profile.backup_retention_days == Some(0)
        {
            phases.begin(Phase::TurnOnBackups);
            database = self.turn_on_backups(&rds, plan, days, reached).await?;
        }

        phases.begin(Phase::LogIn);
        match &plan.login {
            Some(login) => {
                let region = &plan.place.region;
                let (every, cancel) = (plan.place.poll, &self.cancel);
                let parameters = log_in(login, &database, region, every, &self.events, cancel).await?;
                reached.server = Some(look(&parameters).await?);
                if let Some(secret) =
                    database.master_secret.as_ref().filter(|_| is_of_master(login, &database.profile))
                {
                    reached.notes.push(format!(
                        "logged in as the master with the password in {secret}: when it takes production's place, `password` in the policy has to name that (`secretsmanager:{secret}#password`)"
                    ));
                }
                reached.marks.usable = since();
                self.events.notice(format!(
                    "`{}` can be used, {}:{}",
                    plan.to(),
                    parameters.host,
                    parameters.port
                ));
                phases.begin(Phase::Validate);
                reached.checks = validate(&parameters, plan, &self.events).await?;
                if !reached.checks.is_empty() && reached.checks.iter().all(CheckResult::has_passed) {
                    reached.marks.validated = since();
                }
            }
            None => reached.notes.push(
                "nobody logged in to it: the policy has no `url` for the source, so that it is not known whether it can be used"
                    .to_owned(),
            ),
        }
        if let Some(cluster) = &plan.cluster {
            phases.begin(Phase::Members);
            self.await_members(&rds, plan, cluster).await?;
            database = self.open(&rds, plan).await?;
        }
        if is_put_off {
            phases.begin(Phase::Settings);
            database = self.available(&rds, plan).await?;
            database = self.set_up(&rds, plan, database, reached).await?;
        }
        phases.begin(Phase::Hydrate);
        database = self.hydrated(&rds, plan, database, reached).await?;
        if reached.marks.hydrated.is_some() {
            reached.marks.hydrated = since();
        }
        if !matches!(plan.backups, Backups::None | Backups::Later(_)) {
            phases.begin(Phase::FirstBackup);
        }
        database = self.backed_up(&rds, plan, database, reached).await?;
        if reached.marks.backed_up.is_some() {
            reached.marks.backed_up = since();
        }
        let mut done = AwsTags::default().with(DONE, format_time(plan.until));
        if !reached.checks.is_empty() {
            let held = reached.checks.iter().filter(|finding| finding.has_passed()).count();
            done = done.with(CHECKS, format!("{held}/{}", reached.checks.len()));
        }
        rds.add_tags(&database.arn, &done).await?;
        Ok(database)
    }

    async fn create(
        &self,
        rds: &Rds,
        plan: &RdsRestorePlan,
        reached: &mut ReachedState,
    ) -> Result<(), RdsRestoreError> {
        let new = &plan.settings.new;
        reached.begun = true;
        let origin = plan.chosen.via.origin();
        let made = match &plan.cluster {
            Some(cluster) => rds.restore_cluster(&origin, new, &cluster.new).await,
            None => rds.restore_instance(&origin, new).await,
        };
        match made {
            // The answer to an earlier attempt was lost; whose it is, is seen when it can be seen.
            Err(failure) if failure.kind == FailureKind::Exists => Ok(()),
            Err(failure) => {
                let exists = rds.database(&plan.id).await;
                // No answer may still mean that it was begun.
                if matches!(exists, Ok(Some(_))) {
                    return Ok(());
                }
                reached.begun = exists.is_err();
                Err(failure.into())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Until RDS takes changes of it.
    pub(super) async fn available(
        &self,
        rds: &Rds,
        plan: &RdsRestorePlan,
    ) -> Result<Database, RdsRestoreError> {
        self.await_state(rds, plan, Database::seen).await
    }

    /// Until it can be logged in to.
    pub(super) async fn open(&self, rds: &Rds, plan: &RdsRestorePlan) -> Result<Database, RdsRestoreError> {
        self.await_state(rds, plan, Database::seen_by_users).await
    }

    async fn await_state(
        &self,
        rds: &Rds,
        plan: &RdsRestorePlan,
        sees: fn(Database) -> PolledState<Database>,
    ) -> Result<Database, RdsRestoreError> {
        let subject = format!("`{}` in {}", plan.to(), rds.region());
        let poll = Poll { every: plan.place.poll, deadline: plan.place.deadline };
        let ask = async || Ok(plan.ask(rds).await?.map_or(PolledState::Absent, sees));
        let database = poll.wait(&subject, &self.events, &self.cancel, ask).await?;
        // Somebody may have made one of that name while this was begun.
        plan.own(rds, database)
    }

    /// What creation does not take; and a restart where parameters wait for one.
    async fn set_up(
        &self,
        rds: &Rds,
        plan: &RdsRestorePlan,
        mut database: Database,
        reached: &mut ReachedState,
    ) -> Result<Database, RdsRestoreError> {
        let mut changes = plan.settings.changes.clone();
        if !changes.is_empty() && !is_set_up(&changes, &database) {
            let made = self.repeat(rds, plan, async || rds.change(&plan.id, &changes).await).await;
            match made {
                // What is measured of it is no reason to be without the database.
                Err(RdsRestoreError::Aws(refused)) => {
                    let Some(note) = without_measurements(plan, &mut changes, &refused) else {
                        return Err(refused.into());
                    };
                    reached.notes.push(note);
                    if !changes.is_empty() {
                        self.repeat(rds, plan, async || rds.change(&plan.id, &changes).await).await?;
                    }
                }
                made => made?,
            }
            let sees = Database::seen;
            database =
                self.settled(rds, plan, reached, sees, |database| is_set_up(&changes, database)).await?;
        }
        if database.needs_restart {
            self.events.notice("some parameters take effect only after a restart: restarting it");
            self.repeat(rds, plan, async || rds.reboot_instance(plan.to()).await).await?;
            let sees = Database::seen;
            database = self.settled(rds, plan, reached, sees, |database| !database.needs_restart).await?;
        }
        Ok(database)
    }

    /// Waits until what it was told can be seen: for a moment RDS still shows it as before.
    pub(super) async fn settled(
        &self,
        rds: &Rds,
        plan: &RdsRestorePlan,
        reached: &mut ReachedState,
        sees: fn(Database) -> PolledState<Database>,
        is_so: impl Fn(&Database) -> bool,
    ) -> Result<Database, RdsRestoreError> {
        let begun = Instant::now();
        loop {
            let database = self.await_state(rds, plan, sees).await?;
            if is_so(&database) {
                return Ok(database);
            }
            if begun.elapsed() > plan.place.poll * SETTLING {
                reached.notes.push(format!(
                    "RDS was told of all settings, and does not show all of them yet: look at `{}` before it serves",
                    plan.to()
                ));
                return Ok(database);
            }
            tokio::time::sleep(plan.place.poll).await;
        }
    }

    /// A new instance is backed up, changed and set up in turns: a call that comes between is refused.
    pub(super) async fn repeat<F>(
        &self,
        rds: &Rds,
        plan: &RdsRestorePlan,
        mut call: F,
    ) -> Result<(), RdsRestoreError>
    where
        F: AsyncFnMut() -> Result<(), crate::aws::AwsFailure>,
    {
        let mut left = 20;
        loop {
            match call().await {
                Ok(()) => return Ok(()),
                Err(failure) if failure.kind == FailureKind::State && left > 0 => {
                    left -= 1;
                    tracing::info!("{}", error_chain(&failure));
                    tokio::time::sleep(plan.place.poll).await;
                    self.available(rds, plan).await?;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// Waits for the blocks that come from S3. Where RDS never says anything of them, nothing is claimed.
    async fn hydrated(
        &self,
        rds: &Rds,
        plan: &RdsRestorePlan,
        database: Database,
        reached: &mut ReachedState,
    ) -> Result<Database, RdsRestoreError> {
        if plan.cluster.as_ref().is_some_and(|cluster| cluster.is_aurora) {
            reached.notes.push(
                "Aurora fetches no blocks afterwards: its volume is whole when it is available".to_owned(),
            );
            return Ok(database);
        }
        let Some(hydration) = &database.hydration else {
            reached.notes.push(
                "RDS says nothing of blocks still to come: first reads of old data may be slow all the same"
                    .to_owned(),
            );
            return Ok(database);
        };
        if !plan.hydrate {
            let percent = hydration.percent.map(|percent| format!(", {percent} %")).unwrap_or_default();
            reached.notes.push(format!(
                "its blocks still come from S3 ({}{percent}), and what is not there yet is slow to read",
                hydration.status
            ));
            return Ok(database);
        }
        let subject = format!("storage of `{}`", plan.to());
        let poll = Poll { every: plan.place.poll, deadline: plan.place.deadline };
        let ask = async || Ok(plan.ask(rds).await?.map_or(PolledState::Absent, hydrating));
        match poll.wait(&subject, &self.events, &self.cancel, ask).await {
            Ok(database) => {
                reached.marks.hydrated = Some(0.0);
                Ok(database)
            }
            // It can be used; that it became slow to wait for is no failure of the restore.
            Err(error @ PollError::Deadline { .. }) => {
                reached.notes.push(error_chain(&error));
                Ok(database)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Takes from the changes what is measured, where AWS refuses that; in words, what it lacks then. `None`: it is refused for
/// something else. The role that writes the measurements may not be passed, or is not there; the class of the instance,
/// or its version, may not have these insights.
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

/// Whether an earlier run has made the changes already.
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
