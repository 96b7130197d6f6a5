use std::sync::Arc;

use chrono::{DateTime, Utc};
use thiserror::Error;

use super::due::{Turn, task_state};
use super::history::TaskHistory;
use super::task::{ScheduledTask, Task};
use crate::event::Events;
use crate::model::{Outcome, RunId, SystemName};
use crate::platform::{CancellationToken, Clock, host_name, seed};
use crate::repository::journal::{Detail, JournalRecord, RUN_DUE};
use crate::repository::lease::{self, Acquired, Lease};
use crate::repository::{Repositories, layout, run_record};
use crate::text::error_chain;

/// What has been done meanwhile is not known.
#[derive(Debug, Error)]
#[error("failed to read what was done before")]
pub struct PerformError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Who performs tasks, and knows what was done before.
pub trait Perform {
    /// How a task ended.
    type End;

    /// Reads the repositories again.
    fn history(&self) -> impl Future<Output = Result<TaskHistory, PerformError>>;

    fn perform(&self, task: &Task) -> impl Future<Output = Self::End>;

    /// Returns why it failed; `None`: it did not, or was interrupted, or another run does it.
    fn failure(&self, end: &Self::End) -> Option<String>;
}

/// What became of a task that was due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskEnd<E> {
    Performed(E),
    /// Another run performs it now.
    Busy {
        host: String,
    },
    /// Another host performed it between the decision and the lease.
    PerformedElsewhere,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Performed<E> {
    pub task: Task,
    pub end: TaskEnd<E>,
}

/// What leases are taken with.
pub struct LeaseParts<'a> {
    pub system: &'a SystemName,
    pub repositories: &'a Repositories,
    pub run: &'a RunId,
    pub clock: Arc<dyn Clock>,
    pub events: &'a Events,
    pub cancel: &'a CancellationToken,
}

/// Performs everything that is due according to `history`, one after the other, each under its own lease. Goes past a task that fails; stops
/// when cancelled.
pub async fn run_due<P: Perform>(
    tasks: &[ScheduledTask],
    mut history: TaskHistory,
    performer: &P,
    parts: &LeaseParts<'_>,
) -> Vec<Performed<P::End>> {
    let mut ended = Vec::new();
    for task in tasks {
        if parts.cancel.is_cancelled() || !is_due(task, &history, parts) {
            continue;
        }
        let end = match take_lease(&task.task, parts).await {
            Taken::Busy(host) => TaskEnd::Busy { host },
            Taken::Held(lease) => {
                // Another host may have finished it just before. Where that cannot be read, doing it twice is better than
                // not at all.
                match performer.history().await {
                    Ok(now) => history = now,
                    Err(error) => parts.events.warning(error_chain(&error)),
                }
                let end = match is_due(task, &history, parts) {
                    true => {
                        let begun = parts.clock.now();
                        let end = performer.perform(&task.task).await;
                        if let Some(why) = performer.failure(&end) {
                            record_failure(&task.task, why, begun, parts).await;
                        }
                        TaskEnd::Performed(end)
                    }
                    false => TaskEnd::PerformedElsewhere,
                };
                if let Some(lease) = lease {
                    lease.release().await;
                }
                end
            }
        };
        ended.push(Performed { task: task.task.clone(), end });
    }
    ended
}

fn is_due(task: &ScheduledTask, history: &TaskHistory, parts: &LeaseParts<'_>) -> bool {
    task_state(task, history, parts.clock.now()).turn == Turn::Due
}

/// Records an attempt that failed, so that every host knows when to try again: not everything leaves a record itself.
async fn record_failure(task: &Task, why: String, begun: DateTime<Utc>, parts: &LeaseParts<'_>) {
    let now = parts.clock.now();
    let detail = Detail { task: Some(task.to_string()), reasons: vec![why], ..Detail::default() };
    let id = RunId::new(now, seed());
    let record = JournalRecord::new(&id, RUN_DUE, (begun, now), &host_name(), Outcome::Failed, detail);
    // Where none takes it, the task is tried again at the next wake.
    if let Err(error) = run_record::append(parts.repositories, parts.system, record).await {
        parts.events.warning(format!("the attempt is not recorded: {}", error_chain(&error)));
    }
}

enum Taken {
    /// `None`: no repository takes leases, and nothing breaks without one.
    Held(Option<Lease>),
    Busy(String),
}

/// Takes the lease of a task where every host looks for it: in the first repository that can be reached.
async fn take_lease(task: &Task, parts: &LeaseParts<'_>) -> Taken {
    for repository in parts.repositories.writable() {
        let key = layout::lease(parts.system, &task.lease());
        let (store, clock) = (Arc::clone(&repository.store), Arc::clone(&parts.clock));
        let lost = CancellationToken::new();
        match lease::acquire(store, key, parts.run, RUN_DUE, lease::TIME_TO_LIVE, clock, lost).await {
            Ok(Acquired::Held(lease)) => return Taken::Held(Some(lease)),
            Ok(Acquired::Busy(holder)) => return Taken::Busy(holder.host),
            Err(error) => parts.events.warning(format!(
                "the lease of the {task} cannot be taken in repository {}: {}",
                repository.name,
                error_chain(&error)
            )),
        }
    }
    Taken::Held(None)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{CheckDepth, CopyCheck};
    use crate::platform::FixedClock;
    use crate::repository::fixtures::{repositories, system};
    use crate::repository::journal::RETENTION;
    use crate::schedule::due::tests::{backup, tasks};

    /// The repositories of a system, seen by several hosts.
    #[derive(Default)]
    struct World {
        history: Mutex<TaskHistory>,
        performed: Mutex<Vec<(Task, DateTime<Utc>)>>,
    }

    struct Host<'w> {
        world: &'w World,
        clock: Arc<FixedClock>,
        /// How long each task takes.
        takes: TimeDelta,
        fails: bool,
        /// The repositories cannot be read any more.
        is_blind: bool,
    }

    impl Perform for Host<'_> {
        type End = bool;

        async fn history(&self) -> Result<TaskHistory, PerformError> {
            if self.is_blind {
                return Err(PerformError("the disk is full".into()));
            }
            Ok(self.world.history.lock().unwrap().clone())
        }

        async fn perform(&self, task: &Task) -> bool {
            let begun = self.clock.now();
            self.clock.set(begun + self.takes);
            if self.fails {
                return false;
            }
            self.world.performed.lock().unwrap().push((task.clone(), begun));
            let mut history = self.world.history.lock().unwrap();
            history.entries.retain(|entry| entry.id().begun() > begun - TimeDelta::days(9));
            history.runs.retain(|run| run.begun > begun - TimeDelta::days(9));
            let verb = match task {
                Task::Backup { .. } | Task::Point { .. } => {
                    history.entries.push(backup(&begun.to_rfc3339(), true));
                    return true;
                }
                Task::Verify => crate::verify::backups::VERB,
                Task::Retention => RETENTION,
                Task::Drill | Task::Copies => return true,
            };
            let id = RunId::new(begun, u32::try_from(history.runs.len()).unwrap());
            let times = (begun, begun + self.takes);
            let checks = history.entries.iter().map(|entry| CopyCheck {
                backup: entry.id().clone(),
                repository: "primary".parse().unwrap(),
                at: begun,
                depth: CheckDepth::Stored,
                faults: vec![],
            });
            let detail = Detail { checks: checks.collect(), ..Detail::default() };
            let record = JournalRecord::new(&id, verb, times, "host", Outcome::Succeeded, detail);
            history.runs.push(record);
            true
        }

        fn failure(&self, _: &bool) -> Option<String> {
            None
        }
    }

    async fn wake(
        world: &World,
        now: DateTime<Utc>,
        parts: &Repositories,
        fails: bool,
    ) -> Vec<Performed<bool>> {
        let clock = Arc::new(FixedClock::at(now));
        let host =
            Host { world, clock: Arc::clone(&clock), takes: TimeDelta::seconds(90), fails, is_blind: false };
        let (system, run) = (system(), RunId::new(now, crate::platform::seed()));
        let (events, cancel) = (Events::to(vec![]), CancellationToken::new());
        let parts = LeaseParts {
            system: &system,
            repositories: parts,
            run: &run,
            clock: clock as Arc<dyn Clock>,
            events: &events,
            cancel: &cancel,
        };
        run_due(&schedule(), host.history().await.unwrap(), &host, &parts).await
    }

    fn schedule() -> Vec<ScheduledTask> {
        let all = "[schedule]\ntimezone = \"Europe/Berlin\"\nverify = \"40 4 * * *\"\nretention = \"20 6 * * *\"\n[schedule.sources]\ndatabase = { logical = \"30 2,14 * * *\" }\n";
        tasks(all).into_iter().filter(|task| !matches!(task.task, Task::Drill | Task::Copies)).collect()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn while_one_host_performs_a_task_another_leaves_it_and_then_it_is_done() {
        let root = tempfile::tempdir().unwrap();
        let (world, stores) = (World::default(), repositories(root.path(), &["primary"]).await);
        let now = at("2026-11-30T12:00:00Z");
        let backup = schedule().remove(0).task;
        let (system, run, clock) = (system(), RunId::new(now, 9), Arc::new(FixedClock::at(now)));
        let (events, cancel) = (Events::to(vec![]), CancellationToken::new());
        let parts = LeaseParts {
            system: &system,
            repositories: &stores,
            run: &run,
            clock: clock as Arc<dyn Clock>,
            events: &events,
            cancel: &cancel,
        };
        let Taken::Held(Some(lease)) = take_lease(&backup, &parts).await else { panic!("not held") };
        // It is alive, so it renews.
        let ended = wake(&world, now, &stores, false);
        let renewed = tokio::time::sleep(lease::TIME_TO_LIVE);
        tokio::select! {
            ended = ended => assert!(matches!(&ended[0].end, TaskEnd::Busy { .. }), "{ended:?}"),
            () = renewed => panic!("waited for the whole time to live"),
        }
        assert_eq!(world.performed.lock().unwrap().len(), 0);
        lease.release().await;
        let ended = wake(&world, now, &stores, false).await;
        assert_eq!(ended[0].end, TaskEnd::Performed(true));
        assert_eq!(wake(&world, now + TimeDelta::minutes(5), &stores, false).await, []);
    }

    #[tokio::test]
    async fn what_cannot_be_read_again_keeps_nothing_from_being_done() {
        let root = tempfile::tempdir().unwrap();
        let (world, stores) = (World::default(), repositories(root.path(), &["primary"]).await);
        let now = at("2026-11-30T12:00:00Z");
        let (system, run, clock) = (system(), RunId::new(now, 9), Arc::new(FixedClock::at(now)));
        let host = Host {
            world: &world,
            clock: Arc::clone(&clock),
            takes: TimeDelta::seconds(1),
            fails: false,
            is_blind: true,
        };
        let (events, cancel) = (Events::to(vec![]), CancellationToken::new());
        let parts = LeaseParts {
            system: &system,
            repositories: &stores,
            run: &run,
            clock,
            events: &events,
            cancel: &cancel,
        };
        let history =
            TaskHistory { entries: vec![backup("2026-11-20T12:00:00Z", true)], ..TaskHistory::default() };
        let ended = run_due(&schedule(), history, &host, &parts).await;
        let done: Vec<_> = ended.iter().map(|one| one.end == TaskEnd::Performed(true)).collect();
        assert_eq!(done, [true; 3], "{ended:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4))]

        /// Thirty days over a change of the clocks: hosts that are up or down by turns, each woken every half hour. Each
        /// time of the schedule in which a host was up before the next is used once, and none twice.
        #[test]
        fn everything_due_is_done_once_whatever_hosts_are_up(
            outages in prop::collection::vec((0i64..30 * 24, 1i64..90), 0..6),
            two_hosts: bool,
            failing in prop::collection::vec(0i64..30 * 24 * 2, 0..20),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (world, stores) = (World::default(), Repositories::new(vec![]));
                let first = at("2026-10-10T00:00:00Z");
                let is_up = |now: DateTime<Utc>| {
                    let hour = (now - first).num_hours();
                    !outages.iter().any(|(from, hours)| (*from..from + hours).contains(&hour))
                };
                let mut woken = Vec::new();
                for wake_number in 0..30 * 24 * 2 {
                    let now = first + TimeDelta::minutes(30 * wake_number);
                    if !is_up(now) {
                        continue;
                    }
                    let fails = failing.contains(&wake_number);
                    if !fails {
                        woken.push(now);
                    }
                    wake(&world, now, &stores, fails).await;
                    if two_hosts {
                        wake(&world, now + TimeDelta::seconds(100), &stores, false).await;
                        woken.push(now + TimeDelta::seconds(100));
                    }
                }
                let performed = world.performed.lock().unwrap();
                for task in schedule() {
                    let times = crate::policy::firings(&task.lines, task.zone, first, first + TimeDelta::days(30));
                    for pair in times.windows(2) {
                        let (from, until) = (pair[0], pair[1]);
                        let runs = performed.iter().filter(|(of, begun)| *of == task.task && *begun >= from && *begun < until);
                        let was_woken = woken.iter().any(|woken| *woken >= from && *woken + TimeDelta::minutes(10) < until);
                        let number = runs.count();
                        assert!(number <= 1, "{} ran {number} times in {from}..{until}", task.task);
                        let works_on_something = task.task != Task::Verify && task.task != Task::Retention
                            || from > first + TimeDelta::days(8);
                        if was_woken && works_on_something {
                            assert_eq!(number, 1, "{} did not run in {from}..{until}", task.task);
                        }
                    }
                }
            });
        }
    }
}
