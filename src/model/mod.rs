//! The vocabulary, as plain values: identifiers, digests, artifacts, manifests, the contents of a database,
//! the names and positions of WAL.
//!
//! *Invariants.* A value that exists is valid: identifiers and digests are parsed, never assumed. Everything
//! here is pure; nothing reads a clock, a file or the network.
//!
//! *Not here.* How the values are stored: [`crate::repository`] reads and writes manifests and checks their
//! format version.

mod application_facts;
mod backup_chain;
mod bucket_facts;
mod calendar;
mod checkpoint;
mod cloud_backup;
mod database_inventory;
mod digest;
mod files_details;
mod git_facts;
mod id;
mod location;
mod manifest;
mod recovery_point;
mod resource_profile;
mod restore_profile;
mod run;
mod verdict;
mod wal;
mod wal_check;

pub use application_facts::{
    ChromaCollection, ChromaFacts, ChromaFile, RedisDatabase, RedisFacts, SqliteFacts, SqliteTable,
};
pub use backup_chain::{BrokenChain, chain, parent};
pub use bucket_facts::BucketFacts;
pub use calendar::{Bucket, Period};
pub use checkpoint::Checkpoint;
pub use cloud_backup::{CloudBackup, CloudBackupCopy};
pub use database_inventory::{
    ClusterFacts, ConfigurationFile, ContentSum, DatabaseFacts, Details, Extension, Grant, RoleSetting,
    SequenceBound, SequenceState, SubscriptionFacts, SumScope, TableFacts, TableKind,
};
pub use digest::{Digest, Hasher, Sha256Hex};
pub use files_details::FilesDetails;
pub use git_facts::GitFacts;
pub use id::{BackupId, BackupKind, IdError, RepositoryName, RunId, SourceName, SystemName};
pub use location::Location;
pub use manifest::{
    Artifact, AssuranceLevel, DamagedPage, Encoding, Excluded, Manifest, ObjectPart, Physical, Protection,
    RecipientPrint, ServerFacts, Tablespace, ToolFacts,
};
pub use recovery_point::{PointFacts, PointMode};
pub use resource_profile::ResourceProfile;
pub use restore_profile::{
    ClusterMember, ClusterProfile, FeatureRole, Monitoring, Parameter, ParameterGroup, PerformanceInsights,
    RegionNames, RestoreProfile, StorageProfile,
};
pub use run::{CheckDepth, CopyCheck, CopyFault, ObjectFault, Outcome, latest_checks};
pub use verdict::{Cause, Judgement, Reason, Verdict};
pub use wal::{Ancestor, History, Lsn, Segment, SegmentSize, SystemIdentifier, Timeline, WalError, WalName};
pub use wal_check::{WalCheck, bad_files};
