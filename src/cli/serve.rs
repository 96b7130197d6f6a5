use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::Context;
use super::error::CommandError;
use super::exit::Exit;
use super::path_arg;
use super::policy_files::{AT_ONCE, file_name, policy_files, watch};
use super::rto_forecast::DrillRecords;
use crate::monitor::Watched;
use crate::serve::{AllowedHosts, Collect, Site, refresh, serve};
use crate::text::{count, format_duration};

/// So many refreshes may be missed before what is shown counts as stale.
const MISSED: u32 = 5;

/// Show the status page and the metrics over HTTP
///
/// `/` is the status page, `/metrics` is for Prometheus, `/healthz` answers while the server runs. It reads and changes
/// nothing, and shows no secret; anyone who reaches it sees the names of systems and their state.
#[derive(Debug, clap::Args)]
#[command(after_help = super::exit::HELP)]
pub struct ServeArgs {
    /// Policies, and directories of policies [default: the policy, or the directory, of `--policy`]
    #[arg(value_name = "POLICY", value_parser = path_arg::path())]
    policies: Vec<PathBuf>,
    /// The address to listen to
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9187")]
    listen: SocketAddr,
    /// A name by which requests may call the server, beside its addresses and, on a loopback address, `localhost`; may be
    /// repeated
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// How often the repositories are queried
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    every: Duration,
}

pub(super) async fn run(args: ServeArgs, context: &Context) -> Result<Exit, CommandError> {
    if args.every < Duration::from_secs(1) {
        return Err(CommandError::usage("`--every` is at least 1s"));
    }
    let paths = policy_files(&args.policies, context)?;
    let hosts = AllowedHosts::new(args.listen, &args.allow_host).map_err(CommandError::usage)?;
    let listening = TcpListener::bind(args.listen).await.and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    let (listener, address) = listening.map_err(|error| {
        CommandError::failed(error)
            .context(format!("failed to listen to {}", args.listen))
            .hint("Does another program use the port? `--listen` names another address.")
    })?;
    if !address.ip().is_loopback() {
        context.output.warn(format!(
            "{address} is not a loopback address: anyone who reaches it sees the names of systems and their state"
        ));
    }
    context.output.note(format!(
        "serving {} at http://{address}/, queried every {}",
        count(paths.len() as u64, "system"),
        format_duration(args.every)
    ));
    let names: Vec<String> = paths.iter().map(|path| file_name(path)).collect();
    let site = Arc::new(Site::new(&names, hosts, args.every * MISSED, context.clock.clone()));
    let known = RefCell::new(vec![DrillRecords::default(); paths.len()]);
    let collector = Collector { paths: &paths, context, known };
    tokio::select! {
        ended = serve(listener, Arc::clone(&site), context.cancel.clone()) => ended
            .map_err(|error| CommandError::failed(error).context("failed to serve"))?,
        () = refresh(&site, paths.len(), args.every, AT_ONCE, &collector) => {}
    }
    // It is asked to end by a signal: that is how it ends well.
    Ok(Exit::Done)
}

struct Collector<'a> {
    paths: &'a [PathBuf],
    context: &'a Context,
    /// The records of drills of each policy's system, which do not change.
    known: RefCell<Vec<DrillRecords>>,
}

impl Collect for Collector<'_> {
    async fn collect(&self, position: usize) -> Watched {
        let Some(path) = self.paths.get(position) else {
            return Watched { name: String::new(), snapshot: None, failed: None };
        };
        let known = self.known.borrow().get(position).cloned().unwrap_or_default();
        let (watched, records) = watch(path, false, known, self.context).await;
        if let Some(known) = self.known.borrow_mut().get_mut(position) {
            *known = records;
        }
        watched
    }
}
