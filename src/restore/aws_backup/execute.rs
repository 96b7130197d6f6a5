use super::{
    ResourceRestoreError, ResourceRestoreFailure, ResourceRestorePlan, ResourceRestoreReport,
    ResourceRestoreRequest, Run,
};
use crate::aws::backup::{AwsBackup, RestoreJob, RestoreRequest};
use crate::aws::{Poll, PollError, PolledState};

impl Run {
    /// Begins the job, or goes on with the one that an earlier run began, and waits for its end.
    pub async fn execute(
        &self,
        request: &ResourceRestoreRequest,
        plan: &ResourceRestorePlan,
    ) -> Result<ResourceRestoreReport, ResourceRestoreFailure> {
        self.restore(request, plan).await.map_err(|source| ResourceRestoreFailure {
            backup: plan.backup.clone(),
            region: plan.region.clone(),
            source,
        })
    }

    async fn restore(
        &self,
        request: &ResourceRestoreRequest,
        plan: &ResourceRestorePlan,
    ) -> Result<ResourceRestoreReport, ResourceRestoreError> {
        let place = request.config.place.in_region(&plan.region);
        let aws = AwsBackup::of(&place).await?;
        let id = match &plan.earlier {
            Some(earlier) => earlier.job.clone(),
            None => self.begin(&aws, plan).await?,
        };
        let subject = format!("restore job {id} in {}", plan.region);
        let poll = Poll { every: place.poll, deadline: place.deadline };
        let ask = async || Ok(aws.restore_job(&id).await?.map_or(PolledState::Absent, RestoreJob::seen));
        let job = match poll.wait(&subject, &self.events, &self.cancel, ask).await {
            Ok(job) => job,
            Err(PollError::Failed { status, detail, .. }) => {
                return Err(ResourceRestoreError::Failed { job: id, status, said: detail });
            }
            Err(error) => return Err(ResourceRestoreError::Wait(error)),
        };
        let seconds = job.created.zip(job.ended).map(|(begun, ended)| (ended - begun).as_seconds_f64());
        Ok(ResourceRestoreReport {
            run: self.id.clone(),
            backup: plan.backup.clone(),
            recovery_point: plan.recovery_point,
            region: plan.region.clone(),
            job: id,
            created: job.made,
            seconds,
            is_unseen: plan
                .earlier
                .as_ref()
                .is_some_and(|earlier| earlier.is_over && earlier.is_there.is_none()),
            was_over: plan.earlier.as_ref().is_some_and(|earlier| earlier.is_over),
            issues: job.message.into_iter().collect(),
            notes: plan.notes.clone(),
        })
    }

    /// The run's id is the token: a request whose answer was lost begins nothing when it is repeated.
    async fn begin(
        &self,
        aws: &AwsBackup,
        plan: &ResourceRestorePlan,
    ) -> Result<String, ResourceRestoreError> {
        let mut metadata = plan.metadata.clone();
        if metadata.get("newFileSystem").is_some_and(|value| value == "true") {
            metadata.entry("CreationToken".to_owned()).or_insert_with(|| format!("drctl-{}", self.id));
        }
        let request = RestoreRequest {
            point: &plan.point,
            role: &plan.role,
            resource_type: &plan.resource_type,
            metadata: &metadata,
            token: self.id.as_str(),
        };
        aws.start_restore(&request).await.map_err(ResourceRestoreError::Start)
    }
}
