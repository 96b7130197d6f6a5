use serde::Serialize;

use super::super::Context;
use super::super::catalog_view::warn_lost;
use super::super::error::CommandError;
use super::super::exit::Exit;
use super::super::output::Output;
use super::super::style;
use crate::model::{Outcome, RunId, SourceName};
use crate::platform::{host_name, seed};
use crate::policy::Source;
use crate::rds_admin::promote::{
    CompletedStep, PromoteError, PromoteRefusal, PromoteRequest, Promoter, Promotion, PromotionSurvey, plan,
};
use crate::repository::journal::{Detail, JournalRecord};
use crate::repository::run_record;
use crate::text::approximate_duration;
use crate::text::{bullet_list, error_chain};

const NOT_READY: &str = "Correct the source's `url` and `password`, have AWS let this role read the secret (`drctl iam show break-glass` prints what it needs), or run it where the database can be reached; then promote again.";

/// Promote a restored instance or cluster to production
///
/// Shows the steps, and executes them only with `--apply`: writers are stopped, the old one is renamed and kept, the
/// restored one takes its name, drctl logs in, and applications continue. The instances of an Aurora cluster
/// take the names of those that they replace. The same command resumes where an earlier one ended.
#[derive(Debug, clap::Args)]
#[command(after_help = super::super::exit::HELP)]
pub(super) struct PromoteArgs {
    /// The source whose database is replaced
    source: SourceName,
    /// The restored instance or cluster
    instance: String,
    /// Its region [default: the source's own region]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The new name of the old one [default: its name and `-old`]
    #[arg(long, value_name = "IDENTIFIER")]
    put_aside_as: Option<String>,
    /// Confirm that nothing writes to the old one any more
    #[arg(long)]
    writers_stopped: bool,
    /// Promote it although checks of its data failed when it was restored
    #[arg(long)]
    ignore_failed_checks: bool,
    /// Do it
    #[arg(long)]
    apply: bool,
}

#[derive(Serialize)]
struct PromotionDocument<'a> {
    #[serde(flatten)]
    plan: &'a Promotion,
    applied: bool,
    done: &'a [CompletedStep],
}

pub(super) async fn run(args: PromoteArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let Some(rds) = policy.source(&args.source).and_then(Source::rds) else {
        let words = format!("the policy has no source `{}` of kind `rds`", args.source);
        return Err(CommandError::usage(words).hint("`drctl policy show` lists the sources."));
    };
    let name = rds.database.identifier();
    let request = PromoteRequest {
        system: policy.system.clone(),
        source: args.source.clone(),
        config: rds.clone(),
        region: args.region.unwrap_or_else(|| rds.place.region.clone()),
        instance: args.instance.to_ascii_lowercase(),
        put_aside_as: args.put_aside_as.unwrap_or_else(|| format!("{name}-old")).to_ascii_lowercase(),
        writers_stopped: args.writers_stopped,
        ignore_failed_checks: args.ignore_failed_checks,
    };
    let events = context.output.events();
    let promoter =
        Promoter::connect(&request, &events, &context.cancel).await.map_err(CommandError::failed)?;
    let facts: PromotionSurvey = promoter.look().await.map_err(CommandError::failed)?;
    let plan = plan(&request, &facts).map_err(refused)?;
    show_plan(&context.output, &plan, args.apply);
    let ready = promoter.ready(&facts, &plan).await;
    if !args.apply {
        if let Err(error) = ready {
            context.output.warn(error_chain(&error));
        }
        if context.output.is_json() {
            let document = PromotionDocument { plan: &plan, applied: false, done: &[] };
            context.output.document("promotion", &document);
        }
        return Ok(Exit::Done);
    }
    ready.map_err(|error| CommandError::failed(error).hint(NOT_READY))?;
    let begun = context.clock.now();
    let mut done: Vec<CompletedStep> = Vec::new();
    let outcome = promoter
        .execute(&plan, |step| {
            show_done(&context.output, step);
            done.push(step.clone());
        })
        .await;
    let times = (begun, context.clock.now());
    record(context, &policy, times, &done, outcome.as_ref().err()).await;
    outcome.map_err(|error| {
        let exit = if context.cancel.is_cancelled() { Exit::Interrupted } else { Exit::Failed };
        CommandError::new(exit, error)
    })?;
    if context.output.is_json() {
        context.output.document("promotion", &PromotionDocument { plan: &plan, applied: true, done: &done });
    } else {
        let good = style::GOOD;
        context.output.line(format!("{good}promoted{good:#} `{}` to `{}`", plan.instance, plan.name));
        plan.notes.iter().for_each(|note| context.output.note(format!("note: {note}")));
        if !plan.logs_in() {
            context.output.note("note: login not verified");
        }
    }
    // As for a restore: it was not verified to be usable.
    Ok(if plan.logs_in() { Exit::Done } else { Exit::Undetermined })
}

fn show_plan(output: &Output, plan: &Promotion, applies: bool) {
    if output.is_json() {
        return;
    }
    let mut lines = vec![format!("`{}` in {} is to replace `{}`:", plan.instance, plan.region, plan.name)];
    if plan.resumed {
        lines.push("  resuming an earlier run".to_owned());
    }
    lines.extend(plan.steps.iter().enumerate().map(|(n, step)| format!("{:>4}. {}", n + 1, step.told())));
    if !plan.logs_in() {
        lines.push("  login not verified: the policy has no `url` for the source".to_owned());
    }
    if !applies {
        lines.extend(plan.notes.iter().map(|note| format!("  {note}")));
    }
    for line in lines {
        if applies { output.note(line) } else { output.line(line) }
    }
    if !applies {
        output.note("hint: nothing was changed; `--apply` does it.");
    }
}

fn show_done(output: &Output, done: &CompletedStep) {
    if output.is_json() {
        return;
    }
    let took = approximate_duration(std::time::Duration::try_from_secs_f64(done.seconds).unwrap_or_default());
    output.line(format!("{}done{:#} {} ({took})", style::GOOD, style::GOOD, done.step.told()));
    if let Some(server) = &done.server {
        output.line(format!("     PostgreSQL {}, {} tables", server.version, server.tables));
    }
}

/// Writes the record. The role that promotes may have read access only; a failure is reported without
/// consequences.
async fn record(
    context: &Context,
    policy: &crate::policy::Policy,
    times: (chrono::DateTime<chrono::Utc>, chrono::DateTime<chrono::Utc>),
    done: &[CompletedStep],
    failed: Option<&PromoteError>,
) {
    let outcome = match failed {
        None => Outcome::Succeeded,
        Some(_) if context.cancel.is_cancelled() => Outcome::Interrupted,
        Some(_) => Outcome::Failed,
    };
    let detail = Detail {
        phases: done.iter().map(|done| (done.step.told(), done.seconds)).collect(),
        reasons: failed.map(|error| error_chain(error)).into_iter().collect(),
        ..Detail::default()
    };
    let run = RunId::new(times.0, seed());
    let record = JournalRecord::new(&run, "promote", times, &host_name(), outcome, detail);
    let (catalog, repositories) = context.recall(policy).await;
    let repositories = repositories.for_reading(&policy.system, None).await;
    match run_record::append(&repositories, &policy.system, record.clone()).await {
        Ok(lost) => lost.iter().for_each(|lost| warn_lost(context, lost)),
        Err(error) => context.output.warn(error_chain(&error)),
    }
    if let Some(catalog) = catalog {
        if let Err(error) = catalog.record_run(&record).await {
            context.output.warn(error_chain(&error));
        }
        catalog.close().await;
    }
}

fn refused(refusals: Vec<PromoteRefusal>) -> CommandError {
    let words = format!("rejected, and nothing was changed: {}", bullet_list(&refusals));
    let mut hints: Vec<_> = refusals.iter().map(PromoteRefusal::hint).collect();
    hints.dedup();
    hints.into_iter().fold(CommandError::new(Exit::Failed, words), |error, hint| error.hint(hint))
}
