use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;

use crate::catalog::Notice;
use crate::model::{RunId, Sha256Hex, SourceName, SystemName};
use crate::policy::Severity;

/// The longest key of PagerDuty.
const LONGEST_KEY: usize = 255;

/// What is sent to one channel: a notice, or a summary of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub state: MessageState,
    pub system: SystemName,
    pub host: String,
    pub at: DateTime<Utc>,
    /// What it says. Of a summary the key is the summary's own.
    pub notice: Notice,
    /// The notices that a summary stands for, a line each; empty otherwise.
    pub lines: Vec<String>,
    pub link: Option<Url>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageState {
    Firing,
    /// It is over.
    Resolved,
    /// Nothing happened: it tries a channel.
    Test,
}

impl MessageState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Test => "test",
        }
    }
}

impl Message {
    /// Returns the key by which a channel knows it again, of at most 255 bytes.
    pub fn key(&self) -> String {
        let whole = format!("drctl/{}/{}", self.system, self.notice.key);
        if whole.len() <= LONGEST_KEY {
            return whole;
        }
        let digest = Sha256Hex::digest(whole.as_bytes()).to_string();
        let mut end = LONGEST_KEY - digest.len() - 1;
        while !whole.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}-{digest}", &whole[..end])
    }

    /// Returns one line: how bad, which system, what happened.
    pub fn title(&self) -> String {
        let head = match self.state {
            MessageState::Firing => self.notice.severity.to_string(),
            MessageState::Resolved => "Resolved".to_owned(),
            MessageState::Test => format!("Test {}", self.notice.severity),
        };
        one_line(&format!("[{head}] {}: {}", self.system, self.notice.headline))
    }

    /// Returns what stands below the title, for people.
    pub fn text(&self) -> String {
        let notice = &self.notice;
        let mut parts = Vec::new();
        parts.extend(Some(notice.impact.clone()).filter(|text| !text.is_empty()));
        parts.extend(Some(self.lines.join("\n")).filter(|text| !text.is_empty()));
        parts.extend(
            Some(&notice.action).filter(|text| !text.is_empty()).map(|text| format!("What to do: {text}")),
        );
        parts.extend(self.link.as_ref().map(|link| format!("See {link}")));
        parts.push(self.origin());
        parts.join("\n\n")
    }

    /// Returns where it comes from: host, run and time.
    pub fn origin(&self) -> String {
        let run = self.notice.run.as_ref().map(|run| format!(", run {run}")).unwrap_or_default();
        format!("{}{run}, {}", self.host, self.at.to_rfc3339_opts(SecondsFormat::Secs, true))
    }

    /// Returns it for programs.
    pub fn document(&self) -> Value {
        let notice = &self.notice;
        json!({
            "type": format!("drctl.{}", notice.event),
            "timestamp": self.at.to_rfc3339_opts(SecondsFormat::Secs, true),
            "data": {
                "key": self.key(),
                "state": self.state,
                "severity": notice.severity,
                "event": notice.event,
                "system": self.system,
                "source": notice.source,
                "headline": notice.headline,
                "impact": notice.impact,
                "action": notice.action,
                "link": self.link,
                "run": notice.run,
                "host": self.host,
                "notices": self.lines,
            },
        })
    }

    /// Returns the value of a placeholder in a template.
    pub(super) fn placeholder(&self, name: &str) -> String {
        let notice = &self.notice;
        match name {
            "headline" => notice.headline.clone(),
            "impact" => notice.impact.clone(),
            "action" => notice.action.clone(),
            "link" => self.link.as_ref().map(ToString::to_string).unwrap_or_default(),
            "severity" => notice.severity.as_str().to_owned(),
            "state" => self.state.as_str().to_owned(),
            "system" => self.system.to_string(),
            "source" => notice.source.as_ref().map(ToString::to_string).unwrap_or_default(),
            "event" => notice.event.clone(),
            "key" => self.key(),
            "run" => notice.run.as_ref().map(RunId::to_string).unwrap_or_default(),
            "host" => self.host.clone(),
            "at" => self.at.to_rfc3339_opts(SecondsFormat::Secs, true),
            _ => String::new(),
        }
    }

    /// Returns the source, where it is of one.
    pub fn source(&self) -> Option<&SourceName> {
        self.notice.source.as_ref()
    }

    pub fn severity(&self) -> Severity {
        self.notice.severity
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Shortens a text to at most `most` characters, with `…` at its end where something is left out.
pub(super) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::fixtures::{message, notice};

    #[test]
    fn a_key_is_never_longer_than_pagerduty_takes_and_never_that_of_another() {
        let key = |long: String| message(notice(&long, Severity::P1)).key();
        assert_eq!(key("backup/database".to_owned()), "drctl/shop/backup/database");
        let (one, other) = (key("ä".repeat(400) + "1"), key("ä".repeat(400) + "2"));
        assert!(one.len() <= 255 && other.len() <= 255 && one != other, "{one} {other}");
    }

    #[test]
    fn a_title_is_one_line() {
        let mut message = message(notice("x", Severity::P2));
        message.notice.headline = "a\n  b\r\nSubject: c".to_owned();
        assert_eq!(message.title(), "[P2] shop: a b Subject: c");
    }
}
