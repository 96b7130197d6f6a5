//! What becomes of the manifests of what AWS keeps, by what becomes of that in every region. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::holding::RegionHoldings;
use super::reason::{ManifestFate, RemoveReason};
use super::source_plan::{Fate, SourcePlan};
use crate::model::{BackupId, SourceName};

/// Returns the fates of the manifests of every source that was surveyed. `plans`: of the regions, in their order. What
/// is not in it stays.
pub(super) fn manifest_fates(
    regions: &[RegionHoldings],
    plans: &[SourcePlan],
) -> BTreeMap<BackupId, ManifestFate> {
    let mut fates: BTreeMap<BackupId, ManifestFate> = BTreeMap::new();
    let unknown: BTreeSet<&SourceName> =
        regions.iter().filter(|region| !region.is_known).map(|region| &region.source).collect();
    for (region, plan) in regions.iter().zip(plans) {
        for backup in &region.removed {
            fates.entry(backup.clone()).or_insert(ManifestFate::Goes(RemoveReason::NoneLeft));
        }
        for backup in &plan.backups {
            let before = fates.remove(&backup.id);
            let fate = match (&backup.fate, before) {
                (Fate::Keep(_), Some(ManifestFate::Stays(mut regions))) => {
                    regions.push(region.region.clone());
                    ManifestFate::Stays(regions)
                }
                (Fate::Keep(_), _) => ManifestFate::Stays(vec![region.region.clone()]),
                (Fate::Remove(_), Some(stays @ ManifestFate::Stays(_))) => stays,
                (Fate::Remove(reason), _) => ManifestFate::Goes(reason.clone()),
            };
            fates.insert(backup.id.clone(), fate);
        }
    }
    // A region that could not be listed may have any of them.
    for (backup, fate) in &mut fates {
        if unknown.contains(backup.source()) {
            *fate = ManifestFate::Stays(vec![]);
        }
    }
    fates
}
