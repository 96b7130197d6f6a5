//! Talking to PostgreSQL: connections, the `pg_*` programs that match a server, what a database holds.
//!
//! *Invariants.* A password reaches a child through its environment, or a file without a name, and never its
//! arguments. A token of IAM is signed for each connection, and only where the server is verified. A program
//! is used only after it has said which major it is of, and never against a newer server. Everything said
//! to a server quotes its names ([`identifier`], [`literal`]) or binds them. A session of drctl and those of its
//! children go to the same server, with the same settings, and leave nothing on a pooler's connections.
//!
//! *Not here.* What is dumped ([`crate::source`]) and what is loaded ([`crate::restore::logical`]).

mod connect;
mod control_file;
mod environment;
mod facts;
mod password;
mod query;
mod quote;
mod sequences;
mod session;
mod tools;
mod wal_commits;
pub(crate) mod wal_header;
mod wal_record;

pub use connect::{ConnectError, ConnectionParameters, SslMode, close};
pub use control_file::{ControlFileError, system_identifier_in};
pub use facts::{count_rows, read_facts, read_sequences_again, server_major};
pub use password::Password;
pub use query::FactsError;
pub use quote::{identifier, literal, qualified, shell, split_quoted};
pub use session::ServerSession;
pub use tools::{FoundTools, Tools, ToolsError};
pub use wal_commits::CommitScan;
pub use wal_header::{HeaderError, SEGMENT_HEADER, SegmentHeader};
pub use wal_record::{MadeTablespace, Notable, Parameters, RecordKind, WalRecord};
