use std::collections::{BTreeMap, BTreeSet};

use super::aws_backup::recorded_copies;
use super::listing::{FoundCopy, RecordedCopy, RegionListing};
use super::region::CloudRegion;
use crate::catalog::BackupEntry;
use crate::model::{AssuranceLevel, BackupId, CloudBackupCopy, Location, Manifest};
use crate::repository::journal::{JournalRecord, Tombstones};
use crate::retention::holding::{
    HeldBackup, HeldCloudCopy, LeftAlone, RegionHoldings, RetentionSurvey, SourceHoldings,
};
use crate::retention::plan::RetentionPlan;
use crate::retention::reason::KeepReason;
use crate::retention::refusal::{Refusal, RefusalCode};
use crate::text::error_chain;

/// Asks every region what it has, one after the other. `entries`: the manifests; those that no repository holds find
/// nothing. `runs`: the journal.
pub async fn survey_regions(
    regions: &[Box<dyn CloudRegion>],
    entries: &[BackupEntry],
    runs: &[JournalRecord],
) -> Vec<RegionHoldings> {
    let tombstones = Tombstones::new(runs);
    let mut all = Vec::new();
    let mut copied_from: BTreeMap<String, String> = BTreeMap::new();
    let mut unknown: Vec<(usize, Refusal)> = Vec::new();
    for region in regions {
        let own = entries.iter().filter(|entry| entry.is_held() && entry.manifest.source == *region.source());
        let own: Vec<&BackupEntry> = own.filter(|entry| entry.manifest.managed.is_some()).collect();
        let manifests: Vec<&Manifest> = own.iter().map(|entry| &entry.manifest).collect();
        let mut holdings = RegionHoldings {
            source: region.source().clone(),
            region: region.region().to_owned(),
            holdings: SourceHoldings::default(),
            is_known: true,
            is_in_policy: region.is_in_policy(),
            removed: BTreeSet::new(),
            quota: None,
        };
        match region.list(&manifests).await {
            Ok(listing) => {
                let under_way = listing.copied_from.iter().cloned();
                copied_from.extend(under_way.map(|arn| (arn, region.region().to_owned())));
                fill(&mut holdings, &**region, &own, listing, &tombstones);
            }
            // What the policy names no more has nothing to do with the rest.
            Err(error) if !region.is_in_policy() => {
                let why = error_chain(&error);
                let unseen = recorded_copies(&manifests, region.region());
                let listing = RegionListing {
                    unseen: unseen.map(|copy| (copy.arn.clone(), why.clone())).collect(),
                    left: vec![LeftAlone { what: region.region().to_owned(), why, is_in_policy: false }],
                    ..RegionListing::default()
                };
                fill(&mut holdings, &**region, &own, listing, &tombstones);
            }
            Err(error) => {
                holdings.is_known = false;
                unknown.push((all.len(), unlisted(&holdings, &error_chain(&error))));
            }
        }
        all.push(holdings);
    }
    // What a region that cannot be queried has may be all there is.
    for (at, refusal) in unknown {
        let source = all[at].source.clone();
        let of_source = all.iter_mut().filter(|one| one.source == source);
        of_source.for_each(|one| one.holdings.refusals.push(refusal.clone()));
    }
    for held in all.iter_mut().flat_map(|one| &mut one.holdings.backups) {
        let Some(cloud) = &mut held.cloud else { continue };
        if let Some(to) = copied_from.get(&cloud.copy.arn).filter(|_| cloud.stays.is_none()) {
            cloud.stays = Some(KeepReason::InUse(format!("it is being copied to {to}")));
        }
    }
    all
}

fn unlisted(region: &RegionHoldings, why: &str) -> Refusal {
    Refusal::new(
        RefusalCode::ListingIncomplete,
        format!("what AWS keeps of {} in {} is not known: {why}", region.source, region.region),
        "run it again when the region can be queried; the permissions are those of `drctl iam show retention`",
    )
}

fn fill(
    region: &mut RegionHoldings,
    access: &dyn CloudRegion,
    own: &[&BackupEntry],
    listing: RegionListing,
    tombstones: &Tombstones,
) {
    region.quota = listing.quota;
    region.holdings.left = listing.left;
    let accounts: BTreeSet<&str> = listing.copies.iter().filter_map(|one| account(&one.copy.arn)).collect();
    let found: BTreeSet<&str> = listing.copies.iter().map(|one| one.copy.arn.as_str()).collect();
    let recorded = |entry: &&BackupEntry| {
        let held = entry.manifest.managed.iter().flat_map(|managed| &managed.held);
        held.filter(|copy| copy.region == region.region).cloned().collect::<Vec<_>>()
    };
    for one in &listing.copies {
        let Some(entry) = own.iter().find(|entry| *entry.id() == one.backup) else { continue };
        let FoundCopy { copy, is_good, bytes, stays, locked_until, .. } = one.clone();
        let held = HeldBackup { is_bad: !is_good, bytes, locked_until, ..held(entry, copy, stays, true) };
        region.holdings.backups.push(held);
    }
    for entry in own {
        for copy in recorded(entry).into_iter().filter(|copy| !found.contains(copy.arn.as_str())) {
            let foreign = |why: &str| Some(KeepReason::Foreign(why.to_owned()));
            let stays = match account(&copy.arn) {
                _ if listing.unseen.contains_key(&copy.arn) => {
                    listing.unseen.get(&copy.arn).cloned().map(KeepReason::Undetermined)
                }
                _ if !access.would_list(&copy) => {
                    foreign("it is of another kind than the source of the policy is now")
                }
                _ if tombstones.has_cloud_copy(entry.id(), &copy.arn) => {
                    region.removed.insert(entry.id().clone());
                    continue;
                }
                Some(account) if !accounts.contains(account) => {
                    foreign("it is in an account of which nothing was listed")
                }
                _ => None,
            };
            region.holdings.backups.push(held(entry, copy, stays, false));
        }
    }
}

/// Returns the account of an ARN; `None` if it names none.
fn account(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| !account.is_empty())
}

fn held(entry: &BackupEntry, copy: CloudBackupCopy, stays: Option<KeepReason>, is_there: bool) -> HeldBackup {
    HeldBackup {
        id: entry.id().clone(),
        recovery_point: entry.manifest.recovery_point,
        bytes: 0,
        level: entry.state().unwrap_or(AssuranceLevel::Stored),
        is_bad: !is_there,
        cluster: None,
        major: None,
        physical: None,
        parent: None,
        locked_until: None,
        cloud: Some(HeldCloudCopy { copy, is_there, stays }),
    }
}

/// Asks AWS of each copy that a plan removes whether it may go, as far as a listing does not show it. Returns whether
/// the plan has to be made again.
pub async fn inspect_removals(
    regions: &[Box<dyn CloudRegion>],
    entries: &[BackupEntry],
    plan: &RetentionPlan,
    survey: &mut RetentionSurvey,
) -> bool {
    let manifests: BTreeMap<&BackupId, &Manifest> =
        entries.iter().map(|entry| (entry.id(), &entry.manifest)).collect();
    let mut is_changed = false;
    for holdings in &mut survey.regions {
        let location = Location::Region(holdings.region.clone());
        let of_it = plan.sources.iter().find(|one| one.source == holdings.source && one.location == location);
        let mut own = regions.iter().filter(|access| access.source() == &holdings.source);
        let own = own.find(|access| access.region() == holdings.region);
        let (Some(access), Some(planned)) = (own, of_it) else { continue };
        let going: BTreeSet<&BackupId> = planned.removed().map(|backup| &backup.id).collect();
        let backups = holdings.holdings.backups.iter().filter(|held| going.contains(&held.id));
        let there =
            backups.filter_map(|held| Some((held, held.cloud.as_ref().filter(|cloud| cloud.is_there)?)));
        let there: Vec<RecordedCopy<'_>> = there
            .filter_map(|(held, cloud)| {
                Some(RecordedCopy { manifest: manifests.get(&held.id)?, copy: &cloud.copy })
            })
            .collect();
        if there.is_empty() {
            continue;
        }
        match access.objections(&there).await {
            Ok(objections) => {
                for held in &mut holdings.holdings.backups {
                    let Some(cloud) = &mut held.cloud else { continue };
                    if let Some(objection) = objections.get(&held.id) {
                        cloud.stays = Some(objection.clone());
                        is_changed = true;
                    }
                }
            }
            Err(error) => {
                let refusal = unlisted(holdings, &error_chain(&error));
                holdings.holdings.refusals.push(refusal);
                is_changed = true;
            }
        }
    }
    is_changed
}
