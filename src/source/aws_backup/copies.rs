use super::error::RecoveryPointError;
use super::prepare::{RecoveryPointCapture, vault};
use crate::aws::backup::{AwsBackup, Job, PointCopyRequest, RecoveryPoint, Vault};
use crate::aws::{AwsFailure, AwsTags, FailureKind, PollError};
use crate::model::CloudBackupCopy;
use crate::policy::VaultCopy;
use crate::source::aws::{copy_to_regions, missing_in};
use crate::source::capture::{CaptureContext, MissingCopy, Naming};
use crate::text::error_chain;

/// A copy, and AWS's messages although it completed.
type PointCopy = (CloudBackupCopy, Vec<String>);

/// Copies the recovery point to every vault of the policy.
pub(super) async fn copy(
    prepared: &RecoveryPointCapture<'_>,
    point: &RecoveryPoint,
    tags: &AwsTags,
    context: &CaptureContext<'_>,
) -> Result<(Vec<(String, PointCopy)>, Vec<MissingCopy>), RecoveryPointError> {
    let places = &prepared.source.copies;
    if point.is_continuous() {
        let reason =
            "AWS Backup copies no continuous recovery point; run `drctl backup` again for one that it copies";
        let missing = places.iter().map(|place| missing_in(&place.region, reason.to_owned()));
        return Ok((vec![], missing.collect()));
    }
    let copy = async |place: &VaultCopy| one(prepared, point, place, tags, context).await;
    let copied = copy_to_regions(places, |place| &place.region, context, copy).await;
    copied.ok_or(RecoveryPointError::Interrupted)
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
    #[error("the copy job ended as {status}{}; take another backup once that is fixed", .said.as_ref().map(|said| format!(": {}", said.trim_end_matches('.'))).unwrap_or_default())]
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
    tags: &AwsTags,
    context: &CaptureContext<'_>,
) -> Result<PointCopy, RecoveryPointCopyError> {
    let naming = context.naming;
    let there = prepared.source.place.in_region(&place.region);
    let there = AwsBackup::connect(&there).await.map_err(RecoveryPointError::from)?;
    let vault = vault(&there, &place.vault, "copy_to").await?;
    let job = job(prepared, point, &vault, naming).await?;
    let subject = format!("copy job {job} from {} to {}", prepared.aws.region(), place.region);
    // A copy job belongs to the region it copies from.
    let find = async || prepared.aws.copy_job(&job).await;
    let done = match prepared.waiter(context).until(&subject, find, Job::seen).await {
        Ok(done) => done,
        Err(PollError::Failed { status, detail, .. }) => {
            return Err(RecoveryPointCopyError::Failed { status, said: detail });
        }
        Err(error) => return Err(RecoveryPointCopyError::Wait(error)),
    };
    let arn = done.point.ok_or(RecoveryPointCopyError::Nothing)?;
    let mut issues: Vec<_> = done.message.iter().map(|said| issue(&place.region, said)).collect();
    // For a plan's recovery point, the manifest identifies it without tags.
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

/// Returns the copy job, started by an earlier run or now. A failed one is not resumed: it gets a successor
/// with a token of its own.
async fn job(
    prepared: &RecoveryPointCapture<'_>,
    point: &RecoveryPoint,
    to: &Vault,
    naming: Naming<'_>,
) -> Result<String, RecoveryPointCopyError> {
    let jobs = prepared.aws.copy_jobs(&point.arn, &to.arn).await.map_err(RecoveryPointCopyError::Jobs)?;
    let (lost, live): (Vec<_>, Vec<_>) = jobs.into_iter().partition(Job::is_lost);
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

/// Tags a copy: AWS copies the tags of some kinds of resources, and not of others.
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

/// Returns the message of a completed job as text.
pub(super) fn issue(region: &str, said: &str) -> String {
    format!("AWS Backup completed the job in {region} and says: {}", said.trim_end_matches('.'))
}
