use super::plan::ResourceRestoreStep;
use super::report::{ResourceAftermath, ResourceDetails};
use super::{ResourceRestorePlan, ResourceRestoreRequest};
use crate::aws::backup::{AwsBackup, Job, RestoreRequest};
use crate::aws::{Poll, PollError, Waiter};
use crate::checks::CheckResult;
use crate::restore::{AwsRestoreError, CreatedObject, Executed, RestoreProgress, Restored, Stopped};
use crate::run::RunContext;
use crate::text::error_chain;

/// Walks the steps of the plan: starts the job, or resumes the one of an earlier run, and waits for its end.
pub(super) async fn execute(
    run: &RunContext,
    plan: &ResourceRestorePlan,
    progress: &mut RestoreProgress<'_>,
) -> Executed<ResourceRestoreRequest> {
    let earlier = plan.earlier.as_ref();
    let mut started = earlier.map(|earlier| earlier.job.clone());
    let walked = walk(run, plan, &mut started, progress).await;
    let created = walked.as_ref().ok().map(|(_, resource_id)| resource_id.clone());
    progress.created.extend(started.clone().map(|job| match earlier {
        Some(_) => CreatedObject::shared(
            format!("what restore job {job} in {} made", plan.region),
            "an earlier run started the job, and it may be in use",
        ),
        None => CreatedObject::Resource {
            region: plan.region.clone(),
            job,
            arn: walked.as_ref().ok().and_then(|(job, _)| job.made.clone()),
            resource_id: created.flatten(),
        },
    }));
    let (job, _) = walked.map_err(|error| {
        let aftermath = started.map_or(ResourceAftermath::NoJob, ResourceAftermath::Job);
        Stopped { error, aftermath }
    })?;
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

/// Executes the steps. `started`: set to the job as soon as it exists. Returns the finished job, and RDS's id
/// of a created database.
async fn walk(
    run: &RunContext,
    plan: &ResourceRestorePlan,
    started: &mut Option<String>,
    progress: &mut RestoreProgress<'_>,
) -> Result<(Job, Option<String>), AwsRestoreError> {
    let aws = AwsBackup::connect(&plan.place).await?;
    let mut ended = None;
    for step in &plan.steps {
        progress.begin(step.phase());
        match (step, started.as_ref()) {
            (ResourceRestoreStep::StartJob, None) => *started = Some(start(run, &aws, plan).await?),
            (ResourceRestoreStep::AwaitJob, Some(id)) => ended = Some(wait(run, &aws, plan, id).await?),
            (ResourceRestoreStep::StartJob, Some(_)) | (ResourceRestoreStep::AwaitJob, None) => {}
        }
    }
    let job = ended.ok_or(AwsRestoreError::NotStarted)?;
    let is_ours = plan.earlier.is_none();
    let resource_id = match job.made.as_deref().filter(|_| is_ours) {
        Some(made) => aws.resource(made).await.map(|state| state.resource_id()).unwrap_or_else(|failure| {
            tracing::info!("{}", error_chain(&failure));
            None
        }),
        None => None,
    };
    Ok((job, resource_id))
}

async fn wait(
    run: &RunContext,
    aws: &AwsBackup,
    plan: &ResourceRestorePlan,
    id: &str,
) -> Result<Job, AwsRestoreError> {
    let waiter = Waiter { poll: Poll::from(&plan.place), events: &run.events, cancel: &run.cancel };
    let subject = format!("restore job {id} in {}", plan.region);
    let ended = waiter.until(&subject, async || aws.restore_job(id).await, Job::seen).await;
    ended.map_err(|error| match error {
        PollError::Failed { status, detail, .. } => {
            AwsRestoreError::Failed { job: id.to_owned(), status, said: detail }
        }
        error => AwsRestoreError::Wait(error),
    })
}

/// Starts the job. The run's id is the idempotency token: a repeated request whose answer was lost starts
/// nothing.
async fn start(
    run: &RunContext,
    aws: &AwsBackup,
    plan: &ResourceRestorePlan,
) -> Result<String, AwsRestoreError> {
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
    aws.start_restore(&request).await.map_err(AwsRestoreError::Start)
}
