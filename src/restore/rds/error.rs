use std::time::Duration;

use thiserror::Error;

use crate::aws::{AwsError, AwsFailure, PollError};
use crate::repository::SmallError;
use crate::restore::{Refusal, RestoreError};
use crate::run::Interrupted;
use crate::text::{bullet_list, error_chain, format_duration};

/// Why a restore into an instance was given up.
#[derive(Debug, Error)]
pub enum RdsRestoreError {
    #[error("refused, and nothing was touched: {}", bullet_list(.0))]
    Refused(Vec<Refusal>),
    #[error("failed to speak to AWS")]
    Client(#[from] AwsError),
    #[error(transparent)]
    Aws(#[from] AwsFailure),
    #[error(transparent)]
    Wait(#[from] PollError),
    #[error("failed to read how the instance was set up")]
    Details(#[from] SmallError),
    #[error("failed to understand how the instance was set up: `{0}` is not what drctl writes")]
    NotUnderstood(String),
    #[error("RDS does not say where it can be reached")]
    NoEndpoint,
    #[error(
        "IAM authentication is off on `{instance}`, as it was on what it was made from, so that it accepts no IAM token: turn it on with `aws rds modify-db-instance --enable-iam-database-authentication --apply-immediately` (a cluster: `modify-db-cluster`), and run the same command again"
    )]
    NoIam { instance: String },
    #[error("failed to get what the policy logs in with")]
    Unresolved(#[source] crate::postgres::ConnectError),
    #[error(
        "the instance is available, and the login failed{}: check its security groups, its subnet group and the password that it had at that time (with IAM: `rds-db:connect`)",
        within(*.waited)
    )]
    Login {
        waited: Duration,
        #[source]
        source: crate::postgres::ConnectError,
    },
    #[error("the server is there and does not answer as a whole one: {0}")]
    Unsound(String),
    #[error("interrupted")]
    Interrupted,
}

impl RestoreError for RdsRestoreError {
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

/// ` in 10m`; nothing where it was tried once.
fn within(waited: Duration) -> String {
    if waited.is_zero() { String::new() } else { format!(" in {}", format_duration(waited)) }
}

impl From<Interrupted> for RdsRestoreError {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}
