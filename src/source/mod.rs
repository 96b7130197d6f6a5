//! The sources of a backup's bytes, one folder per kind.
//!
//! A [`Source`] first checks whether it can be read completely, and rejects the backup otherwise before
//! anything is stored. Then its [`Capture`] passes the artifacts to an [`ArtifactSink`], one after the other.
//! To add a kind, implement the two and name it in [`open()`], the only place that matches on the kinds of
//! the policy.
//!
//! *Invariants.* What a source leaves out is a failure, or is in [`Captured::excluded`]; it is never only a
//! line in a log. A producer that failed fails its artifact
//! ([`Produce::finish`](crate::pipeline::Produce::finish)), and with it the backup. Child processes have
//! ended when a capture returns.
//!
//! *Not here.* Whether a backup is full or incremental: [`crate::backup`] decides by [`incremental`].
//! Encoding and storing ([`crate::pipeline`], [`crate::repository`]), and the manifest.

mod aws;
pub mod aws_backup;
pub mod bucket;
pub mod capture;
mod chroma;
mod command;
mod content_state;
mod deadline;
mod details;
pub mod files;
pub mod git;
pub mod incremental;
mod kept_list;
mod libpq;
mod manual_restore;
mod open;
mod postgres;
pub mod postgres_base;
pub mod postgres_dump;
pub mod rds_snapshot;
mod redis;
mod scratch_file;
mod sqlite;
mod thread_producer;

pub use aws::DetailsError;
pub use aws_backup::RecoveryPointError;
pub use capture::{
    ArtifactSink, Capture, CaptureContext, Captured, DETAILS, MissingCopy, Naming, Requirements, SinkError,
    Source, SourceContext, SourceError,
};
pub use chroma::{CHROMA_DATABASE, CHROMA_SEGMENTS, ChromaCaptureError, chroma_collections};
pub use command::{CommandError, program as command_program};
pub use files::FilesError;
pub use kept_list::{publish, unfinished};
pub use open::open;
pub use postgres_base::BaseError;
pub use postgres_dump::capture::LogicalError;
pub use postgres_dump::privileges::{Unreadable, unreadable};
pub use postgres_dump::program::DumpError;
pub use rds_snapshot::SnapshotError;
pub use redis::{REDIS_DUMP, RedisCaptureError};
pub use sqlite::{SQLITE_DATABASE, SqliteCaptureError};
