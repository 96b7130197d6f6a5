use std::path::{Path, PathBuf};

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc};
use serde::Serialize;

use super::calendar;
use super::view::RetentionView;
use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::path_arg;
use crate::cli::style;
use crate::cli::table::{Cell, TextTable};
use crate::model::{BackupKind, Location, RunId, SourceName};
use crate::platform::seed;
use crate::policy::{Policy, Prices, Source, firings};
use crate::report::{SimulatedSource, html_page, markdown, simulation_page};
use crate::retention::{Hold, Simulated, SimulatedDay, SimulatedKind, Simulation, SourceHoldings, simulate};
use crate::text::{format_size, format_time};

#[derive(Debug, clap::Args)]
pub(super) struct SimulateArgs {
    /// How many days are played forward
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=4000))]
    days: u32,
    /// Also write it as one page that needs nothing else, with calendars and curves: `.html`, or `.md` for Markdown
    #[arg(long, value_name = "FILE", value_parser = path_arg::path())]
    to: Option<PathBuf>,
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
    #[serde(flatten)]
    location: &'a Location,
    days: &'a [SimulatedDay],
}

pub(super) async fn run(args: SimulateArgs, context: &Context) -> Result<Exit, CommandError> {
    let own = RunId::new(context.clock.now(), seed());
    let view = RetentionView::open(context, &own).await?;
    let (now, output) = (context.clock.now(), &context.output);
    let applied: Vec<DateTime<Utc>> = (1..=args.days).map(|day| now + TimeDelta::days(day.into())).collect();
    let mut simulated: Vec<(SourceName, Location, Simulated)> = Vec::new();
    let mut without: Vec<&SourceName> = Vec::new();
    for source in &view.policy.sources {
        let before = simulated.len();
        let survey = &view.surveyed.survey;
        let repositories = survey.repositories.iter().map(|repository| {
            let mut start = repository.sources.get(&source.name).cloned().unwrap_or_default();
            start.backups.retain(|backup| !backup.id.kind().is_managed());
            (Location::Repository(repository.name.clone()), start)
        });
        let regions = survey.regions.iter().filter(|one| one.source == source.name && one.is_in_policy);
        let regions = regions.map(|one| (Location::Region(one.region.clone()), one.holdings.clone()));
        for (location, start) in repositories.chain(regions) {
            let forecast = forecast(&view.policy, source, &location, start, &survey.holds, &applied, now);
            let done = tokio::task::block_in_place(|| forecast.and_then(simulate));
            simulated.extend(done.map(|done| (source.name.clone(), location.clone(), done)));
        }
        if simulated.len() == before {
            without.push(&source.name);
        }
    }
    if let Some(file) = &args.to {
        write_page(file, &view, &simulated, &without, now)?;
        output.note(format!("wrote {}", file.display()));
    }
    let prices = view.policy.prices.as_ref();
    if output.is_json() {
        let rows = simulated.iter();
        let rows = rows.map(|(source, location, done)| SimulatedRow { source, location, days: &done.days });
        let document =
            SimulationDocument { days: args.days, sources: rows.collect(), not_simulated: without };
        output.document("retention-simulation", &document);
    } else {
        for (source, location, done) in &simulated {
            show(context, source, location, done, prices);
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

fn write_page(
    file: &Path,
    view: &RetentionView,
    simulated: &[(SourceName, Location, Simulated)],
    without: &[&SourceName],
    now: DateTime<Utc>,
) -> Result<(), CommandError> {
    let is_markdown = match file.extension().and_then(|ending| ending.to_str()) {
        Some("html" | "htm") => false,
        Some("md" | "markdown") => true,
        _ => {
            return Err(CommandError::usage(format!("the name of `{}` tells no format", file.display()))
                .hint("End it with `.html` or `.md`."));
        }
    };
    let rows = simulated.iter();
    let rows = rows.map(|(source, location, simulated)| SimulatedSource { source, location, simulated });
    let (system, prices) = (&view.policy.system, view.policy.prices.as_ref());
    let page = simulation_page(system, &rows.collect::<Vec<_>>(), without, prices, now);
    let text = if is_markdown { markdown(&page) } else { html_page(&page) };
    std::fs::write(file, text)
        .map_err(|error| CommandError::failed(format!("failed to write `{}`: {error}", file.display())))
}

/// How a source goes on in a repository or region, by the policy's cron lines and with the sizes there are. `None`: no cron line
/// backs it up.
fn forecast<'a>(
    policy: &'a Policy,
    source: &Source,
    location: &Location,
    start: SourceHoldings,
    holds: &'a [Hold],
    applied: &[DateTime<Utc>],
    now: DateTime<Utc>,
) -> Option<Simulation<'a>> {
    let until = applied.last().copied()?;
    let retention = policy.retention.as_ref()?;
    let times = policy.schedule.backups.iter();
    let own =
        times.filter(|times| times.source == source.name && times.kind.is_managed() == location.is_region());
    let kinds: Vec<SimulatedKind> = own
        .map(|own| SimulatedKind {
            kind: own.kind,
            times: firings(&own.lines, policy.schedule.timezone, now, until),
            bytes: usual_size(&start, own.kind),
            fails_one_in: None,
        })
        .collect();
    (!kinds.is_empty()).then(|| Simulation {
        source: source.name.clone(),
        location: location.clone(),
        rules: match location {
            Location::Repository(repository) => retention.rules_in(&source.name, repository),
            Location::Region(_) => retention.rules_for(&source.name),
        },
        holds,
        kinds,
        wal_an_hour: source.wal().filter(|_| !location.is_region()).map(|_| wal_an_hour(&start, now)),
        applied: applied.to_vec(),
        start,
    })
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
    let last: Option<NaiveDate> = days.last().map(|day| day.date);
    let first = days.first().map(|day| day.date);
    days.iter().filter(move |day| day.date.day() == 1 || Some(day.date) == last || Some(day.date) == first)
}

fn show(
    context: &Context,
    source: &SourceName,
    location: &Location,
    done: &Simulated,
    prices: Option<&Prices>,
) {
    let (output, strong, faint) = (&context.output, style::STRONG, style::FAINT);
    let rules = done.last.rules.as_deref().unwrap_or_default();
    output.line(format!("{strong}{source} in {location}{strong:#}  {faint}{rules}{faint:#}"));
    let head = ["DAY", "BACKUPS", "WAL FILES", "SIZE", "OLDEST", "ANY TIME FROM"].map(Cell::new);
    let [day, backups, wal, size, oldest, from] = head;
    let cost = |bytes: u64| {
        let (prices, repository) = prices.zip(location.repository())?;
        Some(format!("{:.2} {}", prices.stored(repository, bytes)?, prices.currency))
    };
    let mut head = vec![day, backups.right(), wal.right(), size.right(), oldest, from];
    head.extend(cost(0).map(|_| Cell::new("A MONTH").right()));
    let mut table = TextTable::head(head);
    let time = |time: Option<DateTime<Utc>>| time.map(format_time).unwrap_or_default();
    for day in shown(&done.days) {
        let mut row = vec![
            Cell::new(day.date.to_string()),
            Cell::new(day.backups.to_string()).right(),
            Cell::new(day.wal_files.to_string()).right(),
            Cell::new(format_size(day.bytes)).right(),
            Cell::new(time(day.oldest_point)),
            Cell::new(time(day.window_from)),
        ];
        row.extend(cost(day.bytes).map(|cost| Cell::new(cost).right()));
        table.row(row);
    }
    table.lines().iter().for_each(|line| output.line(line));
    let kinds: std::collections::BTreeSet<BackupKind> =
        done.last.backups.iter().map(|backup| backup.id.kind()).collect();
    for kind in kinds {
        calendar::lines(&done.last.backups, kind).iter().for_each(|line| output.line(line));
    }
    output.line("");
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::policy::load;
    use crate::retention::SnapshotQuota;

    /// What the reference policies promise, as their calendars show it after 400 days.
    #[test]
    fn the_reference_policies_keep_what_they_promise() {
        let now: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
        // Applied at 6:20, as their schedules have it.
        let applied: Vec<_> =
            (0..400).map(|day| now + TimeDelta::days(day) + TimeDelta::minutes(380)).collect();
        for name in [
            "course-companion-fte",
            "ai-study-companion",
            "classboard",
            "personal-assistant-tdah",
            "insightshop",
        ] {
            let path =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name).with_extension("toml");
            let policy = load(&path).unwrap();
            let mut text = String::new();
            for source in &policy.sources {
                let repository = policy.repositories[0].name.clone();
                let (location, start) = (Location::Repository(repository), SourceHoldings::default());
                let forecast = forecast(&policy, source, &location, start, &[], &applied, now);
                let Some(done) = forecast.and_then(simulate) else { continue };
                let rules = done.last.rules.as_deref().unwrap_or_default();
                writeln!(text, "{} in {location}: {rules}", source.name).unwrap();
                let kinds: std::collections::BTreeSet<BackupKind> =
                    done.last.backups.iter().map(|backup| backup.id.kind()).collect();
                for kind in kinds {
                    for line in calendar::lines(&done.last.backups, kind) {
                        writeln!(text, "{}", anstream::adapter::strip_str(&line)).unwrap();
                    }
                    let days: std::collections::BTreeSet<NaiveDate> = done
                        .last
                        .backups
                        .iter()
                        .filter(|backup| backup.id.kind() == kind && !backup.is_removed())
                        .map(|backup| backup.recovery_point.date_naive())
                        .collect();
                    let last = applied[399].date_naive();
                    let daily = (1..=30).filter(|ago| days.contains(&(last - TimeDelta::days(*ago)))).count();
                    assert_eq!(daily, 30, "{name}: the last 30 whole days of {kind}");
                    let weeks: std::collections::BTreeSet<_> =
                        days.iter().map(|day| (day.iso_week().year(), day.iso_week().week())).collect();
                    assert!(weeks.len() >= 26, "{name}: half a year of weeks of {kind}, {}", weeks.len());
                    let begin = days.first().copied().unwrap();
                    assert!(last - begin <= TimeDelta::days(185), "{name}: {kind} of {begin} is too old");
                }
                if let Some(from) = done.days[399].window_from {
                    let window = applied[399] - from;
                    assert!(window >= TimeDelta::days(7) && window < TimeDelta::days(9), "{name}: {window}");
                }
            }
            insta::assert_snapshot!(name, text);
        }
    }

    #[test]
    fn what_aws_keeps_is_played_forward_by_region_and_stays_within_the_quota() {
        let now: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
        let applied: Vec<_> =
            (0..400).map(|day| now + TimeDelta::days(day) + TimeDelta::minutes(380)).collect();
        let policy = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/classboard.toml")).unwrap();
        let repository = Location::Repository(policy.repositories[0].name.clone());
        for name in ["instance", "attachments"] {
            let source = policy.sources.iter().find(|source| source.name.as_str() == name).unwrap();
            let of = |location: &Location| {
                let start = SourceHoldings::default();
                forecast(&policy, source, location, start, &[], &applied, now).and_then(simulate)
            };
            // A repository has only manifests of them.
            assert!(of(&repository).is_none(), "{name}");
            let done = of(&Location::Region("us-west-2".to_owned())).unwrap();
            let most = done.days.iter().map(|day| day.backups).max().unwrap();
            // Thirty days and half a year of weeks, and all of today.
            assert!((52..=SnapshotQuota::USUAL * 4 / 5).contains(&most), "{name}: {most}");
            assert_eq!(done.days[399].wal_files, 0);
        }
    }
}
