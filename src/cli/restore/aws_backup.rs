//! A recovery point of AWS Backup, into a new resource.

use chrono::SecondsFormat;
use clap::Args;

use super::super::catalog_view::CatalogView;
use super::super::error::CommandError;
use super::RestoreCommand;
use crate::policy::Source;
use crate::restore::aws_backup::{ResourceRestoreRequest, assignment};
use crate::run::RunContext;

/// What the new resource is
#[derive(Debug, Args)]
#[command(next_help_heading = "Restoring a resource that AWS Backup keeps")]
pub(super) struct ResourceArgs {
    /// Restore metadata for AWS Backup, beside what was recorded: `DestinationBucketName=shop-restored`,
    /// `DBInstanceIdentifier=shop-2`; an empty value leaves the key out; may be given more than once
    #[arg(long, value_name = "KEY=VALUE")]
    to_resource: Vec<String>,
    /// Start another job where one with the same metadata has completed
    #[arg(long, requires = "to_resource")]
    again: bool,
}

impl ResourceArgs {
    pub(super) fn is_given(&self) -> bool {
        !self.to_resource.is_empty()
    }
}

pub(super) async fn begin(
    command: &RestoreCommand<'_>,
) -> Result<(RunContext, ResourceRestoreRequest), CommandError> {
    let context = command.context;
    let mut request = request(command)?;
    let identities = context.identities(&command.args.identity).await?;
    let view = CatalogView::open(context, false).await?;
    request.known = view
        .entries()
        .await?
        .into_iter()
        .map(|entry| {
            let held = entry.copies.iter().filter(|copy| copy.is_held());
            let held = held.map(|copy| copy.repository.clone()).collect();
            (entry.manifest, held)
        })
        .collect();
    let run = command.run(view.repositories, Some(view.catalog)).with_identities(identities);
    Ok((run, request))
}

fn request(command: &RestoreCommand<'_>) -> Result<ResourceRestoreRequest, CommandError> {
    let RestoreCommand { args, source, policy, .. } = command;
    let config = command.config("aws-backup", Source::aws_backup)?;
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
        changes.push(("RestoreTime".to_owned(), time.to_rfc3339_opts(SecondsFormat::Secs, true)));
    }
    Ok(ResourceRestoreRequest {
        system: policy.system.clone(),
        source: (*source).clone(),
        config: config.clone(),
        backup: args.backup.clone().filter(|text| text != "latest"),
        region: args.from.as_ref().map(|name| name.as_str().to_owned()),
        changes,
        again: args.resource.again,
        known: vec![],
    })
}
