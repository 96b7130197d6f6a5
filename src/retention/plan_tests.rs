//! What must be true of every plan, of random backups, WAL, rules and clocks; and the corner cases by name.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::holding::*;
use super::plan::{PlannedPolicy, plan};
use super::refusal::RefusalCode;
use super::source_plan::{Fate, SourceContext, SourcePlan, plan_source};
use crate::model::{
    Ancestor, AssuranceLevel, BackupId, BackupKind, Location, Lsn, RepositoryName, Segment, SegmentSize,
    SourceName, SystemIdentifier, Timeline, WalName,
};
use crate::policy::{CalendarSpan, CalendarUnit, Retention, Rules};
use crate::store::{LifecycleRemoval, LifecycleRule};

pub(super) const RULES: Rules = Rules {
    keep_last: 3,
    minimum_redundancy: 2,
    keep_within: None,
    daily: Some(CalendarSpan::new(30, CalendarUnit::Day)),
    weekly: Some(CalendarSpan::new(6, CalendarUnit::Month)),
    monthly: None,
    yearly: None,
    pitr: Some(Duration::from_secs(7 * 86_400)),
};

const SIZE: SegmentSize = SegmentSize::DEFAULT;
/// Seconds that a segment lasts.
const SEGMENT: i64 = 6 * 3600;

pub(super) fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn origin() -> DateTime<Utc> {
    time("2026-01-01T00:00:00Z")
}

fn source() -> SourceName {
    "database".parse().unwrap()
}

fn repository() -> Location {
    Location::Repository("primary".parse().unwrap())
}

pub(super) fn dump(at: DateTime<Utc>) -> HeldBackup {
    HeldBackup {
        id: BackupId::new(at, &source(), BackupKind::Logical, 7),
        recovery_point: at,
        bytes: 1000,
        level: AssuranceLevel::Stored,
        is_bad: false,
        cluster: None,
        major: Some(17),
        physical: None,
        parent: None,
        locked_until: None,
        cloud: None,
    }
}

/// Where the WAL was at a time.
fn lsn(at: DateTime<Utc>) -> Lsn {
    let since = (at - time("2020-01-01T00:00:00Z")).num_seconds();
    let bytes = i128::from(since) * i128::from(SIZE.bytes()) / i128::from(SEGMENT);
    Lsn(u64::try_from(bytes).unwrap())
}

pub(super) fn base(at: DateTime<Utc>, timeline: u32, parent: Option<&HeldBackup>) -> HeldBackup {
    HeldBackup {
        id: BackupId::new(at, &source(), BackupKind::Base, 7),
        bytes: if parent.is_some() { 100 } else { 5000 },
        cluster: Some(SystemIdentifier(7)),
        physical: Some(HeldPhysical {
            timeline: Timeline::new(timeline).unwrap(),
            start: lsn(at),
            stop: Lsn(lsn(at).0 + 300),
            segment_size: SIZE,
        }),
        parent: parent.map(|parent| parent.id.clone()),
        ..dump(at)
    }
}

fn segment(timeline: u32, number: u64) -> WalFile {
    let name = WalName::Segment(Segment::new(Timeline::new(timeline).unwrap(), number, SIZE));
    let ended =
        time("2020-01-01T00:00:00Z") + TimeDelta::seconds((i64::try_from(number).unwrap() + 1) * SEGMENT);
    WalFile { name, bytes: 16, modified: ended }
}

/// Every segment that was written between two times.
pub(super) fn wal(timeline: u32, from: DateTime<Utc>, until: DateTime<Utc>) -> HeldWal {
    let numbers = SIZE.number_of(lsn(from))..SIZE.number_of(lsn(until));
    HeldWal {
        cluster: SystemIdentifier(7),
        segment_size: SIZE,
        files: numbers.map(|number| segment(timeline, number)).collect(),
        parents: [].into(),
    }
}

pub(super) fn planned(holdings: &SourceHoldings, rules: &Rules, now: DateTime<Utc>) -> SourcePlan {
    held(holdings, rules, &[], now)
}

fn held(holdings: &SourceHoldings, rules: &Rules, holds: &[Hold], now: DateTime<Utc>) -> SourcePlan {
    let context = SourceContext { now, rules: Some(rules), holds, newest_within: &[], fates: None };
    plan_source(&source(), &repository(), holdings, context)
}

fn dumps(times: impl IntoIterator<Item = DateTime<Utc>>) -> SourceHoldings {
    SourceHoldings { backups: times.into_iter().map(dump).collect(), ..SourceHoldings::default() }
}

fn kept(plan: &SourcePlan) -> BTreeSet<BackupId> {
    plan.backups.iter().filter(|backup| !backup.is_removed()).map(|backup| backup.id.clone()).collect()
}

fn removed(plan: &SourcePlan) -> BTreeSet<BackupId> {
    plan.removed().map(|backup| backup.id.clone()).collect()
}

/// What is left after the plan was carried out.
pub(super) fn applied(holdings: &SourceHoldings, plan: &SourcePlan) -> SourceHoldings {
    let kept = kept(plan);
    let mut left = holdings.clone();
    left.backups.retain(|backup| kept.contains(&backup.id));
    for wal in &mut left.wal {
        let plan = plan.wal.iter().find(|plan| plan.cluster == wal.cluster).unwrap();
        wal.files.retain(|file| plan.rule.keeps(file));
    }
    left
}

fn reasons(plan: &SourcePlan, at: DateTime<Utc>) -> Vec<String> {
    let backup = plan.backups.iter().find(|backup| backup.recovery_point == at).unwrap();
    match &backup.fate {
        Fate::Keep(reasons) => reasons.iter().map(ToString::to_string).collect(),
        Fate::Remove(reason) => vec![format!("removed: {reason}")],
    }
}

fn hours(from: &str, count: i64, step: i64) -> Vec<DateTime<Utc>> {
    (0..count).map(|n| time(from) + TimeDelta::hours(n * step)).collect()
}

#[test]
fn every_backup_says_why_it_stays_or_what_stays_for_it() {
    let now = time("2026-11-20T06:20:00Z");
    let plan = planned(&dumps(hours("2026-11-01T00:30:00Z", 19 * 24 + 6, 1)), &RULES, now);
    assert_eq!(reasons(&plan, time("2026-11-16T00:30:00Z")), ["daily 2026-11-16", "weekly 2026-W47"]);
    assert_eq!(
        reasons(&plan, time("2026-11-16T01:30:00Z")),
        ["removed: 20261116T003000Z-database-logical-2229 is kept for 2026-11-16"]
    );
    let newest = reasons(&plan, time("2026-11-20T05:30:00Z"));
    assert_eq!(
        newest,
        ["newest good backup", "keep_last 3", "minimum_redundancy 2", "2026-11-20 is not over"]
    );
    // All of today, one of each day before.
    assert_eq!(kept(&plan).len(), 6 + 19);
}

#[test]
fn a_week_is_kept_for_as_long_as_its_rule_and_a_week_of_the_number_of_a_month_is_not_mistaken_for_it() {
    // Weekly from 2 January on: weeks 1 to 12 have the numbers of months.
    let now = time("2026-06-20T06:00:00Z");
    let rules = Rules { monthly: Some(CalendarSpan::new(12, CalendarUnit::Month)), pitr: None, ..RULES };
    let plan = planned(&dumps(hours("2026-01-01T03:00:00Z", 170, 24)), &rules, now);
    let weeks: BTreeSet<String> = plan
        .backups
        .iter()
        .flat_map(|backup| backup.reasons().to_vec())
        .map(|reason| reason.to_string())
        .filter(|reason| reason.starts_with("weekly"))
        .collect();
    assert_eq!(weeks.len(), 25, "{weeks:?}");
    assert!(weeks.contains("weekly 2026-W01") && weeks.contains("weekly 2026-W02"));
}

#[test]
fn what_is_unverified_never_displaces_what_is_verified_and_bad_backups_stand_for_nothing() {
    let mut holdings = dumps(hours("2026-11-10T00:30:00Z", 24, 1));
    holdings.backups.extend(dumps(hours("2026-11-19T00:30:00Z", 4, 1)).backups);
    holdings.backups[0].is_bad = true;
    holdings.backups[5].level = AssuranceLevel::Checked;
    let now = time("2026-11-20T06:20:00Z");
    let plan = planned(&holdings, &RULES, now);
    assert_eq!(reasons(&plan, time("2026-11-10T05:30:00Z")), ["daily 2026-11-10", "weekly 2026-W46"]);
    holdings.backups[9].level = AssuranceLevel::Proven;
    let plan = planned(&holdings, &RULES, now);
    assert_eq!(reasons(&plan, time("2026-11-10T09:30:00Z")), ["daily 2026-11-10", "weekly 2026-W46"]);
    // Where all of a day are bad, one of them stays: it may still be repaired.
    holdings.backups.iter_mut().take(24).for_each(|backup| backup.is_bad = true);
    let plan = planned(&holdings, &RULES, now);
    assert_eq!(plan.backups.iter().filter(|backup| !backup.is_good && !backup.is_removed()).count(), 1);
}

#[test]
fn after_an_outage_of_forty_days_the_floor_is_what_is_left_and_nothing_is_removed_before_a_new_backup() {
    let holdings = dumps(hours("2026-09-01T03:00:00Z", 30, 24));
    let now = time("2026-11-09T06:00:00Z");
    let context = SourceContext {
        now,
        rules: Some(&RULES),
        holds: &[],
        newest_within: &[(BackupKind::Logical, Duration::from_secs(2 * 86_400))],
        fates: None,
    };
    let plan = plan_source(&source(), &repository(), &holdings, context);
    assert_eq!(plan.refusals[0].code, RefusalCode::NewestTooOld);
    // The floor, and the weeks.
    assert_eq!(kept(&plan).len(), 5 + 2, "{:?}", kept(&plan));
    assert!(kept(&plan).contains(&dump(time("2026-09-30T03:00:00Z")).id));
}

#[test]
fn what_is_dated_in_the_future_stays_and_counts_for_nothing() {
    let mut holdings = dumps(hours("2026-11-01T03:00:00Z", 5, 24));
    holdings.backups.push(dump(time("2029-01-01T00:00:00Z")));
    let rules = Rules { daily: None, weekly: None, pitr: None, keep_last: 1, minimum_redundancy: 1, ..RULES };
    let plan = planned(&holdings, &rules, time("2026-11-20T06:20:00Z"));
    assert_eq!(reasons(&plan, time("2029-01-01T00:00:00Z")), ["dated in the future"]);
    assert_eq!(
        reasons(&plan, time("2026-11-05T03:00:00Z")),
        ["newest good backup", "keep_last 1", "minimum_redundancy 1"]
    );
    assert_eq!(kept(&plan).len(), 2);
}

#[test]
fn a_hold_keeps_what_no_rule_does_until_it_ends() {
    let holdings = dumps(hours("2026-01-01T03:00:00Z", 300, 24));
    let hold = |on, until: Option<&str>| Hold {
        id: "h1".to_owned(),
        on,
        reason: "audit".to_owned(),
        by: "ann".to_owned(),
        placed: origin(),
        until: until.map(time),
    };
    let now = time("2026-11-20T06:20:00Z");
    let old = dump(time("2026-01-06T03:00:00Z"));
    let on_one = hold(HeldScope::Backup(old.id.clone()), None);
    let plan = held(&holdings, &RULES, std::slice::from_ref(&on_one), now);
    assert_eq!(reasons(&plan, old.recovery_point), ["hold h1: audit"]);
    let over = hold(HeldScope::Backup(old.id.clone()), Some("2026-11-19T00:00:00Z"));
    assert!(removed(&held(&holdings, &RULES, &[over], now)).contains(&old.id));
    let on_all = hold(HeldScope::Source(source()), Some("2026-12-01T00:00:00Z"));
    assert_eq!(removed(&held(&holdings, &RULES, &[on_all], now)).len(), 0);
}

#[test]
fn wal_goes_only_below_what_kept_base_backups_need_and_history_never() {
    let now = time("2026-11-20T06:00:00Z");
    let days = hours("2026-08-01T03:00:00Z", 111, 24);
    let mut held_wal = wal(1, time("2026-07-25T00:00:00Z"), now);
    held_wal.files.push(WalFile {
        name: WalName::History(Timeline::new(2).unwrap()),
        bytes: 1,
        modified: time("2025-01-01T00:00:00Z"),
    });
    let holdings = SourceHoldings {
        backups: days.iter().map(|at| base(*at, 1, None)).collect(),
        wal: vec![held_wal],
        ..SourceHoldings::default()
    };
    let plan = planned(&holdings, &RULES, now);
    assert_eq!(
        plan.refusals.iter().map(|refusal| refusal.code).collect::<Vec<_>>(),
        [RefusalCode::LargeShare]
    );
    let wal = &plan.wal[0];
    let keeps = |at: &str| wal.rule.keeps(&segment(1, SIZE.number_of(lsn(time(at)))));
    // The window begins with the newest base that is 7 days old: of the 13th at 3:00.
    assert_eq!(reasons(&plan, time("2026-11-13T03:00:00Z"))[1], "point-in-time recovery begins from it");
    assert!(!reasons(&plan, time("2026-11-12T03:00:00Z")).concat().contains("point-in-time"));
    assert!(keeps("2026-11-13T03:00:00Z") && keeps("2026-11-20T00:00:00Z"));
    assert!(!keeps("2026-11-12T13:00:00Z"));
    // A week's base is kept with what it needs and no more.
    assert_eq!(reasons(&plan, time("2026-08-03T03:00:00Z")), ["weekly 2026-W32"]);
    assert!(keeps("2026-08-03T03:00:00Z") && !keeps("2026-08-03T13:00:00Z"));
    assert!(!keeps("2026-07-26T00:00:00Z"));
    assert_eq!(plan.after.windows[0].until, plan.before.windows[0].until);
    assert_eq!(plan.after.windows[0].from, Some(time("2026-11-13T03:00:00Z")));
    let left = applied(&holdings, &plan);
    assert!(left.wal[0].files.iter().any(|file| matches!(file.name, WalName::History(_))));
    // Without a window all WAL from the oldest kept base on stays.
    let plan = planned(&holdings, &Rules { pitr: None, ..RULES }, now);
    let wal = &plan.wal[0];
    let keeps = |at: &str| wal.rule.keeps(&segment(1, SIZE.number_of(lsn(time(at)))));
    assert!(keeps("2026-08-03T13:00:00Z") && !keeps("2026-07-31T13:00:00Z"));
}

#[test]
fn after_a_failover_the_window_leads_over_the_fork_and_the_old_branch_stays_while_it_is_young() {
    let (now, fork) = (time("2026-11-20T06:00:00Z"), time("2026-11-17T12:00:00Z"));
    let mut held_wal = wal(1, time("2026-10-01T00:00:00Z"), time("2026-11-18T12:00:00Z"));
    held_wal.files.extend(wal(2, fork, now).files);
    let second = Timeline::new(2).unwrap();
    held_wal.files.push(WalFile { name: WalName::History(second), bytes: 1, modified: fork });
    held_wal.parents.insert(second, Ancestor { timeline: Timeline::FIRST, until: lsn(fork) });
    let mut backups: Vec<_> =
        hours("2026-10-02T03:00:00Z", 46, 24).iter().map(|at| base(*at, 1, None)).collect();
    backups.extend(hours("2026-11-18T03:00:00Z", 3, 24).iter().map(|at| base(*at, 2, None)));
    let holdings = SourceHoldings { backups, wal: vec![held_wal], ..SourceHoldings::default() };
    let plan = planned(&holdings, &RULES, now);
    let keeps =
        |timeline, at: &str| plan.wal[0].rule.keeps(&segment(timeline, SIZE.number_of(lsn(time(at)))));
    assert!(keeps(1, "2026-11-13T03:00:00Z") && keeps(1, "2026-11-18T06:00:00Z"));
    assert!(keeps(2, "2026-11-17T12:00:00Z") && !keeps(1, "2026-11-12T13:00:00Z"));
    assert_eq!(plan.after.windows[0].from, Some(time("2026-11-13T03:00:00Z")));
    // Ten days later the window begins on the new timeline, and the old branch is older than it.
    let later = now + TimeDelta::days(10);
    let mut holdings = holdings;
    holdings.wal[0].files.extend(wal(2, now, later).files);
    holdings.backups.extend(hours("2026-11-21T03:00:00Z", 10, 24).iter().map(|at| base(*at, 2, None)));
    let plan = planned(&holdings, &RULES, later);
    let keeps =
        |timeline, at: &str| plan.wal[0].rule.keeps(&segment(timeline, SIZE.number_of(lsn(time(at)))));
    assert!(
        !keeps(1, "2026-11-18T06:00:00Z")
            && !keeps(2, "2026-11-19T12:00:00Z")
            && keeps(2, "2026-11-23T03:00:00Z")
    );
    assert!(plan.wal[0].rule.keeps(&WalFile { name: WalName::History(second), bytes: 1, modified: fork }));
}

#[test]
fn a_gap_in_the_wal_keeps_the_base_behind_it_and_the_one_before_it() {
    let now = time("2026-11-20T06:00:00Z");
    let mut held_wal = wal(1, time("2026-10-01T00:00:00Z"), now);
    let lost = SIZE.number_of(lsn(time("2026-11-16T12:00:00Z")));
    held_wal.files.retain(|file| file.name.as_segment() != segment(1, lost).name.as_segment());
    let backups = hours("2026-10-02T03:00:00Z", 50, 24).iter().map(|at| base(*at, 1, None)).collect();
    let holdings = SourceHoldings { backups, wal: vec![held_wal], ..SourceHoldings::default() };
    let rules = Rules { daily: None, weekly: None, keep_last: 1, minimum_redundancy: 1, ..RULES };
    let plan = planned(&holdings, &rules, now);
    let kept: Vec<_> =
        plan.backups.iter().filter(|backup| !backup.is_removed()).map(|b| b.recovery_point).collect();
    assert!(kept.contains(&time("2026-11-13T03:00:00Z")) && kept.contains(&time("2026-11-17T03:00:00Z")));
    assert_eq!(plan.after.windows.len(), 2);
    assert!(!kept.contains(&time("2026-11-12T03:00:00Z")));
}

#[test]
fn after_an_upgrade_the_backups_of_the_old_cluster_stay_until_the_new_one_has_enough() {
    let rules =
        Rules { daily: Some(CalendarSpan::new(2, CalendarUnit::Day)), weekly: None, pitr: None, ..RULES };
    let mut holdings = dumps(hours("2026-11-01T03:00:00Z", 10, 24));
    holdings.backups.iter_mut().for_each(|backup| backup.cluster = Some(SystemIdentifier(7)));
    let count = |holdings: &SourceHoldings, now: &str| {
        let plan = planned(holdings, &rules, time(now));
        let old = plan.backups.iter().filter(|backup| {
            let of = holdings.backups.iter().find(|held| held.id == backup.id).unwrap();
            !backup.is_removed() && of.cluster == Some(SystemIdentifier(7))
        });
        old.count()
    };
    let new = |at: &str| HeldBackup { cluster: Some(SystemIdentifier(8)), ..dump(time(at)) };
    holdings.backups.push(new("2026-11-18T03:00:00Z"));
    holdings.backups.push(new("2026-11-19T03:00:00Z"));
    assert_eq!(count(&holdings, "2026-11-20T06:00:00Z"), 3);
    holdings.backups.push(new("2026-11-20T03:00:00Z"));
    assert_eq!(count(&holdings, "2026-11-20T06:00:00Z"), 0);
}

#[test]
fn two_backups_of_one_instant_are_told_apart_and_one_stands_for_the_day() {
    let at = time("2026-11-10T03:00:00Z");
    let twin = HeldBackup { id: BackupId::new(at, &source(), BackupKind::Logical, 8), ..dump(at) };
    let mut holdings = dumps(hours("2026-11-17T03:00:00Z", 4, 24));
    holdings.backups.extend([dump(at), twin]);
    let plan = planned(&holdings, &RULES, time("2026-11-20T06:00:00Z"));
    assert_eq!(removed(&plan).len(), 1);
}

#[test]
fn a_source_that_is_not_in_the_policy_keeps_everything() {
    let holdings = dumps(hours("2025-01-01T03:00:00Z", 100, 24));
    let context = SourceContext { now: origin(), rules: None, holds: &[], newest_within: &[], fates: None };
    let plan = plan_source(&source(), &repository(), &holdings, context);
    assert!(!plan.removes_anything());
    assert_eq!(reasons(&plan, time("2025-01-01T03:00:00Z")), ["its source is not in the policy"]);
}

/// One backup of a random history.
#[derive(Clone, Debug)]
struct Taken {
    hour: i64,
    is_base: bool,
    /// Builds on the base before it.
    is_incremental: bool,
    is_bad: bool,
    level: u8,
}

fn taken() -> impl Strategy<Value = Taken> {
    let flags = (any::<bool>(), prop::bool::weighted(0.6), prop::bool::weighted(0.1), 0_u8..3);
    (0_i64..24 * 400, flags).prop_map(|(hour, (is_base, is_incremental, is_bad, level))| Taken {
        hour,
        is_base,
        is_incremental,
        is_bad,
        level,
    })
}

fn history() -> impl Strategy<Value = SourceHoldings> {
    // Days on which the server was promoted, days on which WAL was lost, and the day of an upgrade.
    let marks = (
        prop::collection::btree_set(0_i64..400, 0..4),
        prop::collection::btree_set(0_i64..400, 0..5),
        prop::option::weighted(0.3, 0_i64..400),
    );
    (prop::collection::vec(taken(), 0..70), marks).prop_map(|(mut all, (promotions, gaps, upgrade))| {
        all.sort_by_key(|taken| taken.hour);
        let at = |hour: i64| origin() + TimeDelta::hours(hour);
        let promotions: Vec<_> = promotions.into_iter().map(|day| at(24 * day)).collect();
        let upgrade = upgrade.map(|day| at(24 * day));
        let cluster =
            |time: DateTime<Utc>| SystemIdentifier(if upgrade.is_some_and(|at| time >= at) { 8 } else { 7 });
        let timeline = |time: DateTime<Utc>| {
            let before =
                |promoted: &&DateTime<Utc>| **promoted <= time && cluster(**promoted) == cluster(time);
            1 + u32::try_from(promotions.iter().filter(before).count()).unwrap()
        };
        let mut backups: Vec<HeldBackup> = Vec::new();
        for taken in all {
            let time = at(taken.hour) + TimeDelta::minutes(7);
            let parent = backups.iter().rfind(|b| b.physical.is_some() && b.cluster == Some(cluster(time)));
            let mut backup = match taken.is_base {
                true => base(
                    time,
                    timeline(time),
                    parent.filter(|p| taken.is_incremental && p.recovery_point < time),
                ),
                false => dump(time),
            };
            backup.cluster = Some(cluster(time));
            backup.is_bad = taken.is_bad;
            backup.level = [AssuranceLevel::Stored, AssuranceLevel::Checked, AssuranceLevel::Proven]
                [usize::from(taken.level)];
            if !backups.iter().any(|other| other.id == backup.id) {
                backups.push(backup);
            }
        }
        let mut archives: Vec<HeldWal> = Vec::new();
        let mut clock = origin();
        let mut last: Option<(SystemIdentifier, u32)> = None;
        while clock < at(24 * 400) {
            let (cluster, timeline) = (cluster(clock), timeline(clock));
            if archives.last().is_none_or(|wal| wal.cluster != cluster) {
                archives.push(HeldWal { cluster, segment_size: SIZE, files: vec![], parents: [].into() });
                last = None;
            }
            let wal = archives.last_mut().unwrap();
            if last.is_some_and(|(_, before)| before < timeline) {
                let now = Timeline::new(timeline).unwrap();
                let until = lsn(clock);
                wal.parents.insert(now, Ancestor { timeline: Timeline::new(timeline - 1).unwrap(), until });
                wal.files.push(WalFile { name: WalName::History(now), bytes: 1, modified: clock });
            }
            last = Some((cluster, timeline));
            if !gaps.iter().any(|day| at(24 * day) == clock) {
                wal.files.push(segment(timeline, SIZE.number_of(lsn(clock))));
            }
            clock += TimeDelta::seconds(SEGMENT);
        }
        SourceHoldings { backups, wal: archives, ..SourceHoldings::default() }
    })
}

fn spans() -> impl Strategy<Value = Option<CalendarSpan>> {
    let unit = prop_oneof![
        Just(CalendarUnit::Hour),
        Just(CalendarUnit::Day),
        Just(CalendarUnit::Week),
        Just(CalendarUnit::Month),
        Just(CalendarUnit::Year)
    ];
    prop::option::of((1_u32..40, unit).prop_map(|(count, unit)| CalendarSpan::new(count, unit)))
}

fn rules() -> impl Strategy<Value = Rules> {
    let floor = (1_u32..6, 1_u32..4);
    let pitr = prop::option::of((1_u64..40).prop_map(|days| Duration::from_secs(days * 86_400)));
    (floor, spans(), spans(), spans(), spans(), spans(), pitr).prop_map(
        |((keep_last, minimum_redundancy), keep_within, daily, weekly, monthly, yearly, pitr)| Rules {
            keep_last,
            minimum_redundancy,
            keep_within,
            daily,
            weekly,
            monthly,
            yearly,
            pitr,
        },
    )
}

/// From before the first backup to years after the last.
fn clocks() -> impl Strategy<Value = DateTime<Utc>> {
    (-24 * 40_i64..24 * 1200).prop_map(|hour| origin() + TimeDelta::hours(hour))
}

fn longer(span: Option<CalendarSpan>, by: u32) -> Option<CalendarSpan> {
    span.map(|span| CalendarSpan { count: span.count + by, ..span })
}

fn removed_wal(plan: &SourcePlan, holdings: &SourceHoldings) -> BTreeSet<String> {
    let mut removed = BTreeSet::new();
    for wal in &holdings.wal {
        let rule = &plan.wal.iter().find(|plan| plan.cluster == wal.cluster).unwrap().rule;
        let gone = wal.files.iter().filter(|file| !rule.keeps(file));
        removed.extend(gone.map(|file| format!("{} {}", wal.cluster, file.name)));
    }
    removed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn kept_and_removed_are_everything_and_the_order_does_not_matter(
        holdings in history(), rules in rules(), now in clocks(), seed in any::<u64>()
    ) {
        let plan = planned(&holdings, &rules, now);
        let all: BTreeSet<BackupId> = holdings.backups.iter().map(|backup| backup.id.clone()).collect();
        prop_assert_eq!(plan.backups.len(), all.len());
        prop_assert!(kept(&plan).is_disjoint(&removed(&plan)));
        prop_assert_eq!(kept(&plan).union(&removed(&plan)).cloned().collect::<BTreeSet<_>>(), all);
        prop_assert!(plan.backups.iter().all(|backup| backup.is_removed() || !backup.reasons().is_empty()));
        let mut shuffled = holdings.clone();
        let key = |n: usize| (n as u64).wrapping_mul(seed | 1).rotate_left(17);
        let mut order: Vec<usize> = (0..shuffled.backups.len()).collect();
        order.sort_by_key(|n| key(*n));
        shuffled.backups = order.iter().map(|n| holdings.backups[*n].clone()).collect();
        shuffled.wal.iter_mut().for_each(|wal| wal.files.reverse());
        prop_assert_eq!(planned(&shuffled, &rules, now), plan);
    }

    #[test]
    fn a_longer_rule_never_removes_more(
        holdings in history(), rules in rules(), now in clocks(), which in 0_usize..8, by in 1_u32..60
    ) {
        let mut more = rules;
        match which {
            0 => more.keep_within = longer(rules.keep_within, by),
            1 => more.daily = longer(rules.daily, by),
            2 => more.weekly = longer(rules.weekly, by),
            3 => more.monthly = longer(rules.monthly, by),
            4 => more.yearly = longer(rules.yearly, by),
            5 => more.keep_last += by,
            6 => more.minimum_redundancy += by,
            _ => more.pitr = rules.pitr.map(|pitr| pitr + Duration::from_secs(u64::from(by) * 86_400)),
        }
        let (less, more) = (planned(&holdings, &rules, now), planned(&holdings, &more, now));
        prop_assert!(removed(&more).is_subset(&removed(&less)), "{:?}", removed(&more).difference(&removed(&less)));
        let (gone, before) = (removed_wal(&more, &holdings), removed_wal(&less, &holdings));
        prop_assert!(gone.is_subset(&before), "{:?}", gone.difference(&before).next());
    }

    #[test]
    fn what_a_kept_backup_builds_on_stays_and_nothing_good_becomes_useless(
        holdings in history(), rules in rules(), now in clocks()
    ) {
        let plan = planned(&holdings, &rules, now);
        let (kept, removed) = (kept(&plan), removed(&plan));
        for backup in plan.backups.iter().filter(|backup| kept.contains(&backup.id)) {
            prop_assert!(backup.parent.as_ref().is_none_or(|parent| !removed.contains(parent)));
            prop_assert!(!plan.before.good.contains(&backup.id) || plan.after.good.contains(&backup.id));
        }
        let failed = plan.refusals.iter().find(|refusal| refusal.code == RefusalCode::ProofFailed);
        prop_assert!(failed.is_none(), "{failed:?}");
    }

    #[test]
    fn the_newest_good_backup_and_the_floor_survive_any_rule_and_any_clock(
        holdings in history(), rules in rules(), now in clocks()
    ) {
        let plan = planned(&holdings, &rules, now);
        for kind in [BackupKind::Logical, BackupKind::Base] {
            let good: Vec<_> = plan.backups.iter().filter(|b| b.id.kind() == kind && b.is_good).collect();
            // Of one instant either may be called the newest.
            let newest = good.iter().map(|backup| backup.recovery_point).max();
            let stays = |b: &&&super::source_plan::PlannedBackup| !b.is_removed();
            prop_assert_eq!(good.iter().filter(stays).map(|backup| backup.recovery_point).max(), newest);
            let floor = good.len().min(rules.keep_last as usize);
            prop_assert!(good.iter().filter(stays).count() >= floor);
            let whole = || good.iter().filter(|backup| backup.parent.is_none());
            let floor = whole().count().min(rules.minimum_redundancy as usize);
            prop_assert!(whole().filter(stays).count() >= floor);
        }
        prop_assert_eq!(plan.after.newest(), plan.before.newest());
    }

    #[test]
    fn after_it_was_applied_there_is_nothing_left_to_remove(
        holdings in history(), rules in rules(), now in clocks()
    ) {
        let plan = planned(&holdings, &rules, now);
        let left = applied(&holdings, &plan);
        let again = planned(&left, &rules, now);
        prop_assert!(!again.removes_anything(), "{:?} {:?}", removed(&again), again.wal);
        prop_assert_eq!(&again.before.windows, &plan.after.windows);
        prop_assert_eq!(&again.before.good, &plan.after.good);
    }

    #[test]
    fn every_time_in_the_window_that_could_be_recovered_still_can(
        holdings in history(), rules in rules(), now in clocks(), ago in 0_i64..40 * 24
    ) {
        let plan = planned(&holdings, &rules, now);
        let at = now - TimeDelta::hours(ago);
        let Some(pitr) = rules.pitr else { return Ok(()) };
        if now - at > TimeDelta::from_std(pitr).unwrap() {
            return Ok(());
        }
        let can = |windows: &[crate::recoverability::window::RecoveryWindow]| windows.iter().any(|w| w.contains(at));
        prop_assert!(!can(&plan.before.windows) || can(&plan.after.windows), "{at}");
    }
}

#[test]
fn a_rule_of_the_bucket_blocks_as_far_as_it_reaches_what_drctl_writes() {
    let retention = Retention { rules: RULES, sources: vec![], copies: vec![] };
    let (system, sources) = ("shop".parse().unwrap(), vec![(source(), vec![])]);
    let policy = PlannedPolicy { system: &system, retention: &retention, sources, locks: vec![] };
    let codes = |is_partial, is_of_tags| -> Vec<RefusalCode> {
        let removes = LifecycleRemoval::Objects { days: 30 };
        let (id, prefix) = ("tidy".to_owned(), String::new());
        let rule = LifecycleRule { id, prefix, is_partial, is_of_tags, removes };
        let name: RepositoryName = "primary".parse().unwrap();
        let empty = RepositoryHoldings { name: name.clone(), sources: [].into(), refusals: vec![] };
        let survey = RetentionSurvey {
            repositories: vec![empty],
            lifecycle: [(name, vec![rule])].into(),
            ..RetentionSurvey::default()
        };
        let made = plan(&policy, &survey, origin());
        made.repositories[0].1.iter().map(|refusal| refusal.code).collect()
    };
    assert_eq!(codes(false, false), [RefusalCode::LifecycleRemoves]);
    let of_sizes = codes(true, false);
    assert_eq!(of_sizes, [RefusalCode::LifecycleShortens]);
    assert!(of_sizes[0].can_be_confirmed());
    assert_eq!(codes(true, true), [], "drctl gives no tags");
}
