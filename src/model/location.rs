use std::fmt;

use serde::Serialize;

use super::RepositoryName;

/// A unit of loss that can be restored from: a repository of the policy, or a region with AWS-managed
/// backups.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Location {
    Repository(RepositoryName),
    Region(String),
}

impl Location {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Repository(name) => name.as_str(),
            Self::Region(name) => name,
        }
    }

    pub fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Repository(name) => Some(name),
            Self::Region(_) => None,
        }
    }

    pub fn is_region(&self) -> bool {
        matches!(self, Self::Region(_))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
