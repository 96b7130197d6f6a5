//! Applying what a plan removes from the regions of AWS: throttled, locked, failed, stopped at every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::cloud::{CloudRemovalError, FoundCopy, RecordedCopy, RegionListing, RemovedCopy};
use super::*;
use crate::aws::{AwsFailure, FailureKind};
use crate::catalog::{Catalog, CatalogLocation, Depth, Filter, refresh};
use crate::event::Events;
use crate::model::{
    BackupId, BackupKind, CloudBackup, CloudBackupCopy, Manifest, Outcome, RunId, SourceName,
};
use crate::platform::{CancellationToken, Clock, FixedClock, SystemClock};
use crate::policy::{CalendarSpan, CalendarUnit, Retention, Rules};
use crate::repository::fixtures::{backup, system};
use crate::repository::journal::{self, Tombstones};
use crate::repository::{Repositories, Repository, layout, manifest};
use crate::run::RunContext;
use crate::store::testing::memory::MemoryStore;
use crate::store::{PutOptions, Store, list_all};

const REGIONS: [&str; 2] = ["us-east-1", "us-west-2"];
const RULES: Rules = Rules {
    keep_last: 2,
    minimum_redundancy: 1,
    keep_within: None,
    daily: Some(CalendarSpan::new(3, CalendarUnit::Day)),
    weekly: None,
    monthly: None,
    yearly: None,
    pitr: None,
};
const DAYS: i64 = 9;

fn source() -> SourceName {
    "database".parse().unwrap()
}

/// An account that the credentials do not lead to.
const OUT_OF_REACH: &str = "999999999999";

fn arn(region: &str, backup: &BackupId) -> String {
    format!("arn:aws:rds:{region}:123456789012:snapshot:{}", backup.as_str().to_lowercase())
}

/// What happens to deletions.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    Throttled,
    Denied,
    Locked,
    /// AWS takes its time.
    Begins,
    /// The host dies before it is deleted.
    Killed,
    /// The host dies once it is deleted.
    KilledAfter,
}

/// AWS, as far as it matters.
#[derive(Debug, Default)]
struct Aws {
    /// ARNs of what there is.
    there: BTreeSet<String>,
    /// What AWS is deleting.
    going: BTreeSet<String>,
    /// By the ARN it befalls, and how often.
    troubles: BTreeMap<String, (Trouble, usize)>,
    deleted: Vec<String>,
    calls: usize,
    silent: BTreeSet<String>,
    /// What copies to the second region are being made of.
    copied_from: Vec<String>,
    /// Regions that the policy does not name any more.
    dropped: BTreeSet<String>,
    /// Regions of whose copies it is denied to say what is there.
    denied: BTreeSet<String>,
    objections: BTreeMap<String, KeepReason>,
}

#[derive(Clone)]
struct FakeRegion {
    source: SourceName,
    region: &'static str,
    aws: Arc<Mutex<Aws>>,
    stores: [MemoryStore; 2],
    killed: CancellationToken,
}

impl FakeRegion {
    fn aws(&self) -> MutexGuard<'_, Aws> {
        self.aws.lock().unwrap()
    }

    /// Insists that every repository knows that it goes, and has its manifest still.
    async fn check_order(&self, going: RecordedCopy<'_>) {
        for store in &self.stores {
            let mut records = Vec::new();
            for run in journal::runs(store, &system()).await.unwrap() {
                records.push(journal::read(store, &system(), &run).await.unwrap().0);
            }
            let tombstones = Tombstones::new(&records);
            assert!(tombstones.has_cloud_copy(&going.manifest.id, &going.copy.arn), "no tombstone");
            let key = layout::manifest(&system(), &going.manifest.id);
            assert!(store.head(&key).await.unwrap().is_some(), "{key} went first");
        }
    }
}

fn failure(kind: FailureKind) -> CloudRemovalError {
    CloudRemovalError::Aws(AwsFailure {
        operation: "DeleteDBSnapshot",
        region: "us-east-1".to_owned(),
        kind,
        code: None,
        detail: "no".to_owned(),
    })
}

#[async_trait]
impl CloudRegion for FakeRegion {
    fn source(&self) -> &SourceName {
        &self.source
    }

    fn region(&self) -> &str {
        self.region
    }

    fn is_in_policy(&self) -> bool {
        !self.aws().dropped.contains(self.region)
    }

    fn would_list(&self, _copy: &CloudBackupCopy) -> bool {
        true
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(1)
    }

    async fn list(&self, manifests: &[&Manifest]) -> Result<RegionListing, CloudRemovalError> {
        let aws = self.aws();
        if aws.silent.contains(self.region) {
            return Err(failure(FailureKind::Unreachable));
        }
        let held = manifests.iter().flat_map(|manifest| {
            let held = manifest.managed.iter().flat_map(|managed| &managed.held);
            held.map(move |copy| (manifest.id.clone(), copy.clone()))
        });
        let there = held.filter(|(_, copy)| copy.region == self.region && aws.there.contains(&copy.arn));
        let found = there.map(|(backup, copy)| FoundCopy {
            backup,
            is_good: !aws.going.contains(&copy.arn),
            bytes: 0,
            stays: aws.going.contains(&copy.arn).then(|| KeepReason::InProgress("deleting".to_owned())),
            locked_until: None,
            copy,
        });
        let is_target = self.region == REGIONS[1];
        let copied_from = if is_target { aws.copied_from.clone() } else { vec![] };
        if aws.denied.contains(self.region) {
            let recorded = super::cloud::recorded_copies(manifests, self.region);
            let unseen = recorded.map(|copy| (copy.arn.clone(), "AccessDenied".to_owned())).collect();
            let left = LeftAlone {
                what: "vault old".to_owned(),
                why: "AccessDenied".to_owned(),
                is_in_policy: !aws.dropped.contains(self.region),
            };
            return Ok(RegionListing { unseen, left: vec![left], ..RegionListing::default() });
        }
        Ok(RegionListing { copies: found.collect(), copied_from, ..RegionListing::default() })
    }

    async fn objections(
        &self,
        going: &[RecordedCopy<'_>],
    ) -> Result<BTreeMap<BackupId, KeepReason>, CloudRemovalError> {
        let aws = self.aws();
        let objection = |one: &RecordedCopy<'_>| {
            Some((one.manifest.id.clone(), aws.objections.get(&one.copy.arn)?.clone()))
        };
        Ok(going.iter().filter_map(objection).collect())
    }

    async fn remove(&self, going: RecordedCopy<'_>) -> Result<RemovedCopy, CloudRemovalError> {
        self.check_order(going).await;
        let arn = &going.copy.arn;
        let trouble = {
            let mut aws = self.aws();
            aws.calls += 1;
            let trouble = aws.troubles.get_mut(arn).filter(|(_, times)| *times > 0);
            trouble.map(|(trouble, times)| {
                *times -= 1;
                *trouble
            })
        };
        match trouble {
            Some(Trouble::Throttled) => return Err(failure(FailureKind::Throttled)),
            Some(Trouble::Denied) => return Err(failure(FailureKind::Forbidden)),
            Some(Trouble::Locked) => return Ok(RemovedCopy::Locked(None)),
            Some(Trouble::Begins) => {
                self.aws().going.insert(arn.clone());
                return Ok(RemovedCopy::Begun);
            }
            Some(Trouble::Killed) => {
                self.killed.cancel();
                std::future::pending::<()>().await;
            }
            Some(Trouble::KilledAfter) | None => {}
        }
        {
            let mut aws = self.aws();
            aws.there.remove(arn);
            aws.deleted.push(arn.clone());
        }
        if trouble == Some(Trouble::KilledAfter) {
            self.killed.cancel();
            std::future::pending::<()>().await;
        }
        Ok(RemovedCopy::Gone)
    }
}

/// Two repositories in memory and two regions, with a snapshot of each of the last days.
struct World {
    now: DateTime<Utc>,
    stores: [MemoryStore; 2],
    aws: Arc<Mutex<Aws>>,
    runs: AtomicI64,
    /// The day of a backup whose snapshots are in another account.
    elsewhere: Option<i64>,
}

impl World {
    async fn new() -> Self {
        Self::of(None).await
    }

    async fn of(elsewhere: Option<i64>) -> Self {
        let world = Self {
            now: SystemClock.now(),
            stores: [MemoryStore::new("primary"), MemoryStore::new("copy")],
            aws: Arc::default(),
            runs: AtomicI64::new(0),
            elsewhere,
        };
        let repositories =
            Repositories::new(world.repositories()).for_writing(&system(), None, world.now).await.unwrap();
        let repository_id = repositories.id().unwrap().to_owned();
        for day in 0..DAYS {
            let taken = Manifest { repository_id: repository_id.clone(), ..world.manifest(day) };
            let held = taken.managed.iter().flat_map(|managed| &managed.held);
            let in_reach = held.filter(|copy| !copy.arn.contains(OUT_OF_REACH));
            world.aws().there.extend(in_reach.map(|copy| copy.arn.clone()));
            for store in &world.stores {
                for object in taken.artifacts.iter().flat_map(|artifact| &artifact.objects) {
                    let body = "x".repeat(usize::try_from(object.stored.size).unwrap());
                    let key = layout::object(&system(), &taken.id, &object.name);
                    store.put(&key, body.into(), &PutOptions::absent()).await.unwrap();
                }
                let bytes = manifest::serialise(&taken).unwrap();
                manifest::commit(store, &system(), &taken.id, bytes, &PutOptions::default()).await.unwrap();
            }
        }
        world
    }

    fn id(&self, days_ago: i64) -> BackupId {
        let at = self.now - TimeDelta::days(days_ago) - TimeDelta::hours(1);
        BackupId::new(at, &source(), BackupKind::Snapshot, 31)
    }

    fn manifest(&self, days_ago: i64) -> Manifest {
        let mut taken = backup(0).0;
        taken.id = self.id(days_ago);
        let at = taken.id.begun();
        (taken.kind, taken.run) = (BackupKind::Snapshot, RunId::new(at, 1));
        (taken.recovery_point, taken.begun, taken.ended) = (at, at, at);
        let held = REGIONS.map(|region| CloudBackupCopy {
            region: region.to_owned(),
            arn: match self.elsewhere == Some(days_ago) {
                true => arn(region, &taken.id).replace("123456789012", OUT_OF_REACH),
                false => arn(region, &taken.id),
            },
            vault: None,
            kms_key: None,
        });
        taken.managed = Some(CloudBackup {
            resource: "arn:aws:rds:us-east-1:123456789012:db:shop".to_owned(),
            resource_id: None,
            encrypted: true,
            plan: None,
            allocated_gib: None,
            held: held.into(),
        });
        taken
    }

    fn aws(&self) -> MutexGuard<'_, Aws> {
        self.aws.lock().unwrap()
    }

    fn befall(&self, region: usize, days_ago: i64, trouble: Trouble, times: usize) {
        let arn = arn(REGIONS[region], &self.id(days_ago));
        self.aws().troubles.insert(arn, (trouble, times));
    }

    fn repositories(&self) -> Vec<Repository> {
        let open = |(name, store): (&str, &MemoryStore)| Repository {
            name: name.parse().unwrap(),
            store: Arc::new(store.clone()),
        };
        ["primary", "copy"].into_iter().zip(&self.stores).map(open).collect()
    }

    /// Surveys, plans and applies. `None`: it was killed.
    async fn apply(&self) -> Option<ApplyReport> {
        let killed = CancellationToken::new();
        tokio::select! {
            biased;
            () = killed.cancelled() => None,
            report = self.apply_until(&killed) => Some(report),
        }
    }

    async fn apply_until(&self, killed: &CancellationToken) -> ApplyReport {
        let repositories = Repositories::new(self.repositories()).for_reading(&system(), None).await;
        let catalog = Catalog::open(&CatalogLocation::Memory, &system()).await.unwrap();
        let catalog = catalog.of_repository(repositories.id());
        let refreshed = refresh(&catalog, &system(), &repositories, Depth::New, self.now).await.unwrap();
        let entries = catalog.backups(&Filter::default()).await.unwrap();
        let runs = catalog.runs(None).await.unwrap();
        let clock: Arc<dyn Clock> =
            Arc::new(FixedClock::at(self.now + TimeDelta::seconds(self.runs.fetch_add(1, SeqCst))));
        let cancel = CancellationToken::new();
        let run = RunContext::begin(system(), repositories, Some(catalog), clock, Events::default(), cancel);
        let unknown_records = &refreshed.unknown_records;
        let known = KnownBackups { entries: &entries, runs: &runs, refused: &[], unknown_records };
        let names = ["primary", "copy"].map(|name| name.parse().unwrap());
        let mut surveyed = survey(&run.repositories, &names, &system(), known, &run.id, self.now).await;
        let access = REGIONS.map(|region| -> Box<dyn CloudRegion> {
            let (aws, stores) = (Arc::clone(&self.aws), self.stores.clone());
            Box::new(FakeRegion { source: source(), region, aws, stores, killed: killed.clone() })
        });
        surveyed.survey.regions = survey_regions(&access, &entries, &runs).await;
        let retention = Retention { rules: RULES, sources: vec![], copies: vec![] };
        let policy = PlannedPolicy {
            system: &system(),
            retention: &retention,
            sources: vec![(source(), vec![])],
            locks: vec![],
        };
        let mut made = plan(&policy, &surveyed.survey, self.now);
        if inspect_removals(&access, &entries, &made, &mut surveyed.survey).await {
            made = plan(&policy, &surveyed.survey, self.now);
        }
        let leased = BTreeSet::from([source()]);
        let parts = ApplyParts {
            surveyed: &surveyed,
            entries: &entries,
            regions: &access,
            leased: &leased,
            is_confirmed: true,
        };
        let report = execute(&run, &made, parts).await;
        run.close().await;
        report
    }

    /// Which days have a manifest in a repository.
    async fn manifests(&self, store: usize) -> Vec<i64> {
        let keys = list_all(&self.stores[store], "").await.unwrap();
        let ids: BTreeSet<BackupId> =
            keys.iter().filter_map(|object| layout::parse_manifest(&object.key)).collect();
        (0..DAYS).filter(|day| ids.contains(&self.id(*day))).collect()
    }

    /// Which days have a snapshot in a region.
    fn snapshots(&self, region: usize) -> Vec<i64> {
        let aws = self.aws();
        (0..DAYS).filter(|day| aws.there.contains(&arn(REGIONS[region], &self.id(*day)))).collect()
    }

    async fn everything(&self) -> [Vec<i64>; 4] {
        let [primary, copy] = [self.manifests(0).await, self.manifests(1).await];
        [primary, copy, self.snapshots(0), self.snapshots(1)]
    }
}

/// What of the days no rule removes.
const STAYS: [i64; 4] = [0, 1, 2, 3];

#[tokio::test]
async fn snapshots_go_from_every_region_then_their_manifests_and_nothing_is_left_to_do() {
    let world = World::new().await;
    let report = world.apply().await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    let [primary, copy, home, away] = world.everything().await;
    assert!(primary == copy && primary == home && primary == away, "{primary:?} {home:?}");
    assert!(primary.len() < 6 && primary.starts_with(&STAYS[..3]), "{primary:?}");
    let again = world.apply().await.unwrap();
    assert!(again.is_complete() && !again.removed_anything(), "{again:?}");
}

#[tokio::test]
async fn stopped_before_or_after_any_deletion_the_next_run_completes_it() {
    let whole = World::new().await;
    whole.apply().await.unwrap();
    let end = whole.everything().await;
    let mut killed = 0;
    for trouble in [Trouble::Killed, Trouble::KilledAfter] {
        for region in [0, 1] {
            for day in 0..DAYS {
                let world = World::new().await;
                world.befall(region, day, trouble, 1);
                let report = world.apply().await;
                if report.is_some() {
                    // It was not to go.
                    assert!(end[0].contains(&day), "{day}");
                    continue;
                }
                killed += 1;
                assert_eq!(world.manifests(0).await.len(), DAYS as usize, "no manifest goes before");
                let again = world.apply().await.unwrap();
                assert!(again.is_complete(), "{trouble:?} {day}: {again:?}");
                assert_eq!(world.everything().await, end, "{trouble:?} in {region} of {day}");
            }
        }
    }
    assert!(killed > 12, "{killed}");
}

#[tokio::test]
async fn one_that_fails_keeps_its_manifest_and_holds_up_nothing_else() {
    let world = World::new().await;
    world.befall(1, 7, Trouble::Denied, usize::MAX);
    let report = world.apply().await.unwrap();
    let [failed] = &report.failed[..] else { panic!("{report:?}") };
    assert!(failed.is_denied && failed.what == world.id(7).to_string(), "{failed:?}");
    assert_eq!(failed.location.as_str(), "us-west-2");
    assert!(!report.is_complete() && report.removed_anything());
    let [primary, _, home, away] = world.everything().await;
    assert!(!home.contains(&7) && away.contains(&7) && primary.contains(&7), "{primary:?}");
    assert!(!primary.contains(&8) && !primary.contains(&6), "{primary:?}");
    world.aws().troubles.clear();
    assert!(world.apply().await.unwrap().is_complete());
    assert!(!world.manifests(0).await.contains(&7));
}

#[tokio::test]
async fn what_is_throttled_is_tried_again_and_then_left_for_the_next_run() {
    let world = World::new().await;
    world.befall(0, 8, Trouble::Throttled, 2);
    assert!(world.apply().await.unwrap().is_complete());
    let world = World::new().await;
    world.befall(0, 8, Trouble::Throttled, usize::MAX);
    let report = world.apply().await.unwrap();
    let [failed] = &report.failed[..] else { panic!("{report:?}") };
    assert!(failed.what.ends_with("backups of database") && !failed.is_denied, "{failed:?}");
    // The other region is not throttled; in this one nothing more was asked for.
    assert_eq!(world.snapshots(0).len(), DAYS as usize);
    assert!(world.snapshots(1).len() < 6);
    assert_eq!(world.manifests(0).await.len(), DAYS as usize);
    world.aws().troubles.clear();
    assert!(world.apply().await.unwrap().is_complete());
    assert_eq!(world.snapshots(0), world.snapshots(1));
}

#[tokio::test]
async fn a_lock_is_no_failure_and_what_aws_is_still_deleting_keeps_its_manifest() {
    let world = World::new().await;
    world.befall(0, 8, Trouble::Locked, 1);
    world.befall(1, 7, Trouble::Begins, 1);
    let report = world.apply().await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.locked.iter().map(|one| &one.backup).collect::<Vec<_>>(), [&world.id(8)]);
    assert_eq!(report.deleting.iter().map(|one| &one.backup).collect::<Vec<_>>(), [&world.id(7)]);
    let manifests = world.manifests(0).await;
    assert!(manifests.contains(&8) && manifests.contains(&7), "{manifests:?}");
    // AWS is done with it.
    let gone = arn(REGIONS[1], &world.id(7));
    world.aws().there.remove(&gone);
    world.aws().going.clear();
    assert!(world.apply().await.unwrap().is_complete());
    let manifests = world.manifests(0).await;
    assert!(!manifests.contains(&8) && !manifests.contains(&7), "{manifests:?}");
}

#[tokio::test]
async fn what_a_second_look_objects_to_stays_and_a_silent_region_stops_the_source() {
    let world = World::new().await;
    let shared = arn(REGIONS[0], &world.id(8));
    world.aws().objections.insert(shared.clone(), KeepReason::InUse("it is shared".to_owned()));
    let report = world.apply().await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert!(world.aws().there.contains(&shared) && world.manifests(0).await.contains(&8));
    assert!(!world.snapshots(1).contains(&8));

    let world = World::new().await;
    world.aws().silent.insert("us-west-2".to_owned());
    let report = world.apply().await.unwrap();
    assert!(!report.is_complete() && !report.removed_anything(), "{report:?}");
    assert_eq!(report.skipped.iter().map(|one| one.location.as_str()).collect::<Vec<_>>(), ["us-west-2"]);
    assert_eq!(report.refused.iter().map(|one| one.location.as_str()).collect::<Vec<_>>(), ["us-east-1"]);
    assert_eq!(world.aws().calls, 0);
    assert_eq!(world.snapshots(0).len(), DAYS as usize);
}

#[tokio::test]
async fn the_record_names_what_went_and_is_no_success_where_something_failed() {
    let world = World::new().await;
    world.befall(0, 8, Trouble::Denied, 1);
    world.apply().await.unwrap();
    let store = &world.stores[0];
    let mut records = Vec::new();
    for run in journal::runs(store, &system()).await.unwrap() {
        records.push(journal::read(store, &system(), &run).await.unwrap().0);
    }
    let [record] = &records.iter().filter(|record| record.verb == VERB).collect::<Vec<_>>()[..] else {
        panic!("{records:?}")
    };
    assert_eq!(record.outcome, Outcome::Degraded);
    assert!(record.detail.backups.contains(&world.id(7)), "{record:?}");
    assert!(record.detail.reasons.iter().any(|why| why.contains(world.id(8).as_str())), "{record:?}");
    let cloud = records.iter().flat_map(|record| &record.detail.cloud_removals);
    let of_seven: Vec<_> = cloud.filter(|one| one.backup == world.id(7)).collect();
    let regions: Vec<_> = of_seven.iter().map(|one| one.region.as_str()).collect();
    assert_eq!(regions, REGIONS);
    assert!(of_seven.iter().all(|one| one.reason == "older than every rule"), "{of_seven:?}");
}

#[tokio::test]
async fn what_is_being_copied_or_out_of_reach_stays_and_what_vanished_leaves_no_manifest() {
    let world = World::of(Some(7)).await;
    let copied = arn(REGIONS[0], &world.id(8));
    world.aws().copied_from.push(copied.clone());
    // Someone else deleted this one.
    for region in REGIONS {
        let vanished = arn(region, &world.id(6));
        world.aws().there.remove(&vanished);
    }
    let report = world.apply().await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert!(world.aws().there.contains(&copied));
    assert!(world.aws().deleted.iter().all(|arn| !arn.contains(OUT_OF_REACH)));
    let manifests = world.manifests(0).await;
    assert!(manifests.contains(&8) && manifests.contains(&7) && !manifests.contains(&6), "{manifests:?}");
}

#[tokio::test]
async fn what_the_policy_names_no_more_and_nobody_may_query_is_left_alone_and_holds_nothing_up() {
    let whole = World::new().await;
    whole.apply().await.unwrap();
    let end = whole.everything().await;
    // Silent, or denied to the role.
    for is_silent in [true, false] {
        let world = World::new().await;
        world.aws().dropped.insert(REGIONS[1].to_owned());
        match is_silent {
            true => world.aws().silent.insert(REGIONS[1].to_owned()),
            false => world.aws().denied.insert(REGIONS[1].to_owned()),
        };
        let report = world.apply().await.unwrap();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(report.left.len(), 1, "it is said: {report:?}");
        let [primary, _, home, away] = world.everything().await;
        assert_eq!(home, end[2], "the other region goes on");
        assert_eq!(away.len(), DAYS as usize, "all of it stays");
        assert_eq!(primary.len(), DAYS as usize, "and can be found again");
    }
    // Of what the policy names it is no success.
    let world = World::new().await;
    world.aws().denied.insert(REGIONS[1].to_owned());
    let report = world.apply().await.unwrap();
    assert!(!report.is_complete() && report.left.iter().all(|left| left.is_in_policy), "{report:?}");
    assert_eq!(world.snapshots(0), end[2]);
}

#[tokio::test]
async fn a_snapshot_that_stays_locked_has_one_tombstone() {
    let world = World::new().await;
    let day = DAYS - 1;
    world.befall(0, day, Trouble::Locked, 3);
    for _ in 0..3 {
        world.apply().await.unwrap();
    }
    let mut named = 0;
    for run in journal::runs(&world.stores[0], &system()).await.unwrap() {
        let (record, _) = journal::read(&world.stores[0], &system(), &run).await.unwrap();
        let removals = record.detail.cloud_removals.iter();
        named += removals.filter(|one| one.backup == world.id(day) && one.region == REGIONS[0]).count();
    }
    assert_eq!(named, 1);
}
