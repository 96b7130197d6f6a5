//! Lists the versions of everything that a repository has, and compares those that are not alike with what was stored.

use std::collections::BTreeMap;

use super::hidden::{
    ComparedVersions, HiddenItem, KeyVersions, hidden_items, is_suspect, is_written_once, part_of,
};
use crate::model::{BackupId, Digest, Hasher, Manifest, RepositoryName, SystemName};
use crate::platform::CancellationToken;
use crate::repository::journal::Tombstones;
use crate::repository::manifest::{self, MANIFEST_LIMIT};
use crate::repository::{Repositories, Repository, layout};
use crate::store::{ObjectVersion, StoreAdmin, StoreError, StoreErrorKind, require_admin};
use crate::text::error_chain;
use crate::wal::SegmentTags;

/// Read at once of a version that is compared.
const PORTION: u64 = 8 << 20;

/// What is hidden or overwritten in every repository.
#[derive(Debug, Default)]
pub struct HiddenSurvey {
    pub items: Vec<HiddenItem>,
    /// Repositories that keep no versions: what is gone there is gone.
    pub unversioned: Vec<RepositoryName>,
    /// Repositories of which it is not known, and why.
    pub unknown: Vec<(RepositoryName, String)>,
}

/// Surveys every repository.
pub async fn survey_hidden(
    repositories: &Repositories,
    system: &SystemName,
    tombstones: &Tombstones,
    cancel: &CancellationToken,
) -> HiddenSurvey {
    let mut survey = HiddenSurvey::default();
    for lost in repositories.lost() {
        survey.unknown.push((lost.name.clone(), lost.reason()));
    }
    for repository in repositories.iter() {
        match keys(repository, system, cancel).await {
            Ok(Some(keys)) => {
                survey.items.extend(hidden_items(&repository.name, system, &keys, tombstones));
            }
            Ok(None) => survey.unversioned.push(repository.name.clone()),
            Err(error) => survey.unknown.push((repository.name.clone(), error_chain(&error))),
        }
    }
    survey
}

/// Returns the keys that are worth a look; `None`: the store keeps no versions.
async fn keys(
    repository: &Repository,
    system: &SystemName,
    cancel: &CancellationToken,
) -> Result<Option<Vec<KeyVersions>>, StoreError> {
    let Some(admin) = repository.store.admin() else { return Ok(None) };
    if admin.protection().await?.keeps_versions != Some(true) {
        return Ok(None);
    }
    let mut found = Vec::new();
    for prefix in [layout::system(system), layout::MARKER.to_owned(), layout::BY_HAND.to_owned()] {
        list(admin, system, &prefix, &mut found).await?;
    }
    let mut manifests: BTreeMap<BackupId, Option<Manifest>> = BTreeMap::new();
    for n in 0..found.len() {
        if cancel.is_cancelled() {
            break;
        }
        let compared = compare(repository, system, &found, n, &mut manifests).await?;
        found[n].compared = compared;
    }
    Ok(Some(found))
}

/// Memory is bounded by what was tampered with: all else is forgotten page by page.
async fn list(
    admin: &dyn StoreAdmin,
    system: &SystemName,
    prefix: &str,
    found: &mut Vec<KeyVersions>,
) -> Result<(), StoreError> {
    let mut current: Option<KeyVersions> = None;
    let mut after = None;
    loop {
        let page = admin.versions_below(prefix, after).await?;
        for (key, version) in page.versions {
            match &mut current {
                Some(current) if current.key == key => current.versions.push(version),
                _ => {
                    let next = KeyVersions { key, versions: vec![version], compared: None };
                    found.extend(current.replace(next).and_then(|done| suspect(system, done)));
                }
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    found.extend(current.and_then(|done| suspect(system, done)));
    Ok(())
}

fn suspect(system: &SystemName, mut key: KeyVersions) -> Option<KeyVersions> {
    // Versions of one key may come on two pages.
    key.versions.sort_by_key(|version| std::cmp::Reverse((version.is_latest, version.modified)));
    (is_suspect(&key.versions) && part_of(system, &key.key).is_some()).then_some(key)
}

/// Compares versions that differ; one alone is what there is.
async fn compare(
    repository: &Repository,
    system: &SystemName,
    found: &[KeyVersions],
    n: usize,
    manifests: &mut BTreeMap<BackupId, Option<Manifest>>,
) -> Result<Option<ComparedVersions>, StoreError> {
    let one = &found[n];
    let data: Vec<&ObjectVersion> = one.versions.iter().filter(|version| !version.is_marker()).collect();
    let is_alike = |version: &&ObjectVersion| {
        !version.etag.is_empty() && version.etag == data[0].etag && version.size == data[0].size
    };
    if data.len() < 2 || data.iter().all(is_alike) || is_written_once(system, &one.key) {
        return Ok(None);
    }
    let admin = require_admin(&*repository.store)?;
    // The oldest first: it is the one that was written when there was none.
    if let Some((backup, name)) = layout::parse_object(system, &one.key) {
        if !manifests.contains_key(&backup) {
            let manifest = manifest_of(repository, system, found, &backup).await?;
            manifests.insert(backup.clone(), manifest);
        }
        let Some(Some(manifest)) = manifests.get(&backup) else { return Ok(None) };
        let objects = manifest.artifacts.iter().flat_map(|artifact| &artifact.objects);
        let Some(object) = objects.into_iter().find(|object| object.name == name) else { return Ok(None) };
        for version in data.iter().rev().filter(|version| version.size == Some(object.stored.size)) {
            if digest(admin, &one.key, version).await?.is_some_and(|(digest, _)| digest == object.stored) {
                return Ok(Some(ComparedVersions { intact: version.id.clone() }));
            }
        }
        return Ok(Some(ComparedVersions::default()));
    }
    if layout::parse_wal_key(system, &one.key).is_none() {
        return Ok(None);
    }
    for version in data.iter().rev() {
        let Some((digest, metadata)) = digest(admin, &one.key, version).await? else { continue };
        let stored = SegmentTags::from_metadata(&metadata).and_then(|tags| tags.stored);
        if stored == Some(digest.sha256) {
            return Ok(Some(ComparedVersions { intact: version.id.clone() }));
        }
    }
    // What was too large to have its digest beforehand says nothing of itself.
    Ok(None)
}

/// Returns the manifest as it was written first; `None`: there is none, or it is not to be understood.
async fn manifest_of(
    repository: &Repository,
    system: &SystemName,
    found: &[KeyVersions],
    backup: &BackupId,
) -> Result<Option<Manifest>, StoreError> {
    let key = layout::manifest(system, backup);
    let Some(suspect) = found.iter().find(|one| one.key == key) else {
        return match repository.store.get(&key, MANIFEST_LIMIT).await {
            Ok((bytes, _)) => Ok(manifest::parse(&bytes, system, backup).ok()),
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
    };
    let admin = require_admin(&*repository.store)?;
    let first = suspect.versions.iter().rev().find(|version| !version.is_marker());
    let Some((version, size)) = first.and_then(|first| first.id.as_deref().zip(first.size)) else {
        return Ok(None);
    };
    if size > MANIFEST_LIMIT {
        return Ok(None);
    }
    let (bytes, _) = admin.get_version(&key, version, None, size).await?;
    Ok(manifest::parse(&bytes, system, backup).ok())
}

/// Returns the digest of a version's bytes and its metadata; `None`: it is gone by now.
async fn digest(
    admin: &dyn StoreAdmin,
    key: &str,
    version: &ObjectVersion,
) -> Result<Option<(Digest, BTreeMap<String, String>)>, StoreError> {
    let Some((id, size)) = version.id.as_deref().zip(version.size) else { return Ok(None) };
    let (mut hasher, mut metadata) = (Hasher::default(), BTreeMap::new());
    while hasher.size() < size {
        let portion = hasher.size()..(hasher.size() + PORTION).min(size);
        match admin.get_version(key, id, Some(portion), PORTION).await {
            Ok((bytes, info)) => {
                hasher.update(&bytes);
                metadata = info.metadata;
            }
            Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some((hasher.digest(), metadata)))
}
