use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use super::{DirectoryOwner, RecoveryTarget};
use crate::model::{BackupId, RepositoryName, SourceName, Timeline};
use crate::policy::PostgresSource;

/// What to restore, and where.
#[derive(Clone, Debug)]
pub struct PhysicalRestoreRequest {
    pub source: SourceName,
    pub target: RecoveryTarget,
    /// Stop just before the target instead of just after it.
    pub exclusive: bool,
    /// `None`: the newest.
    pub timeline: Option<Timeline>,
    pub backup: BaseBackupSelector,
    /// Copies of backups that were found damaged, by repository: they are used last.
    pub doubtful: BTreeSet<(BackupId, RepositoryName)>,
    /// Read from this repository only.
    pub from: Option<RepositoryName>,
    /// The data directory to create. Absolute.
    pub to: PathBuf,
    pub tablespaces: Vec<TablespaceMapping>,
    /// Where `pg_wal` goes, with a link in the data directory. `None`: into the data directory itself.
    pub wal_directory: Option<PathBuf>,
    /// Repositories that are directories of this host, which must not be restored into.
    pub repositories: Vec<(RepositoryName, PathBuf)>,
    pub start: Option<Start>,
    /// The owner of the files; only root can set it.
    pub owner: Option<DirectoryOwner>,
    /// Change the existing data directory into the backup.
    pub delta: bool,
    /// The libraries that the server loads at start, in the syntax of `shared_preload_libraries`. `None`:
    /// those of the backed-up server, without those whose workers run its jobs.
    pub preload: Option<String>,
    /// Remove the leftovers of a killed restore from the directory.
    pub drop_leftovers: bool,
    pub command: RestoreCommand,
    /// Where to look for the server's programs first.
    pub tools: Option<PathBuf>,
    /// How the policy logs in to the source's own server: the checks log in to the restored one in the same
    /// way.
    pub login: Option<Box<PostgresSource>>,
}

/// Which base backup to start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseBackupSelector {
    /// The last one before the target that leads there.
    Fitting,
    /// The only one whose id has this prefix.
    Prefix(String),
}

/// Where a tablespace goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablespaceMapping {
    /// Its OID, or its original path.
    pub which: String,
    pub directory: PathBuf,
}

/// How the restored server is started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// `None`: a free one.
    pub port: Option<u16>,
    /// `None`: it listens on this host.
    pub confined: Option<ConfinedStart>,
}

/// How a server is started that reaches nothing, and is reached only by a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfinedStart {
    /// A program with its arguments that runs what follows without a network; empty: there is none on this host.
    pub launcher: Vec<OsString>,
    /// Where its socket is. Short enough for one.
    pub socket_directory: PathBuf,
    /// Replaces the `pg_hba.conf` of the backup.
    pub hba_file: PathBuf,
    /// Settings that count over those of the backup.
    pub settings: Vec<(&'static str, String)>,
}

/// What the restored server runs to fetch its WAL. All paths are absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreCommand {
    pub drctl: PathBuf,
    pub policy: PathBuf,
    pub identities: Vec<PathBuf>,
    /// Variables that its environment must have.
    pub environment: Vec<String>,
    /// The socket of a relay that hands over the WAL to a server without a network; the policy and the identities are
    /// not used then.
    pub relay: Option<PathBuf>,
}
