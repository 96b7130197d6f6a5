use serde::Serialize;

use crate::aws::OWNER;
use crate::aws::rds::Removal;
use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::exit::{self, Exit};
use crate::cli::style;
use crate::cli::table::{Cell, TextTable};
use crate::rds_admin::cleanup::{CleanupPlan, TemporaryLeftover, plan, remove};
use crate::text::format_time;

/// Delete expired instances and clusters that drctl created
///
/// Shows what it would delete, and changes nothing without `--apply`. Deletes only what carries drctl's tags, is
/// of this policy's system, and has expired; backups do not expire. Each is inspected again just before its
/// deletion. Deletion protection is respected. A cluster is deleted with its instances, and kept where one of
/// them has not expired.
#[derive(Debug, clap::Args)]
#[command(after_help = exit::HELP)]
pub(super) struct CleanupArgs {
    /// Delete what is shown
    #[arg(long)]
    apply: bool,
}

#[derive(Serialize)]
struct CleanupRow<'a> {
    region: &'a str,
    kind: &'static str,
    name: &'a str,
    owner: Option<&'a str>,
    expires: Option<chrono::DateTime<chrono::Utc>>,
    /// Of a cluster: the instances that go with it.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    members: &'a [String],
    /// `expired`, `kept`, `deleting`, `waiting`, `gone`, `failed`
    outcome: &'static str,
    reason: Option<String>,
}

#[derive(Serialize)]
struct CleanupDocument<'a> {
    applied: bool,
    leftovers: Vec<CleanupRow<'a>>,
    unknown: Vec<Unknown<'a>>,
}

#[derive(Serialize)]
struct Unknown<'a> {
    region: &'a str,
    reason: &'a str,
}

pub(super) async fn run(args: CleanupArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    if !policy.sources.iter().any(|source| source.rds().is_some()) {
        return Err(CommandError::usage("the policy has no source of kind `rds`"));
    }
    let plan = plan(&policy, context.clock.now()).await;
    for (region, reason) in &plan.unknown {
        context.output.warn(format!("failed to query RDS in {region}: {reason}"));
    }
    let (mut rows, events) = (Vec::new(), context.output.events());
    for leftover in &plan.leftovers {
        rows.push(match &leftover.refusal {
            Some(refusal) => row(leftover, "kept", Some(refusal.to_string())),
            None if !args.apply => row(leftover, "expired", None),
            None if context.cancel.is_cancelled() => row(leftover, "kept", Some("interrupted".to_owned())),
            None => match remove(&policy, leftover, context.clock.now(), (&events, &context.cancel)).await {
                Ok(Removal::Begun) => row(leftover, "deleting", None),
                Ok(Removal::Waits) => row(
                    leftover,
                    "waiting",
                    Some("RDS is still deleting its instances: run it again".to_owned()),
                ),
                Ok(Removal::Gone) => row(leftover, "gone", None),
                Ok(Removal::Refused(refusal)) => row(leftover, "kept", Some(refusal.to_string())),
                Err(reason) => row(leftover, "failed", Some(reason)),
            },
        });
    }
    let failed = rows.iter().any(|row| matches!(row.outcome, "failed" | "waiting"));
    if context.output.is_json() {
        let unknown = plan.unknown.iter().map(|(region, reason)| Unknown { region, reason });
        let document = CleanupDocument { applied: args.apply, leftovers: rows, unknown: unknown.collect() };
        context.output.document("rds-cleanup", &document);
    } else {
        show(context, &plan, &rows, args.apply);
    }
    Ok(match () {
        () if context.cancel.is_cancelled() => Exit::Interrupted,
        () if failed || !plan.unknown.is_empty() => Exit::Partly,
        () => Exit::Done,
    })
}

fn row<'a>(leftover: &'a TemporaryLeftover, outcome: &'static str, reason: Option<String>) -> CleanupRow<'a> {
    let temporary = &leftover.temporary;
    CleanupRow {
        region: &leftover.region,
        kind: temporary.id.noun(),
        name: temporary.id.identifier(),
        owner: temporary.tags.get(OWNER),
        expires: temporary.expires(),
        members: &temporary.members,
        outcome,
        reason,
    }
}

fn show(context: &Context, plan: &CleanupPlan, rows: &[CleanupRow<'_>], applied: bool) {
    let output = &context.output;
    if rows.is_empty() {
        if !plan.asked.is_empty() {
            output.line(format!("This system has no temporary resources in {}.", plan.asked.join(" or ")));
        }
        return;
    }
    let mut table = TextTable::head(["REGION", "WHAT", "NAME", "OWNER", "EXPIRES", "OUTCOME"].map(Cell::new));
    for row in rows {
        let expires = row.expires.map(format_time);
        let colour = match row.outcome {
            "failed" => style::BAD,
            "expired" => style::WARN,
            _ => anstyle::Style::new(),
        };
        table.row([
            Cell::new(row.region),
            Cell::new(row.kind),
            Cell::new(row.name).style(style::STRONG),
            Cell::new(row.owner.unwrap_or("unknown")),
            Cell::new(expires.unwrap_or_default()),
            Cell::new(row.outcome).style(colour),
        ]);
    }
    table.lines().iter().for_each(|line| output.line(line));
    for row in rows {
        if !row.members.is_empty() {
            let members = row.members.join(", ");
            output.line(format!("  {} in {} has the instances {members}", row.name, row.region));
        }
        if let Some(reason) = &row.reason {
            output.line(format!("  {} in {}: {reason}", row.name, row.region));
        }
    }
    match plan.to_remove().count() {
        0 => output.note("Nothing to delete."),
        _ if applied => output.note(
            "RDS deletes in minutes, without a final snapshot: `drctl rds cleanup` shows what remains.",
        ),
        count => output.note(format!(
            "Nothing was changed. `drctl rds cleanup --apply` deletes the {count} that expired, without a final snapshot."
        )),
    }
}
