//! The periods that rules keep one backup of: days, ISO weeks, months and years of UTC.

use std::fmt;

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};

/// How long the periods of a rule are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Period {
    Day,
    Week,
    Month,
    Year,
}

/// One period of the calendar. Those of different lengths are never the same: week 7 of a year is not its July.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bucket {
    Day(NaiveDate),
    /// Monday to Sunday, in the year that has most of it: 2027-01-01 is in 2026-W53.
    Week {
        year: i32,
        week: u32,
    },
    Month {
        year: i32,
        month: u32,
    },
    Year(i32),
}

impl Period {
    /// Returns the period that a time falls into.
    pub fn bucket(self, time: DateTime<Utc>) -> Bucket {
        let date = time.date_naive();
        match self {
            Self::Day => Bucket::Day(date),
            Self::Week => {
                let week = date.iso_week();
                Bucket::Week { year: week.year(), week: week.week() }
            }
            Self::Month => Bucket::Month { year: date.year(), month: date.month() },
            Self::Year => Bucket::Year(date.year()),
        }
    }

    /// Returns the name of the rule in a policy.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }
}

/// `2026-11-20`, `2026-W47`, `2026-11`, `2026`.
impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(date) => write!(f, "{date}"),
            Self::Week { year, week } => write!(f, "{year:04}-W{week:02}"),
            Self::Month { year, month } => write!(f, "{year:04}-{month:02}"),
            Self::Year(year) => write!(f, "{year:04}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn label(period: Period, text: &str) -> String {
        period.bucket(text.parse().unwrap()).to_string()
    }

    #[test]
    fn weeks_are_iso_weeks_and_belong_to_the_year_that_has_most_of_them() {
        assert_eq!(label(Period::Week, "2026-11-20T22:02:51Z"), "2026-W47");
        // 2026 has 53 weeks.
        assert_eq!(label(Period::Week, "2026-12-31T00:00:00Z"), "2026-W53");
        assert_eq!(label(Period::Week, "2027-01-03T23:59:59Z"), "2026-W53");
        assert_eq!(label(Period::Week, "2027-01-04T00:00:00Z"), "2027-W01");
        assert_eq!(label(Period::Week, "2024-12-30T00:00:00Z"), "2025-W01");
    }

    #[test]
    fn a_day_begins_and_ends_at_midnight_utc() {
        assert_eq!(label(Period::Day, "2028-02-29T23:59:59.999Z"), "2028-02-29");
        assert_eq!(label(Period::Day, "2028-03-01T00:00:00Z"), "2028-03-01");
        assert_eq!(label(Period::Month, "2028-02-29T23:59:59Z"), "2028-02");
        assert_eq!(label(Period::Year, "2026-12-31T23:59:59Z"), "2026");
    }

    #[test]
    fn week_and_month_with_the_same_number_are_different_periods() {
        // Week 1 of 2026 and its January: a map of both must hold two.
        let time: DateTime<Utc> = "2026-01-01T12:00:00Z".parse().unwrap();
        let keys: std::collections::BTreeSet<_> =
            [Period::Week, Period::Month, Period::Day, Period::Year].map(|period| period.bucket(time)).into();
        assert_eq!(keys.len(), 4);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_week_has_seven_days_and_periods_follow_one_another(day in 0_i64..60_000) {
            let at = |day: i64| DateTime::from_timestamp(day * 86_400 + 43_200, 0).unwrap();
            let week = |day: i64| Period::Week.bucket(at(day));
            let same = (day - 6..=day + 6).filter(|other| week(*other) == week(day)).count();
            prop_assert_eq!(same, 7);
            for period in [Period::Day, Period::Week, Period::Month, Period::Year] {
                let (now, then) = (period.bucket(at(day)), period.bucket(at(day) + TimeDelta::days(1)));
                prop_assert!(now <= then, "{now} {then}");
            }
        }
    }
}
