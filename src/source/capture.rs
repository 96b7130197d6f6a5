use std::error::Error;
use std::fmt::Debug;

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound as _, Utc};
use serde::Serialize;
use thiserror::Error;

use super::incremental::{BasePlan, IncrementalSupport};
use crate::event::Events;
use crate::model::{
    Artifact, BackupId, BackupKind, CloudBackup, Physical, RunId, SegmentSize, ServerFacts, SourceName,
    SystemIdentifier, SystemName, Timeline,
};
use crate::pipeline::Produce;
use crate::platform::{CancellationToken, Clock};

/// A source of one or several kinds of backups.
///
/// A run awaits its sources itself and spawns none, so that their futures need not be [`Send`].
#[async_trait(?Send)]
pub trait Source: Send + Sync + Debug {
    /// Returns the kinds of backups that the policy asks for, each a backup of its own.
    fn kinds(&self) -> Result<&[BackupKind], SourceError>;

    /// Returns the backups that earlier runs started and that the service completes on its own, even if the
    /// run ended; oldest first, including committed ones.
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

/// A connected source that can be captured.
#[async_trait(?Send)]
pub trait Capture: Send {
    /// Returns what has to be decided before the capture.
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

/// What a backup depends on in addition to its source.
#[derive(Clone, Debug, Default)]
pub struct Requirements {
    /// The cluster whose WAL makes it restorable; `None` where it needs none.
    pub wal: Option<SystemIdentifier>,
    /// The size of its segments.
    pub segment_size: Option<SegmentSize>,
    /// The server, if any: it has to be of the same cluster as the earlier backups.
    pub server: Option<ServerFacts>,
    /// The timeline that it writes; `None` on a standby, and where that does not matter.
    pub timeline: Option<Timeline>,
    /// `None` where a backup is always a full one.
    pub incremental: Option<IncrementalSupport>,
}

/// The source to query, and the system it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct SourceContext<'a> {
    pub system: &'a SystemName,
    pub source: &'a SourceName,
    pub events: &'a Events,
    pub cancel: &'a CancellationToken,
}

/// The context of a capture.
#[derive(Clone, Copy, Debug)]
pub struct CaptureContext<'a> {
    pub naming: Naming<'a>,
    /// The plan of a base backup, or of another kind with incremental ones.
    pub base: &'a BasePlan,
    /// Why the server cannot archive its WAL now, so that nothing should wait for that.
    pub archiving_fails: Option<&'a str>,
    pub clock: &'a dyn Clock,
    pub events: &'a Events,
    pub cancel: &'a CancellationToken,
}

/// Why a source could not be captured.
#[derive(Debug, Error)]
pub enum SourceError {
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

/// The artifact of every backup with what only key holders may read. Without the suffixes of its encoding.
pub const DETAILS: &str = "details.json";

/// Why a sink rejected an artifact; sources only pass it on.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Stores artifacts.
#[async_trait]
pub trait ArtifactSink: Send {
    /// Reads `producer` to its end, checks that it succeeded, and stores its output as `name` (without the
    /// suffixes of the encoding). `estimate`: the expected number of bytes, for progress only.
    async fn store(
        &mut self,
        name: &str,
        producer: Box<dyn Produce>,
        estimate: Option<u64>,
    ) -> Result<Artifact, SinkError>;
}

/// A source that was captured completely: the facts for its manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Captured {
    /// The time whose data it holds.
    pub recovery_point: DateTime<Utc>,
    pub server: Option<ServerFacts>,
    /// For a base backup.
    pub physical: Option<Physical>,
    /// Of an incremental backup that is no base backup: the one that it builds on.
    pub parent: Option<BackupId>,
    /// For an AWS-managed backup.
    pub managed: Option<CloudBackup>,
    /// Regions and accounts of the policy that lack it.
    pub missing_copies: Vec<MissingCopy>,
    /// Failures that did not prevent the backup, as text.
    pub warnings: Vec<String>,
    /// The program that produced it, with its version.
    pub producer: String,
    pub artifacts: Vec<Artifact>,
    pub manual_restore: Vec<String>,
    /// What the database has and the backup lacks, as text.
    pub excluded: Vec<String>,
}

impl Captured {
    /// Returns the facts of a full backup of what is neither a PostgreSQL server nor managed by AWS.
    pub fn of_content(recovery_point: DateTime<Utc>, producer: String, artifacts: Vec<Artifact>) -> Self {
        Self {
            // A point in time that is asked for has no more digits.
            recovery_point: recovery_point.trunc_subsecs(6),
            server: None,
            physical: None,
            parent: None,
            managed: None,
            missing_copies: vec![],
            warnings: vec![],
            producer,
            artifacts,
            manual_restore: vec![],
            excluded: vec![],
        }
    }
}

/// A location in AWS that should have a backup and lacks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissingCopy {
    /// `region us-west-2`, `account 123456789012`
    pub place: String,
    pub reason: String,
}

/// The names of a backup, for sources that record them outside of a repository.
#[derive(Clone, Copy, Debug)]
pub struct Naming<'a> {
    pub system: &'a SystemName,
    pub source: &'a SourceName,
    pub backup: &'a BackupId,
    pub run: &'a RunId,
}
