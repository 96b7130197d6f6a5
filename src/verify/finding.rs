use crate::model::{BackupId, BrokenChain, CopyCheck, RepositoryName};

/// The finding on one copy.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyFinding {
    pub backup: BackupId,
    pub repository: RepositoryName,
    pub verdict: CopyVerdict,
    /// A parent backup is missing: it cannot be restored from this copy.
    pub broken: Option<BrokenChain>,
    /// Identities were given and none opens it: its stored bytes were compared nevertheless.
    pub not_opened: bool,
}

impl VerifyFinding {
    pub fn is_good(&self) -> bool {
        self.verdict.is_good() && self.broken.is_none()
    }

    pub fn is_bad(&self) -> bool {
        self.verdict.is_bad() || self.broken.is_some()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum CopyVerdict {
    Checked(CopyCheck),
    /// Its manifest exists and is rejected, so nothing can be restored from this copy, whatever its objects
    /// are.
    Unaccepted {
        reason: String,
    },
    /// It is missing, and was not removed on purpose.
    Missing {
        reason: String,
    },
    /// It could not be read completely, for reasons other than its own bytes.
    Undetermined {
        reasons: Vec<String>,
    },
}

impl CopyVerdict {
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Checked(check) if check.is_good())
    }

    pub fn is_bad(&self) -> bool {
        match self {
            Self::Checked(check) => !check.is_good(),
            Self::Unaccepted { .. } => true,
            Self::Undetermined { .. } | Self::Missing { .. } => false,
        }
    }
}
