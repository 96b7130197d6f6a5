//! Brings back what is hidden or overwritten: delete markers are removed, or the version that was stored is made the
//! newest by a copy.
//!
//! *Invariants.* No data is deleted: every version stays, also those of whoever overwrote it. A manifest comes back after
//! what it names.

use serde::Serialize;

use super::hidden::{HiddenItem, HiddenObject, HiddenPart, Undeletion};
use crate::model::{BackupId, RepositoryName, SourceName};
use crate::platform::CancellationToken;
use crate::repository::{Repositories, layout};
use crate::store::{Lock, StoreError, require_admin};
use crate::text::error_chain;

/// What is brought back, and what is not.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UndeletePlan {
    /// The records of the repositories first: they say what the others are.
    pub items: Vec<HiddenItem>,
    /// Removed on purpose: brought back only by id.
    pub removed: Vec<HiddenItem>,
    /// Of which no version has the bytes that were stored.
    pub lost: Vec<HiddenItem>,
}

/// Plans it. `wanted`: the ids that were named; none: everything that was not removed on purpose.
pub fn plan_undelete(items: Vec<HiddenItem>, wanted: &[BackupId]) -> UndeletePlan {
    let mut plan = UndeletePlan::default();
    for item in items {
        let is_named = matches!(&item.part, HiddenPart::Backup(backup) if wanted.contains(backup));
        // The WAL and the records are everyone's.
        let is_meant = wanted.is_empty() || is_named || !matches!(item.part, HiddenPart::Backup(_));
        match () {
            () if !is_meant => {}
            () if item.is_removed && !is_named => plan.removed.push(item),
            () if !item.can_be_brought_back() && matches!(item.part, HiddenPart::Backup(_)) => {
                plan.lost.push(item);
            }
            () => plan.items.push(item),
        }
    }
    plan.items.sort_by_key(|item| std::cmp::Reverse(item.part.clone()));
    plan
}

/// What came of one part of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Undeleted {
    pub repository: RepositoryName,
    pub part: HiddenPart,
    pub objects: u64,
    /// Why not all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
}

/// Carries it out. `lock`: how the policy has copies of a source locked; goes past what fails.
pub async fn execute_undelete(
    repositories: &Repositories,
    plan: &UndeletePlan,
    lock: impl Fn(&RepositoryName, Option<&SourceName>) -> Option<Lock>,
    cancel: &CancellationToken,
) -> Vec<Undeleted> {
    let mut done = Vec::new();
    for item in &plan.items {
        let mut outcome = Undeleted {
            repository: item.repository.clone(),
            part: item.part.clone(),
            objects: 0,
            failed: vec![],
        };
        let source = match &item.part {
            HiddenPart::Backup(backup) => Some(backup.source()),
            HiddenPart::Wal(source) => Some(source),
            HiddenPart::Records => None,
        };
        let lock = lock(&item.repository, source);
        let mut objects: Vec<&HiddenObject> = item.objects.iter().collect();
        objects.sort_by_key(|object| layout::parse_manifest(&object.key).is_some());
        for object in objects {
            // Without what it names, a manifest would look like a backup.
            let is_manifest = layout::parse_manifest(&object.key).is_some();
            if cancel.is_cancelled() || (is_manifest && !outcome.failed.is_empty()) {
                outcome.failed.push(format!("`{}` was left as it is", object.key));
                continue;
            }
            match bring_back(repositories, &item.repository, object, lock).await {
                Ok(true) => outcome.objects += 1,
                Ok(false) => outcome.failed.push(format!("no version of `{}` is intact", object.key)),
                Err(error) => outcome.failed.push(error_chain(&error)),
            }
        }
        done.push(outcome);
    }
    done
}

async fn bring_back(
    repositories: &Repositories,
    name: &RepositoryName,
    object: &HiddenObject,
    lock: Option<Lock>,
) -> Result<bool, StoreError> {
    let Some(repository) = repositories.find(name) else { return Ok(false) };
    let admin = require_admin(&*repository.store)?;
    match &object.undeletion {
        Undeletion::RemoveMarkers(markers) => {
            for marker in markers {
                admin.delete_version(&object.key, marker).await?;
            }
            Ok(true)
        }
        Undeletion::CopyVersion { version, size } => {
            admin.copy_version(&object.key, version, *size, lock).await?;
            Ok(true)
        }
        Undeletion::Impossible => Ok(false),
    }
}
