use std::time::Duration;

use super::plan::PlannedPolicy;
use crate::model::BackupKind;
use crate::policy::{CronLine, LockTerm, Policy, Source, widest_gap};

/// A backup that is late by less than this is no reason to stop.
const LEAST: Duration = Duration::from_secs(48 * 3600);
/// Of a source that no cron line backs up.
const UNSCHEDULED: Duration = Duration::from_secs(8 * 86_400);

/// Returns what a plan needs to know; `None`: the policy has no retention.
pub fn planned_policy(policy: &Policy) -> Option<PlannedPolicy<'_>> {
    let retention = policy.retention.as_ref()?;
    let sources = policy.sources.iter().map(|source| (source.name.clone(), newest_within(policy, source)));
    let locks = policy.repositories.iter().filter_map(|config| {
        let lock = config.place.object_lock().filter(|lock| lock.retain == LockTerm::Rules)?;
        Some((config.name.clone(), lock.mode))
    });
    Some(PlannedPolicy {
        system: &policy.system,
        retention,
        sources: sources.collect(),
        locks: locks.collect(),
    })
}

/// How old the newest good backup of each kind may be: twice what its cron lines leave between two.
fn newest_within(policy: &Policy, source: &Source) -> Vec<(BackupKind, Duration)> {
    let limit = |kind: BackupKind| {
        let times =
            policy.schedule.backups.iter().filter(|times| times.source == source.name && times.kind == kind);
        let lines: Vec<&CronLine> = times.flat_map(|times| &times.lines).collect();
        (!lines.is_empty())
            .then(|| (kind, widest_gap(&lines).map_or(UNSCHEDULED * 8, |gap| gap * 2).max(LEAST)))
    };
    // What AWS keeps is judged by itself, by region.
    let of = |is_managed: bool| {
        let own = source.kinds.iter().copied().filter(move |kind| kind.is_managed() == is_managed);
        let limits: Vec<_> = own.clone().filter_map(limit).collect();
        if limits.is_empty() { own.map(|kind| (kind, UNSCHEDULED)).collect() } else { limits }
    };
    [of(false), of(true)].concat()
}
