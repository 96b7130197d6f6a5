//! Two years, hour by hour, with failures, outages, lost copies, promotions, upgrades, and removals that were stopped in
//! the middle; and the retention of the reference policies, played forward for 400 days.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::holding::*;
use super::plan_tests::{RULES, base, dump, planned, time, wal};
use super::simulate::{SimulatedKind, Simulation, apply, simulate};
use super::source_plan::SourcePlan;
use crate::model::Period;
use crate::model::{
    Ancestor, BackupId, BackupKind, Segment, SegmentSize, SystemIdentifier, Timeline, WalName,
};
use crate::policy::Rules;

const SIZE: SegmentSize = SegmentSize::DEFAULT;

/// Numbers that look random, and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// A system and its two repositories.
struct World {
    dice: Dice,
    now: DateTime<Utc>,
    copies: [SourceHoldings; 2],
    /// Until when each cannot be reached.
    away: [DateTime<Utc>; 2],
    /// No backup is taken, and no WAL archived.
    down_until: DateTime<Utc>,
    cluster: SystemIdentifier,
    timeline: u32,
    /// Number of the last segment.
    segment: u64,
    removed: u64,
    stopped: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = time("2026-01-01T00:00:00Z");
        let (copies, away) = ([SourceHoldings::default(), SourceHoldings::default()], [now, now]);
        let cluster = SystemIdentifier(7);
        Self {
            dice: Dice(seed),
            now,
            copies,
            away,
            down_until: now,
            cluster,
            timeline: 1,
            segment: 1000,
            removed: 0,
            stopped: 0,
        }
    }

    fn is_reached(&self, copy: usize) -> bool {
        self.away[copy] <= self.now
    }

    fn archive(&mut self, name: WalName) {
        let file = WalFile { name, bytes: 16, modified: self.now };
        let cluster = self.cluster;
        for holdings in &mut self.copies {
            if !holdings.wal.iter().any(|wal| wal.cluster == cluster) {
                holdings.wal.push(HeldWal { cluster, segment_size: SIZE, files: vec![], parents: [].into() });
            }
            let wal = holdings.wal.iter_mut().find(|wal| wal.cluster == cluster).unwrap();
            wal.files.push(file);
        }
    }

    /// What happens in an hour. A copy that cannot be reached is completed later, and has it all the same.
    fn hour(&mut self) {
        self.now += TimeDelta::hours(1);
        if self.dice.one_in(24 * 60) {
            self.down_until = self.now + TimeDelta::hours(i64::try_from(self.dice.roll(24 * 3)).unwrap());
        }
        let copy = usize::try_from(self.dice.roll(2)).unwrap();
        if self.dice.one_in(24 * 30) {
            self.away[copy] = self.now + TimeDelta::hours(i64::try_from(self.dice.roll(24 * 20)).unwrap());
        }
        if self.dice.one_in(24 * 300) {
            // A region is gone, and begun again empty.
            self.copies[copy] = SourceHoldings::default();
            let cluster = self.cluster;
            let wal = HeldWal { cluster, segment_size: SIZE, files: vec![], parents: [].into() };
            self.copies[copy].wal.push(wal);
        }
        if self.down_until > self.now {
            return;
        }
        if self.dice.one_in(24 * 90) {
            self.promote();
        }
        if self.dice.one_in(24 * 400) {
            self.cluster = SystemIdentifier(self.cluster.0 + 1);
            (self.timeline, self.segment) = (1, 1000);
        }
        // Once in a while a segment is lost.
        self.segment += 1;
        if !self.dice.one_in(24 * 120) {
            self.archive(WalName::Segment(Segment::new(self.on(), self.segment, SIZE)));
        }
        let hour = self.now.format("%H").to_string();
        if hour == "03" && !self.dice.one_in(20) {
            self.take_base();
        }
        if hour.ends_with('5') && !self.dice.one_in(20) {
            let taken = HeldBackup { cluster: Some(self.cluster), ..dump(self.now) };
            self.store(taken);
        }
    }

    fn on(&self) -> Timeline {
        Timeline::new(self.timeline).unwrap()
    }

    fn promote(&mut self) {
        let parent = Ancestor { timeline: self.on(), until: SIZE.begin_of(self.segment + 1) };
        self.timeline += 1;
        let (timeline, cluster) = (self.on(), self.cluster);
        self.archive(WalName::History(timeline));
        for holdings in &mut self.copies {
            let wal = holdings.wal.iter_mut().find(|wal| wal.cluster == cluster).unwrap();
            wal.parents.insert(timeline, parent);
        }
    }

    /// A full one on Sundays, otherwise what changed since the one before.
    fn take_base(&mut self) {
        self.archive_one_more();
        let latest = self.copies[0].backups.iter().chain(&self.copies[1].backups).filter(|backup| {
            let is_own = |physical: &HeldPhysical| physical.timeline == self.on();
            backup.cluster == Some(self.cluster) && backup.physical.as_ref().is_some_and(is_own)
        });
        let parent = latest.max_by_key(|backup| backup.recovery_point).cloned();
        let is_full = self.now.format("%a").to_string() == "Sun";
        let mut backup = base(self.now, self.timeline, parent.as_ref().filter(|_| !is_full));
        backup.cluster = Some(self.cluster);
        if let Some(physical) = &mut backup.physical {
            physical.start = crate::model::Lsn(SIZE.begin_of(self.segment).0 + 40);
            physical.stop = crate::model::Lsn(physical.start.0 + 300);
        }
        self.store(backup);
    }

    fn archive_one_more(&mut self) {
        self.segment += 1;
        self.archive(WalName::Segment(Segment::new(self.on(), self.segment, SIZE)));
    }

    fn store(&mut self, backup: HeldBackup) {
        for copy in 0..2 {
            let has_parent = match backup.parent.as_ref() {
                Some(parent) => self.copies[copy].backups.iter().any(|held| held.id == *parent),
                None => true,
            };
            if has_parent {
                self.copies[copy].backups.push(backup.clone());
            }
        }
    }

    /// Applies retention in a copy that is reached; now and then it is stopped in the middle.
    fn retain(&mut self, copy: usize, rules: &Rules) -> SourcePlan {
        let before = self.copies[copy].clone();
        let plan = planned(&before, rules, self.now);
        assert!(
            plan.refusals.iter().all(|refusal| refusal.code != super::refusal::RefusalCode::ProofFailed),
            "{:?}",
            plan.refusals
        );
        self.removed += plan.removed().count() as u64;
        if !self.dice.one_in(10) {
            apply(&mut self.copies[copy], &plan);
            return plan;
        }
        self.stopped += 1;
        // Those that build on others go first, then the WAL, the oldest first.
        let going: Vec<BackupId> = plan.removed().map(|backup| backup.id.clone()).collect();
        let some = usize::try_from(self.dice.roll(going.len() as u64 + 1)).unwrap();
        let gone: BTreeSet<&BackupId> = going.iter().take(some).collect();
        self.copies[copy].backups.retain(|backup| !gone.contains(&backup.id));
        if some == going.len() {
            for wal in &mut self.copies[copy].wal {
                let rule = &plan.wal.iter().find(|plan| plan.cluster == wal.cluster).unwrap().rule;
                let mut left = self.dice.roll(400);
                wal.files.retain(|file| {
                    let goes = !rule.keeps(file) && left > 0;
                    left -= u64::from(goes);
                    !goes
                });
            }
        }
        plan
    }
}

#[test]
fn for_two_years_every_point_that_is_promised_can_be_restored_in_every_copy() {
    for seed in 1..3 {
        let mut world = World::new(seed);
        for hour in 0..24 * 730_u32 {
            world.hour();
            if hour % 24 != 6 {
                continue;
            }
            for copy in 0..2 {
                if !world.is_reached(copy) {
                    continue;
                }
                let plan = world.retain(copy, &RULES);
                check_day(&world, copy, &plan);
            }
        }
        assert!(world.removed > 1000 && world.stopped > 20, "{} {}", world.removed, world.stopped);
    }
}

/// `plan`: of what there was before it was applied.
fn check_day(world: &World, copy: usize, plan: &SourcePlan) {
    let now = world.now;
    let after = planned(&world.copies[copy], &RULES, now);
    // Whatever the rules keep of what was good is there, and good.
    for kind in [BackupKind::Logical, BackupKind::Base] {
        let good = |plan: &SourcePlan| -> Vec<DateTime<Utc>> {
            let of_kind = plan.backups.iter().filter(|backup| backup.id.kind() == kind && backup.is_good);
            of_kind.map(|backup| backup.recovery_point).collect()
        };
        let (was, is) = (good(plan), good(&after));
        let has = |at: &dyn Fn(&DateTime<Utc>) -> bool| (was.iter().any(at), is.iter().any(at));
        for days in 0..=30 {
            let date = (now - TimeDelta::days(days)).date_naive();
            let (had, has) = has(&|at: &DateTime<Utc>| at.date_naive() == date);
            assert!(!had || has, "{kind} of {date} at {now}");
        }
        for weeks in 0..=24 {
            let week = Period::Week.bucket(now - TimeDelta::weeks(weeks));
            let (had, has) = has(&|at: &DateTime<Utc>| Period::Week.bucket(*at) == week);
            assert!(!had || has, "{kind} of {week} at {now}");
        }
    }
    // Any time of the last seven days that could be recovered.
    for hours in 0..=7 * 24 {
        let at = now - TimeDelta::hours(hours);
        let can = |plan: &SourcePlan| plan.before.windows.iter().any(|window| window.contains(at));
        assert!(!can(plan) || can(&after), "{at} at {now}");
    }
    assert_eq!(after.before.newest(), plan.before.newest());
    // Nothing that no rule keeps is older than the longest of them and a day, but for what others build on, the floor,
    // and what belongs to a cluster that has too few.
    let limit = now - TimeDelta::days(185);
    for backup in after.backups.iter().filter(|backup| backup.recovery_point < limit && !backup.is_removed())
    {
        let codes: Vec<&str> = backup.reasons().iter().map(|reason| reason.code()).collect();
        let may = ["parent", "keep-last", "minimum-redundancy", "earlier-cluster", "newest", "pitr"];
        assert!(codes.iter().any(|code| may.contains(code)), "{} at {now}: {codes:?}", backup.id);
    }
}

/// Played forward from nothing.
fn played(
    rules: &Rules,
    kinds: Vec<SimulatedKind>,
    wal_an_hour: Option<u64>,
    days: i64,
) -> super::simulate::Simulated {
    let begin = time("2026-01-01T00:00:00Z");
    let simulation = Simulation {
        source: "database".parse().unwrap(),
        location: crate::model::Location::Repository("primary".parse().unwrap()),
        rules,
        holds: &[],
        start: SourceHoldings::default(),
        kinds,
        wal_an_hour,
        applied: (0..days).map(|day| begin + TimeDelta::days(day) + TimeDelta::minutes(380)).collect(),
    };
    simulate(simulation).unwrap()
}

fn every(kind: BackupKind, hours: i64, bytes: u64) -> SimulatedKind {
    let begin = time("2026-01-01T00:10:00Z");
    let times = (0..24 * 410 / hours).map(|n| begin + TimeDelta::hours(n * hours)).collect();
    SimulatedKind { kind, times, bytes, fails_one_in: None }
}

#[test]
fn storage_is_what_the_rules_imply() {
    let rules = Rules { pitr: None, ..RULES };
    let done = played(&rules, vec![every(BackupKind::Logical, 1, 1_000)], None, 400);
    let last = done.days.last().unwrap();
    assert_eq!(last.date.to_string(), "2027-02-04");
    // Thirty days and today's seven, and 26 weeks of which the last four are days, too.
    let weeks = (0..184).filter(|days| {
        let at = time("2027-02-04T00:10:00Z") - TimeDelta::days(*days);
        *days > 30 && at.format("%a").to_string() == "Mon"
    });
    assert_eq!(last.backups, 31 + 6 + weeks.count() as u64);
    assert_eq!(last.bytes, last.backups * 1_000);
    // From half a year on, every day is like the others.
    let steady: Vec<u64> = done.days.iter().skip(200).map(|day| day.backups).collect();
    let (least, most) = (steady.iter().min().unwrap(), steady.iter().max().unwrap());
    assert!(most - least <= 2, "{least} to {most}");
}

#[test]
fn the_window_is_always_as_long_as_it_is_promised_and_never_a_day_longer() {
    let kinds = vec![every(BackupKind::Base, 24, 50_000)];
    let done = played(&RULES, kinds, Some(100), 400);
    for day in done.days.iter().skip(8) {
        let now = day.date.and_hms_opt(6, 20, 0).unwrap().and_utc();
        let from = day.window_from.unwrap();
        assert!(now - from >= TimeDelta::days(7) && now - from < TimeDelta::days(8), "{day:?}");
        assert!(now - day.newest_point.unwrap() < TimeDelta::hours(2), "{day:?}");
    }
    // Seven to eight days of WAL, what 23 older dailies and the weeks need, and no more.
    let last = done.days.last().unwrap();
    assert!((170..24 * 8 + 60).contains(&last.wal_files), "{last:?}");
}

#[test]
fn a_backup_that_fails_leaves_its_day_empty_and_moves_no_other() {
    let mut hourly = every(BackupKind::Logical, 24, 1);
    hourly.fails_one_in = Some(7);
    let done = played(&Rules { pitr: None, ..RULES }, vec![hourly], None, 400);
    let days: BTreeSet<_> =
        done.last.backups.iter().filter(|b| !b.is_removed()).map(|b| b.recovery_point.date_naive()).collect();
    let last = done.days.last().unwrap().date;
    let missing = (0..30).filter(|n| !days.contains(&(last - TimeDelta::days(*n)))).count();
    assert!((3..=6).contains(&missing), "{missing} of 30 days are empty");
}

#[test]
fn a_wal_file_of_the_tests_is_where_its_time_is() {
    let held = wal(1, time("2026-01-01T00:00:00Z"), time("2026-01-03T00:00:00Z"));
    assert_eq!(held.files.len(), 8);
}
