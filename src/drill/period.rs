use std::fmt::{self, Display};
use std::str::FromStr;

use chrono::{DateTime, Datelike as _, MappedLocalTime, NaiveDate, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use serde::{Serialize, Serializer};

/// A month of the calendar: `2026-01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct YearMonth {
    year: i32,
    month: u32,
}

impl YearMonth {
    /// Returns the month of a time in a zone.
    pub fn of(time: DateTime<Utc>, zone: Tz) -> Self {
        let local = time.with_timezone(&zone);
        Self { year: local.year(), month: local.month() }
    }

    /// Returns the first day, as `January 2026`.
    pub fn in_words(self) -> String {
        self.first_day().map_or_else(|| self.to_string(), |day| day.format("%B %Y").to_string())
    }

    fn next(self) -> Self {
        match self.month {
            12 => Self { year: self.year + 1, month: 1 },
            month => Self { year: self.year, month: month + 1 },
        }
    }

    fn first_day(self) -> Option<NaiveDate> {
        NaiveDate::from_ymd_opt(self.year, self.month, 1)
    }

    /// Returns when it begins in a zone.
    fn begin(self, zone: Tz) -> Option<DateTime<Utc>> {
        let mut local = self.first_day()?.and_hms_opt(0, 0, 0)?;
        // Where clocks are set forward at midnight, the day begins later.
        for _ in 0..8 {
            match zone.from_local_datetime(&local) {
                MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => {
                    return Some(at.with_timezone(&Utc));
                }
                MappedLocalTime::None => local += TimeDelta::minutes(15),
            }
        }
        None
    }
}

impl Display for YearMonth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for YearMonth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let parsed = text.split_once('-').and_then(|(year, month)| {
            let is_date = year.len() == 4 && month.len() == 2 && digits(year) && digits(month);
            is_date.then_some(Self { year: year.parse().ok()?, month: month.parse().ok()? })
        });
        parsed
            .filter(|parsed| (1..=12).contains(&parsed.month))
            .ok_or_else(|| format!("`{text}` is not a month, like `2026-01`"))
    }
}

impl Serialize for YearMonth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whole months of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Period {
    pub first: YearMonth,
    pub last: YearMonth,
    pub from: DateTime<Utc>,
    /// Not in it.
    pub until: DateTime<Utc>,
}

impl Period {
    /// `None`: the last month is before the first.
    pub fn of_months(first: YearMonth, last: YearMonth, zone: Tz) -> Option<Self> {
        let (from, until) = (first.begin(zone)?, last.next().begin(zone)?);
        (first <= last).then_some(Self { first, last, from, until })
    }

    pub fn contains(&self, time: DateTime<Utc>) -> bool {
        self.from <= time && time < self.until
    }

    /// Returns `January 2026`, or `January to December 2026`.
    pub fn in_words(&self) -> String {
        let (first, last) = (self.first.in_words(), self.last.in_words());
        if self.first == self.last {
            return first;
        }
        match first.split_once(' ') {
            Some((month, _)) if self.first.year == self.last.year => format!("{month} to {last}"),
            _ => format!("{first} to {last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(first: &str, last: &str, zone: Tz) -> Option<(String, String)> {
        let period = Period::of_months(first.parse().unwrap(), last.parse().unwrap(), zone)?;
        Some((period.from.to_rfc3339(), period.until.to_rfc3339()))
    }

    fn times(from: &str, until: &str) -> Option<(String, String)> {
        Some((format!("{from}:00+00:00"), format!("{until}:00+00:00")))
    }

    #[test]
    fn months_are_those_of_the_zone_and_have_their_own_lengths() {
        let utc = period("2026-01", "2026-12", Tz::UTC);
        assert_eq!(utc, times("2026-01-01T00:00", "2027-01-01T00:00"));
        assert_eq!(period("2028-02", "2028-02", Tz::UTC), times("2028-02-01T00:00", "2028-03-01T00:00"));
        // An hour more than 31 days: the clocks are set back in October.
        let madrid = period("2026-10", "2026-10", Tz::Europe__Madrid);
        assert_eq!(madrid, times("2026-09-30T22:00", "2026-10-31T23:00"));
        let kolkata = period("2026-10", "2026-10", Tz::Asia__Kolkata);
        assert_eq!(kolkata, times("2026-09-30T18:30", "2026-10-31T18:30"));
        assert_eq!(period("2026-12", "2026-01", Tz::UTC), None);
    }

    #[test]
    fn a_month_that_begins_in_the_hour_that_was_left_out_begins_after_it() {
        // Cairo set its clocks forward at midnight of 1 August 2014.
        let begin = "2014-08".parse::<YearMonth>().unwrap().begin(Tz::Africa__Cairo).unwrap();
        assert_eq!(begin.with_timezone(&Tz::Africa__Cairo).to_rfc3339(), "2014-08-01T01:00:00+03:00");
    }

    #[test]
    fn only_a_month_is_one() {
        for text in ["2026-1", "2026-13", "2026-00", "2026", "26-01", "2026-01-01", "+026-01", "2026-0a"] {
            assert!(text.parse::<YearMonth>().is_err(), "{text}");
        }
        assert_eq!("2026-01".parse::<YearMonth>().unwrap().in_words(), "January 2026");
    }

    #[test]
    fn a_period_is_said_in_words() {
        let words = |first: &str, last: &str| {
            Period::of_months(first.parse().unwrap(), last.parse().unwrap(), Tz::UTC).unwrap().in_words()
        };
        assert_eq!(words("2026-01", "2026-12"), "January to December 2026");
        assert_eq!(words("2025-07", "2026-06"), "July 2025 to June 2026");
        assert_eq!(words("2026-03", "2026-03"), "March 2026");
    }
}
