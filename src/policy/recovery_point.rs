//! Sources that belong together, and what keeps their data from changing apart.

use std::time::Duration;

use crate::model::SourceName;

/// How the backups of several sources become one recovery point.
#[derive(Clone, Debug)]
pub struct PointPolicy {
    /// In the order they are taken; the time of the first is the point's. Never empty.
    pub members: Vec<SourceName>,
    pub pause: Option<PauseHooks>,
    /// What must be true between members after a restore.
    pub references: Vec<Reference>,
}

/// Programs that keep the application from writing while the members are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PauseHooks {
    /// A program and its arguments. Never empty.
    pub pause: Vec<String>,
    /// A program and its arguments. Never empty.
    pub resume: Vec<String>,
    /// How long the application may be paused.
    pub deadline: Duration,
}

/// Rows of one member that name files of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub source: SourceName,
    /// A query of one column: paths in `files`.
    pub query: String,
    /// The member that has the files.
    pub files: SourceName,
    /// Of the paths in the member's own directory; empty: its top.
    pub prefix: String,
}
