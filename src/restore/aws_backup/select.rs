//! The choice of the backup and of the region.

use super::ResourceRestoreRequest;
use super::kind::{LATEST, TIME};
use crate::aws::backup::is_continuous;
use crate::model::{BackupId, BackupKind, CloudBackupCopy, Manifest};
use crate::restore::refusal::ambiguous;
use crate::restore::{Refusal, RefusalClass};
use crate::text::quoted_list;

/// How many ids a refusal names.
const NAMED: usize = 3;

/// Selects the backup. `manifests`: in any order, of any source.
pub(super) fn choose<'m>(
    manifests: &[&'m Manifest],
    request: &ResourceRestoreRequest,
) -> Result<&'m Manifest, Refusal> {
    let mut own: Vec<&Manifest> = manifests
        .iter()
        .copied()
        .filter(|manifest| manifest.source == request.source && manifest.kind == BackupKind::RecoveryPoint)
        .collect();
    own.sort_by(|a, b| b.id.cmp(&a.id));
    let names =
        |list: &[&Manifest]| list.iter().take(NAMED).map(|one| one.id.clone()).collect::<Vec<BackupId>>();
    let Some(newest) = own.first() else {
        let message = format!("no recovery point of `{}` is known", request.source);
        return Err(Refusal::nothing("no-recovery-point", message));
    };
    let Some(prefix) = &request.backup else {
        if !asks_for_a_moment(request) {
            return Ok(newest);
        }
        let held = |one: &Manifest| {
            one.managed.iter().flat_map(|managed| managed.held.first()).any(|copy| is_continuous(&copy.arn))
        };
        let continuous = own.iter().copied().find(|one| held(one));
        return continuous.ok_or_else(|| {
            let message = format!(
                "no continuous recovery point of `{}` is known, and others have one moment each",
                request.source
            );
            Refusal::nothing("not-continuous", message)
        });
    };
    let found: Vec<_> = own.iter().copied().filter(|one| one.id.as_str().starts_with(prefix)).collect();
    match found.as_slice() {
        [only] => Ok(only),
        [] => {
            let message = format!(
                "`{}` has no recovery point that begins with `{prefix}`; the newest are {}",
                request.source,
                quoted_list(&names(&own))
            );
            Err(Refusal::usage("no-backup", message))
        }
        several => Err(ambiguous(RefusalClass::Usage, prefix, &names(several))),
    }
}

/// Returns whether the request names a point in time, which only a continuous recovery point has.
fn asks_for_a_moment(request: &ResourceRestoreRequest) -> bool {
    let given = request.changes.iter().filter(|(_, value)| !value.is_empty());
    given.map(|(key, _)| key).any(|key| [TIME, LATEST].iter().any(|known| known.eq_ignore_ascii_case(key)))
}

/// Returns the copy in the requested region, or else the one where the recovery point was created.
pub(super) fn place(manifest: &Manifest, region: Option<&str>) -> Result<CloudBackupCopy, Refusal> {
    let held = manifest.managed.as_ref().map(|managed| managed.held.as_slice()).unwrap_or_default();
    let found = match region {
        Some(region) => held.iter().find(|copy| copy.region == region),
        None => held.first(),
    };
    found.cloned().ok_or_else(|| {
        let held: Vec<_> = held.iter().map(|copy| copy.region.as_str()).collect();
        let message = format!(
            "{} is not in {}; it is in {}",
            manifest.id,
            region.unwrap_or("any region"),
            held.join(" and ")
        );
        Refusal::nothing("not-in-region", message)
    })
}
