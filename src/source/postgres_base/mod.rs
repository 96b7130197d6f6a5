//! A physical copy of a whole cluster, as the start of a recovery.
//!
//! The bytes come from `pg_basebackup` over a replication connection, or from the data directory itself where
//! drctl runs next to the server. The stored format is the same, see FORMAT.md.
//!
//! PostgreSQL 17 and later provide the changes since an earlier copy, over replication only.
//! [`incremental`](crate::source::incremental) selects that copy; the server may reject it, before anything
//! is stored.
//!
//! *Invariants.* What could not be restored is rejected before a byte is stored, with every reason at once. A
//! copy is complete only with its `backup_manifest`, and with every database and tablespace that the server
//! reports. A table's file that is in the server's catalog and missing in the copy is reported in the
//! manifest, and the copy is kept. What it lacks apart from PostgreSQL's own data is in the manifest. A page
//! with a wrong checksum is reported by file and block, and the copy is kept: it may be the last one of the
//! other pages.
//!
//! *Not here.* The WAL that makes a copy consistent: [`crate::wal`].

mod backup_manifest;
mod capture;
mod checkpoint;
mod checksum_report;
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
pub use manifest_cache::is_kept;
pub use missing_files::MissingFiles;
pub use preflight::BasePreflight;
pub use prepare::{BaseBackupCapture, SettingsReader, prepare};
