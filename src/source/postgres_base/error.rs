use std::time::Duration;

use thiserror::Error;

use super::backup_manifest::RangeError;
use super::missing_files::MissingFiles;
use super::preflight::BasePreflight;
use crate::platform::ProcessError;
use crate::postgres::{ConnectError, FactsError, ToolsError};
use crate::source::capture::SinkError;
use crate::source::incremental::FullBackupReason;
use crate::text::format_duration;

pub(super) const QUESTION_WITHIN: Duration = Duration::from_secs(60);

/// Why a cluster could not be copied.
#[derive(Debug, Error)]
pub enum BaseError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("failed to find out about the server `{server}`")]
    Question { server: String, source: sqlx::Error },
    #[error("failed to find out about the server `{server}`")]
    Facts { server: String, source: FactsError },
    #[error(
        "failed to find out about the server `{server}`: no answer in {}",
        format_duration(QUESTION_WITHIN)
    )]
    NoAnswer { server: String },
    #[error("failed to understand the server `{server}`: {what} is `{value}`")]
    Value { server: String, what: &'static str, value: String },
    #[error("a base backup of `{server}` could not be taken or not be restored:{}", listed(.list))]
    Refused { server: String, list: Vec<BasePreflight> },
    #[error("failed to copy `{server}`")]
    Tools { server: String, source: ToolsError },
    #[error("failed to copy `{server}`")]
    Start { server: String, source: ProcessError },
    #[error("failed to copy `{server}`")]
    Store { server: String, source: SinkError },
    #[error("an incremental base backup of `{server}` cannot be taken: {why}")]
    NoIncremental { server: String, why: FullBackupReason },
    #[error("failed to determine which WAL the copy of `{server}` needs")]
    Range { server: String, source: RangeError },
    #[error(
        "timed out after {} waiting for `{server}` to archive the WAL of this backup (`drctl wal status` says why)",
        format_duration(*.waited)
    )]
    NotArchived { server: String, waited: Duration },
    #[error(
        "the copy of `{server}` lacks what PostgreSQL needs, and is not kept:{}\n    {}",
        listed(.lacking),
        remedy(*.over_replication)
    )]
    Incomplete { server: String, lacking: Vec<MissingFiles>, over_replication: bool },
    #[error("failed to write down what the copy of `{server}` needs")]
    Details { server: String, source: serde_json::Error },
    #[error("the copy of `{server}` was interrupted")]
    Interrupted { server: String },
}

/// Returns a possible cause, and what to do.
fn remedy(over_replication: bool) -> &'static str {
    if over_replication {
        "hint: Links inside the data directory are followed with `method = \"data-directory\"`, on the server's host; over a replication connection PostgreSQL leaves them out"
    } else {
        "hint: Is every file system of the server mounted where drctl runs? Then try again: what was dropped meanwhile is not missed"
    }
}

fn listed(list: &[impl std::fmt::Display]) -> String {
    list.iter().map(|item| format!("\n    {item}")).collect()
}
