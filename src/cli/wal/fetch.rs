use std::path::{Path, PathBuf};

use super::super::Context;
use super::super::context::no_identity;
use super::super::error::CommandError;
use super::super::exit::Exit;
use crate::model::{Lsn, RepositoryName, SourceName, SystemIdentifier, WalError, WalName};
use crate::pipeline::Identities;
use crate::postgres::system_identifier_in;
use crate::text::format_size;
use crate::wal::relay::{RelayRequest, fetch_by};
use crate::wal::{FetchError, Fetched, Fetcher};

const HELP: &str = "\
In postgresql.conf, for a recovery:
  restore_command = 'drctl wal fetch --identity /path/to/identity %f %p'

Exit status:
  0    the file was fetched, and is intact
  1    no repository has it: for PostgreSQL the end of the WAL
  200  anything else: PostgreSQL stops, instead of taking it for the end
An unavailable repository may have the file. To recover without it, name those to use with `--from`.";

/// Fetch a WAL file, as restore_command
#[derive(Debug, clap::Args)]
#[command(after_help = HELP, override_usage = "drctl wal fetch [OPTIONS] [SOURCE] %f %p")]
pub(super) struct FetchArgs {
    /// The source (where the policy archives more than one), the file's name as PostgreSQL's %f, and its target
    /// path, as %p
    #[arg(value_names = ["SOURCE", "%f", "%p"], num_args = 2..=3, required = true)]
    words: Vec<String>,
    /// A file with an age identity that opens the WAL; may be given more than once
    #[arg(long, short, value_name = "FILE", env = "DRCTL_IDENTITY", value_parser = crate::cli::path_arg::path())]
    identity: Vec<PathBuf>,
    /// Use this repository only; may be given more than once, in order
    #[arg(long, value_name = "REPOSITORY")]
    from: Vec<RepositoryName>,
    /// Treat everything from this LSN on as absent, so that a recovery ends there
    #[arg(long, value_name = "LSN")]
    until: Option<Lsn>,
    /// The LSNs of records that create tablespaces, separated by commas, or `none`: these are created where the
    /// data directory has a link for them, instead of at the path in the record; a segment with any other is
    /// rejected. `drctl restore` sets it, since recovery would write to the live server's directories
    #[arg(long, value_name = "LSN,…|none", value_parser = positions)]
    mapped_tablespaces: Option<Positions>,
    /// Fetch from the process that listens at this socket, for a server without a network
    #[arg(long, value_name = "SOCKET", hide = true)]
    relay: Option<PathBuf>,
    /// The system identifier of the WAL [default: that of the data directory this is run in]
    #[arg(long, value_name = "NUMBER")]
    system_identifier: Option<SystemIdentifier>,
}

#[derive(Clone, Debug)]
struct Positions(Vec<Lsn>);

fn positions(text: &str) -> Result<Positions, WalError> {
    if text == "none" {
        return Ok(Positions(vec![]));
    }
    text.split(',').map(str::parse).collect::<Result<_, _>>().map(Positions)
}

pub(super) async fn run(args: FetchArgs, context: &Context) -> Result<Exit, CommandError> {
    let (source, name, target) = match &*args.words {
        [source, name, target] => (Some(source), name, target),
        [name, target] => (None, name, target),
        _ => return Err(CommandError::usage("a file name and a target path are required")),
    };
    let source: Option<SourceName> =
        source.map(|name| name.parse()).transpose().map_err(CommandError::usage)?;
    let name: WalName = name.parse().map_err(CommandError::usage)?;
    let target = Path::new(target);
    if let Some(relay) = &args.relay {
        return relayed(relay, &args, name, target).await;
    }
    let policy = context.policy()?;
    let (source, archiving) = super::archived(&policy, source.as_ref())?;
    let identities = Identities::read(&args.identity).map_err(no_identity)?;
    let mut configs = Vec::new();
    for name in &args.from {
        let config = policy.repository(name);
        configs.push(
            config.ok_or_else(|| CommandError::usage(format!("the policy has no repository `{name}`")))?,
        );
    }
    let mut asked = policy.clone();
    if !configs.is_empty() {
        asked.repositories = configs.into_iter().cloned().collect();
    }
    let fetcher = Fetcher {
        system: policy.system.clone(),
        source: source.clone(),
        repositories: context.repositories_with(&asked, super::patience()).await,
        identities,
        until: args.until,
        mapped_tablespaces: args.mapped_tablespaces.map(|positions| positions.0),
        prefetch: archiving.prefetch,
        parallel: archiving.parallel,
        cancel: context.cancel.clone(),
    };
    let cluster = args.system_identifier.or_else(|| of_data_directory(target));
    match fetcher.fetch(cluster, name, target).await {
        Ok(fetched) => Ok(told(context, name, &fetched)),
        Err(error) => Err(failed(error)),
    }
}

/// Fetches by another process.
async fn relayed(relay: &Path, args: &FetchArgs, name: WalName, target: &Path) -> Result<Exit, CommandError> {
    let request = RelayRequest {
        file: name.to_string(),
        cluster: args.system_identifier.or_else(|| of_data_directory(target)),
        from: args.from.clone(),
        until: args.until,
        mapped_tablespaces: args.mapped_tablespaces.as_ref().map(|positions| positions.0.clone()),
    };
    match fetch_by(relay, &request, target).await {
        Ok(true) => Ok(Exit::Done),
        Ok(false) => Ok(Exit::Failed),
        Err(error) => Err(CommandError::failed(error)),
    }
}

/// Returns the system identifier of the data directory, in which PostgreSQL runs the command.
fn of_data_directory(target: &Path) -> Option<SystemIdentifier> {
    let above = target.parent().and_then(Path::parent).filter(|above| !above.as_os_str().is_empty());
    system_identifier_in(above.unwrap_or(Path::new("."))).ok()
}

fn told(context: &Context, name: WalName, fetched: &Fetched) -> Exit {
    match fetched {
        Fetched::Placed { passed, .. } => {
            for (name, lost) in passed {
                context.output.warn(format!(
                    "failed to fetch `{name}` from `{}`: {}",
                    lost.name,
                    lost.reason()
                ));
            }
            Exit::Done
        }
        Fetched::Partly { from, bytes } => {
            context.output.note(format!(
                "`{name}` was never completed; `{from}` has its first {}",
                format_size((*bytes).into())
            ));
            Exit::Done
        }
        // PostgreSQL regularly requests files that do not exist: this is not reported.
        Fetched::Absent => Exit::Failed,
    }
}

fn failed(error: FetchError) -> CommandError {
    match error {
        FetchError::Interrupted => CommandError::new(Exit::Interrupted, error),
        FetchError::Gap { .. } => CommandError::failed(error)
            .hint("Does another repository have it? `drctl wal status` shows what each has, and `drctl copies sync` completes them.")
            .hint("To recover up to the gap, set a recovery target before it."),
        FetchError::Unconfined { .. } => CommandError::failed(error)
            .hint("Run the same `drctl restore` again: its plan then has the tablespace, and the recovery resumes. Nothing was written there."),
        FetchError::Unfetched { .. } => CommandError::failed(error)
            .hint("To recover without a repository that is unavailable, name the others with `--from`."),
        error => CommandError::failed(error),
    }
}
