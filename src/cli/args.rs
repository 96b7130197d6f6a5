use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use super::exit;
use super::global::Global;

/// Backup and disaster recovery for an application and its PostgreSQL database.
#[derive(Debug, Parser)]
#[command(name = "drctl", version, about, after_help = exit::HELP, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    Init(Box<super::init::InitArgs>),
    Doctor(super::doctor::DoctorArgs),
    Backup(super::backup::BackupArgs),
    Restore(Box<super::restore::RestoreArgs>),
    Recovery(super::recovery::RecoveryArgs),
    List(super::list::ListArgs),
    Show(super::show::ShowArgs),
    Status(super::status::StatusArgs),
    Verify(super::verify::VerifyArgs),
    Copies(super::copies::CopiesArgs),
    Retention(super::retention::RetentionArgs),
    Hold(super::hold::HoldArgs),
    Journal(super::journal::JournalArgs),
    Drill(super::drill::DrillArgs),
    Runbook(super::runbook::RunbookArgs),
    Schedule(super::schedule::ScheduleArgs),
    RunDue(super::run_due::RunDueArgs),
    Fleet(super::fleet::FleetArgs),
    Metrics(super::metrics::MetricsArgs),
    Serve(super::serve::ServeArgs),
    Repository(super::repository::RepositoryArgs),
    Catalog(super::catalog::CatalogArgs),
    Policy(super::policy::PolicyArgs),
    Notify(super::notify::NotifyArgs),
    Keys(super::keys::KeysArgs),
    Iam(super::iam::IamArgs),
    Demo(super::demo::DemoArgs),
    Wal(super::wal::WalArgs),
    Rds(super::rds::RdsArgs),
    Generate(super::generate::GenerateArgs),
}

/// Reads a command line. A variable of the environment that is empty is one that is not set.
pub(super) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = without_empty_variables(Cli::command());
    let matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Returns why these words, which follow `drctl`, are no command line.
pub(super) fn refusal(words: &[String]) -> Option<String> {
    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
    let words = std::iter::once("drctl".into()).chain(words.iter().map(OsString::from));
    let error = parse(words).err()?;
    if matches!(error.kind(), DisplayHelp | DisplayVersion) {
        return None;
    }
    let text = error.to_string();
    let said = text.split("\n\n").next().unwrap_or_default();
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(line.trim_start_matches("error: ").to_owned())
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |arg: &clap::Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    let forget = |arg: clap::Arg| if is_empty(&arg) { arg.env(None::<&str>) } else { arg };
    command.mut_args(forget).mut_subcommands(without_empty_variables)
}
