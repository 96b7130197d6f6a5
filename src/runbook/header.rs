//! The header of a runbook: a block of TOML.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::model::{Header, Parameter, RunbookFault};
use crate::policy::Severity;

/// A quarter of a year.
const REVIEW: Duration = Duration::from_secs(90 * 24 * 3600);

/// A text, to find lines in.
pub(super) struct Lines<'t>(pub(super) &'t str);

impl Lines<'_> {
    /// Returns the line of an offset, from 1.
    pub(super) fn of(&self, offset: usize) -> usize {
        self.0.get(..offset).unwrap_or(self.0).matches('\n').count() + 1
    }

    pub(super) fn fault(
        &self,
        faults: &mut Vec<RunbookFault>,
        at: usize,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        faults.push(RunbookFault { line: self.of(at), message: message.into(), hint: hint.into() });
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderTable {
    severity: toml::Spanned<String>,
    trigger: String,
    takes: toml::Spanned<String>,
    review: Option<toml::Spanned<String>>,
    #[serde(default)]
    parameters: BTreeMap<toml::Spanned<String>, ParameterTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ParameterTable {
    description: String,
    default: Option<String>,
    example: Option<String>,
}

pub(super) fn read_duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok().filter(|duration| !duration.is_zero())
}

pub(super) fn read_severity(text: &str) -> Option<Severity> {
    match text {
        "p1" => Some(Severity::P1),
        "p2" => Some(Severity::P2),
        "p3" => Some(Severity::P3),
        "p4" => Some(Severity::P4),
        _ => None,
    }
}

/// Reads the header. `first`: the line of the file that the block's first line is.
pub(super) fn header(code: &str, first: usize, faults: &mut Vec<RunbookFault>) -> Option<Header> {
    let lines = Lines(code);
    let mut fault = |offset: usize, message: String, hint: &str| {
        faults.push(RunbookFault { line: first - 1 + lines.of(offset), message, hint: hint.to_owned() });
    };
    let table: HeaderTable = match toml::from_str(code) {
        Ok(table) => table,
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let message = error.message().lines().next().unwrap_or_default().to_owned();
            fault(
                at,
                format!("the header is not understood: {message}"),
                "it has `severity`, `trigger`, `takes`, `review` and `[parameters]`",
            );
            return None;
        }
    };
    let duration = |fault: &mut dyn FnMut(usize, String, &str), text: &toml::Spanned<String>, key: &str| {
        let read = read_duration(text.get_ref());
        if read.is_none() {
            let message = format!("`{key}`: `{}` is not a duration", text.get_ref());
            fault(text.span().start, message, "write a number and a unit, like `15m`, `4h` or `90d`");
        }
        read
    };
    let severity = read_severity(table.severity.get_ref());
    if severity.is_none() {
        let message = format!("`severity`: `{}` is not a severity", table.severity.get_ref());
        fault(table.severity.span().start, message, "one of `p1`, `p2`, `p3` and `p4`");
    }
    let takes = duration(&mut fault, &table.takes, "takes");
    let review = match &table.review {
        Some(text) => duration(&mut fault, text, "review"),
        None => Some(REVIEW),
    };
    let mut parameters = BTreeMap::new();
    for (key, parameter) in table.parameters {
        let (at, name) = (key.span().start, key.into_inner());
        let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(is_letter) {
            let message = format!("`{name}` is not a name of a parameter");
            fault(at, message, "use a-z, 0-9 and `_`, beginning with a letter");
        }
        if super::redact::is_secret_name(&name) {
            let message = format!("parameter `{name}` would be a secret in the record of the incident");
            fault(at, message, "let the command read it from a file or from its own environment variable");
        }
        if parameter.default.is_none() && parameter.example.is_none() {
            let message = format!("parameter `{name}` has neither a default nor an example");
            fault(at, message, "commands are checked with it: add `example = \"…\"`");
        }
        let ParameterTable { description, default, example } = parameter;
        parameters.insert(name, Parameter { description, default, example });
    }
    // With a fault in it the steps are checked all the same.
    Some(Header {
        severity: severity.unwrap_or(Severity::P1),
        trigger: table.trigger,
        takes: takes.unwrap_or_default(),
        review: review.unwrap_or(REVIEW),
        parameters,
    })
}
