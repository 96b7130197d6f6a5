use std::collections::BTreeSet;

use super::error::RecoveryPointError;
use super::plan_points;
use super::prepare::poll;
use crate::aws::backup::{AwsBackup, Job, RecoveryPoint, has_known_tags};
use crate::aws::{FailureKind, PollError, PollProgress, PolledState};
use crate::event::Events;
use crate::model::{BackupId, SourceName, SystemName};
use crate::platform::CancellationToken;
use crate::policy::AwsBackupSource;

/// Recovery points whose tags are queried: the leftovers of a killed run are among the newest.
pub(super) const NEWEST: usize = 10;

/// Returns the backups that have recovery points, oldest first, except failed ones. The repositories record
/// which of them were committed.
pub(super) async fn in_flight(
    source: &AwsBackupSource,
    system: &SystemName,
    name: &SourceName,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Vec<BackupId>, RecoveryPointError> {
    let aws = AwsBackup::connect(&source.place).await?;
    let under_way = aws.backup_jobs_under_way(&source.resource, &source.vault).await?;
    for job in under_way.iter().filter(|job| is_perhaps_ours(job, source) && job.point.is_none()) {
        events.notice(format!(
            "backup job {} of this resource is under way: waiting until it says whose it is",
            job.id
        ));
        until_it_has_a_point(&aws, source, job, events, cancel).await?;
    }
    let mut points = aws.points(&source.vault, &source.resource).await?;
    points.retain(|point| point.plan.is_none() && !point.is_lost() && has_known_tags(&point.arn));
    points.sort_by_key(|point| std::cmp::Reverse(point.created));
    points.truncate(NEWEST);
    let mut backups = BTreeSet::new();
    for point in &points {
        backups.extend(backup_of(&aws, point, system, name).await?);
    }
    // A plan's newest is ordered among them by its own time.
    let plans = plan_points::points(&aws, source).await?;
    backups.extend(plans.newest().filter_map(|point| plan_points::id(point, name)));
    for unread in plans.unread {
        events.warning(unread);
    }
    Ok(backups.into_iter().collect())
}

/// Returns the backup of this source that a recovery point belongs to, by its tags; `None` for one that was
/// deleted.
pub(super) async fn backup_of(
    aws: &AwsBackup,
    point: &RecoveryPoint,
    system: &SystemName,
    name: &SourceName,
) -> Result<Option<BackupId>, RecoveryPointError> {
    match aws.tags(&point.arn).await {
        Ok(tags) => Ok(tags.and_then(|tags| tags.backup(system, name))),
        Err(failure) if failure.kind == FailureKind::NotFound => Ok(None),
        Err(failure) => Err(RecoveryPointError::Tags { arn: point.arn.clone(), source: failure }),
    }
}

/// Returns whether a job may be one of drctl: plans start theirs in their own name, and other users of our
/// role look the same.
fn is_perhaps_ours(job: &Job, source: &AwsBackupSource) -> bool {
    !job.by_plan && job.role.as_ref().is_none_or(|role| *role == source.role)
}

async fn until_it_has_a_point(
    aws: &AwsBackup,
    source: &AwsBackupSource,
    job: &Job,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<(), RecoveryPointError> {
    let subject = format!("backup job {} in {}", job.id, aws.region());
    let ask = async || {
        Ok(match aws.backup_job(&job.id).await? {
            Some(job) if job.point.is_some() => PolledState::Done(()),
            Some(job) => match job.seen() {
                PolledState::Done(_) => PolledState::Done(()),
                PolledState::Working(progress) => PolledState::Working(progress),
                PolledState::Failed(progress) => PolledState::Failed(progress),
                PolledState::Absent => PolledState::Absent,
            },
            None => {
                PolledState::Failed(PollProgress { status: "gone".to_owned(), ..PollProgress::default() })
            }
        })
    };
    match poll(source).wait(&subject, events, cancel, ask).await {
        // It failed, so there is nothing to resume.
        Ok(()) | Err(PollError::Failed { .. }) => Ok(()),
        Err(PollError::Interrupted { .. }) => Err(RecoveryPointError::Interrupted),
        Err(error) => Err(RecoveryPointError::Wait(error)),
    }
}
