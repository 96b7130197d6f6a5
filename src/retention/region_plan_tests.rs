//! What AWS keeps, planned as everything else is: by region, with the manifests that go last.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::holding::*;
use super::plan::{PlannedPolicy, RetentionPlan, plan};
use super::reason::KeepReason;
use super::refusal::{Refusal, RefusalCode};
use super::source_plan::{Fate, PlannedBackup, SourcePlan};
use crate::model::{AssuranceLevel, BackupId, BackupKind, CloudBackupCopy, Location, SourceName};
use crate::policy::{CalendarSpan, CalendarUnit, Retention, Rules};

const HOME: &str = "us-east-1";
const AWAY: &str = "us-west-2";
const RULES: Rules = Rules {
    keep_last: 3,
    minimum_redundancy: 2,
    keep_within: None,
    daily: Some(CalendarSpan::new(7, CalendarUnit::Day)),
    weekly: Some(CalendarSpan::new(4, CalendarUnit::Week)),
    monthly: None,
    yearly: None,
    pitr: None,
};

fn now() -> DateTime<Utc> {
    "2026-11-20T06:20:00Z".parse().unwrap()
}

fn source() -> SourceName {
    "instance".parse().unwrap()
}

fn id(days_ago: i64) -> BackupId {
    BackupId::new(now() - TimeDelta::days(days_ago), &source(), BackupKind::Snapshot, 7)
}

fn manifest(days_ago: i64) -> HeldBackup {
    HeldBackup {
        id: id(days_ago),
        recovery_point: now() - TimeDelta::days(days_ago),
        bytes: 10,
        level: AssuranceLevel::Stored,
        is_bad: false,
        cluster: None,
        major: None,
        physical: None,
        parent: None,
        locked_until: None,
        cloud: None,
    }
}

fn copy(region: &str, days_ago: i64, stays: Option<KeepReason>, is_there: bool) -> HeldBackup {
    let arn = format!("arn:aws:rds:{region}:123456789012:snapshot:s{days_ago}");
    let copy = CloudBackupCopy { region: region.to_owned(), arn, vault: None, kms_key: None };
    HeldBackup {
        is_bad: !is_there,
        bytes: 0,
        cloud: Some(HeldCloudCopy { copy, is_there, stays }),
        ..manifest(days_ago)
    }
}

fn region(name: &str, backups: Vec<HeldBackup>) -> RegionHoldings {
    RegionHoldings {
        source: source(),
        region: name.to_owned(),
        holdings: SourceHoldings { backups, ..SourceHoldings::default() },
        is_known: true,
        is_in_policy: true,
        removed: BTreeSet::new(),
        quota: None,
    }
}

/// One repository with all of the manifests, and these regions.
fn survey(manifests: impl IntoIterator<Item = i64>, regions: Vec<RegionHoldings>) -> RetentionSurvey {
    let backups = manifests.into_iter().map(manifest).collect();
    let holdings = SourceHoldings { backups, ..SourceHoldings::default() };
    let repository = RepositoryHoldings {
        name: "primary".parse().unwrap(),
        sources: BTreeMap::from([(source(), holdings)]),
        refusals: vec![],
    };
    RetentionSurvey { repositories: vec![repository], regions, ..RetentionSurvey::default() }
}

fn made(survey: &RetentionSurvey) -> RetentionPlan {
    let retention = Retention { rules: RULES, sources: vec![], copies: vec![] };
    let limit = (BackupKind::Snapshot, std::time::Duration::from_secs(2 * 86_400));
    let policy = PlannedPolicy {
        system: &"shop".parse().unwrap(),
        retention: &retention,
        sources: vec![(source(), vec![limit])],
        locks: vec![],
    };
    plan(&policy, survey, now())
}

fn of<'p>(plan: &'p RetentionPlan, location: &str) -> &'p SourcePlan {
    plan.sources.iter().find(|one| one.location.as_str() == location).unwrap()
}

fn removed(plan: &SourcePlan) -> BTreeSet<&BackupId> {
    plan.removed().map(|backup| &backup.id).collect()
}

fn one(plan: &SourcePlan, days_ago: i64) -> &PlannedBackup {
    plan.backups.iter().find(|backup| backup.id == id(days_ago)).unwrap()
}

fn reasons(plan: &SourcePlan, days_ago: i64) -> Vec<String> {
    one(plan, days_ago).reasons().iter().map(ToString::to_string).collect()
}

fn codes(plan: &SourcePlan) -> Vec<RefusalCode> {
    plan.refusals.iter().map(|one| one.code).collect()
}

fn everywhere(days: i64) -> Vec<RegionHoldings> {
    [HOME, AWAY].map(|name| region(name, (0..days).map(|day| copy(name, day, None, true)).collect())).into()
}

#[test]
fn the_rules_remove_snapshots_from_every_region_and_their_manifests_with_them() {
    let plan = made(&survey(0..40, everywhere(40)));
    let (home, away, primary) = (of(&plan, HOME), of(&plan, AWAY), of(&plan, "primary"));
    assert!(!removed(home).is_empty() && removed(home) == removed(away) && removed(home) == removed(primary));
    assert!(reasons(home, 0).contains(&"newest good backup".to_owned()));
    assert_eq!(reasons(home, 5), ["daily 2026-11-15"]);
    let Fate::Remove(why) = &one(home, 39).fate else { panic!("it stays") };
    assert_eq!(why.to_string(), "older than every rule");
    assert_eq!(reasons(primary, 0), ["its data stays in us-east-1 and us-west-2"]);
    // What a repository alone brings back is nothing, and each region proves itself.
    assert_eq!((primary.before.good_backups, home.before.good_backups), (0, 40));
    assert_eq!(home.after.good_backups, 40 - removed(home).len() as u64);
    assert_eq!(home.after.newest(), home.before.newest());
    // Someone has to have seen that so many go; that manifests go with them needs nothing more.
    assert_eq!(codes(home), [RefusalCode::LargeShare]);
    assert_eq!(codes(primary), []);
}

#[test]
fn a_region_has_a_floor_of_its_own_and_keeps_the_manifests_of_what_it_keeps() {
    // Copies failed but for three old ones.
    let away = [30, 35, 38].map(|day| copy(AWAY, day, None, true));
    let home = (0..40).map(|day| copy(HOME, day, None, true)).collect();
    let plan = made(&survey(0..40, vec![region(HOME, home), region(AWAY, away.into())]));
    assert!(removed(of(&plan, AWAY)).is_empty());
    for day in [30, 35, 38] {
        assert!(removed(of(&plan, HOME)).contains(&id(day)), "{day}");
        assert_eq!(reasons(of(&plan, "primary"), day), ["its data stays in us-west-2"]);
    }
    assert!(removed(of(&plan, "primary")).contains(&id(39)));
}

#[test]
fn what_drctl_did_not_make_or_aws_is_working_on_stays_whatever_the_rules_say() {
    let mut regions = everywhere(40);
    let stays = [
        KeepReason::Foreign("its tags do not say that it is this backup".to_owned()),
        KeepReason::InProgress("copying".to_owned()),
        KeepReason::InUse("it is being copied to us-west-2".to_owned()),
    ];
    for (n, why) in stays.iter().enumerate() {
        let held = regions[0].holdings.backups.iter_mut().find(|held| held.id == id(30 + n as i64)).unwrap();
        held.cloud.as_mut().unwrap().stays = Some(why.clone());
    }
    let plan = made(&survey(0..40, regions));
    let told = ["drctl removes only what it made", "it is `copying` in AWS", "it is being copied"];
    for (n, why) in told.iter().enumerate() {
        let day = 30 + n as i64;
        assert!(reasons(of(&plan, HOME), day).iter().any(|reason| reason.contains(why)), "{why}");
        assert!(removed(of(&plan, AWAY)).contains(&id(day)));
        assert!(!removed(of(&plan, "primary")).contains(&id(day)), "{day}");
    }
}

#[test]
fn a_region_that_cannot_be_queried_keeps_everything_of_the_source_everywhere() {
    let mut regions = everywhere(40);
    let refusal = Refusal::new(RefusalCode::ListingIncomplete, "us-west-2 is silent", "later");
    regions[1] = RegionHoldings { is_known: false, ..region(AWAY, vec![]) };
    regions.iter_mut().for_each(|one| one.holdings.refusals.push(refusal.clone()));
    let plan = made(&survey(0..40, regions));
    let home = of(&plan, HOME);
    assert!(plan.refusals_of(home, true).any(|refusal| refusal.code == RefusalCode::ListingIncomplete));
    assert!(removed(of(&plan, "primary")).is_empty());
    assert_eq!(reasons(of(&plan, "primary"), 39), ["whether AWS still has its data is not known"]);
    // So does a manifest whose source was not surveyed at all.
    let plan = made(&survey(0..40, vec![]));
    assert!(removed(of(&plan, "primary")).is_empty());
}

#[test]
fn what_no_region_has_any_more_leaves_a_manifest_that_goes_too() {
    // A removal was stopped after the last region.
    let mut regions = everywhere(10);
    regions.iter_mut().for_each(|one| one.removed = [id(3)].into());
    regions.iter_mut().for_each(|one| one.holdings.backups.retain(|held| held.id != id(3)));
    // What vanished by itself counts for nothing, and goes when the rules end.
    for one in &mut regions {
        let name = one.region.clone();
        one.holdings.backups.push(copy(&name, 60, None, false));
        one.holdings.backups.retain(|held| held.id != id(1));
        one.holdings.backups.push(copy(&name, 1, None, false));
    }
    let plan = made(&survey((0..10).chain([60]), regions));
    let primary = of(&plan, "primary");
    let Fate::Remove(why) = &one(primary, 3).fate else { panic!("it stays") };
    assert_eq!(why.to_string(), "what it describes was removed from every region");
    assert!(removed(primary).contains(&id(60)) && !removed(primary).contains(&id(1)));
    assert!(!of(&plan, HOME).after.good.contains(&id(1)));
    // One region has it still: its manifest stays.
    let mut regions = everywhere(10);
    regions[0].removed = [id(3)].into();
    regions[0].holdings.backups.retain(|held| held.id != id(3));
    let plan = made(&survey(0..10, regions));
    assert_eq!(reasons(of(&plan, "primary"), 3), ["its data stays in us-west-2"]);
}

#[test]
fn a_hold_and_a_late_backup_count_in_regions_too() {
    let mut held = survey(0..40, everywhere(40));
    held.holds = vec![Hold {
        id: "h1".to_owned(),
        on: HeldScope::Backup(id(39)),
        reason: "audit".to_owned(),
        by: "ann".to_owned(),
        placed: now(),
        until: None,
    }];
    let plan = made(&held);
    for location in [HOME, AWAY, "primary"] {
        assert!(!removed(of(&plan, location)).contains(&id(39)), "{location}");
    }
    let mut old = everywhere(40);
    old.iter_mut()
        .for_each(|one| one.holdings.backups.retain(|held| held.recovery_point < now() - TimeDelta::days(5)));
    let plan = made(&survey(0..40, old.clone()));
    assert!(codes(of(&plan, HOME)).contains(&RefusalCode::NewestTooOld));
    // Where the policy has no backups made any more, none is late.
    old.iter_mut().for_each(|one| one.is_in_policy = false);
    let plan = made(&survey(0..40, old));
    assert!(!codes(of(&plan, HOME)).contains(&RefusalCode::NewestTooOld));
    assert!(!removed(of(&plan, HOME)).is_empty());
}

#[test]
fn snapshots_are_counted_against_the_quota() {
    let quota = |used| SnapshotQuota { used, most: 100 };
    assert!(quota(80).is_nearly_used_up(0) && !quota(80).is_nearly_used_up(1));
    assert!(quota(120).is_nearly_used_up(20) && !quota(0).is_nearly_used_up(5));
}

#[test]
fn without_a_repository_for_the_record_nothing_goes_from_a_region() {
    let mut blocked = survey(0..40, everywhere(40));
    blocked.repositories[0].refusals = vec![Refusal::new(RefusalCode::ReadOnly, "read only", "x")];
    let plan = made(&blocked);
    assert!(plan.refusals_of(of(&plan, HOME), true).any(|one| one.code == RefusalCode::ReadOnly));
    let mut second = blocked.repositories[0].clone();
    (second.name, second.refusals) = ("copy".parse().unwrap(), vec![]);
    blocked.repositories.push(second);
    let plan = made(&blocked);
    assert_eq!(plan.refusals_of(of(&plan, HOME), true).count(), 0);
}

/// What one region has of one day.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    Nothing,
    Good,
    Absent,
    Foreign,
    Tombstoned,
}

fn kept() -> impl Strategy<Value = Kept> {
    prop_oneof![
        6 => Just(Kept::Good),
        1 => Just(Kept::Nothing),
        1 => Just(Kept::Absent),
        1 => Just(Kept::Foreign),
        1 => Just(Kept::Tombstoned),
    ]
}

proptest! {
    #[test]
    fn no_plan_takes_a_floor_a_foreign_snapshot_or_a_manifest_that_finds_something(
        days in prop::collection::vec((kept(), kept()), 1..60),
        is_known in any::<bool>(),
    ) {
        let mut regions = vec![region(HOME, vec![]), region(AWAY, vec![])];
        for (day, both) in days.iter().enumerate() {
            for (one, what) in regions.iter_mut().zip([both.0, both.1]) {
                let (name, day) = (one.region.clone(), i64::try_from(day).unwrap());
                let foreign = Some(KeepReason::Foreign("x".to_owned()));
                match what {
                    Kept::Nothing => {}
                    Kept::Good => one.holdings.backups.push(copy(&name, day, None, true)),
                    Kept::Absent => one.holdings.backups.push(copy(&name, day, None, false)),
                    Kept::Foreign => one.holdings.backups.push(copy(&name, day, foreign, true)),
                    Kept::Tombstoned => drop(one.removed.insert(id(day))),
                }
            }
        }
        regions[1].is_known = is_known;
        let survey = survey(0..i64::try_from(days.len()).unwrap(), regions.clone());
        let plan = made(&survey);
        for one in &regions {
            let planned = of(&plan, &one.region);
            prop_assert_eq!(&planned.location, &Location::Region(one.region.clone()));
            for held in &one.holdings.backups {
                let is_foreign = held.cloud.as_ref().is_some_and(|cloud| cloud.stays.is_some());
                prop_assert!(!is_foreign || !removed(planned).contains(&held.id));
            }
            let good = |proof: &super::proof::Proof| proof.good_backups;
            prop_assert!(good(&planned.after) >= good(&planned.before).min(3));
            prop_assert_eq!(planned.after.newest(), planned.before.newest());
            prop_assert!(planned.refusals.iter().all(|refusal| refusal.code != RefusalCode::ProofFailed));
        }
        let primary = of(&plan, "primary");
        for going in removed(primary) {
            prop_assert!(is_known);
            for name in [HOME, AWAY] {
                let stays = of(&plan, name).backups.iter().any(|one| one.id == *going && !one.is_removed());
                prop_assert!(!stays, "{going} stays in {name}");
            }
        }
        // The order of what is given does not matter.
        let mut turned = survey.clone();
        turned.regions.iter_mut().for_each(|one| one.holdings.backups.reverse());
        prop_assert_eq!(made(&turned), plan);
    }
}
