//! Bytes in, bytes out.
//!
//! ```text
//! seal:  producer ─▶ count·sha256 ─▶ zstd ─▶ age ─▶ count·sha256 ─▶ parts
//! open:  bytes ─▶ age ─▶ zstd ─▶ count·sha256 ─▶ reader
//! ```
//!
//! Knows neither PostgreSQL nor S3: a producer is a stream that can say whether it ended well, and parts
//! go into a channel.
//!
//! *Invariants.*
//! - A producer's verdict is part of its stream: the last piece is sent only after
//!   [`Produce::finish`] said yes, and an error comes out instead of a [`Sealed`].
//! - Memory is bounded by the [`Budget`]: its parts, what zstd needs, and 2 MiB for each arrow that crosses
//!   from one thread to another, whatever the stream's length.
//! - What [`unseal`] gives is provisional until its end was reached: age releases bytes before it has seen
//!   whether the file was cut, and the digest is known last.
//!
//! *Not here.* Where parts go and what is done when that fails: [`crate::repository::BackupWriter`].

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
