//! The record of an incident: entries that are chained and never changed. FORMAT.md is normative.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{BackupId, IdError, RepositoryName, RunId, Sha256Hex, SystemName};
use crate::policy::Severity;

/// The version of an entry.
pub(super) const ENTRY_FORMAT: &str = "drctl-incident/1";
const PREFIX: &str = "inc-";

/// `inc-20261130T030000Z-7f3k`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct IncidentId(RunId);

impl IncidentId {
    pub fn new(begun: DateTime<Utc>, seed: u32) -> Self {
        Self(RunId::new(begun, seed))
    }

    /// Returns the run of the journal that ends the incident.
    pub fn run(&self) -> &RunId {
        &self.0
    }
}

impl Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{PREFIX}{}", self.0))
    }
}

impl FromStr for IncidentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let run = text.strip_prefix(PREFIX).ok_or_else(|| IdError::Run(text.to_owned()))?;
        run.parse().map(Self)
    }
}

impl TryFrom<String> for IncidentId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<IncidentId> for String {
    fn from(id: IncidentId) -> Self {
        id.to_string()
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub format: String,
    pub incident: IncidentId,
    /// From 1, without gaps.
    pub seq: u32,
    pub at: DateTime<Utc>,
    /// The person.
    pub by: String,
    pub host: String,
    /// SHA-256 of the entry before, as stored.
    pub previous: Option<Sha256Hex>,
    #[serde(flatten)]
    pub event: IncidentEvent,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum IncidentEvent {
    Opened(Box<Opening>),
    /// A step is about to be run.
    Began {
        step: String,
        /// With its parameters; of steps that are no command absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<String>,
    },
    /// A command has ended.
    Ended {
        step: String,
        seconds: f64,
        end: CommandEnd,
        /// Whether that is what the runbook expects.
        is_expected: bool,
        /// The last lines of its output, without secrets.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        output: Vec<String>,
        /// What a restore reported.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restored: Option<RestoredFacts>,
    },
    /// A person did it, or takes it for done.
    Done {
        step: String,
        note: String,
    },
    Decided {
        step: String,
        answer: String,
        why: String,
    },
    Skipped {
        step: String,
        why: String,
    },
    /// Not run, because it was a rehearsal.
    Rehearsed {
        step: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        text: String,
    },
    Told {
        step: String,
        severity: SeverityWord,
        text: String,
        deliveries: Vec<Delivery>,
    },
    /// It is interrupted, and can be resumed.
    Paused {
        why: String,
    },
    /// It is resumed.
    Resumed {
        /// Who led it before, where that was another person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    Closed {
        is_complete: bool,
    },
}

impl IncidentEvent {
    /// Returns the step that it is about.
    pub fn step(&self) -> Option<&str> {
        match self {
            Self::Began { step, .. }
            | Self::Ended { step, .. }
            | Self::Done { step, .. }
            | Self::Decided { step, .. }
            | Self::Skipped { step, .. }
            | Self::Rehearsed { step, .. }
            | Self::Told { step, .. } => Some(step),
            Self::Opened(_) | Self::Paused { .. } | Self::Resumed { .. } | Self::Closed { .. } => None,
        }
    }
}

/// The first entry: everything that a resumption needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    pub system: SystemName,
    pub runbook: String,
    /// Its path where it was begun.
    pub file: String,
    /// Of the text.
    pub sha256: Sha256Hex,
    /// The runbook itself: another host may have another one, or none.
    pub text: String,
    pub parameters: BTreeMap<String, String>,
    pub is_rehearsal: bool,
    /// When what led here happened, as far as it is known.
    pub since: DateTime<Utc>,
    pub rto_seconds: u64,
    pub rpo_seconds: u64,
    pub drctl_version: String,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum CommandEnd {
    Exited {
        status: i32,
    },
    /// By a signal.
    Killed {
        signal: i32,
    },
    /// It was ended at the step's deadline.
    Deadline,
    /// It was ended because the run was interrupted.
    Interrupted,
    NotStarted {
        why: String,
    },
}

impl Display for CommandEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { status } => write!(f, "exit status {status}"),
            Self::Killed { signal } => write!(f, "killed by signal {signal}"),
            Self::Deadline => f.write_str("ended at its deadline"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::NotStarted { why } => write!(f, "not started: {why}"),
        }
    }
}

/// What a restore reported with `--output json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoredFacts {
    pub to: String,
    pub recovery_point: DateTime<Utc>,
    pub seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryName>,
}

/// What became of a message in one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub channel: String,
    pub is_delivered: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A severity, as it is stored: `p1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeverityWord {
    P1,
    P2,
    P3,
    P4,
}

impl SeverityWord {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
            Self::P4 => "P4",
        }
    }
}

impl From<Severity> for SeverityWord {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::P1 => Self::P1,
            Severity::P2 => Self::P2,
            Severity::P3 => Self::P3,
            Severity::P4 => Self::P4,
        }
    }
}

/// An incident, as far as its record was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    pub id: IncidentId,
    /// The first is the opening.
    pub entries: Vec<Entry>,
}

impl Incident {
    /// Returns the first entry; `None`: there is none, or another one comes first.
    pub fn opening(&self) -> Option<&Opening> {
        match &self.entries.first()?.event {
            IncidentEvent::Opened(opening) => Some(opening),
            _ => None,
        }
    }

    pub fn is_closed(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.event, IncidentEvent::Closed { .. }))
    }

    /// Returns the person who led it last.
    pub fn leader(&self) -> &str {
        self.entries.last().map_or("", |entry| entry.by.as_str())
    }
}

/// An entry and its exact bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEntry {
    pub entry: Entry,
    pub bytes: Bytes,
}

impl StoredEntry {
    /// # Errors
    /// Where the entry cannot be encoded.
    pub fn encode(entry: Entry) -> Result<Self, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(&entry)?;
        bytes.push(b'\n');
        Ok(Self { entry, bytes: bytes.into() })
    }

    pub fn sha256(&self) -> Sha256Hex {
        Sha256Hex::digest(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let id = IncidentId::new("2026-11-30T03:00:00Z".parse().unwrap(), 7);
        assert_eq!(id.to_string().parse::<IncidentId>().unwrap(), id);
        assert!("20261130T030000Z-2222".parse::<IncidentId>().is_err());
        let end = CommandEnd::Exited { status: 1 };
        let output = vec!["a".to_owned()];
        let restored = None;
        let event = IncidentEvent::Ended {
            step: "x".into(),
            seconds: 1.5,
            end,
            is_expected: false,
            output,
            restored,
        };
        let (at, format) = ("2026-11-30T03:00:00Z".parse().unwrap(), ENTRY_FORMAT.to_owned());
        let entry = Entry {
            format,
            incident: id,
            seq: 2,
            at,
            by: "ann".into(),
            host: "a".into(),
            previous: None,
            event,
        };
        let stored = StoredEntry::encode(entry.clone()).unwrap();
        assert_eq!(serde_json::from_slice::<Entry>(&stored.bytes).unwrap(), entry);
    }
}
