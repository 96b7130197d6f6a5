use aws_sdk_backup::types::CopyJob as Described;

use super::super::AwsFailure;
use super::super::convert::found;
use super::super::poll::{PollProgress, PolledState};
use super::AwsBackup;
use super::convert::{kept_for, message};

/// A job that copies a recovery point to another vault. It belongs to the source region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyJob {
    pub id: String,
    pub state: String,
    pub message: Option<String>,
    /// The copy, once it exists.
    pub point: Option<String>,
    /// It was started by a plan.
    pub by_plan: bool,
}

/// A job to start.
#[derive(Clone, Debug)]
pub struct PointCopyRequest<'a> {
    pub point: &'a str,
    pub vault: &'a str,
    /// ARN of the destination vault.
    pub to: &'a str,
    pub role: &'a str,
    /// Idempotency token: a second request with it starts nothing.
    pub token: &'a str,
    pub keep_for: Option<u32>,
}

impl CopyJob {
    /// Returns whether the job failed.
    pub fn is_lost(&self) -> bool {
        matches!(self.state.as_str(), "FAILED" | "PARTIAL")
    }

    pub fn seen(self) -> PolledState<Self> {
        let progress =
            PollProgress { status: self.state.clone(), percent: None, detail: self.message.clone() };
        match () {
            () if self.state == "COMPLETED" => PolledState::Done(self),
            () if self.is_lost() => PolledState::Failed(progress),
            () => PolledState::Working(progress),
        }
    }
}

impl AwsBackup {
    /// Starts a copy from this region and returns the ID of its job.
    pub async fn start_copy(&self, request: &PointCopyRequest<'_>) -> Result<String, AwsFailure> {
        let operation = "StartCopyJob";
        let call = self
            .client
            .start_copy_job()
            .recovery_point_arn(request.point)
            .source_backup_vault_name(request.vault)
            .destination_backup_vault_arn(request.to)
            .iam_role_arn(request.role)
            .idempotency_token(request.token)
            .set_lifecycle(kept_for(request.keep_for));
        let answer = call.send().await.map_err(self.failed(operation))?;
        answer.copy_job_id.ok_or_else(|| self.lacking(operation, "job"))
    }

    pub async fn copy_job(&self, id: &str) -> Result<Option<CopyJob>, AwsFailure> {
        let asked = self.client.describe_copy_job().copy_job_id(id).send().await;
        let answer = found(asked.map_err(self.failed("DescribeCopyJob")))?;
        Ok(answer.and_then(|answer| answer.copy_job).and_then(to_copy_job))
    }

    /// Lists the jobs that copy a recovery point to a vault, given by its ARN; in no order.
    pub async fn copy_jobs(&self, point: &str, to: &str) -> Result<Vec<CopyJob>, AwsFailure> {
        let asked = self.client.list_copy_jobs().by_source_recovery_point_arn(point);
        let mut pages = asked.by_destination_vault_arn(to).into_paginator().send();
        let mut jobs = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(self.failed("ListCopyJobs"))?;
            jobs.extend(page.copy_jobs.into_iter().flatten().filter_map(to_copy_job));
        }
        Ok(jobs)
    }
}

fn to_copy_job(job: Described) -> Option<CopyJob> {
    Some(CopyJob {
        id: job.copy_job_id?,
        state: job.state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
        message: message(job.status_message),
        point: job.destination_recovery_point_arn,
        by_plan: job.created_by.is_some_and(|creator| creator.backup_plan_id.is_some()),
    })
}
