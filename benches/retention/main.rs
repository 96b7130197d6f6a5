//! `make bench GROUP=retention`: what it takes to plan the retention of more than anybody has, in memory: 100,000 backups
//! and 1,000,000 files of WAL of one source in one repository.

#![expect(clippy::print_stdout, reason = "what is measured is for people to read")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use drctl::model::{
    AssuranceLevel, BackupId, BackupKind, Lsn, Segment, SegmentSize, SourceName, SystemIdentifier,
    SystemName, Timeline, WalName,
};
use drctl::policy::{CalendarSpan, CalendarUnit, Retention, Rules};
use drctl::retention::{
    HeldBackup, HeldPhysical, HeldWal, PlannedPolicy, RepositoryHoldings, RetentionSurvey, SourceHoldings,
    WalFile, plan,
};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const BACKUPS: u32 = 100_000;
/// Of them.
const BASES: u32 = 10_000;
const SEGMENTS: u32 = 1_000_000;
const RUNS: usize = 3;
const CLUSTER: SystemIdentifier = SystemIdentifier(7);
const SIZE: SegmentSize = SegmentSize::DEFAULT;

/// What it may take.
const MOST_TIME: Duration = Duration::from_secs(10);
const MOST_MEMORY_MIB: u64 = 256;

fn main() -> Outcome<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let divisor = if quick { 10 } else { 1 };
    let now: DateTime<Utc> = "2026-11-20T12:00:00Z".parse()?;
    let (source, system): (SourceName, SystemName) = ("database".parse()?, "shop".parse()?);
    let survey = survey(&source, now, divisor)?;
    let days = |count| Some(CalendarSpan::new(count, CalendarUnit::Day));
    let rules = Rules {
        keep_last: 3,
        minimum_redundancy: 2,
        keep_within: None,
        daily: days(30),
        weekly: Some(CalendarSpan::new(6, CalendarUnit::Month)),
        monthly: None,
        yearly: None,
        pitr: Some(Duration::from_secs(7 * 86_400)),
    };
    let retention = Retention { rules, sources: vec![], copies: vec![] };
    let policy = PlannedPolicy {
        system: &system,
        retention: &retention,
        sources: vec![(source, vec![])],
        locks: vec![],
    };
    let listed = peak_memory()?;
    let mut took = Vec::new();
    for _ in 0..RUNS {
        let begun = Instant::now();
        let planned = plan(&policy, &survey, now);
        took.push(begun.elapsed());
        let removed = planned.sources.iter().flat_map(|source| source.removed()).count();
        let wal: u64 =
            planned.sources.iter().flat_map(|source| &source.wal).map(|wal| wal.removed_files).sum();
        println!("planned {removed} backups and {wal} files of WAL to go in {:.2} s", took_of(&took));
    }
    took.sort();
    let (median, peak) = (took[RUNS / 2], peak_memory()?);
    println!(
        "\n{} backups, {} files of WAL: {:.2} s (aim: under {} s), {peak} MiB at most (aim: under {MOST_MEMORY_MIB} MiB), {listed} MiB of it what was listed",
        BACKUPS / divisor,
        SEGMENTS / divisor,
        median.as_secs_f64(),
        MOST_TIME.as_secs(),
    );
    if median > MOST_TIME || peak > MOST_MEMORY_MIB {
        return Err("it takes more than it may".into());
    }
    Ok(())
}

fn took_of(took: &[Duration]) -> f64 {
    took.last().map(Duration::as_secs_f64).unwrap_or_default()
}

/// A year: dumps every few minutes, base backups, and the WAL of all of it.
fn survey(source: &SourceName, now: DateTime<Utc>, divisor: u32) -> Outcome<RetentionSurvey> {
    let year = TimeDelta::days(365);
    let at = |n: u32, of: u32| {
        now - year + year * i32::try_from(n).unwrap_or(i32::MAX) / i32::try_from(of).unwrap_or(1)
    };
    let (bases, dumps, segments) = (BASES / divisor, (BACKUPS - BASES) / divisor, SEGMENTS / divisor);
    let backup = |kind: BackupKind, at: DateTime<Utc>, n: u32, physical: Option<HeldPhysical>| HeldBackup {
        id: BackupId::new(at, source, kind, n),
        recovery_point: at,
        bytes: 1 << 30,
        level: AssuranceLevel::Stored,
        is_bad: false,
        cluster: physical.is_some().then_some(CLUSTER),
        major: Some(17),
        physical,
        parent: None,
        locked_until: None,
        cloud: None,
    };
    let of_base = |n: u32| {
        let first = u64::from(n) * u64::from(segments / bases);
        HeldPhysical {
            timeline: Timeline::FIRST,
            start: Lsn(SIZE.begin_of(first).0 + 40),
            stop: Lsn(SIZE.begin_of(first + 1).0 + 80),
            segment_size: SIZE,
        }
    };
    let mut backups: Vec<HeldBackup> =
        (0..bases).map(|n| backup(BackupKind::Base, at(n, bases), n, Some(of_base(n)))).collect();
    backups.extend((0..dumps).map(|n| backup(BackupKind::Logical, at(n, dumps), n, None)));
    let file = |n: u32| WalFile {
        name: WalName::Segment(Segment::new(Timeline::FIRST, u64::from(n), SIZE)),
        bytes: 4 << 20,
        modified: at(n, segments),
    };
    let wal = HeldWal {
        cluster: CLUSTER,
        segment_size: SIZE,
        files: (0..segments).map(file).collect(),
        parents: BTreeMap::new(),
    };
    let holdings = SourceHoldings { backups, wal: vec![wal], ..SourceHoldings::default() };
    let repository = RepositoryHoldings {
        name: "primary".parse()?,
        sources: [(source.clone(), holdings)].into(),
        refusals: vec![],
    };
    Ok(RetentionSurvey { repositories: vec![repository], ..RetentionSurvey::default() })
}

/// The most memory that this process had, in MiB.
fn peak_memory() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib >> 10)
}
