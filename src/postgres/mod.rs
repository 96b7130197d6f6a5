//! Access to PostgreSQL: connections, the `pg_*` programs that match a server, the contents of a database.
//!
//! *Invariants.* A password reaches a child through its environment or an unnamed file, never through its
//! arguments. An IAM token is signed for each connection, and only for a verified server. A program is used
//! only after its major version is known, and never against a newer server. Every statement quotes its names
//! ([`identifier`], [`literal`]) or binds them. A session of drctl and those of its children use the same
//! server and settings, and leave nothing behind on a pooler's connections.
//!
//! *Not here.* What is dumped ([`crate::source`]) and what is restored ([`crate::restore::logical`]).

mod connect;
mod connect_error;
mod connection_url;
mod content;
mod control_file;
mod environment;
mod facts;
mod parameters;
mod password;
mod query;
mod quote;
mod sequences;
mod server_programs;
mod service_file;
mod session;
mod tools;
mod wal_commits;
pub(crate) mod wal_header;
mod wal_record;

pub use connect::close;
pub use connect_error::ConnectError;
pub use content::{SumRequest, sum_contents};
pub use control_file::{ControlFileError, system_identifier_in};
pub use facts::{count_rows, read_facts, read_sequences_again, server_major};
pub use parameters::{ConnectionParameters, Password, ServerSession, SslMode};
pub use query::FactsError;
pub use quote::{identifier, literal, qualified, shell, split_quoted};
pub use server_programs::{ServerPrograms, without_event_triggers};
pub use tools::{FoundTools, Tools, ToolsError};
pub use wal_commits::{Checkpoints, CommitScan};
pub use wal_header::{HeaderError, SEGMENT_HEADER, SegmentHeader};
pub use wal_record::{MadeTablespace, Notable, Parameters, RecordKind, WalRecord};
