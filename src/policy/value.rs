//! The types of single settings: names, durations, sizes, URLs, cron lines, secrets by reference.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use chrono::{TimeZone as _, Utc};
use croner::parser::{CronParser, Seconds, Year};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::decode::{Decode, Diagnostics, InvalidValue, Node, ParseText};
use super::macros::{text_schemas, text_values};
use crate::model::{RepositoryName, SourceName, SystemName};
use crate::platform::{SecretRef, expand_home};
use crate::policy::{CalendarSpan, CalendarUnit, CronLine, LockTerm};

impl ParseText for String {
    const EXAMPLE: &'static str = "\"…\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        if text.trim().is_empty() {
            return InvalidValue::new("is empty", "give it a value, or leave the setting out");
        }
        Ok(text.to_owned())
    }
}

impl ParseText for PathBuf {
    const EXAMPLE: &'static str = "\"/path\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        if text.contains("://") {
            return InvalidValue::new("is a URL, but must be a path", "write a path like `/var/backups`");
        }
        if let Some((scheme, _)) = text.split_once(":/").filter(|(scheme, _)| is_scheme(scheme)) {
            let hint = format!(
                "a bucket is `url = \"s3://bucket/prefix\"`; a directory of that name is `./{scheme}:/…`"
            );
            return InvalidValue::new(format!("begins like a URL with one `/` too few (`{scheme}:/`)"), hint);
        }
        home_expanded(&String::from_text(text).map(Self::from)?)
    }
}

/// Returns whether the text is a scheme like `s3`, `gs`, `https`: more than one letter, since one is a drive.
fn is_scheme(text: &str) -> bool {
    text.len() > 1 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Expands `~/` at the beginning of a path.
pub(super) fn home_expanded(path: &Path) -> Result<PathBuf, InvalidValue> {
    expand_home(path)
        .or_else(|error| InvalidValue::new(error.to_string(), "write the path out, like `/home/me/x`"))
}

impl Decode for bool {
    const EXAMPLE: &'static str = "true";

    fn read(node: &Node<'_>, log: &mut Diagnostics<'_>) -> Option<Self> {
        let value = node.value.as_bool();
        if value.is_none() {
            node.wrong_type("`true` or `false`", "write it without quotes", log);
        }
        value
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug)]
pub(super) struct WholeNumber<const MIN: i64, const MAX: i64>(pub(super) i64);

impl<const MIN: i64, const MAX: i64> Decode for WholeNumber<MIN, MAX> {
    const EXAMPLE: &'static str = "1";

    fn read(node: &Node<'_>, log: &mut Diagnostics<'_>) -> Option<Self> {
        let DeValue::Integer(number) = node.value else {
            node.wrong_type("a whole number", "write it without quotes or a fraction", log);
            return None;
        };
        match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) if (MIN..=MAX).contains(&value) => Some(Self(value)),
            _ => {
                let hint =
                    if MAX == i64::MAX { format!("at least {MIN}") } else { format!("{MIN} to {MAX}") };
                log.fault(&node.spot, format!("`{number}` is out of range"), hint);
                None
            }
        }
    }
}

impl<const MIN: i64, const MAX: i64> JsonSchema for WholeNumber<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("WholeFrom{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        match (MIN, MAX) {
            (i64::MIN, _) => json_schema!({ "type": "integer" }),
            (_, i64::MAX) => json_schema!({ "type": "integer", "minimum": MIN }),
            _ => json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX }),
        }
    }
}

/// An amount of money or another number that may have a fraction; zero or more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quantity(pub(super) f64);

impl Decode for Quantity {
    const EXAMPLE: &'static str = "0.115";

    fn read(node: &Node<'_>, log: &mut Diagnostics<'_>) -> Option<Self> {
        let number = match node.value {
            DeValue::Float(number) => number.as_str().replace('_', "").parse().ok(),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n as f64)
            }
            _ => {
                node.wrong_type("a number", "write it like `0.115`, without quotes", log);
                return None;
            }
        };
        let amount = number.filter(|number: &f64| number.is_finite() && *number >= 0.0);
        if amount.is_none() {
            log.fault(&node.spot, "is no price", "write zero or more, like `0.115`");
        }
        amount.map(Self)
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0 })
    }
}

/// A day: `2026-11-01`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Day(pub(super) chrono::NaiveDate);

impl ParseText for Day {
    const EXAMPLE: &'static str = "\"2026-11-01\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        match text.parse() {
            Ok(day) => Ok(Self(day)),
            Err(_) => InvalidValue::new(format!("`{text}` is not a day"), "write it like `2026-11-01`"),
        }
    }
}

/// A duration greater than zero: `90s`, `4h`, `30d`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period(pub(super) Duration);

impl ParseText for Period {
    const EXAMPLE: &'static str = "\"4h\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let hint = "write a number and a unit, like `90s`, `15m`, `4h` or `30d`";
        match humantime::parse_duration(text) {
            Ok(duration) if duration.is_zero() => {
                InvalidValue::new(format!("`{text}` is no time at all"), "it must be more than zero")
            }
            Ok(duration) => Ok(Self(duration)),
            Err(_) => InvalidValue::new(format!("`{text}` is not a duration"), hint),
        }
    }
}

/// How long objects are locked: a duration, or as long as the rules keep them.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockPeriod(pub(super) LockTerm);

impl ParseText for LockPeriod {
    const EXAMPLE: &'static str = "\"35d\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "rules" => Ok(Self(LockTerm::Rules)),
            _ => match Period::from_text(text) {
                Ok(period) => Ok(Self(LockTerm::For(period.0))),
                Err(invalid) => {
                    let hint = "write a number and a unit, like `35d`, or `rules`: as long as `[retention]` keeps it";
                    InvalidValue::new(invalid.message, hint)
                }
            },
        }
    }
}

/// How long a rule keeps backups: `30d`, or a number of the rule's own periods, which `UNIT` names.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeepSpan<const UNIT: char>(pub(super) CalendarSpan);

impl<const UNIT: char> KeepSpan<UNIT> {
    const OWN: CalendarUnit = match UNIT {
        'w' => CalendarUnit::Week,
        'm' => CalendarUnit::Month,
        'y' => CalendarUnit::Year,
        _ => CalendarUnit::Day,
    };

    fn new(count: &str, unit: CalendarUnit) -> Result<Self, InvalidValue> {
        let (text, most) = (format!("{count}{}", unit.suffix()), unit.limit());
        match count.parse::<u32>() {
            Ok(0) => InvalidValue::new(format!("`{text}` keeps nothing"), "leave the rule out"),
            Ok(count) if count <= most => Ok(Self(CalendarSpan::new(count, unit))),
            _ => InvalidValue::new(
                format!("`{text}` is more than a hundred years"),
                format!("at most `{most}{}`", unit.suffix()),
            ),
        }
    }
}

impl<const UNIT: char> ParseText for KeepSpan<UNIT> {
    const EXAMPLE: &'static str = "\"30d\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (count, suffix) = text.split_at(end);
        match CalendarUnit::from_suffix(suffix.trim_start()) {
            Some(unit) if !count.is_empty() => Self::new(count, unit),
            _ => {
                let hint = match suffix.trim_start() {
                    "m" | "M" => format!("months are `{count}mo`"),
                    _ => "write a number and one of `h`, `d`, `w`, `mo` and `y`, like `30d` or `6mo`"
                        .to_owned(),
                };
                InvalidValue::new(format!("`{text}` is not a length of time"), hint)
            }
        }
    }
}

impl<const UNIT: char> Decode for KeepSpan<UNIT> {
    const EXAMPLE: &'static str = <Self as ParseText>::EXAMPLE;

    fn read(node: &Node<'_>, log: &mut Diagnostics<'_>) -> Option<Self> {
        let DeValue::Integer(number) = node.value else {
            if node.value.as_str().is_none() {
                node.wrong_type("a length of time", "write it like `\"30d\"`", log);
                return None;
            }
            return super::decode::read_text(node, log);
        };
        let count = i64::from_str_radix(number.as_str(), number.radix()).ok();
        let count =
            count.filter(|count| *count >= 0).map_or_else(|| number.as_str().to_owned(), |n| n.to_string());
        match Self::new(&count, Self::OWN) {
            Ok(span) => Some(span),
            Err(refusal) => {
                log.fault(&node.spot, refusal.message, refusal.hint);
                None
            }
        }
    }
}

impl<const UNIT: char> JsonSchema for KeepSpan<UNIT> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("KeepSpan{UNIT}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 1, "maximum": Self::OWN.limit() },
                { "type": "string", "pattern": "^[0-9]+ ?(h|d|w|mo|y)$", "examples": ["30d", "6mo"] }
            ]
        })
    }
}

/// A number of bytes, more than zero: `8MiB`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub(super) u64);

impl ParseText for Size {
    const EXAMPLE: &'static str = "\"8MiB\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let hint = "write a number and a unit, like `512KiB`, `8MiB` or `10GiB`";
        let has_unit = text.bytes().any(|b| b.is_ascii_alphabetic());
        match bytesize::ByteSize::from_str(text) {
            Ok(size) if has_unit && size.0 > 0 => Ok(Self(size.0)),
            _ => InvalidValue::new(format!("`{text}` is not a size"), hint),
        }
    }
}

impl ParseText for CronLine {
    const EXAMPLE: &'static str = "\"15 3 * * *\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let hint =
            "write minute, hour, day of month, month and day of week, like `15 3 * * *` (every day at 3:15)";
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = match parser.parse(text) {
            Ok(cron) => cron,
            Err(error) => return InvalidValue::new(format!("`{text}` is not a cron line ({error})"), hint),
        };
        // Any time will do: a line either recurs within a few leap years or never.
        let some_day = Utc.timestamp_nanos(0);
        if cron.find_next_occurrence(&some_day, true).is_err() {
            return InvalidValue::new(format!("`{text}` never comes"), "there is no such day in any year");
        }
        Ok(Self::new(text.trim().to_owned(), cron))
    }
}

/// A time zone of the IANA database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zone(pub(super) chrono_tz::Tz);

impl ParseText for Zone {
    const EXAMPLE: &'static str = "\"UTC\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        if let Ok(zone) = text.parse() {
            return Ok(Self(zone));
        }
        let all = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        let hint = crate::text::nearest(text, all).map_or_else(
            || "use a name of the IANA database, like `UTC` or `Europe/Madrid`".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        InvalidValue::new(format!("`{text}` is not a time zone"), hint)
    }
}

impl ParseText for SecretRef {
    const EXAMPLE: &'static str = "\"env:NAME\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let hint = "name where the secret is found: `env:NAME`, `file:/path`, `command:program arg` or `secretsmanager:id`";
        match text.parse() {
            Ok(Self::Command(words)) if words.is_empty() => InvalidValue::new("names no command", hint),
            Ok(Self::File(path)) => home_expanded(&path).map(Self::File),
            Ok(reference) => Ok(reference),
            Err(_) => InvalidValue::new("is not a reference to a secret (its value is not shown)", hint),
        }
    }
}

macro_rules! name_text {
    ($($type:ty, $example:literal;)*) => { $(
        impl ParseText for $type {
            const EXAMPLE: &'static str = $example;

            fn from_text(text: &str) -> Result<Self, InvalidValue> {
                let hint = "use 1 to 40 of a-z, 0-9 and `-`, beginning and ending with a letter or digit";
                text.parse().or_else(|_| InvalidValue::new(format!("`{text}` is not a name"), hint))
            }
        }
    )* };
}

name_text! {
    SystemName, "\"shop\"";
    SourceName, "\"database\"";
    RepositoryName, "\"offsite\"";
}

/// A public key that backups are encrypted to.
#[derive(Clone, Debug)]
pub(super) struct RecipientKey(pub(super) String);

impl ParseText for RecipientKey {
    const EXAMPLE: &'static str = "\"age1…\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let lower = text.to_ascii_lowercase();
        let generate = "`drctl keys generate` makes a key pair; its `age1…` line goes here";
        if lower.starts_with("age-secret-key-") {
            let hint = "it was in a file that others may have read: make new keys, and put only the `age1…` line here";
            return InvalidValue::new(
                "is an identity, which must never be in a policy (it is not shown)",
                hint,
            );
        }
        if lower.starts_with("age1pq1") {
            let hint = "use an X25519 recipient (`age1…`, 62 characters) until a later version";
            return InvalidValue::new(
                "is a post-quantum recipient, which this version does not support",
                hint,
            );
        }
        if lower.starts_with("ssh-") {
            return InvalidValue::new("is an SSH key, and drctl encrypts to age recipients only", generate);
        }
        match text.parse::<age::x25519::Recipient>() {
            Ok(recipient) => Ok(Self(recipient.to_string())),
            // A second `1` in the readable part names a plugin: `age1yubikey1…`.
            Err(_)
                if lower.strip_prefix("age1").is_some_and(|rest| rest.len() != 58 && rest.contains('1')) =>
            {
                InvalidValue::new("is a plugin's recipient, which this version does not support", generate)
            }
            Err(_) => InvalidValue::new("is not an age recipient (`age1` and 58 more characters)", generate),
        }
    }
}

text_values!(
    String,
    PathBuf,
    Period,
    LockPeriod,
    Size,
    CronLine,
    Zone,
    Day,
    SecretRef,
    RecipientKey,
    SystemName,
    SourceName,
    RepositoryName
);

text_schemas! {
    Period, "Period", { "description": "A duration: a number and a unit, like `90s`, `15m`, `4h` or `30d`.", "examples": ["4h"] };
    LockPeriod, "LockPeriod", { "description": "A duration, counted from the upload, like `35d`; or `rules`: as long as `[retention]` keeps it.", "examples": ["35d", "rules"] };
    Size, "Size", { "description": "A number of bytes with a unit, like `8MiB`.", "examples": ["8MiB"] };
    CronLine, "CronLine", { "description": "A cron line: minute, hour, day of month, month, day of week.", "examples": ["15 3 * * *"] };
    Zone, "Zone", { "description": "A time zone of the IANA database.", "examples": ["UTC", "Europe/Madrid"] };
    Day, "Day", { "description": "A day, like `2026-11-01`.", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" };
    SecretRef, "SecretRef", { "description": "Where a secret is found: `env:NAME`, `file:/path`, `command:program arg` or `secretsmanager:id#key`.", "pattern": "^(env|file|command|secretsmanager):.+" };
    RecipientKey, "RecipientKey", { "description": "An age recipient: a public key.", "pattern": "^age1[a-z0-9]{58}$" };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_a_unit_and_months_are_not_minutes() {
        let said = |text: &str| match KeepSpan::<'w'>::from_text(text) {
            Ok(span) => span.0.to_string(),
            Err(refusal) => format!("{}; {}", refusal.message, refusal.hint),
        };
        for text in ["30d", "6mo", "27w", "2y", "36h"] {
            assert_eq!(said(text), text);
        }
        assert_eq!(said("30 d"), "30d");
        assert_eq!(said("6m"), "`6m` is not a length of time; months are `6mo`");
        assert_eq!(said("0d"), "`0d` keeps nothing; leave the rule out");
        assert!(said("999y").contains("at most `100y`"));
        for text in ["", "d", "-1d", "1.5d", "d30", "30", "30x", "99999999999999999999d"] {
            assert!(KeepSpan::<'w'>::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn recipients_are_told_from_what_looks_like_them() {
        let refused = |text: &str| {
            RecipientKey::from_text(text).map(|_| ()).map_err(|refusal| refusal.message).unwrap_err()
        };
        let key = "age1udeqqjej24rgxk2lt2skplxpmz8cszx9laqs9j6atkwz3quud94s3nlnt8";
        assert!(RecipientKey::from_text(key).is_ok());
        assert!(RecipientKey::from_text(&key.replace('x', "z")).is_err(), "its check sum is wrong");
        assert!(refused("age1pq1qqq").contains("post-quantum"));
        assert!(
            refused("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t")
                .contains("plugin")
        );
        assert!(refused("AGE-SECRET-KEY-1QQQQ").contains("identity"));
    }
}
