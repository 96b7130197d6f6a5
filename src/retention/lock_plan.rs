//! Until when stores are to lock what stays, where their locks follow the rules. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::reason::KeepReason;
use super::source_plan::SourcePlan;
use crate::model::{BackupId, RepositoryName};
use crate::policy::{LockMode, Rules};

/// A backup that a store is to lock so long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedLock {
    pub repository: RepositoryName,
    pub backup: BackupId,
    pub until: DateTime<Utc>,
    #[serde(skip)]
    pub mode: LockMode,
}

/// Returns the locks of one source in one repository. What stands for a period that is not over may be replaced by a
/// better one yet, and has the lock of its upload until then.
pub(super) fn lock_targets(
    plan: &SourcePlan,
    (repository, mode): &(RepositoryName, LockMode),
    rules: &Rules,
    now: DateTime<Utc>,
) -> Vec<PlannedLock> {
    let mut until: BTreeMap<&BackupId, DateTime<Utc>> = BTreeMap::new();
    for backup in plan.backups.iter().filter(|backup| backup.is_good) {
        let ends =
            backup.reasons().iter().filter_map(|reason| ends(reason, backup.recovery_point, rules, now));
        if let Some(ends) = ends.max().filter(|ends| *ends > now) {
            until.insert(&backup.id, ends);
        }
    }
    // The newest come first, and what builds on another one is newer than that.
    for child in &plan.backups {
        let Some((parent, ends)) = child.parent.as_ref().zip(until.get(&child.id).copied()) else { continue };
        let of_parent = until.entry(parent).or_insert(ends);
        *of_parent = ends.max(*of_parent);
    }
    let lock = |(backup, until): (&BackupId, DateTime<Utc>)| PlannedLock {
        repository: repository.clone(),
        backup: backup.clone(),
        until,
        mode: *mode,
    };
    until.into_iter().map(lock).collect()
}

fn ends(
    reason: &KeepReason,
    recovery_point: DateTime<Utc>,
    rules: &Rules,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    match reason {
        KeepReason::KeepWithin(span) => span.ends(recovery_point),
        KeepReason::Keeper { period, bucket } if *bucket != period.bucket(now) => {
            let (_, span) = rules.periods().find(|(of, _)| of == period)?;
            span.ends(recovery_point)
        }
        // What is recovered from it at the end of the window needs it until then.
        KeepReason::PointInTime => now.checked_add_signed(TimeDelta::from_std(rules.pitr?).ok()?),
        _ => None,
    }
}
