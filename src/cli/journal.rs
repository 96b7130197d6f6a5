use serde::Serialize;

use super::Context;
use super::catalog_view::warn_lost;
use super::error::CommandError;
use super::exit::{self, Exit};
use super::style;
use crate::drill::integrity::Damage;
use crate::text::{count, error_chain};
use crate::verify::journal::{JournalReport, read_copies, verify_journal};

/// How many records that a copy lacks are named.
const NAMED: usize = 5;

/// Verify the record of every run
#[derive(Debug, clap::Args)]
pub struct JournalArgs {
    #[command(subcommand)]
    command: JournalCommand,
}

#[derive(Debug, clap::Subcommand)]
enum JournalCommand {
    /// Walk the journal's chain in every repository, and report records that were changed, removed, reordered or forged
    ///
    /// Records of drills and of incidents are verified, too. The exit status is 1 where a record does not hold, 22 where
    /// one is passed over by the chain, and 3 where a repository lacks records or could not be read.
    #[command(after_help = exit::HELP)]
    Verify,
}

#[derive(Serialize)]
struct JournalDocument<'a> {
    #[serde(flatten)]
    report: &'a JournalReport,
    drills: &'a [Damage],
    incidents: &'a [String],
    unread: Vec<String>,
}

pub(super) async fn run(args: JournalArgs, context: &Context) -> Result<Exit, CommandError> {
    match args.command {
        JournalCommand::Verify => verify(context).await,
    }
}

async fn verify(context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let (catalog, repositories) = context.recall(&policy).await;
    let repositories = repositories.for_reading(&policy.system, None).await;
    // Before the records are read: one that is written meanwhile must not seem to have been removed.
    let mut known = Vec::new();
    if let Some(catalog) = catalog {
        let own = catalog.of_repository(repositories.id());
        match own.runs(None).await {
            Ok(runs) => known = runs,
            Err(error) => context
                .output
                .warn(format!("the newest record may have been removed unnoticed: {}", error_chain(&error))),
        }
        own.close().await;
    }
    let (copies, unread) = read_copies(&repositories, &policy.system).await;
    unread.iter().for_each(|lost| warn_lost(context, lost));
    let report = verify_journal(&copies, &known, unread.is_empty());
    let (drills, _) = super::drill::damage(context, policy.clone()).await;
    let incidents = super::runbook::incident_damage(context, policy).await;
    if context.output.is_json() {
        let unread = unread.iter().map(|lost| lost.name.to_string()).collect();
        let document = JournalDocument { report: &report, drills: &drills, incidents: &incidents, unread };
        context.output.document("journal", &document);
    } else {
        show(context, &report, copies.len());
    }
    let exit = match () {
        () if !report.faults.is_empty() || !drills.is_empty() || !incidents.is_empty() => Exit::Failed,
        () if !report.unlinked.is_empty() => Exit::Undetermined,
        () if !report.lacking.is_empty() || !unread.is_empty() => Exit::Partly,
        () => Exit::Done,
    };
    match exit {
        Exit::Failed => {
            context.output.reason("the journal is not what was written");
            context
                .output
                .note("hint: Compare the copies, and the versions of the bucket: who could write there?");
        }
        Exit::Undetermined => {
            context.output.reason("a record is passed over by the chain");
            context
                .output
                .note("hint: Was a repository away when it was written? If not, it was added later.");
        }
        Exit::Partly => {
            context.output.reason("not every repository has every record");
            context.output.note("hint: `drctl copies sync` completes the journal of a copy.");
        }
        _ => {}
    }
    Ok(exit)
}

fn show(context: &Context, report: &JournalReport, copies: usize) {
    let (good, bad, warn) = (style::GOOD, style::BAD, style::WARN);
    let output = &context.output;
    for fault in &report.faults {
        output.line(format!("{bad}broken{bad:#} {fault}"));
    }
    for unlinked in &report.unlinked {
        output.line(format!("{warn}unlinked{warn:#} {unlinked}"));
    }
    for (repository, run) in report.lacking.iter().take(NAMED) {
        output.line(format!("{warn}missing{warn:#} `{repository}` has no record of run {run}"));
    }
    if report.lacking.len() > NAMED {
        output.line(format!("… and {} more", report.lacking.len() - NAMED));
    }
    let records = count(report.records as u64, "record");
    let places = if copies == 1 { "1 repository".to_owned() } else { format!("{copies} repositories") };
    if copies == 0 {
        output.line("No journal could be read.");
        return;
    }
    match report.faults.is_empty() && report.unlinked.is_empty() {
        true => output.line(format!("{good}ok{good:#} {records} in {places}: each follows the one before")),
        false => output.line(format!("{records} in {places}")),
    }
}
