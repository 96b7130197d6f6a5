//! A cluster to a point in time, into a directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use super::super::Context;
use super::super::catalog_view::warn_lost;
use super::super::context::no_identity;
use super::super::error::CommandError;
use super::super::exit::Exit;
use super::{RestoreArgs, logical};
use crate::catalog::Filter;
use crate::cli::render::restore_physical;
use crate::model::{Lsn, RepositoryName, RunId, SourceName, Timeline};
use crate::pipeline::Identities;
use crate::platform::{expand_home, host_name, seed};
use crate::policy::{Credentials, Policy, RepositoryLocation};
use crate::restore::physical::{
    BaseBackupSelector, DirectoryCleanup, DirectoryOwner, PhysicalRefusal, PhysicalRefusalClass,
    PhysicalRestoreError, PhysicalRestoreFailure, PhysicalRestoreRequest, RecoveryTarget, RestoreCommand,
    Run, ServerState, Start, TablespaceMapping, parse_name, parse_time, parse_transaction, plan,
};
use crate::text::error_chain;

/// To which moment, and what comes after
#[derive(Debug, Args)]
#[command(next_help_heading = "Restoring a cluster to a point in time")]
pub(super) struct MomentArgs {
    /// To everything committed until then: `2026-11-20T14:05:00Z`, `2026-11-20 14:05:00+02`
    #[arg(long, value_name = "TIME", group = "moment")]
    point_in_time: Option<String>,
    /// To a position in the log
    #[arg(long, value_name = "LSN", group = "moment")]
    to_lsn: Option<Lsn>,
    /// To a transaction
    #[arg(long, value_name = "XID", group = "moment")]
    to_xid: Option<String>,
    /// To a restore point, as `pg_create_restore_point` was given it
    #[arg(long, value_name = "NAME", group = "moment")]
    to_name: Option<String>,
    /// To as much as there is
    #[arg(long, group = "moment")]
    latest: bool,
    /// Stop just before the moment instead of just after it
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
    /// Start a server there, wait until it has recovered, and prove where it ended
    #[arg(long)]
    start: bool,
    /// Its port [default: one that is free]
    #[arg(long, value_name = "N", requires = "start", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
}

impl MomentArgs {
    pub(super) fn is_latest(&self) -> bool {
        self.latest
    }

    pub(super) fn is_time(&self) -> bool {
        self.point_in_time.is_some()
    }

    pub(super) fn is_given(&self) -> bool {
        self.latest
            || self.point_in_time.is_some()
            || self.to_lsn.is_some()
            || self.to_xid.is_some()
            || self.to_name.is_some()
    }

    /// An option that means nothing without a moment.
    pub(super) fn needs_moment(&self) -> Option<&'static str> {
        let given = [
            ("--exclusive", self.exclusive),
            ("--timeline", self.timeline.is_some()),
            ("--tablespace", !self.tablespace.is_empty()),
            ("--wal-directory", self.wal_directory.is_some()),
            ("--owner", self.owner.is_some()),
            ("--delta", self.delta),
            ("--start", self.start),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }

    /// The moment, where a time or the latest is asked for: what RDS can be told.
    pub(super) fn time_or_latest(
        &self,
    ) -> Result<Option<Option<chrono::DateTime<chrono::Utc>>>, CommandError> {
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

pub(super) async fn run(
    args: RestoreArgs,
    source: &SourceName,
    context: &Context,
) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    super::check_from(args.from.as_ref(), &policy)?;
    let identities = Identities::read(&args.identity).map_err(no_identity)?;
    let mut request = request(&args, source, context, &policy).await?;
    let (catalog, repositories) = context.recall(&policy).await;
    if let Some(catalog) = &catalog {
        let filter = Filter { source: Some(source.clone()), vanished: false };
        match catalog.backups(&filter).await {
            Ok(entries) => request.doubtful = super::doubtful(&entries),
            Err(error) => {
                context.output.warn(format!("going on without the catalog: {}", error_chain(&error)))
            }
        }
    }
    let repositories = match &args.from {
        Some(name) => repositories.only(name),
        None => repositories,
    };
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
    let situation = run.survey(&request).await.map_err(|error| refused(error, &request))?;
    let plan = plan(&request, situation, context.clock.now())
        .map_err(|refusals| refused(PhysicalRestoreError::Refused(refusals), &request))?;
    restore_physical::show_plan(&context.output, &plan, args.plan);
    if args.plan {
        return Ok(Exit::Done);
    }
    let backup = plan.backup.clone();
    let outcome = run.execute(plan).await;
    let (record, unrecorded) = run.conclude(begun, &backup, outcome.as_ref()).await;
    for lost in &unrecorded {
        warn_lost(context, lost);
    }
    if let Some(catalog) = catalog {
        if let Err(error) = catalog.record_run(&record).await {
            context.output.warn(error_chain(&error));
        }
        catalog.close().await;
    }
    match outcome {
        Ok(report) => {
            restore_physical::show_report(&context.output, &report);
            Ok(Exit::Done)
        }
        Err(failure) => Err(failed(failure)),
    }
}

async fn request(
    args: &RestoreArgs,
    source: &SourceName,
    context: &Context,
    policy: &Policy,
) -> Result<PhysicalRestoreRequest, CommandError> {
    let moment = &args.moment;
    let absolute = |path: &Path| {
        let path = expand_home(path).map_err(CommandError::usage)?;
        std::path::absolute(path).map_err(CommandError::usage)
    };
    let owner = match &moment.owner {
        Some(name) => {
            let unknown = || CommandError::usage(format!("there is no user `{name}` on this host"));
            Some(DirectoryOwner::find(name).await.ok_or_else(unknown)?)
        }
        None => None,
    };
    let tablespaces = moment.tablespace.iter().map(|text| mapping(text)).collect::<Result<_, _>>()?;
    Ok(PhysicalRestoreRequest {
        source: source.clone(),
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
        start: moment.start.then_some(Start { port: moment.port }),
        owner,
        delta: moment.delta,
        drop_leftovers: args.drop_leftovers,
        command: RestoreCommand {
            drctl: std::env::current_exe().map_err(|error| {
                CommandError::failed(error).context("failed to find this drctl's own path")
            })?,
            policy: absolute(&context.policy_path()?)?,
            identities: args.identity.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?,
            environment: environment(policy),
        },
        tools: logical::tools(source, policy),
    })
}

fn directories(policy: &Policy) -> Vec<(RepositoryName, PathBuf)> {
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

/// Variables that the stores' credentials are read from.
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

/// A recovery that was not begun.
fn refused(error: PhysicalRestoreError, request: &PhysicalRestoreRequest) -> CommandError {
    let (exit, hints) = match &error {
        PhysicalRestoreError::Refused(refusals) => (exit(refusals), hints(refusals, request)),
        PhysicalRestoreError::CannotDecrypt { .. } => (
            Exit::CannotDecrypt,
            BTreeSet::from([
                "Name the file that holds an identity with `--identity`; `drctl show` says whose recipients the backup has."
                    .to_owned(),
            ]),
        ),
        PhysicalRestoreError::Interrupted => (Exit::Interrupted, BTreeSet::new()),
        PhysicalRestoreError::NoLog(_) => {
            (Exit::Nothing, BTreeSet::from(["`drctl wal status` shows what log each repository has.".to_owned()]))
        }
        _ => (Exit::Failed, BTreeSet::new()),
    };
    hints.into_iter().fold(CommandError::new(exit, error), CommandError::hint)
}

fn exit(refusals: &[PhysicalRefusal]) -> Exit {
    let any = |class| refusals.iter().any(|refusal| refusal.class() == class);
    match () {
        () if any(PhysicalRefusalClass::Nothing) => Exit::Nothing,
        () if any(PhysicalRefusalClass::Usage) => Exit::Usage,
        () => Exit::Failed,
    }
}

fn hints(refusals: &[PhysicalRefusal], request: &PhysicalRestoreRequest) -> BTreeSet<String> {
    let mut hints = BTreeSet::new();
    for refusal in refusals {
        let words = match refusal {
            PhysicalRefusal::OnlyDumps { backup, .. } => format!(
                "drctl restore {} --backup {backup} --to NEW_DATABASE restores that dump; base backups and archived log (`methods = [\"base\", \"wal\"]`) lose less.",
                request.source
            ),
            PhysicalRefusal::NoBackup { .. } | PhysicalRefusal::UnknownBackup { .. } => {
                "`drctl list` shows what there is.".to_owned()
            }
            PhysicalRefusal::TooLate { .. } => "`--latest` restores as much as there is. Where the server still lives, `SELECT pg_switch_wal()` there has what it wrote last archived now.".to_owned(),
            PhysicalRefusal::TooEarly { .. } if matches!(request.target, RecoveryTarget::Transaction(_)) => "What had ended when a backup was complete is in it and no target; of a transaction that was open then, the backup has to say so, which those of a standby and of older versions do not. Give the time or the position of its commit in place of its number (`--point-in-time`, `--to-lsn`; `pg_waldump --rmgr=Transaction` has both), or an older backup (`--backup`).".to_owned(),
            PhysicalRefusal::TooEarly { .. } => "Choose a moment inside of one of these; an older dump may be nearer (`drctl list`).".to_owned(),
            PhysicalRefusal::Gap { .. } => {
                "Restore to a moment before the gap, or complete the repositories first (`drctl copies sync`, `drctl wal status`).".to_owned()
            }
            PhysicalRefusal::Forked { branches, .. } => {
                let furthest = branches.iter().max_by_key(|branch| branch.until).map(|branch| branch.timeline.to_string());
                format!("`--timeline {}` recovers the latest; the others are of servers that were restored or promoted, and archived to the same place.", furthest.unwrap_or_default())
            }
            PhysicalRefusal::TwoTimelines { child, other, .. } => format!(
                "`--timeline {other}` recovers what was committed there by then; `--timeline {child}`, the state that timeline {child} began with."
            ),
            PhysicalRefusal::NoRestorePoint { .. } => "`--point-in-time` and `--to-lsn` name a moment without one.".to_owned(),
            PhysicalRefusal::Unmappable { at, .. } => format!(
                "Recover to before it (`--to-lsn {at} --exclusive`), or begin from a base backup that was taken after it (`--backup`)."
            ),
            PhysicalRefusal::Unusable { .. } => "`--timeline` and `--backup` choose another way; `drctl wal status` shows the timelines.".to_owned(),
            PhysicalRefusal::PortTaken { .. } => "Without `--port` one that is free is chosen.".to_owned(),
            PhysicalRefusal::Runs { path, file } => format!(
                "Stop it first (`pg_ctl -D {} stop`). Only if you are sure that no server runs there, in no container either, remove {}.",
                path.display(),
                file.display()
            ),
            PhysicalRefusal::OtherCluster { .. } => "Name another directory; drctl never writes over another cluster's data.".to_owned(),
            PhysicalRefusal::AtWork { .. } => "Wait for it to end, or name another directory.".to_owned(),
            PhysicalRefusal::LeftOver { .. } => "`--drop-leftovers` removes it first.".to_owned(),
            PhysicalRefusal::NotEmpty(_) | PhysicalRefusal::Restored(_) | PhysicalRefusal::Overlaps { .. } | PhysicalRefusal::InRepository { .. } | PhysicalRefusal::NotADirectory { .. } => {
                "Name a directory that does not exist or is empty. Only `--delta` writes over something: the data of the same cluster, once its server is stopped.".to_owned()
            }
            PhysicalRefusal::UnknownTablespace { .. } => "Without `--tablespace` they go beside the directory.".to_owned(),
            PhysicalRefusal::NoServer { major, .. } => format!("`apt-get install postgresql-{major}`, or restore without `--start` and start it elsewhere."),
            PhysicalRefusal::RootOwns => "Say `--owner postgres`, or run drctl as that user.".to_owned(),
            PhysicalRefusal::Unreadable { user, .. } => format!("Give {user} a copy of a key that only {user} can read (`install -o {user} -m 600`), or run drctl as {user}."),
            PhysicalRefusal::NoCombine { full, major, .. } => format!("`apt-get install postgresql-{major} postgresql-client-{major}`, or name the directory of the programs as `tools` in the policy. `--backup {full}` does without them, over more log."),
            _ => continue,
        };
        hints.insert(words);
    }
    hints
}

/// A recovery that was begun and given up.
fn failed(failure: PhysicalRestoreFailure) -> CommandError {
    let exit = if failure.source.is_interruption() { Exit::Interrupted } else { Exit::Failed };
    let hint = match &failure.aftermath {
        DirectoryCleanup::Restored { to, server } => Some(match server {
            ServerState::NotStarted => format!("RECOVER-BY-HAND.txt in {} says how to go on.", to.display()),
            ServerState::Stopped => {
                format!(
                    "Its log is in {}. The same command resumes there: the files are not fetched again.",
                    to.display()
                )
            }
            ServerState::MayRun(_) => format!(
                "Stop it before anyone works with it: `pg_ctl stop -D {} -m immediate`.",
                to.display()
            ),
        }),
        DirectoryCleanup::Left { .. } => {
            Some("`--drop-leftovers` removes it before the next try.".to_owned())
        }
        DirectoryCleanup::HalfChanged { .. }
        | DirectoryCleanup::Removed { .. }
        | DirectoryCleanup::Untouched { .. } => None,
    };
    // What is damaged is damaged the next time, too.
    let elsewhere = matches!(failure.source, PhysicalRestoreError::Fetch { .. } | PhysicalRestoreError::Unpack { .. })
        .then(|| "Another base backup from before the moment leads there too, over more log: `drctl list`, then `--backup ID`. `drctl verify` says which are whole.".to_owned());
    hint.into_iter().chain(elsewhere).fold(CommandError::new(exit, failure), CommandError::hint)
}
