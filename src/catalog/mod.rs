//! A database of what is in the repositories and of every run: SQLite in the state directory, or
//! PostgreSQL for a fleet.
//!
//! *Invariants.* Nothing is known here only: whatever the catalog says can be made anew from the
//! repositories ([`refresh`]). A backup is entered after its manifest stands, never before. What is known
//! of a repository that cannot be reached is kept, and said to be old. Nothing secret is in it.
//!
//! *Not here.* What a backup must hold ([`crate::repository::manifest`]), how entries look
//! ([`crate::cli`]).

mod connection;
mod error;
mod find;
mod history;
mod location;
mod record;
mod refresh;

pub use connection::Catalog;
pub use error::CatalogError;
pub use find::{BackupEntry, CopyEntry, Filter, RepositoryEntry, intact_copies};
pub use history::BackupHistory;
pub use location::CatalogLocation;
pub use refresh::{Depth, Refreshed, refresh};
