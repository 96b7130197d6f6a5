use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::stock::BackupStock;
use crate::drill::DrillRecord;
use crate::drill::forecast::PathForecast;
use crate::model::{Outcome, RepositoryName, SourceName, SystemName};
use crate::recoverability::immutability::ImmutabilityState;
use crate::schedule::TaskState;
use crate::status::{DrillConcern, ObjectiveVerdict, RetentionConcern, SourceStatus};

/// What is known of one system, and when that was collected.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SystemSnapshot {
    pub system: SystemName,
    pub description: Option<String>,
    pub owner: Option<String>,
    pub collected: DateTime<Utc>,
    pub took_seconds: f64,
    /// Whether the repositories were queried.
    pub is_refreshed: bool,
    pub rpo_seconds: u64,
    pub rto_seconds: u64,
    /// The worst of its sources.
    pub verdict: ObjectiveVerdict,
    /// What that means.
    pub sentence: String,
    pub sources: Vec<SourceSnapshot>,
    pub repositories: Vec<RepositorySnapshot>,
    pub stocks: Vec<BackupStock>,
    /// `None`: the policy has no drill.
    pub drill: Option<DrillSnapshot>,
    /// `None`: the policy has no retention.
    pub retention: Option<RetentionSnapshot>,
    pub tasks: Vec<TaskState>,
    pub channels: Vec<ChannelSnapshot>,
    /// Runbooks that are overdue for a rehearsal.
    pub runbooks: Option<String>,
    /// That a backup left the application paused.
    pub paused: Option<String>,
    /// What was said while it was collected: what is wrong, and what could not be queried.
    pub warnings: Vec<String>,
}

/// One source, and what its locations have to say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceSnapshot {
    #[serde(flatten)]
    pub status: SourceStatus,
    /// What does not count in a location and why, and what WAL adds.
    pub details: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RepositorySnapshot {
    pub name: RepositoryName,
    pub is_reached: bool,
    /// `None`: the policy asks for no lock there.
    pub lock: Option<ImmutabilityState>,
}

/// The drills of the policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DrillSnapshot {
    pub source: SourceName,
    pub last: Option<LastDrillRun>,
    /// When one last passed.
    pub passed: Option<DateTime<Utc>>,
    /// The newest record whose digest matches; absent where none was read.
    pub record: Option<Box<DrillRecord>>,
    pub concern: Option<DrillConcern>,
    pub forecasts: Vec<PathForecast>,
}

/// The last run of a drill, by the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LastDrillRun {
    pub ended: DateTime<Utc>,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RetentionSnapshot {
    /// When it last removed everything that it was to.
    pub applied: Option<DateTime<Utc>>,
    /// What the last run removed.
    pub removed: usize,
    pub concern: Option<RetentionConcern>,
}

/// A channel that people are told by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelSnapshot {
    pub name: String,
    /// Why it did not take its last message.
    pub problem: Option<String>,
}

/// A system whose snapshot could not be collected the last time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailedCollection {
    pub at: DateTime<Utc>,
    /// Holds no secret.
    pub reason: String,
}

/// A system that is watched: its last snapshot, and why there is no newer one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Watched {
    /// The system, or the name of its policy's file where that was never read.
    pub name: String,
    pub snapshot: Option<std::sync::Arc<SystemSnapshot>>,
    /// Why the last collection failed; `None`: it did not, or the first has not ended yet.
    pub failed: Option<FailedCollection>,
}

impl Watched {
    /// Returns these, where a name occurs once only: of another policy of the same system nothing can be told apart.
    pub fn unique(all: Vec<Self>) -> Vec<Self> {
        let mut unique: Vec<Self> = Vec::with_capacity(all.len());
        for one in all {
            match unique.iter_mut().find(|known| known.name == one.name) {
                None => unique.push(one),
                Some(known) => {
                    let at = one.snapshot.as_ref().map(|snapshot| snapshot.collected);
                    let at = at.or_else(|| known.snapshot.as_ref().map(|known| known.collected));
                    let reason = format!("two policies are of the system `{}`", known.name);
                    known.failed = at.map(|at| FailedCollection { at, reason }).or(one.failed);
                }
            }
        }
        unique
    }
}

impl SystemSnapshot {
    pub fn rpo(&self) -> Duration {
        Duration::from_secs(self.rpo_seconds)
    }

    /// Returns the most that would be lost if any one location were lost now; second, whether that is everything.
    pub fn worst_loss(&self) -> (Option<u64>, bool) {
        let losses = || self.sources.iter().flat_map(|source| &source.status.if_lost);
        let loses_all = losses().any(|loss| loss.loses_seconds.is_none() && loss.unknown.is_empty());
        (losses().filter_map(|loss| loss.loses_seconds).max(), loses_all)
    }

    /// Returns the tasks that should have been performed by now.
    pub fn late(&self) -> impl Iterator<Item = &TaskState> {
        self.tasks.iter().filter(|task| task.is_late)
    }

    /// Returns when the newest backup that is good began.
    pub fn last_backup(&self) -> Option<DateTime<Utc>> {
        self.stocks.iter().filter_map(|stock| stock.newest.as_ref()).map(|newest| newest.begun).max()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::drill::forecast::{Basis, DrillPath, Forecast, RtoForecast, Standing};
    use crate::drill::{Scenario, passed};
    use crate::model::{AssuranceLevel, BackupKind, Location};
    use crate::monitor::stock::NewestBackup;
    use crate::recoverability::wal::WalReach;
    use crate::schedule::{Task, Turn};
    use crate::status::{LocationStatus, LossImpact, Newest};

    pub(crate) fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn place(name: &str, until: &str, now: DateTime<Utc>) -> LocationStatus {
        let backup: crate::model::BackupId = "20261120T113000Z-database-base-2222".parse().unwrap();
        let until = at(until);
        LocationStatus {
            location: Location::Repository(name.parse().unwrap()),
            verdict: ObjectiveVerdict::Ok,
            newest: Some(Newest {
                backup: backup.clone(),
                recovery_point: at("2026-11-20T11:31:00Z"),
                state: AssuranceLevel::Proven,
            }),
            log: Some(WalReach {
                base: backup,
                until,
                newest_commit: Some(until),
                gap: None,
                branch: None,
                damaged_at: None,
                is_minimal: false,
            }),
            automated: None,
            point: None,
            lost: None,
            stalled: None,
            stranger: None,
            replaced: None,
            beside: None,
            bad_log: BTreeSet::new(),
            restorable_until: Some(until),
            loses_seconds: u64::try_from((now - until).num_seconds()).ok(),
            behind: false,
            bad: 0,
            bad_backups: vec![],
            damaged: vec![],
            future: vec![],
            missing: vec![],
            other_history: vec![],
            unproven: None,
            waiting: vec![],
            left_out: vec![],
        }
    }

    /// A system where everything is as it should be, with something in every field.
    pub(crate) fn healthy() -> SystemSnapshot {
        let now = at("2026-11-20T12:00:00Z");
        let source: SourceName = "database".parse().unwrap();
        let (primary, west) =
            (place("primary", "2026-11-20T11:59:00Z", now), place("west", "2026-11-20T11:55:00Z", now));
        let if_lost = |lost: &LocationStatus, left: &LocationStatus| LossImpact {
            location: lost.location.clone(),
            left: Some(left.location.to_string()),
            unknown: vec![],
            loses_seconds: left.loses_seconds,
        };
        let stock = |kind, repository: &str, hour: u32| BackupStock {
            source: source.clone(),
            kind,
            repository: repository.parse().unwrap(),
            count: 30,
            stored_bytes: 40 << 30,
            newest: Some(NewestBackup {
                backup: format!("20261120T{hour:02}3000Z-database-{kind}-2222").parse().unwrap(),
                begun: at(&format!("2026-11-20T{hour:02}:30:00Z")),
                ended: at(&format!("2026-11-20T{hour:02}:31:30Z")),
                stored_bytes: 5 << 28,
                state: AssuranceLevel::Checked,
            }),
            least_expected_bytes: Some(5 << 27),
        };
        let task = |task, lines: &str, succeeded: &str, next: &str| TaskState {
            task,
            schedule: vec![lines.to_owned()],
            turn: Turn::Waits,
            occurrence: Some(at(succeeded)),
            succeeded: Some(at(succeeded)),
            missed: 0,
            is_late: false,
            next: Some(at(next)),
            late_after: Some(at(next) + chrono::TimeDelta::minutes(30)),
        };
        let base = Task::Backup { source: source.clone(), kind: BackupKind::Base };
        let forecast = Forecast::Forecast(RtoForecast {
            samples: 7,
            basis: Basis::Percentile,
            rto_seconds: 3_120.0,
            growing_seconds: 2_400.0,
            objective_seconds: 14_400.0,
            bytes: 6 << 30,
            bytes_a_day: Some(125_829_120.0),
            standing: Standing::Within,
            crosses: "2027-08-03".parse().ok(),
        });
        let path = DrillPath {
            source: source.clone(),
            scenario: Scenario::RegionLoss,
            kind: BackupKind::Logical,
            sandbox: Some("local".to_owned()),
        };
        let drilled = at("2026-11-01T05:20:00Z");
        SystemSnapshot {
            system: "shop".parse().unwrap(),
            description: Some("The shop".to_owned()),
            owner: Some("platform".to_owned()),
            collected: now,
            took_seconds: 1.25,
            is_refreshed: true,
            rpo_seconds: 3_600,
            rto_seconds: 14_400,
            verdict: ObjectiveVerdict::Ok,
            sentence: "every repository could give back data of the last 1h".to_owned(),
            sources: vec![SourceSnapshot {
                details: vec!["primary: everything until 2026-11-20T11:59:00Z".to_owned()],
                status: SourceStatus {
                    source: source.clone(),
                    verdict: ObjectiveVerdict::Ok,
                    if_lost: vec![if_lost(&primary, &west), if_lost(&west, &primary)],
                    places: vec![primary, west],
                },
            }],
            repositories: vec![
                RepositorySnapshot { name: "primary".parse().unwrap(), is_reached: true, lock: None },
                RepositorySnapshot {
                    name: "west".parse().unwrap(),
                    is_reached: true,
                    lock: Some(ImmutabilityState::Proven { at: drilled }),
                },
            ],
            stocks: vec![
                stock(BackupKind::Logical, "primary", 3),
                stock(BackupKind::Base, "primary", 11),
                stock(BackupKind::Base, "west", 11),
            ],
            drill: Some(DrillSnapshot {
                source,
                last: Some(LastDrillRun { ended: drilled, outcome: Outcome::Succeeded }),
                passed: Some(drilled),
                record: Some(Box::new(passed())),
                concern: None,
                forecasts: vec![PathForecast { path, forecast }],
            }),
            retention: Some(RetentionSnapshot {
                applied: Some(at("2026-11-20T04:10:00Z")),
                removed: 2,
                concern: None,
            }),
            tasks: vec![
                task(base, "30 * * * *", "2026-11-20T11:30:00Z", "2026-11-20T12:30:00Z"),
                task(Task::Retention, "10 4 * * *", "2026-11-20T04:10:00Z", "2026-11-21T04:10:00Z"),
                task(Task::Drill, "0 5 1 * *", "2026-11-01T05:00:00Z", "2026-12-01T05:00:00Z"),
            ],
            channels: vec![ChannelSnapshot { name: "pager".to_owned(), problem: None }],
            runbooks: None,
            paused: None,
            warnings: vec![],
        }
    }

    #[test]
    fn two_policies_of_one_system_are_one_problem() {
        let all = Watched::unique(vec![watched(healthy()), watched(healthy())]);
        let failed = all[0].failed.as_ref().map(|failed| failed.reason.as_str());
        assert_eq!((all.len(), failed), (1, Some("two policies are of the system `shop`")));
    }

    pub(crate) fn watched(snapshot: SystemSnapshot) -> Watched {
        let name = snapshot.system.to_string();
        Watched { name, snapshot: Some(Arc::new(snapshot)), failed: None }
    }
}
