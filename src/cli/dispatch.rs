use clap::{CommandFactory as _, Parser as _};

use super::Context;
use super::args::{Cli, Command};
use super::demo::RunCommand;
use super::error::CommandError;
use super::exit::Exit;

/// Runs the verb that was typed.
pub(super) async fn dispatch(command: Command, context: &Context) -> Result<Exit, CommandError> {
    if context.output.is_html() && !matches!(command, Command::Status(_)) {
        return Err(CommandError::usage("`--output html` is of `drctl status` alone").hint(
            "`drctl drill report --format html` and `drctl runbook report --html FILE` write other pages.",
        ));
    }
    match command {
        Command::Init(args) => super::init::run(*args, context).await,
        Command::Doctor(args) => super::doctor::run(args, context).await,
        Command::Backup(args) => super::backup::run(args, context).await,
        Command::Restore(args) => super::restore::run(*args, context).await,
        Command::Recovery(args) => super::recovery::run(args, context).await,
        Command::List(args) => super::list::run(args, context).await,
        Command::Show(args) => super::show::run(args, context).await,
        Command::Status(args) => super::status::run(args, context).await,
        Command::Verify(args) => super::verify::run(args, context).await,
        Command::Copies(args) => super::copies::run(args, context).await,
        Command::Retention(args) => super::retention::run(args, context).await,
        Command::Hold(args) => super::hold::run(args, context).await,
        Command::Journal(args) => super::journal::run(args, context).await,
        Command::Drill(args) => super::drill::run(args, context).await,
        Command::Runbook(args) => super::runbook::run(args, context).await,
        Command::Schedule(args) => super::schedule::run(args, context).await,
        Command::RunDue(args) => super::run_due::run(args, context, run_typed).await,
        Command::Fleet(args) => super::fleet::run(args, context).await,
        Command::Metrics(args) => super::metrics::run(args, context).await,
        Command::Serve(args) => super::serve::run(args, context).await,
        Command::Repository(args) => super::repository::run(args, context).await,
        Command::Catalog(args) => super::catalog::run(args, context).await,
        Command::Keys(args) => super::keys::run(&args, context).await,
        Command::Iam(args) => super::iam::run(&args, context),
        Command::Policy(args) => super::policy::run(args, context),
        Command::Notify(args) => super::notify::run(args, context).await,
        Command::Demo(args) => super::demo::run(args, context, run_typed).await,
        Command::Wal(args) => super::wal::run(args, context).await,
        Command::Rds(args) => super::rds::run(args, context).await,
        Command::Generate(args) => super::generate::run(&args, Cli::command(), context),
    }
}

/// Runs a command of the demo, or of the schedule, as if it had been typed.
fn run_typed<'a>(words: &[&str], context: &'a Context) -> RunCommand<'a> {
    let cli = Cli::try_parse_from(std::iter::once(&"drctl").chain(words));
    Box::pin(async move {
        let cli = cli.map_err(|error| CommandError::failed(error).context("drctl's own command is wrong"))?;
        dispatch(cli.command, context).await
    })
}
