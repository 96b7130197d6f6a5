use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{DirectoryOwner, RecoveryTarget};
use crate::model::{BackupId, RepositoryName, SourceName, Timeline};
use crate::policy::PostgresSource;

/// What someone wants back, and where to.
#[derive(Clone, Debug)]
pub struct PhysicalRestoreRequest {
    pub source: SourceName,
    pub target: RecoveryTarget,
    /// Stop just before the target instead of just after it.
    pub exclusive: bool,
    /// `None`: the newest there is.
    pub timeline: Option<Timeline>,
    pub backup: BaseBackupSelector,
    /// Backups that were found bad, and where: they are the last to be used.
    pub doubtful: BTreeSet<(BackupId, RepositoryName)>,
    /// Read from this repository only.
    pub from: Option<RepositoryName>,
    /// The data directory that is to be. Absolute.
    pub to: PathBuf,
    pub tablespaces: Vec<TablespaceMapping>,
    /// Where `pg_wal` goes, with a link to it in the data directory. `None`: into that itself.
    pub wal_directory: Option<PathBuf>,
    /// Repositories that are directories of this host, which nothing may be restored into.
    pub repositories: Vec<(RepositoryName, PathBuf)>,
    pub start: Option<Start>,
    /// Who the files are to belong to; only root can say so.
    pub owner: Option<DirectoryOwner>,
    /// Change the data directory that stands there into what was backed up.
    pub delta: bool,
    /// The libraries that the server loads when it starts, as `shared_preload_libraries` names them. `None`: as the one
    /// that was backed up, without those whose workers run its jobs.
    pub preload: Option<String>,
    /// Remove what a restore that was killed has left in the directory.
    pub drop_leftovers: bool,
    pub command: RestoreCommand,
    /// Where to look for the server's programs first.
    pub tools: Option<PathBuf>,
    /// How the policy logs in to the source's own server: the checks log in so to the restored one.
    pub login: Option<Box<PostgresSource>>,
}

/// Which base backup to begin from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseBackupSelector {
    /// The last one before the target that leads there.
    Fitting,
    /// The only one whose id begins so.
    Prefix(String),
}

/// Where a tablespace goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablespaceMapping {
    /// Its number, or where it was.
    pub which: String,
    pub directory: PathBuf,
}

/// How the restored server is started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// `None`: one that is free.
    pub port: Option<u16>,
}

/// What the restored server runs to get its log. All paths are absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreCommand {
    pub drctl: PathBuf,
    pub policy: PathBuf,
    pub identities: Vec<PathBuf>,
    /// Variables that must be in its environment.
    pub environment: Vec<String>,
}
