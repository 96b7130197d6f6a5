//! What RDS keeps of a database, into a new instance.

use std::time::Duration;

use clap::Args;

use super::super::Context;
use super::super::catalog_view::warn_lost;
use super::super::error::CommandError;
use super::super::exit::Exit;
use super::RestoreArgs;
use crate::checks::CheckVerdict;
use crate::cli::render::restore_rds;
use crate::model::{RunId, SourceName};
use crate::platform::{host_name, seed};
use crate::policy::{Check, Drill, Policy, Probe, RdsSource, SourceConfig};
use crate::restore::rds::{
    Lifetime, OverrideError, OverrideKey, Overrides, RdsRestoreError, RdsRestoreFailure, RdsRestorePlan,
    RdsRestoreRequest, RdsTarget, Run, plan, way_on,
};
use crate::text::error_chain;

/// Into which instance
#[derive(Debug, Args)]
#[command(next_help_heading = "Restoring an RDS database into a new instance")]
pub(super) struct InstanceArgs {
    /// Make this instance, or this cluster with its instances where the source is one, from a snapshot (`--backup`)
    /// or RDS's automated backups (`--point-in-time`, `--latest`), set up as the old one was
    #[arg(long, value_name = "IDENTIFIER", conflicts_with = "to")]
    to_instance: Option<String>,
    /// It may be removed after this time: it gets tags that say so, no deletion protection and no automated backups
    #[arg(long, value_name = "PERIOD", requires = "to_instance", value_parser = humantime::parse_duration)]
    expires: Option<Duration>,
    /// Make it otherwise than recorded, where AWS refuses what was, or another suits: `class=db.r6g.large`,
    /// `ca=default` (AWS's own choice); an unknown KEY is answered with all of them; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", requires = "to_instance")]
    set: Vec<String>,
    /// Do not wait until every block has come from S3, nor until RDS's first backup of it is whole
    #[arg(long, requires = "to_instance")]
    no_hydrate: bool,
    /// Leave RDS's automated backups off: `drctl rds promote` turns them on. The first one takes RDS up to hours, and
    /// until it is whole what was restored can be used, but not promoted
    #[arg(long, requires = "to_instance", conflicts_with = "expires")]
    backups_later: bool,
}

impl InstanceArgs {
    pub(super) fn is_given(&self) -> bool {
        self.to_instance.is_some()
    }

    /// The parser lets them pass beside `--to`, since that goes with no `--to-instance` that they need.
    pub(super) fn fits_elsewhere(&self) -> Result<(), CommandError> {
        let given = [
            ("--set", !self.set.is_empty()),
            ("--expires", self.expires.is_some()),
            ("--no-hydrate", self.no_hydrate),
            ("--backups-later", self.backups_later),
        ];
        let given: Vec<_> = given.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect();
        if given.is_empty() {
            return Ok(());
        }
        Err(CommandError::usage(format!("{} goes only with `--to-instance`", given.join(", ")))
            .hint("`--to-instance NAME` makes an instance of what RDS keeps."))
    }
}

pub(super) async fn run(
    args: RestoreArgs,
    source: &SourceName,
    context: &Context,
) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let request = request(&args, source, &policy, context)?;
    let identities = context.identities(&args.identity).await?;
    let (catalog, repositories) = context.recall(&policy).await;
    let begun = context.clock.now();
    let run = Run {
        id: RunId::new(begun, seed()),
        system: policy.system.clone(),
        host: host_name(),
        clock: context.clock.clone(),
        repositories: repositories.for_restoring(&policy.system, None).await,
        identities,
        events: context.output.events(),
        cancel: context.cancel.clone(),
    };
    for lost in run.repositories.lost() {
        warn_lost(context, lost);
    }
    let situation = run.survey(&request).await.map_err(refused)?;
    let plan = plan(&request, situation).map_err(|refusals| refused(RdsRestoreError::Refused(refusals)))?;
    restore_rds::show_plan(&context.output, &plan, args.plan);
    if args.plan {
        return Ok(Exit::Done);
    }
    let outcome = run.execute(&plan).await;
    let (record, unrecorded) = run.conclude(begun, &plan, outcome.as_ref()).await;
    for lost in &unrecorded {
        warn_lost(context, lost);
    }
    if let Some(catalog) = catalog {
        if let Err(error) = catalog.record_run(&record).await {
            context.output.warn(error_chain(&error));
        }
        catalog.close().await;
    }
    let report = outcome.map_err(|failure| failed(&plan, failure))?;
    restore_rds::show_report(&context.output, &report);
    let failed = report.checks.iter().any(|finding| matches!(finding.verdict, CheckVerdict::Fail { .. }));
    Ok(match report.is_sound() {
        true => Exit::Done,
        false if failed => Exit::Failed,
        // Nobody has seen that it can be used, or that it is what it should be.
        false => Exit::Undetermined,
    })
}

fn request(
    args: &RestoreArgs,
    source: &SourceName,
    policy: &Policy,
    context: &Context,
) -> Result<RdsRestoreRequest, CommandError> {
    args.fits_instance()?;
    let config = config(source, policy)?;
    let region = args.from.as_ref().map(|region| region.to_string());
    if let Some(region) =
        region.as_ref().filter(|name| config.place.region != **name && config.region(name).is_none())
    {
        let own = std::iter::once(config.place.region.as_str())
            .chain(config.regions.iter().map(|r| r.name.as_str()));
        let words = format!("the policy does not have `{source}` in `{region}`");
        return Err(
            CommandError::usage(words).hint(format!("It has it in {}.", own.collect::<Vec<_>>().join(", ")))
        );
    }
    let target = match (&args.backup, args.moment.is_given()) {
        (Some(prefix), false) => RdsTarget::Backup(prefix.clone()),
        (None, true) => match args.moment.time_or_latest()? {
            Some(Some(time)) => RdsTarget::Time(time),
            Some(None) => RdsTarget::Latest,
            None => {
                return Err(CommandError::usage("RDS restores to a time, and not to a position in the log")
                    .hint("Use `--point-in-time` or `--latest`."));
            }
        },
        _ => {
            return Err(CommandError::usage("nothing says what to restore, or two things do")
                .hint("Use one of `--backup`, `--point-in-time` and `--latest`."));
        }
    };
    let overrides = Overrides::parse(&args.instance.set).map_err(unsettable)?;
    let now = context.clock.now();
    let lifetime = args.instance.expires.map(|period| Lifetime { until: now + period, owner: host_name() });
    Ok(RdsRestoreRequest {
        system: policy.system.clone(),
        source: source.clone(),
        config: config.clone(),
        target,
        region,
        to: args.instance.to_instance.clone().unwrap_or_default().to_ascii_lowercase(),
        overrides,
        lifetime,
        prices: policy.prices.clone(),
        checks: checks(&policy.drill, source),
        hydrate: !args.instance.no_hydrate,
        backups_later: args.instance.backups_later,
    })
}

/// What the policy's drill would ask of the database, where its drill is of this source.
fn checks(drill: &Option<Drill>, source: &SourceName) -> Vec<Check> {
    let own = drill.iter().filter(|drill| drill.source == *source).flat_map(|drill| &drill.checks);
    own.filter(|check| matches!(check.probe, Probe::Sql { .. })).cloned().collect()
}

fn config<'p>(source: &SourceName, policy: &'p Policy) -> Result<&'p RdsSource, CommandError> {
    let hint = "`drctl policy show` lists the sources.";
    match policy.source(source).map(|source| &source.config) {
        Some(SourceConfig::Rds(rds)) => Ok(rds),
        Some(other) => {
            let words = format!("`{source}` is a source of kind `{}`, not `rds`", other.kind());
            Err(CommandError::usage(words).hint(hint))
        }
        None => Err(CommandError::usage(format!("the policy has no source `{source}`")).hint(hint)),
    }
}

impl RestoreArgs {
    /// What belongs to dumps and directories does not go with an instance.
    fn fits_instance(&self) -> Result<(), CommandError> {
        let given = [
            ("--password", self.password.is_some()),
            ("--jobs", self.jobs.is_some()),
            ("--table", !self.table.is_empty()),
            ("--schema", !self.schema.is_empty()),
            ("--globals", self.globals),
            ("--no-owner", self.no_owner),
            ("--no-tablespaces", self.no_tablespaces),
            ("--drop-leftovers", self.drop_leftovers),
        ];
        let given = given.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name);
        let given: Vec<_> = given.chain(self.moment.needs_moment()).collect();
        if given.is_empty() {
            return Ok(());
        }
        Err(CommandError::usage(format!("{} does not go with `--to-instance`", given.join(", ")))
            .hint("RDS restores a whole instance; take what you need from there with `pg_dump`."))
    }
}

/// A restore that was not begun.
fn refused(error: RdsRestoreError) -> CommandError {
    let RdsRestoreError::Refused(refusals) = &error else {
        let exit = if error.is_interruption() { Exit::Interrupted } else { Exit::Failed };
        return CommandError::new(exit, error);
    };
    let exit = if refusals.iter().any(crate::restore::rds::RdsRefusal::is_nothing) {
        Exit::Nothing
    } else {
        Exit::Failed
    };
    let mut hints: Vec<&str> =
        refusals.iter().map(|refusal| refusal.hint()).filter(|hint| !hint.is_empty()).collect();
    hints.dedup();
    let hints: Vec<String> = hints.into_iter().map(str::to_owned).collect();
    hints.into_iter().fold(CommandError::new(exit, error), CommandError::hint)
}

fn failed(plan: &RdsRestorePlan, failure: RdsRestoreFailure) -> CommandError {
    let exit = if failure.source.is_interruption() { Exit::Interrupted } else { Exit::Failed };
    let hints = way_on(plan, &failure);
    hints.into_iter().fold(CommandError::new(exit, failure), CommandError::hint)
}

fn unsettable(error: OverrideError) -> CommandError {
    let is_unknown = matches!(error, OverrideError::Unknown(_));
    let error = CommandError::usage(error);
    if is_unknown { error.hint(format!("`--set` takes {}.", OverrideKey::listed())) } else { error }
}
