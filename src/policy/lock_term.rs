//! Until when the rules of retention keep what is written now, for locks that follow them. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::automation::CronLine;
use super::lint::widest_gap;
use super::retention::Rules;
use super::settings::Policy;
use crate::model::{BackupKind, RepositoryName, SourceName};

/// Between two base backups that no cron line takes.
const UNSCHEDULED: TimeDelta = TimeDelta::days(7);
/// Between those that cron lines take less than twice in two months.
const RARE: TimeDelta = TimeDelta::days(64);
/// No base backup takes longer.
const TAKES: TimeDelta = TimeDelta::days(1);

/// The rules for one source, by repository.
#[derive(Clone, Debug, Default)]
pub struct RuleTerms {
    rules: Vec<(RepositoryName, Rules)>,
    /// From the begin of one base backup until the next one has ended.
    between_bases: TimeDelta,
}

impl RuleTerms {
    /// Returns the terms of a policy; those of a policy without retention lock nothing.
    pub fn new(policy: &Policy, source: &SourceName) -> Self {
        let Some(retention) = &policy.retention else { return Self::default() };
        let names = policy.repositories.iter().map(|config| config.name.clone());
        Self {
            rules: names.map(|name| (name.clone(), *retention.rules_in(source, &name))).collect(),
            between_bases: between_bases(policy, source),
        }
    }

    /// Returns until when WAL that is archived at `now` is needed: until the base backup after it is as old as the window
    /// reaches back, since until then the end of the window is recovered from the one before it; or as long as the shortest
    /// rule keeps a backup.
    pub fn of_wal(&self, repository: &RepositoryName, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let rules = self.of(repository)?;
        let next_base = now.checked_add_signed(self.between_bases)?;
        window(rules, next_base).or_else(|| shortest(rules, now))
    }

    /// Returns until when a backup stays that no other one stands for yet. `earlier`: when the good ones of its kind that
    /// the repository has were taken. Retention locks longer what proves to stand for a longer period.
    pub fn of_backup(
        &self,
        repository: &RepositoryName,
        kind: BackupKind,
        now: DateTime<Utc>,
        earlier: &[DateTime<Utc>],
    ) -> Option<DateTime<Utc>> {
        let rules = self.of(repository)?;
        let stands_for = rules.periods().filter(|(period, _)| {
            let bucket = period.bucket(now);
            !earlier.iter().any(|at| *at <= now && period.bucket(*at) == bucket)
        });
        let periods = stands_for.filter_map(|(_, span)| span.ends(now));
        let young = rules.keep_within.and_then(|span| span.ends(now));
        let window = window(rules, now).filter(|_| kind == BackupKind::Base);
        periods.chain(young).chain(window).max()
    }

    /// Returns until when a backup of `at` stays at least: for a copy that is written later.
    pub fn at_least(&self, repository: &RepositoryName, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        shortest(self.of(repository)?, at)
    }

    fn of(&self, repository: &RepositoryName) -> Option<&Rules> {
        self.rules.iter().find(|(name, _)| name == repository).map(|(_, rules)| rules)
    }
}

fn between_bases(policy: &Policy, source: &SourceName) -> TimeDelta {
    let times = policy.schedule.backups.iter();
    let times = times.filter(|times| times.source == *source && times.kind == BackupKind::Base);
    let lines: Vec<&CronLine> = times.flat_map(|times| &times.lines).collect();
    let gap = match widest_gap(&lines) {
        Some(gap) => TimeDelta::from_std(gap).unwrap_or(RARE),
        None if lines.is_empty() => UNSCHEDULED,
        None => RARE,
    };
    gap + TAKES
}

/// Returns until when what is of `at` is in the window of point-in-time recovery.
fn window(rules: &Rules, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    at.checked_add_signed(TimeDelta::from_std(rules.pitr?).ok()?)
}

fn shortest(rules: &Rules, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let spans = rules.periods().map(|(_, span)| span).chain(rules.keep_within);
    spans.filter_map(|span| span.ends(at)).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{CalendarSpan, CalendarUnit};

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn terms() -> (RuleTerms, RepositoryName) {
        let name: RepositoryName = "primary".parse().unwrap();
        let rules = Rules {
            keep_last: 3,
            minimum_redundancy: 2,
            keep_within: Some(CalendarSpan::new(2, CalendarUnit::Day)),
            daily: Some(CalendarSpan::new(30, CalendarUnit::Day)),
            weekly: Some(CalendarSpan::new(6, CalendarUnit::Month)),
            monthly: None,
            yearly: None,
            pitr: Some(std::time::Duration::from_secs(7 * 86_400)),
        };
        (RuleTerms { rules: vec![(name.clone(), rules)], between_bases: TimeDelta::days(7) }, name)
    }

    #[test]
    fn the_first_of_a_week_is_locked_as_a_weekly_and_what_stands_for_nothing_for_days() {
        let (terms, name) = terms();
        // A Tuesday.
        let now = time("2026-11-24T03:00:00Z");
        let until = |earlier: &[&str]| {
            let earlier: Vec<_> = earlier.iter().map(|text| time(text)).collect();
            terms.of_backup(&name, BackupKind::Logical, now, &earlier).unwrap().to_rfc3339()
        };
        let (weekly, daily, none) =
            ("2027-05-25T00:00:00+00:00", "2026-12-25T00:00:00+00:00", "2026-11-27T00:00:00+00:00");
        assert_eq!(until(&[]), weekly);
        assert_eq!(until(&["2026-11-22T03:00:00Z"]), weekly, "of the week before");
        assert_eq!(until(&["2026-11-23T03:00:00Z"]), daily, "Monday stands for the week");
        assert_eq!(until(&["2026-11-23T03:00:00Z", "2026-11-24T01:00:00Z"]), none);
        // What is dated in the future stands for nothing yet.
        assert_eq!(until(&["2026-11-25T03:00:00Z"]), weekly);
        let base = terms.of_backup(&name, BackupKind::Base, now, &[now, time("2026-11-23T03:00:00Z")]);
        assert_eq!(base, Some(time("2026-12-01T03:00:00Z")), "the window reaches so far back");
        let wal = terms.of_wal(&name, now);
        assert_eq!(wal, Some(time("2026-12-08T03:00:00Z")), "the next base backup may be a week later");
        assert_eq!(terms.of_wal(&"west".parse().unwrap(), now), None);
    }
}
