use std::time::Instant;

use super::aurora_cluster::{await_members, begin_members};
use super::first_backup::{backed_up, puts_off, turn_on_backups};
use super::login::{is_of_master, log_in, look};
use super::report::{Milestones, RdsAftermath, RdsDetails, RdsEndpoint};
use super::settings::{CHECKS, DONE};
use super::{Backups, NewGroup, RdsRestoreError, RdsRestorePlan};
use crate::aws::rds::{Changes, Database, Rds};
use crate::aws::{AwsFailure, AwsTags, FailureKind, Poll, PollError, PollProgress, PolledState};
use crate::checks::CheckResult;
use crate::event::Phase;
use crate::model::Cause;
use crate::restore::{RestoreProgress, Restored, Stopped};
use crate::run::RunContext;
use crate::text::{error_chain, format_time};

/// Polls after which a change that is not to be seen is told of: ten minutes at the usual pace.
pub(super) const SETTLING: u32 = 30;

/// The check that somebody can log in, and reads.
const LOGIN: &str = "login";

/// What was reached so far.
#[derive(Debug, Default)]
pub(super) struct ReachedState {
    begun: bool,
    pub(super) marks: Milestones,
    server: Option<RdsEndpoint>,
    pub(super) notes: Vec<String>,
}

/// Makes the instance, sets it up, logs in, and waits until it is whole.
pub(super) async fn execute(
    run: &RunContext,
    plan: &RdsRestorePlan,
    progress: &mut RestoreProgress<'_>,
) -> Result<Restored<RdsDetails>, Stopped<RdsRestoreError, RdsAftermath>> {
    let notes = plan.other_database.iter().chain(&plan.settings_drift).cloned().collect();
    let mut reached = ReachedState { begun: plan.resumed, notes, ..ReachedState::default() };
    let database = match act(run, plan, progress, &mut reached).await {
        Ok(database) => database,
        Err(error) => {
            let aftermath = RdsAftermath::after_failure(reached.begun, &error);
            return Err(Stopped { error, aftermath });
        }
    };
    let (host, port) =
        database.endpoint.map_or_else(Default::default, |endpoint| (endpoint.host, endpoint.port));
    Ok(Restored {
        to: format!("`{}` in {}, {host}:{port}", plan.to(), plan.chosen.region),
        recovery_point: plan.until,
        left_out: vec![],
        notes: reached.notes,
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
            marks: reached.marks,
            server: reached.server,
            backups: plan.backups.days(),
            not_reproduced: plan.not_reproduced().to_vec(),
            changed: plan.changed.clone(),
        },
    })
}

async fn act(
    run: &RunContext,
    plan: &RdsRestorePlan,
    progress: &mut RestoreProgress<'_>,
    reached: &mut ReachedState,
) -> Result<Database, RdsRestoreError> {
    let began = Instant::now();
    let since = || Some(began.elapsed().as_secs_f64());
    let rds = Rds::connect(&plan.place).await?;
    progress.begin(Phase::CreateInstance);
    for NewGroup { group, family, of_cluster } in &plan.parameter_groups {
        rds.create_parameter_group(group, family, *of_cluster, &plan.settings.new.tags).await?;
        reached.notes.push(format!("made parameter group `{}` of what was recorded", group.name));
    }
    if !plan.resumed {
        create(&rds, plan, reached).await?;
    }
    progress.begin(Phase::Available);
    let mut database = open(run, &rds, plan).await?;
    reached.marks.available = since();

    progress.begin(Phase::Settings);
    let is_put_off = puts_off(run, plan, &database);
    if !is_put_off {
        database = set_up(run, &rds, plan, database, reached).await?;
    }

    if let Some(cluster) = &plan.cluster {
        progress.begin(Phase::Members);
        begin_members(run, &rds, plan, cluster).await?;
        database = open(run, &rds, plan).await?;
        // Nobody could do anything with it before.
        reached.marks.available = since();
    }
    // RDS restarts it for that: whoever is told that it can be used is not to be thrown out again.
    if let Backups::TurnedOn(days) = plan.backups
        && database.profile.backup_retention_days == Some(0)
    {
        progress.begin(Phase::TurnOnBackups);
        database = turn_on_backups(run, &rds, plan, days, reached).await?;
    }

    let mut checks = Vec::new();
    progress.begin(Phase::LogIn);
    match &plan.login {
        Some(login) => {
            let region = &plan.place.region;
            let (every, cancel) = (plan.place.poll, &run.cancel);
            let parameters = log_in(login, &database, region, every, &run.events, cancel).await?;
            let server = look(&parameters).await?;
            let found = format!("PostgreSQL {}, {} tables", server.version, server.tables);
            progress.checks.push(CheckResult::passed(LOGIN, found));
            reached.server = Some(server);
            if let Some(secret) =
                database.master_secret.as_ref().filter(|_| is_of_master(login, &database.profile))
            {
                reached.notes.push(format!(
                    "logged in as the master with the password in {secret}: when it takes production's place, `password` in the policy has to name that (`secretsmanager:{secret}#password`)"
                ));
            }
            reached.marks.usable = since();
            run.events.notice(format!(
                "`{}` can be used, {}:{}",
                plan.to(),
                parameters.host,
                parameters.port
            ));
            checks = progress.validate(Ok(vec![parameters]), plan.until).await;
            if !checks.is_empty() && checks.iter().all(CheckResult::has_passed) {
                reached.marks.validated = since();
            }
        }
        None => progress.checks.push(CheckResult::undetermined(
            LOGIN,
            Cause::Environment,
            "no-login",
            "nobody logged in to it: the policy has no `url` for the source, so that it is not known whether it can be used",
        )),
    }
    if let Some(cluster) = &plan.cluster {
        progress.begin(Phase::Members);
        await_members(run, &rds, plan, cluster).await?;
        database = open(run, &rds, plan).await?;
    }
    if is_put_off {
        progress.begin(Phase::Settings);
        database = available(run, &rds, plan).await?;
        database = set_up(run, &rds, plan, database, reached).await?;
    }
    progress.begin(Phase::Hydrate);
    database = hydrated(run, &rds, plan, database, reached).await?;
    if reached.marks.hydrated.is_some() {
        reached.marks.hydrated = since();
    }
    if !matches!(plan.backups, Backups::None | Backups::Later(_)) {
        progress.begin(Phase::FirstBackup);
    }
    database = backed_up(run, &rds, plan, database, reached).await?;
    if reached.marks.backed_up.is_some() {
        reached.marks.backed_up = since();
    }
    let mut done = AwsTags::default().with(DONE, format_time(plan.until));
    if !checks.is_empty() {
        let held = checks.iter().filter(|result| result.has_passed()).count();
        done = done.with(CHECKS, format!("{held}/{}", checks.len()));
    }
    rds.add_tags(&database.arn, &done).await?;
    Ok(database)
}

async fn create(rds: &Rds, plan: &RdsRestorePlan, reached: &mut ReachedState) -> Result<(), RdsRestoreError> {
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
    run: &RunContext,
    rds: &Rds,
    plan: &RdsRestorePlan,
) -> Result<Database, RdsRestoreError> {
    await_state(run, rds, plan, Database::seen).await
}

/// Until it can be logged in to.
pub(super) async fn open(
    run: &RunContext,
    rds: &Rds,
    plan: &RdsRestorePlan,
) -> Result<Database, RdsRestoreError> {
    await_state(run, rds, plan, Database::seen_by_users).await
}

async fn await_state(
    run: &RunContext,
    rds: &Rds,
    plan: &RdsRestorePlan,
    sees: fn(Database) -> PolledState<Database>,
) -> Result<Database, RdsRestoreError> {
    let subject = format!("`{}` in {}", plan.to(), rds.region());
    let poll = Poll { every: plan.place.poll, deadline: plan.place.deadline };
    let ask = async || Ok(plan.ask(rds).await?.map_or(PolledState::Absent, sees));
    let database = poll.wait(&subject, &run.events, &run.cancel, ask).await?;
    // Somebody may have made one of that name while this was begun.
    plan.own(rds, database)
}

/// What creation does not take; and a restart where parameters wait for one.
async fn set_up(
    run: &RunContext,
    rds: &Rds,
    plan: &RdsRestorePlan,
    mut database: Database,
    reached: &mut ReachedState,
) -> Result<Database, RdsRestoreError> {
    let mut changes = plan.settings.changes.clone();
    if !changes.is_empty() && !is_set_up(&changes, &database) {
        let made = repeat(run, rds, plan, async || rds.change(&plan.id, &changes).await).await;
        match made {
            // What is measured of it is no reason to be without the database.
            Err(RdsRestoreError::Aws(refused)) => {
                let Some(note) = without_measurements(plan, &mut changes, &refused) else {
                    return Err(refused.into());
                };
                reached.notes.push(note);
                if !changes.is_empty() {
                    repeat(run, rds, plan, async || rds.change(&plan.id, &changes).await).await?;
                }
            }
            made => made?,
        }
        let sees = Database::seen;
        database = settled(run, rds, plan, reached, sees, |database| is_set_up(&changes, database)).await?;
    }
    if database.needs_restart {
        run.events.notice("some parameters take effect only after a restart: restarting it");
        repeat(run, rds, plan, async || rds.reboot_instance(plan.to()).await).await?;
        let sees = Database::seen;
        database = settled(run, rds, plan, reached, sees, |database| !database.needs_restart).await?;
    }
    Ok(database)
}

/// Waits until what it was told can be seen: for a moment RDS still shows it as before.
pub(super) async fn settled(
    run: &RunContext,
    rds: &Rds,
    plan: &RdsRestorePlan,
    reached: &mut ReachedState,
    sees: fn(Database) -> PolledState<Database>,
    is_so: impl Fn(&Database) -> bool,
) -> Result<Database, RdsRestoreError> {
    let begun = Instant::now();
    loop {
        let database = await_state(run, rds, plan, sees).await?;
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
    run: &RunContext,
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
                available(run, rds, plan).await?;
            }
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// Waits for the blocks that come from S3. Where RDS never says anything of them, nothing is claimed.
async fn hydrated(
    run: &RunContext,
    rds: &Rds,
    plan: &RdsRestorePlan,
    database: Database,
    reached: &mut ReachedState,
) -> Result<Database, RdsRestoreError> {
    if plan.cluster.as_ref().is_some_and(|cluster| cluster.is_aurora) {
        reached
            .notes
            .push("Aurora fetches no blocks afterwards: its volume is whole when it is available".to_owned());
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
    match poll.wait(&subject, &run.events, &run.cancel, ask).await {
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
