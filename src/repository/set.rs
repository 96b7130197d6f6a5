use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{BoxFuture, join_all};

use super::marker::{self, Marker, MarkerError};
use super::{Lock, PutOptions, Store, StoreError, StoreErrorKind, layout};
use crate::model::{RepositoryName, SystemName};
use crate::policy::{Place, RepositoryConfig};

/// How long a reader waits for a repository's first answer.
const ANSWER: Duration = Duration::from_secs(15);

/// A store under the policy's name for it.
#[derive(Clone, Debug)]
pub struct Repository {
    pub name: RepositoryName,
    pub store: Arc<dyn Store>,
}

/// A repository that cannot be used in this run, and why.
#[derive(Clone, Debug)]
pub struct Lost {
    pub name: RepositoryName,
    pub error: Arc<dyn Error + Send + Sync>,
}

impl Lost {
    pub fn new(repository: &Repository, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { name: repository.name.clone(), error: Arc::from(error.into()) }
    }

    /// The whole chain in one line.
    pub fn reason(&self) -> String {
        crate::event::told(&*self.error)
    }

    /// Each of them, to be put behind what failed.
    pub fn reasons(lost: &[Self]) -> String {
        lost.iter().map(|lost| format!("; `{}`: {}", lost.name, lost.reason())).collect()
    }
}

/// How objects are written into each repository: never over another, and locked where the policy asks.
pub fn write_options(configs: &[RepositoryConfig], now: DateTime<Utc>) -> Vec<(RepositoryName, PutOptions)> {
    let lock = |place: &Place| match place {
        Place::S3(place) => place.object_lock.map(|lock| Lock { mode: lock.mode, until: now + lock.retain }),
        Place::Directory(_) => None,
    };
    let options =
        |config: &RepositoryConfig| PutOptions { lock: lock(&config.place), ..PutOptions::absent() };
    configs.iter().map(|config| (config.name.clone(), options(config))).collect()
}

/// The repositories of a policy: those that can be used, the primary first, and those that were lost.
#[derive(Clone, Debug, Default)]
pub struct Repositories {
    primary: Option<RepositoryName>,
    usable: Vec<Repository>,
    lost: Vec<Lost>,
    /// Usable, for reading only: without a marker yet, or of a newer minor version.
    read_only: Vec<RepositoryName>,
    id: Option<String>,
}

/// A repository, and its marker if it has one.
type Found = (Repository, Result<Option<Marker>, MarkerError>);

impl Repositories {
    /// Opens every one; a store that cannot even be opened is lost, and the others go on.
    pub async fn open<F>(configs: &[RepositoryConfig], open: F) -> Self
    where
        F: for<'a> Fn(
            &'a RepositoryConfig,
        ) -> BoxFuture<'a, Result<Arc<dyn Store>, Box<dyn Error + Send + Sync>>>,
    {
        let primary = configs.first().map(|config| config.name.clone());
        let mut repositories = Self { primary, ..Self::default() };
        for (config, opened) in configs.iter().zip(join_all(configs.iter().map(open)).await) {
            let name = config.name.clone();
            match opened {
                Ok(store) => repositories.usable.push(Repository { name, store }),
                Err(error) => repositories.lost.push(Lost { name, error: Arc::from(error) }),
            }
        }
        repositories
    }

    /// As given, the primary first.
    pub fn of(usable: Vec<Repository>) -> Self {
        Self { primary: usable.first().map(|first| first.name.clone()), usable, ..Self::default() }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Repository> {
        self.usable.iter()
    }

    /// Those that may be written to.
    pub fn writable(&self) -> impl Iterator<Item = &Repository> {
        self.usable.iter().filter(|repository| !self.read_only.contains(&repository.name))
    }

    pub fn find(&self, name: &RepositoryName) -> Option<&Repository> {
        self.usable.iter().find(|repository| repository.name == *name)
    }

    pub fn is_empty(&self) -> bool {
        self.usable.is_empty()
    }

    /// Those that cannot be used, and why.
    pub fn lost(&self) -> &[Lost] {
        &self.lost
    }

    /// Whether `name` is the first of the policy's list.
    pub fn is_primary(&self, name: &RepositoryName) -> bool {
        self.primary.as_ref() == Some(name)
    }

    /// The id that the primary and its copies share; `None` where nothing was ever written.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Leaves out the others, for `--from`.
    pub fn only(mut self, name: &RepositoryName) -> Self {
        self.usable.retain(|repository| repository.name == *name);
        self.lost.retain(|lost| lost.name == *name);
        self
    }

    /// Takes one out for the rest of the run.
    pub fn lose(&mut self, lost: Lost) {
        self.usable.retain(|repository| repository.name != lost.name);
        self.lost.push(lost);
    }

    /// Reads the markers. What cannot be reached, or is not this system's, is lost; a store without a
    /// marker is empty and stays.
    ///
    /// `known` is the repository's id as the catalog has it. Without one the first marker in the policy's
    /// order decides. Someone may be waiting: a store that has not answered in 15 seconds is lost, however
    /// long its own retries would go on.
    pub async fn for_reading(self, system: &SystemName, known: Option<&str>) -> Self {
        let found = self.markers(Some(ANSWER)).await;
        self.accepting(found, system, known)
    }

    /// As [`Self::for_reading`], for someone who must not be kept from what is there by what a catalog of this
    /// host says: where no repository has the id that it knows, it is of another one, and the first marker
    /// decides.
    pub async fn for_restoring(self, system: &SystemName, known: Option<&str>) -> Self {
        let found = self.markers(Some(ANSWER)).await;
        let is_of = |id: &str| {
            found.iter().any(|(_, marker)| matches!(marker, Ok(Some(marker)) if marker.repository_id == id))
        };
        let known = known.filter(|known| is_of(known));
        self.accepting(found, system, known)
    }

    fn accepting(mut self, found: Vec<Found>, system: &SystemName, known: Option<&str>) -> Self {
        self.id = known.map(str::to_owned);
        for (repository, marker) in found {
            let accepted = marker.and_then(|marker| {
                let Some(marker) = marker else {
                    self.read_only.push(repository.name.clone());
                    return Ok(());
                };
                marker.check(&*repository.store, system, self.id.as_deref())?;
                if marker.check_writable(&*repository.store).is_err() {
                    self.read_only.push(repository.name.clone());
                }
                self.id.get_or_insert(marker.repository_id);
                Ok(())
            });
            if let Err(error) = accepted {
                self.lose(Lost::new(&repository, error));
            }
        }
        self
    }

    /// Reads the markers, and writes them (and the instructions for restoring by hand) where a store is
    /// used for the first time. What cannot be reached is lost.
    ///
    /// # Errors
    /// A store that belongs to another system or repository, or is of a newer format, refuses the whole
    /// run before anything is written: the policy names the wrong place. So does a set in which nothing
    /// can be reached, and a first use without the primary, which would give the copies an id of their own.
    pub async fn for_writing(
        mut self,
        system: &SystemName,
        known: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Self, MarkerError> {
        let mut id = known.map(str::to_owned);
        let mut unmarked = Vec::new();
        for (repository, marker) in self.markers(None).await {
            match marker {
                Ok(Some(marker)) => {
                    marker.check(&*repository.store, system, id.as_deref())?;
                    marker.check_writable(&*repository.store)?;
                    id.get_or_insert(marker.repository_id);
                }
                Ok(None) => unmarked.push(repository),
                Err(error) if error.is_store_fault() => self.lose(Lost::new(&repository, error)),
                Err(error) => return Err(error),
            }
        }
        if self.usable.is_empty() {
            return Err(MarkerError::NoneReachable(self.lost));
        }
        if id.is_none() && self.usable.first().map(|first| &first.name) != self.primary.as_ref() {
            return Err(MarkerError::PrimaryNeeded(self.lost));
        }
        // One after the other, the primary first: of two hosts that begin at once, the one that comes
        // second adopts the id that it finds there.
        let mut marker = Marker::new(system, now);
        for repository in unmarked {
            if let Some(id) = &id {
                marker.repository_id.clone_from(id);
            }
            match marker.write(&*repository.store).await {
                Ok(standing) => {
                    standing.check(&*repository.store, system, id.as_deref())?;
                    standing.check_writable(&*repository.store)?;
                    id.get_or_insert(standing.repository_id);
                }
                Err(error) if error.is_store_fault() && id.is_some() => {
                    self.lose(Lost::new(&repository, error));
                }
                Err(error) => return Err(error),
            }
        }
        self.id = id;
        let instructions = join_all(self.usable.iter().map(async |repository| {
            let written = marker::write_by_hand(&*repository.store, system).await;
            written.err().map(|error| Lost::new(repository, error))
        }));
        for lost in instructions.await.into_iter().flatten() {
            self.lose(lost);
        }
        if self.usable.is_empty() { Err(MarkerError::NoneReachable(self.lost)) } else { Ok(self) }
    }

    async fn markers(&self, patience: Option<Duration>) -> Vec<Found> {
        join_all(self.usable.iter().map(async |repository| {
            let read = Marker::read(&*repository.store);
            let marker = match patience {
                None => read.await,
                Some(patience) => tokio::time::timeout(patience, read).await.unwrap_or_else(|_| {
                    Err(MarkerError::Read(StoreError {
                        operation: "read",
                        key: layout::MARKER.to_owned(),
                        location: repository.store.location(),
                        kind: StoreErrorKind::Unreachable,
                        detail: Some(format!("no answer in {}", humantime::format_duration(patience))),
                    }))
                }),
            };
            (repository.clone(), marker)
        }))
        .await
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::repository::FormatError;
    use crate::repository::sample::{noon, repositories, system};

    async fn put_marker(repository: &Repository, change: impl FnOnce(&mut serde_json::Value)) {
        let mut marker = serde_json::to_value(Marker::new(&system(), noon())).unwrap();
        change(&mut marker);
        let body = Bytes::from(marker.to_string());
        repository.store.put(layout::MARKER, body, &PutOptions::absent()).await.unwrap();
    }

    #[tokio::test]
    async fn the_first_use_gives_all_one_id_and_the_second_keeps_it() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy"]).await;
        assert_eq!(set.clone().for_reading(&system(), None).await.id(), None);
        let first = set.clone().for_writing(&system(), None, noon()).await.unwrap();
        let second = set.clone().for_writing(&system(), None, noon()).await.unwrap();
        assert_eq!(first.id(), second.id());
        for repository in set.iter() {
            let marker = Marker::read(&*repository.store).await.unwrap().unwrap();
            assert_eq!(Some(&*marker.repository_id), first.id());
            let (text, _) = repository.store.get(layout::BY_HAND, 1 << 20).await.unwrap();
            assert!(text.starts_with(b"HOW TO GET DATA BACK"));
        }
    }

    #[tokio::test]
    async fn two_hosts_that_begin_at_once_agree_on_the_id() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy"]).await;
        let hosts = (0..8).map(|_| {
            let set = set.clone();
            tokio::spawn(async move { set.for_writing(&system(), None, noon()).await.unwrap() })
        });
        let mut ids = Vec::new();
        for host in hosts.collect::<Vec<_>>() {
            ids.push(host.await.unwrap().id().unwrap().to_owned());
        }
        ids.dedup();
        assert_eq!(ids.len(), 1, "{ids:?}");
    }

    #[tokio::test]
    async fn a_new_store_takes_the_id_the_others_have() {
        let root = tempfile::tempdir().unwrap();
        let old = repositories(root.path(), &["copy"]).await;
        let id = old.for_writing(&system(), None, noon()).await.unwrap().id().unwrap().to_owned();
        let set = repositories(root.path(), &["primary", "copy", "third"]).await;
        let set = set.for_writing(&system(), None, noon()).await.unwrap();
        assert_eq!((set.id(), set.iter().len()), (Some(&*id), 3));
    }

    #[tokio::test]
    async fn a_copy_is_not_begun_without_the_primary() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["missing-primary", "copy"]).await;
        let error = set.clone().for_writing(&system(), None, noon()).await.unwrap_err();
        assert!(matches!(error, MarkerError::PrimaryNeeded(_)), "{error}");
        assert!(error.to_string().contains("no such bucket or directory"), "{error}");
        // Unless the id is known from before.
        let set = set.for_writing(&system(), Some("0123456789abcdef0123456789abcdef"), noon()).await.unwrap();
        assert_eq!((set.iter().len(), set.lost().len()), (1, 1));
    }

    #[tokio::test]
    async fn what_belongs_to_someone_else_is_refused_and_nothing_is_written() {
        type Change = fn(&mut serde_json::Value);
        let cases: [(Change, &str); 4] = [
            (|marker| marker["system"] = "other".into(), "belongs to system `other`"),
            (|marker| marker["repository_id"] = "f".repeat(32).into(), "its id is `ffff"),
            (
                |marker| *marker = serde_json::json!({"format": "2.0", "what": 1}),
                "failed to accept the repository",
            ),
            (|marker| marker["format"] = "1.9".into(), "failed to accept the repository"),
        ];
        for (change, words) in cases {
            let root = tempfile::tempdir().unwrap();
            let set = repositories(root.path(), &["primary", "copy", "third"]).await;
            put_marker(set.iter().next().unwrap(), |_| {}).await;
            put_marker(set.iter().nth(1).unwrap(), change).await;
            let error = set.clone().for_writing(&system(), None, noon()).await.unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            let third = set.iter().nth(2).unwrap();
            assert!(Marker::read(&*third.store).await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn a_catalog_of_something_else_keeps_nobody_from_a_restore() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy", "empty"]).await;
        let id = "a".repeat(32);
        for repository in set.iter().take(2) {
            put_marker(repository, |marker| marker["repository_id"] = id.clone().into()).await;
        }
        let other = "f".repeat(32);
        assert_eq!(set.clone().for_reading(&system(), Some(&other)).await.iter().len(), 1);
        let opened = set.clone().for_restoring(&system(), Some(&other)).await;
        assert_eq!((opened.id(), opened.iter().len()), (Some(&*id), 3));
        // Where one is the catalog's, the others are not.
        put_marker(set.iter().nth(2).unwrap(), |marker| marker["repository_id"] = other.clone().into()).await;
        let opened = set.for_restoring(&system(), Some(&other)).await;
        assert_eq!((opened.id(), opened.iter().len()), (Some(&*other), 1));
    }

    #[tokio::test]
    async fn a_newer_minor_is_read_and_what_is_foreign_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy", "missing"]).await;
        put_marker(set.iter().next().unwrap(), |marker| marker["format"] = "1.9".into()).await;
        put_marker(set.iter().nth(1).unwrap(), |marker| marker["format"] = "2.0".into()).await;
        let set = set.for_reading(&system(), None).await;
        assert_eq!(set.iter().map(|repository| repository.name.as_str()).collect::<Vec<_>>(), ["primary"]);
        assert_eq!(set.writable().count(), 0);
        let reasons: Vec<_> = set.lost().iter().map(Lost::reason).collect();
        let unknown = FormatError::UnknownMajor("2.0".parse().unwrap()).to_string();
        assert!(reasons[0].contains(&unknown), "{reasons:?}");
        assert!(reasons[1].contains("no such bucket"), "{reasons:?}");
    }
}
