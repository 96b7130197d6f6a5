//! The WAL archive: the implementation of a server's `archive_command` and `restore_command`.
//!
//! *Invariants.*
//! - A file is archived when every repository that must have it has confirmed it, and that is always the
//!   store's own answer: no state is kept on this host that could be wrong about it.
//! - A file is never overwritten, except a copy that is proven to differ from what was stored there. Pushing
//!   the same file again succeeds; another one under its name, or one of another cluster, is refused.
//! - WAL fetched for a recovery prepared by drctl creates no tablespaces other than those that the recovery
//!   knows.
//! - A file appears on this host complete and verified, or not at all. It is reported as absent only where
//!   every repository was queried, each should have it, and no later WAL exists.
//!
//! *Not here.* Base backups, and the begin and end of a restore.

mod archive;
mod archive_status_trust;
pub(crate) mod archiver;
pub mod cluster;
mod coverage;
mod decode;
mod fault;
mod fetch;
mod flush_history;
mod idle_server;
pub(crate) mod listing;
mod memory;
mod multipart;
mod partial_segment;
mod prefetch;
mod provenance;
mod push;
mod push_rejection;
pub mod relay;
mod required;
mod segment_check;
mod source_file;
pub mod stream;
mod tablespace_guard;
mod timeline_divergence;

pub use crate::wal::archiver::archive_command::{
    CommandState, CommandVerdict, PolicyState, ProgramState, PushTarget, ServerFiles, judge,
};
pub use crate::wal::archiver::backlog::{Backlog, Ready};
pub use crate::wal::archiver::facts::{ArchiverFacts, ServerError, SlotFacts, Waiting, server_facts};
pub use crate::wal::archiver::last_archived::{ArchiverReport, AskError, KeptError, LastArchived, said};
pub use crate::wal::archiver::server_host::ServerHost;
pub(crate) use crate::wal::archiver::server_host::is_this_host;
pub use crate::wal::archiver::stall::Stall;
pub use archive::{Archive, SegmentTags};
pub use coverage::{
    DamagedWal, Gap, ReplayEnd, ReplayPosition, ReplayRange, SegmentRange, TimelineTarget, WalInventory,
};
pub use decode::Unusable;
pub use fault::WalFault;
pub use fetch::{FetchError, Fetched, Fetcher};
pub use flush_history::LsnTimeline;
pub use idle_server::complete_until_by_server;
pub use listing::{CommitTimes, ListError, all_listed, damage, holdings, modified, moment, tags};
pub use memory::Memory;
pub use provenance::{OtherHistory, Provenance, UnknownProvenance, checkpoint_segment};
pub use push::{BacklogResult, PushError, PushResult, Pusher, SeenSegments};
pub use required::{MissingRequiredWal, first_segment};
pub use segment_check::{CheckedSegment, check_segment};
pub use source_file::{FileError, SealedFile, WalFile, WalOrigin};
pub use tablespace_guard::Unconfined;
pub use timeline_divergence::TimelineDivergence;
