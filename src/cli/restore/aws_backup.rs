//! A recovery point of AWS Backup, into a new resource.

use clap::Args;

use super::super::Context;
use super::super::catalog_view::{CatalogView, warn_lost};
use super::super::error::CommandError;
use super::super::exit::Exit;
use super::RestoreArgs;
use crate::cli::render::restore_aws_backup;
use crate::model::{Manifest, RepositoryName, RunId, SourceName};
use crate::platform::{host_name, seed};
use crate::policy::{AwsBackupSource, Policy, SourceConfig};
use crate::repository::SmallError;
use crate::restore::aws_backup::{
    ResourceRefusal, ResourceRestoreError, ResourceRestoreFailure, ResourceRestoreRequest, Run, assignment,
    plan,
};
use crate::text::{error_chain, format_time};

/// What the new resource is
#[derive(Debug, Args)]
#[command(next_help_heading = "Restoring a resource that AWS Backup keeps")]
pub(super) struct ResourceArgs {
    /// What AWS Backup is told, beside what was recorded: `DestinationBucketName=shop-restored`,
    /// `DBInstanceIdentifier=shop-2`; an empty value leaves the key out; may be given more than once
    #[arg(long, value_name = "KEY=VALUE")]
    to_resource: Vec<String>,
    /// Begin another job where one that was told the same has ended well
    #[arg(long, requires = "to_resource")]
    again: bool,
}

impl ResourceArgs {
    pub(super) fn is_given(&self) -> bool {
        !self.to_resource.is_empty()
    }
}

/// Of that kind in the policy.
pub(super) fn is_of_aws_backup(source: &SourceName, context: &Context) -> Result<bool, CommandError> {
    let policy = context.policy()?;
    let source = policy.source(source);
    Ok(source.is_some_and(|source| matches!(source.config, SourceConfig::AwsBackup(_))))
}

pub(super) async fn run(
    args: RestoreArgs,
    source: &SourceName,
    context: &Context,
) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let request = request(&args, source, &policy)?;
    let identities = context.identities(&args.identity).await?;
    let known = CatalogView::open(context, false).await?;
    let backups: Vec<(Manifest, Vec<RepositoryName>)> = known
        .entries()
        .await?
        .into_iter()
        .map(|entry| {
            let held = entry.copies.iter().filter(|copy| copy.is_held());
            let held = held.map(|copy| copy.repository.clone()).collect();
            (entry.manifest, held)
        })
        .collect();
    let begun = context.clock.now();
    let run = Run {
        id: RunId::new(begun, seed()),
        system: policy.system.clone(),
        host: host_name(),
        clock: context.clock.clone(),
        repositories: known.repositories.clone(),
        identities,
        events: context.output.events(),
        cancel: context.cancel.clone(),
    };
    let situation = run.survey(&request, &backups).await.map_err(refused)?;
    let plan = plan(&request, situation, context.clock.now())
        .map_err(|refusals| refused(ResourceRestoreError::Refused(refusals)))?;
    restore_aws_backup::show_plan(&context.output, &plan, args.plan);
    if args.plan {
        return Ok(Exit::Done);
    }
    let outcome = run.execute(&request, &plan).await;
    let (record, unrecorded) = run.conclude(begun, &plan.backup, outcome.as_ref()).await;
    for lost in &unrecorded {
        warn_lost(context, lost);
    }
    if let Err(error) = known.catalog.record_run(&record).await {
        context.output.warn(error_chain(&error));
    }
    known.catalog.close().await;
    match outcome {
        Ok(report) => {
            restore_aws_backup::show_report(&context.output, &report);
            Ok(if report.shortcomings().is_empty() { Exit::Done } else { Exit::Partly })
        }
        Err(failure) => Err(failed(failure)),
    }
}

fn request(
    args: &RestoreArgs,
    source: &SourceName,
    policy: &Policy,
) -> Result<ResourceRestoreRequest, CommandError> {
    let config = config(source, policy)?;
    let changes = args.resource.to_resource.iter().map(|text| {
        assignment(text).ok_or_else(|| {
            CommandError::usage(format!("`{text}` is not a key and a value"))
                .hint("Write `--to-resource KEY=VALUE`.")
        })
    });
    let mut changes = changes.collect::<Result<Vec<_>, _>>()?;
    if args.moment.is_time()
        && let Some(Some(time)) = args.moment.time_or_latest()?
    {
        changes.push(("RestoreTime".to_owned(), format_time(time)));
    }
    Ok(ResourceRestoreRequest {
        system: policy.system.clone(),
        source: source.clone(),
        config,
        backup: args.backup.clone().filter(|text| text != "latest"),
        region: args.from.as_ref().map(|name| name.as_str().to_owned()),
        changes,
        again: args.resource.again,
    })
}

fn config(source: &SourceName, policy: &Policy) -> Result<AwsBackupSource, CommandError> {
    match policy.source(source).map(|source| &source.config) {
        Some(SourceConfig::AwsBackup(source)) => Ok((**source).clone()),
        Some(other) => Err(CommandError::usage(format!(
            "`--to-resource` is for what AWS Backup keeps, and `{source}` is of kind `{}`",
            other.kind()
        ))
        .hint("Say where to with `--to`.")),
        None => Err(CommandError::usage(format!("the policy has no source `{source}`"))),
    }
}

fn refused(error: ResourceRestoreError) -> CommandError {
    let ResourceRestoreError::Refused(refusals) = &error else { return of_error(error) };
    let is_nothing = refusals.iter().any(ResourceRefusal::is_nothing);
    let mut hints: Vec<_> = refusals.iter().map(ResourceRefusal::hint).collect();
    hints.dedup();
    let exit = if is_nothing { Exit::Nothing } else { Exit::Usage };
    hints.into_iter().fold(CommandError::new(exit, error), CommandError::hint)
}

fn failed(failure: ResourceRestoreFailure) -> CommandError {
    let context = failure.to_string();
    let hint = match &failure.source {
        error if error.is_taken() => {
            Some("Name another with `--to-resource`; drctl restores over nothing that is there.")
        }
        ResourceRestoreError::Failed { .. } => Some(
            "AWS Backup's console says more of the job. Mostly the policy's `role` lacks a permission, or a name in the metadata is not there in this region.",
        ),
        _ => None,
    };
    let error = of_error(failure.source).context(context);
    hint.into_iter().fold(error, CommandError::hint)
}

fn of_error(error: ResourceRestoreError) -> CommandError {
    if error.is_interruption() {
        return CommandError::new(Exit::Interrupted, error)
            .hint("A job that was begun goes on in AWS; the same command goes on with it.");
    }
    let hint = match &error {
        ResourceRestoreError::Details(SmallError::CannotDecrypt { .. }) => {
            return CommandError::new(Exit::CannotDecrypt, error)
                .hint("Leave `--identity` out: the region that is restored in says what was recorded, too.");
        }
        ResourceRestoreError::Region { others, .. } if !others.is_empty() => {
            format!("Restore in another region: `--from {}`.", others.first().map_or("", String::as_str))
        }
        _ => return CommandError::failed(error),
    };
    CommandError::failed(error).hint(hint)
}
