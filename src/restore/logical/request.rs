use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{EntrySelection, Exclusion, Rates};
use crate::model::{BackupId, DatabaseFacts, RepositoryName, SourceName};
use crate::postgres::ConnectionParameters;

/// What to restore, and where.
#[derive(Clone, Debug)]
pub struct DumpRestoreRequest {
    pub source: SourceName,
    pub backup: BackupSelector,
    /// Read from this repository only.
    pub from: Option<RepositoryName>,
    /// The server and the role; its database is the one to create.
    pub target: ConnectionParameters,
    /// Where to look for `pg_restore` first.
    pub tools: Option<PathBuf>,
    pub database: String,
    /// Concurrent connections that load. A single one needs no scratch disk.
    pub jobs: u32,
    pub selection: EntrySelection,
    pub exclusion: Exclusion,
    /// A locale of the C library for the new database, instead of the recorded one.
    pub locale: Option<String>,
    /// Create missing roles and tablespaces first.
    pub globals: bool,
    /// Restore owners and privileges; otherwise the restoring role owns everything.
    pub owners: bool,
    /// Restore tablespaces; otherwise everything goes to the default one.
    pub tablespaces: bool,
    /// Load into a database that has the final name from the beginning, new or empty.
    pub keeps_name: bool,
    /// Skip what does not load, and publish the rest under this name if anything is missing.
    pub incomplete: Option<String>,
    /// Leave jobs of schedulers active, as they were dumped.
    pub active_jobs: bool,
    /// A directory with room for the decoded dump.
    pub scratch: PathBuf,
    /// Drop the leftovers of earlier restores on the server.
    pub drop_leftovers: bool,
    /// Facts from the catalog about earlier runs.
    pub known: CatalogHints,
}

impl DumpRestoreRequest {
    /// Returns whether all of the dump is restored.
    pub(super) fn is_everything(&self) -> bool {
        self.selection.is_everything() && self.exclusion.is_nothing()
    }

    /// Returns whether large objects are left out.
    pub(super) fn leaves_out_large_objects(&self) -> bool {
        !self.selection.is_everything() && !self.selection.large_objects
    }

    /// Changes the recorded facts to those requested for the new database.
    pub(super) fn change(&self, recorded: &mut DatabaseFacts) {
        let Some(locale) = &self.locale else { return };
        recorded.collate.clone_from(locale);
        recorded.ctype.clone_from(locale);
        "libc".clone_into(&mut recorded.locale_provider);
        (recorded.icu_locale, recorded.icu_rules) = (None, None);
    }
}

/// Which backup of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupSelector {
    Latest,
    /// The only one whose id has this prefix.
    Prefix(String),
}

/// Copies of backups, by repository, whose last check found them damaged.
pub type SuspectCopies = BTreeSet<(BackupId, RepositoryName)>;

/// Facts from earlier runs.
#[derive(Clone, Debug, Default)]
pub struct CatalogHints {
    pub doubtful: SuspectCopies,
    pub rates: Rates,
}
