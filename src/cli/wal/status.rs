use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::Context;
use super::super::error::CommandError;
use super::super::exit::Exit;
use super::super::style;
use super::super::table::{Cell, TextTable};
use crate::model::{SourceName, SystemIdentifier};
use crate::policy::{Policy, WalMethod};
use crate::recoverability::archive::ArchiveStatus;
use crate::status::archive::{ArchiveHealth, ArchiveReport, RepositoryArchive, UnknownCluster, ask_server};
use crate::text::{approximate_duration, count, format_size, format_time};
use crate::wal::{ArchiverFacts, CommandVerdict, DamagedWal, Gap, PushTarget, WalFault, judge};

const LOST: &str = "\
hint: Where `archive_command` says so without archiving, `drctl wal configure` has the right one. Then take a base
backup (`drctl backup --kind base`) at once: the server removes what it counts as archived.";

/// Show up to when each repository can restore, and how the server archives
#[derive(Debug, clap::Args)]
#[command(after_help = super::super::exit::HELP)]
pub(super) struct WalStatusArgs {
    /// The source, where the policy archives more than one
    source: Option<SourceName>,
    /// The system identifier of the cluster [default: the server's, or the first one in the repositories]
    #[arg(long, value_name = "NUMBER")]
    system_identifier: Option<SystemIdentifier>,
}

pub(super) async fn run(args: WalStatusArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let (source, archiving) = super::archived(&policy, args.source.as_ref())?;
    let (repositories, server) =
        tokio::join!(context.repositories_with(&policy, super::patience()), ask_server(&policy, source));
    let (rpo, now) = (policy.objectives.rpo, context.clock.now());
    let archived = (source, &archiving.method);
    let report = ArchiveReport::ask(&policy, archived, &repositories, server, args.system_identifier, now);
    let report = report.await.map_err(unknown_cluster)?;
    let worst = report.health();
    if context.output.is_json() {
        let document = json!({
            "source": source, "system_identifier": report.system_identifier, "as_of": now, "rpo_seconds": rpo.as_secs(),
            "verdict": worst, "stalled": report.stall.as_ref().map(ToString::to_string),
            "repositories": report.repositories.iter().map(|row| row_document(row, now)).collect::<Vec<_>>(),
            "server": report.server.as_ref().map_or_else(|why| json!({ "error": why }), server_document),
        });
        context.output.document("wal-status", &document);
    } else {
        context.output.line(format!(
            "{strong}{source}{strong:#}, system identifier {}",
            report.system_identifier,
            strong = style::STRONG
        ));
        show(context, &report.repositories, now);
        show_server(context, &report.server, (&policy, source), &archiving.method, now);
        if let Some(stall) = &report.stall {
            context.output.warn(stall.to_string());
            context.output.note(format!("hint: {}", stall.remedy()));
        }
        let known = || report.repositories.iter().filter_map(|row| row.status.as_ref().ok());
        let beside: BTreeSet<_> = known().filter_map(|status| status.beside).collect();
        beside.iter().for_each(|beside| context.output.warn(beside.to_string()));
        if known().any(|status| status.lost.is_some()) {
            context.output.note(LOST);
        }
    }
    Ok(match worst {
        ArchiveHealth::Ok | ArchiveHealth::Late => Exit::Done,
        ArchiveHealth::Stalled => Exit::Partly,
        ArchiveHealth::UnknownTime | ArchiveHealth::NotReached => Exit::Undetermined,
        ArchiveHealth::Gap | ArchiveHealth::Lost | ArchiveHealth::ObjectiveMissed => Exit::ObjectiveMissed,
        ArchiveHealth::Nothing => Exit::Nothing,
    })
}

fn unknown_cluster(error: UnknownCluster) -> CommandError {
    match error {
        UnknownCluster::NeverArchived(_) => CommandError::new(Exit::Nothing, error.to_string())
            .hint("`drctl wal push --help` says how to configure PostgreSQL."),
        UnknownCluster::Unasked(_) => CommandError::new(Exit::Undetermined, error.to_string()),
    }
}

fn show(context: &Context, places: &[RepositoryArchive], now: DateTime<Utc>) {
    let output = &context.output;
    let mut table = TextTable::head(
        ["REPOSITORY", "NEWEST SEGMENT", "ALL UNTIL", "AGO", "NEWEST COMMIT", "VERDICT"].map(Cell::new),
    );
    for place in places {
        let standing = place.status.as_ref().ok();
        let newest = standing.and_then(|standing| standing.timelines.iter().rev().find_map(|t| t.newest));
        let moment = standing.map(|standing| standing.moment);
        let behind = standing.and_then(|standing| standing.behind(now));
        table.row([
            Cell::new(place.name.as_str()).style(style::STRONG),
            Cell::new(newest.map_or("none".to_owned(), |segment| segment.to_string())),
            Cell::new(moment.and_then(|moment| moment.complete).map(format_time).unwrap_or_default()),
            Cell::new(behind.map(approximate_duration).unwrap_or_default()).right(),
            Cell::new(moment.and_then(|moment| moment.newest_commit).map(format_time).unwrap_or_default()),
            Cell::new(place.health.as_str()).style(colour(place.health)),
        ]);
    }
    table.lines().iter().for_each(|line| output.line(line));
    for place in places {
        match &place.status {
            Err(why) => output.line(format!("  {}: {why}", place.name)),
            Ok(standing) => details(place, standing).iter().for_each(|line| output.line(line)),
        }
    }
}

fn details(place: &RepositoryArchive, standing: &ArchiveStatus) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(since), Some(reach)) = (standing.contiguous_since, &standing.reach) {
        let forks = standing.timelines.len().saturating_sub(1);
        let timelines = if forks == 0 {
            String::new()
        } else {
            format!(", {} in all", count(forks as u64 + 1, "timeline"))
        };
        lines.push(format!(
            "  {}: without a gap from {} on timeline {} to {} on timeline {}{timelines}",
            place.name, since.lsn, since.timeline, reach.end.lsn, reach.end.timeline
        ));
    }
    if let Some(file) = standing.lost {
        let bad = style::BAD;
        lines.push(format!(
            "  {}: {bad}lost{bad:#} {file}: the server counts it as archived, and it is missing",
            place.name
        ));
    }
    for Gap { first, last, count: missing } in standing.timelines.iter().flat_map(|timeline| &timeline.gaps) {
        let what = if missing == &1 { first.to_string() } else { format!("{first} to {last}") };
        let bad = style::BAD;
        lines.push(format!("  {}: {bad}missing{bad:#} {what} ({})", place.name, count(*missing, "segment")));
    }
    for damaged in &standing.damaged {
        let bad = style::BAD;
        let what = match damaged.fault {
            WalFault::Damaged => "damaged",
            WalFault::Minimal => "`wal_level = minimal`",
        };
        lines.push(format!(
            "  {}: {bad}{what}{bad:#} {} at {}: recovery from before it ends there",
            place.name, damaged.segment, damaged.at
        ));
    }
    for timeline in standing.timelines.iter().filter(|timeline| timeline.lacks_history) {
        let (bad, timeline) = (style::BAD, timeline.timeline);
        lines.push(format!(
            "  {}: {bad}missing{bad:#} {}.history: no server finds its way to timeline {timeline}",
            place.name,
            timeline.in_names()
        ));
    }
    if let Some(base) = &standing.base {
        lines.push(format!(
            "  {}: base backup {base} is behind that, and can be brought to the end; older ones only as far as what is missing",
            place.name
        ));
    }
    lines
}

fn show_server(
    context: &Context,
    server: &Result<ArchiverFacts, String>,
    (policy, source): (&Policy, &SourceName),
    through: &WalMethod,
    now: DateTime<Utc>,
) {
    let output = &context.output;
    let facts = match server {
        Ok(facts) => facts,
        Err(why) => return output.line(format!("server: not asked: {why}")),
    };
    let role = if facts.is_standby { "standby " } else { "" };
    output.line(format!("server: {role}at {} on timeline {}", facts.lsn, facts.timeline));
    // A streamed server does not archive itself, and retains what the slot has not received yet.
    if let WalMethod::Stream { slot: name } = through {
        if let Some(slot) = facts.slots.iter().find(|slot| slot.name == *name) {
            let status = slot.wal_status.as_deref().unwrap_or("not used yet");
            let active = if slot.is_active { "followed" } else { "not followed now" };
            output.line(format!("server: slot `{name}` is {active} ({status})"));
        }
        return;
    }
    let backlog = &facts.backlog;
    let mut waits = match (backlog.files, backlog.oldest) {
        (None, _) => "its role may not see what waits (grant it pg_monitor)".to_owned(),
        (Some(0), _) => "nothing waits to be archived".to_owned(),
        (Some(files), oldest) => {
            let since = oldest.and_then(|oldest| (now - oldest).to_std().ok()).unwrap_or_default();
            let bytes = format_size(files * facts.segment_size.bytes());
            format!(
                "{} to be archived ({bytes} at most), the oldest for {}",
                waiting(files),
                approximate_duration(since)
            )
        }
    };
    if let Some(free) = backlog.free {
        waits.push_str(&format!("; {} are free for WAL", format_size(free)));
    }
    if let Some(lasts) = backlog.lasts {
        waits.push_str(&format!(", which lasts for about {} at this rate", approximate_duration(lasts)));
    }
    output.line(format!("server: {waits}"));
    for warning in warnings(policy, source, facts) {
        output.warn(warning);
    }
}

fn waiting(files: u64) -> String {
    format!("{} wait{}", count(files, "file"), if files == 1 { "s" } else { "" })
}

fn warnings(policy: &Policy, source: &SourceName, facts: &ArchiverFacts) -> Vec<String> {
    let rpo = policy.objectives.rpo;
    let mut warnings = Vec::new();
    if facts.archive_mode == "off" {
        warnings.push(
            "the server archives nothing: `archive_mode` is off (changing it needs a restart)".to_owned(),
        );
    } else if let Some(command) = &facts.archive_command {
        let verdict = judge(command.trim(), source, &PushTarget::from_policy(policy), &facts.host);
        if verdict != CommandVerdict::Archives {
            warnings.push(format!("`archive_command` is `{command}`, {verdict}"));
        }
    }
    if facts.archive_mode != "off" && (facts.archive_timeout.is_zero() || facts.archive_timeout > rpo) {
        let words = match facts.archive_timeout {
            Duration::ZERO => "is off".to_owned(),
            timeout => format!("is {}", approximate_duration(timeout)),
        };
        warnings.push(format!(
            "`archive_timeout` {words}: a server that writes little ends no segment within the RPO of {}",
            approximate_duration(rpo)
        ));
    }
    warnings
}

fn colour(verdict: ArchiveHealth) -> anstyle::Style {
    match verdict {
        ArchiveHealth::Ok => style::GOOD,
        ArchiveHealth::Late
        | ArchiveHealth::Stalled
        | ArchiveHealth::UnknownTime
        | ArchiveHealth::NotReached => style::WARN,
        ArchiveHealth::Gap
        | ArchiveHealth::Lost
        | ArchiveHealth::ObjectiveMissed
        | ArchiveHealth::Nothing => style::BAD,
    }
}

fn row_document(place: &RepositoryArchive, now: DateTime<Utc>) -> Value {
    let verdict = place.health;
    let standing = match &place.status {
        Ok(standing) => standing,
        Err(why) => return json!({ "repository": place.name, "verdict": verdict, "error": why }),
    };
    let gap = |gap: &Gap| json!({ "first": gap.first.to_string(), "last": gap.last.to_string(), "segments": gap.count });
    let damaged = |damaged: &DamagedWal| json!({ "segment": damaged.segment.to_string(), "at": damaged.at, "fault": damaged.fault });
    let timelines = standing.timelines.iter().map(|timeline| {
        json!({
            "timeline": timeline.timeline, "segments": timeline.segments,
            "newest": timeline.newest.map(|segment| segment.to_string()),
            "gaps": timeline.gaps.iter().map(gap).collect::<Vec<_>>(),
            "lacks_history": timeline.lacks_history,
        })
    });
    json!({
        "repository": place.name, "verdict": verdict,
        "all_until": standing.moment.complete, "newest_commit": standing.moment.newest_commit,
        "behind_seconds": standing.behind(now).map(|behind| behind.as_secs()),
        "contiguous_since": standing.contiguous_since, "end": standing.reach.as_ref().map(|reach| reach.end),
        "timelines": timelines.collect::<Vec<_>>(), "lost": standing.lost.map(|file| file.to_string()),
        "beside": standing.beside, "base_behind_gaps": standing.base, "damaged": standing.damaged.iter().map(damaged).collect::<Vec<_>>(),
    })
}

fn server_document(facts: &ArchiverFacts) -> Value {
    json!({
        "lsn": facts.lsn, "timeline": facts.timeline, "standby": facts.is_standby,
        "archive_mode": facts.archive_mode, "archive_timeout_seconds": facts.archive_timeout.as_secs(),
        "failed_count": facts.failed_count, "last_failed": facts.last_failed,
        "last_failed_file": facts.last_failed_file, "last_archived": facts.last_archived,
        "last_archived_file": facts.last_archived_file.map(|file| file.to_string()),
        "waiting_files": facts.backlog.files, "waiting_since": facts.backlog.oldest,
        "free_bytes": facts.backlog.free, "disk_lasts_seconds": facts.backlog.lasts.map(|lasts| lasts.as_secs()),
    })
}
