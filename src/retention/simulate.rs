//! Plays retention forward: what there would be on each day, were everything to go on as it does. Pure.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::Serialize;

use super::holding::{HeldBackup, HeldPhysical, HeldWal, Hold, SourceHoldings, WalFile};
use super::source_plan::{SourceContext, SourcePlan, plan_source};
use crate::model::{
    AssuranceLevel, BackupId, BackupKind, Location, Lsn, Segment, SegmentSize, SourceName, SystemIdentifier,
    Timeline, WalName,
};
use crate::policy::Rules;

/// One source in one repository or region, and how it goes on.
#[derive(Clone, Debug)]
pub struct Simulation<'a> {
    pub source: SourceName,
    pub location: Location,
    pub rules: &'a Rules,
    pub holds: &'a [Hold],
    /// What there is now.
    pub start: SourceHoldings,
    pub kinds: Vec<SimulatedKind>,
    /// Bytes of WAL an hour; `None`: none is archived.
    pub wal_an_hour: Option<u64>,
    /// When retention is applied, in order.
    pub applied: Vec<DateTime<Utc>>,
}

/// Backups of one kind that are going to be taken.
#[derive(Clone, Debug)]
pub struct SimulatedKind {
    pub kind: BackupKind,
    /// In order.
    pub times: Vec<DateTime<Utc>>,
    pub bytes: u64,
    /// Of so many one fails; `None`: none does.
    pub fails_one_in: Option<usize>,
}

/// What there is after retention was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SimulatedDay {
    pub date: NaiveDate,
    pub backups: u64,
    pub wal_files: u64,
    pub bytes: u64,
    /// Backups that were removed on that day.
    pub removed: u64,
    pub oldest_point: Option<DateTime<Utc>>,
    pub newest_point: Option<DateTime<Utc>>,
    /// From when on any time can be recovered, without a gap up to the newest.
    pub window_from: Option<DateTime<Utc>>,
}

/// What comes of it.
#[derive(Clone, Debug)]
pub struct Simulated {
    pub days: Vec<SimulatedDay>,
    /// The plan of the last day; nothing of it was applied.
    pub last: SourcePlan,
}

/// The cluster of what is made up where there was none.
const CLUSTER: SystemIdentifier = SystemIdentifier(1);

/// Simulates it until the last time that retention is applied. `None`: it never is.
pub fn simulate(simulation: Simulation<'_>) -> Option<Simulated> {
    let Simulation { source, location, rules, holds, start, kinds, wal_an_hour, applied } = simulation;
    let mut holdings = start;
    let mut clock = Archive::new(&mut holdings, wal_an_hour);
    let mut due: Vec<(DateTime<Utc>, &SimulatedKind)> = kinds
        .iter()
        .flat_map(|kind| {
            let is_taken =
                |n: usize| kind.fails_one_in.is_none_or(|one_in| !(n + 1).is_multiple_of(one_in.max(2)));
            let taken = kind.times.iter().enumerate().filter(move |(n, _)| is_taken(*n));
            taken.map(move |(_, at)| (*at, kind))
        })
        .collect();
    due.sort_by_key(|(at, kind)| (*at, kind.kind));
    let mut due = due.into_iter().peekable();
    let mut days = Vec::with_capacity(applied.len());
    let mut last = None;
    for (n, now) in applied.iter().enumerate() {
        while let Some((at, kind)) = due.next_if(|(at, _)| at <= now) {
            clock.archive_until(&mut holdings, at);
            let backup = clock.backup(&source, kind, at);
            holdings.backups.push(backup);
        }
        clock.archive_until(&mut holdings, *now);
        let context = SourceContext { now: *now, rules: Some(rules), holds, newest_within: &[], fates: None };
        let plan = plan_source(&source, &location, &holdings, context);
        let window = plan.after.windows.first();
        days.push(SimulatedDay {
            date: now.date_naive(),
            backups: plan.after.backups,
            wal_files: plan.after.wal_files,
            bytes: plan.after.bytes,
            removed: plan.removed().count() as u64,
            oldest_point: plan.after.oldest_point,
            newest_point: plan.after.newest(),
            window_from: window.and_then(|window| window.from),
        });
        if n + 1 < applied.len() {
            apply(&mut holdings, &plan);
        }
        last = Some(plan);
    }
    Some(Simulated { days, last: last? })
}

/// Removes what a plan removes.
pub(super) fn apply(holdings: &mut SourceHoldings, plan: &SourcePlan) {
    let kept: std::collections::BTreeSet<&BackupId> =
        plan.backups.iter().filter(|backup| !backup.is_removed()).map(|backup| &backup.id).collect();
    holdings.backups.retain(|backup| kept.contains(&backup.id));
    for wal in &mut holdings.wal {
        if let Some(plan) = plan.wal.iter().find(|plan| plan.cluster == wal.cluster) {
            wal.files.retain(|file| plan.rule.keeps(file));
        }
    }
}

/// Where the WAL is: a segment an hour, with all the bytes of it.
struct Archive {
    cluster: SystemIdentifier,
    timeline: Timeline,
    size: SegmentSize,
    next: u64,
    at: Option<DateTime<Utc>>,
    bytes: Option<u64>,
}

impl Archive {
    /// Goes on where the newest of the WAL ends.
    fn new(holdings: &mut SourceHoldings, bytes: Option<u64>) -> Self {
        let newest = holdings.wal.iter().max_by_key(|wal| wal.files.iter().map(|file| file.modified).max());
        let mut archive = Self {
            cluster: newest.map_or(CLUSTER, |wal| wal.cluster),
            timeline: Timeline::FIRST,
            size: newest.map_or(SegmentSize::DEFAULT, |wal| wal.segment_size),
            next: 1,
            at: newest.and_then(|wal| wal.files.iter().map(|file| file.modified).max()),
            bytes,
        };
        let segments = newest.iter().flat_map(|wal| &wal.files).filter_map(|file| file.name.as_segment());
        if let Some(last) = segments.max() {
            archive.timeline = last.timeline;
            archive.next = last.number(archive.size).unwrap_or(0) + 1;
        }
        if bytes.is_some() && newest.is_none() {
            let (cluster, segment_size) = (archive.cluster, archive.size);
            holdings.wal.push(HeldWal { cluster, segment_size, files: vec![], parents: [].into() });
        }
        archive
    }

    fn archive_until(&mut self, holdings: &mut SourceHoldings, until: DateTime<Utc>) {
        let Some(bytes) = self.bytes else { return };
        let Some(wal) = holdings.wal.iter_mut().find(|wal| wal.cluster == self.cluster) else { return };
        let mut at = self.at.unwrap_or(until - TimeDelta::hours(1));
        while at + TimeDelta::hours(1) <= until {
            at += TimeDelta::hours(1);
            let name = WalName::Segment(Segment::new(self.timeline, self.next, self.size));
            wal.files.push(WalFile { name, bytes, modified: at });
            self.next += 1;
        }
        self.at = Some(at);
    }

    /// A base backup needs the last segment that is there.
    fn backup(&self, source: &SourceName, kind: &SimulatedKind, at: DateTime<Utc>) -> HeldBackup {
        let start = Lsn(self.size.begin_of(self.next.saturating_sub(1)).0 + 40);
        let is_base = kind.kind == BackupKind::Base;
        HeldBackup {
            id: BackupId::new(at, source, kind.kind, 0),
            recovery_point: at,
            bytes: kind.bytes,
            level: AssuranceLevel::Stored,
            is_bad: false,
            cluster: is_base.then_some(self.cluster),
            major: None,
            physical: is_base.then(|| HeldPhysical {
                timeline: self.timeline,
                start,
                stop: Lsn(start.0 + 300),
                segment_size: self.size,
            }),
            parent: None,
            locked_until: None,
            cloud: None,
        }
    }
}
