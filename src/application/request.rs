use std::path::PathBuf;

use super::select::PointSelector;
use super::target::ApplicationTarget;
use crate::model::RepositoryName;
use crate::repository::Inventory;
use crate::restore::logical::CatalogHints;
use crate::restore::physical::RestoreCommand;

/// What to restore, and where.
#[derive(Debug)]
pub struct ApplicationRequest {
    pub selector: PointSelector,
    pub to: ApplicationTarget,
    /// Read from this repository only.
    pub from: Option<RepositoryName>,
    /// How many members are restored at a time.
    pub at_once: usize,
    /// Stop the others when a member fails.
    pub fail_fast: bool,
    /// A directory with room for decoded dumps.
    pub scratch: PathBuf,
    /// How restored clusters get their WAL.
    pub wal: WalAccess,
    /// What the repositories have, each backup in those that could give it back.
    pub inventory: Inventory,
    /// What is known of copies, and of earlier restores.
    pub known: CatalogHints,
}

/// How a restored cluster gets its WAL.
#[derive(Clone, Debug)]
pub struct WalAccess {
    pub command: RestoreCommand,
    /// Repositories that are directories of this host, which must not be restored into.
    pub repositories: Vec<(RepositoryName, PathBuf)>,
}
