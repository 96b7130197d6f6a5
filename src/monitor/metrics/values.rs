//! What each metric is, by a snapshot.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::samples::Samples;
use crate::drill::forecast::{Forecast, Standing};
use crate::model::{BackupKind, Location, Outcome};
use crate::monitor::{BackupStock, DrillSnapshot, SourceSnapshot, SystemSnapshot, Watched};
use crate::recoverability::immutability::ImmutabilityState;
use crate::schedule::{Task, TaskState, Turn};
use crate::status::{LocationStatus, ObjectiveVerdict};

/// Returns the samples of every system.
pub(super) fn samples(watched: &[Watched], fresh_for: Duration) -> Samples {
    let mut samples = Samples::default();
    samples.set("drctl_build_info", &[("version", env!("CARGO_PKG_VERSION"))], Some(1.0));
    for one in watched {
        let own = &[("system", one.name.as_str())];
        // Nothing is known before the first collection ends.
        if one.snapshot.is_some() || one.failed.is_some() {
            samples.set("drctl_collection_success", own, flag(one.failed.is_none()));
        }
        if let Some(snapshot) = &one.snapshot {
            of_system(snapshot, &one.name, fresh_for, &mut samples);
        }
    }
    samples
}

fn flag(is_set: bool) -> Option<f64> {
    Some(if is_set { 1.0 } else { 0.0 })
}

fn seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp() as f64
}

fn of_system(snapshot: &SystemSnapshot, system: &str, fresh_for: Duration, samples: &mut Samples) {
    let own = &[("system", system)];
    let fresh_until = snapshot.collected + TimeDelta::from_std(fresh_for).unwrap_or_default();
    samples.set("drctl_collected_timestamp_seconds", own, Some(seconds(snapshot.collected)));
    samples.set("drctl_collection_duration_seconds", own, Some(snapshot.took_seconds));
    samples.set("drctl_fresh_until_timestamp_seconds", own, Some(seconds(fresh_until)));
    samples.set("drctl_rpo_target_seconds", own, Some(snapshot.rpo_seconds as f64));
    samples.set("drctl_rto_target_seconds", own, Some(snapshot.rto_seconds as f64));
    samples.set("drctl_runbooks_overdue", own, flag(snapshot.runbooks.is_some()));
    for repository in &snapshot.repositories {
        let labels = &[("system", system), ("repository", repository.name.as_str())];
        samples.set("drctl_repository_reached", labels, flag(repository.is_reached));
        if let Some(lock) = &repository.lock {
            let is_proven = matches!(lock, ImmutabilityState::Proven { .. });
            samples.set("drctl_repository_lock_proven", labels, flag(is_proven));
        }
    }
    snapshot.sources.iter().for_each(|source| of_source(system, source, samples));
    snapshot.stocks.iter().for_each(|stock| of_stock(system, stock, samples));
    snapshot.tasks.iter().for_each(|task| of_task(system, task, samples));
    if let Some(drill) = &snapshot.drill {
        of_drill(system, drill, samples);
    }
    if let Some(retention) = &snapshot.retention {
        let applied = retention.applied.map(seconds);
        samples.set("drctl_retention_last_success_timestamp_seconds", own, applied);
        samples.set("drctl_retention_problem", own, flag(retention.concern.is_some()));
    }
    for channel in &snapshot.channels {
        let labels = &[("system", system), ("channel", channel.name.as_str())];
        samples.set("drctl_notify_failing", labels, flag(channel.problem.is_some()));
    }
}

/// Returns a location as the label `repository`: a region is no repository.
fn label(location: &Location) -> String {
    match location {
        Location::Repository(name) => name.to_string(),
        Location::Region(name) => format!("region:{name}"),
    }
}

fn of_source(system: &str, source: &SourceSnapshot, samples: &mut Samples) {
    let name = source.status.source.as_str();
    for place in &source.status.places {
        let repository = label(&place.location);
        let labels = &[("system", system), ("source", name), ("repository", &repository)];
        of_place(labels, place, samples);
    }
    for lost in &source.status.if_lost {
        let repository = label(&lost.location);
        let labels = &[("system", system), ("source", name), ("repository", repository.as_str())];
        samples.set("drctl_loss_if_lost_seconds", labels, lost.loses_seconds.map(|lost| lost as f64));
    }
}

fn of_place(labels: &[(&'static str, &str); 3], place: &LocationStatus, samples: &mut Samples) {
    let point = match place.restorable_until {
        Some(until) => Some(seconds(until)),
        None if place.verdict == ObjectiveVerdict::NotReached => None,
        None => Some(0.0),
    };
    samples.set("drctl_recovery_point_timestamp_seconds", labels, point);
    // As `drctl status --output json` has it.
    let verdict = serde_json::to_value(place.verdict).ok();
    let verdict = verdict.as_ref().and_then(|verdict| verdict.as_str()).unwrap_or("unknown");
    let with_verdict: Vec<_> = labels.iter().copied().chain([("verdict", verdict)]).collect();
    samples.set("drctl_copy_verdict", &with_verdict, Some(1.0));
    samples.set("drctl_copy_behind", labels, flag(place.behind));
    samples.set("drctl_copy_bad_backups", labels, Some(place.bad as f64));
    samples.set("drctl_copy_missing_backups", labels, Some(place.missing.len() as f64));
    let wal = place.log.as_ref().map(|log| seconds(log.until));
    samples.set("drctl_wal_until_timestamp_seconds", labels, wal);
}

fn of_stock(system: &str, stock: &BackupStock, samples: &mut Samples) {
    let labels = &[
        ("system", system),
        ("source", stock.source.as_str()),
        ("kind", stock.kind.as_str()),
        ("repository", stock.repository.as_str()),
    ];
    samples.set("drctl_backups", labels, Some(stock.count as f64));
    samples.set("drctl_backups_stored_bytes", labels, Some(stock.stored_bytes as f64));
    if let Some(newest) = &stock.newest {
        let took = (newest.ended - newest.begun).num_milliseconds() as f64 / 1_000.0;
        samples.set("drctl_backup_last_good_timestamp_seconds", labels, Some(seconds(newest.begun)));
        samples.set("drctl_backup_last_good_duration_seconds", labels, Some(took));
        samples.set("drctl_backup_last_good_size_bytes", labels, Some(newest.stored_bytes as f64));
    }
    let least = stock.least_expected_bytes.map(|bytes| bytes as f64);
    samples.set("drctl_backup_least_expected_size_bytes", labels, least);
}

fn of_task(system: &str, state: &TaskState, samples: &mut Samples) {
    let (task, source, kind) = match &state.task {
        Task::Backup { source, kind } => ("backup", source.as_str(), kind.as_str()),
        Task::Point { first, kind } => {
            ("recovery-point", first.as_str(), kind.map(BackupKind::as_str).unwrap_or_default())
        }
        Task::Copies => ("copies", "", ""),
        Task::Verify => ("verify", "", ""),
        Task::Retention => ("retention", "", ""),
        Task::Drill => ("drill", "", ""),
    };
    let labels = &[("system", system), ("task", task), ("source", source), ("kind", kind)];
    samples.set("drctl_task_last_success_timestamp_seconds", labels, state.succeeded.map(seconds));
    samples.set("drctl_task_next_timestamp_seconds", labels, state.next.map(seconds));
    samples.set("drctl_task_late_after_timestamp_seconds", labels, state.late_after.map(seconds));
    let is_failing = matches!(state.turn, Turn::TriedAgain { .. } | Turn::GivenUp { .. });
    // What waits for copies to be missing again waits for no failure.
    let is_failing = is_failing && state.task != Task::Copies;
    samples.set("drctl_task_failing", labels, flag(is_failing));
}

fn of_drill(system: &str, drill: &DrillSnapshot, samples: &mut Samples) {
    let labels = &[("system", system), ("source", drill.source.as_str())];
    if let Some(last) = &drill.last {
        samples.set("drctl_drill_last_timestamp_seconds", labels, Some(seconds(last.ended)));
        samples.set("drctl_drill_passed", labels, flag(last.outcome == Outcome::Succeeded));
    }
    samples.set("drctl_drill_passed_timestamp_seconds", labels, drill.passed.map(seconds));
    if let Some(record) = &drill.record {
        samples.set("drctl_drill_rto_seconds", labels, record.results.rto_seconds);
        samples.set("drctl_drill_rpo_seconds", labels, record.results.rpo_seconds);
        for phase in &record.phases {
            let labels =
                &[("system", system), ("source", drill.source.as_str()), ("phase", phase.phase.as_str())];
            samples.set("drctl_drill_phase_seconds", labels, Some(phase.seconds));
        }
    }
    for forecast in &drill.forecasts {
        let Forecast::Forecast(known) = &forecast.forecast else { continue };
        let labels = &[
            ("system", system),
            ("source", forecast.path.source.as_str()),
            ("kind", forecast.path.kind.as_str()),
            ("scenario", forecast.path.scenario.as_str()),
        ];
        samples.set("drctl_rto_forecast_seconds", labels, Some(known.rto_seconds));
        let standing = match known.standing {
            Standing::Within => 0.0,
            Standing::Near => 1.0,
            Standing::Missed => 2.0,
        };
        samples.set("drctl_rto_forecast_standing", labels, Some(standing));
    }
}
