use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::model::{BackupId, BackupKind, RepositoryName, SourceName};
use crate::policy::SourceConfig;

/// A restore of one source's content.
#[derive(Clone, Debug)]
pub struct ContentRestoreRequest {
    pub source: SourceName,
    pub kind: BackupKind,
    /// The policy's settings of the source; absent where the policy no longer has it.
    pub config: Option<SourceConfig>,
    pub backup: ContentSelector,
    /// Only this repository is read.
    pub from: Option<RepositoryName>,
    pub target: ContentTarget,
    /// Copies that the last check found bad: they are read last.
    pub doubtful: std::collections::BTreeSet<(BackupId, RepositoryName)>,
}

/// Which backup is restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentSelector {
    Latest,
    /// The beginning of its id.
    Prefix(String),
    /// The last one whose data is of this time or earlier.
    Before(DateTime<Utc>),
}

/// Where to, and how much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentTarget {
    /// `--to` as given: a path, or a URL.
    pub to: String,
    /// Files and directories to restore, by their path in the backup; empty: all.
    pub paths: Vec<PathBuf>,
    /// The target exists: what differs from the backup is made the same, and what the backup does not have is removed.
    pub delta: bool,
    /// Whether files keep the owners that they had.
    pub owners: bool,
    /// The password of a target that is a server's URL.
    pub password: Option<crate::platform::SecretRef>,
}
