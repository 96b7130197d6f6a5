use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;

use super::PhysicalRestoreError;
use crate::model::{Lsn, Physical, Segment, WalName};
use crate::pipeline::Identities;
use crate::repository::{Repositories, Repository, Unavailable};
use crate::store::StoreError;
use crate::wal::{
    Archive, CommitTimes, DamagedWal, Provenance, ReplayRange, SegmentTags, WalInventory, checkpoint_segment,
    holdings, tags,
};

/// Concurrent queries to the stores.
const AT_ONCE: usize = 16;
/// The same, where all of a long archive is queried.
pub(super) const ASKED_AT_ONCE: usize = 64;
/// The maximum clock difference between an archiving host and its server.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(5);
/// Segments at the end that are queried for their newest commit.
const LOOK_BACK: usize = 64;

/// The WAL of one cluster: what each of the repositories holds, and what they hold together. A segment
/// missing in one is fetched from another.
#[derive(Clone, Debug)]
pub(super) struct WalArchives {
    pub(super) archive: Archive,
    pub(super) holders: Vec<(Repository, WalInventory)>,
    pub(super) together: WalInventory,
    /// The metadata of files, as far as it was queried.
    pub(super) asked: Arc<Mutex<BTreeMap<WalName, SegmentTags>>>,
}

/// What is known of the position of a time in the WAL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommitSearch {
    /// The first segment with a commit after the time, by the metadata of segments: a server with this target
    /// stops there.
    pub(super) after: Option<Segment>,
    pub(super) moment: CommitTimes,
    /// Segments that may contain one without metadata for it, in order: its record may begin in one segment
    /// and end in the next, or the metadata of a segment may be lost.
    pub(super) unsaid: Vec<WalName>,
}

impl WalArchives {
    /// Queries every repository. Those that fail, or never had any WAL, are unavailable to this run.
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
        Ok((Self { archive, holders, together, asked: Arc::default() }, lost))
    }

    /// Returns the metadata from the first repository that has the file; from one with an intact copy, if
    /// any.
    async fn tags(&self, name: WalName) -> Result<Option<SegmentTags>, StoreError> {
        if let Some(known) = self.known_tags().get(&name) {
            return Ok(Some(known.clone()));
        }
        let (mut failed, mut damaged) = (None, None);
        for (repository, _) in &self.holders {
            match tags(&*repository.store, &self.archive, name).await {
                Ok(Some(tags)) if tags.damaged.is_some() => damaged = damaged.or(Some(tags)),
                Ok(Some(tags)) => {
                    self.known_tags().insert(name, tags.clone());
                    return Ok(Some(tags));
                }
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        match damaged {
            Some(damaged) => {
                self.known_tags().insert(name, damaged.clone());
                Ok(Some(damaged))
            }
            None => failed.map_or(Ok(None), Err),
        }
    }

    fn known_tags(&self) -> MutexGuard<'_, BTreeMap<WalName, SegmentTags>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the WAL is of the server that a base backup was taken from, by its metadata.
    pub(super) async fn provenance(&self, physical: &Physical) -> Result<Provenance, PhysicalRestoreError> {
        let tags = match checkpoint_segment(physical) {
            Some(segment) => {
                self.tags(WalName::Segment(segment)).await.map_err(PhysicalRestoreError::Tags)?
            }
            None => None,
        };
        Ok(Provenance::of(physical, tags.as_ref()))
    }

    /// Returns where recovery would end early: at the first segment on the path that no repository has
    /// intact. Damage before `from` is never read.
    pub(super) async fn damage(
        &self,
        reach: &ReplayRange,
        from: Lsn,
    ) -> Result<Option<DamagedWal>, PhysicalRestoreError> {
        let mut segments: Vec<Segment> = reach.backwards().collect();
        segments.reverse();
        self.damage_among(&segments, reach, from).await
    }

    /// The same among the newest segments only.
    pub(super) async fn recent_damage(
        &self,
        reach: &ReplayRange,
        from: Lsn,
    ) -> Result<Option<DamagedWal>, PhysicalRestoreError> {
        self.damage_among(&reach.newest_segments(), reach, from).await
    }

    async fn damage_among(
        &self,
        segments: &[Segment],
        reach: &ReplayRange,
        from: Lsn,
    ) -> Result<Option<DamagedWal>, PhysicalRestoreError> {
        for some in segments.chunks(ASKED_AT_ONCE) {
            let names: Vec<_> = some.iter().copied().map(WalName::Segment).collect();
            let found = some.iter().zip(self.tags_of(&names).await?);
            let damaged = found.filter_map(|(segment, tags)| {
                let (at, fault) = tags?.fault()?;
                Some(DamagedWal { segment: *segment, at, fault })
            });
            if let Some(damaged) = reach.first_damage(damaged, from) {
                return Ok(Some(damaged));
            }
        }
        Ok(None)
    }

    pub(super) async fn tags_of(
        &self,
        names: &[WalName],
    ) -> Result<Vec<Option<SegmentTags>>, PhysicalRestoreError> {
        let asked = join_all(names.iter().map(|name| self.tags(*name))).await;
        asked.into_iter().collect::<Result<_, _>>().map_err(PhysicalRestoreError::Tags)
    }

    /// Returns the time up to which the range is complete, and its newest commit.
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

    /// Finds the position of a time in the range.
    pub(super) async fn find(
        &self,
        reach: &ReplayRange,
        time: DateTime<Utc>,
    ) -> Result<CommitSearch, PhysicalRestoreError> {
        let moment = self.moment(reach).await?;
        let (mut names, remaining_in) = files(reach);
        // A segment that was complete long before has no later commit; where that is unknown, everything is
        // inspected.
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

/// Returns the files of the range, in order: those that are replayed completely, and those of a segment in
/// which the timeline is left. The metadata of the latter may describe commits past the fork.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, SegmentSize, SystemIdentifier, Timeline};
    use crate::repository::fixtures::{noon, repositories, system};
    use crate::store::PutOptions;
    use crate::wal::{ReplayEnd, ReplayPosition, TimelineTarget, WalFault};

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn lsn(segment: u64, offset: u64) -> Lsn {
        Lsn(SIZE.begin_of(segment).0 + offset)
    }

    fn segment(number: u64) -> Segment {
        Segment::new(Timeline::FIRST, number, SIZE)
    }

    /// Segments 3 to 7 in two repositories, of which those named are damaged.
    async fn archives(root: &std::path::Path, damaged: [&[(u64, u64)]; 2]) -> WalArchives {
        let set = repositories(root, &["primary", "west"]).await;
        let archive =
            Archive { system: system(), source: "database".parse().unwrap(), cluster: SystemIdentifier(7) };
        let names = || (3..8).map(|number| WalName::Segment(segment(number)));
        for (repository, damaged) in set.iter().zip(damaged) {
            for number in 3..8 {
                let at = damaged.iter().find(|(other, _)| *other == number);
                let tags = SegmentTags {
                    plain: Digest::compute(b""),
                    stored: None,
                    completed: noon(),
                    witnessed: true,
                    known_until: None,
                    newest_commit: None,
                    notable: None,
                    damaged: at.map(|(number, offset)| lsn(*number, *offset)),
                    minimal: None,
                    checkpoints: None,
                    parent: None,
                };
                let options = PutOptions { metadata: tags.to_metadata(), ..PutOptions::absent() };
                let key = archive.key(WalName::Segment(segment(number)), ".zst");
                repository.store.put(&key, "wal".into(), &options).await.unwrap();
            }
        }
        let held = WalInventory::new(SIZE, names());
        let holders = set.iter().map(|repository| (repository.clone(), held.clone())).collect();
        WalArchives { archive, holders, together: held, asked: Arc::default() }
    }

    #[tokio::test]
    async fn the_first_segment_that_no_repository_has_intact_ends_the_way() {
        let root = tempfile::tempdir().unwrap();
        // The fourth is intact in one, the sixth in none.
        let log = archives(root.path(), [&[(3, 50), (4, 60), (6, 70)], &[(3, 50), (6, 70), (7, 80)]]).await;
        let begin = ReplayPosition { timeline: Timeline::FIRST, lsn: lsn(3, 100) };
        let reach = log.together.reach(begin, TimelineTarget::Latest);
        let damaged = log.damage(&reach, begin.lsn).await.unwrap().unwrap();
        assert_eq!(damaged, DamagedWal { segment: segment(6), at: lsn(6, 70), fault: WalFault::Damaged });
        let cut = reach.clone().until_damage(damaged);
        assert_eq!((cut.end.lsn, cut.stop), (lsn(6, 70), ReplayEnd::Damaged(damaged)));
        assert_eq!(cut.backwards().next(), Some(segment(6)));
        assert!(cut.covers(lsn(6, 69)) && !cut.covers(lsn(6, 70)));
        // From before it, the damage in the first counts.
        let first = log.damage(&reach, lsn(3, 0)).await.unwrap().unwrap();
        assert_eq!(first.segment, segment(3));
        // Behind the place where the way ends nothing is read.
        let short = log.together.reach(begin, TimelineTarget::Latest).until_damage(damaged);
        assert_eq!(log.damage(&short, begin.lsn).await.unwrap(), None);
    }

    #[tokio::test]
    async fn intact_wal_is_not_cut() {
        let root = tempfile::tempdir().unwrap();
        let log = archives(root.path(), [&[(5, 10)], &[(4, 10)]]).await;
        let begin = ReplayPosition { timeline: Timeline::FIRST, lsn: lsn(3, 0) };
        let reach = log.together.reach(begin, TimelineTarget::Latest);
        assert_eq!(log.damage(&reach, begin.lsn).await.unwrap(), None);
    }
}
