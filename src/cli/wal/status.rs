use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::Context;
use super::super::error::CommandError;
use super::super::exit::Exit;
use super::super::output::style;
use super::super::table::{Cell, TextTable};
use crate::model::{SourceName, SystemIdentifier};
use crate::policy::{Policy, PostgresSource, Source, WalMethod};
use crate::postgres::{ConnectionParameters, close};
use crate::repository::{Repositories, Repository};
use crate::text::error_chain;
use crate::text::{approximate_duration, count, format_size, format_time};
use crate::wal::status::{ArchiveHealth, ArchiveStatus, standing};
use crate::wal::{Archive, ArchiverFacts, Gap, LastArchived, Stall, cluster, server_facts};

const LOST: &str = "\
hint: Where `archive_command` says so without archiving, `drctl wal configure` has the right one. Then take a base
backup (`drctl backup --kind base`) at once: what the server was told is archived, it deletes.";

/// Say up to when each repository could bring the data back, and how the server archives
#[derive(Debug, clap::Args)]
#[command(after_help = super::super::exit::HELP)]
pub(super) struct WalStatusArgs {
    /// The source, where the policy archives more than one
    source: Option<SourceName>,
    /// Whose log [default: the server's, or the one the repositories were first given]
    #[arg(long, value_name = "NUMBER")]
    system_identifier: Option<SystemIdentifier>,
}

/// One repository, or why it is not known what it has.
struct LocationRow {
    name: String,
    standing: Result<ArchiveStatus, String>,
}

pub(super) async fn run(args: WalStatusArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let (source, archiving) = super::archived(&policy, args.source.as_ref())?;
    let (repositories, server) =
        tokio::join!(context.repositories_with(&policy, super::patience()), ask_server(&policy, source));
    let identifier = match (args.system_identifier, &server) {
        (Some(identifier), _) => identifier,
        (None, Ok(facts)) => facts.system_identifier,
        (None, Err(_)) => first_cluster(&policy, source, &repositories).await?,
    };
    let archive = Archive { system: policy.system.clone(), source: source.clone(), cluster: identifier };
    let told = match (&server, policy.source(source).and_then(Source::postgres)) {
        (Ok(facts), Some(postgres)) => LastArchived::of(postgres, facts, archive.clone()),
        _ => None,
    };
    let own = server.as_ref().ok().filter(|facts| facts.system_identifier == identifier);
    let asked = repositories.iter().map(|repository| ask(repository, &archive, told.as_ref(), own));
    let asked = futures_util::future::join_all(asked);
    let mut places = asked.await;
    places.extend(
        repositories
            .lost()
            .iter()
            .map(|lost| LocationRow { name: lost.name.to_string(), standing: Err(lost.reason()) }),
    );
    let (rpo, now) = (policy.objectives.rpo, context.clock.now());
    let verdict = |place: &LocationRow| match &place.standing {
        Ok(standing) => standing.verdict(rpo, now),
        Err(_) => ArchiveHealth::NotReached,
    };
    let stall = server.as_ref().ok().and_then(|facts| Stall::of(&archiving.through, facts));
    let stalled = stall.as_ref().map(|_| ArchiveHealth::Stalled);
    let worst = places.iter().map(verdict).chain(stalled).max().unwrap_or(ArchiveHealth::Nothing);
    if context.output.is_json() {
        let document = json!({
            "source": source, "system_identifier": identifier, "as_of": now, "rpo_seconds": rpo.as_secs(),
            "verdict": worst, "stalled": stall.as_ref().map(ToString::to_string),
            "repositories": places.iter().map(|place| row_document(place, verdict(place), now)).collect::<Vec<_>>(),
            "server": server.as_ref().map_or_else(|why| json!({ "error": why }), server_document),
        });
        context.output.document("wal-status", &document);
    } else {
        context.output.line(format!(
            "{strong}{source}{strong:#}, system identifier {identifier}",
            strong = style::STRONG
        ));
        show(context, &places, verdict, now);
        show_server(context, &server, &archiving.through, rpo, now);
        if let Some(stall) = &stall {
            context.output.warn(stall.to_string());
            context.output.note(format!("hint: {}", stall.remedy()));
        }
        let standings = places.iter().filter_map(|place| place.standing.as_ref().ok());
        let beside: BTreeSet<_> = standings.filter_map(|standing| standing.beside).collect();
        beside.iter().for_each(|beside| context.output.warn(beside.to_string()));
        if places.iter().any(|place| place.standing.as_ref().is_ok_and(|standing| standing.lost.is_some())) {
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

async fn ask(
    repository: &Repository,
    archive: &Archive,
    told_server: Option<&LastArchived>,
    server: Option<&ArchiverFacts>,
) -> LocationRow {
    let standing =
        standing(repository, archive, told_server, server).await.map_err(|error| error_chain(&error));
    LocationRow { name: repository.name.to_string(), standing }
}

async fn first_cluster(
    policy: &Policy,
    source: &SourceName,
    repositories: &Repositories,
) -> Result<SystemIdentifier, CommandError> {
    let any = SystemIdentifier(0);
    let archive = Archive { system: policy.system.clone(), source: source.clone(), cluster: any };
    let mut reasons: Vec<_> = repositories.lost().iter().map(|lost| lost.reason()).collect();
    for repository in repositories.iter() {
        match cluster::first(&*repository.store, &archive).await {
            Ok(Some(record)) => return Ok(record.system_identifier),
            Ok(None) => {}
            Err(error) => reasons.push(error_chain(&error)),
        }
    }
    Err(match reasons.first() {
        None => CommandError::new(Exit::Nothing, format!("no write-ahead log of {source} was ever archived"))
            .hint("`drctl wal push --help` says how PostgreSQL is told to."),
        Some(reason) => {
            let words = format!("failed to tell which cluster's log is archived: {reason}");
            CommandError::new(Exit::Undetermined, words)
        }
    })
}

async fn ask_server(policy: &Policy, source: &SourceName) -> Result<ArchiverFacts, String> {
    let Some(postgres) = policy.source(source).and_then(Source::postgres) else {
        return Err("it is not PostgreSQL".to_owned());
    };
    let asked = async |postgres: &PostgresSource| {
        let parameters =
            ConnectionParameters::resolve(postgres).await.map_err(|error| error_chain(&error))?;
        let mut connection = parameters.connect().await.map_err(|error| error_chain(&error))?;
        let facts = server_facts(&mut connection).await.map_err(|error| error_chain(&error));
        close(connection).await;
        facts
    };
    asked(postgres).await
}

fn show(
    context: &Context,
    places: &[LocationRow],
    verdict: impl Fn(&LocationRow) -> ArchiveHealth,
    now: DateTime<Utc>,
) {
    let output = &context.output;
    let mut table = TextTable::head(
        ["REPOSITORY", "NEWEST SEGMENT", "ALL UNTIL", "AGO", "NEWEST COMMIT", "VERDICT"].map(Cell::new),
    );
    for place in places {
        let verdict = verdict(place);
        let standing = place.standing.as_ref().ok();
        let newest = standing.and_then(|standing| standing.timelines.iter().rev().find_map(|t| t.newest));
        let moment = standing.map(|standing| standing.moment);
        let behind = standing.and_then(|standing| standing.behind(now));
        table.row([
            Cell::new(place.name.as_str()).style(style::STRONG),
            Cell::new(newest.map_or("none".to_owned(), |segment| segment.to_string())),
            Cell::new(moment.and_then(|moment| moment.complete).map(format_time).unwrap_or_default()),
            Cell::new(behind.map(approximate_duration).unwrap_or_default()).right(),
            Cell::new(moment.and_then(|moment| moment.newest_commit).map(format_time).unwrap_or_default()),
            Cell::new(verdict.as_str()).style(colour(verdict)),
        ]);
    }
    table.lines().iter().for_each(|line| output.line(line));
    for place in places {
        match &place.standing {
            Err(why) => output.line(format!("  {}: {why}", place.name)),
            Ok(standing) => details(place, standing).iter().for_each(|line| output.line(line)),
        }
    }
}

fn details(place: &LocationRow, standing: &ArchiveStatus) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(since), Some(reach)) = (standing.whole_since, &standing.reach) {
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
            "  {}: {bad}lost{bad:#} {file}, and whatever else is not there: the server was told that it is archived",
            place.name
        ));
    }
    for Gap { first, last, count: missing } in standing.timelines.iter().flat_map(|timeline| &timeline.gaps) {
        let what = if missing == &1 { first.to_string() } else { format!("{first} to {last}") };
        let bad = style::BAD;
        lines.push(format!("  {}: {bad}missing{bad:#} {what} ({})", place.name, count(*missing, "segment")));
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
    through: &WalMethod,
    rpo: Duration,
    now: DateTime<Utc>,
) {
    let output = &context.output;
    let facts = match server {
        Ok(facts) => facts,
        Err(why) => return output.line(format!("server: not asked: {why}")),
    };
    let role = if facts.is_standby { "standby " } else { "" };
    output.line(format!("server: {role}at {} on timeline {}", facts.lsn, facts.timeline));
    // A server that is followed hands nothing over itself, and keeps for the slot what was not taken yet.
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
        waits.push_str(&format!("; {} are free for the log", format_size(free)));
    }
    if let Some(lasts) = backlog.lasts {
        waits.push_str(&format!(", which lasts for about {} at this rate", approximate_duration(lasts)));
    }
    output.line(format!("server: {waits}"));
    for warning in warnings(facts, rpo) {
        output.warn(warning);
    }
}

fn waiting(files: u64) -> String {
    format!("{} wait{}", count(files, "file"), if files == 1 { "s" } else { "" })
}

fn warnings(facts: &ArchiverFacts, rpo: Duration) -> Vec<String> {
    let mut warnings = Vec::new();
    let command = facts.archive_command.as_deref().unwrap_or_default();
    if facts.archive_mode == "off" {
        warnings.push(
            "the server archives nothing: `archive_mode` is off (changing it needs a restart)".to_owned(),
        );
    } else if facts.archive_command.is_some() && !command.contains("wal push") {
        warnings.push(format!("`archive_command` is `{command}`, which does not run `drctl wal push`"));
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

fn row_document(place: &LocationRow, verdict: ArchiveHealth, now: DateTime<Utc>) -> Value {
    let standing = match &place.standing {
        Ok(standing) => standing,
        Err(why) => return json!({ "repository": place.name, "verdict": verdict, "error": why }),
    };
    let gap = |gap: &Gap| json!({ "first": gap.first.to_string(), "last": gap.last.to_string(), "segments": gap.count });
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
        "whole_since": standing.whole_since, "end": standing.reach.as_ref().map(|reach| reach.end),
        "timelines": timelines.collect::<Vec<_>>(), "lost": standing.lost.map(|file| file.to_string()),
        "beside": standing.beside, "base_behind_gaps": standing.base,
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
