//! Where a system stands, found once: `drctl status` shows it, and the metrics, the status page and the fleet are made of
//! its snapshot.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Context;
use super::catalog_view::CatalogView;
use super::error::CommandError;
use super::exit::Exit;
use super::output::Output;
use super::render::status_places::details;
use super::render::status_verdict::told_verdict;
use super::rto_forecast::{DrillRecords, path_forecasts};
use super::run_due::history;
use super::status_unknown::say_unknown;
use crate::catalog::BackupEntry;
use crate::drill::forecast::PathForecast;
use crate::model::{Judgement, Outcome, SystemName};
use crate::monitor::{
    ChannelSnapshot, DrillSnapshot, LastDrillRun, RepositorySnapshot, RetentionSnapshot, SourceSnapshot,
    SystemSnapshot, stocks,
};
use crate::platform::state_directory;
use crate::policy::Policy;
use crate::recoverability::immutability::{Immutability, immutability};
use crate::repository::journal::{JournalRecord, RETENTION, TOMBSTONES};
use crate::run::pause::{PauseState, pause_state};
use crate::schedule::{TaskState, scheduled_tasks, task_states};
use crate::status::{
    DrillConcern, ObjectiveVerdict, RetentionConcern, SourceStatus, StatusSurvey, UndeliveredConcern, assess,
    drill_concern, drill_runs, retention_concern, undelivered_concerns,
};
use crate::text::format_time;

/// A collection that takes longer has failed.
const COLLECTED_WITHIN: Duration = Duration::from_secs(600);

/// Everything that is known of where a system stands.
pub(super) struct SystemStatus {
    pub(super) view: CatalogView,
    pub(super) now: DateTime<Utc>,
    pub(super) entries: Vec<BackupEntry>,
    pub(super) survey: StatusSurvey,
    pub(super) standings: Vec<SourceStatus>,
    pub(super) worst: ObjectiveVerdict,
    pub(super) runs: Vec<JournalRecord>,
    pub(super) retention: Option<RetentionConcern>,
    pub(super) immutable: Vec<Immutability>,
    pub(super) drill: Option<DrillConcern>,
    /// What is overdue for a rehearsal, or why that is not known.
    pub(super) runbooks: Result<Option<String>, CommandError>,
    pub(super) records: DrillRecords,
    pub(super) forecasts: Vec<PathForecast>,
    pub(super) undelivered: Vec<UndeliveredConcern>,
    /// That a backup left the application paused, as far as this host knows.
    pub(super) paused: Option<String>,
}

impl SystemStatus {
    /// Queries everything and judges it. `known`: records of drills that were read before.
    pub(super) async fn of(
        context: &Context,
        view: CatalogView,
        known: DrillRecords,
    ) -> Result<Self, CommandError> {
        let entries = view.entries().await?;
        let policy = &view.policy;
        let survey = match &view.refreshed {
            Some(_) => {
                let events = context.output.events();
                StatusSurvey::ask(
                    policy,
                    &view.repositories,
                    &view.catalog,
                    &entries,
                    &*context.clock,
                    &events,
                )
                .await?
            }
            None => StatusSurvey::offline(policy, &entries),
        };
        let survey = survey.with_missing(view.missing.clone());
        let runs = view.catalog.runs(None).await?;
        let now = context.clock.now();
        let oldest = entries.iter().map(|entry| entry.id().begun()).min();
        let runbooks =
            super::runbook::reviewed(policy).map(|reviewed| super::runbook::concern(&reviewed, &runs, now));
        let records = DrillRecords::read(&view, &runs, known).await;
        let sources: Vec<_> = policy.sources.iter().map(|source| source.name.clone()).collect();
        let standings = assess(&sources, &view.places(), &entries, &survey, policy.objectives.rpo, now);
        let worst = standings.iter().map(|standing| standing.verdict).max();
        Ok(Self {
            now,
            worst: worst.unwrap_or(ObjectiveVerdict::Nothing),
            retention: retention_concern(policy, &runs, &entries, now),
            immutable: immutability(&policy.repositories, &runs, now),
            drill: drill_concern(policy, &runs, oldest, now),
            forecasts: path_forecasts(policy, &records, now),
            undelivered: undelivered_concerns(&policy.notify, &view.catalog.told().await?),
            paused: paused_words(&policy.system),
            runbooks,
            records,
            standings,
            survey,
            runs,
            entries,
            view,
        })
    }

    /// Returns the exit status of `drctl status`.
    pub(super) fn exit(&self) -> Exit {
        let is_overdue =
            self.drill.is_some() || matches!(self.runbooks, Ok(Some(_))) || self.paused.is_some();
        exit_of(self.worst, !self.undelivered.is_empty(), is_overdue)
    }

    /// Returns what everyone can see of it.
    fn snapshot(&self, tasks: Vec<TaskState>, took: Duration, warnings: Vec<String>) -> SystemSnapshot {
        let policy = &self.view.policy;
        let sources = self.standings.iter().map(|status| SourceSnapshot {
            details: status.places.iter().flat_map(details).map(|line| line.trim().to_owned()).collect(),
            status: status.clone(),
        });
        let repositories = self.view.places().into_iter().map(|place| RepositorySnapshot {
            lock: self
                .immutable
                .iter()
                .find(|known| known.repository == place.name)
                .map(|known| known.state.clone()),
            is_reached: place.reached,
            name: place.name,
        });
        let channels = policy.notify.channels.iter().map(|channel| ChannelSnapshot {
            problem: self
                .undelivered
                .iter()
                .find(|concern| concern.channel == channel.name)
                .map(|concern| concern.message.clone()),
            name: channel.name.clone(),
        });
        SystemSnapshot {
            system: policy.system.clone(),
            description: policy.description.clone(),
            owner: policy.owner.clone(),
            collected: self.now,
            took_seconds: took.as_secs_f64(),
            is_refreshed: self.view.refreshed.is_some(),
            rpo_seconds: policy.objectives.rpo.as_secs(),
            rto_seconds: policy.objectives.rto.as_secs(),
            verdict: self.worst,
            sentence: told_verdict(policy, &self.standings, self.worst),
            sources: sources.collect(),
            repositories: repositories.collect(),
            stocks: stocks(&self.entries, self.survey.now(self.now)),
            drill: self.drill_snapshot(),
            retention: policy.retention.as_ref().map(|_| self.retention_snapshot()),
            tasks,
            channels: channels.collect(),
            runbooks: match &self.runbooks {
                Ok(overdue) => overdue.clone(),
                Err(_) => None,
            },
            paused: self.paused.clone(),
            warnings,
        }
    }

    fn drill_snapshot(&self) -> Option<DrillSnapshot> {
        let drill = self.view.policy.drill.as_ref()?;
        let own = drill_runs(drill, &self.runs);
        let journaled = own.iter().map(|run| LastDrillRun { ended: run.ended, outcome: run.outcome });
        let records = || self.records.iter().filter(|record| record.identity.source == drill.source);
        // A journal that was lost does not make a drill whose record is there one that never was.
        let recorded = records().map(|record| LastDrillRun {
            ended: record.ended,
            outcome: match record.verdict.outcome {
                Judgement::Pass => Outcome::Succeeded,
                Judgement::Undetermined => Outcome::Degraded,
                Judgement::Fail => Outcome::Failed,
            },
        });
        let all: Vec<LastDrillRun> = recorded.chain(journaled).collect();
        let passed = all.iter().filter(|run| run.outcome == Outcome::Succeeded);
        Some(DrillSnapshot {
            source: drill.source.clone(),
            last: all.iter().max_by_key(|run| run.ended).copied(),
            passed: passed.map(|run| run.ended).max(),
            record: records().max_by_key(|record| record.begun).cloned().map(Box::new),
            concern: self.drill.clone(),
            forecasts: self.forecasts.clone(),
        })
    }

    fn retention_snapshot(&self) -> RetentionSnapshot {
        let of_retention = |run: &&JournalRecord| run.verb == RETENTION;
        let last = self.runs.iter().filter(of_retention).max_by_key(|run| run.begun);
        let good = self.runs.iter().filter(of_retention).filter(|run| run.outcome == Outcome::Succeeded);
        // Tombstones are written before what they name is removed, in a record that comes before that of the run.
        let removed: BTreeSet<_> = self
            .runs
            .iter()
            .filter(|run| {
                let is_of_last = last.is_some_and(|last| last.begun <= run.begun && run.begun <= last.ended);
                is_of_last && matches!(run.verb.as_str(), RETENTION | TOMBSTONES)
            })
            .flat_map(|run| run.detail.removals.iter().map(|removal| &removal.backup))
            .collect();
        RetentionSnapshot {
            applied: good.map(|run| run.ended).max(),
            removed: removed.len(),
            concern: self.retention.clone(),
        }
    }
}

/// Returns the exit status for where a system stands.
pub(super) fn exit_of(worst: ObjectiveVerdict, is_undelivered: bool, is_overdue: bool) -> Exit {
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
    let exit = if exit == Exit::Done && is_undelivered { Exit::Partly } else { exit };
    match exit {
        Exit::Done | Exit::Partly if is_overdue => Exit::ObjectiveMissed,
        exit => exit,
    }
}

/// Returns the exit status for a snapshot: that of `drctl status`.
pub(super) fn snapshot_exit(snapshot: &SystemSnapshot) -> Exit {
    let is_undelivered = snapshot.channels.iter().any(|channel| channel.problem.is_some());
    let has_concern = snapshot.drill.as_ref().is_some_and(|drill| drill.concern.is_some());
    let is_overdue = has_concern || snapshot.runbooks.is_some() || snapshot.paused.is_some();
    exit_of(snapshot.verdict, is_undelivered, is_overdue)
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

/// What a collection found, and what the next one need not read again.
pub(super) struct Collected {
    pub(super) snapshot: SystemSnapshot,
    pub(super) records: DrillRecords,
}

/// Collects the snapshot of a policy's system. Writes nothing to the terminal: warnings become part of the snapshot.
pub(super) async fn collect(
    context: &Context,
    policy: Policy,
    is_offline: bool,
    known: DrillRecords,
) -> Result<Collected, CommandError> {
    let within =
        tokio::time::timeout(COLLECTED_WITHIN, collect_now(context, policy, is_offline, known)).await;
    within.unwrap_or_else(|_| {
        Err(CommandError::failed(format!("it took longer than {} minutes", COLLECTED_WITHIN.as_secs() / 60)))
    })
}

async fn collect_now(
    context: &Context,
    policy: Policy,
    is_offline: bool,
    known: DrillRecords,
) -> Result<Collected, CommandError> {
    let begun = std::time::Instant::now();
    let context = &Context {
        global: context.global.clone(),
        output: Output::collecting(),
        clock: context.clock.clone(),
        cancel: context.cancel.clone(),
        refuse_words: context.refuse_words,
    };
    let view = CatalogView::open_policy(context, policy, is_offline).await?;
    let status = SystemStatus::of(context, view, known).await?;
    say_unknown(context, &status.view, &status.entries, &status.survey);
    if let Err(error) = &status.runbooks {
        context.output.warn(format!("it is not known whether a runbook is overdue: {error}"));
    }
    let tasks = task_states(&scheduled_tasks(&status.view.policy), &history(&status.view).await?, status.now);
    let snapshot = status.snapshot(tasks, begun.elapsed(), context.output.collected());
    let SystemStatus { view, records, .. } = status;
    view.catalog.close().await;
    Ok(Collected { snapshot, records })
}
