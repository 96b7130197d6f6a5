use async_trait::async_trait;

use super::copies::issue;
use super::error::RecoveryPointError;
use super::prepare::{RecoveryPointCapture, is_restored};
use super::resume::backup_of;
use super::{copies, manual_restore, plan_points};
use crate::aws::backup::{BackupJob, BackupRequest, RecoveryPoint};
use crate::aws::{AwsTags, PollError, PollProgress, PolledState};
use crate::event::{Events, Phase, PhaseTimer};
use crate::model::{Artifact, CloudBackup, CloudBackupCopy, Details, ResourceProfile};
use crate::pipeline::MemoryProducer;
use crate::platform::CancellationToken;
use crate::source::capture::{
    ArtifactSink, Capture, CaptureContext, Captured, DETAILS, Naming, SinkError, SourceError,
};

/// How far AWS's clock and this host's may be from another.
const CLOCKS: chrono::TimeDelta = chrono::TimeDelta::minutes(15);

#[async_trait(?Send)]
impl Capture for RecoveryPointCapture<'_> {
    async fn run(
        self: Box<Self>,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, SourceError> {
        let captured = capture(*self, context.naming, sink, context.events, context.cancel).await;
        captured.map_err(SourceError::new)
    }
}

/// Creates the recovery point, or resumes the one that an earlier run began for this backup, and copies it.
async fn capture(
    prepared: RecoveryPointCapture<'_>,
    naming: Naming<'_>,
    sink: &mut dyn ArtifactSink,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Captured, RecoveryPointError> {
    let tags = AwsTags::of_backup(naming.system, naming.source, naming.backup, naming.run);

    let mut phases = PhaseTimer::new(events);
    phases.begin(Phase::RecoveryPoint);
    let (point, said) = match earlier(&prepared, naming).await? {
        Some(point) if point.plan.is_some() => {
            events.notice(format!("adopting recovery point {}, which a plan had made", point.arn));
            (point, None)
        }
        Some(point) => {
            events.notice(format!("going on with recovery point {}, which an earlier run began", point.arn));
            finish(&prepared, point, events, cancel).await?
        }
        None => make(&prepared, naming, &tags, events, cancel).await?,
    };
    phases.end();
    let recovery_point = point.created.ok_or(RecoveryPointError::NoTime)?;
    let metadata = prepared.aws.restore_metadata(&point.vault, &point.arn).await?;

    let copied = copies::copy(&prepared, &point, naming, &tags, events, cancel).await?;
    let mut warnings: Vec<_> = said.map(|said| issue(prepared.aws.region(), &said)).into_iter().collect();
    warnings.extend(copied.issues);
    if !prepared.source.restored_by_aws
        && !point.resource_type.is_empty()
        && !is_restored(&point.resource_type)
    {
        warnings.push(format!(
            "drctl does not restore {}: say `restored_by_aws = true` in the source if AWS's console, or its command line, is to",
            point.resource_type
        ));
    }
    let mut held = vec![CloudBackupCopy {
        region: prepared.aws.region().to_owned(),
        arn: point.arn.clone(),
        vault: Some(point.vault.clone()),
        kms_key: point.kms_key.clone(),
    }];
    held.extend(copied.made);

    let profile = ResourceProfile {
        resource_type: point.resource_type.clone(),
        region: prepared.aws.region().to_owned(),
        metadata,
    };
    let details = store_details(profile, sink, events).await?;
    let commands = manual_restore::lines(&details, &point.resource_type, &prepared.source.role, &held);
    Ok(Captured {
        recovery_point,
        server: None,
        physical: None,
        managed: Some(CloudBackup {
            resource: prepared.source.resource.clone(),
            resource_id: None,
            encrypted: point.encrypted,
            plan: point.plan.clone(),
            allocated_gib: None,
            held,
        }),
        missing_copies: copied.failed,
        warnings,
        producer: format!("AWS Backup ({})", point.resource_type),
        artifacts: vec![details],
        manual_restore: commands,
        excluded: vec![],
    })
}

/// What an earlier run began for this very backup.
async fn earlier(
    prepared: &RecoveryPointCapture<'_>,
    naming: Naming<'_>,
) -> Result<Option<RecoveryPoint>, RecoveryPointError> {
    let mut plans = plan_points::points(&prepared.aws, prepared.source).await?.points.into_iter();
    if let Some(point) =
        plans.find(|point| plan_points::id(point, naming.source).as_ref() == Some(naming.backup))
    {
        return Ok(Some(point));
    }
    let points = prepared.aws.points(&prepared.source.vault, &prepared.source.resource).await?;
    let since = naming.backup.begun() - CLOCKS;
    let perhaps = |point: &&RecoveryPoint| {
        point.plan.is_none() && !point.is_lost() && point.created.is_none_or(|created| created >= since)
    };
    for point in points.iter().filter(perhaps) {
        let backup = backup_of(&prepared.aws, point, naming.system, naming.source).await?;
        if backup.as_ref() == Some(naming.backup) {
            return Ok(Some(point.clone()));
        }
    }
    Ok(None)
}

/// The recovery point, and what AWS said of it although it completed.
type CreatedJob = (RecoveryPoint, Option<String>);

async fn make(
    prepared: &RecoveryPointCapture<'_>,
    naming: Naming<'_>,
    tags: &AwsTags,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<CreatedJob, RecoveryPointError> {
    let source = prepared.source;
    let keep_for = prepared.vault.keep_for();
    if let Some(days) = keep_for {
        events.notice(format!(
            "vault `{}` keeps nothing for longer than {days} days, so AWS deletes this recovery point then",
            source.vault
        ));
    }
    let request = BackupRequest {
        resource: &source.resource,
        vault: &source.vault,
        role: &source.role,
        token: naming.backup.as_str(),
        start_window: source.start_window,
        keep_for,
        tags,
    };
    let id = prepared.aws.start_backup(&request).await.map_err(RecoveryPointError::Start)?;
    let job = wait_for_job(prepared, &id, events, cancel).await?;
    let arn = job.point.ok_or(RecoveryPointError::Nothing)?;
    Ok((whole(prepared, &arn).await?, job.message))
}

/// Waits for what an earlier run began; its job, where AWS still has it among those under way, says more.
async fn finish(
    prepared: &RecoveryPointCapture<'_>,
    point: RecoveryPoint,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<CreatedJob, RecoveryPointError> {
    if point.is_whole() {
        return Ok((point.clone(), point.message));
    }
    let source = prepared.source;
    let jobs = prepared.aws.backup_jobs_under_way(&source.resource, &source.vault).await?;
    if let Some(job) = jobs.into_iter().find(|job| job.point.as_ref() == Some(&point.arn)) {
        let job = wait_for_job(prepared, &job.id, events, cancel).await?;
        return Ok((whole(prepared, &point.arn).await?, job.message));
    }
    let subject = format!("recovery point {}", point.arn);
    let ask =
        async || Ok(prepared.aws.point(&point.vault, &point.arn).await?.map_or(PolledState::Absent, seen));
    match prepared.poll.wait(&subject, events, cancel, ask).await {
        Ok(point) => Ok((point.clone(), point.message)),
        Err(PollError::Gone { .. }) => Err(RecoveryPointError::Removed { arn: point.arn }),
        Err(error) => Err(RecoveryPointError::of_job(error, source.start_window)),
    }
}

fn seen(point: RecoveryPoint) -> PolledState<RecoveryPoint> {
    let progress =
        PollProgress { status: point.status.clone(), percent: None, detail: point.message.clone() };
    match () {
        () if point.is_whole() => PolledState::Done(point),
        () if point.is_lost() => PolledState::Failed(progress),
        () => PolledState::Working(progress),
    }
}

async fn wait_for_job(
    prepared: &RecoveryPointCapture<'_>,
    id: &str,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<BackupJob, RecoveryPointError> {
    let subject = format!("backup job {id} in {}", prepared.aws.region());
    let ask = async || Ok(prepared.aws.backup_job(id).await?.map_or(PolledState::Absent, BackupJob::seen));
    let waited = prepared.poll.wait(&subject, events, cancel, ask).await;
    waited.map_err(|error| RecoveryPointError::of_job(error, prepared.source.start_window))
}

/// A job that completed is not yet a recovery point that can be restored.
async fn whole(prepared: &RecoveryPointCapture<'_>, arn: &str) -> Result<RecoveryPoint, RecoveryPointError> {
    match prepared.aws.point(&prepared.source.vault, arn).await? {
        Some(point) if point.is_whole() => Ok(point),
        Some(point) => Err(RecoveryPointError::NotWhole {
            arn: arn.to_owned(),
            status: point.status,
            said: point.message,
        }),
        None => Err(RecoveryPointError::Removed { arn: arn.to_owned() }),
    }
}

async fn store_details(
    profile: ResourceProfile,
    sink: &mut dyn ArtifactSink,
    events: &Events,
) -> Result<Artifact, RecoveryPointError> {
    let mut phases = PhaseTimer::new(events);
    phases.begin(Phase::Details);
    let details = Details { resource: Some(profile), ..Details::default() };
    let json = serde_json::to_vec_pretty(&details).map_err(RecoveryPointError::Details)?;
    let size = json.len() as u64;
    let stored: Result<_, SinkError> =
        sink.store(DETAILS, Box::new(MemoryProducer::new(json)), Some(size)).await;
    phases.end();
    stored.map_err(RecoveryPointError::Sink)
}
