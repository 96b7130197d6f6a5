//! Deletes what a plan removes from the regions, gently: one after the other, longer and longer apart where AWS throttles.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::listing::RecordedCopy;
use super::region::{CloudRegion, CloudRemovalError, RemovedCopy};
use crate::model::{BackupId, Location, Manifest, RunId};
use crate::platform::CancellationToken;
use crate::repository::journal::{CloudRemoval, Detail};
use crate::retention::holding::{HeldBackup, HeldCloudCopy, RegionHoldings};
use crate::retention::report::{ApplyReport, FailedRemoval, LockedBackup, RemovedBackup};
use crate::retention::source_plan::{Fate, PlannedBackup, SourcePlan};
use crate::retention::tombstone;
use crate::run::RunContext;
use crate::text::{count, error_chain};

/// Attempts at one deletion that AWS throttles, beside the retries within a call.
const ATTEMPTS: u32 = 4;
/// The longest pause between two of them.
const LONGEST: Duration = Duration::from_secs(60);

/// What of one source goes from one region in this run.
#[derive(Clone, Copy)]
pub(in crate::retention) struct RegionRemoval<'p> {
    pub plan: &'p SourcePlan,
    pub holdings: &'p RegionHoldings,
    pub access: &'p dyn CloudRegion,
}

/// One copy that goes.
#[derive(Clone, Copy)]
struct GoingCopy<'p> {
    planned: &'p PlannedBackup,
    manifest: &'p Manifest,
    cloud: &'p HeldCloudCopy,
}

impl<'p> RegionRemoval<'p> {
    fn location(&self) -> Location {
        self.plan.location.clone()
    }

    /// Returns what goes, the oldest first: what is left when it is interrupted are the newest.
    fn going(&self, manifests: &HashMap<&BackupId, &'p Manifest>) -> Vec<GoingCopy<'p>> {
        let planned: BTreeMap<&BackupId, &PlannedBackup> =
            self.plan.removed().map(|backup| (&backup.id, backup)).collect();
        let mut held: Vec<&HeldBackup> = self.holdings.holdings.backups.iter().collect();
        held.sort_by_key(|held| (held.recovery_point, &held.id));
        let of = |held: &&'p HeldBackup| {
            let cloud = held.cloud.as_ref().filter(|cloud| cloud.is_there && cloud.stays.is_none())?;
            Some(GoingCopy { planned: planned.get(&held.id)?, manifest: manifests.get(&held.id)?, cloud })
        };
        held.iter().filter_map(of).collect()
    }

    fn fail(&self, report: &mut ApplyReport, what: String, reason: String, is_denied: bool) {
        report.failed.push(FailedRemoval { location: self.location(), what, reason, is_denied });
    }
}

/// Deletes what goes from every region, and goes past what fails. Returns the backups that are gone, with the region.
pub(in crate::retention) async fn remove_from_regions<'p>(
    run: &RunContext,
    regions: &[RegionRemoval<'p>],
    manifests: &HashMap<&BackupId, &'p Manifest>,
    used: &mut BTreeSet<RunId>,
    report: &mut ApplyReport,
) -> BTreeSet<(String, BackupId)> {
    let all: Vec<(&RegionRemoval<'p>, Vec<GoingCopy<'p>>)> =
        regions.iter().map(|region| (region, region.going(manifests))).collect();
    let mut gone = BTreeSet::new();
    if !is_written_down(run, &all, used, report).await {
        return gone;
    }
    for (region, going) in all {
        remove_from(run, region, &going, report, &mut gone).await;
    }
    gone
}

/// Writes down what is going to be deleted. `false`: no repository took it, so that nothing goes.
async fn is_written_down(
    run: &RunContext,
    all: &[(&RegionRemoval<'_>, Vec<GoingCopy<'_>>)],
    used: &mut BTreeSet<RunId>,
    report: &mut ApplyReport,
) -> bool {
    let (known, now) = (run.tombstones().await, run.clock.now());
    // One that is locked does not go, and one that could not be carried out is not written down each time.
    let is_new = |one: &&GoingCopy<'_>| {
        one.planned.locked_until.is_none_or(|until| until <= now)
            && !known.has_cloud_copy(&one.planned.id, &one.cloud.copy.arn)
    };
    let tombstones =
        all.iter().flat_map(|(region, going)| going.iter().filter(is_new).map(|one| removal(region, one)));
    for cloud_removals in tombstone::chunks(&tombstones.collect::<Vec<_>>()) {
        let lost = tombstone::append(run, Detail { cloud_removals, ..Detail::default() }, used).await;
        let is_lost = |name: &crate::model::RepositoryName| lost.iter().any(|lost| lost.name == *name);
        if run.repositories.writable().all(|repository| is_lost(&repository.name)) {
            let why = lost.first().map_or_else(|| "none can be written to".to_owned(), |lost| lost.reason());
            for (region, going) in all.iter().filter(|(_, going)| !going.is_empty()) {
                let what = format!("{} of {}", count(going.len() as u64, "backup"), region.plan.source);
                let reason = format!("no repository took a record of what goes: {why}");
                region.fail(report, what, reason, false);
            }
            return false;
        }
    }
    true
}

fn removal(region: &RegionRemoval<'_>, one: &GoingCopy<'_>) -> CloudRemoval {
    CloudRemoval {
        backup: one.planned.id.clone(),
        region: region.holdings.region.clone(),
        arn: one.cloud.copy.arn.clone(),
        vault: one.cloud.copy.vault.clone(),
        reason: match &one.planned.fate {
            Fate::Remove(reason) => reason.to_string(),
            Fate::Keep(_) => String::new(),
        },
    }
}

async fn remove_from(
    run: &RunContext,
    region: &RegionRemoval<'_>,
    going: &[GoingCopy<'_>],
    report: &mut ApplyReport,
    gone: &mut BTreeSet<(String, BackupId)>,
) {
    for (n, one) in going.iter().enumerate() {
        if run.cancel.is_cancelled() {
            return;
        }
        let (backup, now) = (&one.planned.id, run.clock.now());
        if one.planned.locked_until.is_some_and(|until| until > now) {
            report.locked.push(LockedBackup {
                location: region.location(),
                backup: backup.clone(),
                until: one.planned.locked_until,
            });
            continue;
        }
        let removed =
            RemovedBackup { location: region.location(), backup: backup.clone(), bytes: one.planned.bytes };
        match remove_one(region.access, one, &run.cancel).await {
            Ok(RemovedCopy::Gone) => {
                report.removed.push(removed);
                gone.insert((region.holdings.region.clone(), backup.clone()));
            }
            Ok(RemovedCopy::Begun) => report.deleting.push(removed),
            Ok(RemovedCopy::Locked(until)) => {
                let location = region.location();
                report.locked.push(LockedBackup { location, backup: backup.clone(), until });
            }
            Ok(RemovedCopy::Stays(why)) => region.fail(report, backup.to_string(), why.to_string(), false),
            // What comes after it would be throttled too.
            Err(error) if error.is_throttled() => {
                let what = format!("{} of {}", count((going.len() - n) as u64, "backup"), region.plan.source);
                region.fail(report, what, error_chain(&error), false);
                return;
            }
            Err(error) => {
                region.fail(report, backup.to_string(), error_chain(&error), error.is_denied());
            }
        }
    }
}

/// Tries again, later and later, what AWS throttles.
async fn remove_one(
    access: &dyn CloudRegion,
    one: &GoingCopy<'_>,
    cancel: &CancellationToken,
) -> Result<RemovedCopy, CloudRemovalError> {
    let mut pause = access.pause();
    let going = RecordedCopy { manifest: one.manifest, copy: &one.cloud.copy };
    for _ in 1..ATTEMPTS {
        let throttled = match access.remove(going).await {
            Err(error) if error.is_throttled() => error,
            other => return other,
        };
        tokio::select! {
            () = tokio::time::sleep(pause.min(LONGEST)) => {}
            // Another run may have the lease by now.
            () = cancel.cancelled() => return Err(throttled),
        }
        pause *= 2;
    }
    access.remove(going).await
}
