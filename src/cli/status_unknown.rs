use std::collections::BTreeSet;

use super::Context;
use super::catalog_view::CatalogView;
use crate::catalog::BackupEntry;
use crate::status::StatusSurvey;
use crate::text::{approximate_duration, format_time};

/// Reports what could not be queried, and what is unknown because of that.
pub(super) fn say_unknown(
    context: &Context,
    known: &CatalogView,
    entries: &[BackupEntry],
    survey: &StatusSurvey,
) {
    for skew in &survey.clocks {
        let by = approximate_duration(skew.ahead.abs().to_std().unwrap_or_default());
        let direction = if skew.ahead > chrono::TimeDelta::zero() { "ahead of" } else { "behind" };
        context.output.warn(format!(
            "this host's clock is {by} {direction} that of repository `{}`: ages are counted by the later one",
            skew.repository
        ));
        context.output.note("hint: Is an NTP client running on this host, and on the store's?");
    }
    for (source, why) in &survey.servers_not_asked {
        context.output.note(format!(
            "note: the server of {source} could not be queried for its system identifier and its archiving: {why}"
        ));
    }
    if known.refreshed.is_none() && entries.iter().any(|entry| entry.manifest.physical.is_some()) {
        context.output.note(
            "note: `--offline` reads no WAL from the repositories, so base backups count for nothing here",
        );
    }
    for ((source, repository), standing) in &survey.wal {
        if let Some(reason) = &standing.unknown {
            context
                .output
                .warn(format!("failed to query the WAL of {source} in repository `{repository}`: {reason}"));
        }
    }
    let beside = survey.wal.iter().filter_map(|((source, _), standing)| Some((source, standing.beside?)));
    for (source, beside) in beside.collect::<BTreeSet<_>>() {
        context.output.warn(format!("{source}: {beside}"));
        context.output.note(if beside.newest > beside.server {
            format!(
                "hint: What is said of {source} here is of timeline {0}. Have the other server archive nothing (`archive_mode = off`), or let the policy lead to it if it has taken over; `drctl restore --timeline {0}` recovers along this one.",
                beside.server
            )
        } else {
            "hint: `drctl wal configure` says whether it archives.".to_owned()
        });
    }
    if known.refreshed.is_none() && !survey.cloud.is_empty() {
        context.output.note(
            "note: `--offline` does not ask AWS: of what AWS keeps it is shown where it stood when it was taken; automated backups and those of plans count for nothing here",
        );
    }
    for (source, kept) in &survey.cloud {
        for before in kept.live.iter().flat_map(|live| &live.predecessors) {
            context.output.note(format!(
                "note: {source} was switched over (blue/green): the database that has its name now is another to RDS, with the data of `{}` ({}), which the backups before it are of. RDS's automated backups of it, and their replication to other regions, started over",
                before.identifier, before.resource_id
            ));
        }
        for region in &kept.regions {
            if let Some(reason) = &region.unknown {
                let (service, name) = (kept.service.as_str(), &region.region);
                context.output.warn(format!("failed to query {service} in {name} about {source}: {reason}"));
            }
            if let Some(since) = region.continuous_since {
                context.output.note(format!(
                    "note: AWS Backup backs {source} up continuously in {} since {}, which brings back moments of the last 35 days at most (`drctl restore {source} --point-in-time TIME`); up to which one it does not say, so that here it counts only as of its beginning",
                    region.region,
                    format_time(since)
                ));
            }
            for unread in &region.unread {
                context.output.warn(format!("{source}: {unread}"));
            }
        }
    }
}
