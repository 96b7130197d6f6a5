use std::fmt;
use std::path::PathBuf;

use crate::model::{SystemIdentifier, Timeline};

/// Why a copy could not be taken, or would be of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BasePreflight {
    /// The role has neither REPLICATION nor SUPERUSER.
    NoReplication {
        role: String,
    },
    /// The server rejects replication connections of the role; its message.
    ReplicationRefused {
        role: String,
        words: String,
    },
    /// The role may not call `pg_backup_start` and `pg_backup_stop`.
    MayNotStart {
        role: String,
        function: &'static str,
    },
    /// The server of `base.url` is not a standby of the source's own server any more: both write.
    Promoted {
        server: String,
        own: Timeline,
        other: Timeline,
    },
    MinimalLog,
    /// The policy does not archive WAL.
    NoLogMethod,
    ArchivingOff,
    NoArchiveCommand,
    /// There is no `pg_basebackup` of the server's major; as text.
    NoProgram(String),
    /// A single stream to standard output holds one archive only.
    Tablespaces(Vec<String>),
    /// Not readable by this user, or missing.
    Unreadable {
        path: PathBuf,
        words: String,
    },
    /// The data directory of another cluster.
    OtherCluster {
        path: PathBuf,
        found: SystemIdentifier,
        server: String,
    },
    /// The data directory of another server of the same cluster, or of none that is running.
    OtherServer {
        path: PathBuf,
    },
}

impl fmt::Display for BasePreflight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoReplication { role } => {
                write!(f, "role `{role}` may not replicate: ALTER ROLE {role} REPLICATION")
            }
            Self::ReplicationRefused { role, words } => write!(
                f,
                "the server lets `{role}` not in for replication (pg_hba.conf needs a line for database `replication`): {words}"
            ),
            Self::MayNotStart { role, function } => {
                write!(f, "role `{role}` may not call {function}: grant it EXECUTE on that and on its end")
            }
            Self::Promoted { server, own, other } => write!(
                f,
                "`{server}` was promoted: it writes timeline {own}, and the server of the source's `url` writes timeline {other}. Recreate it as a standby, or, if it has taken over, name it as `url`"
            ),
            Self::MinimalLog => {
                f.write_str("`wal_level` is `minimal`: set it to `replica` and restart the server")
            }
            Self::NoLogMethod => f.write_str(
                "the policy does not archive WAL, without which no base backup can be restored: add `\"wal\"` to `methods`",
            ),
            Self::ArchivingOff => {
                f.write_str("`archive_mode` is off: set it to `on`, with an `archive_command`, and restart the server")
            }
            Self::NoArchiveCommand => {
                f.write_str("`archive_command` is empty: set it to `drctl wal push %p`, and reload the server")
            }
            Self::NoProgram(words) => f.write_str(words),
            Self::Tablespaces(places) => write!(
                f,
                "it has tablespaces ({}), which one stream cannot hold: use `method = \"data-directory\"` on the server's host",
                places.join(", ")
            ),
            Self::Unreadable { path, words } => write!(f, "`{}` cannot be read: {words}", path.display()),
            Self::OtherCluster { path, found, server } => write!(
                f,
                "`{}` is the data directory of cluster {found}, and the server is of {server}",
                path.display()
            ),
            Self::OtherServer { path } => {
                write!(f, "`{}` is not the data directory that this server runs in", path.display())
            }
        }
    }
}
