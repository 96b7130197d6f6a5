use std::collections::BTreeMap;

use super::ResourceRestoreRequest;
use super::select::{choose, place};
use crate::aws::backup::{AwsBackup, Job, RecoveryPoint};
use crate::model::{CloudBackupCopy, Manifest, ResourceProfile};
use crate::restore::aws::recorded;
use crate::restore::{AwsRestoreError, Refusal};
use crate::run::RunContext;
use crate::text::error_chain;

/// All facts that the plan needs.
#[derive(Clone, Debug)]
pub struct ResourceSurvey {
    pub(super) manifest: Manifest,
    /// Where it is restored.
    pub(super) place: CloudBackupCopy,
    pub(super) point: Option<RecoveryPoint>,
    pub(super) profile: ResourceProfile,
    /// Jobs of this recovery point, newest first.
    pub(super) jobs: Vec<RunningJob>,
}

/// A job of an earlier run that did not fail.
#[derive(Clone, Debug)]
pub(super) struct RunningJob {
    pub(super) job: Job,
    /// The metadata passed to it.
    pub(super) metadata: BTreeMap<String, String>,
    /// Whether the created resource still exists; `None`: unknown, or the job is still running.
    pub(super) is_there: Option<bool>,
}

/// Collects the facts, and changes nothing. Only the region of the restore is queried.
pub(super) async fn survey(
    run: &RunContext,
    request: &ResourceRestoreRequest,
) -> Result<ResourceSurvey, AwsRestoreError> {
    let refused = |refusal: Refusal| AwsRestoreError::Refused(vec![refusal]);
    let manifests: Vec<_> = request.known.iter().map(|(manifest, _)| manifest).collect();
    let manifest = choose(&manifests, request).map_err(refused)?.clone();
    let place = place(&manifest, request.region.as_deref()).map_err(refused)?;
    let holders = request.known.iter().find(|(one, _)| one.id == manifest.id);
    let holders = holders.map(|(_, holders)| holders.as_slice()).unwrap_or_default();

    let aws = AwsBackup::to_look(&request.config.place.in_region(&place.region)).await?;
    let vault = place.vault.clone().unwrap_or_default();
    let others = || {
        let held = manifest.managed.iter().flat_map(|managed| &managed.held);
        held.filter(|copy| copy.region != place.region).map(|copy| copy.region.clone()).collect()
    };
    let point = aws.point(&vault, &place.arn).await.map_err(|source| AwsRestoreError::Region {
        region: place.region.clone(),
        others: others(),
        source,
    })?;
    let profile = match (run.identities.is_empty(), &point) {
        (false, _) | (_, None) => recorded(run, &manifest, holders, |details| details.resource).await?,
        // Without an identity that opens the backup, the region of the restore is queried.
        (true, Some(point)) => ResourceProfile {
            resource_type: point.resource_type.clone(),
            region: home(&manifest),
            metadata: aws.restore_metadata(&vault, &place.arn).await?,
        },
    };
    let mut jobs = Vec::new();
    for job in aws.restore_jobs(&place.arn).await?.into_iter().filter(|job| !job.is_lost()) {
        let metadata = aws.restore_job_metadata(&job.id).await?;
        let is_there = match job.made.as_deref().filter(|_| job.is_over()) {
            // It is unknown where the role may not query it.
            Some(made) => aws.resource(made).await.map(|state| state.is_there()).unwrap_or_else(|failure| {
                run.events.warning(format!(
                    "whether {made} is still there is not known: {}",
                    error_chain(&failure)
                ));
                None
            }),
            None => None,
        };
        jobs.push(RunningJob { job, metadata, is_there });
    }
    Ok(ResourceSurvey { manifest, place, point, profile, jobs })
}

/// Returns the region where it was created.
fn home(manifest: &Manifest) -> String {
    let held = manifest.managed.iter().flat_map(|managed| &managed.held).next();
    held.map(|copy| copy.region.clone()).unwrap_or_default()
}
