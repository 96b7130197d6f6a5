use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{BackupId, RepositoryName};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Succeeded,
    /// It succeeded, but not everywhere it should have.
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

/// The verification of one backup in one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyCheck {
    pub backup: BackupId,
    pub repository: RepositoryName,
    /// When it was done, by the clock of the verifying host.
    pub at: DateTime<Utc>,
    /// `stored`: the stored bytes were compared. `plain`: they were also decrypted and decompressed.
    pub depth: CheckDepth,
    /// The faults found, one per object; empty if it passed.
    pub faults: Vec<ObjectFault>,
}

impl CopyCheck {
    pub fn is_good(&self) -> bool {
        self.faults.is_empty()
    }

    /// Returns whether it found objects that do not decrypt or decompress.
    pub fn is_undecodable(&self) -> bool {
        self.faults.iter().any(|fault| fault.fault == CopyFault::Undecodable)
    }

    /// Returns whether a later check of the same copy tells nothing of what this one found: matching stored bytes
    /// still do not decode.
    pub fn outlasts(&self, later: &Self) -> bool {
        self.is_undecodable() && later.is_good() && later.depth == CheckDepth::Stored
    }
}

/// Returns the check of each copy that counts, whichever host ran it.
pub fn latest_checks(checks: impl IntoIterator<Item = CopyCheck>) -> Vec<CopyCheck> {
    let mut checks: Vec<CopyCheck> = checks.into_iter().collect();
    checks.sort_by_key(|check| check.at);
    let mut latest: BTreeMap<(BackupId, RepositoryName), CopyCheck> = BTreeMap::new();
    for check in checks {
        let copy = (check.backup.clone(), check.repository.clone());
        if latest.get(&copy).is_none_or(|known| !known.outlasts(&check)) {
            latest.insert(copy, check);
        }
    }
    latest.into_values().collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckDepth {
    Stored,
    Plain,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectFault {
    /// The object's name in the backup's folder.
    pub object: String,
    pub fault: CopyFault,
    /// Details for the user.
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
    /// The same number of bytes, but different ones.
    Altered,
    /// The stored bytes match, but do not decrypt or decompress to what was backed up.
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
