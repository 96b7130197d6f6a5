use std::path::PathBuf;

use super::Selection;
use crate::model::{RepositoryName, SourceName};

/// What someone wants restored, and where to.
#[derive(Clone, Debug)]
pub struct Request {
    pub source: SourceName,
    pub backup: Which,
    /// Read from this repository only.
    pub from: Option<RepositoryName>,
    /// The name the restored database gets. The server is told beside it.
    pub database: String,
    /// Connections that load at a time. One needs no scratch disk.
    pub jobs: u32,
    pub selection: Selection,
    /// Make the roles and tablespaces that are missing first.
    pub globals: bool,
    /// Owners and privileges as they were; otherwise everything belongs to the restoring role.
    pub owners: bool,
    /// Tablespaces as they were; otherwise everything goes to the default one.
    pub tablespaces: bool,
    /// Where there is room for the unpacked dump.
    pub scratch: PathBuf,
    /// Drop what earlier restores that were killed have left on the server.
    pub drop_leftovers: bool,
}

/// Which backup of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    Latest,
    /// The only one whose id begins so.
    Prefix(String),
}
