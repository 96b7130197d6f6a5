//! The page of a simulated retention: what stays of each day, and what it comes to.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};

use super::page::{
    Block, Calendar, CalendarDay, CalendarMonth, Chart, Figure, Headline, Page, Section, Tone, utc,
};
use crate::model::{BackupKind, Location, SourceName, SystemName};
use crate::policy::Prices;
use crate::retention::{DayMark, Simulated, SimulatedDay, day_marks};
use crate::text::{count, format_size, format_time};

/// One source in one repository or region, played forward.
#[derive(Debug)]
pub struct SimulatedSource<'a> {
    pub source: &'a SourceName,
    pub location: &'a Location,
    pub simulated: &'a Simulated,
}

/// Returns the page of a simulation. `without`: sources that no cron line backs up.
pub fn simulation_page(
    system: &SystemName,
    sources: &[SimulatedSource<'_>],
    without: &[&SourceName],
    prices: Option<&Prices>,
    now: DateTime<Utc>,
) -> Page {
    let days = sources.iter().map(|one| one.simulated.days.len()).max().unwrap_or(0);
    let bytes: u64 = sources.iter().filter_map(|one| one.simulated.days.last()).map(|day| day.bytes).sum();
    let verdict = Headline {
        tone: Tone::Neutral,
        word: count(days as u64, "day"),
        sentence: format!(
            "played forward by the policy's schedule and rules and with the sizes there are: {} stored on the last of them",
            format_size(bytes)
        ),
    };
    let mut sections: Vec<Section> = sources.iter().map(|one| section(one, prices)).collect();
    if !without.is_empty() {
        let names: Vec<String> = without.iter().map(ToString::to_string).collect();
        let text = format!("No cron line backs up {}.", names.join(", "));
        sections.push(Section::new("Not simulated", vec![Block::Text(text)]));
    }
    Page {
        title: format!("Retention of {system}"),
        subtitle: format!("simulated from {}", utc(now)),
        verdict,
        sections,
        footer: "Days and periods are those of UTC. Sizes go on as they are, and nothing fails.".to_owned(),
    }
}

fn section(one: &SimulatedSource<'_>, prices: Option<&Prices>) -> Section {
    let Simulated { days, last } = one.simulated;
    let price = prices
        .zip(one.location.repository())
        .and_then(|(prices, repository)| Some((prices, prices.stored(repository, 1 << 30)?, repository)));
    let mut blocks = vec![Block::Text(last.rules.clone().unwrap_or_default())];
    blocks.extend(days.last().map(|day| {
        let figure = |label: &str, value: String, note: String| Figure {
            label: label.to_owned(),
            value,
            note,
            tone: Tone::Neutral,
        };
        let mut figures = vec![
            figure("backups", day.backups.to_string(), "on the last day".to_owned()),
            figure("stored", format_size(day.bytes), count(day.wal_files, "WAL file")),
        ];
        if let Some(oldest) = day.oldest_point {
            figures.push(figure("oldest backup", oldest.date_naive().to_string(), String::new()));
        }
        if let Some(from) = day.window_from {
            figures.push(figure("any time from", from.date_naive().to_string(), format_time(from)));
        }
        if let Some((prices, _, repository)) = price
            && let Some(cost) = prices.stored(repository, day.bytes)
        {
            let note = format!("by prices of {}", prices.as_of);
            figures.push(figure("a month", format!("{cost:.2} {}", prices.currency), note));
        }
        Block::Figures(figures)
    }));
    let kinds: BTreeSet<BackupKind> = last.backups.iter().map(|backup| backup.id.kind()).collect();
    blocks.extend(kinds.into_iter().filter_map(|kind| calendar(one.simulated, kind)));
    blocks.push(chart("backups", days, |day| day.backups as f64, |value| format!("{value:.0}")));
    blocks.push(chart("stored", days, |day| day.bytes as f64, |value| format_size(value as u64)));
    if let Some((prices, a_gib, _)) = price {
        let cost = |day: &SimulatedDay| day.bytes as f64 / f64::from(1 << 30) * a_gib;
        blocks.push(chart("cost of a month", days, cost, |value| format!("{value:.2} {}", prices.currency)));
    }
    Section::new(&format!("{} in {}", one.source, one.location), blocks)
}

fn chart(
    title: &str,
    days: &[SimulatedDay],
    value: impl Fn(&SimulatedDay) -> f64,
    shown: impl Fn(f64) -> String,
) -> Block {
    let values: Vec<f64> = days.iter().map(value).collect();
    let most = values.iter().copied().fold(0.0, f64::max);
    let day = |day: Option<&SimulatedDay>| day.map(|day| day.date.to_string()).unwrap_or_default();
    Block::Chart(Chart {
        title: title.to_owned(),
        most: shown(most),
        last: values.last().map(|last| shown(*last)).unwrap_or_default(),
        from: day(days.first()),
        until: day(days.last()),
        values,
    })
}

fn calendar(simulated: &Simulated, kind: BackupKind) -> Option<Block> {
    let marks = day_marks(&simulated.last.backups, kind);
    let ((first, _), (last, _)) = marks.first_key_value().zip(marks.last_key_value())?;
    let mut months = Vec::new();
    let (mut year, mut month) = (first.year(), first.month());
    while (year, month) <= (last.year(), last.month()) {
        let dates = (1..=31).filter_map(|day| NaiveDate::from_ymd_opt(year, month, day));
        let days = dates.map(|date| {
            let mark = marks.get(&date).copied().unwrap_or(DayMark::Nothing);
            CalendarDay {
                class: class(mark),
                letter: mark.letter(),
                title: format!("{date}: {}", mark.meaning()),
            }
        });
        months.push(CalendarMonth { name: format!("{year:04}-{month:02}"), days: days.collect() });
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    }
    let used = DayMark::ALL.into_iter().filter(|mark| marks.values().any(|used| used == mark));
    let legend = used.map(|mark| (class(mark), mark.letter(), mark.meaning().to_owned()));
    Some(Block::Calendar(Calendar { title: kind.to_string(), months, legend: legend.collect() }))
}

fn class(mark: DayMark) -> &'static str {
    match mark {
        DayMark::Nothing => "nothing",
        DayMark::Removed => "removed",
        DayMark::Other | DayMark::Parent => "other",
        DayMark::PointInTime => "window",
        DayMark::Newest => "newest",
        DayMark::Day => "daily",
        DayMark::Week => "weekly",
        DayMark::Month => "monthly",
        DayMark::Year => "yearly",
        DayMark::Hold => "hold",
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::policy::{CalendarSpan, CalendarUnit, Rules};
    use crate::report::{html_page, markdown};
    use crate::retention::{SimulatedKind, Simulation, SourceHoldings, simulate};

    #[test]
    fn a_page_shows_each_day_and_what_it_costs_and_loads_nothing() {
        let now: DateTime<Utc> = "2026-01-01T06:00:00Z".parse().unwrap();
        let (source, repository): (SourceName, crate::model::RepositoryName) =
            ("database".parse().unwrap(), "primary".parse().unwrap());
        let location = Location::Repository(repository.clone());
        let rules = Rules {
            keep_last: 3,
            minimum_redundancy: 2,
            keep_within: None,
            daily: Some(CalendarSpan::new(5, CalendarUnit::Day)),
            weekly: Some(CalendarSpan::new(6, CalendarUnit::Week)),
            monthly: None,
            yearly: None,
            pitr: None,
        };
        let times = (0..60).map(|day| now + TimeDelta::days(day) - TimeDelta::hours(3)).collect();
        let kind = SimulatedKind { kind: BackupKind::Logical, times, bytes: 2 << 30, fails_one_in: None };
        let simulated = simulate(Simulation {
            source: source.clone(),
            location: location.clone(),
            rules: &rules,
            holds: &[],
            start: SourceHoldings::default(),
            kinds: vec![kind],
            wal_an_hour: None,
            applied: (0..60).map(|day| now + TimeDelta::days(day)).collect(),
        })
        .unwrap();
        let prices = Prices {
            as_of: "2026-11-01".parse().unwrap(),
            currency: "USD".to_owned(),
            classes: std::collections::BTreeMap::new(),
            storage: None,
            stored: [(repository, 0.02)].into(),
        };
        let row = SimulatedSource { source: &source, location: &location, simulated: &simulated };
        let page = simulation_page(&"shop".parse().unwrap(), &[row], &[], Some(&prices), now);
        let (html, text) = (html_page(&page), markdown(&page));
        // Cells of the last two months, and one line for each number.
        assert!(html.contains("class=\"day weekly\"") && html.contains("class=\"day daily\""), "{html}");
        assert!(html.contains("title=\"2026-03-01: newest\"") || html.contains(": daily\""), "{html}");
        assert_eq!(html.matches("<polyline").count(), 3);
        let backups = simulated.days[59].backups;
        let cost = backups as f64 * 2.0 * 0.02;
        for shown in [format!("{cost:.2} USD"), backups.to_string()] {
            assert!(html.contains(&shown) && text.contains(&shown), "{shown}: {text}");
        }
        assert!(text.contains("2026-02"), "{text}");
        let (before, rest) = html.split_once("<style>").unwrap();
        let (_, after) = rest.split_once("</style>").unwrap();
        for outside in ["http://", "https://", "src=", "<script", "@import", "url("] {
            assert!(!before.contains(outside) && !after.contains(outside), "{outside}");
        }
    }
}
