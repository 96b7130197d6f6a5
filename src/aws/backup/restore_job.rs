use std::collections::BTreeMap;

use aws_sdk_backup::types::RestoreJobsListMember;
use chrono::{DateTime, Utc};

use super::super::AwsFailure;
use super::super::convert::{found, time};
use super::super::poll::{PollProgress, PolledState};
use super::AwsBackup;
use super::convert::{message, number, percent};

/// A job that creates a resource from a recovery point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreJob {
    pub id: String,
    pub status: String,
    pub percent: Option<u8>,
    /// The message from AWS. For S3 it has the number of failed objects, even if the state is `COMPLETED`.
    pub message: Option<String>,
    pub point: Option<String>,
    pub created: Option<DateTime<Utc>>,
    pub ended: Option<DateTime<Utc>>,
    /// ARN of the created resource.
    pub made: Option<String>,
    pub size: Option<u64>,
}

/// A job to start.
#[derive(Clone, Debug)]
pub struct RestoreRequest<'a> {
    pub point: &'a str,
    pub role: &'a str,
    /// `RDS`, `EFS`, `S3`, …
    pub resource_type: &'a str,
    pub metadata: &'a BTreeMap<String, String>,
    /// Idempotency token: a second request with it starts nothing.
    pub token: &'a str,
}

impl RestoreJob {
    /// Returns whether the job failed.
    pub fn is_lost(&self) -> bool {
        matches!(self.status.as_str(), "FAILED" | "ABORTED")
    }

    pub fn is_over(&self) -> bool {
        self.status == "COMPLETED"
    }

    pub fn seen(self) -> PolledState<Self> {
        let progress =
            PollProgress { status: self.status.clone(), percent: self.percent, detail: self.message.clone() };
        match () {
            () if self.is_over() => PolledState::Done(self),
            () if self.is_lost() => PolledState::Failed(progress),
            () => PolledState::Working(progress),
        }
    }
}

impl AwsBackup {
    /// Starts a restore and returns the ID of its job.
    pub async fn start_restore(&self, request: &RestoreRequest<'_>) -> Result<String, AwsFailure> {
        let operation = "StartRestoreJob";
        let metadata = request.metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let call = self
            .client
            .start_restore_job()
            .recovery_point_arn(request.point)
            .iam_role_arn(request.role)
            .resource_type(request.resource_type)
            .idempotency_token(request.token)
            .set_metadata(Some(metadata));
        let answer = call.send().await.map_err(self.failed(operation))?;
        answer.restore_job_id.ok_or_else(|| self.lacking(operation, "job"))
    }

    pub async fn restore_job(&self, id: &str) -> Result<Option<RestoreJob>, AwsFailure> {
        let asked = self.client.describe_restore_job().restore_job_id(id).send().await;
        let Some(answer) = found(asked.map_err(self.failed("DescribeRestoreJob")))? else { return Ok(None) };
        Ok(Some(RestoreJob {
            id: id.to_owned(),
            status: answer.status.map(|status| status.as_str().to_owned()).unwrap_or_default(),
            percent: percent(answer.percent_done.as_deref()),
            message: message(answer.status_message),
            point: answer.recovery_point_arn,
            created: time(answer.creation_date),
            ended: time(answer.completion_date),
            made: answer.created_resource_arn,
            size: number(answer.backup_size_in_bytes),
        }))
    }

    /// Returns the metadata that a job was started with.
    pub async fn restore_job_metadata(&self, id: &str) -> Result<BTreeMap<String, String>, AwsFailure> {
        let asked = self.client.get_restore_job_metadata().restore_job_id(id).send().await;
        let answer = asked.map_err(self.failed("GetRestoreJobMetadata"))?;
        Ok(answer.metadata.into_iter().flatten().collect())
    }

    /// Lists the restore jobs of a recovery point that AWS still knows, newest first.
    pub async fn restore_jobs(&self, point: &str) -> Result<Vec<RestoreJob>, AwsFailure> {
        let mut pages = self.client.list_restore_jobs().into_paginator().send();
        let mut jobs: Vec<RestoreJob> = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(self.failed("ListRestoreJobs"))?;
            let listed = page.restore_jobs.into_iter().flatten().filter_map(to_restore_job);
            jobs.extend(listed.filter(|job| job.point.as_deref() == Some(point)));
        }
        jobs.sort_by_key(|job| std::cmp::Reverse(job.created));
        Ok(jobs)
    }
}

fn to_restore_job(job: RestoreJobsListMember) -> Option<RestoreJob> {
    Some(RestoreJob {
        id: job.restore_job_id?,
        status: job.status.map(|status| status.as_str().to_owned()).unwrap_or_default(),
        percent: percent(job.percent_done.as_deref()),
        message: message(job.status_message),
        point: job.recovery_point_arn,
        created: time(job.creation_date),
        ended: time(job.completion_date),
        made: job.created_resource_arn,
        size: number(job.backup_size_in_bytes),
    })
}
