//! The page of one system: what would be lost if a place burned now, and whether everything is done that keeps it so.

use chrono::{DateTime, Utc};

use super::words::{age, age_or, capitalised, loss, tone, word};
use super::{BackupStock, DrillSnapshot, FleetLine, Severity, SystemSnapshot, Watched};
use crate::drill::forecast::Forecast;
use crate::model::{Location, Outcome};
use crate::report::{
    Block, Cell, Column, Figure, Headline, Page, Section, Table, Tone, against, forecast_sentence,
    forecast_tone, lasting, outcome_tone, outcome_word, recovery_time, utc,
};
use crate::schedule::{Task, TaskState, Turn};
use crate::status::{LocationStatus, ObjectiveVerdict};
use crate::text::{count, format_size};

/// Returns the page of a system, as it is read at `now`.
pub fn system_page(watched: &Watched, now: DateTime<Utc>) -> Page {
    let line = FleetLine::of(watched);
    let Some(snapshot) = &watched.snapshot else { return unknown_page(watched, &line) };
    let mut sections = vec![Section::new("", vec![Block::Figures(figures(snapshot, now))])];
    sections.extend(problems(&line));
    sections.push(if_lost(snapshot));
    sections.push(copies(snapshot, now));
    sections.extend(snapshot.drill.as_ref().map(|drill| last_drill(drill, now)));
    sections.extend(snapshot.drill.as_ref().and_then(forecasts));
    sections.push(backups(snapshot, now));
    sections.push(schedule(&snapshot.tasks, now));
    sections.push(retention(snapshot, now));
    sections.extend(channels(snapshot));
    sections.extend(warnings(snapshot));
    let about = [snapshot.description.clone(), snapshot.owner.as_ref().map(|owner| format!("owner {owner}"))];
    let about: Vec<String> =
        about.into_iter().flatten().chain([format!("collected {}", age(snapshot.collected, now))]).collect();
    Page {
        title: watched.name.clone(),
        subtitle: about.join(" · "),
        verdict: headline(snapshot, &line),
        sections,
        footer: footer(snapshot),
    }
}

fn unknown_page(watched: &Watched, line: &FleetLine) -> Page {
    Page {
        title: watched.name.clone(),
        subtitle: String::new(),
        verdict: Headline {
            tone: tone(line.severity),
            word: "Unknown".to_owned(),
            sentence: capitalised(&line.problems.join("; ")),
        },
        sections: vec![],
        footer: format!("Made by drctl {}.", env!("CARGO_PKG_VERSION")),
    }
}

fn footer(snapshot: &SystemSnapshot) -> String {
    let queried = match snapshot.is_refreshed {
        true => "by querying every repository",
        false => "from the catalog alone: no repository was queried",
    };
    format!(
        "Collected by drctl {} at {} in {}, {queried}. Every time is UTC. This page loads nothing and changes nothing.",
        env!("CARGO_PKG_VERSION"),
        utc(snapshot.collected),
        lasting(snapshot.took_seconds),
    )
}

fn headline(snapshot: &SystemSnapshot, line: &FleetLine) -> Headline {
    let sentence = line.problems.first().unwrap_or(&snapshot.sentence);
    Headline {
        tone: tone(line.severity),
        word: word(line.severity).to_owned(),
        sentence: capitalised(sentence),
    }
}

fn figures(snapshot: &SystemSnapshot, now: DateTime<Utc>) -> Vec<Figure> {
    let figure = |label: &str, (value, tone): (String, Tone), note: String| Figure {
        label: label.to_owned(),
        value,
        note,
        tone,
    };
    let (seconds, is_everything) = snapshot.worst_loss();
    let rpo = lasting(snapshot.rpo().as_secs_f64());
    let mut figures = vec![figure(
        "would be lost now",
        loss(seconds, is_everything, snapshot.rpo()),
        format!("if the worst place burned; the target is {rpo}"),
    )];
    if let Some(drill) = &snapshot.drill {
        let (value, note) = match &drill.last {
            Some(last) => (drill_word(last.outcome), age(last.ended, now)),
            None => (("never run".to_owned(), Tone::Warning), "nothing was proven by a restore".to_owned()),
        };
        figures.push(figure("last drill", value, note));
        figures.push(recovery_figure(snapshot, drill));
    }
    let late = snapshot.late().count();
    let value = match late {
        0 => ("nothing".to_owned(), Tone::Good),
        late => (count(late as u64, "task"), Tone::Warning),
    };
    let next = snapshot.tasks.iter().filter_map(|task| task.next).min();
    figures.push(figure(
        "late",
        value,
        next.map(|next| format!("next {}", age(next, now))).unwrap_or_default(),
    ));
    figures
}

fn drill_word(outcome: Outcome) -> (String, Tone) {
    match outcome {
        Outcome::Succeeded => ("passed".to_owned(), Tone::Good),
        Outcome::Degraded => ("degraded".to_owned(), Tone::Warning),
        Outcome::Failed => ("failed".to_owned(), Tone::Bad),
        Outcome::Interrupted => ("interrupted".to_owned(), Tone::Warning),
    }
}

/// The slowest forecast, or what the last drill took.
fn recovery_figure(snapshot: &SystemSnapshot, drill: &DrillSnapshot) -> Figure {
    let of_forecast = |forecast: &Forecast| match forecast {
        Forecast::Forecast(forecast) => Some(forecast.rto_seconds),
        Forecast::NoForecast { .. } => None,
    };
    let forecast = drill.forecasts.iter().filter_map(|one| of_forecast(&one.forecast)).max_by(f64::total_cmp);
    let measured = drill.record.as_ref().and_then(|record| record.results.rto_seconds);
    let target = snapshot.rto_seconds as f64;
    let (label, seconds) = match forecast {
        Some(_) => ("recovery, forecast", forecast),
        None => ("recovery, last drill", measured),
    };
    Figure {
        label: label.to_owned(),
        value: seconds.map_or_else(|| "not measured".to_owned(), lasting),
        note: format!("the target is {}", lasting(target)),
        tone: seconds.map_or(Tone::Warning, |seconds| against(seconds, target)),
    }
}

fn problems(line: &FleetLine) -> Option<Section> {
    // The first is the headline.
    let others = line.problems.get(1..)?;
    let notices: Vec<Block> =
        others.iter().map(|text| Block::Notice(Tone::Warning, capitalised(text))).collect();
    (!notices.is_empty()).then(|| Section::new("What else is wrong", notices))
}

fn place_name(location: &Location) -> String {
    match location {
        Location::Repository(name) => name.to_string(),
        Location::Region(name) => format!("region {name}"),
    }
}

fn if_lost(snapshot: &SystemSnapshot) -> Section {
    let head = vec![
        Column::text("Source"),
        Column::text("Place"),
        Column::text("You would lose"),
        Column::text("Restored from"),
        Column::text("Target"),
    ];
    let rpo = snapshot.rpo();
    let mut rows = Vec::new();
    for source in &snapshot.sources {
        for lost in &source.status.if_lost {
            let is_everything = lost.loses_seconds.is_none() && lost.unknown.is_empty();
            let (text, tone) = loss(lost.loses_seconds, is_everything, rpo);
            let mut cell = Cell::text(text).tone(tone);
            if let Some(seconds) = lost.loses_seconds {
                cell = cell.bar(seconds as f64 / rpo.as_secs_f64().max(1.0));
            }
            let left = match (&lost.left, lost.unknown.first()) {
                (Some(left), _) => left.clone(),
                (None, Some(unknown)) => format!("{unknown}, which could not be queried"),
                (None, None) => "nothing".to_owned(),
            };
            rows.push(vec![
                Cell::text(source.status.source.as_str()),
                Cell::text(place_name(&lost.location)),
                cell,
                Cell::text(left),
                Cell::text(lasting(rpo.as_secs_f64())),
            ]);
        }
    }
    Section::new("If this place burned now, and the source with it", vec![Block::Table(Table { head, rows })])
}

fn verdict_cell(verdict: ObjectiveVerdict, behind: bool) -> Cell {
    let is_said = matches!(verdict, ObjectiveVerdict::Behind | ObjectiveVerdict::Nothing);
    let behind = if behind && !is_said { ", behind" } else { "" };
    Cell::text(format!("{}{behind}", verdict.as_str())).tone(tone(Severity::of_verdict(verdict)))
}

fn copies(snapshot: &SystemSnapshot, now: DateTime<Utc>) -> Section {
    let head = ["Source", "Copy", "Data until", "Backup", "State", "Verdict"].map(Column::text).into();
    let row = |source: &str, place: &LocationStatus| {
        let until = match place.restorable_until {
            Some(until) => format!("{} ({})", utc(until), age(until, now)),
            None => "nothing".to_owned(),
        };
        let newest = place.newest.as_ref();
        vec![
            Cell::text(source),
            Cell::text(place_name(&place.location)),
            Cell::text(until),
            newest.map(|newest| Cell::code(newest.backup.as_str())).unwrap_or_default(),
            Cell::text(newest.map(|newest| newest.state.as_str()).unwrap_or_default()),
            verdict_cell(place.verdict, place.behind),
        ]
    };
    let rows = snapshot.sources.iter().flat_map(|source| {
        source.status.places.iter().map(move |place| row(source.status.source.as_str(), place))
    });
    let mut blocks = vec![Block::Table(Table { head, rows: rows.collect() })];
    let details: Vec<String> =
        snapshot.sources.iter().flat_map(|source| source.details.iter().cloned()).collect();
    if !details.is_empty() {
        blocks.push(Block::List(details));
    }
    Section::new("What each copy can give back", blocks)
}

fn last_drill(drill: &DrillSnapshot, now: DateTime<Utc>) -> Section {
    const TITLE: &str = "Last drill";
    let Some(record) = &drill.record else {
        let text = match &drill.last {
            Some(last) => format!(
                "The last drill {}, {}; its record was not read.",
                drill_word(last.outcome).0,
                age(last.ended, now)
            ),
            None => "No drill was run: that a backup can be restored is not proven.".to_owned(),
        };
        return Section::new(TITLE, vec![Block::Notice(Tone::Warning, text)]);
    };
    let verdict = &record.verdict;
    let (word, identity) = (outcome_word(verdict.outcome), &record.identity);
    let text = format!("{word}: {}", verdict.sentence);
    let mut facts = vec![
        ("Drill".to_owned(), Cell::code(identity.drill.as_str())),
        ("When".to_owned(), Cell::text(format!("{} ({})", utc(record.begun), age(record.begun, now)))),
        ("What".to_owned(), Cell::text(format!("{} of {}", identity.scenario, identity.source))),
    ];
    if let Some(rpo) = record.results.rpo_seconds {
        let tone = against(rpo, record.criteria.rpo_seconds);
        facts.push(("Data lost".to_owned(), Cell::text(lasting(rpo)).tone(tone)));
    }
    let mut blocks = vec![Block::Notice(outcome_tone(verdict.outcome), text), Block::Facts(facts)];
    blocks.extend(recovery_time(record).blocks);
    Section::new(TITLE, blocks)
}

fn forecasts(drill: &DrillSnapshot) -> Option<Section> {
    let notice = |path: &dyn std::fmt::Display, forecast: &Forecast| {
        let text = format!("{}: {}", capitalised(&path.to_string()), forecast_sentence(forecast));
        Block::Notice(forecast_tone(forecast), text)
    };
    let blocks: Vec<Block> = drill.forecasts.iter().map(|one| notice(&one.path, &one.forecast)).collect();
    (!blocks.is_empty()).then(|| Section::new("What a recovery would take", blocks))
}

fn backups(snapshot: &SystemSnapshot, now: DateTime<Utc>) -> Section {
    const TITLE: &str = "Backups";
    if snapshot.stocks.is_empty() {
        let text = "No repository holds a backup.".to_owned();
        return Section::new(TITLE, vec![Block::Notice(Tone::Bad, text)]);
    }
    let head = vec![
        Column::text("Source"),
        Column::text("Kind"),
        Column::text("Repository"),
        Column::text("Last good"),
        Column::number("Its size"),
        Column::number("Held"),
        Column::number("Stored"),
    ];
    let row = |stock: &BackupStock| {
        let newest = stock.newest.as_ref();
        let size = newest.map(|newest| {
            let is_small = stock.least_expected_bytes.is_some_and(|least| newest.stored_bytes < least);
            let size = Cell::text(format_size(newest.stored_bytes));
            if is_small { size.tone(Tone::Warning) } else { size }
        });
        vec![
            Cell::text(stock.source.as_str()),
            Cell::text(stock.kind.as_str()),
            Cell::text(stock.repository.as_str()),
            match newest {
                Some(newest) => Cell::text(age(newest.begun, now)),
                None => Cell::text("none is good").tone(Tone::Bad),
            },
            size.unwrap_or_default(),
            Cell::text(stock.count.to_string()),
            Cell::text(format_size(stock.stored_bytes)),
        ]
    };
    let rows = snapshot.stocks.iter().map(row).collect();
    Section::new(TITLE, vec![Block::Table(Table { head, rows })])
}

fn schedule(tasks: &[TaskState], now: DateTime<Utc>) -> Section {
    const TITLE: &str = "Schedule";
    if tasks.is_empty() {
        let text = "The policy schedules nothing: what is not started by other means is not done.".to_owned();
        return Section::new(TITLE, vec![Block::Notice(Tone::Warning, text)]);
    }
    let head = ["Task", "Cron", "Last success", "State", "Next"].map(Column::text).into();
    let row = |task: &TaskState| {
        let (word, tone) = turn(task);
        let without = if task.task == Task::Copies { "not needed yet" } else { "never" };
        let cron = match task.schedule.is_empty() {
            true => Cell::text("when a copy is missing"),
            false => Cell::code(task.schedule.join(", ")),
        };
        vec![
            Cell::text(task.task.to_string()),
            cron,
            Cell::text(age_or(task.succeeded, now, without)),
            Cell::text(word).tone(tone),
            Cell::text(age_or(task.next, now, "")),
        ]
    };
    Section::new(TITLE, vec![Block::Table(Table { head, rows: tasks.iter().map(row).collect() })])
}

fn turn(task: &TaskState) -> (String, Tone) {
    let missed = match task.missed {
        0 => String::new(),
        missed => format!(", {missed} missed"),
    };
    match task.turn {
        Turn::Waits => ("done".to_owned(), Tone::Good),
        Turn::NothingYet => ("no backup yet".to_owned(), Tone::Neutral),
        Turn::Due if task.is_late => (format!("late{missed}"), Tone::Bad),
        Turn::Due => ("due".to_owned(), Tone::Warning),
        Turn::TriedAgain { at } => (format!("failed, tried again at {}", at.format("%H:%M")), Tone::Warning),
        Turn::GivenUp { attempts } => (format!("failed {attempts} times"), Tone::Bad),
    }
}

fn retention(snapshot: &SystemSnapshot, now: DateTime<Utc>) -> Section {
    let block = match &snapshot.retention {
        None => Block::Notice(
            Tone::Neutral,
            "The policy has no retention: every backup is kept, and storage grows.".to_owned(),
        ),
        Some(retention) => {
            let applied = match retention.applied {
                Some(applied) => format!("{} ({})", utc(applied), age(applied, now)),
                None => "never".to_owned(),
            };
            let applied = Cell::text(applied);
            let is_concern = retention.concern.is_some();
            let applied = if is_concern { applied.tone(Tone::Warning) } else { applied };
            let mut facts = vec![("Last applied".to_owned(), applied)];
            if retention.applied.is_some() {
                let removed = count(retention.removed as u64, "backup");
                facts.push(("Removed by the last run".to_owned(), Cell::text(removed)));
            }
            let scheduled = snapshot.tasks.iter().find(|task| task.task == Task::Retention);
            if let Some(next) = scheduled.and_then(|task| task.next) {
                facts.push(("Next".to_owned(), Cell::text(format!("{} ({})", utc(next), age(next, now)))));
            }
            Block::Facts(facts)
        }
    };
    Section::new("Retention", vec![block])
}

fn channels(snapshot: &SystemSnapshot) -> Option<Section> {
    let facts: Vec<(String, Cell)> = snapshot
        .channels
        .iter()
        .map(|channel| {
            let state = match &channel.problem {
                None => Cell::text("takes messages").tone(Tone::Good),
                Some(problem) => Cell::text(problem.as_str()).tone(Tone::Bad),
            };
            (channel.name.clone(), state)
        })
        .collect();
    (!facts.is_empty()).then(|| Section::new("Notifications", vec![Block::Facts(facts)]))
}

fn warnings(snapshot: &SystemSnapshot) -> Option<Section> {
    let warnings = &snapshot.warnings;
    (!warnings.is_empty())
        .then(|| Section::new("Reported while this was collected", vec![Block::List(warnings.clone())]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::FailedCollection;
    use crate::monitor::snapshot::tests::{at, healthy, watched};
    use crate::report::markdown;

    fn shown(watched: &Watched) -> String {
        markdown(&system_page(watched, at("2026-11-20T12:00:30Z")))
    }

    #[test]
    fn the_page_of_a_good_system_is_as_reviewed() {
        insta::assert_snapshot!(shown(&watched(healthy())).replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    }

    #[test]
    fn a_page_of_an_old_snapshot_says_so_first() {
        let failed = FailedCollection { at: at("2026-11-20T12:00:20Z"), reason: "no route to host".into() };
        let text = shown(&Watched { failed: Some(failed.clone()), ..watched(healthy()) });
        assert!(text.contains("At risk") && text.contains("no route to host"), "{text}");
        let text = shown(&Watched { name: "shop".into(), snapshot: None, failed: Some(failed) });
        assert!(text.contains("Unknown") && text.contains("no route to host"), "{text}");
    }

    #[test]
    fn nothing_to_restore_is_never_shown_as_good() {
        let mut snapshot = healthy();
        let status = &mut snapshot.sources[0].status;
        status.if_lost[0].loses_seconds = None;
        status.if_lost[0].left = None;
        snapshot.drill = None;
        snapshot.stocks.clear();
        let text = shown(&watched(snapshot));
        assert!(text.contains("everything") && text.contains("No repository holds a backup."), "{text}");
    }
}
