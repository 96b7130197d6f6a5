use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{BackupId, RepositoryName};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Succeeded,
    /// It did its work, but not everywhere it should have.
    Degraded,
    Failed,
    Interrupted,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// One backup in one repository, read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyCheck {
    pub backup: BackupId,
    pub repository: RepositoryName,
    /// When it was done, by the clock of the host that did it.
    pub at: DateTime<Utc>,
    /// `stored`: the stored bytes were compared. `plain`: they were decrypted and unpacked, too.
    pub depth: CheckDepth,
    /// What was found wrong, an object each; none is a pass.
    pub faults: Vec<ObjectFault>,
}

impl CopyCheck {
    pub fn is_good(&self) -> bool {
        self.faults.is_empty()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckDepth {
    Stored,
    Plain,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectFault {
    /// The object's name under the backup's folder.
    pub object: String,
    pub fault: CopyFault,
    /// What a person wants to know beside it.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CopyFault {
    Missing,
    /// Fewer bytes than were stored.
    Short,
    /// More bytes than were stored.
    Long,
    /// As many bytes, but not the same.
    Altered,
    /// The stored bytes are those recorded, but they do not decrypt or unpack to what was backed up.
    Undecodable,
}

impl CopyFault {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Short => "short",
            Self::Long => "long",
            Self::Altered => "altered",
            Self::Undecodable => "undecodable",
        }
    }
}
