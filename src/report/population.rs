//! The page of every drill that was due in a period, of one system or of several.

use chrono::{DateTime, Utc};

use super::figures::{against, lasting_or, outcome_tone, outcome_word};
use super::forecast::{forecast_sentence, forecast_tone};
use super::page::{Block, Cell, Column, Figure, Headline, Mark, Page, Section, Table, Tone, utc};
use crate::drill::evidence::{DrillHistory, StoredDrill};
use crate::drill::forecast::{DrillPath, Forecast};
use crate::drill::integrity::Damage;
use crate::drill::population::{MatchedBy, Occurrence, OccurrenceState, Population};
use crate::model::RunId;
use crate::text::count;

/// More marks than these are no picture.
const MARKS: usize = 120;

/// The drills of one policy's system.
#[derive(Clone, Debug)]
pub struct SystemDrills {
    pub population: Population,
    pub history: DrillHistory,
    pub damage: Vec<Damage>,
    pub forecasts: Vec<(DrillPath, Forecast)>,
}

impl SystemDrills {
    fn find(&self, drill: &RunId) -> Option<&StoredDrill> {
        self.history.drills.iter().find(|stored| stored.record.identity.drill == *drill)
    }
}

/// Returns the page of these systems, all of which were asked for the same months.
pub fn population_page(systems: &[SystemDrills], made_at: DateTime<Utc>) -> Page {
    let period = systems.first().map(|first| first.population.query.period.in_words()).unwrap_or_default();
    let of = match systems {
        [only] => only.population.query.system.to_string(),
        several => count(several.len() as u64, "system"),
    };
    let mut sections = vec![Section::new("", vec![Block::Figures(figures(systems))])];
    if systems.len() > 1 {
        sections.push(overview(systems));
    }
    for system in systems {
        let prefix = match systems.len() {
            1 => String::new(),
            _ => format!("{}: ", system.population.query.system),
        };
        sections.extend(damaged(system, &prefix));
        sections.push(due(system, &prefix));
        sections.push(others(system, &prefix));
        sections.push(forecasts(system, &prefix));
        sections.push(query(system, &prefix));
    }
    Page {
        title: "Restore drills that were due".to_owned(),
        subtitle: format!("{of} · {period}"),
        verdict: headline(systems, &period),
        sections,
        footer: format!(
            "Made by drctl {} at {} from the schedule of the policy and the records of the drills.",
            env!("CARGO_PKG_VERSION"),
            utc(made_at)
        ),
    }
}

fn total(systems: &[SystemDrills], state: OccurrenceState) -> usize {
    systems.iter().map(|system| system.population.count(state)).sum()
}

fn headline(systems: &[SystemDrills], period: &str) -> Headline {
    use OccurrenceState as State;
    let of = |state| total(systems, state);
    let due: usize = State::ALL.into_iter().filter(|state| state.counts()).map(of).sum();
    let damage: usize = systems.iter().map(|system| system.damage.len()).sum();
    let is_whole = systems.iter().all(|system| system.population.query.unread.is_empty());
    let parts = [
        (State::Done, "passed in time"),
        (State::Late, "passed late"),
        (State::Failed, "failed"),
        (State::Undetermined, "undetermined"),
        (State::Missed, "missed"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(state, _)| of(*state) > 0)
        .map(|(state, words)| format!("{} {words}", of(state)))
        .collect();
    let mut sentence = match due {
        0 => format!("No drill was due in {period}."),
        due => format!("Of {} that were due in {period}: {}.", count(due as u64, "drill"), parts.join(", ")),
    };
    if of(State::NoBackup) > 0 {
        let times = count(of(State::NoBackup) as u64, "time");
        sentence.push_str(&format!(" {times} of the schedule came before the first backup."));
    }
    if damage > 0 {
        sentence.push_str(" There are records that do not hold.");
    }
    if !is_whole {
        sentence.push_str(" Not every repository was read, so that what is missed may have a record there.");
    }
    let (tone, word) = if damage > 0 {
        (Tone::Bad, "Evidence damaged")
    } else if of(State::Missed) + of(State::Failed) > 0 {
        (Tone::Bad, "Gaps")
    } else if !is_whole {
        (Tone::Warning, "Incomplete")
    } else if of(State::Late) + of(State::Undetermined) > 0 {
        (Tone::Warning, "Not all in time")
    } else if due == 0 {
        (Tone::Neutral, "None due")
    } else {
        (Tone::Good, "All passed")
    };
    Headline { tone, word: word.to_owned(), sentence }
}

fn figures(systems: &[SystemDrills]) -> Vec<Figure> {
    use OccurrenceState as State;
    let figure = |label: &str, value: usize, note: &str, tone: Tone| Figure {
        label: label.to_owned(),
        value: value.to_string(),
        note: note.to_owned(),
        tone: if value == 0 { Tone::Neutral } else { tone },
    };
    let of = |state| total(systems, state);
    let due: usize = systems.iter().map(|system| system.population.occurrences.len()).sum();
    let due = due - of(State::NoBackup);
    let to_come: usize = systems.iter().map(|system| system.population.to_come).sum();
    let seen = |occurrence: &&Occurrence| occurrence.acknowledged_by.is_some();
    let seen: usize =
        systems.iter().map(|system| system.population.occurrences.iter().filter(seen).count()).sum();
    vec![
        figure("Due", due, &format!("{to_come} still to come"), Tone::Neutral),
        figure("Passed", of(State::Done) + of(State::Late), &format!("{} late", of(State::Late)), Tone::Good),
        figure(
            "Failed or missed",
            of(State::Failed) + of(State::Missed),
            &format!("{} undetermined", of(State::Undetermined)),
            Tone::Bad,
        ),
        figure("Acknowledged", seen, "by a named person", Tone::Neutral),
    ]
}

fn state_tone(state: OccurrenceState) -> Tone {
    match state {
        OccurrenceState::Done => Tone::Good,
        OccurrenceState::Late | OccurrenceState::Undetermined => Tone::Warning,
        OccurrenceState::Failed | OccurrenceState::Missed => Tone::Bad,
        OccurrenceState::Due | OccurrenceState::NoBackup => Tone::Neutral,
    }
}

fn letter(state: OccurrenceState) -> char {
    match state {
        OccurrenceState::Done => '✓',
        OccurrenceState::Late => 'L',
        OccurrenceState::Failed => 'F',
        OccurrenceState::Undetermined => '?',
        OccurrenceState::Missed => 'M',
        OccurrenceState::Due => '·',
        OccurrenceState::NoBackup => '–',
    }
}

fn overview(systems: &[SystemDrills]) -> Section {
    let mut head = vec![Column::text("System")];
    head.extend(OccurrenceState::ALL.map(|state| Column::number(state.as_str())));
    head.push(Column::text("Forecast"));
    let rows = systems.iter().map(|system| {
        let counts = OccurrenceState::ALL.map(|state| {
            let number = system.population.count(state);
            let tone = if number > 0 { state_tone(state) } else { Tone::Neutral };
            Cell::text(number.to_string()).tone(tone)
        });
        let worst =
            system.forecasts.iter().map(|(_, forecast)| forecast).max_by_key(|forecast| forecast.standing());
        let forecast = match worst {
            None => Cell::text("none"),
            Some(worst) => {
                let words = match forecast_tone(worst) {
                    Tone::Good => "within the objective",
                    Tone::Warning => "near the objective",
                    Tone::Bad => "misses the objective",
                    Tone::Neutral => "none",
                };
                Cell::text(words).tone(forecast_tone(worst))
            }
        };
        let name = Cell::text(system.population.query.system.as_str());
        std::iter::once(name).chain(counts).chain([forecast]).collect()
    });
    Section::new("Systems", vec![Block::Table(Table { head, rows: rows.collect() })])
}

fn damaged(system: &SystemDrills, prefix: &str) -> Option<Section> {
    let items: Vec<String> = system.damage.iter().map(ToString::to_string).collect();
    let text =
        "These records were changed or removed after they were written, or were not written completely.";
    (!items.is_empty()).then(|| {
        let blocks = vec![Block::Notice(Tone::Bad, text.to_owned()), Block::List(items)];
        Section::new(&format!("{prefix}Records that do not hold"), blocks)
    })
}

fn due(system: &SystemDrills, prefix: &str) -> Section {
    let population = &system.population;
    let title = format!("{prefix}What was due");
    let mut blocks = Vec::new();
    if let Some(overdue) = population.overdue {
        let text = format!("The drill of {} is overdue: it was not run.", utc(overdue.due));
        blocks.push(Block::Notice(Tone::Bad, text));
    }
    if population.query.schedule.is_empty() {
        let text =
            "The policy has no `schedule` under `[drill]`: drills are manual only, and none is ever due.";
        blocks.push(Block::Notice(Tone::Warning, text.to_owned()));
    }
    if population.occurrences.is_empty() {
        blocks.push(Block::Text("Nothing was due in this period up to now.".to_owned()));
        return Section::new(&title, blocks);
    }
    let marks = population.occurrences.iter().map(|occurrence| Mark {
        tone: state_tone(occurrence.state),
        letter: letter(occurrence.state),
        title: format!("{}: {}", utc(occurrence.due), occurrence.state.as_str()),
    });
    if population.occurrences.len() <= MARKS {
        blocks.push(Block::Marks(marks.collect()));
    }
    let head = vec![
        Column::text("Due"),
        Column::text("State"),
        Column::text("Drill"),
        Column::text("Scenario"),
        Column::number("Recovery time"),
        Column::number("Data loss"),
        Column::text("Acknowledged"),
    ];
    let rows = population.occurrences.iter().map(|occurrence| row(system, occurrence));
    blocks.push(Block::Table(Table { head, rows: rows.collect() }));
    Section::new(&title, blocks)
}

fn row(system: &SystemDrills, occurrence: &Occurrence) -> Vec<Cell> {
    let stored = occurrence.drill.as_ref().and_then(|drill| system.find(drill));
    let mut state = occurrence.state.as_str().to_owned();
    if occurrence.matched_by == Some(MatchedBy::Interval) {
        state.push_str(", by the time it began");
    }
    if !occurrence.other_attempts.is_empty() {
        state
            .push_str(&format!(", after {}", count(occurrence.other_attempts.len() as u64, "other attempt")));
    }
    let mut cells =
        vec![Cell::text(utc(occurrence.due)), Cell::text(state).tone(state_tone(occurrence.state))];
    cells.extend(measured(stored));
    cells.push(Cell::text(occurrence.acknowledged_by.clone().unwrap_or_default()));
    cells
}

/// Id, scenario, recovery time and data loss.
fn measured(stored: Option<&StoredDrill>) -> [Cell; 4] {
    let Some(record) = stored.map(|stored| &stored.record) else {
        return ["no record", "", "", ""].map(Cell::text);
    };
    let time = |seconds: Option<f64>, objective: f64| {
        let tone = seconds.map_or(Tone::Neutral, |seconds| against(seconds, objective));
        // What meets its objective needs no colour.
        let tone = if tone == Tone::Good { Tone::Neutral } else { tone };
        Cell::text(lasting_or(seconds, "–")).tone(tone)
    };
    [
        Cell::code(record.identity.drill.as_str()),
        Cell::text(record.identity.scenario.as_str()),
        time(record.results.rto_seconds, record.criteria.rto_seconds),
        time(record.results.rpo_seconds, record.criteria.rpo_seconds),
    ]
}

fn others(system: &SystemDrills, prefix: &str) -> Section {
    let title = format!("{prefix}Other drills of the period");
    let unscheduled = &system.population.unscheduled;
    if unscheduled.is_empty() {
        return Section::new(&title, vec![Block::Text("There were none.".to_owned())]);
    }
    let head = vec![
        Column::text("Trigger"),
        Column::text("Verdict"),
        Column::text("Drill"),
        Column::text("Scenario"),
        Column::number("Recovery time"),
        Column::number("Data loss"),
        Column::text("Acknowledged"),
    ];
    let rows = unscheduled.iter().map(|drill| {
        let trigger = match drill.occurrence {
            Some(at) => format!("{}, of {}", drill.trigger.as_str(), utc(at)),
            None => drill.trigger.as_str().to_owned(),
        };
        let verdict = outcome_word(drill.outcome).to_lowercase();
        let mut cells = vec![Cell::text(trigger), Cell::text(verdict).tone(outcome_tone(drill.outcome))];
        cells.extend(measured(system.find(&drill.drill)));
        cells.push(Cell::text(drill.acknowledged_by.clone().unwrap_or_default()));
        cells
    });
    Section::new(&title, vec![Block::Table(Table { head, rows: rows.collect() })])
}

fn forecasts(system: &SystemDrills, prefix: &str) -> Section {
    let mut blocks = Vec::new();
    for (path, forecast) in &system.forecasts {
        let text = format!("{path}: {}", forecast_sentence(forecast));
        blocks.push(Block::Notice(forecast_tone(forecast), text));
    }
    if blocks.is_empty() {
        blocks.push(Block::Text("No drill has restored anything yet: there is no forecast.".to_owned()));
    }
    Section::new(&format!("{prefix}Forecast of the recovery time"), blocks)
}

fn query(system: &SystemDrills, prefix: &str) -> Section {
    let (population, query) = (&system.population, &system.population.query);
    let mut facts: Vec<(String, Cell)> = Vec::new();
    let mut fact = |name: &str, cell: Cell| facts.push((name.to_owned(), cell));
    fact("Policy", Cell::code(&query.policy));
    if let Some(sha256) = &query.policy_sha256 {
        fact("SHA-256 of the policy", Cell::code(sha256.to_string()));
    }
    fact("Source", Cell::text(query.source.as_str()));
    fact("Cron lines", Cell::code(query.schedule.join("; ")));
    fact("Time zone", Cell::text(&query.timezone));
    let period = &query.period;
    fact("From", Cell::text(utc(period.from)));
    fact("Until, without it", Cell::text(utc(period.until)));
    fact("As of", Cell::text(utc(query.asked_at)));
    fact("In time within", Cell::text(query.grace));
    for (name, records) in &query.repositories {
        fact(&format!("Records read in {name}"), Cell::text(records.to_string()));
    }
    for (name, reason) in &query.unread {
        fact(&format!("Not read: {name}"), Cell::text(reason).tone(Tone::Bad));
    }
    let counts: Vec<String> =
        population.counts.iter().map(|count| format!("{} {}", count.count, count.state.as_str())).collect();
    fact("Rows", Cell::text(format!("{} = {}", population.occurrences.len(), counts.join(" + "))));
    fact("Still to come", Cell::text(population.to_come.to_string()));
    let text = "The list begins with the schedule, not with the records: each time at which a cron line fires in the \
                period is a row, whether there is a record of it or not. A record names the time that it satisfies; \
                one that names none counts for the last time that was due before it began. The schedule is that of \
                the policy as it is now.";
    let command = format!(
        "drctl drill report --policy {} --from {} --through {}",
        query.policy, period.first, period.last
    );
    let blocks = vec![Block::Text(text.to_owned()), Block::Facts(facts), Block::Command(command)];
    Section::new(&format!("{prefix}How this list was made"), blocks)
}
