//! Talking to Redis: connections, what a server reports of itself, and the dump that a replica gets.
//!
//! *Invariants.*
//! - A password is never in an address, an error or a command's name. What a server answers is shown without the
//!   arguments that it repeats.
//! - Every wait has a deadline. An answer is bounded in length and depth.
//! - A dump is complete when its own end, the end of the transfer and its checksum agree ([`RdbCheck`]); the end of a
//!   connection alone is never the end of a dump.
//!
//! *Not here.* Where dumps are kept ([`crate::source`]), and how one comes back ([`crate::restore`]).

mod address;
mod connection;
mod dump;
mod error;
mod info;
mod rdb;
mod rdb_keys;
mod resp;
mod scratch_server;
mod target;

pub use address::RedisEndpoint;
pub use connection::RedisConnection;
pub use dump::{DumpProducer, DumpReport, transfer_dump};
pub use error::RedisError;
pub use info::RedisInfo;
pub use rdb::{RdbCheck, RdbFault, RdbFooter};
pub use rdb_keys::{RdbContents, count_keys};
pub use resp::Reply;
pub use scratch_server::{ScratchServer, ScratchServerError, server_program};
pub use target::RedisTarget;
