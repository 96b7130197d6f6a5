//! Verification of the journal: whether records were changed, removed, reordered or forged, in one copy or in all.
//!
//! Each record names the digest of the one before, so that a changed or removed one shows in its successor. The newest
//! has none: of it only another copy, or the catalog of a host, knows better.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use chrono::TimeDelta;
use futures_util::stream::{self, StreamExt as _};
use serde::Serialize;

use crate::model::{RepositoryName, RunId, Sha256Hex, SystemName};
use crate::repository::journal::{self, JournalError, JournalRecord};
use crate::repository::{Repositories, Unavailable};
use crate::store::StoreErrorKind;
use crate::text::error_chain;

/// Records that are read concurrently.
const AT_ONCE: usize = 8;
/// How long the writing of a record may take, and how far the clocks of two hosts may differ.
const SLACK: TimeDelta = TimeDelta::minutes(10);

/// What one repository has of the journal.
#[derive(Clone, Debug)]
pub struct JournalCopy {
    pub repository: RepositoryName,
    pub records: BTreeMap<RunId, (JournalRecord, Sha256Hex)>,
    /// Records that are not what their key says, or cannot be read.
    pub unreadable: BTreeMap<RunId, String>,
}

/// Evidence that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum JournalFault {
    /// A record cannot be read, or is of another run than its key says.
    Unreadable { run: RunId, repository: RepositoryName, reason: String },
    /// Two copies have different records of a run. `intact`: the one that a later record names, where one does.
    Differs { run: RunId, repositories: [RepositoryName; 2], intact: Option<RepositoryName> },
    /// A record names one before it that no copy has.
    BrokenLink { run: RunId, previous: Sha256Hex },
    /// The catalog of this host knows a record that no copy has.
    Removed { run: RunId },
    /// The catalog of this host knows another record of the run.
    Changed { run: RunId },
}

impl Display for JournalFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { run, repository, reason } => {
                write!(f, "the record of run {run} in `{repository}` does not hold: {reason}")
            }
            Self::Differs { run, repositories: [one, other], intact } => {
                write!(f, "the records of run {run} in `{one}` and in `{other}` differ")?;
                match intact {
                    Some(intact) => write!(f, "; the one in `{intact}` is the one that a later record names"),
                    None => f.write_str("; no later record says which one was written"),
                }
            }
            Self::BrokenLink { run, previous } => write!(
                f,
                "the record of run {run} names one before it (SHA-256 {previous}) that no copy has: it was changed or removed"
            ),
            Self::Removed { run } => {
                write!(f, "there is no record of run {run}, which the catalog of this host knows")
            }
            Self::Changed { run } => {
                write!(f, "the record of run {run} is not the one that the catalog of this host knows")
            }
        }
    }
}

/// A record that the chain passes over: it was added later, or its writer's repository was away from the next writer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unlinked {
    pub run: RunId,
    /// The later record that should name it, or one after it.
    pub passed_by: RunId,
}

impl Display for Unlinked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, passed_by } = self;
        write!(
            f,
            "the record of run {passed_by} was written after that of run {run} and does not follow it: that one was added later, or was not to be seen then"
        )
    }
}

/// What the verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JournalReport {
    /// Of all copies together.
    pub records: usize,
    pub faults: Vec<JournalFault>,
    pub unlinked: Vec<Unlinked>,
    /// Records that a copy lacks and another has.
    pub lacking: Vec<(RepositoryName, RunId)>,
}

/// Reads every record of every repository.
pub async fn read_copies(
    repositories: &Repositories,
    system: &SystemName,
) -> (Vec<JournalCopy>, Vec<Unavailable>) {
    let (mut copies, mut unread) = (Vec::new(), repositories.lost().to_vec());
    for repository in repositories.iter() {
        let store = &*repository.store;
        let runs = match journal::runs(store, system).await {
            Ok(runs) => runs,
            Err(error) => {
                unread.push(Unavailable::new(repository, error));
                continue;
            }
        };
        let mut copy = JournalCopy {
            repository: repository.name.clone(),
            records: BTreeMap::new(),
            unreadable: BTreeMap::new(),
        };
        let mut read = stream::iter(runs)
            .map(async |run| (journal::read(store, system, &run).await, run))
            .buffered(AT_ONCE);
        while let Some((record, run)) = read.next().await {
            match record {
                Ok((record, bytes)) => {
                    copy.records.insert(run, (record, Sha256Hex::digest(&bytes)));
                }
                // It was removed meanwhile: the chain shows it.
                Err(JournalError::Read { source, .. }) if source.kind == StoreErrorKind::NotFound => {}
                Err(error) => {
                    copy.unreadable.insert(run, error_chain(&error));
                }
            }
        }
        copies.push(copy);
    }
    (copies, unread)
}

/// Compares the copies with each other, with the links between records, and with what the catalog of this host knows.
/// Pure. `is_whole`: every repository was read, so that what none of them has is nowhere.
pub fn verify_journal(copies: &[JournalCopy], known: &[JournalRecord], is_whole: bool) -> JournalReport {
    let runs: BTreeSet<&RunId> =
        copies.iter().flat_map(|copy| copy.records.keys().chain(copy.unreadable.keys())).collect();
    let all = || copies.iter().flat_map(|copy| copy.records.values());
    let digests: BTreeMap<Sha256Hex, &RunId> = all().map(|(record, sha256)| (*sha256, &record.run)).collect();
    let named: BTreeSet<Sha256Hex> = all().filter_map(|(record, _)| record.previous).collect();
    let mut report = JournalReport { records: runs.len(), ..JournalReport::default() };
    for copy in copies {
        for (run, reason) in &copy.unreadable {
            let (run, repository, reason) = (run.clone(), copy.repository.clone(), reason.clone());
            report.faults.push(JournalFault::Unreadable { run, repository, reason });
        }
        let lacks = |run: &&&RunId| !copy.records.contains_key(**run) && !copy.unreadable.contains_key(**run);
        report.lacking.extend(runs.iter().filter(lacks).map(|run| (copy.repository.clone(), (*run).clone())));
    }
    for run in &runs {
        report.faults.extend(differing(run, copies, &named));
    }
    report.faults.extend(broken_links(copies, &digests, is_whole));
    for record in known {
        let mut own = copies.iter().filter_map(|copy| copy.records.get(&record.run));
        let is_unreadable = copies.iter().any(|copy| copy.unreadable.contains_key(&record.run));
        match own.next() {
            None if is_whole && !is_unreadable => {
                report.faults.push(JournalFault::Removed { run: record.run.clone() });
            }
            None => {}
            Some((first, _)) => {
                let is_known = first.says_the_same(record) || own.any(|(one, _)| one.says_the_same(record));
                if !is_known {
                    report.faults.push(JournalFault::Changed { run: record.run.clone() });
                }
            }
        }
    }
    report.unlinked = unlinked(copies, &digests);
    report
}

fn differing(run: &RunId, copies: &[JournalCopy], named: &BTreeSet<Sha256Hex>) -> Option<JournalFault> {
    let own: Vec<(&RepositoryName, Sha256Hex)> =
        copies.iter().filter_map(|copy| Some((&copy.repository, copy.records.get(run)?.1))).collect();
    let (first, sha256) = own.first()?;
    let (other, _) = own.iter().find(|(_, other)| other != sha256)?;
    let intact = own.iter().find(|(_, sha256)| named.contains(sha256)).map(|(name, _)| (*name).clone());
    let repositories = [(*first).clone(), (*other).clone()];
    Some(JournalFault::Differs { run: run.clone(), repositories, intact })
}

fn broken_links(
    copies: &[JournalCopy],
    digests: &BTreeMap<Sha256Hex, &RunId>,
    is_whole: bool,
) -> Vec<JournalFault> {
    let mut found: BTreeMap<(RunId, Sha256Hex), JournalFault> = BTreeMap::new();
    for (record, _) in copies.iter().flat_map(|copy| copy.records.values()) {
        let Some(previous) = record.previous.filter(|previous| !digests.contains_key(previous)) else {
            continue;
        };
        // It may be where nothing could be read.
        if is_whole {
            let run = record.run.clone();
            found.insert((run.clone(), previous), JournalFault::BrokenLink { run, previous });
        }
    }
    found.into_values().collect()
}

/// Returns the records that a later one should have followed: its writer takes the newest that it sees.
fn unlinked(copies: &[JournalCopy], digests: &BTreeMap<Sha256Hex, &RunId>) -> Vec<Unlinked> {
    let mut records: BTreeMap<&RunId, &JournalRecord> = BTreeMap::new();
    for copy in copies {
        for (record, _) in copy.records.values() {
            records.entry(&record.run).or_insert(record);
        }
    }
    let mut passed: BTreeMap<&RunId, Unlinked> = BTreeMap::new();
    for (run, record) in &records {
        let follows = match record.previous {
            // The broken link is reported already.
            Some(previous) => match digests.get(&previous) {
                Some(follows) => Some(*follows),
                None => continue,
            },
            None => None,
        };
        let newest = records
            .range::<&RunId, _>(..*run)
            .rev()
            .find(|(_, earlier)| earlier.ended + SLACK < record.ended)
            .map(|(earlier, _)| *earlier);
        if let Some(missed) = newest.filter(|missed| follows.is_none_or(|follows| follows < *missed)) {
            let found = Unlinked { run: missed.clone(), passed_by: (*run).clone() };
            passed.entry(missed).or_insert(found);
        }
    }
    passed.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outcome;
    use crate::repository::fixtures::{noon, repositories, system};
    use crate::repository::journal::Detail;
    use crate::repository::{layout, run_record};

    struct Bench {
        root: tempfile::TempDir,
        set: Repositories,
        known: Vec<JournalRecord>,
    }

    fn record(hours: i64) -> JournalRecord {
        let begun = noon() + TimeDelta::hours(hours);
        let run = RunId::new(begun, u32::try_from(hours).unwrap());
        let ended = begun + TimeDelta::minutes(1);
        JournalRecord::new(&run, "backup", (begun, ended), "a", Outcome::Succeeded, Detail::default())
    }

    impl Bench {
        async fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let set = repositories(root.path(), &["primary", "west"]).await;
            let mut known = Vec::new();
            for hours in 0..4 {
                let lost = run_record::append(&set, &system(), record(hours)).await.unwrap();
                assert!(lost.is_empty());
                let store = &*set.iter().next().unwrap().store;
                known.push(journal::read(store, &system(), &record(hours).run).await.unwrap().0);
            }
            Self { root, set, known }
        }

        fn path(&self, repository: &str, hours: i64) -> std::path::PathBuf {
            let key = layout::journal_record(&system(), &record(hours).run);
            self.root.path().join(repository).join(key)
        }

        fn edit(&self, repository: &str, hours: i64) {
            let path = self.path(repository, hours);
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(path, text.replace("\"a\"", "\"b\"")).unwrap();
        }

        async fn report(&self, knows: bool) -> JournalReport {
            let (copies, unread) = read_copies(&self.set, &system()).await;
            assert!(unread.is_empty());
            verify_journal(&copies, if knows { &self.known } else { &[] }, true)
        }
    }

    fn run(hours: i64) -> RunId {
        record(hours).run
    }

    #[tokio::test]
    async fn an_intact_journal_has_no_faults() {
        let report = Bench::new().await.report(true).await;
        assert_eq!(report, JournalReport { records: 4, ..JournalReport::default() });
    }

    #[tokio::test]
    async fn a_record_that_was_changed_is_found_in_one_copy_and_in_all() {
        let bench = Bench::new().await;
        bench.edit("west", 1);
        let repositories = ["primary", "west"].map(|name| name.parse().unwrap());
        let intact = Some("primary".parse().unwrap());
        assert_eq!(
            bench.report(false).await.faults,
            [JournalFault::Differs { run: run(1), repositories, intact }]
        );
        bench.edit("primary", 1);
        let found = bench.report(false).await.faults;
        assert!(
            matches!(&found[..], [JournalFault::BrokenLink { run: named_by, .. }] if *named_by == run(2)),
            "{found:?}"
        );
        // The newest: no record names it, and this host knows it.
        bench.edit("west", 3);
        bench.edit("primary", 3);
        let found = bench.report(true).await.faults;
        assert!(found.contains(&JournalFault::Changed { run: run(3) }), "{found:?}");
    }

    #[tokio::test]
    async fn a_record_that_was_removed_is_found_in_one_copy_and_in_all() {
        let bench = Bench::new().await;
        std::fs::remove_file(bench.path("west", 1)).unwrap();
        let report = bench.report(false).await;
        assert_eq!((report.lacking, report.faults), (vec![("west".parse().unwrap(), run(1))], vec![]));
        std::fs::remove_file(bench.path("primary", 1)).unwrap();
        let found = bench.report(false).await.faults;
        assert!(
            matches!(&found[..], [JournalFault::BrokenLink { run: named_by, .. }] if *named_by == run(2)),
            "{found:?}"
        );
        std::fs::remove_file(bench.path("west", 3)).unwrap();
        std::fs::remove_file(bench.path("primary", 3)).unwrap();
        assert!(bench.report(true).await.faults.contains(&JournalFault::Removed { run: run(3) }));
    }

    #[tokio::test]
    async fn records_that_were_reordered_are_not_what_their_keys_say() {
        let bench = Bench::new().await;
        for name in ["primary", "west"] {
            let (one, two) = (bench.path(name, 1), bench.path(name, 2));
            let (first, second) = (std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
            std::fs::write(one, second).unwrap();
            std::fs::write(two, first).unwrap();
        }
        let found = bench.report(false).await.faults;
        let unreadable = found.iter().filter(|fault| matches!(fault, JournalFault::Unreadable { .. }));
        assert_eq!(unreadable.count(), 4, "{found:?}");
    }

    #[tokio::test]
    async fn a_forged_record_is_passed_over_by_the_chain() {
        let bench = Bench::new().await;
        let begun = noon() + TimeDelta::minutes(90);
        let mut forged = JournalRecord {
            run: RunId::new(begun, 9),
            begun,
            ended: begun + TimeDelta::minutes(1),
            ..bench.known[2].clone()
        };
        forged.previous = bench.known[2].previous;
        let bytes = journal::serialise(&forged).unwrap();
        let repositories: Vec<_> = bench.set.iter().collect();
        journal::write(&*repositories[1].store, &system(), &forged.run, bytes.clone()).await.unwrap();
        let unlinked = [Unlinked { run: forged.run.clone(), passed_by: run(2) }];
        let report = bench.report(true).await;
        assert_eq!((&report.unlinked[..], report.lacking.len()), (&unlinked[..], 1));
        journal::write(&*repositories[0].store, &system(), &forged.run, bytes).await.unwrap();
        let report = bench.report(true).await;
        assert_eq!((&report.unlinked[..], report.lacking.len()), (&unlinked[..], 0));
    }
}
