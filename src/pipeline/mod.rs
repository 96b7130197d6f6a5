//! Bytes in, bytes out.
//!
//! ```text
//! seal:  producer ─▶ count·sha256 ─▶ zstd ─▶ age ─▶ count·sha256 ─▶ parts
//! open:  bytes ─▶ age ─▶ zstd ─▶ count·sha256 ─▶ reader
//! ```
//!
//! Knows neither PostgreSQL nor S3: a producer is a stream that reports whether it ended well, and parts are
//! sent to a channel.
//!
//! *Invariants.*
//! - A producer's result is part of its stream: the last piece is sent only after [`Produce::finish`]
//!   succeeded, and otherwise the result is an error instead of a [`Sealed`].
//! - Memory is bounded by the [`Budget`]: its parts, the needs of zstd, and 2 MiB for each arrow that crosses
//!   from one thread to another, whatever the stream's length.
//! - The output of [`unseal`] is provisional until its end was reached: age releases bytes before it can
//!   detect a truncated file, and the digest is known last.
//!
//! *Not here.* Where parts go and how failures there are handled: [`crate::repository::BackupWriter`].

mod counting;
mod identity;
mod in_memory;
mod parts;
mod producer;
mod progress;
mod read_ahead;
mod recipe;
mod seal;
mod unseal;

pub use counting::CountingReader;
pub use identity::{Identities, IdentityError, IdentityFile, LockedFile, Lookalike, NewIdentity};
pub use in_memory::{SealedInMemory, digest_whole, seal_whole};
pub use parts::{Budget, PartLayout, Piece, SealedPart};
pub use producer::{MemoryProducer, Produce};
pub use progress::SealProgress;
pub use recipe::{Recipe, RecipeError};
pub use seal::{PipelineError, Sealed, seal};
pub use unseal::{OpenError, unseal, unseal_ahead};
