//! A cluster to a point in time, into a directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::Args;

use super::super::Context;
use super::super::context::no_identity;
use super::super::error::CommandError;
use super::{RestoreArgs, RestoreCommand};
use crate::catalog::Filter;
use crate::model::{Lsn, RepositoryName, Timeline};
use crate::pipeline::Identities;
use crate::platform::expand_home;
use crate::policy::{Credentials, Policy, RepositoryLocation};
use crate::restore::physical::{
    BaseBackupSelector, DirectoryOwner, PhysicalRestoreRequest, RecoveryTarget, RestoreCommand as WalCommand,
    Start, TablespaceMapping, is_library_list, parse_name, parse_time, parse_transaction,
};
use crate::run::RunContext;
use crate::text::error_chain;

/// The recovery target, and what follows it
#[derive(Debug, Args)]
#[command(next_help_heading = "Restoring a cluster to a point in time")]
pub(super) struct MomentArgs {
    /// To everything committed until then: `2026-11-20T14:05:00Z`, `2026-11-20 14:05:00+02`
    #[arg(long, value_name = "TIME", group = "moment")]
    point_in_time: Option<String>,
    /// To a position in the WAL
    #[arg(long, value_name = "LSN", group = "moment")]
    to_lsn: Option<Lsn>,
    /// To a transaction
    #[arg(long, value_name = "XID", group = "moment")]
    to_xid: Option<String>,
    /// To a restore point, as `pg_create_restore_point` was given it
    #[arg(long, value_name = "NAME", group = "moment")]
    to_name: Option<String>,
    /// To the end of the archived WAL
    #[arg(long, group = "moment")]
    latest: bool,
    /// Stop just before the recovery target instead of just after it
    #[arg(long)]
    exclusive: bool,
    /// Along this timeline [default: the newest]
    #[arg(long, value_name = "N")]
    timeline: Option<Timeline>,
    /// Where a tablespace goes, by its number or its path [default: beside the directory, in
    /// `<directory>-tablespaces`]; may be given more than once
    #[arg(long, value_name = "OID|PATH=DIRECTORY")]
    tablespace: Vec<String>,
    /// Where `pg_wal` goes, with a link to it in the directory [default: into the directory]
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "delta")]
    wal_directory: Option<PathBuf>,
    /// Whom the files belong to, and who runs the server; only root can say so
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// Where the directory holds the data of the same cluster, stopped: change it into what was backed up, and
    /// write only what differs. What is newer in it is lost
    #[arg(long)]
    delta: bool,
    /// Libraries that the server loads when it starts, as `shared_preload_libraries` names them, until it is released
    /// [default: those of the backed-up server, without those whose background workers run its jobs]
    #[arg(long, value_name = "LIST", value_parser = library_list)]
    preload_libraries: Option<String>,
    /// Start a server there, wait until it has recovered, and prove where it ended
    #[arg(long)]
    start: bool,
    /// Its port [default: one that is free]
    #[arg(long, value_name = "N", requires = "start", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
}

impl MomentArgs {
    /// Returns whether the recovery target can be found only in the WAL.
    pub(super) fn is_position(&self) -> bool {
        self.to_lsn.is_some() || self.to_xid.is_some() || self.to_name.is_some()
    }

    pub(super) fn is_time(&self) -> bool {
        self.point_in_time.is_some()
    }

    pub(super) fn is_given(&self) -> bool {
        self.latest || self.is_time() || self.is_position()
    }

    /// Returns an option that is meaningless without a recovery target.
    pub(super) fn needs_moment(&self) -> Option<&'static str> {
        let given = [
            ("--exclusive", self.exclusive),
            ("--timeline", self.timeline.is_some()),
            ("--tablespace", !self.tablespace.is_empty()),
            ("--wal-directory", self.wal_directory.is_some()),
            ("--owner", self.owner.is_some()),
            ("--delta", self.delta),
            ("--preload-libraries", self.preload_libraries.is_some()),
            ("--start", self.start),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }

    pub(super) fn is_delta(&self) -> bool {
        self.delta
    }

    /// Returns the target where it is a time or the latest: RDS accepts no other.
    pub(super) fn time_or_latest(&self) -> Result<Option<Option<DateTime<Utc>>>, CommandError> {
        match self.target()? {
            RecoveryTarget::Time(time) => Ok(Some(Some(time))),
            RecoveryTarget::Latest => Ok(Some(None)),
            _ => Ok(None),
        }
    }

    fn target(&self) -> Result<RecoveryTarget, CommandError> {
        let target = match self {
            Self { point_in_time: Some(text), .. } => parse_time(text).map(RecoveryTarget::Time),
            Self { to_lsn: Some(lsn), .. } => Ok(RecoveryTarget::Lsn(*lsn)),
            Self { to_xid: Some(text), .. } => parse_transaction(text).map(RecoveryTarget::Transaction),
            Self { to_name: Some(text), .. } => parse_name(text).map(RecoveryTarget::Name),
            _ => Ok(RecoveryTarget::Latest),
        };
        target.map_err(CommandError::usage)
    }
}

pub(super) async fn begin(
    command: &RestoreCommand<'_>,
) -> Result<(RunContext, PhysicalRestoreRequest), CommandError> {
    let context = command.context;
    // The restored server decrypts its WAL with them, and cannot prompt for a passphrase.
    let identities = Identities::read(&command.args.identity).map_err(no_identity)?;
    let mut request = request(command).await?;
    let run = command.open(identities).await?;
    let mut known = Vec::new();
    if let Some(catalog) = &run.catalog {
        let filter = Filter { source: Some(command.source.clone()), vanished: false };
        match catalog.backups(&filter).await {
            Ok(entries) => known = entries,
            Err(error) => {
                context.output.warn(format!("going on without the catalog: {}", error_chain(&error)))
            }
        }
    }
    request.doubtful = super::doubtful(&run, &known).await;
    Ok((run, request))
}

async fn request(command: &RestoreCommand<'_>) -> Result<PhysicalRestoreRequest, CommandError> {
    let RestoreCommand { args, source, policy, context } = command;
    let moment = &args.moment;
    let owner = match &moment.owner {
        Some(name) => {
            let unknown = || CommandError::usage(format!("there is no user `{name}` on this host"));
            Some(DirectoryOwner::find(name).await.ok_or_else(unknown)?)
        }
        None => None,
    };
    let tablespaces = moment.tablespace.iter().map(|text| mapping(text)).collect::<Result<_, _>>()?;
    Ok(PhysicalRestoreRequest {
        source: (*source).clone(),
        target: moment.target()?,
        exclusive: moment.exclusive,
        timeline: moment.timeline,
        backup: match args.backup.as_deref() {
            None | Some("latest") => BaseBackupSelector::Fitting,
            Some(prefix) => BaseBackupSelector::Prefix(prefix.to_owned()),
        },
        doubtful: BTreeSet::new(),
        from: args.from.clone(),
        to: absolute(Path::new(args.to()))?,
        tablespaces,
        wal_directory: moment.wal_directory.clone(),
        repositories: directories(policy),
        start: moment.start.then_some(Start { port: moment.port, confined: None }),
        owner,
        delta: moment.delta,
        preload: moment.preload_libraries.clone(),
        drop_leftovers: args.drop_leftovers,
        command: wal_command(args, policy, context)?,
        tools: command.login().and_then(|login| login.tools.clone()),
        login: command.login().cloned().map(Box::new),
    })
}

fn absolute(path: &Path) -> Result<PathBuf, CommandError> {
    let path = expand_home(path).map_err(CommandError::usage)?;
    std::path::absolute(path).map_err(CommandError::usage)
}

/// Returns what a restored server runs to fetch its WAL.
pub(super) fn wal_command(
    args: &RestoreArgs,
    policy: &Policy,
    context: &Context,
) -> Result<WalCommand, CommandError> {
    Ok(WalCommand {
        drctl: std::env::current_exe()
            .map_err(|error| CommandError::failed(error).context("failed to find this drctl's own path"))?,
        policy: absolute(&context.policy_path()?)?,
        identities: args.identity.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?,
        environment: environment(policy),
        relay: None,
    })
}

pub(super) fn directories(policy: &Policy) -> Vec<(RepositoryName, PathBuf)> {
    let repositories = policy.repositories.iter();
    repositories
        .filter_map(|repository| match &repository.place {
            RepositoryLocation::Directory(path) => Some((repository.name.clone(), path.clone())),
            RepositoryLocation::S3(_) => None,
        })
        .collect()
}

fn mapping(text: &str) -> Result<TablespaceMapping, CommandError> {
    match text.split_once('=') {
        Some((which, directory)) if !which.is_empty() && !directory.is_empty() => {
            let directory = expand_home(Path::new(directory)).map_err(CommandError::usage)?;
            Ok(TablespaceMapping { which: which.to_owned(), directory })
        }
        _ => Err(CommandError::usage(format!("`{text}` does not say where a tablespace goes"))
            .hint("Write `--tablespace 16401=/new/directory`, with its number or where it was.")),
    }
}

/// Returns the variables with the stores' credentials.
fn environment(policy: &Policy) -> Vec<String> {
    let mut names = BTreeSet::new();
    for repository in &policy.repositories {
        let RepositoryLocation::S3(place) = &repository.place else { continue };
        let Credentials::Keys { access_key_id, secret_access_key, session_token } = &place.credentials else {
            continue;
        };
        for reference in [access_key_id, secret_access_key].into_iter().chain(session_token) {
            names.extend(reference.to_string().strip_prefix("env:").map(str::to_owned));
        }
    }
    names.into_iter().collect()
}
/// Accepts what a server accepts: of any other list it would load nothing.
fn library_list(text: &str) -> Result<String, String> {
    match is_library_list(text) {
        true => Ok(text.to_owned()),
        false => Err("it is not a list of libraries: one comma is between two names, and a name in double quotes ends with one".to_owned()),
    }
}
