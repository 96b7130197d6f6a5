use std::time::Duration;

use aws_sdk_backup::types::{BackupJob, BackupJobState};

use super::super::convert::found;
use super::super::{AwsFailure, AwsTags};
use super::convert::{kept_for, message, percent};
use super::{AwsBackup, Job};

/// A job to start.
#[derive(Clone, Debug)]
pub struct BackupRequest<'a> {
    pub resource: &'a str,
    pub vault: &'a str,
    pub role: &'a str,
    /// Idempotency token: a second request with it starts nothing.
    pub token: &'a str,
    pub start_window: Duration,
    /// Days after which AWS deletes it; `None` is never.
    pub keep_for: Option<u32>,
    pub tags: &'a AwsTags,
}

impl AwsBackup {
    /// Starts a job and returns its ID.
    pub async fn start_backup(&self, request: &BackupRequest<'_>) -> Result<String, AwsFailure> {
        let operation = "StartBackupJob";
        let minutes = i64::try_from(request.start_window.as_secs() / 60).unwrap_or(i64::MAX);
        let mut call = self
            .client
            .start_backup_job()
            .resource_arn(request.resource)
            .backup_vault_name(request.vault)
            .iam_role_arn(request.role)
            .idempotency_token(request.token)
            .start_window_minutes(minutes)
            .set_lifecycle(kept_for(request.keep_for));
        for (key, value) in request.tags.iter() {
            call = call.recovery_point_tags(key, value);
        }
        let answer = call.send().await.map_err(self.region.failed(operation))?;
        answer.backup_job_id.ok_or_else(|| self.region.lacking(operation, "job"))
    }

    pub async fn backup_job(&self, id: &str) -> Result<Option<Job>, AwsFailure> {
        let asked = self.client.describe_backup_job().backup_job_id(id).send().await;
        let Some(answer) = found(asked.map_err(self.region.failed("DescribeBackupJob")))? else {
            return Ok(None);
        };
        Ok(Some(Job {
            id: id.to_owned(),
            state: answer.state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
            percent: percent(answer.percent_done.as_deref()),
            message: message(answer.status_message),
            point: answer.recovery_point_arn,
            role: answer.iam_role_arn,
            by_plan: answer.created_by.is_some(),
            ..Job::default()
        }))
    }

    /// Those of a resource into a vault that have not ended, in no order.
    pub async fn backup_jobs_under_way(&self, resource: &str, vault: &str) -> Result<Vec<Job>, AwsFailure> {
        let mut jobs = Vec::new();
        for state in [BackupJobState::Created, BackupJobState::Pending, BackupJobState::Running] {
            let asked = self.client.list_backup_jobs().by_resource_arn(resource).by_state(state);
            let mut pages = asked.by_backup_vault_name(vault).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(self.region.failed("ListBackupJobs"))?;
                jobs.extend(page.backup_jobs.into_iter().flatten().filter_map(to_backup_job));
            }
        }
        Ok(jobs)
    }
}

fn to_backup_job(job: BackupJob) -> Option<Job> {
    Some(Job {
        id: job.backup_job_id?,
        state: job.state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
        percent: percent(job.percent_done.as_deref()),
        message: message(job.status_message),
        point: job.recovery_point_arn,
        role: job.iam_role_arn,
        by_plan: job.created_by.is_some(),
        ..Job::default()
    })
}
