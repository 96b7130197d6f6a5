use std::collections::BTreeMap;

use aws_sdk_backup::types::RestoreJobsListMember;

use super::super::AwsFailure;
use super::super::convert::{found, time};
use super::convert::{message, percent};
use super::{AwsBackup, Job};

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
        let answer = call.send().await.map_err(self.region.failed(operation))?;
        answer.restore_job_id.ok_or_else(|| self.region.lacking(operation, "job"))
    }

    pub async fn restore_job(&self, id: &str) -> Result<Option<Job>, AwsFailure> {
        let asked = self.client.describe_restore_job().restore_job_id(id).send().await;
        let Some(answer) = found(asked.map_err(self.region.failed("DescribeRestoreJob")))? else {
            return Ok(None);
        };
        Ok(Some(Job {
            id: id.to_owned(),
            state: answer.status.map(|status| status.as_str().to_owned()).unwrap_or_default(),
            percent: percent(answer.percent_done.as_deref()),
            message: message(answer.status_message),
            point: answer.recovery_point_arn,
            created: time(answer.creation_date),
            ended: time(answer.completion_date),
            made: answer.created_resource_arn,
            ..Job::default()
        }))
    }

    /// Returns the metadata that a job was started with.
    pub async fn restore_job_metadata(&self, id: &str) -> Result<BTreeMap<String, String>, AwsFailure> {
        let asked = self.client.get_restore_job_metadata().restore_job_id(id).send().await;
        let answer = asked.map_err(self.region.failed("GetRestoreJobMetadata"))?;
        Ok(answer.metadata.into_iter().flatten().collect())
    }

    /// Returns all that AWS still knows of a recovery point, newest first. S3 says in their messages how many objects
    /// failed, and `COMPLETED` all the same.
    pub async fn restore_jobs(&self, point: &str) -> Result<Vec<Job>, AwsFailure> {
        let mut pages = self.client.list_restore_jobs().into_paginator().send();
        let mut jobs: Vec<Job> = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(self.region.failed("ListRestoreJobs"))?;
            let listed = page.restore_jobs.into_iter().flatten().filter_map(to_restore_job);
            jobs.extend(listed.filter(|job| job.point.as_deref() == Some(point)));
        }
        jobs.sort_by_key(|job| std::cmp::Reverse(job.created));
        Ok(jobs)
    }
}

fn to_restore_job(job: RestoreJobsListMember) -> Option<Job> {
    Some(Job {
        id: job.restore_job_id?,
        state: job.status.map(|status| status.as_str().to_owned()).unwrap_or_default(),
        percent: percent(job.percent_done.as_deref()),
        message: message(job.status_message),
        point: job.recovery_point_arn,
        created: time(job.creation_date),
        ended: time(job.completion_date),
        made: job.created_resource_arn,
        ..Job::default()
    })
}
