use super::Context;
use super::catalog_view::hint_lost;
use super::error::CommandError;
use super::exit::Exit;
use super::notify::{Concluded, around, newest_data};
use super::style;
use crate::backup::{
    self, BackupContext, BackupError, BackupPlan, BackupPreview, BackupReport, BackupStep, SourceOutcome,
    SourcePreview,
};
use crate::model::{BackupKind, Outcome, SourceName};
use crate::notify::findings::{self, Findings, Occasion};
use crate::platform::state_directory;
use crate::policy::{Job, Policy};
use crate::repository::MarkerError;
use crate::source::incremental::{Extent, INCREMENTAL_KINDS};
use crate::text::{approximate_duration, count, format_duration, format_size, format_time, quoted_list};

/// Back up every source of the policy, or those named
#[derive(Debug, clap::Args)]
#[command(after_help = super::exit::HELP)]
pub struct BackupArgs {
    /// Sources of the policy [default: all]
    #[arg(value_name = "SOURCE")]
    sources: Vec<SourceName>,
    /// The sources of the policy's recovery point, as one. That is what they are taken as without this, too, where all of
    /// them are taken; with it, `--kind` only says which of several methods of a source
    #[arg(long, conflicts_with = "sources")]
    point: bool,
    /// Of this kind only [default: each that the policy asks for]
    #[arg(long, value_name = "KIND", value_parser = BackupKind::ALL.map(BackupKind::as_str))]
    kind: Option<String>,
    /// Full ones only, of the sources that have incremental ones: base backups, files, Git and buckets
    #[arg(long, conflicts_with = "kind")]
    full: bool,
    /// Incremental ones only, of base backups, files, Git and buckets: nothing where that cannot be done
    #[arg(long, conflicts_with_all = ["kind", "full"])]
    incremental: bool,
    /// Where a source's server is another cluster than the one in its earlier backups, as after it was re-initialised or
    /// upgraded: back it up in that one's place
    #[arg(long)]
    accept_new_cluster: bool,
    /// Show what would be taken and why, and take nothing
    #[arg(long)]
    plan: bool,
}

pub(super) async fn run(args: BackupArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    if args.plan {
        return Ok(work(args, context, &policy).await?.exit);
    }
    around(Job::Backup, context, &policy, work(args, context, &policy)).await
}

async fn work(args: BackupArgs, context: &Context, policy: &Policy) -> Result<Concluded, CommandError> {
    let of_word = |word: &str| BackupKind::ALL.into_iter().find(|kind| kind.as_str() == word);
    let kind = args.kind.as_deref().and_then(of_word);
    let (kind, extent) = match (args.full, args.incremental) {
        (true, _) => (INCREMENTAL_KINDS.to_vec(), Extent::Full),
        (_, true) => (INCREMENTAL_KINDS.to_vec(), Extent::Incremental),
        _ => (kind.into_iter().collect(), Extent::AsDue),
    };
    let (now, seed) = (context.clock.now(), crate::platform::seed());
    let plan = match args.point {
        true => backup::plan_point(policy, &kind, now, seed),
        false => backup::plan(policy, &args.sources, &kind, now, seed),
    };
    let plan =
        plan.map_err(|error| CommandError::usage(error).hint("`drctl policy show` lists the sources."))?;
    let plan = BackupPlan { extent, accepts_new_cluster: args.accept_new_cluster, ..plan };
    let (catalog, repositories) = context.recall(policy).await;
    let events = context.output.events();
    let work = BackupContext {
        policy,
        repositories,
        catalog: catalog.as_ref(),
        state: state_directory(),
        clock: context.clock.clone(),
        events: &events,
        cancel: &context.cancel,
    };
    let concluded = if args.plan {
        backup::preview(plan, work).await.map(|preview| {
            show_preview(&preview, context);
            Concluded { exit: exit_of_preview(&preview), findings: Findings::default() }
        })
    } else {
        match backup::execute(plan, work).await {
            Ok(report) => {
                show(&report, context);
                reasons(&report).iter().for_each(|reason| context.output.reason(reason));
                let occasion = Occasion { policy, run: &report.run, now: context.clock.now() };
                let newest = newest_data(catalog.as_ref()).await;
                let findings = findings::backup(&report, &newest, occasion);
                Ok(Concluded { exit: exit(&report), findings })
            }
            Err(error) => Err(error),
        }
    };
    let concluded = concluded.map_err(|error| refused(error, context))?;
    if let Some(catalog) = catalog {
        catalog.close().await;
    }
    Ok(concluded)
}

fn exit_of_preview(preview: &BackupPreview) -> Exit {
    let rejected = preview.sources.iter().filter(|source| source.rejected.is_some()).count();
    match rejected {
        0 => Exit::Done,
        _ if rejected == preview.sources.len() => Exit::Failed,
        _ => Exit::Partly,
    }
}

fn show_preview(preview: &BackupPreview, context: &Context) {
    let output = &context.output;
    preview.lost.iter().for_each(|lost| hint_lost(context, lost));
    if output.is_json() {
        output.document("backup-plan", preview);
    } else {
        if let Some(members) = &preview.point {
            output.line(format!("as one recovery point: {}", quoted_list(members)));
        }
        for source in &preview.sources {
            let subject = subject(source);
            for step in &source.steps {
                output.line(format!("{subject}: {}", describe_step(step, source.kind)));
            }
            if source.rejected.is_some() {
                output.line(format!("{subject}: {}nothing{:#}", style::BAD, style::BAD));
            }
        }
    }
    for source in &preview.sources {
        if let Some(reason) = &source.rejected {
            output.reason(format!("{} would fail: {reason}", subject(source)));
        }
    }
}

/// Returns the source, with the kind of backup where that is not a dump.
fn subject(source: &SourcePreview) -> String {
    match source.kind {
        Some(BackupKind::Logical) | None => source.source.to_string(),
        Some(kind) => format!("{} ({kind})", source.source),
    }
}

fn describe_step(step: &BackupStep, kind: Option<BackupKind>) -> String {
    match step {
        BackupStep::Resume { backup } => format!("resume {backup}, which an interrupted run began"),
        BackupStep::NothingDue { rpo } => {
            format!("nothing newer, because that is inside of the RPO of {}", format_duration(*rpo))
        }
        BackupStep::New => format!("new {} backup", kind.map(|kind| kind.to_string()).unwrap_or_default()),
        BackupStep::Full { because: None } => "full, as asked".to_owned(),
        BackupStep::Full { because: Some(why) } => format!("full, because {why}"),
        BackupStep::Incremental { since, because: None } => format!("incremental, since {since}"),
        BackupStep::Incremental { since, because: Some(why) } => {
            format!("incremental, since {since}, because {why}")
        }
    }
}

fn refused(error: BackupError, context: &Context) -> CommandError {
    if let BackupError::Repositories(MarkerError::NoneReachable(lost) | MarkerError::PrimaryNeeded(lost)) =
        &error
    {
        lost.iter().for_each(|lost| hint_lost(context, lost));
    }
    let hint = match &error {
        BackupError::Clock { .. } => {
            "Set the clock (run an NTP client), then try again. Nothing was written.".to_owned()
        }
        BackupError::Repositories(MarkerError::OtherSystem { .. } | MarkerError::OtherRepository { .. }) => {
            "Give each system a bucket or prefix of its own in the policy. Nothing was written.".to_owned()
        }
        BackupError::Repositories(MarkerError::Format { .. }) => {
            "Use the version of drctl that wrote it, or a newer one. Nothing was written.".to_owned()
        }
        BackupError::Repositories(_) => "`drctl doctor` looks into each repository.".to_owned(),
        BackupError::Recipe(_) => "`drctl policy check` looks into the policy.".to_owned(),
    };
    CommandError::failed(error).hint(hint)
}

/// Returns the exit status: no backup stored is a failure, some of them a partial result.
fn exit(report: &BackupReport) -> Exit {
    if report.still_paused().is_some() {
        return Exit::Failed;
    }
    let busy = |outcome: &SourceOutcome| matches!(outcome, SourceOutcome::Busy { .. });
    match report.outcome {
        Outcome::Succeeded => Exit::Done,
        Outcome::Degraded => Exit::Partly,
        Outcome::Interrupted => Exit::Interrupted,
        Outcome::Failed if report.sources.iter().all(|source| busy(&source.outcome)) => Exit::LeaseHeld,
        Outcome::Failed => Exit::Failed,
    }
}

/// Returns why the run was not a success, a line for each source.
fn reasons(report: &BackupReport) -> Vec<String> {
    let sources = report.sources.iter().filter(|source| !source.outcome.reasons().is_empty());
    let sources = sources.map(|source| {
        let word = match &source.outcome {
            SourceOutcome::Stored { .. } => "was stored, and not as it should be",
            SourceOutcome::Busy { .. } => "was not backed up",
            SourceOutcome::Failed { .. } => "failed",
            SourceOutcome::Interrupted => return format!("{} was interrupted", source.subject()),
        };
        format!("{} {word}: {}", source.subject(), source.outcome.reasons().join("\n"))
    });
    report.reasons().into_iter().chain(sources).collect()
}

fn show(report: &BackupReport, context: &Context) {
    let output = &context.output;
    report.lost.iter().for_each(|lost| hint_lost(context, lost));
    if output.is_json() {
        return output.document("backup", report);
    }
    for source in &report.sources {
        match &source.outcome {
            SourceOutcome::Stored {
                backup,
                parent,
                recovery_point,
                read_from,
                plain_bytes,
                stored_bytes,
                seconds,
                repositories,
                ..
            } => {
                let took = approximate_duration(std::time::Duration::from_secs_f64(*seconds));
                let held =
                    count(repositories.len() as u64, "repository").replace("repositorys", "repositories");
                let (word, style) = if source.outcome.reasons().is_empty() {
                    ("stored", style::GOOD)
                } else {
                    ("degraded", style::WARN)
                };
                output.line(format!(
                    "{style}{word}{style:#} {backup} in {held}: {} from {}, {took}",
                    format_size(*stored_bytes),
                    format_size(*plain_bytes),
                ));
                if let Some(server) = read_from {
                    output.line(format!("  read from {server}"));
                }
                if backup.kind().is_managed() {
                    output.line(format!("  data until {}", format_time(*recovery_point)));
                }
                if let Some(parent) = parent {
                    output.line(format!("  incremental since {parent}, which a restore needs too"));
                }
            }
            SourceOutcome::Busy { .. } => {
                output.line(format!("{}busy{:#} {}", style::WARN, style::WARN, source.subject()));
            }
            SourceOutcome::Failed { .. } => {
                output.line(format!("{}failed{:#} {}", style::BAD, style::BAD, source.subject()));
            }
            SourceOutcome::Interrupted => {
                output.line(format!("{}interrupted{:#} {}", style::BAD, style::BAD, source.subject()));
            }
        }
        if let SourceOutcome::Stored { not_included, .. } = &source.outcome {
            not_included.iter().for_each(|left| output.line(format!("  it does not hold {left}")));
        }
        for reason in source.outcome.reasons() {
            output.line(format!("  {reason}"));
        }
    }
    show_point(report, context);
    let any = |of: fn(&SourceOutcome) -> bool| report.sources.iter().any(|source| of(&source.outcome));
    if any(|outcome| matches!(outcome, SourceOutcome::Stored { missing, .. } if !missing.is_empty())) {
        output.note("hint: `drctl copies sync` completes what is missing once the repository is back.");
    }
    if any(
        |outcome| matches!(outcome, SourceOutcome::Stored { not_restorable, .. } if !not_restorable.is_empty()),
    ) {
        output.note("hint: `drctl wal status` says why WAL is not archived; `drctl list` says once it is. The last segment that a copy of a standby needs is archived when its primary has filled it, or ends it: `archive_timeout`, or SELECT pg_switch_wal() there.");
    }
    if any(
        |outcome| matches!(outcome, SourceOutcome::Stored { missing_files, .. } if !missing_files.is_empty()),
    ) {
        output.note(
            "hint: The table or index of a missing file cannot be read on the server. `REINDEX` recreates an index; an older backup may have the table. Expire none until it is repaired.",
        );
    }
    if any(|outcome| matches!(outcome, SourceOutcome::Stored { damaged, .. } if !damaged.is_empty())) {
        output.note(
            "hint: Those blocks cannot be read. `pg_amcheck` says which tables it is; an older backup may have them intact. Expire none until it is repaired.",
        );
    }
}

/// Shows what was reached of the recovery point, and whether the application is still paused.
fn show_point(report: &BackupReport, context: &Context) {
    let output = &context.output;
    if let Some(point) = &report.point {
        let stored = point.missing.len() < point.members.len();
        let (word, style) = match (&point.issues[..], stored) {
            (_, false) => ("no recovery point", style::BAD),
            ([], true) => ("recovery point", style::GOOD),
            (_, true) => ("recovery point", style::WARN),
        };
        let paused = point.paused_seconds.map(|seconds| {
            let paused = approximate_duration(std::time::Duration::from_secs_f64(seconds));
            format!("; the application was paused for {paused}")
        });
        output.line(format!(
            "{style}{word}{style:#} {}: {}{}",
            report.run,
            point.label,
            paused.unwrap_or_default()
        ));
        point.issues.iter().for_each(|issue| output.line(format!("  {issue}")));
    }
    if let Some(why) = report.still_paused() {
        let bad = style::BAD;
        output.line(format!("{bad}THE APPLICATION IS STILL PAUSED{bad:#}: {why}"));
        output.note(
            "hint: Resume it manually, by the program that `recovery_point.resume` names. The next `drctl backup` or `drctl run-due` on this host runs it again.",
        );
    } else if let Some(leftover) = &report.leftover_pause {
        output.line(format!(
            "{}resumed{:#} the application, which run {} had left paused at {}",
            style::WARN,
            style::WARN,
            leftover.run,
            format_time(leftover.since)
        ));
    }
}
