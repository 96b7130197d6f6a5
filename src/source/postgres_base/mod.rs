//! A physical copy of a whole cluster, to begin a recovery with.
//!
//! The bytes come from `pg_basebackup` over a replication connection, or from the data directory itself
//! where drctl runs beside the server. What is stored is the same either way, see FORMAT.md.
//!
//! PostgreSQL 17 and later give what changed since an earlier copy, over replication only. Which copy that is,
//! [`incremental`](crate::source::incremental) decides; the server has the last word, before anything is stored.
//!
//! *Invariants.* What could not be restored is rejected before a byte is stored, with every reason at once.
//! A copy is whole only with its `backup_manifest`, and with every database and tablespace that the server says
//! it has. A file of a table that the server's catalog names and that did not come is in the manifest, and the copy is
//! kept. What it does not hold beside PostgreSQL's own data is in the manifest. A page whose checksum does not fit is named by file and
//! block, and the copy is kept: it may be the last there is of the others.
//!
//! *Not here.* The write-ahead log that makes a copy a database: [`crate::wal`].

mod backup_manifest;
mod capture;
mod checksum_report;
mod chunks;
mod completeness;
mod configuration;
mod copied;
mod data_directory;
mod directory_check;
mod error;
mod exclusions;
mod file_list;
mod includes;
mod increment;
mod manifest_cache;
mod manual_restore;
mod missing_files;
mod page_checksum;
mod preflight;
mod prepare;
mod query;
mod relations;
mod replication;
mod replication_check;
mod session;
mod settings;
mod skipped_files;
mod tar_directory;
mod tar_inspector;
mod wal_filter;

pub use crate::source::capture::DETAILS;
pub use copied::BASE;
pub use error::BaseError;
pub use manifest_cache::{is_kept, publish};
pub use missing_files::MissingFiles;
pub use preflight::BasePreflight;
pub use prepare::{BaseBackupCapture, SettingsReader, prepare};
