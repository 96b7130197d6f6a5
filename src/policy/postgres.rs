//! PostgreSQL servers: how to log in, and what is taken of them.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::aws_location::AwsLocation;
use super::macros::words;
use crate::model::RepositoryName;
use crate::platform::SecretRef;

/// What a login proves itself with.
#[derive(Clone, Debug)]
pub enum PasswordSource {
    Secret(SecretRef),
    /// A token that the credentials of this place sign for each connection. The URL is then not by reference,
    /// names its role, and asks for a server that is verified.
    IamToken(Box<AwsLocation>),
}

#[derive(Clone, Debug)]
pub struct PostgresSource {
    /// `postgres://user@host:port/database?sslmode=…`, never with a password in it, unless it came by
    /// reference (see `url_ref`).
    pub url: Option<Url>,
    /// The whole URL by reference, e.g. `env:DATABASE_URL`. Just one of the two is set.
    pub url_ref: Option<SecretRef>,
    /// `None` leaves it to what libpq finds.
    pub password: Option<PasswordSource>,
    /// Where to look for `pg_dump` and its kin before the usual places.
    pub tools: Option<PathBuf>,
    /// Set when dumps are taken of it.
    pub logical: Option<LogicalDump>,
    /// Set when physical copies of its cluster are taken.
    pub base: Option<BaseBackup>,
    /// Set when its WAL is archived.
    pub wal: Option<WalArchiving>,
}

/// A physical copy of the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseBackup {
    pub method: BaseMethod,
    /// The server that is copied where it is not the source's own, e.g. a standby. Just one of the two is
    /// set then.
    pub url: Option<Url>,
    pub url_ref: Option<SecretRef>,
    /// Incremental backups after a full one, at most.
    pub incrementals: u32,
    /// How long a stored backup waits for its WAL.
    pub wal_wait: Duration,
}

/// Where a physical copy is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseMethod {
    /// A replication connection.
    Replication,
    /// The files, on the server's own host.
    DataDirectory { path: PathBuf },
}

/// How WAL is archived and fetched back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalArchiving {
    pub method: WalMethod,
    /// Files on their way at a time.
    pub parallel: usize,
    /// Segments fetched ahead of a server that recovers, at most.
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
    /// Roles and tablespaces beside the database (`pg_dumpall --globals-only`).
    pub globals: bool,
    /// How long a dump waits for a lock before it fails.
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
