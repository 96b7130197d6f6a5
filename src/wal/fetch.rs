use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::archive::SUFFIXES;
use super::cluster::{self, ClusterError};
use super::decode::{Arrived, Unusable, VerifiedSegment, place};
use super::partial_segment;
use super::partial_segment::PartialSegments;
use super::prefetch::Prefetch;
use super::tablespace_guard::{Unconfined, confine};
use super::{Archive, SegmentTags, multipart};
use crate::model::{
    Lsn, RepositoryName, Segment, SegmentSize, Sha256Hex, SourceName, SystemIdentifier, SystemName, WalName,
};
use crate::pipeline::Identities;
use crate::platform::CancellationToken;
use crate::repository::{Repositories, Repository, Unavailable, layout};
use crate::store::{Store, StoreError, StoreErrorKind};

/// After this long the next repository is queried as well.
const TAKES_ITS_TIME: Duration = Duration::from_secs(5);
/// Stored bytes that are fetched with one request.
const IN_MEMORY: u64 = 40 << 20;
/// How long a gap may take to close: files are archived concurrently, and a later one may arrive first.
const GAP_MAY_CLOSE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long prefetched segments may delay the requested one.
const LINGER: Duration = Duration::from_secs(2);

/// Why a file was not fetched. None of these means that it does not exist.
#[derive(Debug, Error)]
pub enum FetchError {
    #[error("failed to fetch `{name}`{}", Unavailable::reasons(.lost))]
    Unfetched { name: WalName, lost: Vec<Unavailable> },
    #[error("`{name}` is missing, and {location} has `{later}`: this is a gap, not the end of the WAL")]
    Gap { name: WalName, later: Segment, location: String },
    #[error("failed to write `{name}` to its target")]
    Place { name: WalName, source: Unusable },
    #[error("failed to assemble `{name}` from its partial segments")]
    Pieces { name: WalName, source: Unusable },
    #[error("`{name}` is not for this recovery")]
    Unconfined { name: WalName, source: Unconfined },
    #[error("failed to determine the system identifier of the WAL{}", Unavailable::reasons(.0))]
    Whose(Vec<Unavailable>),
    #[error("a worker ended without a result")]
    Worker(#[source] tokio::task::JoinError),
    #[error("the run was interrupted")]
    Interrupted,
}

/// Marks repositories that were slower than another one.
#[derive(Debug, Error)]
#[error("{location} did not answer in time")]
struct SlowRepositories {
    location: String,
}

/// Why a repository's answer that a file is absent is inconclusive.
#[derive(Debug, Error)]
enum Inconclusive {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{location} never had WAL of source `{source_name}`: it may be the wrong location")]
    Never { location: String, source_name: SourceName },
}

/// Fetches files of one source from the repositories, in their order.
#[derive(Clone, Debug)]
pub struct Fetcher {
    pub system: SystemName,
    pub source: SourceName,
    /// The repositories to use. A file is absent only when all of them report that.
    pub repositories: Repositories,
    pub identities: Identities,
    /// Later WAL is treated as absent: for a recovery that must end exactly there.
    pub until: Option<Lsn>,
    /// The positions of records whose tablespaces are created where the data directory has a link for them.
    /// Any other record that creates one is refused. `None`: the server creates them where the record says.
    pub mapped_tablespaces: Option<Vec<Lsn>>,
    /// The maximum number of prefetched segments.
    pub prefetch: usize,
    /// Concurrent transfers.
    pub parallel: usize,
    pub cancel: CancellationToken,
}

/// The result of a fetch.
#[derive(Debug)]
pub enum Fetched {
    /// The file is at its destination, complete and verified.
    Placed {
        /// `None`: it was prefetched.
        from: Option<RepositoryName>,
        /// Repositories that were tried first for it or for a prefetched one, and their errors.
        passed: Vec<(WalName, Unavailable)>,
    },
    /// The segment has only what was uploaded while it was written; the rest is zeros.
    Partly { from: RepositoryName, bytes: u32 },
    /// Every repository was queried, and none has it.
    Absent,
}

/// The answer of one repository.
enum FetchAttempt {
    It(VerifiedSegment),
    Nothing,
}

impl Fetcher {
    /// Fetches `name` to `target`. The file appears there complete and verified, or not at all.
    ///
    /// `cluster`: the system identifier; where it is unknown the repositories are queried for it.
    pub async fn fetch(
        &self,
        cluster: Option<SystemIdentifier>,
        name: WalName,
        target: &Path,
    ) -> Result<Fetched, FetchError> {
        tokio::select! {
            fetched = self.fetch_file(cluster, name, target) => fetched,
            () = self.cancel.cancelled() => Err(FetchError::Interrupted),
        }
    }

    async fn fetch_file(
        &self,
        cluster: Option<SystemIdentifier>,
        name: WalName,
        target: &Path,
    ) -> Result<Fetched, FetchError> {
        let fetched = self.fetch_whole_file(cluster, name, target).await?;
        if let (WalName::Segment(segment), Some(mapped)) = (name, self.mapped_tablespaces.clone())
            && !matches!(fetched, Fetched::Absent)
        {
            let path = target.to_owned();
            let confined = blocking(move || confine(&path, segment, &mapped)).await?;
            if let Err(source) = confined {
                let _gone = std::fs::remove_file(target);
                return Err(FetchError::Unconfined { name, source });
            }
        }
        Ok(fetched)
    }

    async fn fetch_whole_file(
        &self,
        cluster: Option<SystemIdentifier>,
        name: WalName,
        target: &Path,
    ) -> Result<Fetched, FetchError> {
        let cluster = match cluster {
            Some(cluster) => cluster,
            None => self.first_cluster().await?,
        };
        let archive = Arc::new(Archive { system: self.system.clone(), source: self.source.clone(), cluster });
        let ahead = Prefetch::beside(target, self.prefetch);
        let WalName::Segment(segment) = name else {
            return self.query_with_retry(&archive, name, target, &ahead).await;
        };
        let Some(until) = self.until else {
            return self.fetch_segment(archive, segment, target, ahead).await;
        };
        let size = self.segment_size(&archive, name).await?;
        let keep = segment.begin(size).and_then(|begin| until.0.checked_sub(begin.0)).unwrap_or_default();
        if keep == 0 {
            ahead.clear();
            return Ok(Fetched::Absent);
        }
        let fetched = self.fetch_segment(archive, segment, target, ahead).await?;
        if keep < size.bytes() && !matches!(fetched, Fetched::Absent) {
            let target = target.to_owned();
            let cut = blocking(move || cut(&target, keep, size)).await?;
            cut.map_err(|source| FetchError::Place { name, source })?;
        }
        Ok(fetched)
    }

    /// Returns the segment size, from the first repository that has it recorded.
    async fn segment_size(&self, archive: &Archive, name: WalName) -> Result<SegmentSize, FetchError> {
        let mut lost = self.repositories.lost().to_vec();
        for repository in self.repositories.iter() {
            match self.is_sure(archive, repository).await {
                Ok(size) => return Ok(size),
                Err(error) => lost.push(Unavailable::new(repository, error)),
            }
        }
        Err(FetchError::Unfetched { name, lost })
    }

    async fn fetch_segment(
        &self,
        archive: Arc<Archive>,
        segment: Segment,
        target: &Path,
        ahead: Prefetch,
    ) -> Result<Fetched, FetchError> {
        let name = WalName::Segment(segment);
        let taken = {
            let (ahead, archive, target) = (ahead.clone(), Arc::clone(&archive), target.to_owned());
            blocking(move || ahead.take(&archive, segment, &target)).await?
        };
        if let Some(header) = taken.and_then(|proven| proven.header) {
            ahead.note(segment, header.segment_size, 0);
            return Ok(Fetched::Placed { from: None, passed: vec![] });
        }
        ahead.sweep(segment);
        let mut others = self.start_prefetch(&archive, &ahead, segment);
        let asked = others.len();
        let mut fetched = self.query_with_retry(&archive, name, target, &ahead).await?;
        let Fetched::Placed { passed, .. } = &mut fetched else { return Ok(fetched) };
        let rest = async {
            while let Some(other) = others.join_next().await {
                passed.extend(other.unwrap_or_default());
            }
        };
        let _late = tokio::time::timeout(LINGER, rest).await;
        others.shutdown().await;
        if let Some(size) = self.size_of(target).await {
            ahead.note(segment, size, asked);
        }
        Ok(fetched)
    }

    async fn size_of(&self, target: &Path) -> Option<SegmentSize> {
        let size = tokio::fs::metadata(target).await.ok()?.len();
        SegmentSize::new(size).ok()
    }

    /// Prefetches what is likely requested next. A failed prefetch is repeated when the segment is requested.
    fn start_prefetch(
        &self,
        archive: &Arc<Archive>,
        ahead: &Prefetch,
        segment: Segment,
    ) -> JoinSet<Vec<(WalName, Unavailable)>> {
        let mut running = JoinSet::new();
        let permits = Arc::new(tokio::sync::Semaphore::new(self.parallel.max(2) - 1));
        for segment in ahead.plan(segment) {
            let (fetcher, archive, ahead) = (self.clone(), Arc::clone(archive), ahead.clone());
            let permits = Arc::clone(&permits);
            running.spawn(async move {
                let (Ok(_permit), Ok(draft)) = (permits.acquire().await, ahead.draft(segment)) else {
                    return vec![];
                };
                let (name, first) = (WalName::Segment(segment), ahead.preferred());
                if let Ok(asked) = fetcher.ask_all(&archive, name, &draft, first.as_ref()).await
                    && let Some((_, proven)) = asked.found
                    && ahead.keep(&draft, segment, &proven).is_ok()
                {
                    return asked.passed.into_iter().map(|lost| (name, lost)).collect();
                }
                let _gone = std::fs::remove_file(&draft);
                vec![]
            });
        }
        running
    }

    /// Returns the first cluster whose WAL the repositories received.
    async fn first_cluster(&self) -> Result<SystemIdentifier, FetchError> {
        let mut lost = self.repositories.lost().to_vec();
        let any = SystemIdentifier(0);
        let archive = Archive { system: self.system.clone(), source: self.source.clone(), cluster: any };
        for repository in self.repositories.iter() {
            match cluster::first(&*repository.store, &archive).await {
                Ok(Some(record)) => return Ok(record.system_identifier),
                Ok(None) => lost.push(Unavailable::new(repository, self.cannot_know(repository))),
                Err(error) => lost.push(Unavailable::new(repository, error)),
            }
        }
        Err(FetchError::Whose(lost))
    }

    fn cannot_know(&self, repository: &Repository) -> Inconclusive {
        Inconclusive::Never { location: repository.store.location(), source_name: self.source.clone() }
    }

    async fn query_with_retry(
        &self,
        archive: &Archive,
        name: WalName,
        target: &Path,
        ahead: &Prefetch,
    ) -> Result<Fetched, FetchError> {
        let draft = draft_of(target);
        let begun = Instant::now();
        loop {
            let outcome = self.ask(archive, name, target, &draft, ahead.preferred().as_ref()).await;
            match outcome {
                Err(FetchError::Gap { .. }) if begun.elapsed() < GAP_MAY_CLOSE => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                outcome => {
                    if !matches!(outcome, Ok(Fetched::Placed { .. })) {
                        let _gone = std::fs::remove_file(&draft);
                    }
                    match &outcome {
                        Ok(Fetched::Absent) => ahead.clear(),
                        // The next call need not wait for the same repository again.
                        Ok(Fetched::Placed { from: Some(from), passed }) if !passed.is_empty() => {
                            ahead.prefer(from);
                        }
                        _ => {}
                    }
                    return outcome;
                }
            }
        }
    }

    async fn ask(
        &self,
        archive: &Archive,
        name: WalName,
        target: &Path,
        draft: &Path,
        first: Option<&RepositoryName>,
    ) -> Result<Fetched, FetchError> {
        let QueryResults { found, passed } = self.ask_all(archive, name, draft, first).await?;
        if let Some((from, _)) = found {
            place(draft, target).map_err(|source| FetchError::Place { name, source })?;
            let passed = passed.into_iter().map(|lost| (name, lost)).collect();
            return Ok(Fetched::Placed { from: Some(from), passed });
        }
        let mut lost = passed;
        let mut pieces: Option<(Repository, PartialSegments)> = None;
        for repository in self.repositories.iter() {
            if lost.iter().any(|lost| lost.name == repository.name) {
                continue;
            }
            match self.is_sure(archive, repository).await {
                Err(error) => lost.push(Unavailable::new(repository, error)),
                Ok(size) => {
                    let WalName::Segment(segment) = name else { continue };
                    let behind = match partial_segment::behind(&*repository.store, archive, segment).await {
                        Ok(behind) => behind,
                        Err(error) => {
                            lost.push(Unavailable::new(repository, Inconclusive::from(error)));
                            continue;
                        }
                    };
                    if let Some(later) = behind.later {
                        let location = repository.store.location();
                        return Err(FetchError::Gap { name, later, location });
                    }
                    let shipped = PartialSegments::assemble(segment, size, behind.pieces);
                    let most = pieces.as_ref().map_or(0, |(_, pieces)| pieces.bytes());
                    if shipped.bytes() > most {
                        pieces = Some((repository.clone(), shipped));
                    }
                }
            }
        }
        if !lost.is_empty() || self.repositories.is_empty() {
            return Err(FetchError::Unfetched { name, lost });
        }
        match pieces {
            None => Ok(Fetched::Absent),
            Some((repository, shipped)) => {
                let bytes = shipped.bytes();
                self.assemble(archive, &repository, shipped, draft)
                    .await
                    .map_err(|source| FetchError::Pieces { name, source })?;
                place(draft, target).map_err(|source| FetchError::Place { name, source })?;
                Ok(Fetched::Partly { from: repository.name, bytes })
            }
        }
    }

    /// Checks whether a repository without the file is one that should have it. Returns the segment size.
    async fn is_sure(&self, archive: &Archive, repository: &Repository) -> Result<SegmentSize, Inconclusive> {
        match cluster::known(&*repository.store, archive).await? {
            Some(record) => Ok(record.segment_size),
            None => Err(self.cannot_know(repository)),
        }
    }

    /// Queries the repositories in turn until one has an intact copy, and the next one early where one is
    /// slow. The file is left in `draft`, verified.
    async fn ask_all(
        &self,
        archive: &Archive,
        name: WalName,
        draft: &Path,
        first: Option<&RepositoryName>,
    ) -> Result<QueryResults, FetchError> {
        let mut passed = self.repositories.lost().to_vec();
        let mut order: Vec<_> = self.repositories.iter().collect();
        order.sort_by_key(|repository| first != Some(&repository.name));
        let mut others = order.into_iter();
        let mut running = FuturesUnordered::new();
        let begin = |repository: &'_ Repository| {
            let (repository, draft) = (repository.clone(), draft_from(draft, repository));
            async move {
                let outcome = self.ask_one(archive, &repository, name, &draft).await;
                (repository, draft, outcome)
            }
        };
        let mut asked: Vec<Repository> = Vec::new();
        // Recovery ends in it: used only where no other repository has it intact.
        let mut damaged: Option<(RepositoryName, PathBuf, VerifiedSegment)> = None;
        if let Some(first) = others.next() {
            asked.push(first.clone());
            running.push(begin(first));
        }
        while !running.is_empty() {
            let ended = tokio::select! {
                ended = running.next() => ended,
                () = tokio::time::sleep(TAKES_ITS_TIME), if others.len() > 0 => None,
            };
            match ended {
                Some((repository, its_draft, Ok(FetchAttempt::It(proven))))
                    if proven.damaged.is_some() && damaged.is_none() =>
                {
                    asked.retain(|other| other.name != repository.name);
                    damaged = Some((repository.name, its_draft, proven));
                }
                Some((repository, its_draft, Ok(FetchAttempt::It(proven)))) if proven.damaged.is_some() => {
                    let _gone = std::fs::remove_file(&its_draft);
                    asked.retain(|other| other.name != repository.name);
                }
                Some((repository, its_draft, Ok(FetchAttempt::It(proven)))) => {
                    if let Some((_, its_draft, _)) = damaged.take() {
                        let _gone = std::fs::remove_file(its_draft);
                    }
                    place(&its_draft, draft).map_err(|source| FetchError::Place { name, source })?;
                    asked.retain(|other| other.name != repository.name);
                    // Repositories that were queried and have not answered yet.
                    asked.retain(|slow| passed.iter().all(|lost| lost.name != slow.name));
                    passed.extend(asked.iter().map(|slow| {
                        let _gone = std::fs::remove_file(draft_from(draft, slow));
                        Unavailable::new(slow, SlowRepositories { location: slow.store.location() })
                    }));
                    return Ok(QueryResults { found: Some((repository.name, proven)), passed });
                }
                Some((repository, _, Ok(FetchAttempt::Nothing))) => {
                    asked.retain(|other| other.name != repository.name);
                }
                Some((_, _, Err(source @ Unusable::Write { .. }))) => {
                    return Err(FetchError::Place { name, source });
                }
                Some((repository, its_draft, Err(error))) => {
                    let _gone = std::fs::remove_file(&its_draft);
                    passed.push(Unavailable::new(&repository, error));
                }
                None => {}
            }
            if let Some(next) = others.next() {
                asked.push(next.clone());
                running.push(begin(next));
            }
        }
        let found = match damaged {
            None => None,
            Some((repository, its_draft, proven)) => {
                place(&its_draft, draft).map_err(|source| FetchError::Place { name, source })?;
                Some((repository, proven))
            }
        };
        Ok(QueryResults { found, passed })
    }

    async fn ask_one(
        &self,
        archive: &Archive,
        repository: &Repository,
        name: WalName,
        draft: &Path,
    ) -> Result<FetchAttempt, Unusable> {
        for suffix in SUFFIXES {
            let key = archive.key(name, suffix);
            match self.read(archive, &repository.store, name, key, draft).await {
                Ok(proven) => return Ok(FetchAttempt::It(proven)),
                Err(error) if error.is_absence() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(FetchAttempt::Nothing)
    }

    async fn read(
        &self,
        archive: &Archive,
        store: &Arc<dyn Store>,
        name: WalName,
        key: String,
        draft: &Path,
    ) -> Result<VerifiedSegment, Unusable> {
        let (archive, identities, draft) = (archive.clone(), self.identities.clone(), draft.to_owned());
        let got = store.get(&key, IN_MEMORY).await;
        let unpacked = match got {
            Ok((bytes, info)) => {
                tokio::task::spawn_blocking(move || {
                    let found = Some(Sha256Hex::digest(&bytes));
                    let tags = SegmentTags::from_metadata(&info.metadata);
                    let stored = &bytes[..];
                    Arrived { archive: &archive, name, key, stored, found, tags }.unpack(&identities, &draft)
                })
                .await
            }
            Err(error) if error.kind == StoreErrorKind::TooLarge => {
                let (reader, tags) = multipart::reader(store, &key).await.map_err(Unusable::Store)?;
                tokio::task::spawn_blocking(move || {
                    let stored = reader;
                    Arrived { archive: &archive, name, key, stored, found: None, tags }
                        .unpack(&identities, &draft)
                })
                .await
            }
            Err(error) => return Err(Unusable::Store(error)),
        };
        unpacked.unwrap_or_else(|error| {
            Err(Unusable::Write { path: draft_word(), source: std::io::Error::other(error) })
        })
    }

    /// Assembles a segment from partial segments, as far as they reach.
    async fn assemble(
        &self,
        archive: &Archive,
        repository: &Repository,
        shipped: PartialSegments,
        draft: &Path,
    ) -> Result<(), Unusable> {
        let part = draft.with_extension("piece");
        let mut assembly = shipped.begin(draft)?;
        while let Some(name) = assembly.next_piece() {
            match self.ask_one(archive, repository, name, &part).await? {
                FetchAttempt::It(_) => assembly.add(name, &part)?,
                FetchAttempt::Nothing => {
                    return Err(Unusable::Store(StoreError {
                        operation: "read",
                        key: layout::wal_file(&archive.system, &archive.source, archive.cluster, name, ""),
                        location: repository.store.location(),
                        kind: StoreErrorKind::NotFound,
                        detail: None,
                    }));
                }
            }
        }
        let _gone = std::fs::remove_file(&part);
        assembly.end(archive)
    }
}

/// The answers of all repositories.
struct QueryResults {
    found: Option<(RepositoryName, VerifiedSegment)>,
    /// Repositories that failed, or had a damaged copy.
    passed: Vec<Unavailable>,
}

/// Keeps the first bytes of a segment, and zeros after them, as in one that is not written further.
fn cut(path: &Path, keep: u64, size: SegmentSize) -> Result<(), Unusable> {
    let cut = std::fs::OpenOptions::new().write(true).open(path).and_then(|file| {
        file.set_len(keep)?;
        file.set_len(size.bytes())?;
        file.sync_all()
    });
    cut.map_err(|source| Unusable::Write { path: path.to_owned(), source })
}

fn draft_of(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".drctl-part");
    target.with_file_name(name)
}

fn draft_from(draft: &Path, repository: &Repository) -> PathBuf {
    let mut name = draft.file_name().unwrap_or_default().to_owned();
    name.push(format!("-{}", repository.name));
    draft.with_file_name(name)
}

fn draft_word() -> PathBuf {
    "a file that is fetched".into()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, FetchError> {
    tokio::task::spawn_blocking(work).await.map_err(FetchError::Worker)
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
