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

mod acknowledged;
mod ahead;
mod archive;
mod behind_gap;
mod beside;
mod chain;
mod check;
pub mod cluster;
pub mod configure;
mod confine;
mod fetch;
mod file;
mod horizon;
mod large;
mod listing;
mod mend;
mod needed;
mod pieces;
mod push;
mod quiet;
mod ready;
mod server;
mod stall;
pub mod status;
pub mod stream;
pub mod sync;
mod unpack;
mod witness;

pub use acknowledged::{Acknowledged, AskError, KeptError, Said, said};
pub use archive::{Archive, Tags};
pub use beside::Beside;
pub use chain::{Follow, Gap, Holdings, Position, Reach, Stop, Stretch};
pub use check::{Checked, check};
pub use confine::Unconfined;
pub use fetch::{FetchError, Fetched, Fetcher};
pub use file::{FileError, SealedFile, WalFile, Whose};
pub use horizon::Horizon;
pub use listing::{ListError, Moment, all_listed, holdings, modified, moment, tags};
pub use needed::{Lacking, first_segment, lacking};
pub use push::{Drained, Known, Memory, PushError, Pushed, Pusher};
pub use quiet::complete_by_server;
pub use ready::{Backlog, Ready};
pub use server::{ServerError, ServerFacts, SlotFacts, Waiting, server_facts};
pub use stall::Stall;
pub use unpack::Unusable;
