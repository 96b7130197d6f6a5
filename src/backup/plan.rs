use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use thiserror::Error;

use crate::model::{BackupId, BackupKind, RunId, SourceName};
use crate::policy::{Policy, Source};
use crate::source;
use crate::source::incremental::Extent;

/// An older orphaned snapshot does not come from a recent run: its manifest was lost, and cannot be
/// reconstructed. AWS Backup itself records a resource's settings, whatever a recovery point's age.
const RESUMED_WITHIN: TimeDelta = TimeDelta::hours(48);

/// The requested backups of a run. What each source takes is decided under its lease: see [`SourcePlan`].
#[derive(Clone, Debug)]
pub struct BackupPlan {
    pub run: RunId,
    /// For backups of kinds that may be incremental.
    pub extent: Extent,
    /// Whether a new cluster is accepted as the replacement of the one of the earlier backups.
    pub accepts_new_cluster: bool,
    pub sources: Vec<PlannedSource>,
}

/// A backup of a source. A source with several methods occurs once for each.
#[derive(Clone, Debug)]
pub struct PlannedSource {
    pub source: Source,
    /// The implementation that captures it.
    pub opened: Arc<dyn source::Source>,
    /// `None` where this version cannot back it up: the run reports that, and does not succeed.
    pub kind: Option<BackupKind>,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    #[error("the policy has no source `{name}`; it has {}", list(.known))]
    UnknownSource { name: SourceName, known: Vec<SourceName> },
    #[error("the policy has no source")]
    NoSource,
    #[error("the policy asks for no backup of kind {} of {}", alternatives(.kinds), list(.of))]
    NoSuchKind { kinds: Vec<BackupKind>, of: Vec<SourceName> },
}

fn alternatives(kinds: &[BackupKind]) -> String {
    kinds.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(" or ")
}

fn list(names: &[SourceName]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Selects all sources of the policy, or the named ones, each once with every kind of backup in the policy,
/// or with those of `only`, where it is not empty.
pub fn plan(
    policy: &Policy,
    named: &[SourceName],
    only: &[BackupKind],
    now: DateTime<Utc>,
    seed: u32,
) -> Result<BackupPlan, PlanError> {
    if let Some(name) = named.iter().find(|name| policy.source(name).is_none()) {
        let known = policy.sources.iter().map(|source| source.name.clone()).collect();
        return Err(PlanError::UnknownSource { name: name.clone(), known });
    }
    let wanted = |source: &&Source| named.is_empty() || named.contains(&source.name);
    let wanted: Vec<_> = policy.sources.iter().filter(wanted).collect();
    let is_wanted = |kind: BackupKind| only.is_empty() || only.contains(&kind);
    let mut sources = Vec::new();
    let mut without = Vec::new();
    for source in &wanted {
        let opened = source::open(source);
        let of_kind = |kind| PlannedSource { source: (*source).clone(), opened: Arc::clone(&opened), kind };
        match opened.kinds() {
            Ok(kinds) => {
                let kinds: Vec<_> = kinds.iter().filter(|kind| is_wanted(**kind)).collect();
                if kinds.is_empty() {
                    without.push(source.name.clone());
                }
                sources.extend(kinds.into_iter().copied().map(Some).map(of_kind));
            }
            Err(_) if source.kinds.iter().any(|kind| is_wanted(*kind)) => sources.push(of_kind(None)),
            Err(_) => without.push(source.name.clone()),
        }
    }
    match only {
        // A named source has to support the kind; without names it is sufficient that some do.
        [_, ..] if sources.is_empty() || !(named.is_empty() || without.is_empty()) => {
            Err(PlanError::NoSuchKind { kinds: only.to_vec(), of: without })
        }
        _ if sources.is_empty() => Err(PlanError::NoSource),
        _ => Ok(BackupPlan {
            run: RunId::new(now, seed),
            extent: Extent::default(),
            accepts_new_cluster: false,
            sources,
        }),
    }
}

/// The backups to take of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePlan {
    /// Started by interrupted runs and not committed; oldest first.
    pub resumed: Vec<BackupId>,
    /// Whether a resumed and committed one makes a new one unnecessary: its data is inside of the RPO.
    pub is_enough: bool,
    /// Also started by interrupted runs, and too old to be resumed.
    pub orphaned: Vec<BackupId>,
}

impl SourcePlan {
    /// Decides what to resume of the service's backups, and whether a new one is due. `committed`: those with
    /// a manifest; `None` where that is unknown, so that nothing is resumed.
    pub fn new(
        kind: BackupKind,
        in_flight: Vec<BackupId>,
        committed: Option<&BTreeSet<BackupId>>,
        rpo: Duration,
        now: DateTime<Utc>,
    ) -> Self {
        // An unreadable manifest may exist nevertheless, and a second one would contradict it.
        let Some(committed) = committed else {
            return Self { resumed: vec![], is_enough: false, orphaned: vec![] };
        };
        let (resumed, orphaned): (Vec<_>, Vec<_>) = in_flight
            .into_iter()
            .filter(|backup| !committed.contains(backup))
            .partition(|backup| kind != BackupKind::Snapshot || now - backup.begun() < RESUMED_WITHIN);
        let age = resumed.last().and_then(|newest| (now - newest.begun()).to_std().ok());
        Self { resumed, is_enough: age.is_some_and(|age| age < rpo), orphaned }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_is_resumed_unless_it_was_committed_or_is_too_old() {
        let now: DateTime<Utc> = "2026-11-20T22:02:51Z".parse().unwrap();
        let source = "database".parse().unwrap();
        let begun = |kind, minutes| BackupId::new(now - TimeDelta::minutes(minutes), &source, kind, 1);
        let plan = |kind, minutes: &[i64], committed: &[i64]| {
            let in_flight = minutes.iter().map(|minutes| begun(kind, *minutes)).collect();
            let committed = committed.iter().map(|minutes| begun(kind, *minutes)).collect();
            let rpo = Duration::from_secs(3600);
            let plan = SourcePlan::new(kind, in_flight, Some(&committed), rpo, now);
            let ages = |backups: &[BackupId]| -> Vec<i64> {
                backups.iter().map(|backup| (now - backup.begun()).num_minutes()).collect()
            };
            (ages(&plan.resumed), plan.is_enough, ages(&plan.orphaned))
        };
        use BackupKind::{RecoveryPoint, Snapshot};
        assert_eq!(plan(Snapshot, &[], &[]), (vec![], false, vec![]));
        assert_eq!(plan(Snapshot, &[90, 30], &[]), (vec![90, 30], true, vec![]));
        assert_eq!(plan(Snapshot, &[90, 30], &[30]), (vec![90], false, vec![]));
        assert_eq!(plan(Snapshot, &[90], &[90]), (vec![], false, vec![]));
        assert_eq!(plan(Snapshot, &[2880, 2879], &[]), (vec![2879], false, vec![2880]));
        assert_eq!(plan(RecoveryPoint, &[2881], &[]), (vec![2881], false, vec![]));
        // From the future, as after a clock was set back: resumed, and nothing is said of its age.
        assert_eq!(plan(Snapshot, &[-10], &[]), (vec![-10], false, vec![]));
    }

    #[test]
    fn nothing_is_resumed_where_what_was_committed_is_not_known() {
        let now: DateTime<Utc> = "2026-11-20T22:02:51Z".parse().unwrap();
        let backup = BackupId::new(now, &"database".parse().unwrap(), BackupKind::Snapshot, 1);
        let plan = SourcePlan::new(BackupKind::Snapshot, vec![backup], None, Duration::from_secs(3600), now);
        assert_eq!(plan, SourcePlan { resumed: vec![], is_enough: false, orphaned: vec![] });
    }
}
