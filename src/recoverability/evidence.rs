//! Facts about the WAL in one repository. An assessment that needs more returns the next query.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::model::{Lsn, Segment, WalName};
use crate::wal::{Archive, CommitTimes, DamagedWal, ReplayRange, WalInventory};

/// A fact that an assessment needs, and that has not been queried yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The WAL of the archive from this segment on; `None`: all of it.
    Wal { archive: Archive, since: Option<Segment> },
    /// The commit times of this range.
    CommitTimes { archive: Archive, range: ReplayRange },
    /// Where each of these segments was damaged before it was archived.
    Damage { archive: Archive, segments: Vec<Segment> },
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

/// The answers so far.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    wal: Vec<(Archive, Option<Segment>, ListedWal)>,
    times: Vec<(Archive, ReplayRange, CommitTimes)>,
    written: Vec<(Archive, WalName, Option<DateTime<Utc>>)>,
    damage: Vec<(Archive, BTreeMap<Segment, Option<Lsn>>)>,
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

    pub fn enter_damage(
        &mut self,
        archive: Archive,
        found: impl IntoIterator<Item = (Segment, Option<Lsn>)>,
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
        let damaged = newest
            .into_iter()
            .filter_map(|segment| Some(DamagedWal { segment, at: at(&segment).flatten()? }));
        Ok(damaged.collect())
    }

    /// Returns when a file was written; `None`: it does not exist.
    pub fn written(&self, archive: &Archive, file: WalName) -> Result<Option<DateTime<Utc>>, Question> {
        let found = self.written.iter().find(|(known, of, _)| known == archive && *of == file);
        found.map(|(.., at)| *at).ok_or_else(|| Question::Written { archive: archive.clone(), file })
    }
}
