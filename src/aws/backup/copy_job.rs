use aws_sdk_backup::types::CopyJob;

use super::super::AwsFailure;
use super::super::convert::found;
use super::convert::{kept_for, message};
use super::{AwsBackup, Job};

/// A job to be begun, which belongs to the region that it copies from.
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
        let answer = call.send().await.map_err(self.region.failed(operation))?;
        answer.copy_job_id.ok_or_else(|| self.region.lacking(operation, "job"))
    }

    pub async fn copy_job(&self, id: &str) -> Result<Option<Job>, AwsFailure> {
        let asked = self.client.describe_copy_job().copy_job_id(id).send().await;
        let answer = found(asked.map_err(self.region.failed("DescribeCopyJob")))?;
        Ok(answer.and_then(|answer| answer.copy_job).and_then(to_copy_job))
    }

    /// Of a recovery point to a vault, as its ARN names it; in no order.
    pub async fn copy_jobs(&self, point: &str, to: &str) -> Result<Vec<Job>, AwsFailure> {
        let asked = self.client.list_copy_jobs().by_source_recovery_point_arn(point);
        let mut pages = asked.by_destination_vault_arn(to).into_paginator().send();
        let mut jobs = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(self.region.failed("ListCopyJobs"))?;
            jobs.extend(page.copy_jobs.into_iter().flatten().filter_map(to_copy_job));
        }
        Ok(jobs)
    }
}

fn to_copy_job(job: CopyJob) -> Option<Job> {
    Some(Job {
        id: job.copy_job_id?,
        state: job.state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
        message: message(job.status_message),
        point: job.destination_recovery_point_arn,
        by_plan: job.created_by.is_some_and(|creator| creator.backup_plan_id.is_some()),
        ..Job::default()
    })
}
