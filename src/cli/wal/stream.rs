use std::time::Duration;

use super::super::Context;
use super::super::error::CommandError;
use super::super::exit::Exit;
use crate::model::SourceName;
use crate::platform::{CancellationToken, state_directory};
use crate::policy::{RuleTerms, Source, WalMethod};
use crate::postgres::ConnectionParameters;
use crate::wal::stream::{StreamError, WalStream};

const HELP: &str = "\
Runs until it is terminated (SIGTERM), and reconnects after failures of the server and the repositories. Let the
system's supervisor start and restart it. WAL that was received and is not archived yet is in the state
directory, which has to be persistent.

Exit status:
  0    it was terminated
  1    failed
  2    the command line or the policy is wrong";

/// Stream WAL from a server, and archive it within seconds
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct StreamArgs {
    /// The source, where the policy archives more than one
    source: Option<SourceName>,
    /// Seconds between uploads of a partial segment
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
}

pub(super) async fn run(args: StreamArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let (source, archiving) = super::archived(&policy, args.source.as_ref())?;
    let WalMethod::Stream { slot } = &archiving.method else {
        let words = format!("the WAL of {source} is archived by archive_command, not streamed");
        return Err(CommandError::usage(words)
            .hint(format!("Set `method = \"stream\"` in `[sources.{source}.wal]` to stream it.")));
    };
    let Some(postgres) = policy.source(source).and_then(Source::postgres) else {
        return Err(CommandError::usage(format!("{source} is not PostgreSQL")));
    };
    // The last received WAL is still archived after the end was requested.
    let pusher = super::pusher(context, &policy, source, archiving, CancellationToken::new()).await?;
    let directory = state_directory().join("stream").join(policy.system.as_str()).join(source.as_str());
    let directory = std::path::absolute(directory).map_err(CommandError::failed)?;
    let stream = WalStream {
        parameters: ConnectionParameters::resolve(postgres).await.map_err(CommandError::failed)?,
        tools: postgres.tools.clone(),
        slot: slot.clone(),
        directory,
        pusher,
        repositories: policy.repositories.clone(),
        terms: RuleTerms::new(&policy, source),
        every: Duration::from_secs(args.every),
        events: context.output.events(),
    };
    match stream.run(&context.cancel).await {
        Ok(()) => Ok(Exit::Done),
        Err(error @ StreamError::OtherCluster { .. }) => Err(CommandError::failed(error)
            .hint("Archive or move its contents first: they are from a previous cluster.")),
        Err(error) => Err(CommandError::failed(error)),
    }
}
