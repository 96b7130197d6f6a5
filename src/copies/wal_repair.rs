use std::collections::BTreeMap;

use bytes::Bytes;

use super::missing_wal::{MissingWalCopies, SyncFault, WHOLE};
use crate::model::{RepositoryName, Sha256Hex};
use crate::repository::{Repositories, Repository};
use crate::store::{ObjectInfo, Precondition, PutOptions, StoreErrorKind};
use crate::wal::SegmentTags;
use crate::wal::listing::strays;

/// A file whose size differs between repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DifferingCopies {
    pub key: String,
    pub holders: Vec<RepositoryName>,
}

/// Returns files whose copies cannot all be what was stored, given the files of each repository and their
/// sizes, unless they were sealed more than once.
pub(crate) fn differing(held: &[(RepositoryName, BTreeMap<String, u64>)]) -> Vec<DifferingCopies> {
    let mut sizes: BTreeMap<&String, Vec<(&RepositoryName, u64)>> = BTreeMap::new();
    for (name, files) in held {
        files.iter().for_each(|(key, size)| sizes.entry(key).or_default().push((name, *size)));
    }
    sizes
        .into_iter()
        .filter(|(_, sizes)| sizes.iter().any(|(_, size)| sizes.iter().any(|(_, other)| size != other)))
        .map(|(key, sizes)| DifferingCopies {
            key: key.clone(),
            holders: sizes.into_iter().map(|(name, _)| name.clone()).collect(),
        })
        .collect()
}

/// The state of a repository's copy, compared with its metadata.
enum Copy {
    Good(Bytes, ObjectInfo),
    Altered {
        etag: String,
        found: Sha256Hex,
        expected: Sha256Hex,
    },
    /// It has no metadata to compare it with; `None`: it is too large to be read at once.
    Unsaid(Option<(String, Sha256Hex)>),
}

async fn look(repository: &Repository, key: &str) -> Result<Copy, SyncFault> {
    let (bytes, info) = match repository.store.get(key, WHOLE).await {
        Ok(read) => read,
        Err(error) if error.kind == StoreErrorKind::TooLarge => return Ok(Copy::Unsaid(None)),
        Err(error) => return Err(error.into()),
    };
    let found = Sha256Hex::digest(&bytes);
    let own = SegmentTags::from_metadata(&info.metadata).and_then(|tags| tags.stored);
    let earlier = match own {
        Some(own) => Some(own),
        None => {
            let strays = strays(&*repository.store, key, &info).await?;
            strays.into_iter().find_map(|(_, tags)| tags.stored)
        }
    };
    Ok(match earlier {
        Some(expected) if expected == found && own.is_some() => Copy::Good(bytes, info),
        Some(expected) if expected != found => Copy::Altered { etag: info.etag, found, expected },
        _ => Copy::Unsaid(Some((info.etag, found))),
    })
}

/// Replaces each copy that differs from what was stored with an intact one. Returns the number of bytes sent,
/// or the reason for the failure, for each such copy.
pub(crate) async fn mend(
    repositories: &Repositories,
    differing: &DifferingCopies,
    options: &[(RepositoryName, PutOptions)],
) -> Vec<Result<u64, (MissingWalCopies, SyncFault)>> {
    let key = &differing.key;
    let (mut good, mut altered, mut unsaid) = (None, Vec::new(), Vec::new());
    let mut outcomes = Vec::new();
    let lacking = |to: &RepositoryName| MissingWalCopies { key: key.clone(), to: to.clone(), from: vec![] };
    for repository in differing.holders.iter().filter_map(|name| repositories.find(name)) {
        match look(repository, key).await {
            Ok(Copy::Good(bytes, info)) => good = good.or(Some((bytes, info))),
            Ok(Copy::Altered { etag, found, expected }) => altered.push((repository, etag, found, expected)),
            Ok(Copy::Unsaid(found)) => unsaid.push((repository, found)),
            Err(fault) => outcomes.push(Err((lacking(&repository.name), fault))),
        }
    }
    let put = async |repository: &Repository, etag: String, (bytes, info): &(Bytes, ObjectInfo)| {
        let own = options.iter().find(|(name, _)| *name == repository.name);
        let options = PutOptions {
            precondition: Precondition::Unchanged(etag),
            metadata: info.metadata.clone(),
            ..own.map(|(_, options)| options.clone()).unwrap_or_default()
        };
        match repository.store.put(key, bytes.clone(), &options).await {
            Ok(_) => Ok(info.size),
            Err(error) => Err((lacking(&repository.name), error.into())),
        }
    };
    for (repository, etag, found, expected) in altered {
        let location = repository.store.location();
        let Some(good) = &good else {
            let fault = SyncFault::Altered { key: key.clone(), location, found, expected };
            outcomes.push(Err((lacking(&repository.name), fault)));
            continue;
        };
        outcomes.push(put(repository, etag, good).await);
    }
    for (repository, found) in unsaid {
        // The same bytes: only their metadata was lost.
        if let (Some(good), Some((etag, found))) = (&good, found)
            && Sha256Hex::digest(&good.0) == found
        {
            outcomes.push(put(repository, etag, good).await);
            continue;
        }
        let fault = SyncFault::Unsaid { key: key.clone(), location: repository.store.location() };
        outcomes.push(Err((lacking(&repository.name), fault)));
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_that_lost_what_was_kept_with_its_files_gets_it_again() {
        use crate::copies::wal::{execute, plan, survey};
        use crate::platform::CancellationToken;
        use crate::repository::fixtures::{repositories, system};
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "west"]).await;
        let [primary, west] = &set.iter().cloned().collect::<Vec<_>>()[..] else { panic!() };
        let tags = SegmentTags {
            plain: crate::model::Digest::compute(b"plain"),
            stored: Some(Sha256Hex::digest(b"stored")),
            completed: "2026-11-20T12:00:00Z".parse().unwrap(),
            witnessed: true,
            known_until: None,
            newest_commit: None,
            notable: None,
            damaged: None,
            minimal: None,
            checkpoints: None,
            parent: None,
        };
        let key = |n: u32| format!("shop/db/wal/7/00000001/0000000100000000000000{n:02}.zst");
        let options = PutOptions { metadata: tags.to_metadata(), ..PutOptions::absent() };
        for n in [1, 2] {
            for repository in [primary, west] {
                repository.store.put(&key(n), Bytes::from_static(b"stored"), &options).await.unwrap();
            }
        }
        std::fs::remove_dir_all(root.path().join("west/.drctl")).unwrap();
        // One of them is not the same any more, and nothing says which is right.
        std::fs::write(root.path().join("west").join(key(2)), "st0red").unwrap();
        let sync = async || {
            let planned = plan(&survey(&set, &system(), &"db".parse().unwrap()).await);
            execute(&set, planned, &[], 2, &CancellationToken::new()).await
        };
        let synced = sync().await;
        assert_eq!((synced.mended, synced.failed.len()), (1, 1), "{synced:?}");
        assert!(synced.failed[0].1.reason().contains("delete it there"), "{synced:?}");
        let info = west.store.head(&key(1)).await.unwrap().unwrap();
        assert_eq!(SegmentTags::from_metadata(&info.metadata), Some(tags));
        std::fs::remove_file(root.path().join("west").join(key(2))).unwrap();
        assert_eq!(sync().await.copied, 1);
        let again = sync().await;
        assert_eq!((again.mended, again.copied, again.failed.len()), (0, 0, 0));
    }

    #[test]
    fn only_what_several_have_in_other_sizes_differs() {
        let held = |name: &str, files: &[(&str, u64)]| {
            let files = files.iter().map(|(key, size)| ((*key).to_owned(), *size)).collect();
            (name.parse::<RepositoryName>().unwrap(), files)
        };
        let found = differing(&[
            held("primary", &[("same", 5), ("cut", 5), ("alone", 5)]),
            held("west", &[("same", 5), ("cut", 0)]),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].key.as_str(), found[0].holders.len()), ("cut", 2));
    }
}
