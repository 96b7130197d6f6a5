use std::cmp::Reverse;

use super::{Archive, ReplayEnd, ReplayPosition, ReplayRange, TimelineTarget, WalInventory};
use crate::model::{BackupId, BackupKind, Manifest};
use crate::repository::{layout, manifest};
use crate::store::{Store, StoreError, list_all};

/// The newest base backup there that begins behind every gap on the way to `reach`, and has all the log up to it: with
/// it the gaps only keep older moments from being restored. `None`: there is none that can be read.
pub(super) async fn base_behind_gaps(
    store: &dyn Store,
    archive: &Archive,
    holdings: &WalInventory,
    reach: &ReplayRange,
) -> Result<Option<BackupId>, StoreError> {
    let prefix = layout::backups(&archive.system, &archive.source);
    let objects = list_all(store, &prefix).await?;
    let mut ids: Vec<_> = objects.iter().filter_map(|object| layout::parse_manifest(&object.key)).collect();
    ids.retain(|id| id.kind() == BackupKind::Base);
    ids.sort_by_key(|id| Reverse(id.begun()));
    for id in ids {
        // `drctl verify` says what cannot be read.
        let Ok((manifest, _)) = manifest::read(store, &archive.system, &id).await else { continue };
        match leads_to(&manifest, archive, holdings, reach) {
            None => {}
            Some(true) => return Ok(Some(id)),
            // Older ones are before the gap, too.
            Some(false) => return Ok(None),
        }
    }
    Ok(None)
}

/// `None`: it is not a base backup of the cluster, or not one that can be restored by itself.
fn leads_to(
    manifest: &Manifest,
    archive: &Archive,
    holdings: &WalInventory,
    reach: &ReplayRange,
) -> Option<bool> {
    let physical = manifest.physical.as_ref().filter(|_| manifest.cluster() == Some(archive.cluster))?;
    if physical.parent.is_some() || holdings.lacks(physical).is_some() {
        return None;
    }
    let begin = ReplayPosition { timeline: physical.timeline, lsn: physical.start };
    let found = holdings.reach(begin, TimelineTarget::Timeline(reach.end.timeline));
    Some(found.stop == ReplayEnd::End && found.end == reach.end)
}
