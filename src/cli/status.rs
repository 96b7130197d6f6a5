use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Context;
use super::catalog_view::{CatalogView, Freshness, GONE_HINT, lock_words, word_style};
use super::error::CommandError;
use super::exit::Exit;
use super::notify::{Concluded, around};
use super::render::status_places::{cost, details, row};
use super::render::status_verdict::{copying, has_damaged, has_regions, others, places, told_verdict};
use super::rto_forecast::{PressingForecast, pressing_forecasts};
use super::table::{Cell, TextTable};
use crate::catalog::BackupEntry;
use crate::model::SystemName;
use crate::notify::findings::{self, Findings, Judged, Standing};
use crate::platform::state_directory;
use crate::policy::Job;
use crate::recoverability::immutability::{Immutability, ImmutabilityState, immutability};
use crate::recoverability::region::{Regions, Service};
use crate::run::pause::{PauseState, pause_state};
use crate::status::{
    DrillConcern, LocationStatus, ObjectiveVerdict, RetentionConcern, SourceStatus, StatusSurvey,
    UndeliveredConcern, assess, drill_concern, retention_concern, undelivered_concerns,
};
use crate::text::{approximate_duration, format_time};

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

/// Shows where the system stands.
async fn assessed(args: &StatusArgs, context: &Context) -> Result<Concluded, CommandError> {
    let known = CatalogView::open(context, args.freshness.offline).await?;
    let entries = known.entries().await?;
    let sources: Vec<_> = known.policy.sources.iter().map(|source| source.name.clone()).collect();
    let rpo = known.policy.objectives.rpo;
    let survey = match &known.refreshed {
        Some(_) => {
            let events = context.output.events();
            let (policy, repositories) = (&known.policy, &known.repositories);
            StatusSurvey::ask(policy, repositories, &known.catalog, &entries, &*context.clock, &events)
                .await?
        }
        None => StatusSurvey::offline(&known.policy, &entries),
    };
    let survey = survey.with_missing(known.missing.clone());
    say_unknown(context, &known, &entries, &survey);
    let runs = known.catalog.runs(None).await?;
    let concern = retention_concern(&known.policy, &runs, &entries, context.clock.now());
    if let Some(concern) = &concern {
        context.output.warn(&concern.message);
        context.output.note("hint: `drctl retention plan` shows what would go, and what is refused.");
    }
    let immutable = immutability(&known.policy.repositories, &runs, context.clock.now());
    for Immutability { repository, state } in &immutable {
        let words = format!("`{repository}` is {}", lock_words(state));
        match state {
            ImmutabilityState::Proven { .. } => context.output.note(format!("note: {words}")),
            ImmutabilityState::Refuted { .. }
            | ImmutabilityState::Outdated { .. }
            | ImmutabilityState::Untried => context.output.warn(words),
        }
    }
    let now = context.clock.now();
    let oldest = entries.iter().map(|entry| entry.id().begun()).min();
    let drill = drill_concern(&known.policy, &runs, oldest, now);
    let runbooks = match super::runbook::reviewed(&known.policy) {
        Ok(reviewed) => super::runbook::concern(&reviewed, &runs, now),
        Err(error) => {
            context.output.warn(format!("it is not known whether a runbook is overdue: {error}"));
            None
        }
    };
    let paused = paused_words(&known.policy.system);
    if let Some(words) = &paused {
        context.output.warn(words);
        context.output.reason(words);
    }
    let forecasts = pressing_forecasts(&known, now).await;
    forecasts.iter().for_each(|forecast| forecast.warn(context));
    if !forecasts.is_empty() {
        context.output.note("hint: `drctl drill report` shows which phase takes how long.");
    }
    let standings = assess(&sources, &known.places(), &entries, &survey, rpo, now);
    let undelivered = undelivered_concerns(&known.policy.notify, &known.catalog.told().await?);
    let worst = standings.iter().map(|standing| standing.verdict).max().unwrap_or(ObjectiveVerdict::Nothing);
    if context.output.is_json() {
        let document = StatusDocument {
            system: known.policy.system.as_str(),
            refreshed: known.refreshed.is_some(),
            as_of: context.clock.now(),
            rpo_seconds: rpo.as_secs(),
            rto_seconds: known.policy.objectives.rto.as_secs(),
            verdict: worst,
            sources: &standings,
            retention: concern.as_ref(),
            drill: drill.as_ref(),
            undelivered: &undelivered,
            runbooks: runbooks.as_deref(),
            immutability: &immutable,
            forecasts: &forecasts,
        };
        context.output.document("status", &document);
    } else {
        show(context, &known, &standings, &survey.cloud, worst);
    }
    let exit = match worst {
        ObjectiveVerdict::Ok | ObjectiveVerdict::Late => Exit::Done,
        ObjectiveVerdict::Behind
        | ObjectiveVerdict::MissingCopy
        | ObjectiveVerdict::BadCopy
        | ObjectiveVerdict::NoMarker
        | ObjectiveVerdict::Stalled
        | ObjectiveVerdict::NotReached => Exit::Partly,
        ObjectiveVerdict::WrongClock => Exit::Undetermined,
        ObjectiveVerdict::DamagedPages
        | ObjectiveVerdict::NoBase
        | ObjectiveVerdict::Gap
        | ObjectiveVerdict::BadLog
        | ObjectiveVerdict::Lost
        | ObjectiveVerdict::ObjectiveMissed
        | ObjectiveVerdict::OtherCluster => Exit::ObjectiveMissed,
        ObjectiveVerdict::Nothing => Exit::Nothing,
    };
    if exit != Exit::Done {
        context.output.reason(format!(
            "{}: {}",
            worst.as_str(),
            told_verdict(&known.policy, &standings, worst)
        ));
    }
    let findings = findings(&known, &standings, (concern.as_ref(), drill.as_ref()), &forecasts, &immutable);
    known.catalog.close().await;
    for concern in &undelivered {
        context.output.warn(&concern.message);
    }
    if let Some(first) = undelivered.first() {
        context.output.note("hint: `drctl notify test` tries each channel.");
        context.output.reason(&first.message);
    }
    let exit = if exit == Exit::Done && !undelivered.is_empty() { Exit::Partly } else { exit };
    if let Some(drill) = &drill {
        context.output.reason(&drill.message);
        context.output.note("hint: `drctl drill list` shows what was due; `drctl drill run` runs one.");
    }
    if let Some(runbooks) = &runbooks {
        context.output.reason(runbooks);
        context.output.note("hint: `drctl runbook status` shows when each was run last.");
    }
    let is_overdue = drill.is_some() || runbooks.is_some() || paused.is_some();
    let exit = match exit {
        Exit::Done | Exit::Partly if is_overdue => Exit::ObjectiveMissed,
        exit => exit,
    };
    Ok(Concluded { exit, findings })
}

/// Returns that the application is still paused, as far as this host knows.
fn paused_words(system: &SystemName) -> Option<String> {
    match pause_state(&state_directory(), system) {
        PauseState::NotPaused | PauseState::Paused(_) => None,
        PauseState::LeftPaused(marker) => Some(format!(
            "THE APPLICATION IS STILL PAUSED since {}: run {} did not resume it, `{}` does, and so does `drctl run-due`",
            format_time(marker.since),
            marker.run,
            marker.resume.join(" ")
        )),
        PauseState::Unknown(reason) => {
            Some(format!("it is not known whether the application is paused for a backup: {reason}"))
        }
    }
}

/// Returns the findings, which become notices.
fn findings(
    known: &CatalogView,
    standings: &[SourceStatus],
    (retention, drill): (Option<&RetentionConcern>, Option<&DrillConcern>),
    forecasts: &[PressingForecast],
    immutable: &[Immutability],
) -> Findings {
    let sources = standings.iter().map(|status| Standing {
        status,
        words: told_verdict(&known.policy, std::slice::from_ref(status), status.verdict),
    });
    let forecasts = forecasts.iter().map(PressingForecast::sentence).collect();
    let refuted = |lock: &&Immutability| matches!(lock.state, ImmutabilityState::Refuted { .. });
    let unlocked = immutable.iter().filter(refuted);
    let unlocked =
        unlocked.map(|lock| format!("`{}` is {}", lock.repository, lock_words(&lock.state))).collect();
    findings::status(
        &known.policy,
        &Judged { sources: sources.collect(), retention, drill, forecasts, unlocked },
    )
}

/// Reports what could not be queried, and what is unknown because of that.
fn say_unknown(context: &Context, known: &CatalogView, entries: &[BackupEntry], survey: &StatusSurvey) {
    for skew in &survey.clocks {
        let by = approximate_duration(skew.ahead.abs().to_std().unwrap_or_default());
        let direction = if skew.ahead > chrono::TimeDelta::zero() { "ahead of" } else { "behind" };
        context.output.warn(format!(
            "this host's clock is {by} {direction} that of repository `{}`: ages are counted by the later one",
            skew.repository
        ));
        context.output.note("hint: Is an NTP client running on this host, and on the store's?");
    }
    for (source, why) in &survey.servers_not_asked {
        context.output.note(format!(
            "note: the server of {source} could not be queried for its system identifier and its archiving: {why}"
        ));
    }
    if known.refreshed.is_none() && entries.iter().any(|entry| entry.manifest.physical.is_some()) {
        context.output.note(
            "note: `--offline` reads no WAL from the repositories, so base backups count for nothing here",
        );
    }
    for ((source, repository), standing) in &survey.wal {
        if let Some(reason) = &standing.unknown {
            context
                .output
                .warn(format!("failed to query the WAL of {source} in repository `{repository}`: {reason}"));
        }
    }
    let beside = survey.wal.iter().filter_map(|((source, _), standing)| Some((source, standing.beside?)));
    for (source, beside) in beside.collect::<BTreeSet<_>>() {
        context.output.warn(format!("{source}: {beside}"));
        context.output.note(if beside.newest > beside.server {
            format!(
                "hint: What is said of {source} here is of timeline {0}. Have the other server archive nothing (`archive_mode = off`), or let the policy lead to it if it has taken over; `drctl restore --timeline {0}` recovers along this one.",
                beside.server
            )
        } else {
            "hint: `drctl wal configure` says whether it archives.".to_owned()
        });
    }
    if known.refreshed.is_none() && !survey.cloud.is_empty() {
        context.output.note(
            "note: `--offline` does not ask AWS: of what AWS keeps it is shown where it stood when it was taken; automated backups and those of plans count for nothing here",
        );
    }
    for (source, kept) in &survey.cloud {
        for before in kept.live.iter().flat_map(|live| &live.predecessors) {
            context.output.note(format!(
                "note: {source} was switched over (blue/green): the database that has its name now is another to RDS, with the data of `{}` ({}), which the backups before it are of. RDS's automated backups of it, and their replication to other regions, started over",
                before.identifier, before.resource_id
            ));
        }
        for region in &kept.regions {
            if let Some(reason) = &region.unknown {
                let (service, name) = (kept.service.as_str(), &region.region);
                context.output.warn(format!("failed to query {service} in {name} about {source}: {reason}"));
            }
            if let Some(since) = region.continuous_since {
                context.output.note(format!(
                    "note: AWS Backup backs {source} up continuously in {} since {}, which brings back moments of the last 35 days at most (`drctl restore {source} --point-in-time TIME`); up to which one it does not say, so that here it counts only as of its beginning",
                    region.region,
                    format_time(since)
                ));
            }
            for unread in &region.unread {
                context.output.warn(format!("{source}: {unread}"));
            }
        }
    }
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
    /// Of the repositories that are to lock their objects.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    immutability: &'a [Immutability],
    /// Recoveries that come near their RTO, by what drills took; absent where none does.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    forecasts: &'a [PressingForecast],
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
