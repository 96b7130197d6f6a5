use serde::Serialize;

use super::Context;
use super::error::CommandError;
use super::exit::Exit;
use super::known::{Freshness, Known, word_style};
use super::output::{duration, style};
use super::table::{Cell, Table};
use crate::upkeep::standing::{PlaceStanding, SourceStanding, Verdict, assess};

/// Say where we stand: the newest restorable backup of each source in each repository, against the objective
#[derive(Debug, clap::Args)]
#[command(after_help = super::exit::HELP)]
pub struct StatusArgs {
    #[command(flatten)]
    freshness: Freshness,
}

pub(super) async fn run(args: StatusArgs, context: &Context) -> Result<Exit, CommandError> {
    let known = Known::open(context, args.freshness.offline).await?;
    let entries = known.entries().await?;
    let sources: Vec<_> = known.policy.sources.iter().map(|source| source.name.clone()).collect();
    let rpo = known.policy.objectives.rpo;
    let standings = assess(&sources, &known.places(), &entries, rpo, context.clock.now());
    let worst = standings.iter().map(|standing| standing.verdict).max().unwrap_or(Verdict::Nothing);
    if context.output.is_json() {
        let document = StatusDocument {
            system: known.policy.system.as_str(),
            refreshed: known.refreshed.is_some(),
            as_of: context.clock.now(),
            rpo_seconds: rpo.as_secs(),
            rto_seconds: known.policy.objectives.rto.as_secs(),
            verdict: worst,
            sources: &standings,
        };
        context.output.document("status", &document);
    } else {
        show(context, &known, &standings, worst);
    }
    known.catalog.close().await;
    Ok(match worst {
        Verdict::Ok => Exit::Done,
        Verdict::Behind | Verdict::NotReached => Exit::Partly,
        Verdict::ObjectiveMissed => Exit::ObjectiveMissed,
        Verdict::Nothing => Exit::Nothing,
    })
}

#[derive(Serialize)]
struct StatusDocument<'a> {
    system: &'a str,
    /// Whether the repositories were asked.
    refreshed: bool,
    as_of: chrono::DateTime<chrono::Utc>,
    rpo_seconds: u64,
    rto_seconds: u64,
    verdict: Verdict,
    sources: &'a [SourceStanding],
}

fn show(context: &Context, known: &Known, standings: &[SourceStanding], worst: Verdict) {
    let output = &context.output;
    let head = ["SOURCE", "REPOSITORY", "NEWEST RESTORABLE", "AGE", "STATE", "VERDICT"].map(Cell::new);
    let [source, repository, newest, age, state, verdict] = head;
    let mut table = Table::head([source, repository, newest, age.right(), state, verdict]);
    for standing in standings {
        for (n, place) in standing.places.iter().enumerate() {
            let name = if n == 0 { standing.source.as_str() } else { "" };
            table.row(row(name, place));
        }
    }
    table.lines().iter().for_each(|line| output.line(line));
    output.line("");
    let (rpo, style) = (humantime::format_duration(known.policy.objectives.rpo), word_style(worst.as_str()));
    let words = match worst {
        Verdict::Ok => format!("every repository could give back data of the last {rpo}"),
        Verdict::Behind => format!("within {rpo} everywhere, but not every repository has the newest backup"),
        Verdict::NotReached => "not every repository could be asked".to_owned(),
        Verdict::ObjectiveMissed => missed(standings, &rpo.to_string()),
        Verdict::Nothing => "a source has no backup that could be restored".to_owned(),
    };
    output.line(format!("{style}{}{style:#}: {words}", worst.as_str()));
    match worst {
        Verdict::Behind => output.note("hint: `drctl copies sync` completes the copies."),
        Verdict::ObjectiveMissed if places(standings).any(|place| place.behind) => {
            output.note("hint: `drctl copies sync` completes the copies; `drctl backup` takes a new backup.");
        }
        Verdict::ObjectiveMissed | Verdict::Nothing => {
            output.note("hint: `drctl backup` takes a new backup.")
        }
        Verdict::Ok | Verdict::NotReached => {}
    }
}

fn places(standings: &[SourceStanding]) -> impl Iterator<Item = &PlaceStanding> {
    standings.iter().flat_map(|standing| &standing.places)
}

/// Which repositories would lose too much, if each were the only one left.
fn missed(standings: &[SourceStanding], rpo: &str) -> String {
    let misses = |place: &PlaceStanding| matches!(place.verdict, Verdict::ObjectiveMissed | Verdict::Nothing);
    if places(standings).all(misses) {
        return format!("a restore now would lose more than the last {rpo}");
    }
    let mut names: Vec<_> =
        places(standings).filter(|place| misses(place)).map(|place| &place.repository).collect();
    names.sort();
    names.dedup();
    let names = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" or ");
    format!("a restore from {names} alone would lose more than the last {rpo}")
}

fn row(source: &str, place: &PlaceStanding) -> [Cell; 6] {
    let (id, age, state) = match &place.newest {
        Some(newest) => (newest.backup.as_str(), duration(newest.age()), newest.state.as_str()),
        None => ("none", String::new(), ""),
    };
    let mut verdict = place.verdict.as_str().to_owned();
    if place.behind && !matches!(place.verdict, Verdict::Behind | Verdict::Nothing) {
        verdict.push_str(", behind");
    }
    if place.bad > 0 {
        verdict.push_str(&format!(", {} bad", place.bad));
    }
    [
        Cell::new(source).style(style::STRONG),
        Cell::new(place.repository.as_str()),
        Cell::new(id),
        Cell::new(age).right(),
        Cell::new(state).style(word_style(state)),
        Cell::new(verdict).style(word_style(place.verdict.as_str())),
    ]
}
