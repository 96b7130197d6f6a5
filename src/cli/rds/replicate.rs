use serde::Serialize;

use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::exit::{self, Exit};
use crate::model::SourceName;
use crate::rds_admin::replicate::{ReplicateError, ReplicateStep, ReplicationAction, begin, plan};
use crate::text::{error_chain, format_time};

/// Replicate an instance's automated backups to other regions
///
/// Covers the regions with `automated_backups = true` in the policy. Shows what it would start, and changes nothing
/// without `--apply`. An existing replication is not changed.
#[derive(Debug, clap::Args)]
#[command(after_help = exit::HELP)]
pub(super) struct ReplicateArgs {
    /// Name of the source in the policy
    source: SourceName,
    /// Start the replications that are shown
    #[arg(long)]
    apply: bool,
}

#[derive(Serialize)]
struct ReplicateRow {
    region: String,
    /// `stands`, `to-begin`, `begun`, `refused`, `unknown`
    outcome: &'static str,
    detail: String,
}

pub(super) async fn run(args: ReplicateArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let source = policy.source(&args.source).ok_or_else(|| {
        CommandError::usage(format!("the policy has no source `{}`", args.source))
            .hint("`drctl policy show` shows the sources there are.")
    })?;
    let Some(rds) = source.rds() else {
        let kind = source.config.kind();
        return Err(CommandError::usage(format!("source `{}` is of kind `{kind}`, not `rds`", source.name)));
    };
    let plan = plan(&policy, &source.name, rds).await.map_err(refused)?;
    let mut rows = Vec::new();
    for step in &plan.steps {
        rows.push(match &step.what {
            ReplicationAction::Begin { days, kms_key } if args.apply => {
                match begin(rds, &plan, &step.region, *days, kms_key.as_deref()).await {
                    Ok(()) => ReplicateRow { outcome: "begun", ..row(step) },
                    Err(error) => {
                        ReplicateRow { outcome: "refused", detail: error_chain(&error), ..row(step) }
                    }
                }
            }
            _ => row(step),
        });
    }
    let is_whole = rows.iter().all(|row| matches!(row.outcome, "stands" | "to-begin" | "begun"));
    if context.output.is_json() {
        let document = serde_json::json!({
            "source": args.source.as_str(), "applied": args.apply, "regions": rows,
        });
        context.output.document("rds-replicate-automated-backups", &document);
    } else {
        for row in &rows {
            context.output.line(format!("{}: {}", row.region, row.detail));
        }
        match (args.apply, plan.to_begin()) {
            (_, 0) => {}
            (true, _) => context.output.note(
                "The first copy takes a while: `drctl status` shows the latest restorable time in each region.",
            ),
            (false, _) => context.output.note(
                "Nothing was changed. Run it with `--apply` to start replication; replicated backups and their transfer are billed.",
            ),
        }
    }
    Ok(if is_whole { Exit::Done } else { Exit::Partly })
}

fn row(step: &ReplicateStep) -> ReplicateRow {
    let (outcome, detail) = match &step.what {
        ReplicationAction::Stands(backup) => {
            let until =
                backup.window.map(|window| format!(", restorable until {}", format_time(window.latest)));
            let days = backup.retention_days.map(|days| format!(", kept {days} days")).unwrap_or_default();
            let detail =
                format!("RDS replicates to it (`{}`{days}{})", backup.status, until.unwrap_or_default());
            ("stands", detail)
        }
        ReplicationAction::Begin { days, kms_key } => {
            let key = kms_key.as_ref().map(|key| format!(", encrypted with {key}")).unwrap_or_default();
            ("to-begin", format!("replication to be started, kept {days} days{key}"))
        }
        ReplicationAction::NoKey => (
            "refused",
            format!(
                "the database is encrypted, and the policy names no key there: add `kms_key` to `copy_to.{}`",
                step.region
            ),
        ),
        ReplicationAction::Unknown(reason) => ("unknown", format!("could not be queried: {reason}")),
    };
    ReplicateRow { region: step.region.clone(), outcome, detail }
}

fn refused(error: ReplicateError) -> CommandError {
    match &error {
        ReplicateError::NotAsked(_) => {
            CommandError::usage(error).hint("Add `automated_backups = true` to the region under `copy_to`.")
        }
        ReplicateError::Member { cluster, .. } => {
            let hint =
                format!("Write `cluster = \"{cluster}\"` in the source, and have its snapshots copied.");
            CommandError::usage(error).hint(hint)
        }
        ReplicateError::Cluster(_) => CommandError::usage(error)
            .hint("Copies of snapshots reach other regions; for less loss than a day, take them more often."),
        ReplicateError::Off(_) => CommandError::failed(error)
            .hint("Set the instance's backup retention first; RDS briefly suspends I/O when it does."),
        ReplicateError::NoInstance { .. } => {
            CommandError::failed(error).hint("Are the source's `region` and `instance` right?")
        }
        ReplicateError::Client(_) | ReplicateError::Aws(_) => CommandError::failed(error),
    }
}
