use std::collections::BTreeMap;

use bytes::Bytes;

use super::wal::{MissingWalCopies, SyncFault, WHOLE};
use crate::model::{RepositoryName, Sha256Hex};
use crate::repository::{Repositories, Repository};
use crate::store::{ObjectInfo, Precondition, PutOptions, StoreErrorKind};
use crate::wal::SegmentTags;
use crate::wal::listing::strays;

/// A file that has another size in one repository than in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DifferingCopies {
    pub key: String,
    pub holders: Vec<RepositoryName>,
}

/// Of the files of each repository, and their sizes, those that cannot all be what was stored, unless they were
/// sealed more than once.
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

/// What a repository has, by what was kept with it when it was stored.
enum Copy {
    Good(Bytes, ObjectInfo),
    Altered { etag: String, found: Sha256Hex, expected: Sha256Hex },
    Unsaid,
}

async fn look(repository: &Repository, key: &str) -> Result<Copy, SyncFault> {
    let (bytes, info) = match repository.store.get(key, WHOLE).await {
        Ok(read) => read,
        Err(error) if error.kind == StoreErrorKind::TooLarge => return Ok(Copy::Unsaid),
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
        _ => Copy::Unsaid,
    })
}

/// Puts a copy that is what was stored in the place of each that is not. Gives how many bytes were sent, or what kept
/// it from being done, for each copy that is not.
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
            Ok(Copy::Unsaid) => unsaid.push(repository),
            Err(fault) => outcomes.push(Err((lacking(&repository.name), fault))),
        }
    }
    for (repository, etag, found, expected) in altered {
        let location = repository.store.location();
        let Some((bytes, info)) = &good else {
            let fault = SyncFault::Altered { key: key.clone(), location, found, expected };
            outcomes.push(Err((lacking(&repository.name), fault)));
            continue;
        };
        let own = options.iter().find(|(name, _)| *name == repository.name);
        let options = PutOptions {
            precondition: Precondition::Unchanged(etag),
            metadata: info.metadata.clone(),
            ..own.map(|(_, options)| options.clone()).unwrap_or_default()
        };
        let put = repository.store.put(key, bytes.clone(), &options).await;
        outcomes.push(match put {
            Ok(_) => Ok(info.size),
            Err(error) => Err((lacking(&repository.name), error.into())),
        });
    }
    for repository in unsaid {
        let fault = SyncFault::Unsaid { key: key.clone(), location: repository.store.location() };
        outcomes.push(Err((lacking(&repository.name), fault)));
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::*;

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
