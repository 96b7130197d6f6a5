use async_trait::async_trait;

use super::copies::issue;
use super::error::RecoveryPointError;
use super::prepare::{RecoveryPointCapture, is_restored};
use super::resume::backup_of;
use super::{copies, manual_restore, plan_points};
use crate::aws::backup::{BackupRequest, Job, RecoveryPoint};
use crate::aws::{AwsTags, PollError, PollProgress, PolledState, Waiter};
use crate::event::{Phase, PhaseTimer};
use crate::model::{CloudBackup, CloudBackupCopy, Details, ResourceProfile};
use crate::source::aws::store_details;
use crate::source::capture::{ArtifactSink, Capture, CaptureContext, Captured, Naming, SourceError};

/// The maximum difference between AWS's clock and this host's.
const CLOCKS: chrono::TimeDelta = chrono::TimeDelta::minutes(15);

/// The recovery point, and AWS's message, if any, although it completed.
type CreatedJob = (RecoveryPoint, Option<String>);

#[async_trait(?Send)]
impl Capture for RecoveryPointCapture<'_> {
    async fn run(
        self: Box<Self>,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, SourceError> {
        self.capture(context, sink).await.map_err(SourceError::new)
    }
}

impl RecoveryPointCapture<'_> {
    /// Creates the recovery point, or resumes the one that an earlier run started for this backup, and copies
    /// it.
    async fn capture(
        &self,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, RecoveryPointError> {
        let CaptureContext { naming, events, .. } = *context;
        let region = self.aws.region();
        let tags = AwsTags::of_backup(naming.system, naming.source, naming.backup, naming.run);
        let mut phases = PhaseTimer::new(events);
        phases.begin(Phase::RecoveryPoint);
        let (point, said) = match self.earlier(naming).await? {
            Some(point) if point.plan.is_some() => {
                events.notice(format!("adopting recovery point {}, which a plan had made", point.arn));
                (point, None)
            }
            Some(point) => {
                events.notice(format!("resuming recovery point {} of an earlier run", point.arn));
                self.finish(point, context).await?
            }
            None => self.make(&tags, context).await?,
        };
        phases.end();
        let recovery_point = point.created.ok_or(RecoveryPointError::NoTime)?;
        let metadata = self.aws.restore_metadata(&point.vault, &point.arn).await?;

        let (copies, missing_copies) = copies::copy(self, &point, &tags, context).await?;
        let mut warnings: Vec<_> = said.map(|said| issue(region, &said)).into_iter().collect();
        let mut held = vec![CloudBackupCopy {
            region: region.to_owned(),
            arn: point.arn.clone(),
            vault: Some(point.vault.clone()),
            kms_key: point.kms_key.clone(),
        }];
        for (_, (copy, issues)) in copies {
            held.push(copy);
            warnings.extend(issues);
        }
        if !self.source.restored_by_aws
            && !point.resource_type.is_empty()
            && !is_restored(&point.resource_type)
        {
            warnings.push(format!(
                "drctl does not restore {}: say `restored_by_aws = true` in the source if AWS's console, or its command line, is to",
                point.resource_type
            ));
        }

        let profile = ResourceProfile {
            resource_type: point.resource_type.clone(),
            region: region.to_owned(),
            metadata,
        };
        let details = Details { resource: Some(profile), ..Details::default() };
        let details = store_details(&details, sink, context).await?;
        let commands = manual_restore::lines(&details, &point.resource_type, &self.source.role, &held);
        Ok(Captured {
            recovery_point,
            server: None,
            physical: None,
            parent: None,
            managed: Some(CloudBackup {
                resource: self.source.resource.clone(),
                resource_id: None,
                encrypted: point.encrypted,
                plan: point.plan.clone(),
                allocated_gib: None,
                held,
            }),
            missing_copies,
            warnings,
            producer: format!("AWS Backup ({})", point.resource_type),
            artifacts: vec![details],
            manual_restore: commands,
            excluded: vec![],
        })
    }

    /// Returns what an earlier run started for this very backup.
    async fn earlier(&self, naming: Naming<'_>) -> Result<Option<RecoveryPoint>, RecoveryPointError> {
        let mut plans = plan_points::points(&self.aws, self.source).await?.points.into_iter();
        if let Some(point) =
            plans.find(|point| plan_points::id(point, naming.source).as_ref() == Some(naming.backup))
        {
            return Ok(Some(point));
        }
        let points = self.aws.points(&self.source.vault, &self.source.resource).await?;
        let since = naming.backup.begun() - CLOCKS;
        let perhaps = |point: &&RecoveryPoint| {
            point.plan.is_none() && !point.is_lost() && point.created.is_none_or(|created| created >= since)
        };
        for point in points.iter().filter(perhaps) {
            let backup = backup_of(&self.aws, point, naming.system, naming.source).await?;
            if backup.as_ref() == Some(naming.backup) {
                return Ok(Some(point.clone()));
            }
        }
        Ok(None)
    }

    async fn make(
        &self,
        tags: &AwsTags,
        context: &CaptureContext<'_>,
    ) -> Result<CreatedJob, RecoveryPointError> {
        let source = self.source;
        let keep_for = self.vault.keep_for();
        if let Some(days) = keep_for {
            context.events.notice(format!(
                "vault `{}` keeps nothing for longer than {days} days, so AWS deletes this recovery point then",
                source.vault
            ));
        }
        let request = BackupRequest {
            resource: &source.resource,
            vault: &source.vault,
            role: &source.role,
            token: context.naming.backup.as_str(),
            start_window: source.start_window,
            keep_for,
            tags,
        };
        let id = self.aws.start_backup(&request).await.map_err(RecoveryPointError::Start)?;
        let job = self.wait_for_job(&id, context).await?;
        let arn = job.point.ok_or(RecoveryPointError::Nothing)?;
        Ok((self.whole(&arn).await?, job.message))
    }

    /// Waits for what an earlier run started; its job, where AWS still lists it as running, has more details.
    async fn finish(
        &self,
        point: RecoveryPoint,
        context: &CaptureContext<'_>,
    ) -> Result<CreatedJob, RecoveryPointError> {
        if point.is_whole() {
            return Ok((point.clone(), point.message));
        }
        let source = self.source;
        let jobs = self.aws.backup_jobs_under_way(&source.resource, &source.vault).await?;
        if let Some(job) = jobs.into_iter().find(|job| job.point.as_ref() == Some(&point.arn)) {
            let job = self.wait_for_job(&job.id, context).await?;
            return Ok((self.whole(&point.arn).await?, job.message));
        }
        let subject = format!("recovery point {}", point.arn);
        let find = async || self.aws.point(&point.vault, &point.arn).await;
        match self.waiter(context).until(&subject, find, seen).await {
            Ok(point) => Ok((point.clone(), point.message)),
            Err(PollError::Gone { .. }) => Err(RecoveryPointError::Removed { arn: point.arn }),
            Err(error) => Err(RecoveryPointError::of_job(error, source.start_window)),
        }
    }

    pub(super) fn waiter<'a>(&self, context: &CaptureContext<'a>) -> Waiter<'a> {
        Waiter { poll: self.poll, events: context.events, cancel: context.cancel }
    }

    async fn wait_for_job(&self, id: &str, context: &CaptureContext<'_>) -> Result<Job, RecoveryPointError> {
        let subject = format!("backup job {id} in {}", self.aws.region());
        let job =
            self.waiter(context).until(&subject, async || self.aws.backup_job(id).await, Job::seen).await;
        job.map_err(|error| RecoveryPointError::of_job(error, self.source.start_window))
    }

    /// Returns the recovery point of a completed job, which may not be restorable.
    async fn whole(&self, arn: &str) -> Result<RecoveryPoint, RecoveryPointError> {
        match self.aws.point(&self.source.vault, arn).await? {
            Some(point) if point.is_whole() => Ok(point),
            Some(point) => Err(RecoveryPointError::NotWhole {
                arn: arn.to_owned(),
                status: point.status,
                said: point.message,
            }),
            None => Err(RecoveryPointError::Removed { arn: arn.to_owned() }),
        }
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
