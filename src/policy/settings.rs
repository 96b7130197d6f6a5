use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::automation::{Drill, Notify, Schedule};
use super::aws::{AwsBackupSource, AwsLocation, RdsSource};
use super::fault::TextPosition;
use super::macros::words;
use super::prices::Prices;
use super::retention::Retention;
use crate::model::{BackupKind, RepositoryName, SourceName, SystemName};
use crate::platform::SecretRef;

/// A validated policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The file it was read from.
    pub path: PathBuf,
    pub system: SystemName,
    pub description: Option<String>,
    pub owner: Option<String>,
    pub objectives: Objectives,
    /// The primary first, then the copies in the order of the file. Never empty.
    pub repositories: Vec<RepositoryConfig>,
    pub encryption: Encryption,
    pub compression: Compression,
    pub transfer: Transfer,
    /// Catalog URL: `sqlite:/path/file.db` or `postgres://…`; `None` is SQLite in the state directory.
    pub catalog: Option<String>,
    pub catalog_password: Option<SecretRef>,
    /// In the order of the file. Never empty.
    pub sources: Vec<Source>,
    /// `None`: nothing is ever deleted.
    pub retention: Option<Retention>,
    /// Acted on by a later version.
    pub schedule: Schedule,
    /// Acted on by a later version.
    pub drill: Option<Drill>,
    pub prices: Option<Prices>,
    /// Acted on by a later version.
    pub notify: Notify,
    /// The sections that are there and that nothing acts on, and where they stand: see [`super::dormant()`].
    pub dormant: Vec<(&'static str, TextPosition)>,
}

impl Policy {
    pub fn repository(&self, name: &RepositoryName) -> Option<&RepositoryConfig> {
        self.repositories.iter().find(|repository| repository.name == *name)
    }

    pub fn source(&self, name: &SourceName) -> Option<&Source> {
        self.sources.iter().find(|source| source.name == *name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objectives {
    /// From the disaster to a usable application.
    pub rto: Duration,
    /// How much of the newest data may be lost, as time.
    pub rpo: Duration,
}

/// One place backups are kept.
#[derive(Clone, Debug)]
pub struct RepositoryConfig {
    /// `primary`, or the name of the copy.
    pub name: RepositoryName,
    pub place: RepositoryLocation,
    /// Of a directory: it must be a mount point, and is not there where nothing is mounted.
    pub mount: bool,
}

#[derive(Clone, Debug)]
pub enum RepositoryLocation {
    Directory(PathBuf),
    S3(Box<S3Location>),
}

/// A bucket, a prefix and how to speak to them.
#[derive(Clone, Debug)]
pub struct S3Location {
    pub bucket: String,
    /// Without leading or trailing `/`; may be empty.
    pub prefix: String,
    pub region: String,
    /// Set for anything that is not AWS.
    pub endpoint: Option<Url>,
    pub path_style: bool,
    pub credentials: Credentials,
    pub checksum: Checksum,
    /// e.g. `STANDARD_IA`; `None` leaves it to the bucket.
    pub storage_class: Option<String>,
    pub server_side_encryption: Option<ServerSideEncryption>,
    pub object_lock: Option<ObjectLock>,
}

#[derive(Clone, Debug)]
pub enum Credentials {
    /// The SDK's chain: environment, shared profile `default`, web identity, container, instance.
    Default,
    /// A named profile of the shared configuration.
    Profile(String),
    /// The chain's credentials assume this role.
    Role { arn: String, external_id: Option<String> },
    /// A pair of keys, each by reference.
    Keys { access_key_id: SecretRef, secret_access_key: SecretRef, session_token: Option<SecretRef> },
}

/// Which, never what.
impl std::fmt::Display for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("those of the environment or host"),
            Self::Profile(name) => write!(f, "profile `{name}`"),
            Self::Role { arn, .. } => write!(f, "role `{arn}`"),
            Self::Keys { access_key_id, .. } => write!(f, "the key of `{access_key_id}`"),
        }
    }
}

words! {
    /// The checksum the store is asked to prove on arrival.
    pub Checksum {
        /// CRC64NVME over the whole object: AWS, R2, Ceph.
        "crc64nvme" => Crc64Nvme,
        /// CRC32C of each part.
        "crc32c" => Crc32c,
        /// SHA-256 of each part.
        "sha256" => Sha256,
        /// None beyond the signed payload; for stores that refuse the others. drctl's own SHA-256 is kept
        /// in any case.
        "none" => None,
    }
}

#[derive(Clone, Debug)]
pub enum ServerSideEncryption {
    /// `AES256`
    S3,
    /// `aws:kms`
    Kms { key: Option<String> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectLock {
    pub mode: LockMode,
    /// From the upload on.
    pub retain: Duration,
}

words! {
    /// Who may lift a lock before its time.
    pub LockMode {
        /// Who has the permission to.
        "governance" => Governance,
        /// Nobody, not even the account's owner. A typo in `retain` is paid for in full.
        "compliance" => Compliance,
    }
}

/// Who may read the backups.
#[derive(Clone, Debug)]
pub enum Encryption {
    /// At least two, unless the policy says `danger_single_recipient = true`.
    Age { recipients: Vec<Recipient> },
    /// `danger_unencrypted = true`: anyone who reads the bucket reads the data.
    None,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// `operational`, `escrow`, …
    pub holder: Option<String>,
    /// `age1…`, checked.
    pub key: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// zstd, 1 to 19.
    pub level: i32,
    /// Worker threads; 0 is one for each processor, up to four.
    pub threads: u32,
}

/// How bytes travel to the stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Bytes of an upload's parts; every part but the last has just this size. 5 MiB to 64 MiB.
    pub part_size: u64,
    /// Parts on their way to one store at a time.
    pub parallel: usize,
    /// Bytes a second to each store; `None` is as fast as it goes.
    pub bandwidth: Option<u64>,
    /// A store that accepts or answers nothing for this long is given up.
    pub stall: Duration,
    /// Bytes after which an artifact goes on in another object; at most 10,000 parts.
    pub object_size: u64,
}

#[derive(Clone, Debug)]
pub struct Source {
    pub name: SourceName,
    pub config: SourceConfig,
    /// The backups the policy asks for, whether this version can take them or not.
    pub kinds: Vec<BackupKind>,
    /// Whether it is archived between backups too (WAL, RDS's automated backups in another region).
    pub continuous: bool,
}

impl Source {
    pub fn postgres(&self) -> Option<&PostgresSource> {
        match &self.config {
            SourceConfig::Postgres(postgres) => Some(postgres),
            _ => None,
        }
    }

    pub fn rds(&self) -> Option<&RdsSource> {
        match &self.config {
            SourceConfig::Rds(rds) => Some(rds),
            _ => None,
        }
    }

    pub fn aws_backup(&self) -> Option<&AwsBackupSource> {
        match &self.config {
            SourceConfig::AwsBackup(resource) => Some(resource),
            _ => None,
        }
    }

    /// Returns how to log in to the database, whoever runs it.
    pub fn login(&self) -> Option<&PostgresSource> {
        self.postgres().or_else(|| self.rds()?.login.as_deref())
    }

    /// Returns how base backups of its cluster are taken.
    pub fn base(&self) -> Option<&BaseBackup> {
        self.postgres()?.base.as_ref()
    }

    /// Returns how its WAL is archived.
    pub fn wal(&self) -> Option<&WalArchiving> {
        self.postgres()?.wal.as_ref()
    }

    /// Returns the region of what AWS keeps, and how to reach it.
    pub fn aws_location(&self) -> Option<&AwsLocation> {
        let rds = self.rds().map(|rds| &rds.place);
        rds.or_else(|| self.aws_backup().map(|resource| &resource.place))
    }
}

/// What a source is. The kinds that cannot run yet are known to the schema, so that a policy written
/// for them is checked today; running one is a failure of that source, never a skip.
#[derive(Clone, Debug)]
pub enum SourceConfig {
    Postgres(Box<PostgresSource>),
    Rds(Box<RdsSource>),
    AwsBackup(Box<AwsBackupSource>),
    /// A kind this version cannot run: its name in the policy.
    NotBuilt {
        kind: &'static str,
    },
}

impl SourceConfig {
    /// As the policy writes it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Rds(_) => "rds",
            Self::AwsBackup(_) => "aws-backup",
            Self::NotBuilt { kind } => kind,
        }
    }
}

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
