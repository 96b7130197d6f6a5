use crate::model::{BackupId, BrokenChain, CopyCheck, RepositoryName};

/// What was found about one copy.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyFinding {
    pub backup: BackupId,
    pub repository: RepositoryName,
    pub verdict: CopyVerdict,
    /// A backup that it builds on is not there: it cannot be restored from this copy.
    pub broken: Option<BrokenChain>,
    /// Identities were given and none opens it: its stored bytes were compared all the same.
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
    /// A manifest stands there and is not one that can be accepted, so nothing can be restored from this
    /// copy, whatever its objects are.
    Unaccepted {
        reason: String,
    },
    /// It is not there, and was not removed on purpose.
    Missing {
        reason: String,
    },
    /// It could not be read to its end, for reasons that are not its own.
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
