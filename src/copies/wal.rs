use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};

use super::missing_wal::{MissingWalCopies, SyncFault, WHOLE};
use super::wal_repair::{DifferingCopies, differing, mend};
use crate::model::{RepositoryName, Sha256Hex, SourceName, SystemName, WalName};
use crate::platform::CancellationToken;
use crate::repository::{Repositories, Repository, Unavailable, layout};
use crate::store::{ObjectInfo, Precondition, PutOptions, Store, StoreError, StoreErrorKind, list_all};
use crate::wal::SegmentTags;
use crate::wal::listing::strays;

const PART: u64 = 8 << 20;
/// Files that are queried concurrently.
const LOOKED_AT_ONCE: usize = 16;

/// The WAL files of one source in each listed repository, and their sizes.
#[derive(Debug, Default)]
pub struct WalListing {
    pub held: Vec<(RepositoryName, BTreeMap<String, u64>)>,
    /// Files that lost their metadata, as in a directory that was copied without its `.drctl`.
    pub bare: BTreeSet<(RepositoryName, String)>,
    pub unlisted: Vec<Unavailable>,
}

/// The plan for one source's WAL, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalSyncPlan {
    /// Files with copies that differ from what was stored, or that lost their metadata.
    pub differing: Vec<DifferingCopies>,
    /// Oldest first: the cluster records, then the WAL.
    pub missing: Vec<MissingWalCopies>,
}

/// Lists the WAL of one source in every writable repository.
pub async fn survey(repositories: &Repositories, system: &SystemName, source: &SourceName) -> WalListing {
    let mut listing = WalListing::default();
    for repository in repositories.writable() {
        match list_all(&*repository.store, &layout::wal(system, source)).await {
            Ok(objects) => {
                let files = objects.into_iter().filter(|object| is_ours(&object.key));
                let files = files.map(|object| (object.key, object.size)).collect();
                listing.held.push((repository.name.clone(), files));
            }
            Err(error) => listing.unlisted.push(Unavailable::new(repository, error)),
        }
    }
    let has_others = listing.held.len() > 1;
    for repository in repositories.writable().filter(|_| has_others) {
        if let Err(error) = look_for_bare(repository, &mut listing).await {
            listing.unlisted.push(Unavailable::new(repository, error));
        }
    }
    listing
}

async fn look_for_bare(repository: &Repository, listing: &mut WalListing) -> Result<(), StoreError> {
    let keeps_apart = repository.store.admin().is_some_and(|admin| admin.keeps_metadata_apart());
    let files = listing.held.iter().find(|(name, _)| *name == repository.name).map(|(_, files)| files);
    let (true, Some(files)) = (keeps_apart, files) else { return Ok(()) };
    let mut looked = stream::iter(files.keys().filter(|key| is_wal(key)))
        .map(async |key| (key, repository.store.head(key).await))
        .buffered(LOOKED_AT_ONCE);
    let mut bare = BTreeSet::new();
    while let Some((key, info)) = looked.next().await {
        if info?.is_some_and(|info| info.metadata.is_empty()) {
            bare.insert((repository.name.clone(), key.clone()));
        }
    }
    drop(looked);
    listing.bare.extend(bare);
    Ok(())
}

pub fn plan(listing: &WalListing) -> WalSyncPlan {
    let mut differing = differing(&listing.held);
    differing.retain(|differing| is_wal(&differing.key));
    for (_, key) in &listing.bare {
        let holders = listing.held.iter().filter(|(_, files)| files.contains_key(key)).map(|(name, _)| name);
        let holders: Vec<_> = holders.cloned().collect();
        let is_bare = |name: &RepositoryName| listing.bare.contains(&(name.clone(), key.clone()));
        if !holders.iter().all(is_bare) && !differing.iter().any(|known| known.key == *key) {
            differing.push(DifferingCopies { key: key.clone(), holders });
        }
    }
    let keys = |(name, files): &(RepositoryName, BTreeMap<String, u64>)| {
        (name.clone(), files.keys().cloned().collect::<BTreeSet<_>>())
    };
    let held: Vec<_> = listing.held.iter().map(keys).collect();
    WalSyncPlan { differing, missing: missing(&held) }
}

/// `held`: the keys of each repository.
fn missing(held: &[(RepositoryName, BTreeSet<String>)]) -> Vec<MissingWalCopies> {
    let mut holders: BTreeMap<&String, Vec<&RepositoryName>> = BTreeMap::new();
    for (name, keys) in held {
        keys.iter().for_each(|key| holders.entry(key).or_default().push(name));
    }
    // Partial segments are obsolete once the complete segment exists.
    let is_superseded = |key: &str| match layout::parse_wal_file(key) {
        Some((_, WalName::Piece { segment, .. })) => {
            let ending = key.rsplit_once(".partial").map_or("", |(_, ending)| ending);
            let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
            holders.contains_key(&format!("{folder}/{segment}{ending}"))
        }
        _ => false,
    };
    let mut lacking = Vec::new();
    for (key, from) in holders.iter().filter(|(_, from)| from.len() < held.len()) {
        if is_superseded(key) {
            continue;
        }
        for (to, _) in held.iter().filter(|(name, _)| !from.contains(&name)) {
            let from = from.iter().map(|name| (*name).clone()).collect();
            lacking.push(MissingWalCopies { key: (*key).clone(), to: to.clone(), from });
        }
    }
    lacking.sort_by_key(|lacking| (layout::parse_wal_file(&lacking.key).is_some(), lacking.key.clone()));
    lacking
}

/// The result of the plan.
#[derive(Debug, Default)]
pub struct SyncedWal {
    pub copied: usize,
    /// Copies that differed from what was stored, and were repaired.
    pub mended: usize,
    /// Stored bytes that were sent.
    pub bytes: u64,
    /// Files that were not copied, the destination, and why.
    pub failed: Vec<(MissingWalCopies, Unavailable)>,
    /// Repositories whose WAL could not be listed.
    pub unlisted: Vec<Unavailable>,
}

/// Repairs and copies the planned files unchanged and without keys.
///
/// `repositories` must come from [`Repositories::for_writing`].
pub async fn execute(
    repositories: &Repositories,
    plan: WalSyncPlan,
    options: &[(RepositoryName, PutOptions)],
    parallel: usize,
    cancel: &CancellationToken,
) -> SyncedWal {
    let mut synced = SyncedWal::default();
    for differing in plan.differing {
        if cancel.is_cancelled() {
            break;
        }
        for outcome in mend(repositories, &differing, options).await {
            match outcome {
                Ok(bytes) => (synced.mended, synced.bytes) = (synced.mended + 1, synced.bytes + bytes),
                Err((lacking, fault)) => {
                    let lost = Unavailable { name: lacking.to.clone(), error: Arc::new(fault) };
                    synced.failed.push((lacking, lost));
                }
            }
        }
    }
    let (records, files): (Vec<_>, Vec<_>) =
        plan.missing.into_iter().partition(|missing| !is_wal(&missing.key));
    for (missing, parallel) in [(records, 1), (files, parallel.max(1))] {
        let mut outcomes = stream::iter(missing)
            .map(|missing| async move {
                let outcome = copy(repositories, &missing, options, cancel).await;
                (missing, outcome)
            })
            .buffered(parallel);
        while let Some((missing, outcome)) = outcomes.next().await {
            match outcome {
                Ok(bytes) => {
                    synced.copied += 1;
                    synced.bytes += bytes;
                }
                Err(lost) => synced.failed.push((missing, lost)),
            }
        }
    }
    synced
}

fn is_wal(key: &str) -> bool {
    layout::parse_wal_file(key).is_some()
}

fn is_ours(key: &str) -> bool {
    is_wal(key) || layout::is_wal_cluster(key)
}

/// Copies from the first repository with an intact file. Returns the number of bytes.
async fn copy(
    repositories: &Repositories,
    lacking: &MissingWalCopies,
    options: &[(RepositoryName, PutOptions)],
    cancel: &CancellationToken,
) -> Result<u64, Unavailable> {
    let lost =
        |name: &RepositoryName, fault: SyncFault| Unavailable { name: name.clone(), error: Arc::new(fault) };
    let Some(to) = repositories.find(&lacking.to) else {
        return Err(lost(&lacking.to, SyncFault::Interrupted));
    };
    let own = options.iter().find(|(name, _)| *name == to.name);
    let options = own.map_or_else(PutOptions::absent, |(_, options)| options.clone());
    let mut last = lost(&lacking.to, SyncFault::Interrupted);
    for from in lacking.from.iter().filter_map(|name| repositories.find(name)) {
        let copied = tokio::select! {
            copied = copy_from(from, to, &lacking.key, &options) => copied,
            () = cancel.cancelled() => return Err(lost(&from.name, SyncFault::Interrupted)),
        };
        match copied {
            Ok(bytes) => return Ok(bytes),
            Err(fault) => last = lost(&from.name, fault),
        }
    }
    Err(last)
}

async fn copy_from(
    from: &Repository,
    to: &Repository,
    key: &str,
    options: &PutOptions,
) -> Result<u64, SyncFault> {
    let options = |info: &ObjectInfo| PutOptions {
        precondition: Precondition::Absent,
        metadata: info.metadata.clone(),
        ..options.clone()
    };
    match from.store.get(key, WHOLE).await {
        Ok((bytes, info)) => {
            let (found, size) = (Sha256Hex::digest(&bytes), info.size);
            let expected = match SegmentTags::from_metadata(&info.metadata) {
                Some(tags) => tags.stored,
                None => {
                    let strays = strays(&*from.store, key, &info).await?;
                    strays.into_iter().find_map(|(_, tags)| tags.stored)
                }
            };
            if let Some(expected) = expected.filter(|expected| *expected != found) {
                let (key, location) = (key.to_owned(), from.store.location());
                return Err(SyncFault::Altered { key, location, found, expected });
            }
            stood(to.store.put(key, bytes, &options(&info)).await)?;
            Ok(size)
        }
        Err(error) if error.kind == StoreErrorKind::TooLarge => {
            let info = from.store.head(key).await?.ok_or(error)?;
            copy_large(&*from.store, &*to.store, key, info.size, &options(&info)).await?;
            Ok(info.size)
        }
        Err(error) => Err(error.into()),
    }
}

/// Accepts a file that was created meanwhile; two writes of a key are the same file.
fn stood<T>(written: Result<T, StoreError>) -> Result<(), StoreError> {
    match written {
        Err(error) if error.kind != StoreErrorKind::Exists => Err(error),
        _ => Ok(()),
    }
}

async fn copy_large(
    from: &dyn Store,
    to: &dyn Store,
    key: &str,
    size: u64,
    options: &PutOptions,
) -> Result<(), StoreError> {
    let upload = to.begin_upload(key, options).await?;
    let send = async {
        for (number, begin) in (1_u32..).zip((0..size).step_by(PART as usize)) {
            let bytes: Bytes = from.get_range(key, begin..size.min(begin + PART)).await?;
            upload.part(number, bytes).await?;
        }
        stood(upload.complete().await)
    };
    let sent = send.await;
    if sent.is_err() {
        let _left_for_the_sweep = upload.abort().await;
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::fixtures::{repositories, system};

    #[test]
    fn what_says_whose_it_is_goes_first_and_what_is_superseded_does_not_go() {
        let base = "shop/db/wal/7";
        let keys =
            |names: &[&str]| names.iter().map(|name| format!("{base}/{name}")).collect::<BTreeSet<_>>();
        let all = [
            "00000001/000000010000000000000001.zst.age",
            "00000001/000000010000000000000001.00000000-00000010.partial.zst.age",
            "00000001/000000010000000000000002.00000000-00000010.partial.zst.age",
            "cluster.json",
        ];
        let held = [
            ("primary".parse().unwrap(), keys(&all)),
            ("west".parse().unwrap(), BTreeSet::new()),
            ("east".parse().unwrap(), keys(&all[..1])),
        ];
        let planned: Vec<_> = missing(&held).into_iter().map(|l| (l.key, l.to.to_string())).collect();
        let expected = [(3, "west"), (3, "east"), (0, "west"), (2, "west"), (2, "east")]
            .map(|(n, to)| (format!("{base}/{}", all[n]), to.to_owned()));
        assert_eq!(planned, expected);
    }

    #[tokio::test]
    async fn what_is_copied_is_what_was_stored_with_what_was_said_of_it() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "west", "east"]).await;
        let [primary, west, _] = &set.iter().cloned().collect::<Vec<_>>()[..] else { panic!() };
        let cluster = "shop/db/wal/cluster.json";
        primary.store.put(cluster, Bytes::from_static(b"{}"), &PutOptions::absent()).await.unwrap();
        let tags = |stored: &[u8]| SegmentTags {
            plain: crate::model::Digest::compute(b"plain"),
            stored: Some(Sha256Hex::digest(stored)),
            completed: "2026-11-20T12:00:00Z".parse().unwrap(),
            witnessed: true,
            known_until: Some("2026-11-20T11:59:00Z".parse().unwrap()),
            newest_commit: None,
            notable: None,
            damaged: None,
            minimal: None,
            checkpoints: None,
            parent: None,
        };
        let key = |n: u32| format!("shop/db/wal/7/00000001/0000000100000000000000{n:02}.zst");
        for (n, said) in [(1, &b"stored"[..]), (2, b"another")] {
            let options = PutOptions { metadata: tags(said).to_metadata(), ..PutOptions::absent() };
            primary.store.put(&key(n), Bytes::from_static(b"stored"), &options).await.unwrap();
        }
        let cancel = CancellationToken::new();
        let (system, source) = (system(), "db".parse().unwrap());
        let sync = async || {
            let planned = super::plan(&survey(&set, &system, &source).await);
            execute(&set, planned, &[], 2, &cancel).await
        };
        let synced = sync().await;
        // The one whose bytes are not what was stored goes nowhere.
        assert_eq!((synced.copied, synced.failed.len()), (4, 2), "{synced:?}");
        assert!(synced.failed.iter().all(|(lacking, _)| lacking.key == key(2)));
        let (bytes, info) = west.store.get(&key(1), 99).await.unwrap();
        assert_eq!(
            (&bytes[..], SegmentTags::from_metadata(&info.metadata)),
            (&b"stored"[..], Some(tags(b"stored")))
        );
        let again = sync().await;
        assert_eq!((again.copied, again.failed.len()), (0, 2));
    }
}
