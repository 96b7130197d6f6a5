//! AWS-managed backups of RDS, into a new instance.

use std::time::Duration;

use clap::Args;

use super::super::catalog_view::warn_lost;
use super::super::error::CommandError;
use super::RestoreCommand;
use crate::platform::host_name;
use crate::policy::Source;
use crate::restore::rds::{Lifetime, OverrideError, OverrideKey, Overrides, RdsRestoreRequest, RdsTarget};
use crate::run::RunContext;

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
    /// Do not wait until every block has come from S3, nor until RDS's first backup of it is complete
    #[arg(long, requires = "to_instance")]
    no_hydrate: bool,
    /// Leave RDS's automated backups off: `drctl rds promote` turns them on. The first one takes RDS up to hours, and
    /// until it is complete what was restored can be used, but not promoted
    #[arg(long, requires = "to_instance", conflicts_with = "expires")]
    backups_later: bool,
}

impl InstanceArgs {
    pub(super) fn is_given(&self) -> bool {
        self.to_instance.is_some()
    }

    /// Returns the given options. The parser accepts them next to `--to`, since that excludes
    /// `--to-instance`, which they require.
    pub(super) fn options(&self) -> Vec<&'static str> {
        let all = [
            ("--set", !self.set.is_empty()),
            ("--expires", self.expires.is_some()),
            ("--no-hydrate", self.no_hydrate),
            ("--backups-later", self.backups_later),
        ];
        all.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect()
    }
}

pub(super) async fn begin(
    command: &RestoreCommand<'_>,
) -> Result<(RunContext, RdsRestoreRequest), CommandError> {
    let context = command.context;
    let request = request(command)?;
    let identities = context.identities(&command.args.identity).await?;
    // `--from` names a region here.
    let (catalog, repositories) = context.recall(command.policy).await;
    let repositories = repositories.open_for_restore(&command.policy.system, None).await;
    let run = command.run(repositories, catalog).with_identities(identities);
    run.repositories.lost().iter().for_each(|lost| warn_lost(context, lost));
    Ok((run, request))
}

fn request(command: &RestoreCommand<'_>) -> Result<RdsRestoreRequest, CommandError> {
    let RestoreCommand { args, source, policy, context } = command;
    let config = command.config("rds", Source::rds)?;
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
                return Err(CommandError::usage("RDS restores to a time, and not to a position in the WAL")
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
        source: (*source).clone(),
        config: config.clone(),
        target,
        region,
        to: args.instance.to_instance.clone().unwrap_or_default().to_ascii_lowercase(),
        overrides,
        lifetime,
        prices: policy.prices.clone(),
        hydrate: !args.instance.no_hydrate,
        backups_later: args.instance.backups_later,
    })
}

fn unsettable(error: OverrideError) -> CommandError {
    let is_unknown = matches!(error, OverrideError::Unknown(_));
    let error = CommandError::usage(error);
    if is_unknown { error.hint(format!("`--set` takes {}.", OverrideKey::listed())) } else { error }
}
