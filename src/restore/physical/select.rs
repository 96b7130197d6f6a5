//! The choice of the base backup and of the timelines to follow. Pure.

use std::collections::BTreeSet;

use super::target::whole_transaction;
use super::window::why;
use super::{BaseBackupSelector, PhysicalRestoreRequest, RecoveryTarget};
use crate::model::{
    BackupId, BrokenChain, Lsn, Manifest, Physical, RepositoryName, SystemIdentifier, Timeline, chain,
};
use crate::restore::refusal::{ambiguous, in_repository};
use crate::restore::{Refusal, RefusalClass};
use crate::wal::{ReplayEnd, ReplayPosition, ReplayRange, TimelineTarget, WalInventory};

/// The number of ids that a refusal names.
const NAMED: usize = 5;

/// A base backup, and the repositories that hold it.
#[derive(Clone, Debug)]
pub(super) struct BaseBackup {
    pub(super) manifest: Manifest,
    pub(super) physical: Physical,
    pub(super) cluster: SystemIdentifier,
    /// In the order they are to be tried.
    pub(super) holders: Vec<RepositoryName>,
}

impl BaseBackup {
    pub(super) fn begins(&self) -> ReplayPosition {
        ReplayPosition { timeline: self.physical.timeline, lsn: self.physical.start }
    }

    /// Returns whether every known copy is damaged.
    pub(super) fn is_bad(&self, doubtful: &BTreeSet<(BackupId, RepositoryName)>) -> bool {
        let id = &self.manifest.id;
        self.holders.iter().all(|name| doubtful.contains(&(id.clone(), name.clone())))
    }

    /// Returns whether this backup is complete before the target.
    pub(super) fn is_before(&self, target: &RecoveryTarget) -> bool {
        match target {
            RecoveryTarget::Latest | RecoveryTarget::Name(_) => true,
            RecoveryTarget::Time(time) => self.manifest.recovery_point <= *time,
            RecoveryTarget::Lsn(lsn) => self.physical.stop <= *lsn,
            RecoveryTarget::Transaction(given) => {
                let next = self.physical.next_transaction;
                let whole = whole_transaction(*given, next);
                // A transaction that was open when the copy was complete ended after it.
                let open = self.physical.open_transactions.as_ref();
                whole >= next || open.is_some_and(|open| open.contains(&whole))
            }
        }
    }
}

/// Returns the usable backups, the best first; `bases`: newest first.
pub(super) fn candidates(
    bases: &[BaseBackup],
    request: &PhysicalRestoreRequest,
) -> Result<Vec<BaseBackup>, Refusal> {
    let asked: Vec<&BaseBackup> = match &request.backup {
        BaseBackupSelector::Fitting => bases.iter().collect(),
        BaseBackupSelector::Prefix(asked) => {
            let found: Vec<_> =
                bases.iter().filter(|base| base.manifest.id.as_str().starts_with(asked)).collect();
            if found.len() > 1 {
                let found: Vec<_> =
                    found.into_iter().take(NAMED).map(|base| base.manifest.id.clone()).collect();
                return Err(ambiguous(RefusalClass::Usage, asked, &found));
            }
            if found.is_empty() && !bases.is_empty() {
                let message = format!(
                    "there is no base backup of `{}` whose id begins with `{asked}`{}",
                    request.source,
                    in_repository(request.from.as_ref())
                );
                return Err(Refusal::nothing("no-backup", message));
            }
            found
        }
    };
    let mut fitting: Vec<BaseBackup> =
        asked.into_iter().filter(|base| base.is_before(&request.target)).cloned().collect();
    // The position of a name in the WAL is unknown: every occurrence is found by starting from the oldest
    // backup.
    if matches!(request.target, RecoveryTarget::Name(_)) {
        fitting.reverse();
    }
    Ok(fitting)
}

/// Returns the timeline to follow: the newest, unless another one is requested.
pub(super) fn goal(
    bases: &[BaseBackup],
    log: &WalInventory,
    asked: Option<Timeline>,
) -> Result<Timeline, Refusal> {
    let known: Vec<_> = log.timelines().chain(bases.iter().map(|base| base.physical.timeline)).collect();
    match asked {
        Some(asked) if !known.contains(&asked) => {
            Err(Refusal::usage("no-timeline", format!("there is no timeline {asked} in the WAL archive")))
        }
        Some(asked) => Ok(asked),
        None => Ok(known.into_iter().max().unwrap_or(Timeline::FIRST)),
    }
}

/// Why no target can be reached from a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IncompatibleBackup {
    /// The path of the timeline does not pass through it.
    NotOnTheWay,
    /// WAL that it requires itself is missing.
    Incomplete(ReplayEnd),
    /// The history file of this timeline is missing.
    NoHistory(Timeline),
    /// A backup that it is based on is missing.
    Broken(BrokenChain),
}

impl IncompatibleBackup {
    pub(super) fn why(&self, goal: Timeline) -> String {
        match self {
            Self::NotOnTheWay => format!("timeline {goal} does not come from it"),
            Self::NoHistory(timeline) => format!(
                "the history of timeline {timeline} is missing, so it is unknown whether timeline {goal} forked from it"
            ),
            Self::Incomplete(stop) => match why(stop) {
                Some(why) => format!("it is incomplete without its WAL, of which {why}"),
                None => "it is incomplete without its WAL, and the last of it is not archived".to_owned(),
            },
            Self::Broken(broken) => broken.to_string(),
        }
    }
}

/// Returns the backups it is based on, the full one first; empty for a full backup. `all`: those that can be
/// read.
pub(super) fn parents<'b>(
    base: &BaseBackup,
    all: impl Iterator<Item = &'b BaseBackup> + Clone,
) -> Result<Vec<BaseBackup>, IncompatibleBackup> {
    let find =
        |id: &BackupId| all.clone().find(|other| other.manifest.id == *id).map(|other| &other.manifest);
    let chain = chain(&base.manifest, find).map_err(IncompatibleBackup::Broken)?;
    let whole = |manifest: &&Manifest| all.clone().find(|other| other.manifest.id == manifest.id).cloned();
    Ok(chain.iter().take(chain.len().saturating_sub(1)).filter_map(whole).collect())
}

/// Returns how far the WAL leads from a backup along the path to `goal`.
pub(super) fn replay_from(
    base: &BaseBackup,
    goal: Timeline,
    log: &WalInventory,
) -> Result<ReplayRange, IncompatibleBackup> {
    let reach = log.reach(base.begins(), TimelineTarget::Timeline(goal));
    match reach.stop {
        ReplayEnd::NotAChild(_) => return Err(IncompatibleBackup::NotOnTheWay),
        ReplayEnd::NoHistory(timeline) => return Err(IncompatibleBackup::NoHistory(timeline)),
        _ => {}
    }
    if fork_lsn(base.physical.timeline, goal, log).is_some_and(|left| left < base.physical.stop) {
        return Err(IncompatibleBackup::NotOnTheWay);
    }
    if reach.end.lsn < base.physical.stop {
        Err(IncompatibleBackup::Incomplete(reach.stop))
    } else {
        Ok(reach)
    }
}

/// Returns where the path to `goal` forks off `timeline`; `None` where it does not.
fn fork_lsn(timeline: Timeline, goal: Timeline, log: &WalInventory) -> Option<Lsn> {
    let mut child = goal;
    while child != timeline {
        let parent = log.parent(child)?;
        if parent.timeline == timeline {
            return Some(parent.until);
        }
        child = parent.timeline;
    }
    None
}

/// Returns the ancestors of `goal` that continued after the fork: the operator may have meant one of those.
pub(super) fn abandoned_timelines(goal: Timeline, log: &WalInventory) -> Vec<Timeline> {
    let (mut child, mut found) = (goal, Vec::new());
    while let Some(parent) = log.parent(child).filter(|parent| parent.timeline < child) {
        let fork = log.segment_size().number_of(parent.until);
        let newest = log.newest(parent.timeline).and_then(|segment| segment.number(log.segment_size()));
        // A complete segment at the fork: the server continued in it. A server that ended there leaves a
        // partial one.
        if newest.is_some_and(|newest| newest >= fork) {
            found.push(parent.timeline);
        }
        child = parent.timeline;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Ancestor, BackupKind, Protection, RunId, Segment, SegmentSize, ToolFacts, WalName};

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn timeline(number: u32) -> Timeline {
        Timeline::new(number).unwrap()
    }

    fn lsn(segment: u64, offset: u64) -> Lsn {
        Lsn(SIZE.begin_of(segment).0 + offset)
    }

    /// Taken at that minute, from the begin of its first segment to into its last.
    fn base(minute: u32, on: u32, first: u64, last: u64) -> BaseBackup {
        let begun = format!("2026-11-20T12:{minute:02}:00Z").parse().unwrap();
        let source: crate::model::SourceName = "database".parse().unwrap();
        let physical = Physical {
            next_transaction: 1000 + u64::from(minute),
            ..Physical::sample(on, lsn(first, 40), lsn(last, 300))
        };
        let manifest = Manifest {
            format: "1.0".to_owned(),
            repository_id: String::new(),
            system: "shop".parse().unwrap(),
            id: BackupId::new(begun, &source, BackupKind::Base, minute),
            source,
            kind: BackupKind::Base,
            run: RunId::new(begun, 1),
            recovery_point: begun,
            begun,
            ended: begun,
            host: String::new(),
            tool: ToolFacts { drctl: String::new(), producer: String::new() },
            server: None,
            physical: Some(physical.clone()),
            parent: None,
            point: None,
            managed: None,
            protection: Protection::None,
            artifacts: vec![],
            by_hand: vec![],
        };
        BaseBackup { manifest, physical, cluster: SystemIdentifier(7), holders: vec![] }
    }

    fn holdings(segments: &[(u32, std::ops::Range<u64>)], forks: &[(u32, u32, Lsn)]) -> WalInventory {
        let names = segments.iter().flat_map(|(on, numbers)| {
            numbers.clone().map(|n| WalName::Segment(Segment::new(timeline(*on), n, SIZE)))
        });
        let histories = forks.iter().map(|(child, ..)| WalName::History(timeline(*child)));
        let mut holdings = WalInventory::new(SIZE, names.chain(histories));
        for (child, parent, until) in forks {
            holdings.forked_from(timeline(*child), Ancestor { timeline: timeline(*parent), until: *until });
        }
        holdings
    }

    #[test]
    fn a_backup_is_used_for_what_comes_after_it_only() {
        let base = base(30, 1, 5, 6);
        let at = |text: &str| RecoveryTarget::Time(text.parse().unwrap());
        assert!(!base.is_before(&at("2026-11-20T12:29:59Z")) && base.is_before(&at("2026-11-20T12:30:00Z")));
        assert!(
            !base.is_before(&RecoveryTarget::Lsn(lsn(6, 299)))
                && base.is_before(&RecoveryTarget::Lsn(lsn(6, 300)))
        );
        assert!(
            !base.is_before(&RecoveryTarget::Transaction(1029))
                && base.is_before(&RecoveryTarget::Transaction(1030))
        );
        let mut open = base.clone();
        open.physical.open_transactions = Some(vec![1007, 1020]);
        let fits = |number| open.is_before(&RecoveryTarget::Transaction(number));
        assert!(fits(1007) && fits(1020) && fits(1030) && !fits(1008) && !fits(1029));
        // Of the same, 32 bits: the epoch is that of the backup.
        let epochs = |number: u64| number + (3 << 32);
        open.physical.next_transaction = epochs(1030);
        open.physical.open_transactions = Some(vec![epochs(1007)]);
        let fits = |number| open.is_before(&RecoveryTarget::Transaction(number));
        assert!(fits(1007) && fits(epochs(1007)) && !fits(1008) && !fits(epochs(1008)));
        assert!(
            base.is_before(&RecoveryTarget::Latest) && base.is_before(&RecoveryTarget::Name("x".to_owned()))
        );
    }

    #[test]
    fn a_backup_without_its_log_or_beside_the_way_leads_nowhere() {
        // Timeline 2 begins in segment 7; the first went on.
        let log = holdings(&[(1, 5..12), (2, 7..10)], &[(2, 1, lsn(7, 500))]);
        let second = goal(&[], &log, None).unwrap();
        assert_eq!(second, timeline(2));
        let fits = replay_from(&base(1, 1, 5, 6), second, &log).unwrap();
        assert_eq!(fits.end, ReplayPosition { timeline: second, lsn: lsn(10, 0) });
        assert!(replay_from(&base(2, 2, 7, 8), second, &log).is_ok());
        // Begun before the fork and whole only after it; begun after it.
        assert_eq!(replay_from(&base(3, 1, 7, 8), second, &log), Err(IncompatibleBackup::NotOnTheWay));
        assert_eq!(replay_from(&base(4, 1, 8, 9), second, &log), Err(IncompatibleBackup::NotOnTheWay));
        assert!(replay_from(&base(4, 1, 8, 9), timeline(1), &log).is_ok());
        assert_eq!(abandoned_timelines(second, &log), [timeline(1)]);
        // The rest of the very segment it was left in is log that was left behind, too.
        let rest = holdings(&[(1, 5..8), (2, 7..10)], &[(2, 1, lsn(7, 500))]);
        assert_eq!(abandoned_timelines(second, &rest), [timeline(1)]);
        let none = holdings(&[(1, 5..7), (2, 7..10)], &[(2, 1, lsn(7, 500))]);
        assert_eq!(abandoned_timelines(second, &none), []);
        // Log between its begin and its end is missing, or has not come yet.
        let torn = holdings(&[(1, 5..6), (1, 7..9)], &[]);
        assert!(matches!(
            replay_from(&base(5, 1, 5, 6), timeline(1), &torn),
            Err(IncompatibleBackup::Incomplete(ReplayEnd::Gap(_)))
        ));
        assert_eq!(
            replay_from(&base(6, 1, 7, 9), timeline(1), &torn),
            Err(IncompatibleBackup::Incomplete(ReplayEnd::End))
        );
        assert_eq!(goal(&[], &log, Some(timeline(3))).unwrap_err().code, "no-timeline");
    }

    #[test]
    fn what_a_backup_builds_on_comes_from_those_that_can_be_read() {
        let server = |mut base: BaseBackup, parent: Option<&BaseBackup>| {
            base.manifest.server = Some(crate::model::ServerFacts {
                version: String::new(),
                major: 17,
                system_identifier: Some("7".to_owned()),
                address: None,
                replaces: None,
            });
            base.physical.parent = parent.map(|parent| parent.manifest.id.clone());
            base.manifest.physical = Some(base.physical.clone());
            base
        };
        let full = server(base(1, 1, 2, 3), None);
        let first = server(base(2, 1, 4, 5), Some(&full));
        let second = server(base(3, 1, 6, 7), Some(&first));
        let all = [second.clone(), first.clone(), full.clone()];
        let ids = |bases: Vec<BaseBackup>| bases.into_iter().map(|base| base.manifest.id).collect::<Vec<_>>();
        let found = parents(&second, all.iter()).unwrap();
        assert_eq!(ids(found), [full.manifest.id.clone(), first.manifest.id.clone()]);
        assert!(parents(&full, all.iter()).unwrap().is_empty());
        let broken = parents(&second, [&second, &full].into_iter());
        assert_eq!(broken.unwrap_err(), IncompatibleBackup::Broken(BrokenChain::Missing(first.manifest.id)));
    }
}
