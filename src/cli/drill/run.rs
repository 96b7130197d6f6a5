use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::super::Context;
use super::super::catalog_view::warn_lost;
use super::super::context::no_identity;
use super::super::error::CommandError;
use super::super::exit::{self, Exit};
use super::super::hold::person;
use super::view;
use crate::aws::S3Timeouts;
use crate::catalog::Catalog;
use crate::drill::{
    self, CUT_OVER, Concluded, DETECT, DrillRequest, People, RdsDrill, RunbookDrill, SampleRequest, Scenario,
    Trigger,
};
use crate::model::{BackupKind, RepositoryName, Sha256Hex, SourceName};
use crate::pipeline::Identities;
use crate::platform::{ExposeSecret as _, SecretRef, expand_home, host_name, scratch_directory, seed};
use crate::policy::{
    Drill, Pick, Policy, PostgresSource, RepositoryConfig, RepositoryLocation, Source, last_firing,
};
use crate::postgres::ConnectionParameters;
use crate::repository::Repositories;
use crate::restore::physical::parse_time;
use crate::run::RunContext;

/// The variable that names the file with an identity.
const IDENTITY: &str = "DRCTL_IDENTITY";

/// Returns where sandboxes are made: each user has a directory of its own.
fn sandboxes() -> PathBuf {
    scratch_directory().join(format!("drctl-drills-{}", rustix::process::geteuid().as_raw()))
}

/// Restore a backup into a sandbox, check it, measure RTO and RPO, record it, and remove it again
///
/// Nothing of production is written, and what is restored into the sandbox reaches no network. The record goes to every
/// repository in use.
#[derive(Debug, clap::Args)]
#[command(after_help = exit::HELP)]
pub(super) struct RunArgs {
    /// The incident that is rehearsed
    #[arg(long, value_name = "SCENARIO", default_value = "newest", value_parser = scenarios())]
    scenario: Scenario,
    /// The source that is restored [default: the policy's]
    #[arg(long, value_name = "SOURCE")]
    source: Option<SourceName>,
    /// A backup of this kind only: `logical`, `base` [default: what loses least]
    #[arg(long, value_name = "KIND", value_parser = kinds())]
    kind: Option<BackupKind>,
    /// This backup, by id or prefix
    #[arg(long, value_name = "ID")]
    backup: Option<String>,
    /// To this point in time [default of scenario `point-in-time`: a random one of the recovery window]
    #[arg(long, value_name = "TIME", conflicts_with = "backup")]
    point_in_time: Option<String>,
    /// Repeat the random choice of an earlier drill, among the same backups
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u32>,
    /// Read from this repository only [default: the policy's, or the last one of it]; of what RDS keeps, from this region
    #[arg(long, value_name = "REPOSITORY|REGION")]
    from: Option<RepositoryName>,
    /// A file with the identity that opens the backup [default: the policy's]
    #[arg(long, short, value_name = "FILE", env = IDENTITY, value_parser = crate::cli::path_arg::path())]
    identity: Vec<PathBuf>,
    /// Where to make the sandbox [default: the policy's, or a directory in TMPDIR or `/var/tmp`]
    #[arg(long, value_name = "DIRECTORY", value_parser = crate::cli::path_arg::path())]
    directory: Option<PathBuf>,
    /// Leave the sandbox and its server as they are, to look around
    #[arg(long)]
    keep: bool,
    /// It was started by a schedule, and satisfies the last time of it
    #[arg(long)]
    scheduled: bool,
    /// Who asks for it [default: the user that runs it]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// The address of the job that runs it, for the record
    #[arg(long, value_name = "URL", env = "CI_JOB_URL")]
    job_url: Option<String>,
    /// Show what would be restored, and stop
    #[arg(long)]
    plan: bool,
}

fn scenarios() -> impl clap::builder::TypedValueParser<Value = Scenario> {
    use clap::builder::TypedValueParser as _;
    let names = Scenario::ALL.map(Scenario::as_str);
    clap::builder::PossibleValuesParser::new(names).try_map(|name| name.parse::<Scenario>())
}

fn kinds() -> impl clap::builder::TypedValueParser<Value = BackupKind> {
    use clap::builder::TypedValueParser as _;
    let names = [BackupKind::Logical, BackupKind::Base].map(BackupKind::as_str);
    clap::builder::PossibleValuesParser::new(names)
        .map(|name| if name == BackupKind::Base.as_str() { BackupKind::Base } else { BackupKind::Logical })
}

pub(super) async fn run(args: RunArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let drill = policy.drill.as_ref();
    let source = source(&args, &policy)?;
    let is_of_dump = args.backup.is_some() || args.kind == Some(BackupKind::Logical);
    if args.scenario == Scenario::PointInTime && is_of_dump {
        let message =
            "scenario `point-in-time` restores by base backup and WAL, and chooses the backup itself";
        return Err(CommandError::usage(message));
    }
    if args.plan && args.scenario.is_in_rds() {
        return Err(CommandError::usage("`--plan` shows what goes into a sandbox of this host").hint(
            "`drctl restore SOURCE --backup latest --to-instance NAME --plan` shows the plan in RDS.",
        ));
    }
    let request = request(&args, &policy, source, context).await?;
    let identities = identities(&args, drill, context).await?;
    let (catalog, repositories) = opened(&args, &policy, context).await?;
    let run = RunContext::begin(
        policy.system.clone(),
        repositories,
        catalog,
        context.clock.clone(),
        context.output.events(),
        context.cancel.clone(),
    )
    .with_identities(identities);
    if args.plan {
        let preview = drill::preview(&run, &request).await;
        run.close().await;
        return view::preview(context, &request, preview);
    }
    let concluded = drill::run(&run, &request, args.keep).await;
    run.close().await;
    Ok(told(context, &concluded))
}

fn told(context: &Context, concluded: &Concluded) -> Exit {
    let Concluded { record, verdict, sha256, unrecorded, not_recorded, kept } = concluded;
    let output = &context.output;
    if output.is_json() {
        output.document("drill", &serde_json::json!({ "sha256": sha256, "record": record }));
    } else {
        view::record(context, record, verdict, *sha256);
    }
    if let Some(kept) = kept {
        output.note(format!("kept: {kept}"));
        output.note(match record.identity.scenario.is_in_rds() {
            true => "hint: `drctl rds cleanup` deletes the instance when it has expired.".to_owned(),
            false => format!(
                "hint: Its server's user ends it with `pg_ctl stop -D {kept}/data`; then remove {kept}."
            ),
        });
    }
    unrecorded.iter().for_each(|lost| warn_lost(context, lost));
    if let Some(error) = not_recorded {
        output.reason(crate::text::error_chain(error));
        output.note("hint: This drill left no evidence, and proves nothing to others. Repeat it when a repository takes records.");
    }
    if !record.verdict.has_passed() {
        output.reason(&verdict.sentence);
    }
    let is_objective = record.verdict.cause.as_deref() == Some("objective");
    match record.verdict.outcome.as_str() {
        _ if context.cancel.is_cancelled() => Exit::Interrupted,
        "pass" if not_recorded.is_some() || !unrecorded.is_empty() => Exit::Partly,
        "pass" if !record.cleanup.is_complete && kept.is_none() => Exit::Partly,
        "pass" => Exit::Done,
        "fail" if is_objective => Exit::ObjectiveMissed,
        "fail" => Exit::DrillFailed,
        _ => Exit::Undetermined,
    }
}

fn source<'p>(args: &RunArgs, policy: &'p Policy) -> Result<&'p Source, CommandError> {
    let named = args.source.as_ref().or_else(|| {
        // The policy's drill may be of another source than the one in RDS.
        policy.drill.as_ref().map(|drill| &drill.source).filter(|_| !args.scenario.is_in_rds())
    });
    let fits = |source: &&Source| match args.scenario.is_in_rds() {
        true => source.rds().is_some(),
        false => source.login().is_some(),
    };
    let source = match named {
        Some(name) => policy.source(name).ok_or_else(|| {
            CommandError::usage(format!("the policy has no source `{name}`"))
                .hint("`drctl policy show` lists the sources.")
        })?,
        None => {
            let mut fitting = policy.sources.iter().filter(fits);
            match (fitting.next(), fitting.next()) {
                (Some(only), None) => only,
                (None, _) => {
                    let message = format!("the policy has no source for scenario `{}`", args.scenario);
                    return Err(CommandError::usage(message).hint("`drctl policy show` lists the sources."));
                }
                (Some(_), Some(_)) => {
                    return Err(CommandError::usage("the policy has several sources that could be restored")
                        .hint("Say which with `--source`."));
                }
            }
        }
    };
    if fits(&source) {
        return Ok(source);
    }
    let message = format!(
        "scenario `{}` does not restore `{}`, a source of kind `{}`",
        args.scenario,
        source.name,
        source.config.kind()
    );
    Err(CommandError::usage(message).hint(
        "Dumps and base backups are restored into a sandbox, databases of RDS with `rds-snapshot` and `rds-point-in-time`.",
    ))
}

async fn request(
    args: &RunArgs,
    policy: &Policy,
    source: &Source,
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
    // Its commands read the policy themselves: no region is lost to them, and they restore dumps.
    let by_runbook = !matches!(args.scenario, Scenario::PointInTime | Scenario::RegionLoss)
        && !args.scenario.is_in_rds()
        && source.kinds.contains(&BackupKind::Logical);
    let runbook = match drill.filter(|_| by_runbook) {
        Some(drill) => drilled_runbook(args, drill, policy)?,
        None => None,
    };
    let text = std::fs::read(context.policy_path()?).map_err(CommandError::failed)?;
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
        from: from(args, drill, policy)?,
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
        deviations,
    })
}

/// Returns the runbook whose steps the drill runs, and what its commands find in their environment.
fn drilled_runbook(
    args: &RunArgs,
    drill: &Drill,
    policy: &Policy,
) -> Result<Option<RunbookDrill>, CommandError> {
    let Some(name) = &drill.runbook else { return Ok(None) };
    let runbook = crate::cli::runbook::checked(policy, name)?;
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
    let Some(config) = source.rds().filter(|_| args.scenario.is_in_rds()) else { return Ok(None) };
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

/// Returns the repository to read from.
fn from(
    args: &RunArgs,
    drill: Option<&Drill>,
    policy: &Policy,
) -> Result<Option<RepositoryName>, CommandError> {
    if args.scenario.is_in_rds() {
        return Ok(None);
    }
    let loses_primary = args.scenario == Scenario::RegionLoss;
    if loses_primary && outside(policy).next().is_none() {
        return Err(CommandError::usage(
            "the policy has no copy that is left when the region of the primary is lost",
        )
        .hint("Add a repository in another region: `[repository.copies.NAME]`."));
    }
    if let Some(name) = &args.from {
        return match policy.repository(name) {
            None => Err(CommandError::usage(format!("the policy has no repository `{name}`"))),
            Some(_) if loses_primary && !outside(policy).any(|left| left.name == *name) => {
                Err(CommandError::usage(format!("`{name}` is lost with the region of the primary")))
            }
            Some(_) => Ok(Some(name.clone())),
        };
    }
    let named = drill.and_then(|drill| drill.from.clone());
    let usable = named.filter(|name| !loses_primary || outside(policy).any(|left| left.name == *name));
    let farthest = if loses_primary { outside(policy).last() } else { policy.repositories.last() };
    Ok(usable.or_else(|| farthest.map(|config| config.name.clone())))
}

/// Returns the repositories that are left when the region of the primary is lost.
fn outside(policy: &Policy) -> impl Iterator<Item = &RepositoryConfig> {
    let region = |config: &RepositoryConfig| match &config.place {
        RepositoryLocation::S3(place) => Some((place.region.clone(), place.endpoint.clone())),
        RepositoryLocation::Directory(_) => None,
    };
    let lost = policy.repositories.first().and_then(region);
    policy.repositories.iter().skip(1).filter(move |config| {
        let own = region(config);
        own.is_none() || own != lost
    })
}

/// Opens what the scenario has left.
async fn opened(
    args: &RunArgs,
    policy: &Policy,
    context: &Context,
) -> Result<(Option<Catalog>, Repositories), CommandError> {
    let (catalog, repositories) = match args.scenario {
        Scenario::RegionLoss => {
            // The primary is not even opened.
            let mut left = policy.clone();
            left.repositories = outside(policy).cloned().collect();
            (None, context.repositories_with(&left, S3Timeouts::within(policy.transfer.stall)).await)
        }
        Scenario::EscrowKey => (None, context.repositories(policy).await),
        _ => context.recall(policy).await,
    };
    Ok((catalog, repositories.open_for_restore(&policy.system, None).await))
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
