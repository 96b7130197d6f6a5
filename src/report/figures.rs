//! Numbers and outcomes in words, one way each.

use std::time::Duration;

use super::page::Tone;
use crate::model::Judgement;
use crate::text::approximate_duration;

/// Returns `3m 20s`, and `4h` of whole hours.
pub fn lasting(seconds: f64) -> String {
    let text = approximate_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    match text.split_once(' ') {
        Some((whole, "0s" | "0m" | "0h")) => whole.to_owned(),
        _ => text,
    }
}

/// Returns `35m 14s`, or what stands for a time that was not measured.
pub(super) fn lasting_or(seconds: Option<f64>, without: &str) -> String {
    seconds.map_or_else(|| without.to_owned(), lasting)
}

/// Returns `15 %`.
pub(super) fn percent(part: f64, whole: f64) -> String {
    format!("{:.0} %", if whole > 0.0 { part / whole * 100.0 } else { 0.0 })
}

/// Returns how good a measured time is against its objective.
pub fn against(seconds: f64, objective: f64) -> Tone {
    if seconds > objective {
        Tone::Bad
    } else if seconds > 0.8 * objective {
        Tone::Warning
    } else {
        Tone::Good
    }
}

/// Returns the outcome of a record as a word: `Passed`, `Failed`, `Undetermined`.
pub fn outcome_word(outcome: Judgement) -> &'static str {
    match outcome {
        Judgement::Pass => "Passed",
        Judgement::Fail => "Failed",
        Judgement::Undetermined => "Undetermined",
    }
}

/// Returns how good an outcome is.
pub fn outcome_tone(outcome: Judgement) -> Tone {
    match outcome {
        Judgement::Pass => Tone::Good,
        Judgement::Fail => Tone::Bad,
        Judgement::Undetermined => Tone::Warning,
    }
}
