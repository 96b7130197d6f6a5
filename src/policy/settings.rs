use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::automation::{Drill, Schedule};
use super::credentials::Credentials;
use super::macros::words;
use super::notify::Notify;
use super::prices::Prices;
use super::recovery_point::PointPolicy;
use super::retention::Retention;
use super::source::Source;
use crate::model::{RepositoryName, SourceName, SystemName};
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
    /// Which sources are backed up as one.
    pub recovery_point: Option<PointPolicy>,
    /// `None`: nothing is ever deleted. Used by a later version.
    pub retention: Option<Retention>,
    /// Used by a later version.
    pub schedule: Schedule,
    /// Used by a later version.
    pub drill: Option<Drill>,
    /// The directory of runbooks.
    pub runbooks: Option<PathBuf>,
    pub prices: Option<Prices>,
    pub notify: Notify,
}

impl RepositoryLocation {
    /// Returns how objects are locked there.
    pub fn object_lock(&self) -> Option<ObjectLock> {
        match self {
            Self::S3(place) => place.object_lock,
            Self::Directory(_) => None,
        }
    }

    /// Returns where it is, as people are told: `s3://backups/shop (eu-central-1)`.
    pub fn location(&self) -> String {
        match self {
            Self::S3(place) => place.location(),
            Self::Directory(path) => path.display().to_string(),
        }
    }
}

impl S3Location {
    /// Returns bucket, prefix and region, or the endpoint of anything but AWS.
    pub fn location(&self) -> String {
        let Self { bucket, prefix, region, endpoint, .. } = self;
        let slash = if prefix.is_empty() { "" } else { "/" };
        let at =
            endpoint.as_ref().map_or(region.as_str(), |endpoint| endpoint.as_str().trim_end_matches('/'));
        format!("s3://{bucket}{slash}{prefix} ({at})")
    }
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
    /// The tolerated loss of the newest data, as time.
    pub rpo: Duration,
}

/// One repository.
#[derive(Clone, Debug)]
pub struct RepositoryConfig {
    /// `primary`, or the name of the copy.
    pub name: RepositoryName,
    pub place: RepositoryLocation,
    /// For a directory: it must be a mount point, and counts as missing while nothing is mounted.
    pub mount: bool,
}

#[derive(Clone, Debug)]
pub enum RepositoryLocation {
    Directory(PathBuf),
    S3(Box<S3Location>),
}

/// An S3 bucket and prefix, and how to access them.
#[derive(Clone, Debug)]
pub struct S3Location {
    pub bucket: String,
    /// Without leading or trailing `/`; may be empty.
    pub prefix: String,
    pub region: String,
    /// Set for anything but AWS.
    pub endpoint: Option<Url>,
    pub path_style: bool,
    pub credentials: Credentials,
    pub checksum: Checksum,
    /// E.g. `STANDARD_IA`; `None` leaves it to the bucket.
    pub storage_class: Option<String>,
    pub server_side_encryption: Option<ServerSideEncryption>,
    pub object_lock: Option<ObjectLock>,
}

impl S3Location {
    /// Returns the host and the port of the server, under one of its names: a host of this machine has several. `None`:
    /// it is AWS, whose endpoints, those of a private network among them, are ways to the same buckets of a region.
    pub fn server(&self) -> Option<(String, u16)> {
        let endpoint = self.endpoint.as_ref()?;
        let host = endpoint.host_str()?.trim_end_matches('.').to_ascii_lowercase();
        let of_aws = [".amazonaws.com", ".amazonaws.com.cn"].iter().find_map(|end| host.strip_suffix(end));
        let is_s3 = |name: &str| {
            name.starts_with("s3.") || name.starts_with("s3-") || name == "s3" || name.ends_with(".vpce")
        };
        if of_aws.is_some_and(is_s3) {
            return None;
        }
        let is_local = match endpoint.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
            Some(url::Host::Ipv6(address)) => address.is_loopback() || address.is_unspecified(),
            _ => host == "localhost" || host.ends_with(".localhost"),
        };
        let host = if is_local { "localhost".to_owned() } else { host };
        Some((host, endpoint.port_or_known_default().unwrap_or_default()))
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
    pub retain: LockTerm,
}

/// How long objects are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockTerm {
    /// So long from the upload on, and never longer.
    For(Duration),
    /// As long as the rules of retention keep what they belong to.
    Rules,
}

impl fmt::Display for LockTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(retain) => write!(f, "for {}", crate::text::format_duration(*retain)),
            Self::Rules => f.write_str("as long as the rules of retention keep it"),
        }
    }
}

words! {
    /// Who may lift a lock before its time.
    pub LockMode {
        /// Who has the permission to.
        "governance" => Governance,
        /// No one, not even the account's owner. A typo in `retain` is paid for in full.
        "compliance" => Compliance,
    }
}

/// Who can decrypt the backups.
#[derive(Clone, Debug)]
pub enum Encryption {
    /// At least two, unless the policy says `danger_single_recipient = true`.
    Age { recipients: Vec<Recipient> },
    /// `danger_unencrypted = true`: read access to the bucket is access to the data.
    None,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// `operational`, `escrow`, …
    pub holder: Option<String>,
    /// `age1…`, validated.
    pub key: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// zstd, 1 to 19.
    pub level: i32,
    /// Worker threads; 0 is one per processor, up to four.
    pub threads: u32,
}

/// How data is uploaded to the stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Bytes per part of an upload; every part but the last has exactly this size. 5 MiB to 64 MiB.
    pub part_size: u64,
    /// Concurrent parts per store.
    pub parallel: usize,
    /// Bytes per second to each store; `None` is unlimited.
    pub bandwidth: Option<u64>,
    /// A store that makes no progress for this long is given up.
    pub stall: Duration,
    /// Bytes after which an artifact continues in another object; at most 10,000 parts.
    pub object_size: u64,
}
