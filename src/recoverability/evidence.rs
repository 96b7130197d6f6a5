//! Facts about the WAL in one repository. An assessment that needs more returns the next query.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::model::{Lsn, Physical, Segment, WalName};
use crate::wal::{
    Archive, CommitTimes, DamagedWal, Provenance, ReplayRange, SegmentTags, WalFault, WalInventory,
    checkpoint_segment,
};

/// A fact that an assessment needs, and that has not been queried yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The WAL of the archive from this segment on; `None`: all of it.
    Wal { archive: Archive, since: Option<Segment> },
    /// The commit times of this range.
    CommitTimes { archive: Archive, range: ReplayRange },
    /// Where recovery ends in each of these segments, and why.
    Damage { archive: Archive, segments: Vec<Segment> },
    /// The metadata of these segments.
    Tags { archive: Archive, segments: Vec<Segment> },
    /// When this file was written.
    Written { archive: Archive, file: WalName },
}

/// The WAL of one cluster in one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListedWal {
    Held(WalInventory),
    /// The repository was queried, and has none; with the reason.
    None(String),
}

/// What ends recovery in segments that were read, and where; `None`: nothing.
type FaultsBySegment = BTreeMap<Segment, Option<(Lsn, WalFault)>>;

/// The answers so far.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    wal: Vec<(Archive, Option<Segment>, ListedWal)>,
    times: Vec<(Archive, ReplayRange, CommitTimes)>,
    written: Vec<(Archive, WalName, Option<DateTime<Utc>>)>,
    damage: Vec<(Archive, FaultsBySegment)>,
    tags: Vec<(Archive, Segment, Option<SegmentTags>)>,
}

impl Evidence {
    pub fn enter_wal(&mut self, archive: Archive, since: Option<Segment>, listed: ListedWal) {
        self.wal.push((archive, since, listed));
    }

    pub fn enter_times(&mut self, archive: Archive, range: ReplayRange, times: CommitTimes) {
        self.times.push((archive, range, times));
    }

    pub fn enter_written(&mut self, archive: Archive, file: WalName, written: Option<DateTime<Utc>>) {
        self.written.push((archive, file, written));
    }

    pub fn enter_tags(&mut self, archive: Archive, segment: Segment, tags: Option<SegmentTags>) {
        self.tags.push((archive, segment, tags));
    }

    pub fn enter_damage(
        &mut self,
        archive: Archive,
        found: impl IntoIterator<Item = (Segment, Option<(Lsn, WalFault)>)>,
    ) {
        match self.damage.iter_mut().find(|(known, _)| *known == archive) {
            Some((_, known)) => known.extend(found),
            None => self.damage.push((archive, found.into_iter().collect())),
        }
    }

    /// Returns the smallest listing that includes everything from `since` on.
    pub fn wal(&self, archive: &Archive, since: Option<Segment>) -> Result<&ListedWal, Question> {
        let of_it = self.wal.iter().filter(|(known, from, _)| known == archive && *from <= since);
        let listed = of_it.max_by_key(|(_, from, _)| *from).map(|(.., listed)| listed);
        listed.ok_or_else(|| Question::Wal { archive: archive.clone(), since })
    }

    pub fn times(&self, archive: &Archive, range: &ReplayRange) -> Result<CommitTimes, Question> {
        let found = self.times.iter().find(|(known, of, _)| known == archive && of == range);
        let question = || Question::CommitTimes { archive: archive.clone(), range: range.clone() };
        found.map(|(.., times)| *times).ok_or_else(question)
    }

    /// Returns the damaged segments among the newest ones of the range, oldest first.
    pub fn damage(&self, archive: &Archive, range: &ReplayRange) -> Result<Vec<DamagedWal>, Question> {
        let known = self.damage.iter().find(|(known, _)| known == archive).map(|(_, found)| found);
        let at = |segment: &Segment| known.and_then(|known| known.get(segment)).copied();
        let newest = range.newest_segments();
        let segments: Vec<Segment> = newest.iter().filter(|segment| at(segment).is_none()).copied().collect();
        if !segments.is_empty() {
            return Err(Question::Damage { archive: archive.clone(), segments });
        }
        let damaged = newest.into_iter().filter_map(|segment| {
            let (at, fault) = at(&segment).flatten()?;
            Some(DamagedWal { segment, at, fault })
        });
        Ok(damaged.collect())
    }

    /// Returns what has to be queried for [`Self::provenance`] of all these base backups at once.
    pub(super) fn provenance_question<'p>(
        &self,
        archive: &Archive,
        bases: impl IntoIterator<Item = &'p Physical>,
    ) -> Option<Question> {
        let is_known =
            |segment: &Segment| self.tags.iter().any(|(known, of, _)| known == archive && of == segment);
        let mut segments: Vec<Segment> = bases.into_iter().filter_map(checkpoint_segment).collect();
        segments.sort_unstable();
        segments.dedup();
        segments.retain(|segment| !is_known(segment));
        (!segments.is_empty()).then(|| Question::Tags { archive: archive.clone(), segments })
    }

    /// Returns whether the archived WAL is of the history that a base backup is of.
    pub fn provenance(&self, archive: &Archive, physical: &Physical) -> Result<Provenance, Question> {
        let Some(segment) = checkpoint_segment(physical) else { return Ok(Provenance::of(physical, None)) };
        let found = self.tags.iter().find(|(known, of, _)| known == archive && *of == segment);
        let question = || Question::Tags { archive: archive.clone(), segments: vec![segment] };
        let (.., tags) = found.ok_or_else(question)?;
        Ok(Provenance::of(physical, tags.as_ref()))
    }

    /// Returns when a file was written; `None`: it does not exist.
    pub fn written(&self, archive: &Archive, file: WalName) -> Result<Option<DateTime<Utc>>, Question> {
        let found = self.written.iter().find(|(known, of, _)| known == archive && *of == file);
        found.map(|(.., at)| *at).ok_or_else(|| Question::Written { archive: archive.clone(), file })
    }
}
