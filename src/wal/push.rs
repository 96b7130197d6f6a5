use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::future::{join_all, try_join_all};
use thiserror::Error;
use tokio::task::{JoinHandle, JoinSet};

use super::archive::WHILE_WRITTEN;
use super::cluster::{self, ClusterError};
use super::multipart;
use super::push_rejection::PushRejection;
use super::{
    Archive, Backlog, FileError, LsnTimeline, Memory, SealedFile, SegmentTags, WalFault, WalFile, WalOrigin,
};
use crate::model::{Digest, Lsn, RepositoryName, SourceName, SystemIdentifier, SystemName, WalName};
use crate::pipeline::Recipe;
use crate::platform::{CancellationToken, Clock};
use crate::repository::{MarkerError, Repositories, Repository, Unavailable};
use crate::store::{ObjectInfo, PutOptions, StoreError, StoreErrorKind};

/// Plain bytes of a file that is sealed in memory.
const IN_MEMORY: u64 = 32 << 20;
/// Plain bytes of all concurrent transfers.
const AT_ONCE: u64 = 48 << 20;
/// A `.ready` file of this age may have been seen before: an earlier push may have archived its file.
const SEEN_BEFORE: Duration = Duration::from_secs(2);

/// Why a file is not archived.
#[derive(Debug, Error)]
pub enum PushError {
    #[error("failed to read the file to archive")]
    File(#[source] FileError),
    #[error("failed to archive `{name}` in {}{}", listed(.lost), Unavailable::reasons(.lost))]
    NotEverywhere {
        name: WalName,
        /// Repositories that have it.
        held: Vec<RepositoryName>,
        /// Repositories that do not, and why.
        lost: Vec<Unavailable>,
    },
    #[error("a worker ended without a result")]
    Worker(#[source] tokio::task::JoinError),
    #[error("the run was interrupted")]
    Interrupted,
}

impl PushError {
    /// Returns whether a repository has the WAL of another cluster.
    pub fn is_of_another_cluster(&self) -> bool {
        self.refusals().any(|refusal| matches!(refusal, PushRejection::Cluster(ClusterError::Other { .. })))
    }

    /// Returns whether it is a segment that its server may still write.
    pub fn is_unfinished(&self) -> bool {
        matches!(self, Self::File(FileError::Unfinished(_)))
    }

    /// Returns the key where a different file exists.
    pub fn conflicting_object_at(&self) -> Option<&str> {
        self.refusals().find_map(|refusal| match refusal {
            PushRejection::Different { key, .. } => Some(&**key),
            _ => None,
        })
    }

    /// Returns the key where an existing file cannot be compared.
    pub fn unverifiable_object_at(&self) -> Option<&str> {
        self.refusals().find_map(|refusal| match refusal {
            PushRejection::Untold { key, .. } => Some(&**key),
            _ => None,
        })
    }

    /// Returns uninitialized repositories, and why.
    pub fn unusable(&self) -> impl Iterator<Item = &Unavailable> {
        self.refusals().flat_map(|refusal| match refusal {
            PushRejection::Cluster(ClusterError::Unusable(lost)) => std::slice::from_ref(lost),
            PushRejection::Cluster(ClusterError::Marker(
                MarkerError::NoneReachable(lost) | MarkerError::PrimaryNeeded(lost),
            )) => lost.as_slice(),
            _ => &[],
        })
    }

    fn refusals(&self) -> impl Iterator<Item = &PushRejection> {
        let lost = match self {
            Self::NotEverywhere { lost, .. } => lost.as_slice(),
            _ => &[],
        };
        lost.iter().filter_map(|lost| lost.error.downcast_ref::<PushRejection>())
    }
}

fn listed(lost: &[Unavailable]) -> String {
    lost.iter().map(|lost| format!("`{}`", lost.name)).collect::<Vec<_>>().join(" and ")
}

/// Archives files of one source in every repository.
#[derive(Debug)]
pub struct Pusher {
    pub system: SystemName,
    pub source: SourceName,
    pub repositories: Repositories,
    /// How each repository's objects are written; [`PutOptions::absent`] for those not listed.
    pub options: Vec<(RepositoryName, PutOptions)>,
    /// Repositories whose confirmation is optional.
    pub optional_repositories: Vec<RepositoryName>,
    pub recipe: Recipe,
    /// Concurrent transfers.
    pub parallel: usize,
    pub clock: Arc<dyn Clock>,
    pub cancel: CancellationToken,
    /// The server's flush history, where the files were received from it.
    pub horizon: Option<Arc<LsnTimeline>>,
    /// Repositories that are known to take a cluster's WAL.
    pub known: Arc<SeenSegments>,
    /// Queried where a repository seems to be used for the first time.
    pub memory: Arc<dyn Memory>,
}

/// What this process has already queried from the repositories.
pub type SeenSegments = tokio::sync::Mutex<BTreeSet<(RepositoryName, SystemIdentifier)>>;

/// A file that is archived in every required repository.
#[derive(Debug)]
pub struct PushResult {
    pub name: WalName,
    pub whose: WalOrigin,
    /// Repositories that it was written to by this call.
    pub stored: Vec<RepositoryName>,
    /// Repositories that had the same file already.
    pub stood: Vec<RepositoryName>,
    /// Optional repositories that do not have it.
    pub behind: Vec<Unavailable>,
    /// Where recovery ends in it, and why, if it was read by this call.
    pub fault: Option<(Lsn, WalFault)>,
}

/// The result of archiving the backlog.
#[derive(Debug, Default)]
pub struct BacklogResult {
    /// Files that this call archived.
    pub archived: usize,
    /// Why others failed; PostgreSQL will call for them again.
    pub failed: Vec<PushError>,
    /// Segments in which recovery ends, where, and why.
    pub faults: Vec<(WalName, Lsn, WalFault)>,
}

impl Pusher {
    /// Archives one file. `Ok` only when every required repository has confirmed it.
    ///
    /// Where it fails, the repositories that could take the file have it nevertheless.
    pub async fn push(&self, path: &Path) -> Result<PushResult, PushError> {
        let file = WalFile::at(path).map_err(PushError::File)?;
        file.refuse_unfinished().map_err(PushError::File)?;
        self.push_forgotten_history(&file).await?;
        let seen = self.was_seen_before(&file);
        self.push_file(&file, seen).await
    }

    /// Archives a history file that the server skipped: one that was promoted while `archive_mode` was off,
    /// like a restored one, never passes on the history file of its new timeline, without which the WAL
    /// archived from then on is unreachable.
    async fn push_forgotten_history(&self, file: &WalFile) -> Result<(), PushError> {
        let WalName::Segment(segment) = file.name else { return Ok(()) };
        let Some(history) = file.unarchived_history_file(segment.timeline) else { return Ok(()) };
        self.push_file(&history, true).await?;
        // Spares the next segment the query; without it the next one repeats it.
        let _noted = std::fs::File::create(history.done());
        Ok(())
    }

    async fn push_file(&self, file: &WalFile, seen: bool) -> Result<PushResult, PushError> {
        let work = async {
            let whose = blocking({
                let file = file.clone();
                move || file.whose()
            })
            .await?;
            let archive = self.archive(whose);
            let mut ledger = PushProgress::new(&self.repositories);
            let mut wanting: Vec<Repository> = self.repositories.writable().cloned().collect();
            if seen {
                wanting = self.look(&archive, file, &mut ledger).await?;
            }
            if !wanting.is_empty() {
                self.write(&archive, whose, file, wanting, &mut ledger).await?;
            }
            self.settle(file.name, whose, ledger)
        };
        tokio::select! {
            pushed = work => pushed,
            () = self.cancel.cancelled() => Err(PushError::Interrupted),
        }
    }

    /// Archives the rest of the backlog in the folder of `pushed`, oldest first, until `until`, as far as the
    /// repositories that took `pushed` take it.
    ///
    /// PostgreSQL still calls for each file. It is then found in the repositories, and that is what is
    /// reported: no state is kept here about what was done.
    pub async fn archive_backlog(
        &self,
        backlog: &Backlog,
        pushed: &Result<PushResult, PushError>,
        at_most: usize,
        until: Instant,
    ) -> BacklogResult {
        let mut drained = BacklogResult::default();
        let own = match pushed {
            Ok(pushed) => pushed.name,
            Err(PushError::NotEverywhere { name, .. }) => *name,
            Err(_) => return drained,
        };
        let available = match self.available(pushed) {
            Some(available) => Arc::new(available),
            None => return drained,
        };
        let waiting: Vec<_> =
            backlog.files.iter().map(|ready| &ready.file).filter(|f| f.name != own).collect();
        let Some(missing) = available.missing(&waiting).await else { return drained };
        let mut missing = missing.into_iter().take(at_most);
        let mut running = JoinSet::new();
        loop {
            while running.len() < available.parallel.max(1)
                && Instant::now() < until
                && let Some(file) = missing.next()
            {
                let available = Arc::clone(&available);
                running.spawn(async move { available.push_file(&file, false).await });
            }
            match running.join_next().await {
                Some(Ok(Ok(pushed))) => {
                    drained.archived += 1;
                    drained.faults.extend(pushed.fault.map(|(at, fault)| (pushed.name, at, fault)));
                }
                Some(Ok(Err(error))) => drained.failed.push(error),
                Some(Err(error)) => drained.failed.push(PushError::Worker(error)),
                None => return drained,
            }
        }
    }

    /// Returns this with only the repositories that took the last file.
    fn available(&self, pushed: &Result<PushResult, PushError>) -> Option<Self> {
        let (held, size): (Vec<_>, _) = match pushed {
            Ok(pushed) => (
                pushed.stored.iter().chain(&pushed.stood).cloned().collect(),
                Some(pushed.whose.segment_size),
            ),
            Err(PushError::NotEverywhere { held, .. }) => (held.clone(), None),
            Err(_) => return None,
        };
        let usable: Vec<_> =
            self.repositories.iter().filter(|repository| held.contains(&repository.name)).cloned().collect();
        if usable.is_empty() {
            return None;
        }
        let size = size.map_or(IN_MEMORY, |size| size.bytes());
        let fit = usize::try_from(AT_ONCE / size).unwrap_or(1).max(1);
        let parallel = self.parallel.min(fit);
        let recipe = self.recipe.clone();
        Some(Self {
            system: self.system.clone(),
            source: self.source.clone(),
            repositories: Repositories::new(usable),
            options: self.options.clone(),
            optional_repositories: vec![],
            recipe: if parallel > 1 { recipe.on_one_thread() } else { recipe },
            parallel,
            clock: Arc::clone(&self.clock),
            cancel: self.cancel.clone(),
            horizon: self.horizon.clone(),
            known: Arc::clone(&self.known),
            memory: Arc::clone(&self.memory),
        })
    }

    /// Returns which of the files a repository lacks. By name only: an existing file is compared when
    /// PostgreSQL calls for it. `None`: it cannot be determined.
    async fn missing(&self, files: &[&WalFile]) -> Option<Vec<WalFile>> {
        let first = files.first()?;
        let whose = blocking({
            let file = (*first).clone();
            move || file.whose()
        })
        .await
        .ok()?;
        let archive = self.archive(whose);
        let mut timelines: Vec<_> = files.iter().map(|file| file.name.timeline()).collect();
        timelines.sort_unstable();
        timelines.dedup();
        let oldest = timelines.into_iter().map(|timeline| {
            let of_it = files.iter().map(|file| file.name).filter(|name| name.timeline() == timeline);
            of_it.min_by_key(|name| name.to_string())
        });
        let oldest = oldest.collect::<Option<Vec<_>>>()?;
        let held = try_join_all(self.repositories.iter().map(async |repository| {
            let of_timelines = oldest.iter().map(|oldest| keys_from(repository, &archive, *oldest));
            let keys = try_join_all(of_timelines).await?;
            Ok::<BTreeSet<_>, StoreError>(keys.into_iter().flatten().collect())
        }));
        let held = held.await.ok()?;
        let is_missing = |file: &&&WalFile| {
            let key = archive.key(file.name, self.recipe.suffix());
            held.iter().any(|keys| !keys.contains(&key))
        };
        Some(files.iter().filter(is_missing).map(|file| (*file).clone()).collect())
    }

    fn archive(&self, whose: WalOrigin) -> Archive {
        Archive { system: self.system.clone(), source: self.source.clone(), cluster: whose.cluster }
    }

    fn was_seen_before(&self, file: &WalFile) -> bool {
        let noted = std::fs::metadata(file.ready()).and_then(|note| note.modified());
        let age =
            noted.ok().and_then(|noted| (self.clock.now() - DateTime::<Utc>::from(noted)).to_std().ok());
        age.is_some_and(|age| age > SEEN_BEFORE)
    }

    /// Queries every repository for the file, while it is read. Returns those that lack it.
    async fn look(
        &self,
        archive: &Archive,
        file: &WalFile,
        ledger: &mut PushProgress,
    ) -> Result<Vec<Repository>, PushError> {
        let key = archive.key(file.name, self.recipe.suffix());
        let found = join_all(self.repositories.writable().map(|repository| repository.store.head(&key)));
        let file = file.clone();
        let (given, found) = tokio::join!(blocking(move || file.digest()), found);
        let given = given?;
        let mut wanting = Vec::new();
        for (repository, found) in self.repositories.writable().zip(found) {
            match found.map_err(PushRejection::from).and_then(|found| is_same(repository, &key, found, given))
            {
                Ok(false) => wanting.push(repository.clone()),
                outcome => ledger.enter(repository, outcome.map(|_| UploadRequest::Stood)),
            }
        }
        Ok(wanting)
    }

    /// Writes the file to the repositories that lack it, as far as they take it.
    async fn write(
        &self,
        archive: &Archive,
        whose: WalOrigin,
        file: &WalFile,
        wanting: Vec<Repository>,
        ledger: &mut PushProgress,
    ) -> Result<(), PushError> {
        // The query runs while the file is sealed: it also establishes the connection.
        let asked: Vec<_> = wanting.iter().map(|repository| self.ask(repository, archive)).collect();
        let file = file.clone();
        let mut prepared = if whose.segment_size.bytes() <= IN_MEMORY {
            let recipe = self.recipe.clone();
            blocking(move || file.seal(&recipe).map(PreparedUpload::Sealed)).await?
        } else {
            blocking(move || file.inspect().map(|tags| PreparedUpload::Inspected(file, tags))).await?
        };
        let (name, tags) = prepared.name_and_tags_mut();
        let until =
            self.horizon.as_ref().and_then(|horizon| horizon.complete_until(name, whose.segment_size));
        ledger.fault = tags.fault();
        tags.known_until = until.map(|until| until - WHILE_WRITTEN);
        let put = async |repository: &Repository| self.put(repository, archive, &prepared).await;
        let outcomes = join_all(wanting.iter().zip(asked).map(async |(repository, asked)| {
            match asked.await.unwrap_or_else(|error| Err(ClusterError::Lost(error.to_string()))) {
                Ok(true) => Some(put(repository).await),
                Ok(false) => None,
                Err(error) => Some(Err(error.into())),
            }
        }))
        .await;
        let mut fresh = Vec::new();
        for (repository, outcome) in wanting.into_iter().zip(outcomes) {
            match outcome {
                Some(outcome) => ledger.enter(&repository, outcome),
                None => fresh.push(repository),
            }
        }
        if !fresh.is_empty() {
            // The markers need every reachable repository.
            let mut reachable = self.repositories.clone();
            ledger.lost.iter().for_each(|lost| reachable.lose(lost.clone()));
            let (size, now) = (whose.segment_size, self.clock.now());
            let admitted = cluster::admit(&reachable, archive, size, now, &*self.memory).await;
            for (repository, outcome) in admitted {
                if fresh.iter().any(|fresh| fresh.name == repository.name) {
                    let outcome = match outcome {
                        Ok(()) => put(&repository).await,
                        Err(error) => Err(error.into()),
                    };
                    ledger.enter(&repository, outcome);
                }
            }
        }
        Ok(())
    }

    /// Queries whether a repository takes the archive's WAL: false where it has to be recorded first.
    fn ask(&self, repository: &Repository, archive: &Archive) -> JoinHandle<Result<bool, ClusterError>> {
        let asked = (repository.name.clone(), archive.cluster);
        let known = Arc::clone(&self.known);
        let (repository, archive) = (repository.clone(), archive.clone());
        tokio::spawn(async move {
            if known.lock().await.contains(&asked) {
                return Ok(true);
            }
            let takes = cluster::takes(&*repository.store, &archive).await?;
            if takes {
                known.lock().await.insert(asked);
            }
            Ok(takes)
        })
    }

    async fn put(
        &self,
        repository: &Repository,
        archive: &Archive,
        prepared: &PreparedUpload,
    ) -> Result<UploadRequest, PushRejection> {
        let (name, tags) = prepared.name_and_tags();
        let key = archive.key(name, self.recipe.suffix());
        let options = self.options_for(&repository.name, tags);
        let put = match prepared {
            PreparedUpload::Sealed(sealed) => repository
                .store
                .put(&key, sealed.bytes.clone(), &PutOptions { sha256: tags.stored, ..options })
                .await
                .map(drop)
                .map_err(PushRejection::from),
            PreparedUpload::Inspected(file, tags) => {
                multipart::upload(repository, &key, &options, file, &self.recipe, tags.plain).await
            }
        };
        match put {
            Ok(()) => Ok(UploadRequest::Stored),
            Err(PushRejection::Store(error)) if error.kind == StoreErrorKind::Exists => {
                match compare(repository, &key, tags.plain).await {
                    Ok(true) => Ok(UploadRequest::Stood),
                    Ok(false) => Err(error.into()),
                    Err(refusal) => Err(refusal),
                }
            }
            Err(refusal) => Err(refusal),
        }
    }

    fn options_for(&self, name: &RepositoryName, tags: &SegmentTags) -> PutOptions {
        let own = self.options.iter().find(|(known, _)| known == name);
        let options = own.map_or_else(PutOptions::absent, |(_, options)| options.clone());
        PutOptions { metadata: tags.to_metadata(), ..options }
    }

    fn settle(&self, name: WalName, whose: WalOrigin, ledger: PushProgress) -> Result<PushResult, PushError> {
        let PushProgress { stored, stood, lost, fault } = ledger;
        let (behind, lost): (Vec<_>, Vec<_>) =
            lost.into_iter().partition(|lost| self.optional_repositories.contains(&lost.name));
        let held: Vec<_> = stored.iter().chain(&stood).cloned().collect();
        // However many may lag, at least one must have the file.
        if !lost.is_empty() || held.is_empty() {
            let lost = lost.into_iter().chain(behind).collect();
            return Err(PushError::NotEverywhere { name, held, lost });
        }
        Ok(PushResult { name, whose, stored, stood, behind, fault })
    }
}

/// The state of a file in each repository.
struct PushProgress {
    stored: Vec<RepositoryName>,
    stood: Vec<RepositoryName>,
    lost: Vec<Unavailable>,
    fault: Option<(Lsn, WalFault)>,
}

enum UploadRequest {
    Stored,
    /// The same file existed already.
    Stood,
}

impl PushProgress {
    fn new(repositories: &Repositories) -> Self {
        Self { stored: vec![], stood: vec![], lost: repositories.lost_to_writers(), fault: None }
    }

    fn enter(&mut self, repository: &Repository, outcome: Result<UploadRequest, PushRejection>) {
        match outcome {
            Ok(UploadRequest::Stored) => self.stored.push(repository.name.clone()),
            Ok(UploadRequest::Stood) => self.stood.push(repository.name.clone()),
            Err(refusal) => self.lost.push(Unavailable::new(repository, refusal)),
        }
    }
}

/// A file ready for upload.
enum PreparedUpload {
    Sealed(SealedFile),
    /// Too large to be sealed in memory: it is sealed during the upload, once for each repository.
    Inspected(WalFile, SegmentTags),
}

impl PreparedUpload {
    fn name_and_tags_mut(&mut self) -> (WalName, &mut SegmentTags) {
        match self {
            Self::Sealed(sealed) => (sealed.name, &mut sealed.tags),
            Self::Inspected(file, tags) => (file.name, tags),
        }
    }

    fn name_and_tags(&self) -> (WalName, &SegmentTags) {
        match self {
            Self::Sealed(sealed) => (sealed.name, &sealed.tags),
            Self::Inspected(file, tags) => (file.name, tags),
        }
    }
}

/// Returns whether the file exists there; an error where a different one does.
async fn compare(repository: &Repository, key: &str, given: Digest) -> Result<bool, PushRejection> {
    is_same(repository, key, repository.store.head(key).await?, given)
}

/// Returns whether the object found is the file; false where none was found.
fn is_same(
    repository: &Repository,
    key: &str,
    found: Option<ObjectInfo>,
    given: Digest,
) -> Result<bool, PushRejection> {
    let Some(info) = found else { return Ok(false) };
    let (key, location) = (key.to_owned(), repository.store.location());
    match SegmentTags::from_metadata(&info.metadata) {
        None => Err(PushRejection::Untold { key, location }),
        Some(tags) if tags.plain == given => Ok(true),
        Some(tags) => Err(PushRejection::Different { key, location, found: tags.plain, given }),
    }
}

/// Lists the keys of a timeline from this file on.
async fn keys_from(
    repository: &Repository,
    archive: &Archive,
    oldest: WalName,
) -> Result<Vec<String>, StoreError> {
    let folder = archive.timeline(oldest.timeline());
    let mut after = Some(format!("{folder}{oldest}"));
    let mut keys = Vec::new();
    while let Some(begin) = after {
        let page = repository.store.list(&folder, Some(&begin)).await?;
        keys.extend(page.objects.into_iter().map(|object| object.key));
        after = page.next;
    }
    Ok(keys)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, PushError> {
    tokio::task::spawn_blocking(work).await.map_err(PushError::Worker)?.map_err(PushError::File)
}

#[cfg(test)]
#[path = "push_tests.rs"]
mod tests;
