use crate::policy::Expectation;
use crate::text::{format_duration, format_time};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};

/// The result of comparing an answer with the expectations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckVerdict {
    Pass {
        found: String,
    },
    Fail {
        reason: String,
    },
    Undetermined {
        reason: String,
    },
    /// The server has not what is asked for, or does not let the role see it.
    NotThere {
        reason: String,
    },
}

/// Compares the rows of a single-column query with all expectations on its one value. `until`: the recovery
/// target.
pub fn evaluate(rows: &[Option<String>], expectations: &[Expectation], until: DateTime<Utc>) -> CheckVerdict {
    let found = match rows {
        [Some(found)] => found,
        [None] => return CheckVerdict::Fail { reason: "the answer is NULL".to_owned() },
        [] => return CheckVerdict::Fail { reason: "the query gave no row".to_owned() },
        _ => return CheckVerdict::Undetermined { reason: "the query gives more than one row".to_owned() },
    };
    for expectation in expectations {
        let holds = match expectation {
            Expectation::Equals(expected) => Ok(found == expected),
            Expectation::AtLeast(least) => number(found).map(|found| found >= *least as f64),
            Expectation::AtMost(most) => number(found).map(|found| found <= *most as f64),
            Expectation::NewerThan(age) => time(found).map(|found| match chrono::TimeDelta::from_std(*age) {
                Ok(age) => until.checked_sub_signed(age).is_none_or(|oldest| found >= oldest),
                Err(_) => true,
            }),
        };
        match holds {
            Ok(true) => {}
            Ok(false) => {
                return CheckVerdict::Fail {
                    reason: format!("it is {found}, and {}", words(expectation, until)),
                };
            }
            Err(what) => {
                let reason = format!("the answer `{found}` is not {what}, and {}", words(expectation, until));
                return CheckVerdict::Undetermined { reason };
            }
        }
    }
    CheckVerdict::Pass { found: found.clone() }
}

fn words(expectation: &Expectation, until: DateTime<Utc>) -> String {
    match expectation {
        Expectation::Equals(expected) => format!("should be {expected}"),
        Expectation::AtLeast(least) => format!("should be at least {least}"),
        Expectation::AtMost(most) => format!("should be at most {most}"),
        Expectation::NewerThan(age) => {
            format!("should be no older than {} before {}", format_duration(*age), format_time(until))
        }
    }
}

fn number(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or("a number")
}

/// Parses PostgreSQL's output in UTC and ISO style, with or without a time zone.
fn time(text: &str) -> Result<DateTime<Utc>, &'static str> {
    let zoned = DateTime::parse_from_str(text, "%F %T%.f%#z").map(|time| time.to_utc());
    zoned
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%F %T%.f").map(|time| time.and_utc()))
        .or_else(|_| NaiveDate::parse_from_str(text, "%F").map(|day| day.and_time(NaiveTime::MIN).and_utc()))
        .map_err(|_| "a time")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn judged(found: &str, expectation: Expectation) -> &'static str {
        let until = "2026-11-20T12:00:00Z".parse().unwrap();
        match evaluate(&[Some(found.to_owned())], &[expectation], until) {
            CheckVerdict::Pass { .. } => "pass",
            CheckVerdict::Fail { .. } => "fail",
            CheckVerdict::Undetermined { .. } => "undetermined",
            CheckVerdict::NotThere { .. } => "not there",
        }
    }

    #[test]
    fn each_expectation_can_hold_and_fail_and_be_beside_the_point() {
        let hour = || Expectation::NewerThan(Duration::from_secs(3600));
        for (found, expectation, expected) in [
            ("ada", Expectation::Equals("ada".to_owned()), "pass"),
            ("bob", Expectation::Equals("ada".to_owned()), "fail"),
            ("7", Expectation::AtLeast(7), "pass"),
            ("6.99", Expectation::AtLeast(7), "fail"),
            ("many", Expectation::AtLeast(7), "undetermined"),
            ("7", Expectation::AtMost(7), "pass"),
            ("8", Expectation::AtMost(7), "fail"),
            ("NaN", Expectation::AtMost(7), "undetermined"),
            ("2026-11-20 11:00:00+00", hour(), "pass"),
            ("2026-11-20 10:59:59.999+00", hour(), "fail"),
            ("2026-11-20 17:00:00.5+05:30", hour(), "pass"),
            ("2026-11-20 11:30:00", hour(), "pass"),
            ("2026-11-20", hour(), "fail"),
            ("yesterday", hour(), "undetermined"),
        ] {
            assert_eq!(judged(found, expectation.clone()), expected, "{found} {expectation:?}");
        }
    }

    #[test]
    fn one_value_is_expected_and_all_that_is_said_of_it() {
        let until = DateTime::UNIX_EPOCH;
        let least = [Expectation::AtLeast(1), Expectation::AtMost(2)];
        let one = |text: &str| Some(text.to_owned());
        assert!(matches!(evaluate(&[one("2")], &least, until), CheckVerdict::Pass { .. }));
        assert!(matches!(evaluate(&[one("3")], &least, until), CheckVerdict::Fail { .. }));
        assert!(matches!(evaluate(&[None], &least, until), CheckVerdict::Fail { .. }));
        assert!(matches!(evaluate(&[], &least, until), CheckVerdict::Fail { .. }));
        assert!(matches!(evaluate(&[one("1"), one("1")], &least, until), CheckVerdict::Undetermined { .. }));
    }
}
