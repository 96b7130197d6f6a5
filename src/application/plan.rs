use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::event::Phase;
use crate::model::{BackupId, RepositoryName, RunId, SourceName};
use crate::restore::Method;

/// What a restore of an application will do.
#[derive(Clone, Debug, Serialize)]
pub struct ApplicationPlan {
    /// The recovery point; absent where the members were not taken as one.
    pub point: Option<RunId>,
    /// That of the first member; absent where it is as new as possible.
    pub time: Option<DateTime<Utc>>,
    /// How well the members fit together.
    pub label: String,
    /// In the order in which they are begun.
    pub members: Vec<MemberPlan>,
    /// How many of them are restored at a time.
    pub at_once: usize,
    /// What is compared after that: rows of one member with files of another.
    pub references: Vec<String>,
    pub notes: Vec<String>,
    /// An earlier attempt is resumed.
    pub resumes: bool,
}

/// What will be done for one member.
#[derive(Clone, Debug, Serialize)]
pub struct MemberPlan {
    pub source: SourceName,
    pub method: Method,
    pub backup: Option<BackupId>,
    /// The time whose data it has.
    pub recovery_point: DateTime<Utc>,
    pub to: String,
    /// In the order they are tried.
    pub from: Vec<RepositoryName>,
    /// Before compression and encryption.
    pub bytes: u64,
    pub stored_bytes: u64,
    /// From earlier restores; absent where there was none.
    pub estimated_seconds: Option<f64>,
    pub steps: Vec<Phase>,
    pub notes: Vec<String>,
    /// An earlier attempt restored it.
    pub is_restored: bool,
}
