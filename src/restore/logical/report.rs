use serde::Serialize;

use super::{Compared, GlobalsPlan};
use crate::model::RepositoryName;
use crate::restore::{Aftermath, InactiveJob};

/// The details of a report that only a restored dump has.
#[derive(Clone, Debug, Serialize)]
pub struct DumpDetails {
    pub repository: RepositoryName,
    pub server: String,
    /// Its name: an incomplete database has another one than requested.
    pub database: String,
    /// What equals the recorded facts; absent where something differs.
    pub compared: Option<Compared>,
    pub stored_bytes: u64,
    pub plain_bytes: u64,
    pub globals: Option<GlobalsPlan>,
    /// Jobs that were active when they were dumped.
    pub inactive_jobs: Vec<InactiveJob>,
}

/// What a failed restore leaves on the target server.
#[derive(Debug)]
pub struct DumpAftermath {
    pub cleanup: DumpCleanup,
    /// Roles and tablespaces that were created before it failed; they remain.
    pub globals_made: Vec<String>,
}

/// The state of the database that was restored into.
#[derive(Debug)]
pub enum DumpCleanup {
    NothingMade,
    Dropped {
        database: String,
    },
    Left {
        database: String,
        reason: String,
    },
    /// It was loaded and judged, and could not be published.
    Kept {
        database: String,
        is_complete: bool,
        /// The statements that publish it.
        by_hand: String,
    },
    /// An existing empty database has a part of the dump in it.
    Marked {
        database: String,
    },
    /// The restored database is published; a later step failed.
    Published {
        database: String,
    },
}

impl std::fmt::Display for DumpCleanup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NothingMade => write!(f, "no database was made"),
            Self::Dropped { database } => {
                write!(f, "nothing was published, and the temporary database `{database}` was dropped")
            }
            Self::Left { database, reason } => write!(
                f,
                "nothing was published, but the temporary database `{database}` could not be dropped: {reason}"
            ),
            Self::Kept { database, is_complete: true, .. } => {
                write!(f, "the restored database is complete and compared, and is kept as `{database}`")
            }
            Self::Kept { database, .. } => {
                write!(f, "what was restored is incomplete, and is kept as `{database}`")
            }
            Self::Marked { database } => {
                write!(
                    f,
                    "database `{database}` has a part of it, is not complete, and says so in its comment"
                )
            }
            Self::Published { database } => write!(f, "the restored database `{database}` is published"),
        }
    }
}

impl std::fmt::Display for DumpAftermath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.cleanup.fmt(f)
    }
}

impl Aftermath for DumpAftermath {
    fn is_usable(&self) -> bool {
        matches!(self.cleanup, DumpCleanup::Kept { .. } | DumpCleanup::Published { .. })
    }
}
