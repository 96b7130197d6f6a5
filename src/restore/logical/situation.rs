use super::{ArchiveSummary, DatabaseServerFacts, Rates};
use crate::model::{DatabaseFacts, Manifest, RepositoryName};
use crate::postgres::Tools;

/// All facts that the decision needs.
#[derive(Clone, Debug)]
pub struct DumpSurvey {
    pub manifest: Manifest,
    /// The holders of the backup, in the order they are to be tried.
    pub repositories: Vec<RepositoryName>,
    /// The facts of the database when it was dumped.
    pub recorded: DatabaseFacts,
    /// The dump's own table of contents; absent where it cannot be read ahead.
    pub contents: Option<ArchiveSummary>,
    /// The script of roles and tablespaces, where it was requested and exists.
    pub globals: Option<String>,
    pub target: DatabaseServerFacts,
    pub tools: Tools,
    /// Bytes free in the scratch directory.
    pub scratch_free: u64,
    pub rates: Rates,
}
