//! Every drill that the schedule asked for in a period, and what became of it: the list that an auditor samples from.
//! Pure.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use super::evidence::{DrillHistory, StoredDrill};
use super::period::Period;
use super::record::Trigger;
use crate::model::{Judgement, RepositoryName, RunId, Sha256Hex, SourceName, SystemName};
use crate::policy::{CronLine, drill_grace_ends, firings, last_firing, next_firing};

/// When drills of a source are due.
#[derive(Clone, Copy, Debug)]
pub struct DrillSchedule<'p> {
    pub source: &'p SourceName,
    /// Empty: never.
    pub lines: &'p [CronLine],
    pub zone: Tz,
}

impl DrillSchedule<'_> {
    /// Returns the end of the time in which a drill that is due has to begin.
    fn grace_ends(&self, due: DateTime<Utc>) -> DateTime<Utc> {
        drill_grace_ends(self.lines, self.zone, due)
    }

    /// Returns when the next drill is due.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        next_firing(self.lines, self.zone, after)
    }
}

/// The policy and the repositories that a list was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PopulationQuery {
    pub system: SystemName,
    pub source: SourceName,
    pub policy: String,
    pub policy_sha256: Option<Sha256Hex>,
    pub schedule: Vec<String>,
    pub timezone: String,
    pub period: Period,
    pub grace: &'static str,
    pub asked_at: DateTime<Utc>,
    /// When the source was first backed up, according to the journal: before, there was nothing to drill. `None`: unknown.
    pub first_backup: Option<DateTime<Utc>>,
    /// The repositories that were read, with the number of records in each.
    pub repositories: Vec<(RepositoryName, usize)>,
    /// Those that were not, and why.
    pub unread: Vec<(RepositoryName, String)>,
}

/// How the grace of a drill is described.
pub const GRACE_IN_WORDS: &str = "24 hours, or half of the time to the next drill where that is shorter";

/// What became of a drill that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OccurrenceState {
    /// It passed.
    Done,
    /// It passed, and began after its grace.
    Late,
    /// It failed.
    Failed,
    /// It took place, and neither passed nor failed, or its record does not hold.
    Undetermined,
    /// There is no record of it.
    Missed,
    /// Its grace has not ended.
    Due,
    /// The source had not been backed up.
    NoBackup,
}

impl OccurrenceState {
    pub const ALL: [Self; 7] =
        [Self::Done, Self::Late, Self::Failed, Self::Undetermined, Self::Missed, Self::Due, Self::NoBackup];

    /// Returns whether the schedule asked for a drill that could be run by now.
    pub fn counts(self) -> bool {
        !matches!(self, Self::Due | Self::NoBackup)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Late => "late",
            Self::Failed => "failed",
            Self::Undetermined => "undetermined",
            Self::Missed => "missed",
            Self::Due => "due",
            Self::NoBackup => "no backup yet",
        }
    }
}

/// How a record was found to be that of an occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MatchedBy {
    /// The record names the occurrence.
    Record,
    /// It names none, and is the first that began before the next was due.
    Interval,
}

/// A time at which a drill was due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Occurrence {
    pub due: DateTime<Utc>,
    pub state: OccurrenceState,
    pub drill: Option<RunId>,
    pub matched_by: Option<MatchedBy>,
    /// Other drills that name it: it was repeated.
    pub other_attempts: Vec<RunId>,
    pub acknowledged_by: Option<String>,
}

/// A drill of the period that satisfies none of its occurrences: a manual one, or one of another time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnscheduledDrill {
    pub drill: RunId,
    pub trigger: Trigger,
    /// The time of the schedule that it names.
    pub occurrence: Option<DateTime<Utc>>,
    pub outcome: Judgement,
    pub acknowledged_by: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OccurrenceCount {
    pub state: OccurrenceState,
    pub count: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Population {
    pub query: PopulationQuery,
    /// Up to now, in order.
    pub occurrences: Vec<Occurrence>,
    /// Of every state, 0 too.
    pub counts: Vec<OccurrenceCount>,
    /// Occurrences of the period that are still to come.
    pub to_come: usize,
    pub unscheduled: Vec<UnscheduledDrill>,
    pub overdue: Option<Overdue>,
}

impl Population {
    pub fn count(&self, state: OccurrenceState) -> usize {
        self.occurrences.iter().filter(|occurrence| occurrence.state == state).count()
    }
}

/// A drill that was due, whose grace ended, and of which there is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Overdue {
    pub due: DateTime<Utc>,
    /// The end of its grace.
    pub since: DateTime<Utc>,
}

/// Lists what the schedule implied in a period, and the drills there were.
pub fn population(
    query: PopulationQuery,
    schedule: &DrillSchedule<'_>,
    history: &DrillHistory,
    now: DateTime<Utc>,
) -> Population {
    let period = query.period;
    // Firings are whole minutes: the first second of the period is in it, the first after it is not.
    let second = TimeDelta::seconds(1);
    let mut times = firings(schedule.lines, schedule.zone, period.from - second, period.until - second);
    let to_come = times.split_off(times.partition_point(|due| *due <= now)).len();
    let mut drills: Vec<&StoredDrill> =
        history.drills.iter().filter(|drill| drill.record.identity.source == *schedule.source).collect();
    drills.sort_by_key(|drill| drill.record.begun);
    let mut used: Vec<&RunId> = Vec::new();
    let mut occurrences = Vec::with_capacity(times.len());
    for (n, due) in times.iter().enumerate() {
        let next = times.get(n + 1).copied().or_else(|| schedule.next(*due));
        let attempts: Vec<&StoredDrill> =
            drills.iter().copied().filter(|drill| drill.record.identity.occurrence == Some(*due)).collect();
        let in_interval = |drill: &&&StoredDrill| {
            let record = &drill.record;
            let before_next = next.is_none_or(|next| record.begun < next);
            record.identity.occurrence.is_none() && record.begun >= *due && before_next
        };
        let (found, matched_by) = match best(&attempts) {
            Some(drill) => (Some(drill), Some(MatchedBy::Record)),
            None => match drills.iter().find(in_interval) {
                Some(drill) => (Some(*drill), Some(MatchedBy::Interval)),
                None => (None, None),
            },
        };
        used.extend(attempts.iter().copied().chain(found).map(id));
        occurrences.push(Occurrence {
            due: *due,
            state: match found {
                None if is_before_backups(*due, query.first_backup) => OccurrenceState::NoBackup,
                found => state(*due, found, schedule, now),
            },
            drill: found.map(|drill| id(drill).clone()),
            matched_by,
            other_attempts: attempts
                .iter()
                .map(|drill| id(drill))
                .filter(|other| Some(*other) != found.map(id))
                .cloned()
                .collect(),
            acknowledged_by: found.and_then(acknowledged_by),
        });
    }
    let unscheduled =
        drills.iter().filter(|drill| period.contains(drill.record.begun) && !used.contains(&id(drill)));
    let unscheduled = unscheduled.map(|drill| UnscheduledDrill {
        drill: id(drill).clone(),
        trigger: drill.record.identity.trigger,
        occurrence: drill.record.identity.occurrence,
        outcome: drill.record.verdict.outcome,
        acknowledged_by: acknowledged_by(drill),
    });
    let count = |state: OccurrenceState| OccurrenceCount {
        state,
        count: occurrences.iter().filter(|occurrence| occurrence.state == state).count(),
    };
    Population {
        counts: OccurrenceState::ALL.map(count).into(),
        to_come,
        unscheduled: unscheduled.collect(),
        overdue: overdue(schedule, history, query.first_backup, now),
        query,
        occurrences,
    }
}

fn id(drill: &StoredDrill) -> &RunId {
    &drill.record.identity.drill
}

fn acknowledged_by(drill: &StoredDrill) -> Option<String> {
    drill.acknowledgement.as_ref().map(|seen| seen.by.clone())
}

/// Returns the first that passed, or else the last.
fn best<'d>(attempts: &[&'d StoredDrill]) -> Option<&'d StoredDrill> {
    let passed = attempts.iter().find(|drill| drill.record.verdict.has_passed() && drill.matches_digest);
    passed.or(attempts.last()).copied()
}

fn state(
    due: DateTime<Utc>,
    drill: Option<&StoredDrill>,
    schedule: &DrillSchedule<'_>,
    now: DateTime<Utc>,
) -> OccurrenceState {
    let grace_ends = schedule.grace_ends(due);
    let Some(drill) = drill else {
        return if grace_ends < now { OccurrenceState::Missed } else { OccurrenceState::Due };
    };
    let verdict = &drill.record.verdict;
    match (verdict.has_passed(), drill.matches_digest) {
        (true, true) if drill.record.begun <= grace_ends => OccurrenceState::Done,
        (true, true) => OccurrenceState::Late,
        _ if verdict.outcome == Judgement::Fail => OccurrenceState::Failed,
        _ => OccurrenceState::Undetermined,
    }
}

/// Whether a drill that was due had nothing to restore.
fn is_before_backups(due: DateTime<Utc>, first_backup: Option<DateTime<Utc>>) -> bool {
    first_backup.is_some_and(|first| due < first)
}

/// Returns the last drill that was due and whose grace has ended, if there is no record of it or of a later one.
/// `first_backup`: before it there was nothing to drill.
pub fn overdue(
    schedule: &DrillSchedule<'_>,
    history: &DrillHistory,
    first_backup: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<Overdue> {
    let last = |until| last_firing(schedule.lines, schedule.zone, until);
    let mut due = last(now)?;
    if schedule.grace_ends(due) >= now {
        due = last(due - TimeDelta::seconds(1))?;
    }
    let own = history.drills.iter().filter(|drill| drill.record.identity.source == *schedule.source);
    let mut satisfied =
        own.map(|drill| drill.record.identity.occurrence.unwrap_or(drill.record.begun) >= due);
    let since = schedule.grace_ends(due);
    let is_overdue = !satisfied.any(|is_satisfied| is_satisfied) && !is_before_backups(due, first_backup);
    is_overdue.then_some(Overdue { due, since })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::record::tests::passed;
    use super::*;
    use crate::policy::parse;

    fn time(text: &str) -> DateTime<Utc> {
        format!("{text}:00Z").parse().unwrap()
    }

    fn lines(cron: &[&str]) -> Vec<CronLine> {
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/template.toml");
        let schedule = format!("schedule = {cron:?}");
        let text = std::fs::read_to_string(&template).unwrap().replace("schedule = \"0 5 * * 0\"", &schedule);
        assert!(text.contains(&schedule));
        parse(&template, &text).unwrap().drill.unwrap().schedule
    }

    /// What the lines ask for in these months, of the drills, at `now`.
    struct Case {
        lines: Vec<CronLine>,
        zone: Tz,
        drills: Vec<StoredDrill>,
        first_backup: Option<DateTime<Utc>>,
    }

    impl Case {
        fn new(cron: &str, zone: Tz) -> Self {
            Self { lines: lines(&[cron]), zone, drills: vec![], first_backup: None }
        }

        /// A drill that began then, and names an occurrence or none.
        fn drill(&mut self, begun: &str, occurrence: Option<&str>) -> &mut StoredDrill {
            let mut record = passed();
            record.begun = time(begun);
            record.identity.drill = RunId::new(record.begun, 1);
            record.identity.occurrence = occurrence.map(time);
            let (bytes, sha256) = (bytes::Bytes::new(), Sha256Hex::digest(begun.as_bytes()));
            let (matches_digest, acknowledgement) = (true, None);
            self.drills.push(StoredDrill { record, bytes, sha256, matches_digest, acknowledgement });
            self.drills.last_mut().unwrap()
        }

        fn at(&self, months: &str, now: &str) -> Population {
            let (first, last) = months.split_once(' ').unwrap_or((months, months));
            let period = Period::of_months(first.parse().unwrap(), last.parse().unwrap(), self.zone).unwrap();
            let source: SourceName = "database".parse().unwrap();
            let schedule = DrillSchedule { source: &source, lines: &self.lines, zone: self.zone };
            let query = PopulationQuery {
                system: "shop".parse().unwrap(),
                source: source.clone(),
                policy: "shop.toml".to_owned(),
                policy_sha256: None,
                schedule: self.lines.iter().map(|line| line.as_str().to_owned()).collect(),
                timezone: self.zone.name().to_owned(),
                period,
                grace: GRACE_IN_WORDS,
                asked_at: time(now),
                first_backup: self.first_backup,
                repositories: vec![],
                unread: vec![],
            };
            let history = DrillHistory { drills: self.drills.clone() };
            population(query, &schedule, &history, time(now))
        }

        /// Day, hour and state of each occurrence.
        fn states(&self, months: &str, now: &str) -> Vec<String> {
            let found = self.at(months, now).occurrences.into_iter();
            found.map(|one| format!("{} {}", one.due.format("%m-%dT%H:%M"), one.state.as_str())).collect()
        }
    }

    #[test]
    fn every_occurrence_has_a_state() {
        let mut case = Case::new("0 5 1 * *", Tz::UTC);
        case.drill("2026-01-01T05:01", Some("2026-01-01T05:00"));
        // Two days late.
        case.drill("2026-02-03T05:00", Some("2026-02-01T05:00"));
        case.drill("2026-03-01T05:00", Some("2026-03-01T05:00")).record.verdict.outcome = Judgement::Fail;
        // April is missed; the drill of May names nothing.
        case.drill("2026-05-01T06:00", None);
        case.drill("2026-06-01T05:00", Some("2026-06-01T05:00")).record.verdict.outcome =
            Judgement::Undetermined;
        case.drill("2026-07-01T05:00", Some("2026-07-01T05:00")).matches_digest = false;
        let found = case.states("2026-01 2026-12", "2026-08-01T06:00");
        let expected = [
            "01-01T05:00 done",
            "02-01T05:00 late",
            "03-01T05:00 failed",
            "04-01T05:00 missed",
            "05-01T05:00 done",
            "06-01T05:00 undetermined",
            "07-01T05:00 undetermined",
            "08-01T05:00 due",
        ];
        assert_eq!(found, expected);
        let population = case.at("2026-01 2026-12", "2026-08-01T06:00");
        assert_eq!(population.to_come, 4);
        assert_eq!(population.counts.iter().map(|of| of.count).sum::<usize>(), 8);
        assert_eq!(population.occurrences[4].matched_by, Some(MatchedBy::Interval));
        assert_eq!(population.overdue, None);
    }

    #[test]
    fn a_period_begins_with_its_first_second_and_ends_before_the_next_one() {
        let case = Case::new("0 0 1 * *", Tz::UTC);
        assert_eq!(case.states("2026-02", "2027-01-01T00:00"), ["02-01T00:00 missed"]);
        let case = Case::new("59 23 31 12 *", Tz::UTC);
        assert_eq!(case.states("2026-12", "2027-01-03T00:00"), ["12-31T23:59 missed"]);
    }

    #[test]
    fn a_leap_day_is_due_in_leap_years_alone() {
        let mut case = Case::new("0 5 29 2 *", Tz::UTC);
        case.drill("2028-03-15T05:00", None);
        assert!(case.states("2026-01 2027-12", "2028-01-01T00:00").is_empty());
        assert_eq!(case.states("2028-01 2028-12", "2028-12-31T00:00"), ["02-29T05:00 late"]);
    }

    #[test]
    fn clocks_that_are_set_move_a_drill_and_neither_skip_nor_double_it() {
        let weekly = Case::new("30 2 * * 0", Tz::Europe__Madrid);
        let spring = weekly.states("2026-03", "2026-12-01T00:00");
        // 2:30 does not exist on the 29th: it is due when that hour is over.
        assert_eq!(
            spring,
            [
                "03-01T01:30 missed",
                "03-08T01:30 missed",
                "03-15T01:30 missed",
                "03-22T01:30 missed",
                "03-29T01:00 missed"
            ]
        );
        let autumn = weekly.states("2026-10", "2026-12-01T00:00");
        assert_eq!(
            autumn,
            ["10-04T00:30 missed", "10-11T00:30 missed", "10-18T00:30 missed", "10-25T00:30 missed"]
        );
        // Five in the morning is another time of UTC in summer.
        let daily = Case::new("0 5 * * *", Tz::Europe__Madrid);
        let march = daily.states("2026-03", "2026-12-01T00:00");
        assert_eq!((march.len(), &*march[27], &*march[28]), (31, "03-28T04:00 missed", "03-29T03:00 missed"));
    }

    #[test]
    fn several_lines_are_one_schedule() {
        let mut case = Case::new("0 5 1 * *", Tz::UTC);
        case.lines = lines(&["0 5 1 * *", "0 5 15 * *", "0 5 1 1 *"]);
        let found = case.states("2026-01", "2026-03-01T00:00");
        assert_eq!(found, ["01-01T05:00 missed", "01-15T05:00 missed"]);
    }

    #[test]
    fn a_manual_drill_counts_once_and_the_others_stand_beside() {
        let mut case = Case::new("0 5 1 * *", Tz::UTC);
        // Before the first occurrence that is asked for.
        case.drill("2026-02-01T04:00", None).record.identity.trigger = Trigger::Manual;
        case.drill("2026-02-01T09:00", None).record.identity.trigger = Trigger::Manual;
        case.drill("2026-02-20T09:00", None).record.identity.trigger = Trigger::Manual;
        case.drill("2026-02-21T09:00", Some("2026-02-21T05:00"));
        let other = case.drill("2026-02-22T09:00", None);
        other.record.identity.source = "files".parse().unwrap();
        let found = case.at("2026-02 2026-03", "2026-03-20T00:00");
        let states: Vec<_> = found.occurrences.iter().map(|one| one.state.as_str()).collect();
        assert_eq!(states, ["done", "missed"]);
        let beside: Vec<String> =
            found.unscheduled.iter().map(|one| one.drill.begun().format("%dT%H").to_string()).collect();
        assert_eq!(beside, ["01T04", "20T09", "21T09"]);
    }

    #[test]
    fn a_drill_that_was_repeated_is_done_and_the_first_attempt_is_not_hidden() {
        let mut case = Case::new("0 5 1 * *", Tz::UTC);
        let due = Some("2026-02-01T05:00");
        case.drill("2026-02-01T05:00", due).record.verdict.outcome = Judgement::Fail;
        case.drill("2026-02-01T07:00", due);
        case.drill("2026-02-01T08:00", due).record.verdict.outcome = Judgement::Fail;
        let found = case.at("2026-02", "2026-03-01T00:00");
        let one = &found.occurrences[0];
        assert_eq!((one.state, one.other_attempts.len()), (OccurrenceState::Done, 2));
        assert_eq!(one.drill.as_ref().unwrap().begun(), time("2026-02-01T07:00"));
        assert!(found.unscheduled.is_empty());
    }

    #[test]
    fn before_the_first_backup_no_drill_is_missed_or_overdue() {
        let mut case = Case::new("0 5 1 * *", Tz::UTC);
        case.first_backup = Some(time("2026-02-10T01:00"));
        assert_eq!(case.at("2026-01", "2026-02-20T00:00").overdue, None);
        assert!(case.at("2026-01", "2026-03-20T00:00").overdue.is_some());
        case.drill("2026-04-01T05:00", Some("2026-04-01T05:00"));
        let found = case.at("2026-01 2026-04", "2026-04-10T00:00");
        let states: Vec<_> = found.occurrences.iter().map(|one| one.state.as_str()).collect();
        assert_eq!(states, ["no backup yet", "no backup yet", "missed", "done"]);
        assert!(!OccurrenceState::NoBackup.counts() && OccurrenceState::Missed.counts());
        // A drill that took place then stays what it was.
        case.drill("2026-02-01T05:00", Some("2026-02-01T05:00"));
        assert_eq!(case.at("2026-02", "2026-04-10T00:00").occurrences[0].state, OccurrenceState::Done);
    }

    #[test]
    fn a_drill_is_overdue_once_its_grace_is_over() {
        let mut case = Case::new("0 5 1 * *", Tz::UTC);
        let overdue = |case: &Case, now: &str| case.at("2026-01", now).overdue.map(|one| one.due);
        case.drill("2026-01-01T05:00", Some("2026-01-01T05:00"));
        assert_eq!(overdue(&case, "2026-01-31T00:00"), None);
        assert_eq!(overdue(&case, "2026-02-02T05:00"), None, "a day of grace");
        assert_eq!(overdue(&case, "2026-02-02T05:01"), Some(time("2026-02-01T05:00")));
        // While the next one is in its grace, the one before is what is overdue.
        assert_eq!(overdue(&case, "2026-03-01T06:00"), Some(time("2026-02-01T05:00")));
        // One that failed took place.
        case.drill("2026-02-10T05:00", None).record.verdict.outcome = Judgement::Fail;
        assert_eq!(overdue(&case, "2026-03-01T06:00"), None);
        case.drill("2026-03-01T05:30", Some("2026-03-01T05:00"));
        assert_eq!(overdue(&case, "2026-03-20T00:00"), None);
        // A drill of every hour has half an hour.
        let hourly = Case::new("0 * * * *", Tz::UTC);
        assert_eq!(overdue(&hourly, "2026-01-01T05:20"), Some(time("2026-01-01T04:00")));
        assert_eq!(overdue(&hourly, "2026-01-01T05:31"), Some(time("2026-01-01T05:00")));
        let none = Case { lines: vec![], ..Case::new("0 5 1 * *", Tz::UTC) };
        assert_eq!(overdue(&none, "2026-01-01T05:31"), None);
    }
}
