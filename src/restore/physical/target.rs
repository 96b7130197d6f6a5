use std::fmt;

use chrono::{DateTime, NaiveDateTime, SubsecRound as _, Utc};
use serde::Serialize;
use thiserror::Error;

use crate::model::Lsn;

/// What to recover to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryTarget {
    /// The end of the available WAL.
    Latest,
    /// Everything committed until then, by the server's clock.
    Time(DateTime<Utc>),
    Lsn(Lsn),
    /// A transaction ID, with the epoch (`pg_current_xact_id()`) or without (`xmin`).
    Transaction(u64),
    /// The name given to `pg_create_restore_point`.
    Name(String),
}

/// Why a text is not a valid time.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RecoveryTargetError {
    #[error(
        "`{text}` does not say which time zone it is in; write it with one: `{utc}` for UTC, `{east}` for two hours east of it"
    )]
    NoOffset { text: String, utc: String, east: String },
    #[error("`{0}` is not a time; write it like `2026-11-20T14:05:00Z` or `2026-11-20 14:05:00+02`")]
    NotATime(String),
    #[error("`{0}` is not the number of a transaction (from 3, as `pg_current_xact_id()` gives it)")]
    NotATransaction(String),
    #[error(
        "`{0}` is not the name of a restore point: it is empty, longer than 63 bytes or has a line break"
    )]
    NotAName(String),
}

/// Parses a time that includes its time zone.
pub fn parse_time(text: &str) -> Result<DateTime<Utc>, RecoveryTargetError> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(to_microseconds(time.to_utc()));
    }
    // As people, servers and `date` write it.
    let (date, rest) = text.split_at_checked("2026-11-20".len()).unwrap_or((text, ""));
    let clock = rest.strip_prefix(['T', ' ']).unwrap_or(rest);
    let zoned = match clock.strip_suffix("UTC").or(clock.strip_suffix("GMT")) {
        Some(clock) => format!("{date} {}+00:00", clock.trim_end()),
        None => format!("{date} {clock}"),
    };
    for format in
        ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f %#z", "%Y-%m-%d %H:%M%#z", "%Y-%m-%d %H:%M %#z"]
    {
        if let Ok(time) = DateTime::parse_from_str(&zoned, format) {
            return Ok(to_microseconds(time.to_utc()));
        }
    }
    for format in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            let plain = time.format("%Y-%m-%dT%H:%M:%S%.f");
            let (utc, east) = (format!("{plain}Z"), format!("{plain}+02:00"));
            return Err(RecoveryTargetError::NoOffset { text: text.to_owned(), utc, east });
        }
    }
    Err(RecoveryTargetError::NotATime(text.to_owned()))
}

/// Truncates to the precision of PostgreSQL's commit timestamps.
fn to_microseconds(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

pub fn parse_transaction(text: &str) -> Result<u64, RecoveryTargetError> {
    let number = text.parse().ok().filter(|number: &u64| *number & 0xFFFF_FFFF >= 3);
    number.ok_or_else(|| RecoveryTargetError::NotATransaction(text.to_owned()))
}

pub fn parse_name(text: &str) -> Result<String, RecoveryTargetError> {
    let is_one = !text.is_empty() && text.len() < 64 && !text.contains(['\n', '\r', '\0']);
    if is_one { Ok(text.to_owned()) } else { Err(RecoveryTargetError::NotAName(text.to_owned())) }
}

/// Returns the full transaction ID for one given in full, or by its last 32 bits: then the first that is not
/// before `next`.
pub(super) fn whole_transaction(given: u64, next: u64) -> u64 {
    if given >> 32 > 0 {
        return given;
    }
    let low = next & 0xFFFF_FFFF;
    let ahead = (given.wrapping_sub(low)) & 0xFFFF_FFFF;
    // More than half of all IDs ahead means behind.
    if ahead < 1 << 31 { next + ahead } else { (next + ahead).saturating_sub(1 << 32) }
}

impl fmt::Display for RecoveryTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("as much as there is"),
            Self::Time(time) => write!(f, "{}", shown(*time)),
            Self::Lsn(lsn) => write!(f, "position {lsn}"),
            Self::Transaction(number) => write!(f, "transaction {number}"),
            Self::Name(name) => write!(f, "restore point `{name}`"),
        }
    }
}

/// Formats a time for people, to the microsecond where it has any.
pub fn shown(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_says_where_it_is_meant() {
        let expected: DateTime<Utc> = "2026-11-20T12:05:00Z".parse().unwrap();
        for text in [
            "2026-11-20T12:05:00Z",
            "2026-11-20T14:05:00+02:00",
            "2026-11-20 14:05:00+02",
            "2026-11-20 14:05:00 +0200",
            "2026-11-20 12:05:00Z",
            "2026-11-20 07:05:00.0-05:00",
            "2026-11-20T14:05:00+0200",
            "2026-11-20T12:05Z",
            "2026-11-20 14:05+02",
            "2026-11-20 14:05 +02:00",
            "2026-11-20 12:05:00 UTC",
            "2026-11-20 12:05:00.000 GMT",
        ] {
            assert_eq!(parse_time(text), Ok(expected), "{text}");
        }
        let precise = parse_time("2026-11-20T12:05:00.1234567Z").unwrap();
        assert_eq!(shown(precise), "2026-11-20T12:05:00.123456Z");
        for text in ["2026-11-20 14:05:00", "2026-11-20T14:05"] {
            let refused = parse_time(text).unwrap_err().to_string();
            assert!(refused.contains("2026-11-20T14:05:00Z") && refused.contains("+02:00"), "{refused}");
        }
        for text in [
            "yesterday",
            "2026-11-20",
            "2026-11-20 14:05:00 CET",
            "2026-13-20T14:05:00Z",
            "20é6-11-20",
            "UTC",
            "",
        ] {
            assert_eq!(parse_time(text), Err(RecoveryTargetError::NotATime(text.to_owned())));
        }
    }

    #[test]
    fn a_transaction_without_its_epoch_is_the_next_of_that_number() {
        assert_eq!(whole_transaction(800, 750), 800);
        assert_eq!(whole_transaction(700, 750), 700);
        assert_eq!(whole_transaction(5, (1 << 32) - 10), (1 << 32) + 5);
        assert_eq!(whole_transaction((1 << 32) - 20, (1 << 32) + 10), (1 << 32) - 20);
        assert_eq!(whole_transaction(3 << 32 | 9, 5), 3 << 32 | 9);
        assert!(parse_transaction("2").is_err() && parse_transaction("x").is_err());
        assert!(parse_name("").is_err() && parse_name("before the change").is_ok());
    }
}
