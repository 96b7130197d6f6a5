//! The archive of write-ahead log: what a server's `archive_command` and `restore_command` run.
//!
//! *Invariants.*
//! - A file is archived when every repository that must have it has confirmed it, and that is always the
//!   store's own answer: nothing is noted on this host, so nothing here can be wrong about it.
//! - A file is never written over, but for a copy that is proven not to be what was stored there. The same file
//!   again is a success; another one under its name, or one of another cluster, is refused.
//! - What is fetched for a recovery that drctl prepared makes no tablespace but those the recovery knows.
//! - A file appears on this host whole and proven, or not at all. It is called absent only where every
//!   repository was asked, each could have it, and nothing later is there.
//!
//! *Not here.* Base backups, and where a restore begins and ends.

mod archive;
mod archive_status_trust;
pub(crate) mod archiver;
mod base_after_gap;
pub mod cluster;
mod coverage;
mod decode;
mod fetch;
mod flush_history;
mod idle_server;
pub(crate) mod listing;
mod multipart;
mod partial_segment;
mod prefetch;
mod push;
mod required;
mod segment_check;
mod source_file;
pub mod status;
pub mod stream;
mod tablespace_guard;
mod timeline_divergence;

pub use crate::wal::archiver::backlog::{Backlog, Ready};
pub use crate::wal::archiver::facts::{ServerError, ServerFacts, SlotFacts, Waiting, server_facts};
pub use crate::wal::archiver::last_archived::{Acknowledged, AskError, KeptError, Said, said};
pub use crate::wal::archiver::stall::Stall;
pub use archive::{Archive, Tags};
pub use coverage::{Follow, Gap, Holdings, Position, Reach, Stop, Stretch};
pub use decode::Unusable;
pub use fetch::{FetchError, Fetched, Fetcher};
pub use flush_history::Horizon;
pub use idle_server::complete_by_server;
pub use listing::{ListError, Moment, all_listed, holdings, modified, moment, tags};
pub use push::{Drained, Known, Memory, PushError, Pushed, Pusher};
pub use required::{Lacking, first_segment, lacking};
pub use segment_check::{Checked, check_segment};
pub use source_file::{FileError, SealedFile, WalFile, Whose};
pub use tablespace_guard::Unconfined;
pub use timeline_divergence::Beside;
