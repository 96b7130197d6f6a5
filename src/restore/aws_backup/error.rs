use thiserror::Error;

use super::InvalidMetadata;
use crate::aws::{AwsError, AwsFailure, FailureKind, PollError};
use crate::model::{BackupId, SourceName};
use crate::repository::SmallError;
use crate::text::bullet_list;

/// Why a restore is not begun. Nothing was made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ResourceRefusal {
    #[error("no recovery point of `{0}` is known")]
    Nothing(SourceName),
    #[error("no continuous recovery point of `{0}` is known, and others have one moment each")]
    NotContinuous(SourceName),
    #[error("`{source_name}` has no recovery point that begins with `{prefix}`; the newest are {}", list(.newest))]
    Unknown { source_name: SourceName, prefix: String, newest: Vec<BackupId> },
    #[error("`{prefix}` is the beginning of several backups: {}", list(.found))]
    Ambiguous { prefix: String, found: Vec<BackupId> },
    #[error("{backup} is not in {region}; it is in {}", .held.join(" and "))]
    NotHeld { backup: BackupId, region: String, held: Vec<String> },
    #[error("AWS Backup does not have {arn} in {region} any more")]
    Gone { arn: String, region: String },
    #[error("{arn} is `{status}`, and can be restored only when it is whole")]
    NotWhole { arn: String, status: String },
    #[error("drctl does not restore `{0}`: AWS's own tools do")]
    UnknownKind(String),
    #[error(transparent)]
    Key(#[from] InvalidMetadata),
}

fn list(ids: &[BackupId]) -> String {
    ids.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", ")
}

impl ResourceRefusal {
    /// Whether there is nothing to restore, rather than something wrong with what is asked.
    pub fn is_nothing(&self) -> bool {
        matches!(
            self,
            Self::Nothing(_)
                | Self::NotContinuous(_)
                | Self::Gone { .. }
                | Self::NotWhole { .. }
                | Self::NotHeld { .. }
        )
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Nothing(_) => "`drctl backup` makes one.",
            Self::NotContinuous(_) => {
                "`drctl list` shows of which moments there are backups: name one with `--backup`. For any moment a plan of AWS Backup has to back it up continuously; name the plan in the source's `plan`."
            }
            Self::Unknown { .. } | Self::Ambiguous { .. } => "`drctl list` shows what there is.",
            Self::NotHeld { .. } => "Name a region that has it with `--from`.",
            Self::Gone { .. } | Self::NotWhole { .. } => {
                "Name another region with `--from`, or an older backup with `--backup`."
            }
            Self::UnknownKind(_) => {
                "AWS Backup's console restores it, and so do the commands of AWS's own command line that `drctl show` has."
            }
            Self::Key(_) => "Say what the new resource is with `--to-resource KEY=VALUE`.",
        }
    }
}

/// Why a restore was given up.
#[derive(Debug, Error)]
pub enum ResourceRestoreError {
    #[error("refused, and nothing was touched: {}", bullet_list(.0))]
    Refused(Vec<ResourceRefusal>),
    #[error("failed to speak to AWS")]
    Client(#[from] AwsError),
    #[error("{region} cannot be asked for the recovery point{}", elsewhere(.others))]
    Region { region: String, others: Vec<String>, source: AwsFailure },
    #[error("failed to read what a restore has to say")]
    Details(#[from] SmallError),
    #[error("failed to understand what a restore has to say: `{artifact}` {reason}")]
    NotUnderstood { artifact: String, reason: String },
    #[error(
        "failed to begin the job{}",
        if .0.kind == FailureKind::Forbidden { "; whoever begins it also needs iam:PassRole on the policy's `role`" } else { "" }
    )]
    Start(#[source] AwsFailure),
    #[error("the restore job {job} ended as {status}: {}", .said.as_deref().unwrap_or("AWS Backup does not say why"))]
    Failed { job: String, status: String, said: Option<String> },
    #[error(transparent)]
    Wait(PollError),
    #[error(transparent)]
    Aws(#[from] AwsFailure),
    #[error("interrupted")]
    Interrupted,
}

fn elsewhere(others: &[String]) -> String {
    if others.is_empty() { String::new() } else { format!(" (it is in {} too)", others.join(" and ")) }
}

impl ResourceRestoreError {
    pub fn is_interruption(&self) -> bool {
        matches!(
            self,
            Self::Interrupted
                | Self::Wait(PollError::Interrupted { .. })
                | Self::Details(SmallError::Interrupted)
        )
    }

    /// The name of what is to be made is another's.
    pub fn is_taken(&self) -> bool {
        let Self::Failed { said: Some(said), .. } = self else { return false };
        let said = said.to_ascii_lowercase();
        said.contains("already exist") || said.contains("already in use") || said.contains("already owned")
    }
}
