//! PostgreSQL servers: their login, and the backups taken of them.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::aws_location::AwsLocation;
use super::macros::words;
use crate::model::RepositoryName;
use crate::platform::SecretRef;

/// The source of a login's password.
#[derive(Clone, Debug)]
pub enum PasswordSource {
    Secret(SecretRef),
    /// A token that the credentials of this location sign for each connection. The URL is then given
    /// directly, names its role, and requires a verified server.
    IamToken(Box<AwsLocation>),
}

#[derive(Clone, Debug)]
pub struct PostgresSource {
    /// `postgres://user@host:port/database?sslmode=…`, never with a password in it, unless the URL was given
    /// by reference (see `url_ref`).
    pub url: Option<Url>,
    /// The whole URL by reference, e.g. `env:DATABASE_URL`. Exactly one of the two is set.
    pub url_ref: Option<SecretRef>,
    /// `None` leaves it to libpq.
    pub password: Option<PasswordSource>,
    /// Directory to search for `pg_dump` and the other tools before the usual ones.
    pub tools: Option<PathBuf>,
    /// Set if dumps are taken.
    pub logical: Option<LogicalDump>,
    /// Set if base backups of the cluster are taken.
    pub base: Option<BaseBackup>,
    /// Set if the WAL is archived.
    pub wal: Option<WalArchiving>,
}

/// Base backups of the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseBackup {
    pub method: BaseMethod,
    /// The server to copy if it is not the source's own, e.g. a standby. Exactly one of the two is set then.
    pub url: Option<Url>,
    pub url_ref: Option<SecretRef>,
    /// Maximum number of incremental backups after a full one.
    pub incrementals: u32,
    /// How long a stored backup waits for its WAL.
    pub wal_wait: Duration,
}

/// How the files of a base backup are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseMethod {
    /// Over a replication connection.
    Replication,
    /// From the data directory, on the server's own host.
    DataDirectory { path: PathBuf },
}

/// How WAL is archived and fetched back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalArchiving {
    pub method: WalMethod,
    /// Concurrent transfers.
    pub parallel: usize,
    /// Maximum number of segments to prefetch for a recovering server.
    pub prefetch: usize,
    /// Repositories that need not confirm a file for it to count as archived.
    pub optional_repositories: Vec<RepositoryName>,
}

/// How WAL reaches the repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalMethod {
    /// The server's `archive_command`.
    Archive,
    /// A connection that follows the server: `drctl wal stream`.
    Stream { slot: String },
}

#[derive(Clone, Debug)]
pub struct LogicalDump {
    pub row_counts: RowCounts,
    /// Whether roles and tablespaces are dumped with the database (`pg_dumpall --globals-only`).
    pub globals: bool,
    /// The lock timeout of a dump.
    pub lock_wait: Duration,
}

words! {
    /// Whether rows are counted.
    pub RowCounts {
        /// `count(*)` of each table, in the dump's snapshot.
        "exact" => Exact,
        /// A restore then compares tables, sequences and extensions, but no counts.
        "none" => None,
    }
}
