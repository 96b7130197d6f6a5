use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::Serialize;

use super::calendar;
use super::view::RetentionView;
use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::style;
use crate::cli::table::{Cell, TextTable};
use crate::model::{BackupKind, RepositoryName, RunId, SourceName};
use crate::platform::seed;
use crate::policy::CronLine;
use crate::retention::{Simulated, SimulatedDay, SimulatedKind, Simulation, SourceHoldings, simulate};
use crate::text::{format_size, format_time};

#[derive(Debug, clap::Args)]
pub(super) struct SimulateArgs {
    /// How many days are played forward
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=4000))]
    days: u32,
}

#[derive(Serialize)]
struct SimulationDocument<'a> {
    days: u32,
    sources: Vec<SimulatedRow<'a>>,
    /// Sources that no cron line backs up.
    not_simulated: Vec<&'a SourceName>,
}

#[derive(Serialize)]
struct SimulatedRow<'a> {
    source: &'a SourceName,
    repository: &'a RepositoryName,
    days: &'a [SimulatedDay],
}

pub(super) async fn run(args: SimulateArgs, context: &Context) -> Result<Exit, CommandError> {
    let own = RunId::new(context.clock.now(), seed());
    let view = RetentionView::open(context, &own).await?;
    let (now, output) = (context.clock.now(), &context.output);
    let applied: Vec<DateTime<Utc>> = (1..=args.days).map(|day| now + TimeDelta::days(day.into())).collect();
    let until = applied.last().copied().unwrap_or(now);
    let mut simulated: Vec<(SourceName, RepositoryName, Simulated)> = Vec::new();
    let mut without: Vec<&SourceName> = Vec::new();
    for source in &view.policy.sources {
        let kinds: Vec<(BackupKind, Vec<DateTime<Utc>>)> = view
            .policy
            .schedule
            .backups
            .iter()
            .filter(|times| times.source == source.name && !times.kind.is_managed())
            .map(|times| (times.kind, firings(&times.lines, view.policy.schedule.timezone, now, until)))
            .collect();
        if kinds.is_empty() {
            without.push(&source.name);
            continue;
        }
        for repository in &view.surveyed.survey.repositories {
            let Some(retention) = &view.policy.retention else { continue };
            let start = repository.sources.get(&source.name).cloned().unwrap_or_default();
            let sizes = |kind| usual_size(&start, kind);
            let of_kind = |(kind, times): &(BackupKind, Vec<DateTime<Utc>>)| SimulatedKind {
                kind: *kind,
                times: times.clone(),
                bytes: sizes(*kind),
                fails_one_in: None,
            };
            let simulation = Simulation {
                source: source.name.clone(),
                repository: repository.name.clone(),
                rules: retention.rules_in(&source.name, &repository.name),
                holds: &view.surveyed.survey.holds,
                kinds: kinds.iter().map(of_kind).collect(),
                wal_an_hour: source.wal().map(|_| wal_an_hour(&start, now)),
                applied: applied.clone(),
                start,
            };
            let done = tokio::task::block_in_place(|| simulate(simulation));
            simulated.extend(done.map(|done| (source.name.clone(), repository.name.clone(), done)));
        }
    }
    if output.is_json() {
        let rows = simulated.iter();
        let rows =
            rows.map(|(source, repository, done)| SimulatedRow { source, repository, days: &done.days });
        let document =
            SimulationDocument { days: args.days, sources: rows.collect(), not_simulated: without };
        output.document("retention-simulation", &document);
    } else {
        for (source, repository, done) in &simulated {
            show(context, source, repository, done);
        }
        for source in without {
            output.note(format!("note: {source} is not simulated: no cron line of `[schedule]` backs it up"));
        }
    }
    view.catalog.close().await;
    if simulated.is_empty() {
        return Err(CommandError::usage("there is nothing to simulate")
            .hint("Give the sources cron lines in `[schedule.sources]`: they say when backups are taken."));
    }
    Ok(Exit::Done)
}

/// When cron lines fire, in UTC.
fn firings(
    lines: &[CronLine],
    zone: chrono_tz::Tz,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Vec<DateTime<Utc>> {
    let of_line = |line: &CronLine| {
        let firings = line.cron().iter_after(from.with_timezone(&zone));
        firings.map(|at| at.with_timezone(&Utc)).take_while(|at| *at <= until).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = lines.iter().flat_map(of_line).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What the last thirty have on average.
fn usual_size(holdings: &SourceHoldings, kind: BackupKind) -> u64 {
    let mut of_kind: Vec<_> = holdings.backups.iter().filter(|backup| backup.id.kind() == kind).collect();
    of_kind.sort_by_key(|backup| std::cmp::Reverse(backup.recovery_point));
    of_kind.truncate(30);
    of_kind.iter().map(|backup| backup.bytes).sum::<u64>().checked_div(of_kind.len() as u64).unwrap_or(0)
}

/// What the last week has on average.
fn wal_an_hour(holdings: &SourceHoldings, now: DateTime<Utc>) -> u64 {
    let since = now - TimeDelta::days(7);
    let files = holdings.wal.iter().flat_map(|wal| &wal.files).filter(|file| file.modified >= since);
    let (bytes, oldest) =
        files.fold((0, now), |(bytes, oldest), file| (bytes + file.bytes, file.modified.min(oldest)));
    let hours = u64::try_from((now - oldest).num_hours()).unwrap_or(0).max(1);
    bytes / hours
}

/// The first day of each month, and the last day.
fn shown(days: &[SimulatedDay]) -> impl Iterator<Item = &SimulatedDay> {
    use chrono::Datelike as _;
    let last: Option<NaiveDate> = days.last().map(|day| day.date);
    let first = days.first().map(|day| day.date);
    days.iter().filter(move |day| day.date.day() == 1 || Some(day.date) == last || Some(day.date) == first)
}

fn show(context: &Context, source: &SourceName, repository: &RepositoryName, done: &Simulated) {
    let (output, strong, faint) = (&context.output, style::STRONG, style::FAINT);
    let rules = done.last.rules.as_deref().unwrap_or_default();
    output.line(format!("{strong}{source} in {repository}{strong:#}  {faint}{rules}{faint:#}"));
    let head = ["DAY", "BACKUPS", "WAL FILES", "SIZE", "OLDEST", "ANY TIME FROM"].map(Cell::new);
    let [day, backups, wal, size, oldest, from] = head;
    let mut table = TextTable::head([day, backups.right(), wal.right(), size.right(), oldest, from]);
    let time = |time: Option<DateTime<Utc>>| time.map(format_time).unwrap_or_default();
    for day in shown(&done.days) {
        table.row([
            Cell::new(day.date.to_string()),
            Cell::new(day.backups.to_string()).right(),
            Cell::new(day.wal_files.to_string()).right(),
            Cell::new(format_size(day.bytes)).right(),
            Cell::new(time(day.oldest_point)),
            Cell::new(time(day.window_from)),
        ]);
    }
    table.lines().iter().for_each(|line| output.line(line));
    let kinds: std::collections::BTreeSet<BackupKind> =
        done.last.backups.iter().map(|backup| backup.id.kind()).collect();
    for kind in kinds {
        calendar::lines(&done.last.backups, kind).iter().for_each(|line| output.line(line));
    }
    output.line("");
}
