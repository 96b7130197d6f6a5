use std::error::Error;
use std::fmt::Debug;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use thiserror::Error;

use super::incremental::{BasePlan, IncrementalSupport};
use crate::event::Events;
use crate::model::{
    Artifact, BackupId, BackupKind, CloudBackup, Physical, RunId, SegmentSize, ServerFacts, SourceName,
    SystemIdentifier, SystemName, Timeline,
};
use crate::pipeline::Produce;
use crate::platform::CancellationToken;

/// Something that can be captured, in one or several kinds of backups.
///
/// A run awaits its sources itself and spawns none, so that what they do need not be [`Send`].
#[async_trait(?Send)]
pub trait Source: Send + Sync + Debug {
    /// Returns the kinds of backups that the policy asks for, each a backup of its own.
    fn kinds(&self) -> Result<&[BackupKind], SourceError>;

    /// Returns the backups that earlier runs began and that the service completes by itself, whatever becomes of
    /// the run that began them; oldest first. Those that were committed are among them.
    async fn in_flight(
        &self,
        _kind: BackupKind,
        _context: &SourceContext<'_>,
    ) -> Result<Vec<BackupId>, SourceError> {
        Ok(vec![])
    }

    /// Connects, and rejects what cannot be captured completely as one of its [`kinds`](Self::kinds). Nothing is
    /// stored.
    async fn prepare(&self, kind: BackupKind) -> Result<Box<dyn Capture + '_>, SourceError>;
}

/// A source that was connected to, and that can be captured.
#[async_trait(?Send)]
pub trait Capture: Send {
    /// Returns what has to be decided before it runs.
    fn requirements(&self) -> Requirements {
        Requirements::default()
    }

    /// Captures the source into `sink`.
    async fn run(
        self: Box<Self>,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, SourceError>;
}

/// What a backup depends on beside its source.
#[derive(Clone, Debug, Default)]
pub struct Requirements {
    /// The cluster whose WAL makes it restorable; `None` where it needs none.
    pub wal: Option<SystemIdentifier>,
    /// The size of its segments.
    pub segment_size: Option<SegmentSize>,
    /// The server, where it is one: it has to be of the cluster that the earlier backups are of.
    pub server: Option<ServerFacts>,
    /// The timeline that it writes; `None` on a standby, and where that does not matter.
    pub timeline: Option<Timeline>,
    /// `None` where a backup is always a full one.
    pub incremental: Option<IncrementalSupport>,
}

/// Which source is asked, and for which system.
#[derive(Clone, Copy, Debug)]
pub struct SourceContext<'a> {
    pub system: &'a SystemName,
    pub source: &'a SourceName,
    pub events: &'a Events,
    pub cancel: &'a CancellationToken,
}

/// What a capture works with.
#[derive(Clone, Copy, Debug)]
pub struct CaptureContext<'a> {
    pub naming: Naming<'a>,
    /// What a base backup builds on.
    pub base: &'a BasePlan,
    /// Why the server cannot have its WAL archived now, so that nothing is to wait for that.
    pub archiving_fails: Option<&'a str>,
    pub events: &'a Events,
    pub cancel: &'a CancellationToken,
}

/// Why a source could not be captured.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error("this version of drctl cannot back up sources of kind `{kind}` yet")]
    NotBuilt { kind: &'static str },
    #[error("the policy asks for no backup of kind `{0}` of it")]
    NotAsked(BackupKind),
    #[error(transparent)]
    Failed(Box<dyn Error + Send + Sync>),
}

impl SourceError {
    /// Wraps the error of one kind of source.
    pub fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// The artifact that every backup has: what only key holders may read. Without the endings of its encoding.
pub const DETAILS: &str = "details.json";

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
    pub missing_copies: Vec<MissingCopy>,
    /// What went wrong although the backup is there, in words.
    pub warnings: Vec<String>,
    /// The program whose output is stored, by version.
    pub producer: String,
    pub artifacts: Vec<Artifact>,
    pub manual_restore: Vec<String>,
    /// What the database has and the backup does not, in words.
    pub excluded: Vec<String>,
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
