use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{BoxFuture, join_all};

use super::header;
use super::header::{HeaderLookup, MarkerError, RepositoryMarker};
use super::known_locations::{KnownLocations, WasRepository};
use super::layout;
use super::manifest::{self, ManifestError};
use super::nested::NestedError;
use super::opened::{Repository, Unavailable};
use super::same_location::{LocationProbe, twin};
use crate::model::{BackupId, RepositoryName, SystemName};
use crate::policy::RepositoryConfig;
use crate::store::{Store, StoreError, StoreErrorKind, list_all};
use crate::text::format_duration;

/// How long a reader waits for a repository's first response.
const ANSWER: Duration = Duration::from_secs(15);

/// The repositories of a policy: the usable ones, the primary first, and the unavailable ones.
#[derive(Clone, Debug, Default)]
pub struct Repositories {
    primary: Option<RepositoryName>,
    usable: Vec<Repository>,
    lost: Vec<Unavailable>,
    /// Usable for reading only, because of their location: the contents can still be restored.
    misplaced: Vec<Unavailable>,
    /// Usable, for reading only: without a marker yet, or of a newer minor version.
    read_only: Vec<RepositoryName>,
    id: Option<String>,
    remembered: KnownLocations,
    /// Repositories whose marker was seen or written in this run.
    marked: Vec<RepositoryName>,
    /// Without a marker, although objects of the system exist: for reading only.
    unmarked: Vec<Unavailable>,
    /// The repositories whose marker was written in this run.
    created: Vec<RepositoryName>,
    /// The repository to create even if one is known to have existed there.
    create: Option<RepositoryName>,
}

impl Repositories {
    /// Opens every repository; one that cannot even be opened is unavailable and does not affect the others.
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
                Err(error) => repositories.lost.push(Unavailable { name, error: Arc::from(error) }),
            }
        }
        repositories
    }

    /// Creates a set from usable repositories, the primary first.
    pub fn new(usable: Vec<Repository>) -> Self {
        Self { primary: usable.first().map(|first| first.name.clone()), usable, ..Self::default() }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Repository> {
        self.usable.iter()
    }

    /// Returns the repositories that may be written to.
    pub fn writable(&self) -> impl Iterator<Item = &Repository> {
        let is_misplaced =
            |name: &RepositoryName| self.misplaced.iter().any(|misplaced| misplaced.name == *name);
        let may_be = move |repository: &&Repository| {
            !self.read_only.contains(&repository.name) && !is_misplaced(&repository.name)
        };
        self.usable.iter().filter(may_be)
    }

    pub fn find(&self, name: &RepositoryName) -> Option<&Repository> {
        self.usable.iter().find(|repository| repository.name == *name)
    }

    pub fn is_empty(&self) -> bool {
        self.usable.is_empty()
    }

    /// Returns the repositories that cannot be written to: the unavailable and the misplaced ones.
    pub fn lost_to_writers(&self) -> Vec<Unavailable> {
        self.lost.iter().chain(&self.misplaced).cloned().collect()
    }

    /// Returns the unavailable repositories and the reasons.
    pub fn lost(&self) -> &[Unavailable] {
        &self.lost
    }

    /// Returns whether `name` is the first in the policy's list.
    pub fn is_primary(&self, name: &RepositoryName) -> bool {
        self.primary.as_ref() == Some(name)
    }

    /// Returns the repository ID shared by the primary and its copies; `None` if nothing was ever written.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Adds what was known before this run. Without it, only the journals of other repositories record what
    /// existed.
    pub fn remembering(mut self, remembered: KnownLocations) -> Self {
        self.remembered = remembered;
        self
    }

    /// Adds the repositories with an invalid location.
    pub fn with_misplaced(mut self, found: Vec<(RepositoryName, NestedError)>) -> Self {
        self.misplaced =
            found.into_iter().map(|(name, error)| Unavailable { name, error: Arc::new(error) }).collect();
        self
    }

    pub fn misplaced(&self) -> &[Unavailable] {
        &self.misplaced
    }

    pub fn remembered(&self) -> &KnownLocations {
        &self.remembered
    }

    /// Allows [`Self::for_writing`] to create a repository where one existed before.
    pub fn creating(mut self, name: &RepositoryName) -> Self {
        self.create = Some(name.clone());
        self
    }

    /// Returns the repositories whose marker was written in this run.
    pub fn created(&self) -> impl Iterator<Item = &Repository> {
        self.usable.iter().filter(|repository| self.created.contains(&repository.name))
    }

    /// Returns the repositories that have a marker of this system.
    pub fn marked(&self) -> impl Iterator<Item = &Repository> {
        self.usable.iter().filter(|repository| self.marked.contains(&repository.name))
    }

    /// Returns those that lost their marker: their contents can be read, and nothing is written to them.
    pub fn unmarked(&self) -> &[Unavailable] {
        &self.unmarked
    }

    /// Leaves out the others, for `--from`.
    pub fn only(mut self, name: &RepositoryName) -> Self {
        self.unmarked.retain(|unmarked| unmarked.name == *name);
        self.usable.retain(|repository| repository.name == *name);
        self.lost.retain(|lost| lost.name == *name);
        self
    }

    /// Marks a repository as unavailable for the rest of the run.
    pub fn lose(&mut self, lost: Unavailable) {
        self.usable.retain(|repository| repository.name != lost.name);
        self.lost.push(lost);
    }

    /// Reads the markers. Repositories that are unreachable or not this system's become unavailable; a store
    /// without a marker is empty and stays.
    ///
    /// `known` is the repository ID according to the catalog. Without one the first marker in the policy's
    /// order decides. Readers may be interactive: a store that has not responded in 15 seconds is
    /// unavailable, however long its own retries would take.
    pub async fn for_reading(self, system: &SystemName, known: Option<&str>) -> Self {
        let known = known.map(str::to_owned).or_else(|| self.remembered.id.clone());
        let found = self.markers(Some(ANSWER)).await;
        self.accepting(found, system, known).await
    }

    /// Opens the repositories as [`Self::for_reading`] does, but lets no catalog of this host prevent a
    /// restore: if no repository has the ID in the catalog, that is of another repository, and the first
    /// marker decides.
    pub async fn open_for_restore(mut self, system: &SystemName, known: Option<&str>) -> Self {
        let known = known.map(str::to_owned).or_else(|| self.remembered.id.clone());
        let found = self.markers(Some(ANSWER)).await;
        let is_of = |id: &String| {
            found.iter().any(|(_, marker)| matches!(marker, Ok(Some(marker)) if marker.repository_id == *id))
        };
        let known = known.filter(is_of);
        if known.is_none() {
            self.remembered = KnownLocations::default();
        }
        self.accepting(found, system, known).await
    }

    async fn accepting(
        mut self,
        found: Vec<HeaderLookup>,
        system: &SystemName,
        known: Option<String>,
    ) -> Self {
        let was = self.remembered.load(&found, system, known.as_deref()).await;
        self.id = known;
        let mut accepted: Vec<(Repository, RepositoryMarker)> = Vec::new();
        for (repository, marker) in found {
            match self.accept(&repository, marker, system, &accepted, &was).await {
                Ok(Some(marker)) => accepted.push((repository, marker)),
                Ok(None) => self.read_only.push(repository.name),
                Err(error) => self.lose(Unavailable::new(&repository, error)),
            }
        }
        self
    }

    async fn accept(
        &mut self,
        repository: &Repository,
        marker: Result<Option<RepositoryMarker>, MarkerError>,
        system: &SystemName,
        accepted: &[(Repository, RepositoryMarker)],
        was: &WasRepository,
    ) -> Result<Option<RepositoryMarker>, MarkerError> {
        let marker = match marker? {
            Some(marker) => marker,
            None if !holds_any(repository, system).await? => {
                return was.emptied(repository).map_or(Ok(None), Err);
            }
            // Another host may have created it meanwhile.
            None => match RepositoryMarker::read(&*repository.store).await? {
                Some(marker) => marker,
                // A repository that only lost its marker can still be restored from.
                None => {
                    self.unmarked.push(Unavailable::new(repository, marker_removed(repository, system)));
                    return Ok(None);
                }
            },
        };
        marker.check(&*repository.store, system, self.id.as_deref())?;
        if let Some(other) = twin(repository, &marker, accepted, LocationProbe::Look).await {
            return Err(MarkerError::SamePlace { location: repository.store.location(), other });
        }
        if marker.check_writable(&*repository.store).is_err() {
            self.read_only.push(repository.name.clone());
        }
        self.id.get_or_insert_with(|| marker.repository_id.clone());
        self.marked.push(repository.name.clone());
        Ok(Some(marker))
    }

    /// Reads the markers, and writes them (and the manual restore instructions) into stores that are used for
    /// the first time. Unreachable repositories become unavailable. So do locations that were a repository
    /// before and are none or another one now, which are not initialised again, and the second name of a
    /// location.
    ///
    /// # Errors
    ///
    /// An unknown store that belongs to another system or repository, or has a newer format, fails the whole
    /// run before anything is written: the policy names the wrong location. So does a set without a usable
    /// repository, and a first use without the primary, which would give the copies an ID of their own.
    pub async fn for_writing(
        mut self,
        system: &SystemName,
        known: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Self, MarkerError> {
        for misplaced in std::mem::take(&mut self.misplaced) {
            self.lose(misplaced);
        }
        let mut id = known.map(str::to_owned).or_else(|| self.remembered.id.clone());
        let found = self.markers(None).await;
        let was = self.remembered.load(&found, system, id.as_deref()).await;
        let mut unmarked = Vec::new();
        let mut accepted: Vec<(Repository, RepositoryMarker)> = Vec::new();
        for (repository, marker) in found {
            let checked = marker.and_then(|marker| {
                let Some(marker) = marker else { return Ok(None) };
                marker.check(&*repository.store, system, id.as_deref())?;
                marker.check_writable(&*repository.store)?;
                Ok(Some(marker))
            });
            match checked {
                Ok(Some(marker)) => {
                    id.get_or_insert_with(|| marker.repository_id.clone());
                    accepted.push((repository, marker));
                }
                Ok(None) if self.create.as_ref() == Some(&repository.name) => unmarked.push(repository),
                Ok(None) => match was.emptied(&repository) {
                    Some(emptied) => self.lose(Unavailable::new(&repository, emptied)),
                    None => unmarked.push(repository),
                },
                Err(error) if error.is_store_fault() || was.is_known(&repository.name) => {
                    self.lose(Unavailable::new(&repository, error));
                }
                Err(error) => return Err(error),
            }
        }
        if self.usable.is_empty() {
            return Err(MarkerError::NoneReachable(self.lost));
        }
        if id.is_none() && self.usable.first().map(|first| &first.name) != self.primary.as_ref() {
            return Err(MarkerError::PrimaryNeeded(self.lost));
        }
        // Sequentially, the primary first: of two hosts that begin at once, the later one adopts the ID that
        // it finds there.
        let mut marker = RepositoryMarker::new(system, now);
        for repository in unmarked {
            marker = marker.in_another_store();
            if id.is_none() {
                // Backups that lost their marker would belong to another repository under a new id.
                id = id_of_backups(&repository, system).await?;
            }
            if let Some(id) = &id {
                marker.repository_id.clone_from(id);
            }
            match marker.write(&*repository.store).await {
                Ok(standing) => {
                    standing.check(&*repository.store, system, id.as_deref())?;
                    standing.check_writable(&*repository.store)?;
                    id.get_or_insert_with(|| standing.repository_id.clone());
                    if standing == marker {
                        self.created.push(repository.name.clone());
                    }
                    accepted.push((repository, standing));
                }
                Err(error) if error.is_store_fault() && id.is_some() => {
                    self.lose(Unavailable::new(&repository, error));
                }
                Err(error) => return Err(error),
            }
        }
        self.id = id;
        self.lose_twins(accepted).await;
        let instructions = join_all(self.usable.iter().map(async |repository| {
            let written = header::write_by_hand(&*repository.store, system).await;
            written.err().map(|error| Unavailable::new(repository, error))
        }));
        for lost in instructions.await.into_iter().flatten() {
            self.lose(lost);
        }
        if self.usable.is_empty() { Err(MarkerError::NoneReachable(self.lost)) } else { Ok(self) }
    }

    /// Marks second names of one repository as unavailable, as far as markers reveal them.
    pub async fn without_twins(mut self) -> Self {
        let found = self.markers(None).await;
        let marked = found.into_iter().filter_map(|(repository, marker)| Some((repository, marker.ok()??)));
        self.lose_twins(marked.collect()).await;
        self
    }

    /// Keeps the first in the policy's order of several names for one location.
    async fn lose_twins(&mut self, mut accepted: Vec<(Repository, RepositoryMarker)>) {
        let order: Vec<_> = self.usable.iter().map(|repository| repository.name.clone()).collect();
        accepted.sort_by_key(|(repository, _)| order.iter().position(|name| *name == repository.name));
        let mut kept: Vec<(Repository, RepositoryMarker)> = Vec::new();
        for (repository, marker) in accepted {
            if let Some(other) = twin(&repository, &marker, &kept, LocationProbe::Write).await {
                let location = repository.store.location();
                self.lose(Unavailable::new(&repository, MarkerError::SamePlace { location, other }));
                continue;
            }
            self.marked.push(repository.name.clone());
            kept.push((repository, marker));
        }
    }

    async fn markers(&self, patience: Option<Duration>) -> Vec<HeaderLookup> {
        join_all(self.usable.iter().map(async |repository| {
            let read = RepositoryMarker::read(&*repository.store);
            let marker = match patience {
                None => read.await,
                Some(patience) => tokio::time::timeout(patience, read).await.unwrap_or_else(|_| {
                    Err(MarkerError::Read(StoreError {
                        operation: "read",
                        key: layout::MARKER.to_owned(),
                        location: repository.store.location(),
                        kind: StoreErrorKind::Unreachable,
                        detail: Some(unanswered(&*repository.store, patience)),
                    }))
                }),
            };
            (repository.clone(), marker)
        }))
        .await
    }
}

/// Describes a store that did not respond in time, by its last failed attempt if there is one.
fn unanswered(store: &dyn Store, patience: Duration) -> String {
    let patience = format_duration(patience);
    match store.admin().and_then(|admin| admin.last_failure()) {
        Some(trouble) => format!("{trouble}; tried for {patience}"),
        None => format!("no answer in {patience}"),
    }
}

fn marker_removed(repository: &Repository, system: &SystemName) -> MarkerError {
    MarkerError::MarkerRemoved { location: repository.store.location(), system: system.clone() }
}

/// Returns the repository id of the newest backup there whose manifest can be read; `None`: there is no backup.
///
/// # Errors
/// A manifest could not be read. Without it, a new id would make every backup there another repository's.
async fn id_of_backups(repository: &Repository, system: &SystemName) -> Result<Option<String>, MarkerError> {
    let objects = list_all(&*repository.store, &layout::system(system)).await.map_err(MarkerError::Read)?;
    let mut backups: Vec<BackupId> =
        objects.iter().filter_map(|object| layout::parse_manifest(&object.key)).collect();
    backups.sort_unstable_by(|one, other| other.cmp(one));
    let mut unread = None;
    for backup in backups {
        match manifest::read(&*repository.store, system, &backup).await {
            Ok((manifest, _)) => return Ok(Some(manifest.repository_id)),
            Err(ManifestError::Read { source, .. }) if source.kind != StoreErrorKind::NotFound => {
                return Err(MarkerError::Read(source));
            }
            Err(error) => unread = unread.or(Some(error)),
        }
    }
    match unread {
        None => Ok(None),
        Some(source) => Err(MarkerError::NoReadableBackup { location: repository.store.location(), source }),
    }
}

/// Returns whether any object of the system exists there.
async fn holds_any(repository: &Repository, system: &SystemName) -> Result<bool, MarkerError> {
    let page = repository.store.list(&layout::system(system), None).await;
    Ok(!page.map_err(MarkerError::Read)?.objects.is_empty())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::repository::fixtures::{noon, repositories, system};
    use crate::repository::{FormatError, journal, run_record};
    use crate::store::PutOptions;

    async fn put_marker(repository: &Repository, change: impl FnOnce(&mut serde_json::Value)) {
        let mut marker = serde_json::to_value(RepositoryMarker::new(&system(), noon())).unwrap();
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
            let marker = RepositoryMarker::read(&*repository.store).await.unwrap().unwrap();
            assert_eq!(Some(&*marker.repository_id), first.id());
            let (text, _) = repository.store.get(layout::BY_HAND, 1 << 20).await.unwrap();
            assert!(text.starts_with(b"HOW TO GET DATA BACK"));
        }
    }

    #[tokio::test]
    async fn a_repository_that_lost_its_marker_is_read_said_and_keeps_its_id() {
        use crate::repository::fixtures::{REPOSITORY_ID, store_backup};
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy"]).await;
        let set = set.for_writing(&system(), Some(REPOSITORY_ID), noon()).await.unwrap();
        for repository in set.iter() {
            store_backup(repository, 0).await;
        }
        let marker = |name: &str| root.path().join(name).join(layout::MARKER);
        std::fs::remove_file(marker("copy")).unwrap();
        let names = |unmarked: &[Unavailable]| {
            unmarked.iter().map(|unmarked| unmarked.name.to_string()).collect::<Vec<_>>()
        };
        let fresh = async || repositories(root.path(), &["primary", "copy"]).await;
        let read = fresh().await.for_reading(&system(), None).await;
        assert_eq!((read.iter().len(), names(read.unmarked())), (2, vec!["copy".to_owned()]));
        assert!(read.unmarked()[0].reason().contains("its marker was removed"));
        assert!(read.writable().all(|repository| repository.name.as_str() == "primary"));
        // With both gone, and nothing known, the backups say whose they are.
        std::fs::remove_file(marker("primary")).unwrap();
        let read = fresh().await.for_reading(&system(), None).await;
        assert_eq!(names(read.unmarked()), ["primary", "copy"]);
        let created = fresh().await.creating(&"primary".parse().unwrap());
        let created = created.for_writing(&system(), None, noon()).await.unwrap();
        assert_eq!(created.id(), Some(REPOSITORY_ID));
        // One that was never used lost nothing.
        let new = repositories(root.path(), &["new"]).await.for_reading(&system(), None).await;
        assert_eq!(names(new.unmarked()), [""; 0]);
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
        // Unless the ID is already known.
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
            assert!(RepositoryMarker::read(&*third.store).await.unwrap().is_none());
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
        let opened = set.clone().open_for_restore(&system(), Some(&other)).await;
        assert_eq!((opened.id(), opened.iter().len()), (Some(&*id), 3));
        // If one has the catalog's ID, the others are rejected.
        put_marker(set.iter().nth(2).unwrap(), |marker| marker["repository_id"] = other.clone().into()).await;
        let opened = set.open_for_restore(&system(), Some(&other)).await;
        assert_eq!((opened.id(), opened.iter().len()), (Some(&*other), 1));
    }

    #[tokio::test]
    async fn a_misplaced_repository_is_read_and_never_written_to() {
        use crate::repository::fixtures::REPOSITORY_ID;
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy"]).await;
        set.for_writing(&system(), Some(REPOSITORY_ID), noon()).await.unwrap();
        let misplaced = async || {
            let error = NestedError::Repository {
                path: root.path().join("copy"),
                of: "primary".parse().unwrap(),
                outer: root.path().to_owned(),
            };
            let set = repositories(root.path(), &["primary", "copy"]).await;
            set.with_misplaced(vec![("copy".parse().unwrap(), error)])
        };
        let names = |repositories: &Repositories| {
            repositories.writable().map(|repository| repository.name.to_string()).collect::<Vec<_>>()
        };
        let opened = misplaced().await;
        assert_eq!(names(&opened), ["primary"]);
        assert_eq!(opened.lost_to_writers().len(), 1);
        for read in [
            misplaced().await.for_reading(&system(), None).await,
            misplaced().await.open_for_restore(&system(), None).await,
        ] {
            assert_eq!((read.iter().len(), names(&read)), (2, vec!["primary".to_owned()]));
        }
        let written = misplaced().await.for_writing(&system(), None, noon()).await.unwrap();
        assert_eq!((written.iter().len(), written.lost().len()), (1, 1));
        assert!(written.lost()[0].reason().contains("is inside repository"));
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
        let reasons: Vec<_> = set.lost().iter().map(Unavailable::reason).collect();
        let unknown = FormatError::UnknownMajor("2.0".parse().unwrap()).to_string();
        assert!(reasons[0].contains(&unknown), "{reasons:?}");
        assert!(reasons[1].contains("no such bucket"), "{reasons:?}");
    }

    fn seen(names: &[&str]) -> KnownLocations {
        let marked = names.iter().map(|name| (name.parse().unwrap(), noon())).collect();
        KnownLocations { marked, ..KnownLocations::default() }
    }

    fn empty(root: &std::path::Path, name: &str) {
        std::fs::remove_dir_all(root.join(name)).unwrap();
        std::fs::create_dir(root.join(name)).unwrap();
    }

    fn is_empty(root: &std::path::Path, name: &str) -> bool {
        std::fs::read_dir(root.join(name)).unwrap().next().is_none()
    }

    #[tokio::test]
    async fn what_was_a_repository_and_is_empty_is_lost_and_not_begun() {
        let root = tempfile::tempdir().unwrap();
        let names = ["primary", "copy", "third"];
        let set = repositories(root.path(), &names).await;
        let begun = set.clone().for_writing(&system(), None, noon()).await.unwrap();
        assert_eq!(begun.created().count(), 3);
        for away in ["copy", "primary"] {
            empty(root.path(), away);
            let set = repositories(root.path(), &names).await.remembering(seen(&names));
            for opened in [
                set.clone().for_writing(&system(), None, noon()).await.unwrap(),
                set.clone().for_reading(&system(), None).await,
            ] {
                assert_eq!((opened.iter().len(), opened.created().count()), (2, 0));
                assert_eq!(opened.id(), begun.id());
                assert!(opened.lost()[0].reason().contains("on 2026-11-20T12:00:00Z"), "{opened:?}");
            }
            assert!(is_empty(root.path(), away));
            let name = away.parse().unwrap();
            let created = set.creating(&name).for_writing(&system(), None, noon()).await.unwrap();
            assert_eq!(created.created().map(|one| &one.name).collect::<Vec<_>>(), [&name]);
            assert_eq!((created.id(), created.iter().len()), (begun.id(), 3));
        }
    }

    #[tokio::test]
    async fn without_a_catalog_the_journals_of_the_others_say_what_was_there() {
        let root = tempfile::tempdir().unwrap();
        let names = ["primary", "copy"];
        let set = repositories(root.path(), &names).await;
        let begun = set.for_writing(&system(), None, noon()).await.unwrap();
        let record = |n: u32| {
            let run = crate::model::RunId::new(noon() + chrono::TimeDelta::minutes(n.into()), n);
            let outcome = crate::model::Outcome::Succeeded;
            journal::JournalRecord::new(
                &run,
                "backup",
                (noon(), noon()),
                "a",
                outcome,
                journal::Detail::default(),
            )
        };
        run_record::append(&begun, &system(), record(1)).await.unwrap();
        empty(root.path(), "copy");
        // Every later record keeps what an earlier one knew.
        for n in 2..20 {
            let left = repositories(root.path(), &names).await.for_reading(&system(), None).await;
            assert_eq!(left.lost().len(), 1, "{n}");
            run_record::append(&left, &system(), record(n)).await.unwrap();
        }
        let set = repositories(root.path(), &names).await;
        let opened = set.for_writing(&system(), None, noon()).await.unwrap();
        assert_eq!((opened.iter().len(), opened.lost().len()), (1, 1));
        assert!(is_empty(root.path(), "copy"));
    }

    #[tokio::test]
    async fn what_lost_only_its_marker_can_still_be_read() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy"]).await;
        set.clone().for_writing(&system(), None, noon()).await.unwrap();
        crate::repository::fixtures::store_backup(set.iter().nth(1).unwrap(), 0).await;
        std::fs::remove_file(root.path().join("copy").join(layout::MARKER)).unwrap();
        let set = set.remembering(seen(&["primary", "copy"]));
        let opened = set.clone().for_reading(&system(), None).await;
        assert_eq!((opened.iter().len(), opened.writable().count()), (2, 1));
        assert_eq!(set.for_writing(&system(), None, noon()).await.unwrap().iter().len(), 1);
    }

    #[tokio::test]
    async fn another_repository_in_the_place_of_a_known_one_costs_only_that_place() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy"]).await;
        put_marker(set.iter().next().unwrap(), |_| {}).await;
        put_marker(set.iter().nth(1).unwrap(), |marker| marker["system"] = "other".into()).await;
        let set = set.remembering(seen(&["primary", "copy"]));
        let opened = set.for_writing(&system(), None, noon()).await.unwrap();
        assert_eq!((opened.iter().len(), opened.lost().len()), (1, 1));
    }

    #[tokio::test]
    async fn of_two_names_of_one_place_the_first_stays() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary"]).await;
        std::os::unix::fs::symlink(root.path().join("primary"), root.path().join("copy")).unwrap();
        let store = Arc::new(crate::store::directory::DirectoryStore::open(root.path().join("copy")));
        let copy = Repository { name: "copy".parse().unwrap(), store };
        let both = Repositories::new([set.usable.clone(), vec![copy]].concat());
        let writing = both.clone().for_writing(&system(), None, noon()).await.unwrap();
        let reading = both.for_reading(&system(), None).await;
        for opened in [writing, reading] {
            assert_eq!(opened.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["primary"]);
            assert!(opened.lost()[0].reason().contains("the same place as repository `primary`"));
        }
        // Markers of earlier versions have no ID of their store; the file tells them apart.
        std::fs::remove_file(root.path().join("primary").join(layout::MARKER)).unwrap();
        put_marker(set.iter().next().unwrap(), |marker| marker["store_id"] = serde_json::Value::Null).await;
        let set = repositories(root.path(), &["primary", "other"]).await;
        let old = std::fs::read(root.path().join("primary").join(layout::MARKER)).unwrap();
        std::fs::write(root.path().join("other").join(layout::MARKER), old).unwrap();
        assert_eq!(set.for_writing(&system(), None, noon()).await.unwrap().iter().len(), 2);
    }

    #[tokio::test]
    async fn a_server_that_refuses_connections_is_told_so_when_time_is_up() {
        use crate::policy::{Checksum, Credentials, S3Location};
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("key");
        std::fs::write(&secret, "word").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&secret, mode).unwrap();
        let key = || crate::platform::SecretRef::File(secret.clone());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let place = S3Location {
            bucket: "b".to_owned(),
            prefix: String::new(),
            region: "us-east-1".to_owned(),
            endpoint: Some(format!("http://{address}").parse().unwrap()),
            path_style: true,
            credentials: Credentials::Keys {
                access_key_id: key(),
                secret_access_key: key(),
                session_token: None,
            },
            checksum: Checksum::None,
            storage_class: None,
            server_side_encryption: None,
            object_lock: None,
        };
        let store = Arc::new(crate::store::s3::S3Store::open(&place).await.unwrap());
        let set = Repositories::new(vec![Repository { name: "primary".parse().unwrap(), store }]);
        let found = set.markers(Some(Duration::from_secs(2))).await;
        let Err(error) = &found[0].1 else { panic!("{found:?}") };
        let told = crate::text::error_chain(error);
        assert!(told.to_lowercase().contains("connection refused") && told.contains("2s"), "{told}");
    }
}
