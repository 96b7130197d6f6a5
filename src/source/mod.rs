//! Where a backup's bytes come from, one file a kind.
//!
//! A source finds out first whether it can be read whole, and refuses before anything is stored where it
//! cannot. Then it hands its artifacts to an [`ArtifactSink`], one after the other.
//!
//! *Invariants.* What a source leaves out is a failure, or stands in
//! [`DatabaseFacts::not_included`](crate::model::DatabaseFacts::not_included); it is never only a line in a
//! log. A producer that failed fails its artifact ([`Produce::finish`]), and with it the backup. Children
//! that were started are gone when a capture returns.
//!
//! *Not here.* Encoding and storing ([`crate::pipeline`], [`crate::repository`]), and the manifest.

pub mod aws_backup;
mod capture;
pub mod postgres_base;
pub mod postgres_dump;
pub mod rds_snapshot;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::{Artifact, BackupId, CloudBackup, Physical, RunId, ServerFacts, SourceName, SystemName};
use crate::pipeline::Produce;

pub use crate::source::postgres_dump::capture::LogicalError;
pub use crate::source::postgres_dump::privileges::{Unreadable, unreadable};
pub use crate::source::postgres_dump::program::DumpError;
pub use aws_backup::RecoveryPointError;
pub use capture::{PreparedCapture, SourceError, begun, capture, kinds, prepare};
pub use postgres_base::BaseError;
pub use rds_snapshot::SnapshotError;

/// A server that fell silent is noticed after two minutes, rather than after libpq's two hours.
const KEEPALIVES: &str = "keepalives_idle=60 keepalives_interval=15 keepalives_count=4";

/// Why a sink did not take an artifact; for a source it is only ever passed on.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Something that keeps artifacts.
#[async_trait]
pub trait ArtifactSink: Send {
    /// Reads `producer` to its end, asks it whether it ended well, and keeps what it gave as `name` (without
    /// the endings of the encoding). `estimate`: how many bytes are expected, for progress only.
    async fn store(
        &mut self,
        name: &str,
        producer: Box<dyn Produce>,
        estimate: Option<u64>,
    ) -> Result<Artifact, SinkError>;
}

/// A source that was captured whole: what its manifest says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Captured {
    /// The moment whose data it holds.
    pub recovery_point: DateTime<Utc>,
    pub server: Option<ServerFacts>,
    /// Of a base backup.
    pub physical: Option<Physical>,
    /// Of a backup that AWS keeps.
    pub managed: Option<CloudBackup>,
    /// Regions and accounts of the policy that do not have it.
    pub not_held: Vec<MissingCopy>,
    /// What went wrong although the backup is there, in words.
    pub issues: Vec<String>,
    /// The program whose output is stored, by version.
    pub producer: String,
    pub artifacts: Vec<Artifact>,
    pub by_hand: Vec<String>,
    /// What the database has and the backup does not, in words.
    pub not_included: Vec<String>,
}

/// A place in AWS that should have a backup and does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissingCopy {
    /// `region us-west-2`, `account 123456789012`
    pub place: String,
    pub reason: String,
}

/// What a backup is called, for those that must say so elsewhere than in a repository.
#[derive(Clone, Copy, Debug)]
pub struct Naming<'a> {
    pub system: &'a SystemName,
    pub source: &'a SourceName,
    pub backup: &'a BackupId,
    pub run: &'a RunId,
}
