use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    BackupId, BackupKind, Checkpoint, CloudBackup, Digest, Lsn, PointFacts, RunId, SegmentSize, SourceName,
    SystemIdentifier, SystemName, Timeline,
};

/// How far a backup has been shown to be good. Each level includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssuranceLevel {
    /// Committed: its manifest exists.
    Stored,
    /// Every byte was read again, and its digests match.
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
/// The bytes are the same in every repository that holds the backup, and contain nothing secret: names of
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
    /// The time of the backed-up data: of a dump, its snapshot, not its end.
    pub recovery_point: DateTime<Utc>,
    pub begun: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    pub host: String,
    pub tool: ToolFacts,
    pub server: Option<ServerFacts>,
    /// What a restore of a base backup needs besides its files; only for base backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical: Option<Physical>,
    /// The backup that this incremental one is based on, and cannot be restored without; that of a base backup is in
    /// `physical`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<BackupId>,
    /// Its place in a recovery point of several sources; absent where it was taken alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<PointFacts>,
    /// Where an AWS-managed backup is; only for those kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<CloudBackup>,
    pub protection: Protection,
    pub artifacts: Vec<Artifact>,
    /// The exact commands that restore it with standard tools, one per line.
    pub by_hand: Vec<String>,
}

impl Manifest {
    /// Returns the system identifier of the cluster; `None` if it was not recorded.
    pub fn cluster(&self) -> Option<SystemIdentifier> {
        self.server.as_ref()?.system_identifier.as_ref()?.parse().ok()
    }

    /// Returns whether it is a base backup of damaged data: with pages whose checksums did not match when they were
    /// copied, or without files that the server had lost.
    pub fn is_damaged(&self) -> bool {
        self.physical
            .as_ref()
            .is_some_and(|physical| !physical.damaged.is_empty() || !physical.missing_files.is_empty())
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

    /// Returns the stored size of all artifacts, in bytes.
    pub fn stored_size(&self) -> u64 {
        self.artifacts.iter().map(Artifact::stored_size).sum()
    }

    /// Returns the size of all artifacts before compression and encryption, in bytes.
    pub fn plain_size(&self) -> u64 {
        self.artifacts.iter().map(|artifact| artifact.plain.size).sum()
    }
}

/// The versions of the tools that took the backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolFacts {
    pub drctl: String,
    /// The program whose output is stored, e.g. `pg_dump (PostgreSQL) 15.18`.
    pub producer: String,
}

/// The version and identity of the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerFacts {
    pub version: String,
    pub major: u32,
    /// `pg_control_system()`; absent if the role may not read it.
    pub system_identifier: Option<String>,
    /// The server's address: `host:port`, and the database of a dump; absent in older manifests and for
    /// AWS-managed backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The system identifier of the cluster of the backup before, where this one was accepted in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
}

/// A base backup of a cluster. The server wrote to its files while they were read: they form a database only
/// together with the WAL from `start` to `stop`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Physical {
    pub timeline: Timeline,
    /// Recovery begins here.
    pub start: Lsn,
    /// Where the backup becomes consistent: no earlier recovery target can be reached.
    pub stop: Lsn,
    pub segment_size: SegmentSize,
    /// No transaction with this ID or a later one had begun when the backup was complete (with the epoch, as
    /// in `pg_current_snapshot()`).
    pub next_transaction: u64,
    /// Transactions before `next_transaction` that were still open when the backup was complete, and so ended
    /// after it. Absent if unknown, as on a standby.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_transactions: Option<Vec<u64>>,
    /// A checkpoint between `start` and `stop`: only WAL that has it is of the server that was copied. Absent if
    /// it could not be queried, and in older manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// Whether the cluster has page checksums, so that damage could be found.
    pub page_checksums: bool,
    /// Pages whose checksums did not match when they were copied. The cluster itself is damaged there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<DamagedPage>,
    /// Files of tables, indexes and sequences that the cluster's catalog names and that were not there to be copied, from
    /// the data directory on. The cluster itself is damaged there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_files: Vec<String>,
    /// Besides `base.tar`, an artifact `<oid>.tar` each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tablespaces: Vec<Tablespace>,
    /// What is in the data directory, or linked from it, and not in the backup. None of it is PostgreSQL's
    /// own data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Excluded>,
    /// The backup that this incremental one is based on. It cannot be restored without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<BackupId>,
    /// Digest of PostgreSQL's backup manifest, by which a host that cannot decrypt this backup recognises its
    /// cached copy: the next backup may be incremental to this one. Absent if none was cached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_manifest: Option<Digest>,
}

#[cfg(test)]
impl Physical {
    /// Builds the facts of a full backup.
    pub(crate) fn sample(timeline: u32, start: Lsn, stop: Lsn) -> Self {
        Self {
            timeline: Timeline::new(timeline).unwrap(),
            start,
            stop,
            segment_size: SegmentSize::DEFAULT,
            next_transaction: 800,
            open_transactions: None,
            checkpoint: None,
            page_checksums: true,
            damaged: vec![],
            missing_files: vec![],
            tablespaces: vec![],
            left_out: vec![],
            parent: None,
            backup_manifest: None,
        }
    }
}

/// A damaged page of a file below the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedPage {
    pub file: String,
    /// `None`: the file has damaged pages that were not reported individually.
    pub block: Option<u32>,
}

/// Something that a backup does not contain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// Relative to the data directory, or the full path if it is outside.
    pub path: String,
    /// What it is, or why it could not be copied, as text.
    pub why: String,
}

impl std::fmt::Display for Excluded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`, {}", self.path, self.why)
    }
}

/// A tablespace outside the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tablespace {
    pub oid: u32,
    /// Its original location. A restore never writes there.
    pub location: String,
}

/// Who can decrypt the artifacts.
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

/// An encoding step; they are listed in the order they were applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    Zstd,
    Age,
}

/// One file of a backup: one stored object, or several consecutive ones if it exceeds the limit of a store
/// for one upload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// The name of the first object in the backup's folder, e.g. `database.dump.zst.age`.
    pub name: String,
    /// Digest of the bytes from the producer.
    pub plain: Digest,
    pub encoding: Vec<Encoding>,
    /// The parts of the encoded artifact, to be concatenated in order.
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
    /// In the backup's folder: the artifact's name, then `name.001`, `name.002`, …
    pub name: String,
    pub stored: Digest,
}
