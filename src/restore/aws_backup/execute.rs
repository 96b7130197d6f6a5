use super::report::{ResourceAftermath, ResourceDetails};
use super::{ResourceRestoreError, ResourceRestorePlan};
use crate::aws::backup::{AwsBackup, RestoreJob, RestoreRequest};
use crate::aws::{Poll, PollError, PolledState};
use crate::checks::CheckResult;
use crate::event::Phase;
use crate::restore::{RestoreProgress, Restored, Stopped};
use crate::run::RunContext;

/// Begins the job, or resumes the one that an earlier run began, and waits for its end.
pub(super) async fn execute(
    run: &RunContext,
    plan: &ResourceRestorePlan,
    progress: &mut RestoreProgress<'_>,
) -> Result<Restored<ResourceDetails>, Stopped<ResourceRestoreError, ResourceAftermath>> {
    progress.begin(Phase::RestoreJob);
    let mut begun = plan.earlier.as_ref().map(|earlier| earlier.job.clone());
    let job = match job(run, plan, &mut begun).await {
        Ok(job) => job,
        Err(error) => {
            let aftermath = begun.map_or(ResourceAftermath::NoJob, ResourceAftermath::Job);
            return Err(Stopped { error, aftermath });
        }
    };
    let earlier = plan.earlier.as_ref();
    let details = ResourceDetails {
        region: plan.region.clone(),
        job: job.id,
        created: job.made,
        job_seconds: job.created.zip(job.ended).map(|(begun, ended)| (ended - begun).as_seconds_f64()),
        is_unseen: earlier.is_some_and(|earlier| earlier.is_over && earlier.is_there.is_none()),
        was_over: earlier.is_some_and(|earlier| earlier.is_over),
        issues: job.message.into_iter().collect(),
    };
    progress.checks.push(CheckResult::passed("job-completed", details.job.clone()));
    let created = details.created.as_deref().unwrap_or("a resource that AWS Backup does not name");
    Ok(Restored {
        to: format!("{created} in {}", plan.region),
        recovery_point: plan.recovery_point,
        left_out: details.shortcomings(),
        notes: plan.notes.clone(),
        details,
    })
}

/// `begun`: the job, as soon as there is one.
async fn job(
    run: &RunContext,
    plan: &ResourceRestorePlan,
    begun: &mut Option<String>,
) -> Result<RestoreJob, ResourceRestoreError> {
    let aws = AwsBackup::connect(&plan.place).await?;
    let id = match begun {
        Some(id) => id.clone(),
        None => begun.insert(begin(run, &aws, plan).await?).clone(),
    };
    let subject = format!("restore job {id} in {}", plan.region);
    let poll = Poll { every: plan.place.poll, deadline: plan.place.deadline };
    let ask = async || Ok(aws.restore_job(&id).await?.map_or(PolledState::Absent, RestoreJob::seen));
    match poll.wait(&subject, &run.events, &run.cancel, ask).await {
        Ok(job) => Ok(job),
        Err(PollError::Failed { status, detail, .. }) => {
            Err(ResourceRestoreError::Failed { job: id, status, said: detail })
        }
        Err(error) => Err(ResourceRestoreError::Wait(error)),
    }
}

/// The run's id is the token: a request whose answer was lost begins nothing when it is repeated.
async fn begin(
    run: &RunContext,
    aws: &AwsBackup,
    plan: &ResourceRestorePlan,
) -> Result<String, ResourceRestoreError> {
    let mut metadata = plan.metadata.clone();
    if metadata.get("newFileSystem").is_some_and(|value| value == "true") {
        metadata.entry("CreationToken".to_owned()).or_insert_with(|| format!("drctl-{}", run.id));
    }
    let request = RestoreRequest {
        point: &plan.point,
        role: &plan.role,
        resource_type: &plan.resource_type,
        metadata: &metadata,
        token: run.id.as_str(),
    };
    aws.start_restore(&request).await.map_err(ResourceRestoreError::Start)
}
