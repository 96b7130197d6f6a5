use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;

use super::PhysicalRestoreError;
use crate::model::{Segment, WalName};
use crate::pipeline::Identities;
use crate::repository::{Repositories, Repository, Unavailable};
use crate::store::StoreError;
use crate::wal::{Archive, CommitTimes, ReplayRange, SegmentTags, WalInventory, holdings, tags};

/// Questions to the stores at a time.
const AT_ONCE: usize = 16;
/// How far the clock of a host that archives may be from that of its server.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(5);
/// Segments at the end that are asked for their newest commit.
const LOOK_BACK: usize = 64;

/// The log of one cluster: what each of the repositories holds, and what they hold together. A segment that one
/// lacks is fetched from another.
#[derive(Clone, Debug)]
pub(super) struct WalArchives {
    pub(super) archive: Archive,
    pub(super) holders: Vec<(Repository, WalInventory)>,
    pub(super) together: WalInventory,
}

/// What is known of a moment in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommitSearch {
    /// The first segment with a commit after the moment, as far as what is kept with segments says: a server
    /// that is told the time stops there.
    pub(super) after: Option<Segment>,
    pub(super) moment: CommitTimes,
    /// Where there may be one that nothing is said of, in order: its record may begin in one segment and end
    /// in the next, or what was kept with a segment may be lost.
    pub(super) unsaid: Vec<WalName>,
}

impl WalArchives {
    /// Asks every repository. Those that cannot say, or never had any, are lost to this run.
    pub(super) async fn gather(
        repositories: &Repositories,
        archive: Archive,
        since: Option<Segment>,
        identities: &Identities,
    ) -> Result<(Self, Vec<Unavailable>), PhysicalRestoreError> {
        let asked = join_all(repositories.iter().map(async |repository| {
            (repository.clone(), holdings(&*repository.store, &archive, since, identities).await)
        }));
        let (mut holders, mut lost) = (Vec::new(), Vec::new());
        for (repository, outcome) in asked.await {
            match outcome {
                Ok(held) => holders.push((repository, held)),
                Err(error) => lost.push(Unavailable::new(&repository, error)),
            }
        }
        let Some((_, first)) = holders.first() else {
            lost.splice(0..0, repositories.lost().iter().cloned());
            return Err(PhysicalRestoreError::NoLog(lost));
        };
        let mut together = first.clone();
        holders.iter().skip(1).for_each(|(_, held)| together.merge(held));
        Ok((Self { archive, holders, together }, lost))
    }

    /// Of the first repository that has the file.
    async fn tags(&self, name: WalName) -> Result<Option<SegmentTags>, StoreError> {
        let mut failed = None;
        for (repository, _) in &self.holders {
            match tags(&*repository.store, &self.archive, name).await {
                Ok(Some(tags)) => return Ok(Some(tags)),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    pub(super) async fn tags_of(
        &self,
        names: &[WalName],
    ) -> Result<Vec<Option<SegmentTags>>, PhysicalRestoreError> {
        let asked = join_all(names.iter().map(|name| self.tags(*name))).await;
        asked.into_iter().collect::<Result<_, _>>().map_err(PhysicalRestoreError::Tags)
    }

    /// Up to when what is reached goes.
    pub(super) async fn moment(&self, reach: &ReplayRange) -> Result<CommitTimes, PhysicalRestoreError> {
        let mut moment = CommitTimes { complete: None, newest_commit: None };
        let begin: Vec<_> = files(reach).0.into_iter().rev().take(LOOK_BACK).collect();
        for some in begin.chunks(AT_ONCE) {
            for tags in self.tags_of(some).await?.into_iter().flatten() {
                moment.complete = moment.complete.max(tags.complete_until());
                moment.newest_commit = moment.newest_commit.max(tags.newest_commit);
            }
            if moment.complete.is_some() && moment.newest_commit.is_some() {
                break;
            }
        }
        Ok(moment)
    }

    /// Where in what is reached a moment is.
    pub(super) async fn find(
        &self,
        reach: &ReplayRange,
        time: DateTime<Utc>,
    ) -> Result<CommitSearch, PhysicalRestoreError> {
        let moment = self.moment(reach).await?;
        let (mut names, remaining_in) = files(reach);
        // What was complete long before has no later commit; where it is not known, everything is looked at.
        let (mut first, mut end) = (0, names.len());
        while first < end {
            let middle = first + (end - first) / 2;
            let tags = self.tags_of(&names[middle..=middle]).await?.pop().flatten();
            match tags {
                Some(tags) if tags.completed + CLOCKS_DIFFER < time => first = middle + 1,
                _ => end = middle,
            }
        }
        for some in names[first..].chunks(AT_ONCE) {
            for (name, tags) in some.iter().zip(self.tags_of(some).await?) {
                if tags.is_some_and(|tags| tags.newest_commit.is_some_and(|newest| newest > time)) {
                    let (WalName::Segment(segment) | WalName::Piece { segment, .. }) = *name else {
                        continue;
                    };
                    return Ok(CommitSearch { after: Some(segment), moment, unsaid: vec![] });
                }
            }
        }
        let mut unsaid = names.split_off(first.saturating_sub(1));
        unsaid.extend(remaining_in);
        Ok(CommitSearch { after: None, moment, unsaid })
    }
}

/// What is reached, in order: files that are on the way whole, and those of a segment that is left within it.
/// What is kept with the latter is of commits that may be behind that place.
pub(super) fn files(reach: &ReplayRange) -> (Vec<WalName>, Vec<WalName>) {
    let mut names: Vec<_> = reach.backwards().map(WalName::Segment).collect();
    names.reverse();
    if let Some((segment, pieces)) = &reach.pieces {
        let piece = |&(begin, end)| WalName::Piece { segment: *segment, begin, end };
        names.extend(pieces.iter().map(piece));
    }
    let remaining_in = reach.remaining_in();
    names.into_iter().partition(|name| {
        let (WalName::Segment(segment) | WalName::Piece { segment, .. }) = *name else { return true };
        remaining_in != Some(segment)
    })
}
