use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Context;
use super::catalog_view::{CatalogView, Freshness, GONE_HINT, lock_words, word_style};
use super::error::CommandError;
use super::exit::Exit;
use super::notify::{Concluded, around};
use super::render::status_places::{cost, details, row};
use super::render::status_verdict::{copying, has_damaged, has_regions, others, places, told_verdict};
use super::rto_forecast::{DrillRecords, forecast_line, warn_forecast};
use super::status_unknown::say_unknown;
use super::system_status::{SystemStatus, collect, exit_of, snapshot_exit};
use super::table::{Cell, TextTable};
use crate::drill::forecast::PathForecast;
use crate::monitor::{FleetLine, Watched, system_page};
use crate::notify::findings::{self, Findings, Judged, Standing};
use crate::policy::Job;
use crate::recoverability::immutability::{Immutability, ImmutabilityState};
use crate::recoverability::region::{Regions, Service};
use crate::report::html_page;
use crate::status::{
    DrillConcern, LocationStatus, ObjectiveVerdict, RetentionConcern, SourceStatus, UndeliveredConcern,
};

/// Say where we stand: what each repository could give back now, and what the loss of each would cost
#[derive(Debug, clap::Args)]
#[command(after_help = super::exit::HELP)]
pub struct StatusArgs {
    #[command(flatten)]
    freshness: Freshness,
    /// Send what is wrong, and what no longer is, to the channels of the policy: for cron
    #[arg(long, conflicts_with = "offline")]
    notify: bool,
}

pub(super) async fn run(args: StatusArgs, context: &Context) -> Result<Exit, CommandError> {
    if context.output.is_html() {
        return page(&args, context).await;
    }
    if !args.notify {
        return Ok(assessed(&args, context).await?.exit);
    }
    let policy = context.policy()?;
    if policy.notify.channels.is_empty() {
        return Err(CommandError::usage("the policy has no channel to notify")
            .hint("Add one to `[notify]`; `drctl policy schema` describes each kind."));
    }
    around(Job::Status, context, &policy, assessed(&args, context)).await
}

/// Writes the page that `drctl serve` shows.
async fn page(args: &StatusArgs, context: &Context) -> Result<Exit, CommandError> {
    if args.notify {
        return Err(CommandError::usage(
            "`--notify` tells people, and `--output html` writes a page: one at a time",
        ));
    }
    let policy = context.policy()?;
    let collected = collect(context, policy, args.freshness.offline, DrillRecords::default()).await?;
    let snapshot = std::sync::Arc::new(collected.snapshot);
    let exit = snapshot_exit(&snapshot);
    let watched = Watched { name: snapshot.system.to_string(), snapshot: Some(snapshot), failed: None };
    context.output.line(html_page(&system_page(&watched, context.clock.now())).trim_end());
    if exit != Exit::Done {
        context.output.reason(FleetLine::of(&watched).problems.first().map_or("", String::as_str));
    }
    Ok(exit)
}

/// Shows where the system stands.
async fn assessed(args: &StatusArgs, context: &Context) -> Result<Concluded, CommandError> {
    let view = CatalogView::open(context, args.freshness.offline).await?;
    let status = SystemStatus::of(context, view, DrillRecords::default()).await?;
    let SystemStatus { view: known, standings, worst, .. } = &status;
    say_unknown(context, known, &status.entries, &status.survey);
    if let Some(concern) = &status.retention {
        context.output.warn(&concern.message);
        context.output.note("hint: `drctl retention plan` shows what would go, and what is refused.");
    }
    for Immutability { repository, state } in &status.immutable {
        let words = format!("`{repository}` is {}", lock_words(state));
        match state {
            ImmutabilityState::Proven { .. } => context.output.note(format!("note: {words}")),
            ImmutabilityState::Refuted { .. }
            | ImmutabilityState::Outdated { .. }
            | ImmutabilityState::Untried => context.output.warn(words),
        }
    }
    let runbooks = match &status.runbooks {
        Ok(overdue) => overdue.as_deref(),
        Err(error) => {
            context.output.warn(format!("it is not known whether a runbook is overdue: {error}"));
            None
        }
    };
    if let Some(words) = &status.paused {
        context.output.warn(words);
        context.output.reason(words);
    }
    let forecasts: Vec<&PathForecast> =
        status.forecasts.iter().filter(|forecast| forecast.is_pressing()).collect();
    forecasts.iter().for_each(|forecast| warn_forecast(context, forecast));
    if !forecasts.is_empty() {
        context.output.note("hint: `drctl drill report` shows which phase takes how long.");
    }
    if context.output.is_json() {
        let document = StatusDocument {
            system: known.policy.system.as_str(),
            refreshed: known.refreshed.is_some(),
            as_of: status.now,
            rpo_seconds: known.policy.objectives.rpo.as_secs(),
            rto_seconds: known.policy.objectives.rto.as_secs(),
            verdict: *worst,
            sources: standings,
            retention: status.retention.as_ref(),
            drill: status.drill.as_ref(),
            undelivered: &status.undelivered,
            runbooks,
            paused: status.paused.as_deref(),
            immutability: &status.immutable,
            forecasts: &forecasts,
        };
        context.output.document("status", &document);
    } else {
        show(context, known, standings, &status.survey.cloud, *worst);
    }
    if exit_of(*worst, false, false) != Exit::Done {
        context.output.reason(format!(
            "{}: {}",
            worst.as_str(),
            told_verdict(&known.policy, standings, *worst)
        ));
    }
    let findings = findings(&status, &forecasts);
    for concern in &status.undelivered {
        context.output.warn(&concern.message);
    }
    if let Some(first) = status.undelivered.first() {
        context.output.note("hint: `drctl notify test` tries each channel.");
        context.output.reason(&first.message);
    }
    if let Some(drill) = &status.drill {
        context.output.reason(&drill.message);
        context.output.note("hint: `drctl drill list` shows what was due; `drctl drill run` runs one.");
    }
    if let Some(runbooks) = runbooks {
        context.output.reason(runbooks);
        context.output.note("hint: `drctl runbook status` shows when each was run last.");
    }
    let exit = status.exit();
    status.view.catalog.close().await;
    Ok(Concluded { exit, findings })
}

/// Returns the findings, which become notices.
fn findings(status: &SystemStatus, forecasts: &[&PathForecast]) -> Findings {
    let policy = &status.view.policy;
    let sources = status.standings.iter().map(|status| Standing {
        status,
        words: told_verdict(policy, std::slice::from_ref(status), status.verdict),
    });
    let forecasts = forecasts.iter().map(|one| forecast_line(one)).collect();
    let refuted = |lock: &&Immutability| matches!(lock.state, ImmutabilityState::Refuted { .. });
    let unlocked = status.immutable.iter().filter(refuted);
    let unlocked =
        unlocked.map(|lock| format!("`{}` is {}", lock.repository, lock_words(&lock.state))).collect();
    let (retention, drill) = (status.retention.as_ref(), status.drill.as_ref());
    findings::status(policy, &Judged { sources: sources.collect(), retention, drill, forecasts, unlocked })
}

#[derive(Serialize)]
struct StatusDocument<'a> {
    system: &'a str,
    /// Whether the repositories were queried.
    refreshed: bool,
    as_of: DateTime<Utc>,
    rpo_seconds: u64,
    rto_seconds: u64,
    verdict: ObjectiveVerdict,
    sources: &'a [SourceStatus],
    /// What is wrong with how retention runs; absent where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<&'a RetentionConcern>,
    /// What is wrong with the drills; absent where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    drill: Option<&'a DrillConcern>,
    /// Channels that do not take what they are sent.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    undelivered: &'a [UndeliveredConcern],
    /// Runbooks that are overdue for a rehearsal; absent where none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    runbooks: Option<&'a str>,
    /// That a backup left the application paused; absent where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<&'a str>,
    /// Of the repositories that are to lock their objects.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    immutability: &'a [Immutability],
    /// Recoveries that come near their RTO, by what drills took; absent where none does.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    forecasts: &'a [&'a PathForecast],
}

fn show(
    context: &Context,
    known: &CatalogView,
    standings: &[SourceStatus],
    of_aws: &Regions,
    worst: ObjectiveVerdict,
) {
    let output = &context.output;
    let place = if has_regions(standings) { "PLACE" } else { "REPOSITORY" };
    let head = ["SOURCE", place, "NEWEST RESTORABLE", "LOSES", "STATE", "VERDICT"].map(Cell::new);
    let [source, repository, newest, loses, state, verdict] = head;
    let mut table = TextTable::head([source, repository, newest, loses.right(), state, verdict]);
    for standing in standings {
        for (n, place) in standing.places.iter().enumerate() {
            let name = if n == 0 { standing.source.as_str() } else { "" };
            table.row(row(name, place));
        }
    }
    table.lines().iter().for_each(|line| output.line(line));
    places(standings).flat_map(details).for_each(|line| output.line(line));
    for standing in standings {
        if let Some(why) = standing.places.iter().find_map(|place| place.stalled.as_ref()) {
            output.line(format!("  {}: {why}", standing.source));
        }
    }
    output.line("");
    for standing in standings {
        standing.if_lost.iter().for_each(|lost| output.line(cost(standing, lost)));
    }
    let (words, style) = (told_verdict(&known.policy, standings, worst), word_style(worst.as_str()));
    output.line(format!("{style}{}{style:#}: {words}", worst.as_str()));
    let is_late = |place: &LocationStatus| {
        place.location.is_region()
            && matches!(
                place.verdict,
                ObjectiveVerdict::Late | ObjectiveVerdict::ObjectiveMissed | ObjectiveVerdict::Nothing
            )
    };
    if standings.iter().flat_map(SourceStatus::deciding).any(is_late) {
        let of_rds = of_aws.values().any(|kept| kept.service == Service::Rds);
        output.note(format!(
            "hint: `drctl doctor` says what AWS keeps in each region, and why it is behind{}.",
            if of_rds {
                "; `drctl rds replicate-automated-backups` has RDS keep its own in another region"
            } else {
                ""
            }
        ));
    }
    match worst {
        ObjectiveVerdict::Behind => copying(standings, false).iter().for_each(|hint| output.note(hint)),
        ObjectiveVerdict::Gap => output.note(
            "hint: `drctl copies sync` takes it from a copy that has it; where none has, take a new base backup: `drctl backup --kind base`.",
        ),
        ObjectiveVerdict::BadLog => output.note(
            "hint: Delete what is bad there, then `drctl copies sync` takes it from a copy that has it; where none has, take a new base backup: `drctl backup --kind base`. `drctl verify` reads it again.",
        ),
        ObjectiveVerdict::MissingCopy => output.note(GONE_HINT),
        ObjectiveVerdict::BadCopy | ObjectiveVerdict::DamagedPages if has_damaged(standings) => output.note(
            "hint: The server itself may be damaged: `pg_amcheck` checks it. `drctl backup --kind base` takes another base backup.",
        ),
        ObjectiveVerdict::BadCopy if places(standings).any(|place| !place.other_history.is_empty()) => output.note(
            "hint: Is the source's server a copy of the one that archives? Point `url` to the server whose WAL is archived, then take a base backup: `drctl backup --kind base`. A copy that is to be backed up gets a source of its own.",
        ),
        ObjectiveVerdict::BadCopy => output.note(
            "hint: `drctl copies sync` repairs a copy from one that is intact; `drctl verify` reads all of them again.",
        ),
        ObjectiveVerdict::NoBase => output.note("hint: `drctl backup --kind base` takes a base backup; `drctl doctor` checks what it needs."),
        ObjectiveVerdict::WrongClock => output.note(
            "hint: Correct the clock of this host, or of the host that took a backup dated in the future; until its time has come such a backup does not count.",
        ),
        ObjectiveVerdict::OtherCluster => others(standings).iter().for_each(|hint| output.note(hint)),
        ObjectiveVerdict::Lost => output.note(
            "hint: `drctl wal configure` says whether `archive_command` is right; then take a new base backup: `drctl backup --kind base`.",
        ),
        ObjectiveVerdict::ObjectiveMissed if places(standings).any(|place| place.behind) => {
            copying(standings, true).iter().for_each(|hint| output.note(hint));
        }
        ObjectiveVerdict::Stalled => output.note("hint: `drctl wal status` shows what holds the WAL up."),
        ObjectiveVerdict::Late | ObjectiveVerdict::ObjectiveMissed if places(standings).any(|place| place.log.is_some()) => {
            output.note("hint: `drctl wal status` shows what holds the WAL up.");
        }
        ObjectiveVerdict::Late | ObjectiveVerdict::ObjectiveMissed | ObjectiveVerdict::Nothing => {
            output.note("hint: `drctl backup` takes a new backup.")
        }
        // The warnings contain the hints.
        ObjectiveVerdict::Ok
        | ObjectiveVerdict::NotReached
        | ObjectiveVerdict::NoMarker
        | ObjectiveVerdict::DamagedPages => {}
    }
}
