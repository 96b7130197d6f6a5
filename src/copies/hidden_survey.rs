//! Lists the versions of everything that a repository has, and compares those that are not alike with what was stored.

use std::collections::{BTreeMap, BTreeSet};

use super::hidden::{
    ComparedVersions, HiddenItem, KeyVersions, committed, hidden_items, is_suspect, is_written_once, part_of,
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
            Ok(Some(Listed { suspects, committed })) => {
                let name = &repository.name;
                survey.items.extend(hidden_items(name, system, &suspects, &committed, tombstones));
            }
            Ok(None) => survey.unversioned.push(repository.name.clone()),
            Err(error) => survey.unknown.push((repository.name.clone(), error_chain(&error))),
        }
    }
    survey
}

/// What the versions of one repository show.
#[derive(Debug, Default)]
struct Listed {
    /// The keys that are worth a look.
    suspects: Vec<KeyVersions>,
    /// Also those whose manifest is as it was written.
    committed: BTreeSet<BackupId>,
}

impl Listed {
    /// Memory is bounded by what was tampered with, and the ids of backups: all else is forgotten page by page.
    fn take(&mut self, system: &SystemName, mut key: KeyVersions) {
        // Versions of one key may come on two pages.
        key.versions.sort_by_key(|version| std::cmp::Reverse((version.is_latest, version.modified)));
        self.committed.extend(committed(&key));
        if is_suspect(&key.versions) && part_of(system, &key.key).is_some() {
            self.suspects.push(key);
        }
    }
}

/// Returns the keys that are worth a look; `None`: the store keeps no versions.
async fn keys(
    repository: &Repository,
    system: &SystemName,
    cancel: &CancellationToken,
) -> Result<Option<Listed>, StoreError> {
    let Some(admin) = repository.store.admin() else { return Ok(None) };
    if admin.protection().await?.keeps_versions != Some(true) {
        return Ok(None);
    }
    let mut listed = Listed::default();
    for prefix in [layout::system(system), layout::MARKER.to_owned(), layout::BY_HAND.to_owned()] {
        list(admin, system, &prefix, &mut listed).await?;
    }
    let found = &mut listed.suspects;
    let mut manifests: BTreeMap<BackupId, Option<Manifest>> = BTreeMap::new();
    for n in 0..found.len() {
        if cancel.is_cancelled() {
            break;
        }
        let compared = compare(repository, system, found, n, &mut manifests).await?;
        found[n].compared = compared;
    }
    Ok(Some(listed))
}

async fn list(
    admin: &dyn StoreAdmin,
    system: &SystemName,
    prefix: &str,
    listed: &mut Listed,
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
                    if let Some(done) = current.replace(next) {
                        listed.take(system, done);
                    }
                }
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if let Some(done) = current {
        listed.take(system, done);
    }
    Ok(())
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
    if data.len() < 2 || data.iter().all(is_alike) {
        return Ok(None);
    }
    let admin = require_admin(&*repository.store)?;
    if is_written_once(system, &one.key) {
        return first_or_its_copy(admin, &one.key, &data).await;
    }
    if let Some((backup, name)) = layout::parse_object(system, &one.key) {
        if !manifests.contains_key(&backup) {
            let manifest = manifest_of(repository, system, found, &backup).await?;
            manifests.insert(backup.clone(), manifest);
        }
        let Some(Some(manifest)) = manifests.get(&backup) else { return Ok(None) };
        let objects = manifest.artifacts.iter().flat_map(|artifact| &artifact.objects);
        let Some(object) = objects.into_iter().find(|object| object.name == name) else { return Ok(None) };
        // The newest first: what was brought back or repaired is right, whatever the store calls it. Then the oldest, which
        // is the one that was written when there was none.
        let in_turn = data[..1].iter().chain(data[1..].iter().rev());
        for version in in_turn.filter(|version| version.size == Some(object.stored.size)) {
            if digest(admin, &one.key, version).await?.is_some_and(|(digest, _)| digest == object.stored) {
                return Ok(Some(ComparedVersions { intact: version.id.clone() }));
            }
        }
        return Ok(Some(ComparedVersions::default()));
    }
    if layout::parse_wal_key(system, &one.key).is_none() {
        return Ok(None);
    }
    for (n, version) in data.iter().enumerate().rev() {
        let Some((digest, metadata)) = digest(admin, &one.key, version).await? else { continue };
        let stored = SegmentTags::from_metadata(&metadata).and_then(|tags| tags.stored);
        // A file says of itself what it is, so that only the oldest that is intact is to be believed.
        if stored == Some(digest.sha256) {
            return first_or_its_copy(admin, &one.key, &data[..=n]).await;
        }
    }
    // What was too large to have its digest beforehand says nothing of itself.
    Ok(None)
}

/// Returns the newest of these versions where it has the bytes of the oldest, which is right: a store may give a copy, or what
/// it encrypts, another ETag. Otherwise the oldest.
async fn first_or_its_copy(
    admin: &dyn StoreAdmin,
    key: &str,
    data: &[&ObjectVersion],
) -> Result<Option<ComparedVersions>, StoreError> {
    let Some((newest, first)) = data.first().zip(data.last()).filter(|(_, first)| first.id.is_some()) else {
        return Ok(None);
    };
    let is_copy = newest.size == first.size
        && match (digest(admin, key, newest).await?, digest(admin, key, first).await?) {
            (Some((newest, _)), Some((first, _))) => newest == first,
            _ => false,
        };
    let intact = if is_copy { newest.id.clone() } else { first.id.clone() };
    Ok(Some(ComparedVersions { intact }))
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
        let length = portion.end - portion.start;
        match admin.get_version(key, id, Some(portion), length).await {
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
