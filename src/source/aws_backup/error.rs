use std::time::Duration;

use thiserror::Error;

use crate::aws::{AwsError, AwsFailure, FailureKind, PollError};
use crate::source::aws::DetailsError;
use crate::text::format_duration;

/// Why a recovery point could not be created.
#[derive(Debug, Error)]
pub enum RecoveryPointError {
    #[error(
        "drctl does not restore {kind}, so that no backup of {resource} is taken: say `restored_by_aws = true` in the source if AWS's console, or its command line, is to restore it"
    )]
    NotRestored { kind: String, resource: String },
    #[error("failed to speak to AWS")]
    Client(#[from] AwsError),
    #[error(
        "there is no vault `{vault}` in {region}: make it, or look at the source's `{setting}` and `region`"
    )]
    NoVault { vault: String, region: String, setting: &'static str },
    #[error(
        "failed to look at vault `{vault}`{}",
        if .source.kind == FailureKind::Forbidden { " (AWS Backup says the same of a vault that is not there)" } else { "" }
    )]
    Vault { vault: String, source: AwsFailure },
    #[error(
        "there is no plan `{plan}` in {region}: look at the source's `plan`, which is a plan's name or id"
    )]
    NoPlan { plan: String, region: String },
    #[error(
        "failed to begin the job{}",
        if .0.kind == FailureKind::Forbidden { "; starting it also takes iam:PassRole on the policy's `role`" } else { "" }
    )]
    Start(#[source] AwsFailure),
    #[error(
        "AWS Backup did not begin the job within its start window of {}{}: see in its console what else runs on the resource, or give it longer with `start_window`, and run it again",
        format_duration(*.window), detail(.said)
    )]
    Expired { window: Duration, said: Option<String> },
    #[error(
        "AWS Backup made only a part of it (PARTIAL){}: it does not count as a backup; see the job in its console, and run it again",
        detail(.said)
    )]
    Partial { said: Option<String> },
    #[error("the job was stopped in AWS Backup{}: run it again", detail(.said))]
    Aborted { said: Option<String> },
    #[error(
        "the job failed{}: AWS Backup's console says more; mostly the policy's `role` lacks a permission, or the vault's lock does not allow so long a retention",
        detail(.said)
    )]
    Failed { said: Option<String> },
    #[error(
        "recovery point {arn} was removed while it was worked on: run it again, and find out who removes them"
    )]
    Removed { arn: String },
    #[error("failed to query the tags of recovery point {arn}")]
    Tags { arn: String, source: AwsFailure },
    #[error("AWS Backup says the job completed, and not what it made")]
    Nothing,
    #[error("recovery point {arn} is `{status}`{}: it cannot be restored, so it does not count as a backup", detail(.said))]
    NotWhole { arn: String, status: String, said: Option<String> },
    #[error("the recovery point is there, and AWS Backup does not say of which moment it is")]
    NoTime,
    #[error(transparent)]
    Aws(#[from] AwsFailure),
    #[error(transparent)]
    Wait(PollError),
    #[error(transparent)]
    Details(#[from] DetailsError),
    #[error("interrupted")]
    Interrupted,
}

fn detail(said: &Option<String>) -> String {
    said.as_ref().map(|said| format!(" (it says: {})", said.trim_end_matches('.'))).unwrap_or_default()
}

impl RecoveryPointError {
    /// Converts the error of waiting for a job.
    pub(super) fn of_job(error: PollError, window: Duration) -> Self {
        match error {
            PollError::Failed { status, detail: said, .. } => match status.as_str() {
                "EXPIRED" => Self::Expired { window, said },
                "PARTIAL" => Self::Partial { said },
                "ABORTED" => Self::Aborted { said },
                _ => Self::Failed { said },
            },
            other => Self::Wait(other),
        }
    }
}
