//! Decides what is due. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::history::{Performance, TaskHistory};
use super::task::{ScheduledTask, Task};
use crate::policy::{drill_grace_ends, firings, last_firing, next_firing};

/// How long after the first attempt that failed the next is made; twice as long after each further one.
const RETRY_AFTER: TimeDelta = TimeDelta::minutes(15);
/// The longest of these pauses.
const RETRY_AFTER_MOST: TimeDelta = TimeDelta::hours(1);
/// How many attempts are made for one time of the schedule; of a backup as many as it takes.
const ATTEMPTS: usize = 3;

fn retry_at(attempts: usize, last: &Performance) -> DateTime<Utc> {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(8);
    last.ended + (RETRY_AFTER * 2_i32.pow(doublings)).min(RETRY_AFTER_MOST)
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "turn")]
pub enum Turn {
    /// It was performed at its last time, or its first is still to come.
    Waits,
    /// Nothing was there to work on at its last time.
    NothingYet,
    /// It is to be performed now.
    Due,
    /// Its last attempt failed; it is tried again then.
    TriedAgain { at: DateTime<Utc> },
    /// It failed too often, and is not tried again before its next time.
    GivenUp { attempts: usize },
}

/// Where a task stands at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskState {
    pub task: Task,
    /// As the policy has it.
    pub schedule: Vec<String>,
    #[serde(flatten)]
    pub turn: Turn,
    /// The last time of the schedule.
    pub occurrence: Option<DateTime<Utc>>,
    /// When it last began and succeeded.
    pub succeeded: Option<DateTime<Utc>>,
    /// Times of the schedule, before the last one and after the last success, at which it was not performed.
    pub missed: usize,
    /// It should have been performed by now.
    pub is_late: bool,
    pub next: Option<DateTime<Utc>>,
    /// From when on it is late unless it is performed before; in the past where it is late now.
    pub late_after: Option<DateTime<Utc>>,
}

/// Decides for every task, at `now`.
pub fn task_states(tasks: &[ScheduledTask], history: &TaskHistory, now: DateTime<Utc>) -> Vec<TaskState> {
    tasks.iter().map(|task| task_state(task, history, now)).collect()
}

pub fn task_state(task: &ScheduledTask, history: &TaskHistory, now: DateTime<Utc>) -> TaskState {
    let performances = history.performances(task, now);
    if task.task == Task::Copies {
        return copies_state(history.missing_copies, &performances, now);
    }
    let occurrence = last_firing(&task.lines, task.zone, now);
    let succeeded = performances.iter().rev().find(|run| run.succeeded).map(|run| run.begun);
    // A backup is wanted from the first day on; anything else needs one to work on.
    let since = match &task.task {
        Task::Backup { .. } | Task::Point { .. } => {
            succeeded.or_else(|| performances.first().map(|run| run.begun))
        }
        _ => succeeded.or_else(|| history.first_backup(task.source.as_ref())),
    };
    let works_on_something = is_backup(&task.task) || since.is_some();
    let turn = match occurrence {
        None => Turn::Waits,
        Some(occurrence) => {
            let attempts: Vec<_> = performances.iter().filter(|run| run.begun >= occurrence).collect();
            match attempts.last() {
                _ if attempts.iter().any(|run| run.succeeded) => Turn::Waits,
                _ if !works_on_something || since.is_some_and(|since| is_later(task, since, occurrence)) => {
                    Turn::NothingYet
                }
                None => Turn::Due,
                Some(_) if attempts.len() >= ATTEMPTS && !is_backup(&task.task) => {
                    Turn::GivenUp { attempts: attempts.len() }
                }
                Some(last) if retry_at(attempts.len(), last) > now => {
                    Turn::TriedAgain { at: retry_at(attempts.len(), last) }
                }
                Some(_) => Turn::Due,
            }
        }
    };
    let is_open = !matches!(turn, Turn::Waits | Turn::NothingYet);
    let missed = match (occurrence, since) {
        (Some(occurrence), Some(since)) if is_open => {
            firings(&task.lines, task.zone, since, occurrence).len().saturating_sub(1)
        }
        _ => 0,
    };
    let next = next_firing(&task.lines, task.zone, now);
    let grace_ends = |at| drill_grace_ends(&task.lines, task.zone, at);
    let late_after = match occurrence.filter(|_| is_open) {
        Some(occurrence) if missed > 0 => Some(occurrence),
        Some(occurrence) => Some(grace_ends(occurrence)),
        None => next.map(grace_ends),
    };
    TaskState {
        task: task.task.clone(),
        schedule: task.lines.iter().map(|line| line.as_str().to_owned()).collect(),
        turn,
        occurrence,
        succeeded,
        missed,
        is_late: is_open && late_after.is_some_and(|late_after| late_after <= now),
        next,
        late_after,
    }
}

fn is_backup(task: &Task) -> bool {
    matches!(task, Task::Backup { .. } | Task::Point { .. })
}

fn copies_state(missing: usize, performances: &[Performance], now: DateTime<Utc>) -> TaskState {
    let turn = match performances.last() {
        _ if missing == 0 => Turn::Waits,
        Some(last) if last.ended + RETRY_AFTER_MOST > now => {
            Turn::TriedAgain { at: last.ended + RETRY_AFTER_MOST }
        }
        _ => Turn::Due,
    };
    TaskState {
        task: Task::Copies,
        schedule: vec![],
        turn,
        occurrence: None,
        succeeded: performances.iter().rev().find(|run| run.succeeded).map(|run| run.begun),
        missed: 0,
        is_late: false,
        next: None,
        late_after: None,
    }
}

/// Whether all that a task works on came after its time; a backup works on the server.
fn is_later(task: &ScheduledTask, since: DateTime<Utc>, occurrence: DateTime<Utc>) -> bool {
    !is_backup(&task.task) && since > occurrence
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::catalog::{BackupEntry, CopyEntry};
    use crate::copies::backups::VERB as COPIES;
    use crate::model::{AssuranceLevel, BackupId, BackupKind, CheckDepth, CopyCheck, Outcome, RunId};
    use crate::policy::parse;
    use crate::repository::fixtures;
    use crate::repository::journal::{Detail, JournalRecord, RUN_DUE};
    use crate::schedule::scheduled_tasks;

    pub(crate) fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    pub(crate) fn tasks(schedule: &str) -> Vec<ScheduledTask> {
        let text = include_str!("../../policies/personal-assistant-tdah.toml");
        let (head, rest) = text.split_once("[schedule]").unwrap();
        let (_, tail) = rest.split_once("[drill]").unwrap();
        let text = format!("{head}{schedule}\n[drill]{tail}");
        scheduled_tasks(&parse(std::path::Path::new("policy.toml"), &text).unwrap())
    }

    fn find(tasks: &[ScheduledTask], name: &str) -> ScheduledTask {
        tasks.iter().find(|task| task.task.to_string() == name).unwrap().clone()
    }

    fn hourly() -> ScheduledTask {
        let tasks = tasks(
            "[schedule]\nverify = \"40 4 * * *\"\n[schedule.sources]\ndatabase = { logical = \"15 * * * *\" }\n",
        );
        find(&tasks, "backup of database (logical)")
    }

    fn nightly() -> ScheduledTask {
        let tasks = tasks(
            "[schedule]\nverify = \"40 4 * * *\"\n[schedule.sources]\ndatabase = { logical = \"15 * * * *\" }\n",
        );
        find(&tasks, "verify")
    }

    pub(crate) fn backup(time: &str, is_held: bool) -> BackupEntry {
        let (begun, source) = (at(time), "database".parse().unwrap());
        let mut manifest = fixtures::backup(0).0;
        let seed = u32::try_from(begun.timestamp() % 1_000_000).unwrap();
        manifest.id = BackupId::new(begun, &source, BackupKind::Logical, seed);
        (manifest.begun, manifest.recovery_point) = (begun, begun);
        let repository = "primary".parse().unwrap();
        let vanished = (!is_held).then(|| at(time));
        let copy = CopyEntry { repository, state: AssuranceLevel::Stored, vanished, last_check: None };
        BackupEntry { copies: vec![copy], manifest }
    }

    fn verify(time: &str, outcome: Outcome) -> JournalRecord {
        let begun = at(time);
        let times = (begun, begun + TimeDelta::minutes(5));
        // Of a backup that is newer than any.
        let newest = backup("2026-11-30T00:00:00Z", true);
        let checks = vec![CopyCheck {
            backup: newest.id().clone(),
            repository: "primary".parse().unwrap(),
            at: begun,
            depth: CheckDepth::Stored,
            faults: vec![],
        }];
        let detail = Detail { checks, ..Detail::default() };
        JournalRecord::new(&RunId::new(begun, 1), "verify", times, "host", outcome, detail)
    }

    fn turn(task: &ScheduledTask, entries: &[BackupEntry], runs: &[JournalRecord], now: &str) -> Turn {
        let history =
            TaskHistory { entries: entries.to_vec(), runs: runs.to_vec(), ..TaskHistory::default() };
        task_state(task, &history, at(now)).turn
    }

    #[test]
    fn a_backup_is_due_at_its_time_until_a_good_one_began_since() {
        let task = hourly();
        // The first is taken at once.
        assert_eq!(turn(&task, &[], &[], "2026-11-30T12:00:00Z"), Turn::Due);
        let one = [backup("2026-11-30T12:15:01Z", true)];
        assert_eq!(turn(&task, &one, &[], "2026-11-30T12:20:00Z"), Turn::Waits);
        assert_eq!(turn(&task, &one, &[], "2026-11-30T13:14:59Z"), Turn::Waits);
        assert_eq!(turn(&task, &one, &[], "2026-11-30T13:15:00Z"), Turn::Due);
        // One that is nowhere any more, one of a wrong clock, and one before its time do not count.
        let gone = [backup("2026-11-30T13:15:01Z", false)];
        assert_eq!(turn(&task, &gone, &[], "2026-11-30T13:20:00Z"), Turn::Due);
        let future = [backup("2027-11-30T13:15:01Z", true)];
        assert_eq!(turn(&task, &future, &[], "2026-11-30T13:20:00Z"), Turn::Due);
        let before = [backup("2026-11-30T13:10:00Z", true)];
        assert_eq!(turn(&task, &before, &[], "2026-11-30T13:20:00Z"), Turn::Due);
    }

    #[test]
    fn of_missed_times_the_last_is_made_up_for_and_the_others_are_counted() {
        let history =
            TaskHistory { entries: vec![backup("2026-11-30T02:15:10Z", true)], ..TaskHistory::default() };
        let state = task_state(&hourly(), &history, at("2026-11-30T09:20:00Z"));
        assert_eq!((state.turn, state.missed, state.is_late), (Turn::Due, 6, true));
        assert_eq!(state.occurrence, Some(at("2026-11-30T09:15:00Z")));
        assert_eq!(state.next, Some(at("2026-11-30T10:15:00Z")));
        let state = task_state(&hourly(), &history, at("2026-11-30T03:20:00Z"));
        assert_eq!((state.turn, state.missed, state.is_late), (Turn::Due, 0, false));
        assert_eq!(state.late_after, Some(at("2026-11-30T03:45:00Z")));
        // Half of an hour late.
        assert!(task_state(&hourly(), &history, at("2026-11-30T03:50:00Z")).is_late);
        // What was performed is late when its next time, and half of the hour after it, has passed.
        let state = task_state(&hourly(), &history, at("2026-11-30T02:20:00Z"));
        assert_eq!((state.is_late, state.late_after), (false, Some(at("2026-11-30T03:45:00Z"))));
    }

    #[test]
    fn what_works_on_backups_waits_for_the_first() {
        let task = nightly();
        assert_eq!(turn(&task, &[], &[], "2026-11-30T12:00:00Z"), Turn::NothingYet);
        let one = [backup("2026-11-30T05:00:00Z", true)];
        assert_eq!(turn(&task, &one, &[], "2026-11-30T12:00:00Z"), Turn::NothingYet);
        assert_eq!(turn(&task, &one, &[], "2026-12-01T04:40:00Z"), Turn::Due);
    }

    #[test]
    fn what_failed_is_tried_again_after_growing_pauses_and_not_for_ever() {
        let (task, one) = (nightly(), [backup("2026-11-29T05:00:00Z", true)]);
        let mut runs = vec![verify("2026-11-30T04:41:00Z", Outcome::Failed)];
        let again = Turn::TriedAgain { at: at("2026-11-30T05:01:00Z") };
        assert_eq!(turn(&task, &one, &runs, "2026-11-30T04:50:00Z"), again);
        assert_eq!(turn(&task, &one, &runs, "2026-11-30T05:01:00Z"), Turn::Due);
        runs.push(verify("2026-11-30T05:50:00Z", Outcome::Degraded));
        let again = Turn::TriedAgain { at: at("2026-11-30T06:25:00Z") };
        assert_eq!(turn(&task, &one, &runs, "2026-11-30T06:10:00Z"), again);
        runs.push(verify("2026-11-30T07:00:00Z", Outcome::Failed));
        assert_eq!(turn(&task, &one, &runs, "2026-11-30T12:00:00Z"), Turn::GivenUp { attempts: 3 });
        assert_eq!(turn(&task, &one, &runs, "2026-12-01T04:41:00Z"), Turn::Due);
        // An interrupted one is no attempt.
        let interrupted = [verify("2026-11-30T04:41:00Z", Outcome::Interrupted)];
        assert_eq!(turn(&task, &one, &interrupted, "2026-11-30T04:50:00Z"), Turn::Due);
        runs.push(verify("2026-11-30T08:10:00Z", Outcome::Succeeded));
        assert_eq!(turn(&task, &one, &runs, "2026-11-30T12:00:00Z"), Turn::Waits);
    }

    #[test]
    fn a_verification_of_something_else_is_not_the_one_that_is_due() {
        let (task, old, new) =
            (nightly(), backup("2026-11-28T05:00:00Z", true), backup("2026-11-29T05:00:00Z", true));
        let of = |entry: &BackupEntry| {
            let mut run = verify("2026-11-30T04:41:00Z", Outcome::Succeeded);
            run.detail.checks = vec![CopyCheck {
                backup: entry.id().clone(),
                repository: "primary".parse().unwrap(),
                at: run.begun,
                depth: CheckDepth::Stored,
                faults: vec![],
            }];
            [run]
        };
        let both = [old.clone(), new.clone()];
        assert_eq!(turn(&task, &both, &of(&old), "2026-11-30T12:00:00Z"), Turn::Due);
        assert_eq!(turn(&task, &both, &of(&new), "2026-11-30T12:00:00Z"), Turn::Waits);
        // Retention removed the one that was verified.
        assert_eq!(turn(&task, &[old], &of(&new), "2026-11-30T12:00:00Z"), Turn::Waits);
    }

    #[test]
    fn a_backup_that_fails_is_tried_again_after_growing_pauses_and_always() {
        let task = hourly();
        let failed = |time: &str| {
            let detail = Detail { task: Some(task.task.to_string()), ..Detail::default() };
            let times = (at(time), at(time) + TimeDelta::minutes(40));
            JournalRecord::new(&RunId::new(at(time), 1), RUN_DUE, times, "host", Outcome::Failed, detail)
        };
        let runs = [failed("2026-11-30T00:15:00Z"), failed("2026-11-30T01:10:00Z")];
        assert_eq!(turn(&task, &[], &runs[1..], "2026-11-30T01:55:00Z"), Turn::Due, "of another time");
        let daily = tasks("[schedule.sources]\ndatabase = { logical = \"0 0 * * *\" }\n");
        let task = find(&daily, "backup of database (logical)");
        assert_eq!(
            turn(&task, &[], &runs[..1], "2026-11-30T01:00:00Z"),
            Turn::TriedAgain { at: at("2026-11-30T01:10:00Z") }
        );
        assert_eq!(
            turn(&task, &[], &runs, "2026-11-30T02:00:00Z"),
            Turn::TriedAgain { at: at("2026-11-30T02:20:00Z") }
        );
        let many: Vec<_> = (1..9).map(|hour| failed(&format!("2026-11-30T{hour:02}:00:00Z"))).collect();
        assert_eq!(turn(&task, &[], &many, "2026-11-30T09:41:00Z"), Turn::Due);
    }

    #[test]
    fn copies_are_completed_when_one_is_missing_and_not_all_the_time() {
        let tasks = tasks("[schedule.sources]\ndatabase = { logical = \"15 * * * *\" }\n");
        let (task, now) = (find(&tasks, "copies"), at("2026-11-30T12:00:00Z"));
        let record = |time: &str| {
            let times = (at(time), at(time));
            let id = RunId::new(at(time), 1);
            JournalRecord::new(&id, COPIES, times, "host", Outcome::Degraded, Detail::default())
        };
        let turn = |missing_copies, runs: Vec<JournalRecord>| {
            let history = TaskHistory { missing_copies, runs, ..TaskHistory::default() };
            task_state(&task, &history, now).turn
        };
        assert_eq!(turn(0, vec![]), Turn::Waits);
        assert_eq!(turn(1, vec![]), Turn::Due);
        let again = Turn::TriedAgain { at: at("2026-11-30T12:30:00Z") };
        assert_eq!(turn(1, vec![record("2026-11-30T11:30:00Z")]), again);
        assert_eq!(turn(1, vec![record("2026-11-30T10:30:00Z")]), Turn::Due);
    }

    #[test]
    fn a_night_without_the_hour_and_a_night_with_it_twice_have_one_time_each() {
        let tasks = tasks(
            "[schedule]\ntimezone = \"Europe/Berlin\"\n[schedule.sources]\ndatabase = { logical = \"30 2 * * *\" }\n",
        );
        let task = find(&tasks, "backup of database (logical)");
        for night in ["2026-03-29", "2026-10-25"] {
            let (mut now, mut entries) =
                (at(&format!("{night}T00:00:00Z")) - TimeDelta::hours(12), Vec::new());
            entries.push(backup(&(now - TimeDelta::minutes(1)).to_rfc3339(), true));
            let until = now + TimeDelta::hours(24);
            let mut taken = 0;
            while now < until {
                let history = TaskHistory { entries: entries.clone(), ..TaskHistory::default() };
                if task_state(&task, &history, now).turn == Turn::Due {
                    entries.push(backup(&now.to_rfc3339(), true));
                    taken += 1;
                }
                now += TimeDelta::minutes(5);
            }
            assert_eq!(taken, 1, "{night}");
        }
    }
}
