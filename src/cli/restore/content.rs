//! What an application has beside its PostgreSQL database.

use std::path::PathBuf;

use clap::Args;

use super::super::error::CommandError;
use super::RestoreCommand;
use crate::model::BackupKind;
use crate::platform::SecretRef;
use crate::policy::SourceConfig;
use crate::restore::content::{ContentRestoreRequest, ContentSelector, ContentTarget};
use crate::run::RunContext;

/// How much of it is restored
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Restoring files, SQLite, Redis, Git repositories, buckets and output of commands"
)]
pub(super) struct ContentArgs {
    /// Only this file or directory, by its path in the backup; may be given more than once
    #[arg(long, value_name = "PATH")]
    path: Vec<PathBuf>,
}

impl ContentArgs {
    pub(super) fn options(&self) -> Vec<&'static str> {
        if self.path.is_empty() { vec![] } else { vec!["--path"] }
    }
}

/// Returns the kind of backup that a source of this kind has, where it is restored by this method.
pub(super) fn kind_of(config: &SourceConfig) -> Option<BackupKind> {
    match config {
        SourceConfig::Files(_) => Some(BackupKind::Files),
        SourceConfig::Sqlite(_) => Some(BackupKind::Sqlite),
        SourceConfig::Chroma(_) => Some(BackupKind::Chroma),
        SourceConfig::Redis(_) => Some(BackupKind::Redis),
        SourceConfig::Git(_) => Some(BackupKind::Git),
        SourceConfig::Bucket(_) => Some(BackupKind::Bucket),
        SourceConfig::Command(_) => Some(BackupKind::Command),
        SourceConfig::Postgres(_) | SourceConfig::Rds(_) | SourceConfig::AwsBackup(_) => None,
    }
}

pub(super) async fn begin(
    command: &RestoreCommand<'_>,
) -> Result<(RunContext, ContentRestoreRequest), CommandError> {
    let context = command.context;
    let mut request = request(command)?;
    let identities = context.identities(&command.args.identity).await?;
    let run = command.open(identities).await?;
    let entries = match &run.catalog {
        Some(catalog) => {
            let filter =
                crate::catalog::Filter { source: Some(command.source.clone()), ..Default::default() };
            catalog.clone().of_repository(run.repositories.id()).backups(&filter).await.unwrap_or_default()
        }
        None => vec![],
    };
    request.doubtful = super::doubtful(&run, &entries).await;
    Ok((run, request))
}

fn request(command: &RestoreCommand<'_>) -> Result<ContentRestoreRequest, CommandError> {
    let RestoreCommand { args, source, policy, .. } = command;
    let config = policy.source(source).map(|source| source.config.clone());
    let kind = config.as_ref().and_then(kind_of).ok_or_else(|| {
        CommandError::usage(format!("the policy has no source `{source}` that is restored like this"))
            .hint("`drctl policy show` lists the sources.")
    })?;
    let backup = match (args.backup.as_deref(), args.moment.is_time()) {
        (Some(_), true) => {
            return Err(CommandError::usage("`--backup` and a point in time each say which backup"));
        }
        (None | Some("latest"), false) => ContentSelector::Latest,
        (Some(prefix), false) => ContentSelector::Prefix(prefix.to_owned()),
        (None, true) => match args.moment.time_or_latest()? {
            Some(Some(time)) => ContentSelector::Before(time),
            _ => ContentSelector::Latest,
        },
    };
    let password = args.password.as_deref().map(str::parse::<SecretRef>).transpose();
    Ok(ContentRestoreRequest {
        source: (*source).clone(),
        kind,
        config,
        backup,
        from: args.from.clone(),
        target: ContentTarget {
            to: args.to().to_owned(),
            paths: args.content.path.clone(),
            delta: args.moment.is_delta(),
            owners: !args.no_owner,
            password: password.map_err(CommandError::usage)?,
        },
        doubtful: Default::default(),
    })
}
