use super::await_snapshot::warn_of_quota;
use super::error::SnapshotError;
use super::prepare::SnapshotCapture;
use crate::aws::rds::{Rds, Snapshot, SnapshotCopyRequest, SnapshotId};
use crate::aws::{AwsFailure, AwsTags, FailureKind, PollError, Start, start_or_adopt};
use crate::policy::RdsRegion;
use crate::source::aws::copy_to_regions;
use crate::source::capture::{CaptureContext, MissingCopy};
use crate::text::format_duration;

/// Copies the snapshot to every region of the policy. RDS queues those of one database.
pub(super) async fn copy(
    prepared: &SnapshotCapture<'_>,
    snapshot: &Snapshot,
    tags: &AwsTags,
    context: &CaptureContext<'_>,
) -> Result<(Vec<(String, Snapshot)>, Vec<MissingCopy>), SnapshotError> {
    let copy = async |region: &RdsRegion| one(prepared, snapshot, region, tags, context).await;
    let copied = copy_to_regions(&prepared.source.regions, |region| &region.name, context, copy).await;
    copied.ok_or(SnapshotError::Interrupted)
}

#[derive(Debug, thiserror::Error)]
enum SnapshotCopyError {
    #[error(
        "the database is encrypted, and the policy names no key there: add `kms_key` to `copy_to.{region}`"
    )]
    NoKey { region: String },
    #[error("RDS copies no snapshots of Multi-AZ clusters: only Aurora's, and those of instances")]
    NotCopied,
    #[error(
        "RDS would not begin it for {}, as it makes 20 copies to a region at a time, and keeps so many manual snapshots there",
        format_duration(*.waited)
    )]
    Busy {
        waited: std::time::Duration,
        #[source]
        said: AwsFailure,
    },
    #[error(transparent)]
    Other(#[from] SnapshotError),
}

impl From<AwsFailure> for SnapshotCopyError {
    fn from(failure: AwsFailure) -> Self {
        Self::Other(failure.into())
    }
}

impl From<PollError> for SnapshotCopyError {
    fn from(error: PollError) -> Self {
        Self::Other(error.into())
    }
}

async fn one(
    prepared: &SnapshotCapture<'_>,
    snapshot: &Snapshot,
    region: &RdsRegion,
    tags: &AwsTags,
    context: &CaptureContext<'_>,
) -> Result<Snapshot, SnapshotCopyError> {
    if snapshot.encrypted && region.kms_key.is_none() {
        return Err(SnapshotCopyError::NoKey { region: region.name.clone() });
    }
    let is_aurora = snapshot.engine.as_deref().is_some_and(|engine| engine.starts_with("aurora"));
    if prepared.profile.cluster.is_some() && !is_aurora {
        return Err(SnapshotCopyError::NotCopied);
    }
    let there = prepared.source.place.in_region(&region.name);
    let rds = Rds::connect(&there).await.map_err(SnapshotError::Client)?;
    if region.kms_key.is_some() && key_of_copy(snapshot, region).is_none() {
        context.events.warning(format!(
            "the copy in {} is not encrypted, as the cluster is not: AWS encrypts no copy of an unencrypted cluster's snapshot, and `kms_key` is not used (`drctl doctor` says what encrypts it)",
            region.name
        ));
    }
    match rds.snapshot(&snapshot.id).await? {
        Some(copy) => is_copy(&copy, snapshot, &rds)?,
        None => begin(&rds, prepared, snapshot, region, tags, context).await?,
    }
    let copy = prepared.wait(&rds, &snapshot.id, context).await?;
    is_copy(&copy, snapshot, &rds)?;
    warn_of_quota(&rds, &snapshot.id, context.events).await;
    Ok(copy)
}

/// Returns the KMS key of a copy. RDS accepts none for an unencrypted cluster's snapshot, and encrypts an
/// instance's.
fn key_of_copy(snapshot: &Snapshot, region: &RdsRegion) -> Option<String> {
    let may_be = snapshot.encrypted || matches!(snapshot.id, SnapshotId::Instance(_));
    region.kms_key.clone().filter(|_| may_be)
}

async fn begin(
    rds: &Rds,
    prepared: &SnapshotCapture<'_>,
    snapshot: &Snapshot,
    region: &RdsRegion,
    tags: &AwsTags,
    context: &CaptureContext<'_>,
) -> Result<(), SnapshotCopyError> {
    let request = SnapshotCopyRequest {
        from: snapshot.arn.clone(),
        to: snapshot.id.clone(),
        kms_key: key_of_copy(snapshot, region),
        option_group: None,
        tags: tags.clone(),
    };
    let until = tokio::time::Instant::now() + prepared.poll.deadline;
    loop {
        let failure = match start_or_adopt(rds.copy_snapshot(&request), rds.snapshot(&snapshot.id)).await {
            Start::Begun => return Ok(()),
            Start::Found(copy) => return is_copy(&copy, snapshot, rds),
            Start::Failed { failure, .. } => failure,
        };
        // Concurrent copies and manual snapshots have separate limits with the same error code.
        let is_full = match rds.snapshot_quota(&snapshot.id).await {
            Ok(Some((used, most))) => used >= most,
            _ => false,
        };
        if failure.kind != FailureKind::Quota || is_full {
            return Err(failure.into());
        }
        if tokio::time::Instant::now() > until {
            return Err(SnapshotCopyError::Busy { waited: prepared.poll.deadline, said: failure });
        }
        tokio::select! {
            () = tokio::time::sleep(prepared.poll.every) => {}
            () = context.cancel.cancelled() => return Err(SnapshotError::Interrupted.into()),
        }
    }
}

fn is_copy(copy: &Snapshot, snapshot: &Snapshot, rds: &Rds) -> Result<(), SnapshotCopyError> {
    if copy.tags.is_managed() && copy.copied_from.as_ref().is_none_or(|from| *from == snapshot.arn) {
        return Ok(());
    }
    Err(SnapshotCopyError::Other(SnapshotError::Taken {
        identifier: copy.id.as_str().to_owned(),
        region: rds.region().to_owned(),
        what: "it is not drctl's copy of it",
    }))
}
