//! What the restores from AWS share: their errors, and the details recorded with a backup.

use std::time::Duration;

use thiserror::Error;

use super::{Refusal, RestoreError};
use crate::aws::{AwsError, AwsFailure, FailureKind, PollError};
use crate::model::{Details, Manifest, RepositoryName};
use crate::postgres::ConnectError;
use crate::repository::{SmallError, SmallReader};
use crate::run::{Interrupted, RunContext};
use crate::source::DETAILS;
use crate::text::{bullet_list, error_chain, format_duration};

/// Why a restore from AWS failed.
#[derive(Debug, Error)]
pub enum AwsRestoreError {
    #[error("refused, and nothing was touched: {}", bullet_list(.0))]
    Refused(Vec<Refusal>),
    #[error("failed to speak to AWS")]
    Client(#[from] AwsError),
    #[error(transparent)]
    Aws(#[from] AwsFailure),
    #[error(transparent)]
    Wait(#[from] PollError),
    #[error("failed to read what was recorded with the backup")]
    Details(#[from] SmallError),
    #[error("failed to understand what was recorded with the backup: `{artifact}` {reason}")]
    NotUnderstood { artifact: String, reason: String },
    #[error("failed to query {region} for the recovery point{}", elsewhere(.others))]
    Region { region: String, others: Vec<String>, source: AwsFailure },
    #[error(
        "failed to start the job{}",
        if .0.kind == FailureKind::Forbidden { "; starting it also takes iam:PassRole on the policy's `role`" } else { "" }
    )]
    Start(#[source] AwsFailure),
    #[error("the restore job {job} ended as {status}: {}", .said.as_deref().unwrap_or("AWS Backup does not say why"))]
    Failed { job: String, status: String, said: Option<String> },
    #[error("no restore job was started")]
    NotStarted,
    #[error("RDS does not say where it can be reached")]
    NoEndpoint,
    #[error(
        "IAM authentication is off on `{instance}`, as it was on what it was made from, so that it accepts no IAM token: turn it on with `aws rds modify-db-instance --enable-iam-database-authentication --apply-immediately` (a cluster: `modify-db-cluster`), and run the same command again"
    )]
    NoIam { instance: String },
    #[error("failed to get what the policy logs in with")]
    Unresolved(#[source] ConnectError),
    #[error(
        "the instance is available, and the login failed{}: check its security groups, its subnet group and the password that it had at that time (with IAM: `rds-db:connect`)",
        within(*.waited)
    )]
    Login {
        waited: Duration,
        #[source]
        source: ConnectError,
    },
    #[error("the server is there and does not answer as an intact one: {0}")]
    Unsound(String),
    #[error("interrupted")]
    Interrupted,
}

fn elsewhere(others: &[String]) -> String {
    if others.is_empty() { String::new() } else { format!(" (it is in {} too)", others.join(" and ")) }
}

/// Returns ` in 10m`; an empty text where it was tried once.
fn within(waited: Duration) -> String {
    if waited.is_zero() { String::new() } else { format!(" in {}", format_duration(waited)) }
}

impl RestoreError for AwsRestoreError {
    fn refused(refusals: Vec<Refusal>) -> Self {
        Self::Refused(refusals)
    }

    fn refusals(&self) -> &[Refusal] {
        if let Self::Refused(refusals) = self { refusals } else { &[] }
    }

    /// AWS's messages contain nothing of the data.
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

impl AwsRestoreError {
    /// Returns whether the name of the new resource is taken.
    pub fn is_taken(&self) -> bool {
        let Self::Failed { said: Some(said), .. } = self else { return false };
        let said = said.to_ascii_lowercase();
        said.contains("already exist") || said.contains("already in use") || said.contains("already owned")
    }
}

impl From<Interrupted> for AwsRestoreError {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}

/// Reads the details recorded with a backup. `pick` selects the needed part.
pub(super) async fn recorded<T>(
    run: &RunContext,
    manifest: &Manifest,
    holders: &[RepositoryName],
    pick: impl FnOnce(Details) -> Option<T>,
) -> Result<T, AwsRestoreError> {
    let not_understood = |artifact: &str, reason: String| AwsRestoreError::NotUnderstood {
        artifact: artifact.to_owned(),
        reason,
    };
    let artifact = manifest.artifact_of(DETAILS);
    let artifact =
        artifact.ok_or_else(|| not_understood(DETAILS, format!("is missing in {}", manifest.id)))?;
    let reader = SmallReader {
        repositories: &run.repositories,
        identities: &run.identities,
        events: &run.events,
        cancel: &run.cancel,
    };
    let text = reader.read(manifest, artifact, holders).await?;
    let details = serde_json::from_slice(&text);
    let details = details.map_err(|error| not_understood(&artifact.name, error.to_string()))?;
    pick(details).ok_or_else(|| not_understood(&artifact.name, "has nothing of it".to_owned()))
}
