use serde::{Deserialize, Serialize};

/// The confidential facts about a Git repository, beside its refs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitFacts {
    pub branches: u64,
    pub tags: u64,
    /// Refs that are neither: notes, pull requests, …
    pub others: u64,
    pub uses_lfs: bool,
    /// As `.gitmodules` of `HEAD` has them: name and URL.
    pub submodules: Vec<String>,
}
