//! Arguments, one file per verb, output, error → exit code and hint; the only module that prints or exits,
//! and the only one that knows the store implementation for each location of a policy.
//!
//! *Invariants.* Results go to stdout, everything else (progress, events, errors) to stderr. With `--output
//! json` stdout has one versioned document, or one JSON object per line for long runs, and a failure is such
//! a line, too. Every failure has an exit code from [`exit::Exit`] and a hint what to do next.
//!
//! *Not here.* Decisions: a verb parses, calls one use case, and shows the result.

mod args;
mod backup;
mod catalog;
mod catalog_view;
mod context;
mod copies;
mod demo;
mod dispatch;
mod doctor;
mod drill;
pub mod error;
pub mod exit;
mod fleet;
mod generate;
mod global;
mod hints;
mod hold;
mod iam;
mod init;
mod journal;
mod keys;
mod keys_check;
mod list;
mod metrics;
mod notify;
pub mod output;
mod path_arg;
mod points;
mod policy;
mod policy_files;
mod progress;
mod rds;
mod recovery;
mod render;
mod repository;
mod restore;
mod retention;
mod rto_forecast;
mod run_due;
mod runbook;
mod schedule;
mod serve;
mod show;
mod status;
mod status_unknown;
mod style;
mod system_status;
mod table;
mod undelete;
mod usage;
mod verify;
mod wal;

use std::process::ExitCode;

pub use args::{Cli, Command};
pub use context::{Context, RefuseWords};
pub use global::{Format, Global};

/// Parses the command line, runs it, and returns its exit status.
pub fn run() -> ExitCode {
    let caller = exit::CallerTerminal::from_arguments(std::env::args_os());
    // The default exit status of a panic would mean the end of the WAL to PostgreSQL.
    std::panic::catch_unwind(|| run_for(caller)).unwrap_or_else(|_| ExitCode::from(caller.panic()))
}

fn run_for(caller: exit::CallerTerminal) -> ExitCode {
    let cli = match args::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return usage::refuse(error, std::env::args_os(), caller),
    };
    let output = output::Output::new(&cli.global);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            let error = error::CommandError::failed(source).context("failed to start the runtime");
            return output.fail(&error, caller.failure(error.exit));
        }
    };
    let exit = runtime.block_on(async {
        let context = Context::new(cli.global, output, args::refusal);
        match dispatch::dispatch(cli.command, &context).await {
            Ok(exit) => context.output.end(exit, caller),
            Err(error) => context.output.fail(&error, caller.failure(error.exit)),
        }
    });
    // A hanging blocking call must not delay the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    exit
}
