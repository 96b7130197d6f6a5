//! What a drill needs, from the command line, the policy, and this host.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::run_args::{IDENTITY, RunArgs};
use crate::catalog::Catalog;
use crate::cli::Context;
use crate::cli::context::no_identity;
use crate::cli::error::CommandError;
use crate::cli::hold::person;
use crate::drill::{
    ApplicationDrill, CUT_OVER, DETECT, DrillRequest, DrillSourceError, EarlierView, People, RdsDrill,
    ResourceDrill, RunbookDrill, SampleRequest, Scenario, Survivors, SurvivorsError, Trigger, drilled_source,
    look_back, survivors,
};
use crate::model::{BackupKind, RepositoryName, Sha256Hex};
use crate::pipeline::Identities;
use crate::platform::{ExposeSecret as _, SecretRef, expand_home, host_name, scratch_directory, seed};
use crate::policy::{Drill, Pick, Policy, PostgresSource, Source, last_firing};
use crate::postgres::ConnectionParameters;
use crate::repository::Repositories;
use crate::restore::physical::parse_time;
use crate::run::RunContext;

/// Returns where sandboxes are made: each user has a directory of its own.
fn sandboxes() -> PathBuf {
    scratch_directory().join(format!("drctl-drills-{}", rustix::process::geteuid().as_raw()))
}

/// Returns the run of a drill, and what it is to do.
pub(super) async fn begin(
    args: &RunArgs,
    policy: &Policy,
    context: &Context,
) -> Result<(RunContext, DrillRequest), CommandError> {
    let source = drilled_source(policy, args.scenario, args.source.as_ref()).map_err(no_source)?;
    let drill = policy.drill.as_ref().filter(|drill| drill.source == source.name);
    let configured = drill.and_then(|drill| drill.from.as_ref());
    let left = survivors(args.scenario, &policy.repositories, args.from.as_ref(), configured);
    let left = left.map_err(not_left)?;
    let mut request = request(args, policy, source, left.from.clone(), context).await?;
    let identities = identities(args, policy.drill.as_ref(), context).await?;
    let mut remaining = policy.clone();
    remaining.repositories.retain(|config| left.repositories.contains(&config.name));
    let (catalog, repositories) = opened(&left, &remaining, context).await;
    let run = RunContext::begin(
        policy.system.clone(),
        repositories,
        catalog,
        context.clock.clone(),
        context.output.events(),
        context.cancel.clone(),
    );
    request.earlier = earlier(args, &remaining, source, &run, context).await?;
    Ok((run.with_identities(identities), request))
}

/// Returns the repositories as they were at the time that is asked for, or just before backups were hidden.
async fn earlier(
    args: &RunArgs,
    remaining: &Policy,
    source: &Source,
    run: &RunContext,
    context: &Context,
) -> Result<Option<EarlierView>, CommandError> {
    let asked = args.as_of.as_deref().map(parse_time).transpose().map_err(CommandError::usage)?;
    if args.scenario.is_in_aws() && asked.is_some() {
        return Err(CommandError::usage("`--as-of` reads repositories, and AWS keeps this backup"));
    }
    if asked.is_none() && args.scenario != Scenario::Ransomware {
        return Ok(None);
    }
    let stores = context.stores(remaining).await;
    let removed = run.tombstones().await;
    let found = look_back(&stores, &remaining.system, &source.name, &removed).await;
    let time = asked.unwrap_or_else(|| found.last_intact(context.clock.now()));
    let repositories = Context::repositories_as_of(&stores, time);
    let repositories = repositories.open_for_restore(&remaining.system, None).await;
    Ok(Some(EarlierView { repositories, time, found }))
}

fn no_source(error: DrillSourceError) -> CommandError {
    let hint = match &error {
        DrillSourceError::Unknown(_) | DrillSourceError::NoneFits(_) => {
            "`drctl policy show` lists the sources."
        }
        DrillSourceError::SeveralFit => "Say which with `--source`.",
        DrillSourceError::Unfit { .. } => {
            "Dumps and base backups are restored into a sandbox, databases of RDS with `rds-snapshot` and `rds-point-in-time`."
        }
    };
    CommandError::usage(error).hint(hint)
}

fn not_left(error: SurvivorsError) -> CommandError {
    let is_nothing = error == SurvivorsError::NothingLeft;
    let error = CommandError::usage(error);
    match is_nothing {
        true => error.hint("Add a repository in another region: `[repository.copies.NAME]`."),
        false => error,
    }
}

async fn request(
    args: &RunArgs,
    policy: &Policy,
    source: &Source,
    from: Option<RepositoryName>,
    context: &Context,
) -> Result<DrillRequest, CommandError> {
    let drill = policy.drill.as_ref().filter(|drill| drill.source == source.name);
    let target: Option<DateTime<Utc>> =
        args.point_in_time.as_deref().map(parse_time).transpose().map_err(CommandError::usage)?;
    let login = source.login();
    let (database, login_role) = match login {
        Some(login) => login_of(login).await,
        None => (None, None),
    };
    let role = drill.and_then(|drill| drill.role.clone());
    let mut deviations = Vec::new();
    if args.scenario == Scenario::EscrowKey {
        deviations.push("the policy was read from this host".to_owned());
    }
    let wal = source.wal();
    // Its commands read the policy and its repositories themselves, as they are now, and restore dumps.
    let by_runbook = matches!(args.scenario, Scenario::Newest | Scenario::Random | Scenario::EscrowKey)
        && args.as_of.is_none()
        && source.kinds.contains(&BackupKind::Logical);
    let runbook = match drill.filter(|_| by_runbook) {
        Some(drill) => drilled_runbook(args, drill, policy, context)?,
        None => None,
    };
    let text = std::fs::read(&policy.path).map_err(CommandError::failed)?;
    let user = person(None);
    Ok(DrillRequest {
        source: source.name.clone(),
        sample: SampleRequest {
            scenario: args.scenario,
            pick: drill.map_or(Pick::Latest, |drill| drill.pick),
            // What a runbook restores is a dump.
            kind: args.kind.or_else(|| runbook.as_ref().map(|_| BackupKind::Logical)),
            backup: args.backup.clone(),
            target,
            seed: args.seed.unwrap_or_else(seed),
        },
        from,
        earlier: None,
        root: args.directory.clone().or_else(|| drill?.directory.clone()).unwrap_or_else(sandboxes),
        allow_unverified: policy.drill.as_ref().is_some_and(|drill| drill.allow_unverified_isolation),
        database: drill.and_then(|drill| drill.database.clone()).or(database),
        role,
        login_role,
        checks: drill.map(|drill| drill.checks.clone()).unwrap_or_default(),
        rto: policy.objectives.rto,
        rpo: policy.objectives.rpo,
        deadline: drill.map_or(policy.objectives.rto, |drill| drill.deadline),
        allowances: policy.drill.as_ref().map(allowances).unwrap_or_default(),
        people: People {
            requested_by: args.by.clone().unwrap_or_else(|| user.clone()),
            operator: user,
            host: host_name(),
            job_url: args.job_url.clone(),
            key_holder: None,
        },
        trigger: if args.scheduled { Trigger::Schedule } else { Trigger::Manual },
        occurrence: drill
            .filter(|_| args.scheduled)
            .and_then(|drill| last_due(drill, policy, context.clock.now())),
        policy_sha256: Sha256Hex::digest(&text),
        drctl: std::env::current_exe()
            .map_err(|error| CommandError::failed(error).context("failed to find this drctl's own path"))?,
        prefetch: wal.map_or(4, |wal| wal.prefetch),
        parallel: wal.map_or(2, |wal| wal.parallel),
        tools: login.and_then(|login| login.tools.clone()),
        rds: rds(args, policy, source)?,
        runbook,
        resource: source.aws_backup().filter(|_| args.scenario == Scenario::AwsBackup).map(|config| {
            let region = args.from.as_ref().map(|name| name.as_str().to_owned());
            ResourceDrill { config: config.clone(), region }
        }),
        application: application(args, policy, source)?,
        deviations,
    })
}

/// Returns what is restored beside the database, in a drill of the whole application.
fn application(
    args: &RunArgs,
    policy: &Policy,
    source: &Source,
) -> Result<Option<ApplicationDrill>, CommandError> {
    if args.scenario != Scenario::Application {
        return Ok(None);
    }
    let point = policy.recovery_point.as_ref().ok_or_else(|| {
        CommandError::usage(
            "the policy has no `[recovery_point]`, so that it is not known what belongs together",
        )
        .hint("`drctl policy schema` describes its keys.")
    })?;
    if !point.members.contains(&source.name) || source.login().is_none() {
        return Err(CommandError::usage(format!("`{}` is no database of the recovery point", source.name))
            .hint("Name the one that the others belong to with `--source`."));
    }
    let members = point.members.iter().filter_map(|name| policy.source(name)).cloned().collect();
    Ok(Some(ApplicationDrill { members, references: point.references.clone() }))
}

/// Returns the runbook whose steps the drill runs, and what its commands find in their environment.
fn drilled_runbook(
    args: &RunArgs,
    drill: &Drill,
    policy: &Policy,
    context: &Context,
) -> Result<Option<RunbookDrill>, CommandError> {
    let Some(name) = &drill.runbook else { return Ok(None) };
    let runbook = crate::cli::runbook::checked(policy, name, context)?;
    let path = std::path::absolute(&policy.path).unwrap_or_else(|_| policy.path.clone());
    let mut environment = vec![("DRCTL_POLICY".to_owned(), path.display().to_string())];
    let of_policy = match &drill.identity {
        Some(SecretRef::File(path)) => Some(path),
        _ => None,
    };
    if let Some(identity) = args.identity.first().or(of_policy) {
        environment.push((IDENTITY.to_owned(), identity.display().to_string()));
    }
    Ok(Some(RunbookDrill { runbook, parameters: drill.runbook_parameters.clone(), environment }))
}

/// Returns what a scenario in RDS restores from; `--from` names a region there.
fn rds(args: &RunArgs, policy: &Policy, source: &Source) -> Result<Option<RdsDrill>, CommandError> {
    let Some(config) = source.rds().filter(|_| args.scenario.is_in_aws()) else { return Ok(None) };
    let region = args.from.as_ref().map(|name| name.as_str().to_owned());
    let has = |name: &String| config.place.region == *name || config.region(name).is_some();
    if let Some(name) = region.as_ref().filter(|name| !has(name)) {
        return Err(CommandError::usage(format!("the policy does not have `{}` in `{name}`", source.name)));
    }
    Ok(Some(RdsDrill { config: config.clone(), region, prices: policy.prices.clone() }))
}

fn allowances(drill: &Drill) -> Vec<(String, Duration)> {
    vec![(DETECT.to_owned(), drill.detect), (CUT_OVER.to_owned(), drill.cut_over)]
}

/// Returns the last time of the schedule.
fn last_due(drill: &Drill, policy: &Policy, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    last_firing(&drill.schedule, policy.schedule.timezone, now)
}

/// Opens what the scenario leaves; the others are not even named to a store.
async fn opened(left: &Survivors, remaining: &Policy, context: &Context) -> (Option<Catalog>, Repositories) {
    let (catalog, repositories) = match left.is_host_known {
        true => context.recall(remaining).await,
        false => (None, context.repositories(remaining).await),
    };
    (catalog, repositories.open_for_restore(&remaining.system, None).await)
}

async fn identities(
    args: &RunArgs,
    drill: Option<&Drill>,
    context: &Context,
) -> Result<Identities, CommandError> {
    let of_environment = std::env::var_os(IDENTITY).filter(|path| !path.is_empty()).map(PathBuf::from);
    let of_environment = of_environment.map(|path| expand_home(&path).unwrap_or(path));
    if args.scenario == Scenario::EscrowKey && of_environment.is_some_and(|path| args.identity == [path]) {
        let message = format!("scenario `escrow-key` does not use the identity of {IDENTITY}");
        return Err(CommandError::usage(message).hint(
            "Fetch the escrowed one from where it is kept, and name its file with `--identity FILE`.",
        ));
    }
    if !args.identity.is_empty() {
        return context.identities(&args.identity).await;
    }
    if args.scenario == Scenario::EscrowKey {
        return Err(CommandError::usage(
            "scenario `escrow-key` proves the escrowed identity, and none was given",
        )
        .hint("Fetch it from where it is kept, and name its file with `--identity FILE`."));
    }
    let Some(reference) = drill.and_then(|drill| drill.identity.as_ref()) else {
        return Ok(Identities::default());
    };
    let secret = reference
        .resolve()
        .await
        .map_err(|error| CommandError::usage(error).context("failed to read the identity of `[drill]`"))?;
    let origin = reference.to_string();
    Identities::from_secret(origin.as_ref(), &secret).map_err(no_identity)
}

/// Returns the database and the role of a login, as far as they are known here.
async fn login_of(login: &PostgresSource) -> (Option<String>, Option<String>) {
    if let (None, Some(reference)) = (&login.url, &login.url_ref) {
        let text = reference.resolve().await.ok();
        let known = text.and_then(|text| ConnectionParameters::from_text(text.expose_secret()).ok());
        return known.map(|known| (Some(known.database), Some(known.user))).unwrap_or_default();
    }
    let Some(url) = &login.url else { return (None, None) };
    let database = url.path().trim_start_matches('/');
    let decode = |text: &str| percent_decoded(text);
    (
        Some(decode(database)).filter(|name| !name.is_empty()),
        Some(decode(url.username())).filter(|name| !name.is_empty()),
    )
}

fn percent_decoded(text: &str) -> String {
    let pair = format!("x={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}
