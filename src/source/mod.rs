//! Where a backup's bytes come from, one file a kind.
//!
//! A source is captured by storing its artifacts, one after the other, with
//! [`BackupWriter::store`](crate::repository::BackupWriter::store), and gives back what the manifest says
//! of them: [`Captured`].
//!
//! *Invariants.* What a source cannot read whole is an error, never a warning. A kind that cannot run in this
//! version is an error of that source, never a skip. Nothing is written to the server that is backed up.
//!
//! *Not here.* Compression, encryption and where the bytes go; committing or taking back what was stored.

use chrono::{DateTime, Utc};

use crate::model::{Artifact, BackupKind, ServerFacts};
use crate::policy::{Source, SourceConfig};

/// What a capture says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Captured {
    /// The moment whose data was captured.
    pub recovery_point: DateTime<Utc>,
    /// In the order stored.
    pub artifacts: Vec<Artifact>,
    pub server: Option<ServerFacts>,
    /// The program whose output is stored, with its version.
    pub producer: String,
    /// The commands that restore it with standard tools, a line each.
    pub by_hand: Vec<String>,
}

/// The kind of backup that is taken of a source; `None` where this version can take none.
pub fn kind(source: &Source) -> Option<BackupKind> {
    match &source.config {
        SourceConfig::Postgres(postgres) => postgres.logical.as_ref().map(|_| BackupKind::Logical),
        SourceConfig::NotBuilt { .. } => None,
    }
}
