//! How long backups are kept, as the policy says it.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Days, Months, NaiveDate, TimeDelta, Utc};

use crate::model::{Period, RepositoryName, SourceName};

/// How long backups are kept: whatever any rule keeps.
#[derive(Clone, Debug)]
pub struct Retention {
    pub rules: Rules,
    /// In place of `rules`, for these sources.
    pub sources: Vec<SourceRules>,
    /// In place of `rules`, in these repositories.
    pub copies: Vec<(RepositoryName, Rules)>,
}

/// What replaces the policy's rules for one source.
#[derive(Clone, Debug)]
pub struct SourceRules {
    pub source: SourceName,
    pub rules: Rules,
    /// In place of `rules`, in these repositories.
    pub copies: Vec<(RepositoryName, Rules)>,
}

impl Retention {
    /// Returns the rules for a source, where no repository has its own.
    pub fn rules_for(&self, source: &SourceName) -> &Rules {
        self.of_source(source).map_or(&self.rules, |own| &own.rules)
    }

    /// Returns the rules for a source in one repository: the most particular ones. The policy is faulty where both the
    /// source and the repository have their own, and the source has none for the repository.
    pub fn rules_in(&self, source: &SourceName, repository: &RepositoryName) -> &Rules {
        let of =
            |copies: &'_ [(RepositoryName, Rules)]| copies.iter().position(|(name, _)| name == repository);
        match self.of_source(source) {
            Some(own) => of(&own.copies).map_or(&own.rules, |n| &own.copies[n].1),
            None => of(&self.copies).map_or(&self.rules, |n| &self.copies[n].1),
        }
    }

    /// Returns all rules that may count in one repository.
    pub fn all_for(&self, repository: &RepositoryName) -> Vec<&Rules> {
        let of =
            |copies: &'_ [(RepositoryName, Rules)]| copies.iter().position(|(name, _)| name == repository);
        let general = of(&self.copies).map_or(&self.rules, |n| &self.copies[n].1);
        let own = self.sources.iter().map(|own| of(&own.copies).map_or(&own.rules, |n| &own.copies[n].1));
        std::iter::once(general).chain(own).collect()
    }

    fn of_source(&self, source: &SourceName) -> Option<&SourceRules> {
        self.sources.iter().find(|own| own.source == *source)
    }
}

/// What keeps a backup. A backup that no rule keeps is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The newest good backups, however old; at least 1.
    pub keep_last: u32,
    /// The newest good backups that can be restored without another, however old; at least 1.
    pub minimum_redundancy: u32,
    /// Every backup that is younger.
    pub keep_within: Option<CalendarSpan>,
    /// One backup a day for so long.
    pub daily: Option<CalendarSpan>,
    /// One backup an ISO week for so long.
    pub weekly: Option<CalendarSpan>,
    /// One backup a month for so long.
    pub monthly: Option<CalendarSpan>,
    /// One backup a year for so long.
    pub yearly: Option<CalendarSpan>,
    /// How far back any time can be restored.
    pub pitr: Option<Duration>,
}

impl Rules {
    /// Returns the rules that look at a backup's age, by their names in the policy.
    pub fn spans(&self) -> [(&'static str, Option<CalendarSpan>); 5] {
        [
            ("keep_within", self.keep_within),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
            ("yearly", self.yearly),
        ]
    }

    /// Returns the rules that keep one backup of each period, the shortest periods first.
    pub fn periods(&self) -> impl Iterator<Item = (Period, CalendarSpan)> + use<> {
        let table = [
            (Period::Day, self.daily),
            (Period::Week, self.weekly),
            (Period::Month, self.monthly),
            (Period::Year, self.yearly),
        ];
        table.into_iter().filter_map(|(period, span)| Some((period, span?)))
    }

    /// Returns for how many days the longest of the rules keeps a backup; `None`: only the newest are kept.
    pub fn longest_days(&self) -> Option<u64> {
        self.spans().iter().filter_map(|(_, span)| span.map(CalendarSpan::most_days)).max()
    }
}

/// A length of time in the calendar of UTC: `30d`, `6mo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalendarSpan {
    /// At least 1.
    pub count: u32,
    pub unit: CalendarUnit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalendarUnit {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl CalendarUnit {
    /// Returns the unit of a text like `mo`.
    pub fn from_suffix(text: &str) -> Option<Self> {
        Some(match text {
            "h" => Self::Hour,
            "d" => Self::Day,
            "w" => Self::Week,
            "mo" => Self::Month,
            "y" => Self::Year,
            _ => return None,
        })
    }

    pub fn suffix(self) -> &'static str {
        match self {
            Self::Hour => "h",
            Self::Day => "d",
            Self::Week => "w",
            Self::Month => "mo",
            Self::Year => "y",
        }
    }

    /// Returns the most of them that a rule may have: a hundred years.
    pub fn limit(self) -> u32 {
        match self {
            Self::Hour => 24 * 36_525,
            Self::Day => 36_525,
            Self::Week => 5_218,
            Self::Month => 1_200,
            Self::Year => 100,
        }
    }
}

/// As the policy writes it.
impl fmt::Display for CalendarSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count, self.unit.suffix())
    }
}

impl CalendarSpan {
    pub const fn new(count: u32, unit: CalendarUnit) -> Self {
        Self { count, unit }
    }

    /// Returns whether what is of `time` is not yet older than the span.
    ///
    /// From days on, whole days of UTC are counted, so that what is of one day ends together, at midnight. A month has
    /// no length: the end of `time` plus the span and the begin of `now` less the span may be days apart, since either
    /// is moved to the end of a shorter month. The longer of the two counts.
    pub fn reaches(self, time: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        if self.unit == CalendarUnit::Hour {
            let span = TimeDelta::hours(i64::from(self.count));
            return time.checked_add_signed(span).is_none_or(|end| end >= now);
        }
        let (from, to) = (time.date_naive(), now.date_naive());
        let ends_later = self.after(from).is_none_or(|end| end >= to);
        ends_later || self.before(to).is_none_or(|begin| from >= begin)
    }

    /// Returns from when on what is of `time` is older than the span: the first instant that [`Self::reaches`] not;
    /// `None`: beyond the calendar.
    pub fn ends(self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.unit == CalendarUnit::Hour {
            return time.checked_add_signed(TimeDelta::hours(i64::from(self.count)));
        }
        let mut last = self.after(time.date_naive())?;
        loop {
            let next = last.succ_opt()?;
            let begins = next.and_hms_opt(0, 0, 0)?.and_utc();
            if !self.reaches(time, begins) {
                return Some(begins);
            }
            last = next;
        }
    }

    fn after(self, date: NaiveDate) -> Option<NaiveDate> {
        match self.unit {
            CalendarUnit::Hour => date.checked_add_days(Days::new(u64::from(self.count).div_ceil(24))),
            CalendarUnit::Day => date.checked_add_days(Days::new(self.count.into())),
            CalendarUnit::Week => date.checked_add_days(Days::new(7 * u64::from(self.count))),
            CalendarUnit::Month => date.checked_add_months(Months::new(self.count)),
            CalendarUnit::Year => date.checked_add_months(Months::new(self.count.saturating_mul(12))),
        }
    }

    fn before(self, date: NaiveDate) -> Option<NaiveDate> {
        match self.unit {
            CalendarUnit::Hour => date.checked_sub_days(Days::new(u64::from(self.count).div_ceil(24))),
            CalendarUnit::Day => date.checked_sub_days(Days::new(self.count.into())),
            CalendarUnit::Week => date.checked_sub_days(Days::new(7 * u64::from(self.count))),
            CalendarUnit::Month => date.checked_sub_months(Months::new(self.count)),
            CalendarUnit::Year => date.checked_sub_months(Months::new(self.count.saturating_mul(12))),
        }
    }

    /// Returns how many days it has at most.
    pub fn most_days(self) -> u64 {
        let count = u64::from(self.count);
        match self.unit {
            CalendarUnit::Hour => count.div_ceil(24),
            CalendarUnit::Day => count,
            CalendarUnit::Week => 7 * count,
            // Six months have 184 days, twelve 366.
            CalendarUnit::Month => (count * 30_437).div_ceil(1000) + 1,
            CalendarUnit::Year => (count * 36_525).div_ceil(100),
        }
    }

    /// Returns how many days it has at least.
    pub fn least_days(self) -> u64 {
        let count = u64::from(self.count);
        match self.unit {
            CalendarUnit::Hour => count / 24,
            CalendarUnit::Day => count,
            CalendarUnit::Week => 7 * count,
            CalendarUnit::Month => (count * 30_437 / 1000).saturating_sub(2),
            CalendarUnit::Year => count * 365,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn span(count: u32, suffix: &str) -> CalendarSpan {
        CalendarSpan::new(count, CalendarUnit::from_suffix(suffix).unwrap())
    }

    /// The last day on which it is kept.
    fn last_day(span: CalendarSpan, taken: &str) -> String {
        let taken = time(taken);
        let mut now = taken;
        while span.reaches(taken, now + TimeDelta::days(1)) {
            now += TimeDelta::days(1);
        }
        now.date_naive().to_string()
    }

    #[test]
    fn days_are_whole_days_of_utc() {
        let thirty = span(30, "d");
        assert_eq!(last_day(thirty, "2026-11-01T00:00:00Z"), "2026-12-01");
        assert_eq!(last_day(thirty, "2026-11-01T23:59:59Z"), "2026-12-01");
        assert!(thirty.reaches(time("2026-11-01T00:00:00Z"), time("2026-12-01T23:59:59Z")));
        assert!(!thirty.reaches(time("2026-11-01T23:59:59Z"), time("2026-12-02T00:00:00Z")));
        // Over the change to winter time of wherever the host is, it is the same.
        assert_eq!(last_day(span(1, "d"), "2026-10-24T22:30:00Z"), "2026-10-25");
    }

    #[test]
    fn six_months_are_calendar_months_and_the_longer_reading_counts() {
        let six = span(6, "mo");
        assert_eq!(last_day(six, "2026-03-15T12:00:00Z"), "2026-09-15");
        // Forwards to the end of February, backwards from the end of August: 31 August is 6 months before
        // 28 February in no year, and still it is kept until the last of its month.
        assert_eq!(last_day(six, "2026-08-31T12:00:00Z"), "2027-02-28");
        assert_eq!(last_day(six, "2027-08-31T12:00:00Z"), "2028-02-29");
        // From 31 August on backwards is 28 February: what is of the 28th is kept three days longer than forwards.
        assert_eq!(last_day(six, "2027-02-28T12:00:00Z"), "2027-08-31");
        assert_eq!(last_day(span(1, "y"), "2028-02-29T12:00:00Z"), "2029-02-28");
        assert_eq!(last_day(span(1, "y"), "2027-02-28T12:00:00Z"), "2028-02-29");
    }

    #[test]
    fn hours_are_exact_and_weeks_are_seven_days() {
        let taken = time("2026-11-01T10:00:00Z");
        assert!(span(36, "h").reaches(taken, time("2026-11-02T22:00:00Z")));
        assert!(!span(36, "h").reaches(taken, time("2026-11-02T22:00:01Z")));
        assert_eq!(last_day(span(27, "w"), "2026-05-25T00:30:00Z"), "2026-11-30");
    }

    fn spans() -> impl Strategy<Value = CalendarSpan> {
        let unit = prop_oneof![Just("h"), Just("d"), Just("w"), Just("mo"), Just("y")];
        (1_u32..60, unit).prop_map(|(count, unit)| span(count, unit))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_longer_span_and_a_later_backup_reach_no_less(
            span in spans(), more in 0_u32..40, at in 0_i64..3_000_000_000, later in 0_i64..100_000_000, age in 0_i64..2_000_000_000
        ) {
            let time = |seconds: i64| DateTime::from_timestamp(seconds, 0).unwrap();
            let now = time(at + age);
            if span.reaches(time(at), now) {
                let longer = CalendarSpan { count: span.count + more, ..span };
                prop_assert!(longer.reaches(time(at), now));
                prop_assert!(span.reaches(time((at + later).min(at + age)), now));
            }
        }

        #[test]
        fn it_lasts_as_many_days_as_it_says(span in spans(), at in 0_i64..3_000_000_000) {
            let taken = DateTime::from_timestamp(at, 0).unwrap();
            let days = |days: u64| taken + TimeDelta::days(i64::try_from(days).unwrap());
            prop_assert!(span.reaches(taken, days(span.least_days())), "{span}");
            // A day of its own, and three that a clamp may add.
            prop_assert!(!span.reaches(taken, days(span.most_days() + 5)), "{span}");
        }

        #[test]
        fn it_ends_when_it_reaches_no_more(span in spans(), at in 0_i64..3_000_000_000) {
            let taken = DateTime::from_timestamp(at, 0).unwrap();
            let ends = span.ends(taken).unwrap();
            prop_assert!(span.reaches(taken, ends - TimeDelta::seconds(1)), "{span}");
            prop_assert!(!span.reaches(taken, ends + TimeDelta::seconds(1)), "{span}");
        }

        #[test]
        fn what_is_dated_in_the_future_is_kept(span in spans(), at in 0_i64..3_000_000_000, ahead in 1_i64..1_000_000_000) {
            let time = |seconds: i64| DateTime::from_timestamp(seconds, 0).unwrap();
            prop_assert!(span.reaches(time(at + ahead), time(at)));
        }
    }
}
