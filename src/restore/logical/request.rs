use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{EntrySelection, Exclusion, Rates};
use crate::model::{BackupId, DatabaseFacts, RepositoryName, SourceName};
use crate::postgres::ConnectionParameters;

/// What someone wants restored, and where to.
#[derive(Clone, Debug)]
pub struct DumpRestoreRequest {
    pub source: SourceName,
    pub backup: BackupSelector,
    /// Read from this repository only.
    pub from: Option<RepositoryName>,
    /// The server and the role; its database is the one that is to be made.
    pub target: ConnectionParameters,
    /// Where to look for `pg_restore` first.
    pub tools: Option<PathBuf>,
    pub database: String,
    /// Connections that load at a time. One needs no scratch disk.
    pub jobs: u32,
    pub selection: EntrySelection,
    pub exclusion: Exclusion,
    /// A locale of the C library for the new database, in the place of the recorded one.
    pub locale: Option<String>,
    /// Make the roles and tablespaces that are missing first.
    pub globals: bool,
    /// Owners and privileges as they were; otherwise everything belongs to the restoring role.
    pub owners: bool,
    /// Tablespaces as they were; otherwise everything goes to the default one.
    pub tablespaces: bool,
    /// Load into a database that has the final name from the beginning, new or empty.
    pub keeps_name: bool,
    /// Pass over what does not load, and publish the rest under this name if anything is missing.
    pub incomplete: Option<String>,
    /// Where there is room for the unpacked dump.
    pub scratch: PathBuf,
    /// Drop what earlier restores that were killed have left on the server.
    pub drop_leftovers: bool,
    /// What the catalog knows of earlier runs.
    pub known: CatalogHints,
}

impl DumpRestoreRequest {
    /// Whether all of the dump is restored.
    pub(super) fn is_everything(&self) -> bool {
        self.selection.is_everything() && self.exclusion.is_nothing()
    }

    /// Whether large objects are not among what is restored.
    pub(super) fn leaves_out_large_objects(&self) -> bool {
        !self.selection.is_everything() && !self.selection.large_objects
    }

    /// What the new database is to be like, where that is not as it was.
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
    /// The only one whose id begins so.
    Prefix(String),
}

/// Backups in repositories whose last check found them bad.
pub type SuspectCopies = BTreeSet<(BackupId, RepositoryName)>;

/// What is known from earlier runs.
#[derive(Clone, Debug, Default)]
pub struct CatalogHints {
    pub doubtful: SuspectCopies,
    pub rates: Rates,
}
