use thiserror::Error;

use crate::aws::{AwsError, AwsFailure, FailureKind, PollError};
use crate::repository::SmallError;
use crate::restore::{Refusal, RestoreError};
use crate::run::Interrupted;
use crate::text::{bullet_list, error_chain};

/// Why a restore was given up.
#[derive(Debug, Error)]
pub enum ResourceRestoreError {
    #[error("refused, and nothing was touched: {}", bullet_list(.0))]
    Refused(Vec<Refusal>),
    #[error("failed to speak to AWS")]
    Client(#[from] AwsError),
    #[error("failed to query {region} for the recovery point{}", elsewhere(.others))]
    Region { region: String, others: Vec<String>, source: AwsFailure },
    #[error("failed to read what a restore has to say")]
    Details(#[from] SmallError),
    #[error("failed to understand what a restore has to say: `{artifact}` {reason}")]
    NotUnderstood { artifact: String, reason: String },
    #[error(
        "failed to start the job{}",
        if .0.kind == FailureKind::Forbidden { "; starting it also takes iam:PassRole on the policy's `role`" } else { "" }
    )]
    Start(#[source] AwsFailure),
    #[error("the restore job {job} ended as {status}: {}", .said.as_deref().unwrap_or("AWS Backup does not say why"))]
    Failed { job: String, status: String, said: Option<String> },
    #[error(transparent)]
    Wait(PollError),
    #[error(transparent)]
    Aws(#[from] AwsFailure),
    #[error("no restore job was started")]
    NotStarted,
    #[error("interrupted")]
    Interrupted,
}

fn elsewhere(others: &[String]) -> String {
    if others.is_empty() { String::new() } else { format!(" (it is in {} too)", others.join(" and ")) }
}

impl RestoreError for ResourceRestoreError {
    fn refused(refusals: Vec<Refusal>) -> Self {
        Self::Refused(refusals)
    }

    fn refusals(&self) -> &[Refusal] {
        if let Self::Refused(refusals) = self { refusals } else { &[] }
    }

    /// AWS's words say nothing of the data.
    fn journal_reason(&self) -> String {
        error_chain(self)
    }

    fn is_interruption(&self) -> bool {
        matches!(
            self,
            Self::Interrupted
                | Self::Wait(PollError::Interrupted { .. })
                | Self::Details(SmallError::Interrupted)
        )
    }
}

impl ResourceRestoreError {
    /// The name of what is to be made is another's.
    pub fn is_taken(&self) -> bool {
        let Self::Failed { said: Some(said), .. } = self else { return false };
        let said = said.to_ascii_lowercase();
        said.contains("already exist") || said.contains("already in use") || said.contains("already owned")
    }
}

impl From<Interrupted> for ResourceRestoreError {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}
