//! A database of the contents of the repositories and of every run: SQLite in the state directory, or
//! PostgreSQL for a fleet.
//!
//! *Invariants.* Everything in the catalog can be rebuilt from the repositories ([`refresh`]), except what people were
//! told: where that is lost, they are told again. A backup is recorded after its manifest exists, never before. What is known of an
//! unreachable repository is kept and reported as old. The catalog contains no secrets.
//!
//! *Not here.* What a backup must contain ([`crate::repository::manifest`]), how entries are displayed
//! ([`crate::cli`]).

mod connection;
mod error;
mod find;
mod history;
mod location;
mod record;
mod refresh;
mod stamps;
mod told;

pub use connection::Catalog;
pub use error::CatalogError;
pub use find::{BackupEntry, CopyEntry, Filter, RepositoryEntry, intact_copies};
pub use history::BackupHistory;
pub use location::CatalogLocation;
pub use refresh::{Depth, Refreshed, UnknownRecord, refresh};
pub use told::{FailedDelivery, Notice, ToldChange, ToldNotice};
