//! Sources beside databases of PostgreSQL: what else an application is made of.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::credentials::Credentials;
use crate::platform::SecretRef;

/// Files and directories.
#[derive(Clone, Debug)]
pub struct FilesSource {
    /// Absolute, unless the policy file's own path is relative.
    pub paths: Vec<PathBuf>,
    /// Globs of what is backed up; empty: everything below `paths`.
    pub include: Vec<String>,
    /// Globs of what is left out; stronger than `include`.
    pub exclude: Vec<String>,
    /// Whether mount points below `paths` are left out.
    pub one_file_system: bool,
    /// The most incremental backups that may follow a full one.
    pub incrementals: u32,
}

/// A SQLite database.
#[derive(Clone, Debug)]
pub struct SqliteSource {
    pub path: PathBuf,
    /// How long a backup waits for a lock.
    pub lock_wait: Duration,
}

/// A directory of ChromaDB: a SQLite database, and its vector indexes beside it.
#[derive(Clone, Debug)]
pub struct ChromaSource {
    pub path: PathBuf,
    /// How long a backup waits for a lock of the SQLite database.
    pub lock_wait: Duration,
    /// How often a copy is made again because the indexes were written to meanwhile.
    pub attempts: u32,
}

/// A Redis server.
#[derive(Clone, Debug)]
pub struct RedisSource {
    /// `redis://`, `rediss://` or `unix://`, without a password, unless the URL was given by reference.
    pub url: Option<Url>,
    /// The whole URL by reference. Exactly one of the two is set.
    pub url_ref: Option<SecretRef>,
    pub password: Option<SecretRef>,
    /// The name of the master that the URL's Sentinel is asked for; `None`: the URL is the server's own.
    pub sentinel_master: Option<String>,
    /// The certificate authority of a server with TLS; `None`: the host's.
    pub ca_certificate: Option<PathBuf>,
    /// How long the transfer may take.
    pub deadline: Duration,
}

/// A Git repository.
#[derive(Clone, Debug)]
pub struct GitSource {
    /// What `git clone` takes, without a password.
    pub remote: String,
    /// For `https`.
    pub token: Option<SecretRef>,
    /// The private key for `ssh`.
    pub ssh_key: Option<SecretRef>,
    /// The most incremental bundles that may follow a full one.
    pub incrementals: u32,
    /// How long the transfer may take.
    pub deadline: Duration,
}

/// The objects of a bucket.
#[derive(Clone, Debug)]
pub struct BucketSource {
    pub bucket: String,
    /// Without slashes at its ends; empty: the whole bucket.
    pub prefix: String,
    pub region: String,
    /// Set for anything but AWS.
    pub endpoint: Option<Url>,
    pub path_style: bool,
    pub credentials: Credentials,
    /// Globs of keys that are left out.
    pub exclude: Vec<String>,
    /// The most incremental backups that may follow a full one.
    pub incrementals: u32,
}

/// What a command writes.
#[derive(Clone, Debug)]
pub struct CommandSource {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The program that reads the output back on its standard input, and its arguments; empty: none.
    pub restore_command: Vec<String>,
    /// The name of the artifact, without the endings of its encoding.
    pub file_name: String,
    /// The environment of both commands.
    pub environment: Vec<(String, SecretRef)>,
    /// How long either may run.
    pub deadline: Duration,
}
