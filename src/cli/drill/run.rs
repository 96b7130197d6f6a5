use super::drill_request::begin;
use super::run_args::RunArgs;
use super::{report, view};
use crate::cli::Context;
use crate::cli::catalog_view::warn_lost;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::hints;
use crate::cli::notify::{self, around_with};
use crate::cli::render::restore::show_plan;
use crate::drill::{self, Concluded, Scenario};
use crate::model::{BackupKind, Cause, Judgement};
use crate::notify::findings::{self, Findings};
use crate::policy::{Job, Policy};
use crate::restore::prepare;
use crate::restore::rds::RdsRestoreRequest;

/// What came of the drill of one policy.
pub(super) enum Ran {
    Planned,
    Concluded { concluded: Box<Concluded>, exit: Exit },
}

pub(super) async fn run(args: RunArgs, context: &Context) -> Result<Exit, CommandError> {
    match run_one(&args, &context.policy()?, context).await? {
        Ran::Planned => Ok(Exit::Done),
        Ran::Concluded { concluded, exit } => {
            if let Some(file) = args.report.as_ref().filter(|_| concluded.sha256.is_some()) {
                let written = report::write_drill(&concluded.record.identity.drill, file, context).await;
                return Ok(with_page(exit, written, context));
            }
            Ok(exit)
        }
    }
}

/// Runs the drill of one policy, shows what it found, and tells people.
pub(super) async fn run_one(args: &RunArgs, policy: &Policy, context: &Context) -> Result<Ran, CommandError> {
    if args.plan {
        return Ok(work(args, policy, context).await?.0);
    }
    around_with(Job::Drill, context, policy, work(args, policy, context)).await
}

async fn work(
    args: &RunArgs,
    policy: &Policy,
    context: &Context,
) -> Result<(Ran, notify::Concluded), CommandError> {
    let planned = || (Ran::Planned, notify::Concluded { exit: Exit::Done, findings: Findings::default() });
    let is_of_dump = args.backup.is_some() || args.kind == Some(BackupKind::Logical);
    if args.scenario == Scenario::PointInTime && is_of_dump {
        let message =
            "scenario `point-in-time` restores by base backup and WAL, and chooses the backup itself";
        return Err(CommandError::usage(message));
    }
    if args.plan && args.scenario == Scenario::AwsBackup {
        return Err(CommandError::usage("`--plan` does not show what AWS Backup would restore")
            .hint("`drctl restore SOURCE --to-resource KEY=VALUE --plan` does."));
    }
    let (run, request) = begin(args, policy, context).await?;
    if let Some(restore) = drill::rds_restore(&run, &request).filter(|_| args.plan) {
        let prepared = prepare(&run, &restore, &request.checks).await.map_err(|error| {
            let (exit, hints) = hints::of_refused::<RdsRestoreRequest>(&error);
            hints.into_iter().fold(CommandError::new(exit, error), CommandError::hint)
        })?;
        show_plan(&context.output, &prepared, true);
        run.close().await;
        return Ok(planned());
    }
    if args.plan {
        let preview = drill::preview(&run, &request).await;
        run.close().await;
        view::preview(context, &request, preview)?;
        return Ok(planned());
    }
    let concluded = drill::run(&run, &request, args.keep).await;
    run.close().await;
    let exit = show(context, &concluded);
    let findings = findings::drill(&concluded, context.cancel.is_cancelled());
    Ok((Ran::Concluded { concluded: Box::new(concluded), exit }, notify::Concluded { exit, findings }))
}

/// Shows what a drill found, and returns how the command ends.
fn show(context: &Context, concluded: &Concluded) -> Exit {
    let Concluded { record, verdict, sha256, unrecorded, not_recorded, kept } = concluded;
    let output = &context.output;
    if output.is_json() {
        output.document("drill", &serde_json::json!({ "sha256": sha256, "record": record }));
    } else {
        view::record(context, record, verdict, *sha256);
    }
    if let Some(kept) = kept {
        output.note(format!("kept: {kept}"));
        output.note(match record.identity.scenario.is_in_aws() {
            true if record.identity.scenario == Scenario::AwsBackup => {
                "hint: Delete it with AWS's own tools.".to_owned()
            }
            true => "hint: `drctl rds cleanup` deletes the instance when it has expired.".to_owned(),
            false => format!(
                "hint: Its server's user ends it with `pg_ctl stop -D {kept}/data`; then remove {kept}."
            ),
        });
    }
    unrecorded.iter().for_each(|lost| warn_lost(context, lost));
    if let Some(error) = not_recorded {
        output.reason(crate::text::error_chain(error));
        output.note("hint: This drill left no evidence, and proves nothing to others. Repeat it when a repository takes records.");
    }
    if !record.verdict.has_passed() {
        output.reason(&verdict.sentence);
    }
    exit(concluded, context.cancel.is_cancelled())
}

/// Returns how the command ends where a page was to be written: what drills found comes first.
pub(super) fn with_page(exit: Exit, written: Result<Exit, CommandError>, context: &Context) -> Exit {
    let Err(error) = written else { return exit };
    context.output.warn(error.to_string());
    context.output.reason(error.to_string());
    if exit == Exit::Done { Exit::Partly } else { exit }
}

fn exit(concluded: &Concluded, is_cancelled: bool) -> Exit {
    let Concluded { record, unrecorded, not_recorded, kept, .. } = concluded;
    match record.verdict.outcome {
        _ if is_cancelled => Exit::Interrupted,
        Judgement::Pass if not_recorded.is_some() || !unrecorded.is_empty() => Exit::Partly,
        Judgement::Pass if !record.cleanup.is_complete && kept.is_none() => Exit::Partly,
        Judgement::Pass => Exit::Done,
        Judgement::Fail if record.verdict.cause == Some(Cause::Objective) => Exit::ObjectiveMissed,
        Judgement::Fail => Exit::DrillFailed,
        Judgement::Undetermined => Exit::Undetermined,
    }
}
