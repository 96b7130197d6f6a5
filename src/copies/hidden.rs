//! What is hidden by delete markers or overwritten by newer versions, and which version brings it back. Pure.
//!
//! drctl writes each key of a backup and of the journal once. So a delete marker that no tombstone explains, and a
//! version beside the one that was written, are someone else's doing.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::{BackupId, RepositoryName, SourceName, SystemName};
use crate::repository::journal::Tombstones;
use crate::repository::layout;
use crate::store::ObjectVersion;

/// A key with more than one version, or with a delete marker.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyVersions {
    pub key: String,
    /// Newest first; never empty.
    pub versions: Vec<ObjectVersion>,
    /// Which of them is what drctl wrote, where its bytes were compared; `None`: they were not.
    pub compared: Option<ComparedVersions>,
}

/// What reading versions showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComparedVersions {
    /// Its bytes are those that were stored; `None`: no version has them.
    pub intact: Option<String>,
}

/// A part of a repository, as far as it is brought back together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HiddenPart {
    Backup(BackupId),
    Wal(SourceName),
    /// The marker of the repository, records of the journal and holds.
    Records,
}

/// How an object is not what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HiddenHow {
    /// A delete marker is on top.
    Hidden,
    /// A version with other bytes is on top.
    Overwritten,
}

/// What brings an object back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undeletion {
    /// These delete markers are removed.
    RemoveMarkers(Vec<String>),
    /// This version is made the newest one by a copy.
    CopyVersion { version: String, size: u64 },
    /// No version has the bytes that were stored.
    Impossible,
}

/// One object that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HiddenObject {
    pub key: String,
    pub how: HiddenHow,
    /// By the store's clock.
    pub since: DateTime<Utc>,
    pub undeletion: Undeletion,
}

/// One part of a repository that is hidden or overwritten, in whole or in part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HiddenItem {
    pub repository: RepositoryName,
    pub part: HiddenPart,
    /// Of its first object.
    pub since: DateTime<Utc>,
    /// A tombstone says that it was removed on purpose.
    pub is_removed: bool,
    pub objects: Vec<HiddenObject>,
}

impl HiddenItem {
    pub fn count(&self, how: HiddenHow) -> u64 {
        self.objects.iter().filter(|object| object.how == how).count() as u64
    }

    /// Returns the objects of which no version has the bytes that were stored.
    pub fn lost(&self) -> impl Iterator<Item = &HiddenObject> {
        self.objects.iter().filter(|object| object.undeletion == Undeletion::Impossible)
    }

    pub fn can_be_brought_back(&self) -> bool {
        self.lost().next().is_none()
    }
}

/// Returns what part of a repository a key belongs to; `None`: what is written and deleted in the course of things, and
/// what drctl did not write.
pub(super) fn part_of(system: &SystemName, key: &str) -> Option<HiddenPart> {
    if let Some((backup, _)) = layout::parse_object(system, key) {
        return Some(HiddenPart::Backup(backup));
    }
    if let Some(wal) = layout::parse_wal_key(system, key) {
        return Some(HiddenPart::Wal(wal.source));
    }
    if layout::is_wal_cluster(key) {
        let (source, _) = key.strip_prefix(&layout::system(system))?.split_once('/')?;
        return source.parse().ok().map(HiddenPart::Wal);
    }
    let is_record =
        key.starts_with(&layout::journal(system)) || key == layout::MARKER || key == layout::BY_HAND;
    is_record.then_some(HiddenPart::Records)
}

/// Returns whether the first version that was written is what it has to be: nobody, drctl neither, writes it again.
pub(super) fn is_written_once(system: &SystemName, key: &str) -> bool {
    layout::parse_manifest(key).is_some()
        || layout::is_wal_cluster(key)
        || key.starts_with(&layout::journal(system))
        || key == layout::MARKER
        || key == layout::BY_HAND
}

/// Returns whether the versions of a key are worth a look: a marker on top, or another version beside the newest.
pub(super) fn is_suspect(versions: &[ObjectVersion]) -> bool {
    let Some(newest) = versions.first() else { return false };
    let is_same =
        |one: &ObjectVersion| !one.etag.is_empty() && one.etag == newest.etag && one.size == newest.size;
    newest.is_marker() || versions[1..].iter().any(|one| !one.is_marker() && !is_same(one))
}

/// Returns the backup whose manifest this is, if any version of it is one.
pub(super) fn committed(key: &KeyVersions) -> Option<BackupId> {
    let is_there = key.versions.iter().any(|version| !version.is_marker());
    layout::parse_manifest(&key.key).filter(|_| is_there)
}

/// Returns what of one repository is hidden or overwritten, and what brings it back. `committed`: the backups that have, or
/// had, a manifest, whether it was touched or not.
pub fn hidden_items(
    repository: &RepositoryName,
    system: &SystemName,
    keys: &[KeyVersions],
    committed: &BTreeSet<BackupId>,
    tombstones: &Tombstones,
) -> Vec<HiddenItem> {
    let mut parts: BTreeMap<(HiddenPart, bool), Vec<HiddenObject>> = BTreeMap::new();
    for key in keys {
        let Some(part) = part_of(system, &key.key) else { continue };
        let Some(object) = judge(system, key) else { continue };
        let is_removed = match &part {
            HiddenPart::Backup(backup) => tombstones.has_backup(repository, backup),
            HiddenPart::Wal(_) => tombstones.has_wal(system, repository, &key.key),
            HiddenPart::Records => false,
        };
        parts.entry((part, is_removed)).or_default().push(object);
    }
    let mut items: Vec<HiddenItem> = Vec::new();
    for ((part, is_removed), objects) in parts {
        // What an interrupted run wrote and took back was no backup.
        let is_leftover = match &part {
            HiddenPart::Backup(backup) => {
                let manifest = layout::manifest(system, backup);
                let is_hidden = |object: &HiddenObject| object.how == HiddenHow::Hidden;
                !committed.contains(backup)
                    && objects.iter().all(is_hidden)
                    && !keys.iter().any(|key| key.key == manifest)
            }
            HiddenPart::Wal(_) | HiddenPart::Records => false,
        };
        let Some(since) = objects.iter().map(|object| object.since).min().filter(|_| !is_leftover) else {
            continue;
        };
        items.push(HiddenItem { repository: repository.clone(), part, since, is_removed, objects });
    }
    items
}

/// Returns how the object differs from what was written; `None`: it does not, or there never was one.
fn judge(system: &SystemName, key: &KeyVersions) -> Option<HiddenObject> {
    let versions = &key.versions;
    let newest = versions.first()?;
    let data: Vec<&ObjectVersion> = versions.iter().filter(|version| !version.is_marker()).collect();
    let right = match &key.compared {
        Some(compared) => {
            let is_intact = |version: &&&ObjectVersion| version.id.is_some() && version.id == compared.intact;
            data.iter().find(is_intact).copied()
        }
        None if is_written_once(system, &key.key) => data.last().copied(),
        None => data.first().copied(),
    };
    let is_same = |right: &ObjectVersion| {
        right.id == newest.id
            || (!newest.etag.is_empty() && right.etag == newest.etag && right.size == newest.size)
    };
    if !newest.is_marker() && right.is_some_and(is_same) {
        return None;
    }
    let how = if newest.is_marker() { HiddenHow::Hidden } else { HiddenHow::Overwritten };
    let on_top: Vec<&ObjectVersion> =
        versions.iter().take_while(|version| version.is_marker() == newest.is_marker()).collect();
    let since = match how {
        HiddenHow::Hidden => on_top.last().map_or(newest.modified, |marker| marker.modified),
        HiddenHow::Overwritten => newest.modified,
    };
    let undeletion = match right {
        None => Undeletion::Impossible,
        Some(right) => {
            let is_next = data.first().is_some_and(|first| first.id == right.id);
            let markers: Option<Vec<String>> = on_top.iter().map(|marker| marker.id.clone()).collect();
            match (how, markers, right.id.clone().zip(right.size)) {
                (HiddenHow::Hidden, Some(markers), _) if is_next => Undeletion::RemoveMarkers(markers),
                (_, _, Some((version, size))) => Undeletion::CopyVersion { version, size },
                _ => Undeletion::Impossible,
            }
        }
    };
    Some(HiddenObject { key: key.key.clone(), how, since, undeletion })
}
