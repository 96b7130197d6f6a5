//! The contents of the repositories, listed once and read once: which backups, where, and where copies
//! differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;

use super::{ManifestError, Repositories, Repository, Unavailable, layout, manifest};
use crate::model::{
    BackupId, BackupKind, BrokenChain, Manifest, RepositoryName, RunId, SourceName, SystemName, chain, parent,
};
use crate::store::{ObjectInfo, list_all};

/// Manifests that are read concurrently; each is at most a few MiB.
const AT_ONCE: usize = 8;

/// The contents of each repository by key; no object has been read.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// In the policy's order.
    pub repositories: Vec<RepositoryListing>,
    /// Repositories in use that could not be listed.
    pub unlisted: Vec<Unavailable>,
}

#[derive(Clone, Debug)]
pub struct RepositoryListing {
    pub repository: Repository,
    pub backups: BTreeSet<BackupId>,
    /// Runs in its journal; empty where only one source was listed.
    pub runs: BTreeSet<RunId>,
    /// Of its manifests and of the records of its journal, by key.
    pub stamps: BTreeMap<String, ObjectStamp>,
}

/// What a listing says of an object: where it is written again, by whatever, it has another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStamp {
    pub size: u64,
    etag: String,
    modified: DateTime<Utc>,
}

impl ObjectStamp {
    fn new(object: &ObjectInfo) -> Self {
        Self { size: object.size, etag: object.etag.clone(), modified: object.modified }
    }
}

impl fmt::Display for ObjectStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.size, self.modified.timestamp_micros(), self.etag)
    }
}

impl Listing {
    /// Lists the backups of one source.
    pub async fn of_source(repositories: &Repositories, system: &SystemName, source: &SourceName) -> Self {
        Self::under(repositories, &layout::backups(system, source)).await
    }

    /// Lists the backups of all sources, and the journal.
    pub async fn of_system(repositories: &Repositories, system: &SystemName) -> Self {
        Self::under(repositories, &layout::system(system)).await
    }

    async fn under(repositories: &Repositories, prefix: &str) -> Self {
        let listed = repositories.iter().map(async |repository| list_all(&*repository.store, prefix).await);
        let mut listing = Self::default();
        for (repository, listed) in repositories.iter().zip(join_all(listed).await) {
            match listed {
                Ok(objects) => {
                    let mut listed = RepositoryListing {
                        repository: repository.clone(),
                        backups: BTreeSet::new(),
                        runs: BTreeSet::new(),
                        stamps: BTreeMap::new(),
                    };
                    for object in objects {
                        let backup = layout::parse_manifest(&object.key);
                        let run = layout::parse_journal_record(&object.key);
                        if backup.is_some() || run.is_some() {
                            let stamp = ObjectStamp::new(&object);
                            listed.stamps.insert(object.key, stamp);
                        }
                        listed.backups.extend(backup);
                        listed.runs.extend(run);
                    }
                    listing.repositories.push(listed);
                }
                Err(error) => listing.unlisted.push(Unavailable::new(repository, error)),
            }
        }
        listing
    }

    /// Returns every backup, oldest first, with its holders in the policy's order.
    pub fn holders(&self) -> BTreeMap<BackupId, Vec<Repository>> {
        let mut holders: BTreeMap<BackupId, Vec<Repository>> = BTreeMap::new();
        for listed in &self.repositories {
            for id in &listed.backups {
                holders.entry(id.clone()).or_default().push(listed.repository.clone());
            }
        }
        holders
    }
}

/// A rejected manifest: it is unreadable, or differs from that of the other repositories.
#[derive(Debug)]
pub struct RejectedManifest {
    pub repository: RepositoryName,
    pub backup: BackupId,
    pub error: ManifestError,
}

/// A backup, and the repositories that have exactly this manifest of it.
#[derive(Clone, Debug, PartialEq)]
pub struct BackupRecord {
    pub manifest: Manifest,
    /// In the order they were given.
    pub holders: Vec<RepositoryName>,
}

impl BackupRecord {
    /// Reads a backup's manifest in each of these repositories. The first readable one counts; the others
    /// have to be equal. `None`: none is readable.
    pub async fn read(
        holders: &[Repository],
        system: &SystemName,
        id: &BackupId,
    ) -> (Option<Self>, Vec<RejectedManifest>) {
        let read =
            holders.iter().map(async |repository| manifest::read(&*repository.store, system, id).await);
        let (mut record, mut rejected): (Option<Self>, _) = (None, Vec::new());
        for (repository, read) in holders.iter().zip(join_all(read).await) {
            let name = repository.name.clone();
            let differs =
                || ManifestError::Differs { backup: id.clone(), location: repository.store.location() };
            let error = match (read, &mut record) {
                (Ok((manifest, _)), None) => {
                    record = Some(Self { manifest, holders: vec![name] });
                    continue;
                }
                (Ok((manifest, _)), Some(record)) if record.manifest == manifest => {
                    record.holders.push(name);
                    continue;
                }
                (Ok(_), Some(_)) => differs(),
                (Err(error), _) => error,
            };
            rejected.push(RejectedManifest { repository: name, backup: id.clone(), error });
        }
        (record, rejected)
    }

    pub fn id(&self) -> &BackupId {
        &self.manifest.id
    }

    pub fn is_held_by(&self, repository: &RepositoryName) -> bool {
        self.holders.contains(repository)
    }
}

/// The existing backups, according to the repositories.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Newest first.
    pub backups: Vec<BackupRecord>,
    pub rejected: Vec<RejectedManifest>,
}

impl Inventory {
    /// Reads all listed manifests of these kinds.
    pub async fn load(listing: &Listing, system: &SystemName, kinds: &[BackupKind]) -> Self {
        let wanted = listing.holders().into_iter().rev().filter(|(id, _)| kinds.contains(&id.kind()));
        let mut reads = stream::iter(wanted)
            .map(async |(id, holders)| BackupRecord::read(&holders, system, &id).await)
            .buffered(AT_ONCE);
        let mut inventory = Self::default();
        while let Some((record, rejected)) = reads.next().await {
            inventory.backups.extend(record);
            inventory.rejected.extend(rejected);
        }
        inventory
    }

    pub fn find(&self, id: &BackupId) -> Option<&BackupRecord> {
        self.backups.iter().find(|record| record.id() == id)
    }

    /// Returns the backups of a source, newest first.
    pub fn backups_of(&self, source: &SourceName) -> impl Iterator<Item = &BackupRecord> {
        self.backups.iter().filter(move |record| record.manifest.source == *source)
    }

    /// Returns the backups needed to restore one from one repository alone, the full backup first.
    ///
    /// # Errors
    /// A parent backup is missing.
    pub fn chain_in<'i>(
        &'i self,
        record: &'i BackupRecord,
        repository: &RepositoryName,
    ) -> Result<Vec<&'i Manifest>, BrokenChain> {
        let held = |id: &BackupId| self.find(id).filter(|record| record.is_held_by(repository));
        chain(&record.manifest, |id| held(id).map(|record| &record.manifest))
    }

    /// Returns the backups that cannot be restored without this one, newest first.
    pub fn dependents(&self, id: &BackupId) -> Vec<&BackupId> {
        let mut dependents: Vec<&BackupId> = Vec::new();
        // A dependent backup began after its parent.
        for record in self.backups.iter().rev() {
            let builds_on = |parent: &BackupId| parent == id || dependents.contains(&parent);
            if parent(&record.manifest).is_some_and(builds_on) {
                dependents.push(record.id());
            }
        }
        dependents.reverse();
        dependents
    }

    /// Returns the inventory without these backups, as if they were deleted everywhere.
    pub fn without(&self, deleted: &BTreeSet<BackupId>) -> Self {
        let left = self.backups.iter().filter(|record| !deleted.contains(record.id()));
        Self { backups: left.cloned().collect(), rejected: vec![] }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::{Lsn, Physical};
    use crate::repository::fixtures::{backup, repositories, store_backup, system};
    use crate::store::PutOptions;

    const ALL: [BackupKind; 2] = [BackupKind::Logical, BackupKind::Base];

    fn ids(inventory: &Inventory) -> Vec<&BackupId> {
        inventory.backups.iter().map(BackupRecord::id).collect()
    }

    #[tokio::test]
    async fn each_backup_is_there_once_with_those_that_have_just_it() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy", "missing"]).await;
        let (primary, copy) = (set.iter().next().unwrap(), set.iter().nth(1).unwrap());
        let old = store_backup(primary, 0).await;
        store_backup(copy, 0).await;
        let mut other = store_backup(primary, 5).await;
        let new = other.clone();
        other.host = "someone-else".to_owned();
        let body = Bytes::from(serde_json::to_vec(&other).unwrap());
        copy.store.put(&layout::manifest(&system(), &new.id), body, &PutOptions::absent()).await.unwrap();
        let bad = backup(9).0.id;
        let key = layout::manifest(&system(), &bad);
        copy.store.put(&key, Bytes::from("{"), &PutOptions::absent()).await.unwrap();

        for listing in [
            Listing::of_source(&set, &system(), &old.source).await,
            Listing::of_system(&set, &system()).await,
        ] {
            let unlisted: Vec<_> = listing.unlisted.iter().map(|lost| lost.name.as_str()).collect();
            assert_eq!(unlisted, ["missing"]);
            assert_eq!(listing.holders().len(), 3);
            let inventory = Inventory::load(&listing, &system(), &ALL).await;
            assert_eq!(ids(&inventory), [&new.id, &old.id]);
            assert_eq!(inventory.backups[0].holders, std::slice::from_ref(&primary.name));
            assert_eq!(inventory.backups[1].holders, [primary.name.clone(), copy.name.clone()]);
            let rejected: Vec<_> = inventory.rejected.iter().map(|rejected| &rejected.backup).collect();
            assert_eq!(rejected, [&bad, &new.id]);
            assert!(inventory.rejected.iter().all(|rejected| rejected.repository == copy.name));
            assert!(Inventory::load(&listing, &system(), &ALL[1..]).await.backups.is_empty());
        }
    }

    /// One that began at that minute and builds on the one of the other; in the repositories named.
    fn record(minute: i64, on: Option<i64>, holders: &[&str]) -> BackupRecord {
        let base = |minute| {
            let id = backup(minute).0.id;
            id.as_str().replace("-logical-", "-base-").parse::<BackupId>().unwrap()
        };
        let mut manifest = backup(minute).0;
        manifest.id = base(minute);
        manifest.server = Some(crate::model::ServerFacts {
            version: "17.5".to_owned(),
            major: 17,
            system_identifier: Some("7".to_owned()),
            address: None,
            replaces: None,
        });
        let start = Lsn(u64::try_from(minute + 1).unwrap() << 24);
        let physical = Physical::sample(1, start, Lsn(start.0 + 300));
        manifest.physical = Some(Physical { parent: on.map(base), ..physical });
        BackupRecord { manifest, holders: holders.iter().map(|name| name.parse().unwrap()).collect() }
    }

    #[test]
    fn a_chain_holds_in_one_repository_only_and_every_dependent_is_named() {
        let both = ["primary", "copy"];
        let backups = vec![
            record(4, None, &both),
            record(3, Some(2), &both),
            record(2, Some(1), &both[..1]),
            record(1, None, &both),
        ];
        let inventory = Inventory { backups, rejected: vec![] };
        let [_, newest, middle, full] = ids(&inventory)[..] else { panic!("{inventory:?}") };
        let chain = |name: &str| {
            let record = inventory.find(newest).unwrap();
            inventory.chain_in(record, &name.parse().unwrap()).map(|chain| chain.len())
        };
        assert_eq!(chain("primary"), Ok(3));
        assert_eq!(chain("copy"), Err(BrokenChain::Missing(middle.clone())));
        assert_eq!(inventory.dependents(full), [newest, middle]);
        assert_eq!(inventory.dependents(newest), Vec::<&BackupId>::new());
        let left = inventory.without(&BTreeSet::from([middle.clone()]));
        let newest = left.find(newest).unwrap();
        assert!(left.chain_in(newest, &"primary".parse().unwrap()).is_err());
    }
}
