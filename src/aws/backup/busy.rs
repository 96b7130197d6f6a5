use std::collections::BTreeMap;

use aws_sdk_backup::types::{CopyJobState, RestoreJobStatus};

use super::super::AwsFailure;
use super::AwsBackup;

impl AwsBackup {
    /// Returns the recovery points of this region that a job is reading, and what it does.
    pub async fn points_in_use(&self) -> Result<BTreeMap<String, &'static str>, AwsFailure> {
        let mut used = BTreeMap::new();
        for state in [CopyJobState::Created, CopyJobState::Running] {
            let mut pages = self.client.list_copy_jobs().by_state(state).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(self.region.failed("ListCopyJobs"))?;
                let points = page.copy_jobs.into_iter().flatten();
                let points = points.filter_map(|job| job.source_recovery_point_arn);
                used.extend(points.map(|point| (point, "AWS Backup is copying it")));
            }
        }
        for status in [RestoreJobStatus::Pending, RestoreJobStatus::Running] {
            let mut pages = self.client.list_restore_jobs().by_status(status).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(self.region.failed("ListRestoreJobs"))?;
                let points = page.restore_jobs.into_iter().flatten();
                let points = points.filter_map(|job| job.recovery_point_arn);
                used.extend(points.map(|point| (point, "AWS Backup is restoring it")));
            }
        }
        Ok(used)
    }
}
