use chrono::{DateTime, Utc};
use serde::Serialize;

use super::known_drills::{DrillView, id};
use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::style;
use crate::cli::table::{Cell, TextTable};
use crate::drill::evidence::StoredDrill;
use crate::drill::forecast::{DrillPath, Forecast};
use crate::drill::integrity::Damage;
use crate::drill::population::Overdue;
use crate::drill::{Acknowledgement, DrillVerdict, Scenario, Trigger};
use crate::model::{BackupId, RepositoryName, RunId, SourceName, SystemName};
use crate::report::{Tone, forecast_sentence, forecast_tone, lasting, outcome_tone, outcome_word, plain};
use crate::text::{count, format_time};

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// At most so many
    #[arg(long, short = 'n', value_name = "NUMBER")]
    limit: Option<usize>,
}

pub(super) async fn run(args: ListArgs, context: &Context) -> Result<Exit, CommandError> {
    let view = DrillView::open(context).await?;
    let now = context.clock.now();
    let overdue = view.overdue(now);
    let limit = args.limit.unwrap_or(usize::MAX);
    let shown: Vec<&StoredDrill> = view.drills().iter().rev().take(limit).collect();
    let forecasts = view.forecasts(now);
    let next_due = view.schedule().and_then(|schedule| schedule.next(now));
    if context.output.is_json() {
        let document = DrillsDocument {
            system: &view.policy.system,
            drills: shown.iter().map(|drill| DrillRow::of(&view, drill)).collect(),
            forecasts: forecasts.iter().map(|(path, forecast)| ForecastRow { path, forecast }).collect(),
            next_due,
            overdue,
            damage: &view.evidence.damage,
            unread: view.unread.iter().map(|(name, reason)| UnreadRow { name, reason }).collect(),
        };
        context.output.document("drills", &document);
    } else {
        show(context, &view, &shown);
        for (path, forecast) in &forecasts {
            let style = tone_style(forecast_tone(forecast));
            context.output.line(format!("{style}{path}: {}{style:#}", forecast_sentence(forecast)));
        }
        if let Some(next_due) = next_due {
            context.output.line(format!("The next drill is due at {}.", format_time(next_due)));
        }
        if let Some(overdue) = overdue {
            let bad = style::BAD;
            let due = format_time(overdue.due);
            context.output.line(format!("{bad}The drill that was due at {due} is overdue.{bad:#}"));
            if !view.drills().is_empty() {
                context.output.note("hint: `drctl drill run` runs it now. Did cron run it, and did it fail?");
            }
        }
    }
    if !view.evidence.damage.is_empty() {
        context.output.note(
            "hint: Records of drills are never changed. Compare the copies, and the versions of the bucket: who could write there?",
        );
    }
    Ok(view.exit(context, overdue))
}

pub(super) fn tone_style(tone: Tone) -> anstyle::Style {
    match tone {
        Tone::Good => style::GOOD,
        Tone::Warning => style::WARN,
        Tone::Bad => style::BAD,
        Tone::Neutral => anstyle::Style::new(),
    }
}

fn show(context: &Context, view: &DrillView, shown: &[&StoredDrill]) {
    let output = &context.output;
    if shown.is_empty() {
        match view.unread.is_empty() {
            true => {
                output.line("There is no record of a drill.");
                output.note(format!("hint: {}", view.how_to_begin()));
            }
            false => output.line("No record of a drill is known, and not every repository could be read."),
        }
        return;
    }
    let [drill, verdict, scenario, source, rto, rpo, seen] =
        ["DRILL", "VERDICT", "SCENARIO", "SOURCE", "RTO", "RPO", "ACKNOWLEDGED"].map(Cell::new);
    let mut table = TextTable::head([drill, verdict, scenario, source, rto.right(), rpo.right(), seen]);
    let time = |seconds: Option<f64>| Cell::new(seconds.map_or_else(|| "-".to_owned(), lasting)).right();
    for drill in shown {
        let record = &drill.record;
        let outcome = record.verdict.outcome;
        let verdict = match view.damage_of(id(drill)).is_empty() {
            true => Cell::new(outcome_word(outcome).to_lowercase()).style(tone_style(outcome_tone(outcome))),
            false => Cell::new("record does not hold").style(style::BAD),
        };
        table.row([
            Cell::new(id(drill).as_str()),
            verdict,
            Cell::new(record.identity.scenario.as_str()),
            Cell::new(record.identity.source.as_str()),
            time(record.results.rto_seconds),
            time(record.results.rpo_seconds),
            Cell::new(drill.acknowledgement.as_ref().map_or("no".to_owned(), |seen| plain(&seen.by))),
        ]);
    }
    table.lines().iter().for_each(|line| output.line(line));
    let faint = style::FAINT;
    let total = view.drills().len();
    let of = if total > shown.len() { format!(" of {total}") } else { String::new() };
    output.line(format!("{faint}{}{of}{faint:#}", count(shown.len() as u64, "drill")));
}

#[derive(Serialize)]
struct DrillsDocument<'a> {
    system: &'a SystemName,
    drills: Vec<DrillRow<'a>>,
    forecasts: Vec<ForecastRow<'a>>,
    next_due: Option<DateTime<Utc>>,
    overdue: Option<Overdue>,
    damage: &'a [Damage],
    unread: Vec<UnreadRow<'a>>,
}

#[derive(Serialize)]
struct DrillRow<'a> {
    drill: &'a RunId,
    source: &'a SourceName,
    scenario: Scenario,
    trigger: Trigger,
    occurrence: Option<DateTime<Utc>>,
    begun: DateTime<Utc>,
    ended: DateTime<Utc>,
    backup: Option<&'a BackupId>,
    rto_seconds: Option<f64>,
    rpo_seconds: Option<f64>,
    verdict: &'a DrillVerdict,
    matches_digest: bool,
    acknowledgement: Option<&'a Acknowledgement>,
    repositories: Vec<RepositoryName>,
}

impl<'a> DrillRow<'a> {
    fn of(view: &DrillView, drill: &'a StoredDrill) -> Self {
        let record = &drill.record;
        Self {
            drill: id(drill),
            source: &record.identity.source,
            scenario: record.identity.scenario,
            trigger: record.identity.trigger,
            occurrence: record.identity.occurrence,
            begun: record.begun,
            ended: record.ended,
            backup: record.sample.backup.as_ref(),
            rto_seconds: record.results.rto_seconds,
            rpo_seconds: record.results.rpo_seconds,
            verdict: &record.verdict,
            matches_digest: drill.matches_digest,
            acknowledgement: drill.acknowledgement.as_ref(),
            repositories: view.holders(id(drill)),
        }
    }
}

#[derive(Serialize)]
pub(super) struct ForecastRow<'a> {
    #[serde(flatten)]
    pub(super) path: &'a DrillPath,
    pub(super) forecast: &'a Forecast,
}

#[derive(Serialize)]
struct UnreadRow<'a> {
    name: &'a RepositoryName,
    reason: &'a str,
}
