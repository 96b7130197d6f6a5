//! The choice of the backup, and of what it builds on.

use chrono::{DateTime, Utc};

use super::{ContentRestoreRequest, ContentSelector};
use crate::model::{BackupId, Manifest, RepositoryName};
use crate::repository::{BackupRecord, CLOCK_TOLERANCE, Inventory};
use crate::restore::refusal::{ambiguous, in_repository};
use crate::restore::{Refusal, RefusalClass};
use crate::text::{format_time, quoted_list};

/// How many ids a refusal names.
const NAMED: usize = 5;

/// A backup with everything that it builds on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SelectedContent {
    /// The full one first, the chosen one last; with the repositories that hold each, in the order they are to be read.
    pub(super) chain: Vec<(Manifest, Vec<RepositoryName>)>,
    /// Newer ones that are not used, and why.
    pub(super) passed_over: Vec<(BackupId, String)>,
}

/// Selects among the backups of the source and kind. Pure.
pub(super) fn choose(
    inventory: &Inventory,
    request: &ContentRestoreRequest,
    now: DateTime<Utc>,
) -> Result<SelectedContent, Refusal> {
    let within = in_repository(request.from.as_ref());
    let (source, kind) = (&request.source, request.kind);
    let mut all: Vec<&BackupRecord> =
        inventory.backups_of(source).filter(|record| record.manifest.kind == kind).collect();
    all.sort_by(|one, other| other.id().cmp(one.id()));
    if all.is_empty() {
        let message = format!("there is no backup of kind `{kind}` of `{source}`{within}");
        return Err(Refusal::nothing("no-backup", message));
    }
    let newest = || quoted_list(&all.iter().take(NAMED).map(|record| record.id()).collect::<Vec<_>>());
    let candidates: Vec<&BackupRecord> = match &request.backup {
        ContentSelector::Latest => all.clone(),
        ContentSelector::Before(time) => {
            let before: Vec<_> =
                all.iter().copied().filter(|record| record.manifest.recovery_point <= *time).collect();
            if before.is_empty() {
                let message = format!(
                    "no backup of `{source}`{within} has data of {} or earlier; the newest are {}",
                    format_time(*time),
                    newest()
                );
                return Err(Refusal::nothing("no-backup", message));
            }
            before
        }
        ContentSelector::Prefix(asked) => {
            let found: Vec<_> =
                all.iter().copied().filter(|record| record.id().as_str().starts_with(asked)).collect();
            match found[..] {
                [only] => {
                    return whole(inventory, request, only)
                        .map(|chain| SelectedContent { chain, passed_over: vec![] })
                        .map_err(|why| {
                            Refusal::nothing(
                                "broken-chain",
                                format!("`{}` cannot be restored{within}: {why}", only.id()),
                            )
                        });
                }
                [] => {
                    let message = format!(
                        "no backup of `{source}` has an id that begins with `{asked}`{within}; the newest are {}",
                        newest()
                    );
                    return Err(Refusal::nothing("no-backup", message));
                }
                _ => {
                    let found: Vec<_> = found.iter().take(NAMED).map(|record| record.id().clone()).collect();
                    return Err(ambiguous(RefusalClass::Usage, asked, &found));
                }
            }
        }
    };
    let mut passed_over = Vec::new();
    for record in candidates {
        let why = match whole(inventory, request, record) {
            Ok(_) if record.id().begun() > now + CLOCK_TOLERANCE => IN_FUTURE.to_owned(),
            Ok(chain) => return Ok(SelectedContent { chain, passed_over }),
            Err(why) => why,
        };
        passed_over.push((record.id().clone(), why));
    }
    let listed: Vec<_> = passed_over.iter().take(NAMED).map(|(id, why)| format!("{id}: {why}")).collect();
    let message = format!("no backup of `{source}`{within} can be restored: {}", listed.join("; "));
    Err(Refusal::nothing("all-bad", message))
}

const FOUND_BAD: &str = "the last `drctl verify` found it bad in every repository that has it";
const IN_FUTURE: &str = "it is dated in the future: this host's clock, or the one of the host that took it, is wrong; name it with `--backup`";

/// Returns a backup with everything that it builds on, or why it cannot be restored.
fn whole(
    inventory: &Inventory,
    request: &ContentRestoreRequest,
    record: &BackupRecord,
) -> Result<Vec<(Manifest, Vec<RepositoryName>)>, String> {
    let find = |id: &BackupId| inventory.find(id).map(|record| &record.manifest);
    let chain = crate::model::chain(&record.manifest, find).map_err(|broken| broken.to_string())?;
    let named = matches!(request.backup, ContentSelector::Prefix(_));
    let mut holders = Vec::new();
    for manifest in chain {
        let Some(record) = inventory.find(&manifest.id) else { continue };
        let is_doubtful =
            |name: &RepositoryName| request.doubtful.contains(&(manifest.id.clone(), name.clone()));
        if !named && record.holders.iter().all(is_doubtful) {
            return Err(match manifest.id == *record.id() {
                true => FOUND_BAD.to_owned(),
                false => format!("it builds on {}, and {FOUND_BAD}", manifest.id),
            });
        }
        let mut of_it = record.holders.clone();
        of_it.sort_by_key(is_doubtful);
        holders.push((manifest.clone(), of_it));
    }
    Ok(holders)
}
