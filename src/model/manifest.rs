use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{BackupId, BackupKind, Digest, RunId, SourceName, SystemName};

/// How far a backup has been shown to be good. Each includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Committed: its manifest stands.
    Stored,
    /// Every byte was read again and its digests match.
    Checked,
    /// A drill restored it and its checks passed.
    Proven,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Checked => "checked",
            Self::Proven => "proven",
        }
    }
}

/// The JSON that makes a set of objects a backup. FORMAT.md is normative for every field.
///
/// The bytes are the same in every repository that holds the backup, and hold nothing secret: names of
/// tables, row counts and settings are in the encrypted `details.json.zst.age`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// `major.minor`, see [`crate::repository::FormatVersion`].
    pub format: String,
    pub repository_id: String,
    pub system: SystemName,
    pub source: SourceName,
    pub id: BackupId,
    pub kind: BackupKind,
    /// The run that took it. Backups of one run belong to one recovery point.
    pub run: RunId,
    /// The moment whose data this backup holds: a dump's snapshot, not its end.
    pub recovery_point: DateTime<Utc>,
    pub begun: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    pub host: String,
    pub tool: ToolFacts,
    pub server: Option<ServerFacts>,
    pub protection: Protection,
    pub artifacts: Vec<Artifact>,
    /// The exact commands that restore it with standard tools, a line each.
    pub by_hand: Vec<String>,
}

impl Manifest {
    pub fn artifact(&self, name: &str) -> Option<&Artifact> {
        self.artifacts.iter().find(|artifact| artifact.name == name)
    }

    /// Bytes in the store, all artifacts together.
    pub fn stored_size(&self) -> u64 {
        self.artifacts.iter().map(Artifact::stored_size).sum()
    }

    /// Bytes before compression and encryption, all artifacts together.
    pub fn plain_size(&self) -> u64 {
        self.artifacts.iter().map(|artifact| artifact.plain.size).sum()
    }
}

/// What took the backup, by version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolFacts {
    pub drctl: String,
    /// The program whose output is stored, e.g. `pg_dump (PostgreSQL) 15.18`.
    pub producer: String,
}

/// What was backed up, by version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerFacts {
    pub version: String,
    pub major: u32,
    /// `pg_control_system()`; absent where the role may not read it.
    pub system_identifier: Option<String>,
}

/// Who can read the artifacts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "mode")]
pub enum Protection {
    Age { recipients: Vec<RecipientPrint> },
    None,
}

/// An age recipient, in clear: it is a public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientPrint {
    pub recipient: String,
    /// The policy's name for the holder: `operational`, `escrow`, …
    pub holder: Option<String>,
}

/// What was done to the plain bytes, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    Zstd,
    Age,
}

/// One file of a backup: one stored object, or several that follow one another when it outgrows what a
/// store allows in one upload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// The first object's name under the backup's folder, e.g. `database.dump.zst.age`.
    pub name: String,
    /// Of the bytes the producer wrote.
    pub plain: Digest,
    pub encoding: Vec<Encoding>,
    /// Concatenated in order they are the encoded artifact.
    pub objects: Vec<ObjectPart>,
}

impl Artifact {
    pub fn stored_size(&self) -> u64 {
        self.objects.iter().map(|object| object.stored.size).sum()
    }
}

/// One object of an artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectPart {
    /// Under the backup's folder: the artifact's name, then `name.001`, `name.002`, …
    pub name: String,
    pub stored: Digest,
}
