//! A directory of ChromaDB: a SQLite database, and its vector indexes beside it.
//!
//! ChromaDB writes an index first, and then how far it is complete (`max_seq_id`) into SQLite; what is in the index
//! alone is removed from the log in SQLite. A backup whose indexes are older than its database has lost vectors. So the
//! database is copied first and the indexes after it, and the copy counts only if no index changed meanwhile, by the
//! files' times and sizes and by `max_seq_id`.
//!
//! *Not here.* Copying SQLite: [`crate::sqlite`].

mod capture;
mod collections;
mod segments;

pub(super) use capture::ChromaBackups;
pub use capture::ChromaCaptureError;
pub use collections::collections as chroma_collections;

/// The artifact of the database, without the endings of its encoding, and the name of its file.
pub const CHROMA_DATABASE: &str = "chroma.sqlite3";
/// The artifact with everything beside the database.
pub const CHROMA_SEGMENTS: &str = "segments.tar";
