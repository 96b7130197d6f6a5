//! What a restore created, how it is identified, and the proof that it is gone.

use std::fmt::{self, Display};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::RunId;
use crate::policy::RdsDatabase;

/// Something that a restore created, with the identity that distinguishes it. Serializable, for a later
/// process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum CreatedObject {
    /// A database of a PostgreSQL server: it keeps its OID, and has one of these names.
    Database { oid: u32, names: Vec<String> },
    /// A data directory, by the run that its marker names; with those for tablespaces and WAL that were filled with it.
    Directory { path: PathBuf, beside: Vec<PathBuf>, run: RunId },
    /// A file that had not been there.
    File { path: PathBuf, run: RunId },
    /// An instance or Aurora cluster, by its RDS resource id, or by its tag where that was not seen yet.
    RdsDatabase { region: String, database: RdsDatabase, resource_id: Option<String>, restored_from: String },
    /// What a job of AWS Backup created. `resource_id`: RDS's id of a database, once it was seen.
    Resource { region: String, job: String, arn: Option<String>, resource_id: Option<String> },
    /// What is never removed, and why.
    Shared { what: String, reason: String },
}

impl CreatedObject {
    pub(super) fn shared(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Shared { what: what.into(), reason: reason.into() }
    }
}

impl Display for CreatedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database { oid, names } => write!(f, "database `{}` (oid {oid})", names.join("` or `")),
            Self::Directory { path, .. } => write!(f, "directory `{}`", path.display()),
            Self::File { path, .. } => write!(f, "file `{}`", path.display()),
            Self::RdsDatabase { region, database, .. } => {
                write!(f, "{} `{}` in {region}", database.noun(), database.identifier())
            }
            Self::Resource { region, job, arn: None, .. } => {
                write!(f, "what restore job {job} in {region} made")
            }
            Self::Resource { region, arn: Some(arn), .. } => write!(f, "{arn} in {region}"),
            Self::Shared { what, .. } => f.write_str(what),
        }
    }
}

/// What a teardown removed, and what it left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TeardownReport {
    /// Verified to be gone.
    pub removed: Vec<String>,
    pub left: Vec<LeftObject>,
}

/// Something that is still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftObject {
    pub what: String,
    pub reason: String,
}

impl TeardownReport {
    /// Returns whether nothing of the restore is left.
    pub fn is_complete(&self) -> bool {
        self.left.is_empty()
    }

    /// Records the result for one object; `Err`: why it is left.
    pub(super) fn record(&mut self, object: &CreatedObject, outcome: Result<(), String>) {
        let what = object.to_string();
        match outcome {
            Ok(()) => self.removed.push(what),
            Err(reason) => self.left.push(LeftObject { what, reason }),
        }
    }
}

/// Returns the reason why an object is left that this method does not create.
pub(super) fn not_of_this_method() -> String {
    "another method of restore created it".to_owned()
}
