use futures_util::future::join_all;

use super::error::RecoveryPointError;
use super::prepare::{RecoveryPointCapture, vault};
use crate::aws::backup::{AwsBackup, CopyJob, PointCopyRequest, RecoveryPoint, Vault};
use crate::aws::{AwsFailure, AwsTags, FailureKind, PollError, PolledState};
use crate::event::{Events, Phase, PhaseTimer};
use crate::model::CloudBackupCopy;
use crate::platform::CancellationToken;
use crate::policy::VaultCopy;
use crate::source::capture::{MissingCopy, Naming};
use crate::text::error_chain;

/// What became of the copies.
#[derive(Debug, Default)]
pub(super) struct RecoveryPointCopy {
    pub(super) made: Vec<CloudBackupCopy>,
    pub(super) failed: Vec<MissingCopy>,
    pub(super) issues: Vec<String>,
}

/// Copies the recovery point to every vault of the policy, all at a time. Only an interruption is an error.
pub(super) async fn copy(
    prepared: &RecoveryPointCapture<'_>,
    point: &RecoveryPoint,
    naming: Naming<'_>,
    tags: &AwsTags,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<RecoveryPointCopy, RecoveryPointError> {
    let mut copied = RecoveryPointCopy::default();
    let places = &prepared.source.copies;
    if places.is_empty() {
        return Ok(copied);
    }
    if point.is_continuous() {
        let reason =
            "AWS Backup copies no continuous recovery point; run `drctl backup` again for one that it copies";
        let lacks = |place: &VaultCopy| MissingCopy {
            place: format!("region {}", place.region),
            reason: reason.to_owned(),
        };
        copied.failed = places.iter().map(lacks).collect();
        return Ok(copied);
    }
    let mut phases = PhaseTimer::new(events);
    phases.begin(Phase::CopyToRegions);
    let each = places.iter().map(|place| one(prepared, point, place, naming, tags, events, cancel));
    for (place, outcome) in places.iter().zip(join_all(each).await) {
        match outcome {
            Ok((copy, issues)) => {
                copied.issues.extend(issues);
                copied.made.push(copy);
            }
            Err(_) if cancel.is_cancelled() => return Err(RecoveryPointError::Interrupted),
            Err(error) => {
                let place = format!("region {}", place.region);
                copied.failed.push(MissingCopy { place, reason: error_chain(&error) });
            }
        }
    }
    phases.end();
    Ok(copied)
}

#[derive(Debug, thiserror::Error)]
enum RecoveryPointCopyError {
    #[error(transparent)]
    There(#[from] RecoveryPointError),
    #[error(
        "failed to begin the copy{}",
        if .0.kind == FailureKind::NotFound { ": the recovery point was removed meanwhile; take another backup, and find out who removes them" } else { "" }
    )]
    Start(#[source] AwsFailure),
    #[error("the copy job ended as {status}{}; take another backup once that is mended", .said.as_ref().map(|said| format!(": {}", said.trim_end_matches('.'))).unwrap_or_default())]
    Failed { status: String, said: Option<String> },
    #[error(transparent)]
    Wait(PollError),
    #[error("AWS Backup says the copy completed, and not what it made")]
    Nothing,
    #[error("failed to see what was copied before")]
    Jobs(#[source] AwsFailure),
}

async fn one(
    prepared: &RecoveryPointCapture<'_>,
    point: &RecoveryPoint,
    place: &VaultCopy,
    naming: Naming<'_>,
    tags: &AwsTags,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<(CloudBackupCopy, Vec<String>), RecoveryPointCopyError> {
    let there = prepared.source.place.in_region(&place.region);
    let there = AwsBackup::connect(&there).await.map_err(RecoveryPointError::from)?;
    let vault = vault(&there, &place.vault, "copy_to").await?;
    let job = job(prepared, point, &vault, naming).await?;
    let subject = format!("copy job {job} from {} to {}", prepared.aws.region(), place.region);
    // A copy belongs to the region it comes from.
    let ask = async || Ok(prepared.aws.copy_job(&job).await?.map_or(PolledState::Absent, CopyJob::seen));
    let done = match prepared.poll.wait(&subject, events, cancel, ask).await {
        Ok(done) => done,
        Err(PollError::Failed { status, detail, .. }) => {
            return Err(RecoveryPointCopyError::Failed { status, said: detail });
        }
        Err(error) => return Err(RecoveryPointCopyError::Wait(error)),
    };
    let arn = done.point.ok_or(RecoveryPointCopyError::Nothing)?;
    let mut issues: Vec<_> = done.message.iter().map(|said| issue(&place.region, said)).collect();
    // The manifest knows it without them.
    if !done.by_plan
        && let Err(failure) = give_tags(&there, &arn, naming, tags).await
    {
        issues.push(format!(
            "the copy in {} is there, and could not be given drctl's tags: {}",
            place.region,
            error_chain(&failure)
        ));
    }
    let copy = there.point(&place.vault, &arn).await.map_err(RecoveryPointError::from)?;
    let copy = match copy {
        Some(copy) if copy.is_whole() => copy,
        Some(copy) => return Err(RecoveryPointCopyError::Failed { status: copy.status, said: copy.message }),
        None => return Err(RecoveryPointCopyError::There(RecoveryPointError::Removed { arn })),
    };
    let held = CloudBackupCopy {
        region: place.region.clone(),
        arn: copy.arn,
        vault: Some(place.vault.clone()),
        kms_key: copy.kms_key,
    };
    Ok((held, issues))
}

/// The job that copies it there, begun by an earlier run or now. One that failed is not gone on with: it gets
/// a successor with a token of its own.
async fn job(
    prepared: &RecoveryPointCapture<'_>,
    point: &RecoveryPoint,
    to: &Vault,
    naming: Naming<'_>,
) -> Result<String, RecoveryPointCopyError> {
    let jobs = prepared.aws.copy_jobs(&point.arn, &to.arn).await.map_err(RecoveryPointCopyError::Jobs)?;
    let (lost, live): (Vec<_>, Vec<_>) = jobs.into_iter().partition(CopyJob::is_lost);
    if let Some(job) = live.into_iter().next() {
        return Ok(job.id);
    }
    let region = to.arn.split(':').nth(3).unwrap_or_default();
    let token = format!("{}-{region}-{}", naming.backup, lost.len());
    let request = PointCopyRequest {
        point: &point.arn,
        vault: &point.vault,
        to: &to.arn,
        role: &prepared.source.role,
        token: &token,
        keep_for: to.keep_for(),
    };
    prepared.aws.start_copy(&request).await.map_err(RecoveryPointCopyError::Start)
}

/// AWS copies the tags of some kinds of resources, and not of others.
async fn give_tags(
    there: &AwsBackup,
    arn: &str,
    naming: Naming<'_>,
    tags: &AwsTags,
) -> Result<(), AwsFailure> {
    match there.tags(arn).await? {
        Some(known) if known.backup(naming.system, naming.source).as_ref() != Some(naming.backup) => {
            there.tag(arn, tags).await
        }
        _ => Ok(()),
    }
}

/// Returns what a job that completed has to say all the same.
pub(super) fn issue(region: &str, said: &str) -> String {
    format!("AWS Backup completed the job in {region} and says: {}", said.trim_end_matches('.'))
}
