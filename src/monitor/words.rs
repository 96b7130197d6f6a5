//! How good a thing is, how old, and how much would be lost: in words, one way each.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::fleet::Severity;
use crate::report::{Tone, against, lasting};

pub(super) fn tone(severity: Severity) -> Tone {
    match severity {
        Severity::Good => Tone::Good,
        Severity::Warning => Tone::Warning,
        Severity::Critical => Tone::Bad,
    }
}

/// Returns the severity in words.
pub(super) fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Good => "Recoverable",
        Severity::Warning => "Attention",
        Severity::Critical => "At risk",
    }
}

pub(super) fn capitalised(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

/// Returns `3m 20s ago`, `in 5h`, or `just now`.
pub(super) fn age(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let lasts = |seconds: i64| match seconds {
        0..10 => format!("{seconds}s"),
        _ => lasting(seconds as f64),
    };
    match (now - at).num_seconds() {
        0 => "just now".to_owned(),
        seconds @ 1.. => format!("{} ago", lasts(seconds)),
        seconds => format!("in {}", lasts(seconds.saturating_neg())),
    }
}

pub(super) fn age_or(at: Option<DateTime<Utc>>, now: DateTime<Utc>, without: &str) -> String {
    at.map_or_else(|| without.to_owned(), |at| age(at, now))
}

/// Returns the loss in words, and how good it is against the objective.
pub(super) fn loss(seconds: Option<u64>, is_everything: bool, rpo: Duration) -> (String, Tone) {
    match seconds {
        _ if is_everything => ("everything".to_owned(), Tone::Bad),
        None => ("not known".to_owned(), Tone::Warning),
        Some(seconds) => {
            let text = lasting(seconds as f64);
            (text, against(seconds as f64, rpo.as_secs_f64()))
        }
    }
}
