use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    BackupId, BackupKind, CloudBackup, Digest, Lsn, RunId, SegmentSize, SourceName, SystemIdentifier,
    SystemName, Timeline,
};

/// How far a backup has been shown to be good. Each includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssuranceLevel {
    /// Committed: its manifest stands.
    Stored,
    /// Every byte was read again and its digests match.
    Checked,
    /// A drill restored it and its checks passed.
    Proven,
}

impl AssuranceLevel {
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
    /// What a restore of a base backup needs besides its files; only of that kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical: Option<Physical>,
    /// Of a backup that AWS keeps: where it is; only of those kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<CloudBackup>,
    pub protection: Protection,
    pub artifacts: Vec<Artifact>,
    /// The exact commands that restore it with standard tools, a line each.
    pub by_hand: Vec<String>,
}

impl Manifest {
    /// The cluster that was copied; `None` where it is not said.
    pub fn cluster(&self) -> Option<SystemIdentifier> {
        self.server.as_ref()?.system_identifier.as_ref()?.parse().ok()
    }

    /// Whether it is a base backup with pages whose checksums did not fit when they were copied.
    pub fn has_damaged_pages(&self) -> bool {
        self.physical.as_ref().is_some_and(|physical| !physical.damaged.is_empty())
    }

    /// An artifact by the name it has without the endings of its encoding.
    pub fn artifact_of(&self, name: &str) -> Option<&Artifact> {
        let endings = ["", ".zst", ".zst.age", ".age"];
        let is_it = |rest: &str| endings.contains(&rest);
        self.artifacts.iter().find(|artifact| artifact.name.strip_prefix(name).is_some_and(is_it))
    }

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
    /// Where it was read: `host:port`, and the database of a dump; absent in older manifests, and of what AWS
    /// keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// A physical copy of a cluster. Its files were read while the server wrote them: they are a database only
/// together with the log from `start` to `stop`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Physical {
    pub timeline: Timeline,
    /// Recovery begins here.
    pub start: Lsn,
    /// Where the copy becomes consistent: a recovery target before it cannot be reached.
    pub stop: Lsn,
    pub segment_size: SegmentSize,
    /// No transaction with this number or a later one had begun when the copy was complete (with the epoch,
    /// as `pg_current_snapshot()` gives it).
    pub next_transaction: u64,
    /// Those before `next_transaction` that were still open when the copy was complete, so that they ended after
    /// it. Absent where that is not known, as of a standby.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_transactions: Option<Vec<u64>>,
    /// Whether the cluster's pages have checksums, so that damage could be found.
    pub page_checksums: bool,
    /// Pages whose checksums did not fit when they were copied. The cluster itself is damaged there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<DamagedPage>,
    /// Besides `base.tar`, an artifact `<oid>.tar` each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tablespaces: Vec<Tablespace>,
    /// What the data directory has, or leads to, and the copy does not hold. Nothing of PostgreSQL's own data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Excluded>,
    /// The backup that this one holds the changes since. It cannot be restored without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<BackupId>,
    /// Of PostgreSQL's own list of the files, by which a host that cannot open this backup knows the copy
    /// it kept: the next one may hold the changes since this one. Absent where none was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_manifest: Option<Digest>,
}

#[cfg(test)]
impl Physical {
    /// One that is whole by itself.
    pub(crate) fn sample(timeline: u32, start: Lsn, stop: Lsn) -> Self {
        Self {
            timeline: Timeline::new(timeline).unwrap(),
            start,
            stop,
            segment_size: SegmentSize::DEFAULT,
            next_transaction: 800,
            open_transactions: None,
            page_checksums: true,
            damaged: vec![],
            tablespaces: vec![],
            left_out: vec![],
            parent: None,
            backup_manifest: None,
        }
    }
}

/// A page of a file under the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedPage {
    pub file: String,
    /// `None`: the file has damaged pages that were not named one by one.
    pub block: Option<u32>,
}

/// Something that a copy does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// From the data directory on; of what is elsewhere, the whole path.
    pub path: String,
    /// What it is, or what was in the way, in words.
    pub why: String,
}

impl std::fmt::Display for Excluded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`, {}", self.path, self.why)
    }
}

/// A tablespace that is not under the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tablespace {
    pub oid: u32,
    /// Where it was. A restore never writes there.
    pub location: String,
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
