use std::io::Read as _;

use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use thiserror::Error;

use super::archive::SUFFIXES;
use super::cluster::{self, ClusterError};
use super::{Archive, ReplayRange, SegmentTags, WalFault, WalInventory};
use crate::model::{Ancestor, Encoding, History, Lsn, Segment, Timeline, WalName};
use crate::pipeline::{Identities, unseal};
use crate::repository::layout;
use crate::store::{ObjectInfo, Store, StoreError, StoreErrorKind};

/// More than any history file.
const HISTORY_LIMIT: u64 = 1 << 20;
/// No sealed object is as short: a shorter one was truncated, and counts as missing.
const LEAST: u64 = 16;
/// Segments that are queried for their newest commit; a server without commits in all of these has nothing to
/// lose.
const LOOK_BACK: u64 = 64;
/// Concurrent queries for the metadata of segments.
const AT_ONCE: usize = 64;

/// Why the contents of a repository are unknown.
#[derive(Debug, Error)]
pub enum ListError {
    #[error("failed to list the WAL")]
    Store(#[source] StoreError),
    #[error("failed to read the system identifier of the WAL")]
    Cluster(#[source] ClusterError),
    #[error("{location} never had WAL of the source")]
    Never { location: String },
}

impl ListError {
    /// Returns whether the repository answered that it has no WAL of the cluster.
    pub fn is_of_no_log(&self) -> bool {
        matches!(self, Self::Never { .. } | Self::Cluster(ClusterError::Other { .. }))
    }
}

/// Lists what a repository holds of a cluster's WAL, from a segment on where one is given.
///
/// The origin of a timeline is in the metadata of its history file, unencrypted. Only where that was lost (a
/// directory that was copied without its metadata) the file is read, and `identities` are needed.
pub async fn holdings(
    store: &dyn Store,
    archive: &Archive,
    since: Option<Segment>,
    identities: &Identities,
) -> Result<WalInventory, ListError> {
    list(store, archive, since, identities, LEAST).await
}

/// Lists the same as [`holdings`], including truncated objects, for a caller that reads and verifies them.
pub async fn all_listed(
    store: &dyn Store,
    archive: &Archive,
    since: Option<Segment>,
    identities: &Identities,
) -> Result<WalInventory, ListError> {
    list(store, archive, since, identities, 0).await
}

async fn list(
    store: &dyn Store,
    archive: &Archive,
    since: Option<Segment>,
    identities: &Identities,
    least: u64,
) -> Result<WalInventory, ListError> {
    let record = cluster::known(store, archive).await.map_err(ListError::Cluster)?;
    let record = record.ok_or_else(|| ListError::Never { location: store.location() })?;
    let folder = archive.folder();
    let mut after = since.map(|since| format!("{}{since}", archive.timeline(since.timeline)));
    let mut names = Vec::new();
    loop {
        let page = store.list(&folder, after.as_deref()).await.map_err(ListError::Store)?;
        let whole = page.objects.iter().filter(|object| object.size >= least);
        let parsed = whole.filter_map(|object| layout::parse_wal_file(&object.key));
        names.extend(parsed.map(|(_, name)| name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    // It is listed before the segments of its timeline.
    if let Some(since) = since.filter(|since| since.timeline > Timeline::FIRST) {
        let name = WalName::History(since.timeline);
        for suffix in SUFFIXES {
            names.extend(
                store.head(&archive.key(name, suffix)).await.map_err(ListError::Store)?.map(|_| name),
            );
        }
    }
    let mut holdings = WalInventory::new(record.segment_size, names);
    for timeline in holdings.histories().collect::<Vec<_>>() {
        let parent = parent(store, archive, timeline, identities).await.map_err(ListError::Store)?;
        if let Some(parent) = parent {
            holdings.forked_from(timeline, parent);
        }
    }
    Ok(holdings)
}

/// `None`: it is not readable.
async fn parent(
    store: &dyn Store,
    archive: &Archive,
    timeline: Timeline,
    identities: &Identities,
) -> Result<Option<Ancestor>, StoreError> {
    let name = WalName::History(timeline);
    if let Some(parent) = tags(store, archive, name).await?.and_then(|tags| tags.parent) {
        return Ok(Some(parent));
    }
    for suffix in SUFFIXES {
        let bytes = match store.get(&archive.key(name, suffix), HISTORY_LIMIT).await {
            Ok((bytes, _)) => bytes,
            Err(error) if error.kind == StoreErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let encoding: &[Encoding] =
            if suffix == ".zst" { &[Encoding::Zstd] } else { &[Encoding::Zstd, Encoding::Age] };
        let mut text = String::new();
        let read = unseal(&bytes[..], encoding, identities, None)
            .is_ok_and(|mut plain| plain.read_to_string(&mut text).is_ok());
        if read {
            return Ok(History::parse(timeline, &text).ok().and_then(|history| history.parent()));
        }
    }
    Ok(None)
}

/// Returns the metadata of a stored file; `None` where there is no such file, or it has no metadata.
pub async fn tags(
    store: &dyn Store,
    archive: &Archive,
    name: WalName,
) -> Result<Option<SegmentTags>, StoreError> {
    for suffix in SUFFIXES {
        if let Some(info) = store.head(&archive.key(name, suffix)).await? {
            return Ok(SegmentTags::from_metadata(&info.metadata));
        }
    }
    Ok(None)
}

/// Returns where recovery ends in each of the segments, and why, by its metadata; `None`: nowhere.
pub async fn damage(
    store: &dyn Store,
    archive: &Archive,
    segments: &[Segment],
) -> Result<Vec<(Segment, Option<(Lsn, WalFault)>)>, StoreError> {
    let mut found = Vec::with_capacity(segments.len());
    for some in segments.chunks(AT_ONCE) {
        let asked = some.iter().map(|segment| tags(store, archive, WalName::Segment(*segment)));
        let tags = try_join_all(asked).await?;
        found.extend(
            some.iter().zip(tags).map(|(segment, tags)| (*segment, tags.and_then(|tags| tags.fault()))),
        );
    }
    Ok(found)
}

/// Returns the metadata of earlier writes of a file without any, and their sizes.
pub(crate) async fn strays(
    store: &dyn Store,
    key: &str,
    info: &ObjectInfo,
) -> Result<Vec<(u64, SegmentTags)>, StoreError> {
    if SegmentTags::from_metadata(&info.metadata).is_some() {
        return Ok(vec![]);
    }
    let Some(admin) = store.admin() else { return Ok(vec![]) };
    let earlier = admin.detached_metadata(key).await?;
    Ok(earlier
        .into_iter()
        .filter_map(|earlier| Some((earlier.size, SegmentTags::from_metadata(&earlier.metadata)?)))
        .collect())
}

/// Returns when a stored file was written, by the store's clock; `None` where there is no such file.
pub async fn modified(
    store: &dyn Store,
    archive: &Archive,
    name: WalName,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    for suffix in SUFFIXES {
        if let Some(info) = store.head(&archive.key(name, suffix)).await? {
            return Ok(Some(info.modified));
        }
    }
    Ok(None)
}

/// The times up to which the data of a repository can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitTimes {
    /// Every transaction committed before is there, by the clock of the archiving host.
    pub complete: Option<DateTime<Utc>>,
    /// The newest commit, by the server's clock. `None`: none in the last segments.
    pub newest_commit: Option<DateTime<Utc>>,
}

/// Returns the times up to which the range goes, from the metadata of the segments at its end. That of a
/// segment in which a timeline is left is not used: its commits may be past the fork.
pub async fn moment(
    store: &dyn Store,
    archive: &Archive,
    reach: &ReplayRange,
) -> Result<CommitTimes, StoreError> {
    let mut moment = CommitTimes { complete: None, newest_commit: None };
    let mut left = LOOK_BACK;
    let remaining_in = reach.remaining_in();
    if let Some((segment, pieces)) =
        reach.pieces.as_ref().filter(|(segment, _)| remaining_in != Some(*segment))
    {
        for &(begin, end) in pieces.iter().rev() {
            moment.take(tags(store, archive, WalName::Piece { segment: *segment, begin, end }).await?);
            if moment.newest_commit.is_some() {
                break;
            }
        }
    }
    for segment in reach.backwards().filter(|segment| remaining_in != Some(*segment)) {
        if left == 0 || (moment.complete.is_some() && moment.newest_commit.is_some()) {
            break;
        }
        left -= 1;
        moment.take(tags(store, archive, WalName::Segment(segment)).await?);
    }
    Ok(moment)
}

impl CommitTimes {
    fn take(&mut self, tags: Option<SegmentTags>) {
        if let Some(tags) = tags {
            self.complete = self.complete.max(tags.complete_until());
            self.newest_commit = self.newest_commit.max(tags.newest_commit);
        }
    }
}
