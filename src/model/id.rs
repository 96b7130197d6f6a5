use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is not a valid identifier.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum IdError {
    #[error(
        "`{0}` is not a name: use 1 to 40 of a-z, 0-9 and `-`, beginning and ending with a letter or digit"
    )]
    Name(String),
    #[error("`{0}` is not a backup id (like `20261120T220251Z-database-logical-7f3k`)")]
    Backup(String),
    #[error("`{0}` is not a run id (like `20261120T220251Z-7f3k`)")]
    Run(String),
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let word = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=40).contains(&bytes.len())
        && bytes.iter().all(|b| word(b) || *b == b'-')
        && bytes.first().is_some_and(word)
        && bytes.last().is_some_and(word)
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(into = "String", try_from = "String")]
        #[schemars(with = "String")]
        pub struct $type(String);

        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if is_name(text) { Ok(Self(text.to_owned())) } else { Err(IdError::Name(text.to_owned())) }
            }
        }

        impl TryFrom<String> for $type {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.0
            }
        }
    };
}

name! {
    /// The application that is protected; the first folder of every key.
    SystemName
}
name! {
    /// One thing in the system that is backed up; the second folder of a backup's keys.
    SourceName
}
name! {
    /// A place backups are kept: `primary`, or the name the policy gives a copy.
    RepositoryName
}

/// How a backup was taken, and so how it is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BackupKind {
    /// A dump by `pg_dump`.
    Logical,
    /// A physical copy of a cluster by `pg_basebackup`.
    Base,
    /// A snapshot the platform keeps (RDS).
    Snapshot,
    /// A recovery point in an AWS Backup vault.
    RecoveryPoint,
    /// Files and directories.
    Files,
    /// A SQLite database.
    Sqlite,
    /// A directory of ChromaDB.
    Chroma,
    /// The data of a Redis server.
    Redis,
    /// A Git repository.
    Git,
    /// The objects of a bucket.
    Bucket,
    /// What a command wrote.
    Command,
}

impl BackupKind {
    pub const ALL: [Self; 11] = [
        Self::Logical,
        Self::Base,
        Self::Snapshot,
        Self::RecoveryPoint,
        Self::Files,
        Self::Sqlite,
        Self::Chroma,
        Self::Redis,
        Self::Git,
        Self::Bucket,
        Self::Command,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logical => "logical",
            Self::Base => "base",
            Self::Snapshot => "snapshot",
            Self::RecoveryPoint => "recovery-point",
            Self::Files => "files",
            Self::Sqlite => "sqlite",
            Self::Chroma => "chroma",
            Self::Redis => "redis",
            Self::Git => "git",
            Self::Bucket => "bucket",
            Self::Command => "command",
        }
    }

    /// Returns whether AWS keeps the backup: its bytes are in no repository.
    pub fn is_managed(self) -> bool {
        matches!(self, Self::Snapshot | Self::RecoveryPoint)
    }
}

impl fmt::Display for BackupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

const STAMP: &str = "%Y%m%dT%H%M%SZ";
const SUFFIX: usize = 4;

fn is_suffix(text: &str) -> bool {
    text.len() == SUFFIX && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Returns two letters that sort by the time within the second, and two random letters.
fn suffix(begun: DateTime<Utc>, seed: u32) -> String {
    // No vowels (no words), no 0/o/1/l/i (no misreading).
    const ALPHABET: &[u8; 27] = b"23456789bcdfghjkmnpqrstvwxz";
    const PAIRS: usize = ALPHABET.len() * ALPHABET.len();
    // A leap second has up to two thousand milliseconds.
    let millisecond = (begun.timestamp_subsec_millis() as usize).min(999);
    [millisecond * PAIRS / 1000, seed as usize % PAIRS]
        .iter()
        .flat_map(|pair| [pair / ALPHABET.len(), pair % ALPHABET.len()])
        .map(|letter| char::from(ALPHABET[letter]))
        .collect()
}

fn split_stamp(text: &str) -> Option<(DateTime<Utc>, &str)> {
    let (stamp, rest) = text.split_once('-')?;
    let begun = NaiveDateTime::parse_from_str(stamp, STAMP).ok()?.and_utc();
    (begun.format(STAMP).to_string() == stamp).then_some((begun, rest))
}

/// The ID of one backup of one source: `<begin, UTC>-<source>-<kind>-<4 characters>`.
///
/// The IDs of one source and kind sort by the time the backup began, to 2 ms. Two letters of the last part
/// give the time within the second, and two random ones separate backups that begin at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BackupId {
    text: String,
    begun: DateTime<Utc>,
    source: SourceName,
    kind: BackupKind,
}

impl BackupId {
    /// Creates an ID. `seed`: any random number; its spread determines how rarely two hosts collide.
    pub fn new(begun: DateTime<Utc>, source: &SourceName, kind: BackupKind, seed: u32) -> Self {
        let text = format!("{}-{source}-{kind}-{}", begun.format(STAMP), suffix(begun, seed));
        let begun = NaiveDateTime::parse_from_str(&begun.format(STAMP).to_string(), STAMP)
            .map_or(begun, |whole_seconds| whole_seconds.and_utc());
        Self { text, begun, source: source.clone(), kind }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn begun(&self) -> DateTime<Utc> {
        self.begun
    }

    pub fn source(&self) -> &SourceName {
        &self.source
    }

    pub fn kind(&self) -> BackupKind {
        self.kind
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for BackupId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let refused = || IdError::Backup(text.to_owned());
        let (begun, rest) = split_stamp(text).ok_or_else(refused)?;
        let (rest, suffix) = rest.rsplit_once('-').ok_or_else(refused)?;
        if !is_suffix(suffix) {
            return Err(refused());
        }
        let (source, kind) = BackupKind::ALL
            .into_iter()
            .find_map(|kind| Some((rest.strip_suffix(kind.as_str())?.strip_suffix('-')?, kind)))
            .ok_or_else(refused)?;
        let source = source.parse().map_err(|_| refused())?;
        Ok(Self { text: text.to_owned(), begun, source, kind })
    }
}

impl TryFrom<String> for BackupId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<BackupId> for String {
    fn from(value: BackupId) -> String {
        value.text
    }
}

/// The ID of one invocation that changed or verified something: `<begin, UTC>-<4 characters>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RunId {
    text: String,
    begun: DateTime<Utc>,
}

impl RunId {
    pub fn new(begun: DateTime<Utc>, seed: u32) -> Self {
        let text = format!("{}-{}", begun.format(STAMP), suffix(begun, seed));
        let begun = split_stamp(&text).map_or(begun, |(begun, _)| begun);
        Self { text, begun }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn begun(&self) -> DateTime<Utc> {
        self.begun
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for RunId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let refused = || IdError::Run(text.to_owned());
        let (begun, suffix) = split_stamp(text).ok_or_else(refused)?;
        if !is_suffix(suffix) {
            return Err(refused());
        }
        Ok(Self { text: text.to_owned(), begun })
    }
}

impl TryFrom<String> for RunId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(value: RunId) -> String {
        value.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> DateTime<Utc> {
        "2026-11-20T22:02:51.250Z".parse().unwrap()
    }

    #[test]
    fn a_backup_id_reads_well_and_parses_back() {
        for kind in BackupKind::ALL {
            let id = BackupId::new(noon(), &"app-db".parse().unwrap(), kind, 123_456);
            let parsed: BackupId = id.as_str().parse().unwrap();
            assert_eq!(parsed, id);
            assert_eq!(parsed.kind(), kind);
            assert_eq!(parsed.source().as_str(), "app-db");
            assert!(id.as_str().starts_with("20261120T220251Z-app-db-"), "{id}");
        }
    }

    #[test]
    fn ids_of_one_second_sort_as_they_began() {
        let id = |millisecond: i64, seed| {
            let begun = noon() + chrono::Duration::milliseconds(millisecond - 250);
            BackupId::new(begun, &"db".parse().unwrap(), BackupKind::Logical, seed)
        };
        for millisecond in 0..1100 {
            assert!(id(millisecond, u32::MAX) < id(millisecond + 2, 0), "{millisecond}");
        }
        assert_ne!(id(0, 1), id(0, 2));
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in [
            "",
            "20261120T220251Z",
            "20261120T220251Z-db-logical",
            "20261120T220251Z-db-logical-7F3K",
            "20261399T220251Z-db-logical-7f3k",
            "20261120T220251Z--logical-7f3k",
            "20261120T220251Z-logical-7f3k",
            "20261120T220251Z-db-nonsense-7f3k",
            "../20261120T220251Z-db-logical-7f3k",
        ] {
            assert_eq!(text.parse::<BackupId>(), Err(IdError::Backup(text.to_owned())));
        }
    }

    #[test]
    fn names_cannot_climb_out_of_their_folder() {
        for text in ["", "-a", "a-", "a/b", "..", "A", "a_b", "ä", &"a".repeat(41)] {
            assert!(text.parse::<SourceName>().is_err(), "{text}");
        }
    }
}
