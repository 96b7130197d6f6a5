//! Facts about the WAL in one repository. An assessment that needs more returns the next query.

use chrono::{DateTime, Utc};

use crate::model::{Segment, WalName};
use crate::wal::{Archive, CommitTimes, ReplayRange, WalInventory};

/// A fact that an assessment needs, and that has not been queried yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The WAL of the archive from this segment on; `None`: all of it.
    Wal { archive: Archive, since: Option<Segment> },
    /// The commit times of this range.
    CommitTimes { archive: Archive, range: ReplayRange },
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

    /// Returns when a file was written; `None`: it does not exist.
    pub fn written(&self, archive: &Archive, file: WalName) -> Result<Option<DateTime<Utc>>, Question> {
        let found = self.written.iter().find(|(known, of, _)| known == archive && *of == file);
        found.map(|(.., at)| *at).ok_or_else(|| Question::Written { archive: archive.clone(), file })
    }
}
