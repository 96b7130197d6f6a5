//! Applying a plan: killed, failed and interrupted at every step, beside what drctl did not write, in stores that lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::catalog::{Catalog, CatalogLocation, Depth, Filter, refresh};
use crate::event::Events;
use crate::model::{
    BackupId, BackupKind, Lsn, Manifest, Outcome, Physical, RepositoryName, RunId, Segment, SegmentSize,
    ServerFacts, SourceName, SystemIdentifier, Timeline, WalName,
};
use crate::platform::{CancellationToken, Clock, FixedClock, SystemClock};
use crate::policy::{CalendarSpan, CalendarUnit, Retention, Rules};
use crate::repository::fixtures::{backup, system};
use crate::repository::journal::{self, Detail, JournalRecord, TOMBSTONES, Tombstones};
use crate::repository::{Repositories, Repository, layout, manifest};
use crate::run::RunContext;
use crate::store::testing::faulty::{Fate as Fortune, Faulty, Mishap};
use crate::store::testing::memory::MemoryStore;
use crate::store::{PutOptions, Store, StoreAdmin as _, list_all};
use crate::wal::Archive;

const SIZE: SegmentSize = SegmentSize::DEFAULT;
const RULES: Rules = Rules {
    keep_last: 2,
    minimum_redundancy: 1,
    keep_within: None,
    daily: Some(CalendarSpan::new(3, CalendarUnit::Day)),
    weekly: None,
    monthly: None,
    yearly: None,
    pitr: Some(std::time::Duration::from_secs(2 * 86_400)),
};

fn source() -> SourceName {
    "database".parse().unwrap()
}

fn repository_of(removed: &RemovedBackup) -> RepositoryName {
    removed.location.repository().unwrap().clone()
}

fn archive() -> Archive {
    Archive { system: system(), source: source(), cluster: SystemIdentifier(7) }
}

/// Two repositories in memory, and what was taken before `now`.
struct World {
    now: DateTime<Utc>,
    stores: [MemoryStore; 2],
    /// How often retention ran: its records have times of their own.
    runs: std::sync::atomic::AtomicI64,
    /// Whether an operator saw the plan and confirmed it.
    is_confirmed: std::sync::atomic::AtomicBool,
}

/// Where the WAL was so many hours ago.
fn lsn(hours_ago: i64) -> Lsn {
    Lsn(SIZE.begin_of(u64::try_from(1000 - hours_ago).unwrap()).0 + 40)
}

impl World {
    /// Dumps of nine days; full base backups nine, six and three days old, each with two that build on it; and all WAL.
    async fn new(now: DateTime<Utc>) -> Self {
        let world = Self {
            now,
            // Time stands still in the stores, however long the test takes.
            stores: ["primary", "copy"]
                .map(|name| MemoryStore::new(name).with_clock(Arc::new(FixedClock::at(now)))),
            runs: Default::default(),
            is_confirmed: true.into(),
        };
        let repositories =
            Repositories::new(world.repositories(None)).for_writing(&system(), None, now).await.unwrap();
        let id = repositories.id().unwrap().to_owned();
        let mut backups: Vec<Manifest> =
            (0..9).map(|day| world.manifest(24 * day + 2, BackupKind::Logical, None)).collect();
        for full in [9, 6, 3] {
            let mut parent: Option<BackupId> = None;
            for incremental in 0..3 {
                let base = world.manifest(24 * (full - incremental) + 1, BackupKind::Base, parent.take());
                parent = Some(base.id.clone());
                backups.push(base);
            }
        }
        for store in &world.stores {
            for taken in &backups {
                let taken = Manifest { repository_id: id.clone(), ..taken.clone() };
                for object in taken.artifacts.iter().flat_map(|artifact| &artifact.objects) {
                    let key = layout::object(&system(), &taken.id, &object.name);
                    let body = "x".repeat(usize::try_from(object.stored.size).unwrap());
                    world.put(store, &key, &body).await;
                }
                let bytes = manifest::serialise(&taken).unwrap();
                let options = PutOptions::default();
                manifest::commit(store, &system(), &taken.id, bytes, &options).await.unwrap();
            }
            let record = format!(
                r#"{{"format":"1.0","repository_id":"{id}","system_identifier":"7","segment_size":16777216,"recorded":"2026-11-20T12:00:00Z","host":"a"}}"#
            );
            world.put(store, &layout::wal_cluster(&system(), &source()), &record).await;
            for hours_ago in (0..10 * 24).step_by(12) {
                for number in 0..12 {
                    let at = hours_ago - number;
                    if at >= 0 && at % 6 == 0 {
                        world.put_wal(store, at).await;
                    }
                }
            }
            for day in (0..=9_i64).flat_map(|day| [24 * day + 1, 24 * day]) {
                world.put_wal(store, day).await;
            }
        }
        world
    }

    fn manifest(&self, hours_ago: i64, kind: BackupKind, parent: Option<BackupId>) -> Manifest {
        let at = self.now - TimeDelta::hours(hours_ago);
        let mut taken = backup(0).0;
        taken.id = BackupId::new(at, &source(), kind, 31);
        (taken.kind, taken.run) = (kind, RunId::new(at, 1));
        (taken.recovery_point, taken.begun, taken.ended) = (at, at, at);
        if kind == BackupKind::Base {
            taken.server = Some(ServerFacts {
                version: "17.5".to_owned(),
                major: 17,
                system_identifier: Some("7".to_owned()),
                address: None,
                replaces: None,
            });
            let start = lsn(hours_ago);
            taken.physical = Some(Physical { parent, ..Physical::sample(1, start, Lsn(start.0 + 300)) });
        }
        taken
    }

    async fn put(&self, store: &MemoryStore, key: &str, body: &str) {
        let _stands = store.put(key, Bytes::from(body.to_owned()), &PutOptions::absent()).await;
    }

    async fn put_wal(&self, store: &MemoryStore, hours_ago: i64) {
        let segment = Segment::holding(Timeline::FIRST, lsn(hours_ago), SIZE);
        let key = archive().key(WalName::Segment(segment), ".zst.age");
        self.put(store, &key, "sealed bytes of a segment").await;
        store.backdate(&key, TimeDelta::hours(hours_ago));
    }

    fn repositories(&self, fortune: Option<&Arc<Fortune>>) -> Vec<Repository> {
        let names = ["primary", "copy"];
        let open = |(name, store): (&str, &MemoryStore)| {
            let store: Arc<dyn Store> = Arc::new(store.clone());
            let store: Arc<dyn Store> = match fortune {
                Some(fortune) => Faulty::new(store, Arc::clone(fortune)),
                None => store,
            };
            Repository { name: name.parse().unwrap(), store }
        };
        names.into_iter().zip(&self.stores).map(open).collect()
    }

    /// Surveys, plans and applies. `None`: it was killed.
    async fn apply(&self, fortune: Option<&Arc<Fortune>>) -> Option<ApplyReport> {
        let Some(fortune) = fortune else {
            return Some(self.apply_with(None, CancellationToken::new()).await);
        };
        tokio::select! {
            biased;
            () = fortune.stopped.cancelled() => None,
            report = self.apply_with(Some(fortune), fortune.interrupted.clone()) => Some(report),
        }
    }

    async fn apply_with(&self, fortune: Option<&Arc<Fortune>>, cancel: CancellationToken) -> ApplyReport {
        self.apply_leased(fortune, cancel, &BTreeSet::from([source()])).await
    }

    async fn apply_leased(
        &self,
        fortune: Option<&Arc<Fortune>>,
        cancel: CancellationToken,
        leased: &BTreeSet<SourceName>,
    ) -> ApplyReport {
        self.apply_all(fortune, cancel, leased, vec![]).await
    }

    /// Where the locks of these repositories follow the rules.
    async fn apply_locking(&self, locks: Vec<(RepositoryName, crate::policy::LockMode)>) -> ApplyReport {
        self.apply_all(None, CancellationToken::new(), &BTreeSet::from([source()]), locks).await
    }

    async fn apply_all(
        &self,
        fortune: Option<&Arc<Fortune>>,
        cancel: CancellationToken,
        leased: &BTreeSet<SourceName>,
        locks: Vec<(RepositoryName, crate::policy::LockMode)>,
    ) -> ApplyReport {
        let repositories = Repositories::new(self.repositories(fortune)).for_reading(&system(), None).await;
        let catalog = Catalog::open(&CatalogLocation::Memory, &system()).await.unwrap();
        let catalog = catalog.of_repository(repositories.id());
        let refreshed = refresh(&catalog, &system(), &repositories, Depth::New, self.now).await.unwrap();
        let entries = catalog.backups(&Filter::default()).await.unwrap();
        let runs = catalog.runs(None).await.unwrap();
        let nth = self.runs.fetch_add(1, SeqCst);
        let clock: Arc<dyn Clock> = Arc::new(FixedClock::at(self.now + TimeDelta::seconds(nth)));
        let run = RunContext::begin(system(), repositories, Some(catalog), clock, Events::default(), cancel);
        let known = KnownBackups {
            entries: &entries,
            runs: &runs,
            refused: &[],
            unknown_records: &refreshed.unknown_records,
        };
        let names: Vec<RepositoryName> = ["primary", "copy"].map(|name| name.parse().unwrap()).into();
        let surveyed = survey(&run.repositories, &names, &system(), known, &run.id, self.now).await;
        let retention = Retention { rules: RULES, sources: vec![], copies: vec![] };
        let policy = PlannedPolicy {
            system: &system(),
            retention: &retention,
            sources: vec![(source(), vec![])],
            locks,
        };
        let plan = plan(&policy, &surveyed.survey, self.now);
        let is_confirmed = self.is_confirmed.load(SeqCst);
        let (surveyed, entries) = (&surveyed, &entries);
        let parts = ApplyParts { surveyed, entries, regions: &[], leased, is_confirmed };
        let report = execute(&run, &plan, parts).await;
        run.close().await;
        report
    }

    /// What there is beside the journal.
    async fn keys(&self) -> Vec<String> {
        let mut all = Vec::new();
        for store in &self.stores {
            let keys = list_all(store, "").await.unwrap().into_iter().map(|object| object.key);
            let keys = keys.filter(|key| !key.contains("/journal/") && !key.contains("/leases/"));
            all.extend(keys.map(|key| format!("{} {key}", store.location())));
        }
        all
    }

    /// Insists that everything that is listed can be restored.
    async fn check_whole(&self, when: &str) {
        for store in &self.stores {
            let keys: BTreeSet<String> =
                list_all(store, "").await.unwrap().into_iter().map(|object| object.key).collect();
            let ids: Vec<BackupId> = keys.iter().filter_map(|key| layout::parse_manifest(key)).collect();
            assert!(ids.len() >= 5, "{when}: {ids:?}");
            for id in &ids {
                let (taken, _) = manifest::read(store, &system(), id).await.unwrap();
                for object in taken.artifacts.iter().flat_map(|artifact| &artifact.objects) {
                    let key = layout::object(&system(), id, &object.name);
                    assert!(keys.contains(&key), "{when}: {key} is gone, and {id} is listed");
                }
                let Some(physical) = &taken.physical else { continue };
                let parent = physical.parent.as_ref();
                assert!(parent.is_none_or(|parent| ids.contains(parent)), "{when}: {id} has no parent");
                let segment = Segment::holding(Timeline::FIRST, physical.start, SIZE);
                let key = archive().key(WalName::Segment(segment), ".zst.age");
                assert!(keys.contains(&key), "{when}: {id} has not the WAL it needs");
            }
        }
    }
}

#[tokio::test]
async fn what_no_rule_keeps_goes_from_every_repository_and_nothing_is_left_to_do() {
    let world = World::new(SystemClock.now()).await;
    let before = world.keys().await.len();
    let report = world.apply(None).await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert!(
        !report.removed.is_empty() && report.wal.iter().all(|wal| wal.files > 0) && report.wal.len() == 2
    );
    assert!(world.keys().await.len() < before);
    world.check_whole("at the end").await;
    let after = world.keys().await;
    let again = world.apply(None).await.unwrap();
    assert!(again.is_complete() && !again.removed_anything(), "{again:?}");
    assert_eq!(world.keys().await, after);
}

#[tokio::test]
async fn killed_or_failed_at_any_step_it_comes_to_the_same_end_and_every_listed_backup_stays_whole() {
    let now = SystemClock.now();
    let world = World::new(now).await;
    world.apply(None).await.unwrap();
    let end = world.keys().await;
    let mut steps = 0;
    // Killed after every step; of the other mishaps a part of the steps is enough.
    let mishaps = [
        (Mishap::StopsAfter, 1),
        (Mishap::Fails, 5),
        (Mishap::AnswerLost, 5),
        (Mishap::Interrupted, 7),
        (Mishap::DownFromHere, 7),
    ];
    for (mishap, stride) in mishaps {
        for step in (0..).step_by(stride) {
            let world = World::new(now).await;
            let fortune = Fortune::new(step, mishap);
            let report = world.apply(Some(&fortune)).await;
            if !fortune.came_up() {
                break;
            }
            steps += 1;
            let when = format!("{mishap:?} at {}", fortune.operation());
            world.check_whole(&when).await;
            let again = world.apply(None).await.unwrap();
            assert!(again.is_complete(), "{when}: {again:?}, first {report:?}");
            assert_eq!(world.keys().await, end, "{when}");
        }
    }
    assert!(steps > 150, "{steps}");
}

#[tokio::test]
async fn one_failure_is_reported_and_keeps_nothing_else() {
    let world = World::new(SystemClock.now()).await;
    let denied = world.stores[1].location();
    // Everything that goes wrong goes wrong in the copy.
    let fortune =
        Fortune::of_store(60, Mishap::FailsFromHere(crate::store::StoreErrorKind::Forbidden), denied);
    let report = world.apply(Some(&fortune)).await.unwrap();
    assert!(!report.is_complete());
    assert!(report.removed.iter().any(|removed| removed.location.as_str() == "primary"));
    let failed: BTreeSet<&str> = report.failed.iter().map(|failed| failed.location.as_str()).collect();
    assert_eq!(failed, BTreeSet::from(["copy"]), "{report:?}");
}

#[tokio::test]
async fn a_tombstone_is_written_before_anything_goes_and_names_what_goes() {
    let world = World::new(SystemClock.now()).await;
    let report = world.apply(None).await.unwrap();
    let store = &world.stores[1];
    let mut named = BTreeMap::new();
    let mut last = None;
    for run in journal::runs(store, &system()).await.unwrap() {
        let (record, _) = journal::read(store, &system(), &run).await.unwrap();
        if record.verb == TOMBSTONES {
            for removal in &record.detail.removals {
                named.insert((removal.repository.clone(), removal.backup.clone()), removal.objects.len());
            }
        } else {
            last = Some(record);
        }
    }
    for removed in &report.removed {
        assert_eq!(named.get(&(repository_of(removed), removed.backup.clone())), Some(&2), "{removed:?}");
    }
    assert_eq!(named.len(), report.removed.len());
    // So that no copy of them is missed, or copied back.
    let repositories = Repositories::new(world.repositories(None)).for_reading(&system(), None).await;
    let catalog = Catalog::open(&CatalogLocation::Memory, &system()).await.unwrap();
    let catalog = catalog.of_repository(repositories.id());
    refresh(&catalog, &system(), &repositories, Depth::New, world.now).await.unwrap();
    let history = catalog.history().await.unwrap();
    for removed in &report.removed {
        assert!(history.is_removed(&removed.backup, &repository_of(removed)), "{removed:?}");
    }
    let last = last.unwrap();
    assert_eq!((last.verb.as_str(), last.outcome), (VERB, Outcome::Succeeded));
    assert!(last.detail.rules.is_some());
}

#[tokio::test]
async fn what_drctl_did_not_write_stays() {
    let world = World::new(SystemClock.now()).await;
    let old = world.manifest(24 * 8 + 2, BackupKind::Logical, None).id;
    let oldest = Segment::holding(Timeline::FIRST, lsn(9 * 24), SIZE);
    let foreign = [
        format!("{}README", layout::backup(&system(), &old)),
        format!("{}database.dump.zst.age.bak", layout::backup(&system(), &old)),
        format!("{}notes.txt", layout::backups(&system(), &source())),
        // Another system's backup and WAL, of the same names.
        layout::manifest(&"other".parse().unwrap(), &old),
        archive().key(WalName::Segment(oldest), ".zst.age").replace("shop/", "other/"),
        // Keys that only look like WAL.
        archive().key(WalName::Segment(oldest), ".zst.age.old"),
        format!("{}{}G.zst.age", archive().timeline(Timeline::FIRST), &oldest.to_string()[..23]),
        format!("shop/database/wal/7/00000002/{oldest}.zst.age"),
        "shop/database/wal/7/README".to_owned(),
        // A folder without a manifest, not of a backup's name.
        "shop/database/backups/20250101T000000Z-database/old.zst".to_owned(),
        "shop/legacy/dump.sql.zst".to_owned(),
    ];
    for store in &world.stores {
        for key in &foreign {
            world.put(store, key, "someone else's").await;
        }
        store.backdate("someone", TimeDelta::days(400));
        store.backdate("shop/", TimeDelta::days(0));
    }
    let report = world.apply(None).await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    for store in &world.stores {
        for key in &foreign {
            assert!(store.head(key).await.unwrap().is_some(), "{key} is gone");
        }
        let manifest = layout::manifest(&system(), &old);
        assert!(store.head(&manifest).await.unwrap().is_none(), "the backup itself went");
    }
}

#[tokio::test]
async fn what_the_store_has_locked_waits_with_all_that_it_builds_on() {
    let world = World::new(SystemClock.now()).await;
    // The incremental that is seven days old; its parent, nine days old, is not locked.
    let locked = world.manifest(24 * 7 + 1, BackupKind::Base, None).id;
    let full = world.manifest(24 * 9 + 1, BackupKind::Base, None).id;
    let until = world.now + TimeDelta::days(20);
    for store in &world.stores {
        store.lock(locked.as_str(), until);
        store.lock("/wal/", until);
    }
    let report = world.apply(None).await.unwrap();
    assert!(report.wal.is_empty(), "{:?}", report.wal);
    assert_eq!(report.locked_wal.len(), 2);
    assert!(report.locked_wal.iter().all(|one| one.files > 0 && one.until == Some(until)));
    assert!(report.is_complete(), "a lock is no failure: {report:?}");
    let told: BTreeSet<_> = report.locked.iter().map(|one| (&one.backup, one.until)).collect();
    assert_eq!(told, BTreeSet::from([(&locked, Some(until))]));
    for store in &world.stores {
        for id in [&locked, &full] {
            assert!(store.head(&layout::manifest(&system(), id)).await.unwrap().is_some(), "{id}");
        }
    }
    world.check_whole("with a lock").await;
}

/// Names of what tombstones say of a repository, with how often they say it.
async fn tombstones(store: &MemoryStore) -> BTreeMap<String, usize> {
    let mut named = BTreeMap::new();
    for run in journal::runs(store, &system()).await.unwrap() {
        let (record, _) = journal::read(store, &system(), &run).await.unwrap();
        let backups = record.detail.removals.iter().map(|one| format!("{} {}", one.repository, one.backup));
        let wal = record.detail.wal_removals.iter();
        let wal = wal.map(|one| format!("{} {}-{}", one.repository, one.first, one.last));
        backups.chain(wal).for_each(|name| *named.entry(name).or_default() += 1);
    }
    named
}

#[tokio::test]
async fn what_cannot_go_is_written_down_once_however_often_it_is_tried() {
    let world = World::new(SystemClock.now()).await;
    for store in &world.stores {
        store.lock("/wal/", world.now + TimeDelta::days(20));
    }
    for _ in 0..3 {
        world.apply(None).await.unwrap();
    }
    let named = tombstones(&world.stores[0]).await;
    assert!(named.len() > 5 && named.values().all(|times| *times == 1), "{named:?}");
}

#[tokio::test]
async fn a_record_that_nobody_can_read_keeps_its_repository_alone_and_is_named() {
    let world = World::new(SystemClock.now()).await;
    // Of a run of which another repository has the record, and of one of which none has.
    let [known, junk] = [1, 2].map(|seed| RunId::new(world.now - TimeDelta::hours(1), seed));
    let record = JournalRecord::new(
        &known,
        "verify",
        (world.now, world.now),
        "a",
        Outcome::Succeeded,
        Detail::default(),
    );
    let [known, junk] = [known, junk].map(|run| layout::journal_record(&system(), &run));
    world
        .put(&world.stores[0], &known, std::str::from_utf8(&journal::serialise(&record).unwrap()).unwrap())
        .await;
    world.put(&world.stores[1], &known, "{").await;
    let report = world.apply(None).await.unwrap();
    assert!(report.is_complete(), "what another one says is known: {report:?}");

    let world = World::new(SystemClock.now()).await;
    world.put(&world.stores[1], &junk, "junk").await;
    let report = world.apply(None).await.unwrap();
    let refused: BTreeSet<&str> = report.refused.iter().map(|one| one.location.as_str()).collect();
    assert_eq!(refused, BTreeSet::from(["copy"]), "{report:?}");
    let told = &report.refused[0].refusals[0];
    assert!(told.message.contains(&junk) && told.hint.contains("undelete"), "{told:?}");
    let removed: BTreeSet<&str> = report.removed.iter().map(|one| one.location.as_str()).collect();
    assert_eq!(removed, BTreeSet::from(["primary"]));
}

#[tokio::test]
async fn locks_are_extended_once_the_rules_are_confirmed_with_all_that_a_backup_needs() {
    let world = World::new(SystemClock.now()).await;
    let mode = crate::policy::LockMode::Governance;
    let locks = vec![("primary".parse().unwrap(), mode)];
    world.is_confirmed.store(false, SeqCst);
    let unseen = world.apply_locking(locks.clone()).await;
    assert_eq!((unseen.extended.len(), unseen.failed_locks.len()), (0, 0), "{unseen:?}");
    world.is_confirmed.store(true, SeqCst);
    let report = world.apply_locking(locks.clone()).await;
    assert!(!report.extended.is_empty() && report.failed_locks.is_empty(), "{report:?}");
    assert!(report.extended.iter().all(|one| one.location.as_str() == "primary"));
    for extended in &report.extended {
        let (taken, _) = manifest::read(&world.stores[0], &system(), &extended.backup).await.unwrap();
        let objects = taken.artifacts.iter().flat_map(|artifact| &artifact.objects);
        let mut keys: Vec<String> =
            objects.map(|object| layout::object(&system(), &taken.id, &object.name)).collect();
        if let Some(physical) = &taken.physical {
            let segment = Segment::holding(Timeline::FIRST, physical.start, SIZE);
            keys.push(archive().key(WalName::Segment(segment), ".zst.age"));
        }
        keys.push(layout::manifest(&system(), &taken.id));
        for key in keys {
            let until = world.stores[0].locked_until(&key).await.unwrap();
            assert!(until >= extended.until, "{key}: {until:?} < {:?}", extended.until);
        }
    }
    let again = world.apply_locking(locks).await;
    assert_eq!(again.extended, [], "it is long enough");
}

#[tokio::test]
async fn leftovers_of_an_interrupted_run_go_after_a_week() {
    let world = World::new(SystemClock.now()).await;
    let orphan = |hours| world.manifest(hours, BackupKind::Logical, None).id;
    let (young, old) = (orphan(50), orphan(24 * 12));
    for store in &world.stores {
        for id in [&young, &old] {
            world.put(store, &layout::object(&system(), id, "database.dump.zst.age"), "bytes").await;
        }
        store.backdate(old.as_str(), TimeDelta::days(8));
    }
    let report = world.apply(None).await.unwrap();
    assert_eq!(report.leftover_objects, 2);
    for store in &world.stores {
        let stands =
            async |id| store.head(&layout::object(&system(), id, "database.dump.zst.age")).await.unwrap();
        assert!(stands(&young).await.is_some() && stands(&old).await.is_none());
    }
}

#[tokio::test]
async fn a_source_that_is_being_restored_or_backed_up_is_left_alone() {
    let world = World::new(SystemClock.now()).await;
    let before = world.keys().await;
    let store: Arc<dyn Store> = Arc::new(world.stores[1].clone());
    let run = RunId::new(world.now, 99);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let lease =
        crate::repository::lease::announce_restore(&store, &system(), &source(), &run, clock).await.unwrap();
    let report = world.apply(None).await.unwrap();
    assert!(
        report.refused.iter().all(|refused| {
            refused.refusals.iter().any(|refusal| refusal.code == RefusalCode::SourceBusy)
        })
    );
    assert_eq!(report.refused.len(), 2);
    assert_eq!(world.keys().await, before);
    lease.release().await;
    assert!(world.apply(None).await.unwrap().is_complete());
}

#[tokio::test]
async fn without_the_lease_of_a_source_nothing_of_it_goes_and_that_is_no_success() {
    let world = World::new(SystemClock.now()).await;
    let before = world.keys().await;
    let report = world.apply_leased(None, CancellationToken::new(), &BTreeSet::new()).await;
    assert!(!report.is_complete() && report.refused.len() == 2, "{report:?}");
    assert_eq!(world.keys().await, before);
}

#[tokio::test]
async fn a_repository_that_cannot_be_listed_keeps_everything_and_the_others_do_not_wait() {
    let world = World::new(SystemClock.now()).await;
    let fortune = Fortune::of_store(6, Mishap::DownFromHere, world.stores[1].location());
    let report = world.apply(Some(&fortune)).await.unwrap();
    assert!(report.removed.iter().all(|removed| removed.location.as_str() == "primary"));
    assert!(!report.removed.is_empty());
    assert_eq!(report.skipped.iter().map(|one| one.location.as_str()).collect::<Vec<_>>(), ["copy"]);
    assert!(!report.is_complete(), "{report:?}");
}

#[tokio::test]
async fn without_a_confirmation_nothing_goes_while_a_hold_may_be_out_of_reach() {
    let world = World::new(SystemClock.now()).await;
    let store = &world.stores[0];
    let listed = list_all(store, "").await.unwrap();
    let oldest = listed.iter().filter_map(|object| layout::parse_manifest(&object.key)).min().unwrap();
    // Placed while the first repository was away.
    let hold = Hold {
        id: RunId::new(world.now, 5).to_string(),
        on: HeldScope::Backup(oldest.clone()),
        reason: "audit".to_owned(),
        by: "a".to_owned(),
        placed: world.now,
        until: None,
    };
    let copy = Repositories::new(vec![world.repositories(None).remove(1)]);
    hold_store::add(&copy, &system(), &hold).await.unwrap();
    world.is_confirmed.store(false, SeqCst);
    let fortune = Fortune::of_store(6, Mishap::DownFromHere, world.stores[1].location());
    let before = world.keys().await;
    let report = world.apply(Some(&fortune)).await.unwrap();
    let codes: Vec<_> = report.refused.iter().flat_map(|one| &one.refusals).map(|one| one.code).collect();
    assert!(codes.contains(&RefusalCode::HoldsUnknown), "{codes:?}");
    assert_eq!(world.keys().await, before);
    // With both there, it is kept, and the first repository gets its record.
    world.is_confirmed.store(true, SeqCst);
    world.apply(None).await.unwrap();
    for store in &world.stores {
        assert!(store.head(&layout::manifest(&system(), &oldest)).await.unwrap().is_some());
        assert_eq!(hold_store::read(store, &system()).await.unwrap().all, std::slice::from_ref(&hold));
    }
}

#[tokio::test]
async fn a_backup_that_lost_an_object_stands_for_none_and_nothing_goes_beside_it() {
    let world = World::new(SystemClock.now()).await;
    let store = &world.stores[0];
    let listed = list_all(store, "").await.unwrap();
    let last = listed.iter().filter_map(|object| layout::parse_manifest(&object.key)).max().unwrap();
    let (taken, _) = manifest::read(store, &system(), &last).await.unwrap();
    let object = &taken.artifacts[0].objects[0];
    let key = layout::object(&system(), &last, &object.name);
    store.delete(&[key]).await.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    let before: Vec<_> =
        world.keys().await.into_iter().filter(|key| key.starts_with(&store.location())).collect();
    world.apply(None).await.unwrap();
    let after: Vec<_> =
        world.keys().await.into_iter().filter(|key| key.starts_with(&store.location())).collect();
    assert_eq!(before, after);
}

#[tokio::test]
async fn nothing_goes_from_a_repository_whose_own_journal_has_no_record_of_it() {
    let world = World::new(SystemClock.now()).await;
    // The first run writes its tombstones into the primary alone.
    let fortune = Fortune::of_store(0, Mishap::FullFromHere, world.stores[1].location());
    let first = world.apply(Some(&fortune)).await.unwrap();
    assert!(first.failed.iter().any(|one| one.reason.contains("took no record")), "{first:?}");
    let second = world.apply(None).await.unwrap();
    let gone: Vec<&BackupId> = second
        .removed
        .iter()
        .filter(|removed| removed.location.as_str() == "copy")
        .map(|removed| &removed.backup)
        .collect();
    assert!(!gone.is_empty() && second.wal.iter().any(|wal| wal.location.as_str() == "copy"), "{second:?}");
    let mut records = Vec::new();
    for run in journal::runs(&world.stores[1], &system()).await.unwrap() {
        records.push(journal::read(&world.stores[1], &system(), &run).await.unwrap().0);
    }
    let own = Tombstones::new(&records);
    assert!(gone.iter().all(|backup| own.has_backup(&"copy".parse().unwrap(), backup)), "{own:?}");
    assert!(records.iter().any(|record| {
        record.detail.wal_removals.iter().any(|removal| removal.repository.as_str() == "copy")
    }));
    // And no third record is written where each has its own.
    let tombstones = records.iter().filter(|record| record.verb == TOMBSTONES).count();
    world.apply(None).await.unwrap();
    let mut after = 0;
    for run in journal::runs(&world.stores[1], &system()).await.unwrap() {
        let record = journal::read(&world.stores[1], &system(), &run).await.unwrap().0;
        after += usize::from(record.verb == TOMBSTONES);
    }
    assert_eq!(after, tombstones);
}

#[tokio::test]
async fn wal_that_a_base_backup_needs_is_locked_as_long_as_its_manifest() {
    let world = World::new(SystemClock.now()).await;
    let mode = crate::policy::LockMode::Compliance;
    // From the upload on, as a backup that stands for a year.
    world.stores[0].lock("/backups/", world.now + TimeDelta::days(400));
    let locks = vec![("primary".parse().unwrap(), mode)];
    let report = world.apply_locking(locks.clone()).await;
    assert!(report.failed_locks.is_empty() && !report.extended.is_empty(), "{report:?}");
    for extended in &report.extended {
        let (taken, _) = manifest::read(&world.stores[0], &system(), &extended.backup).await.unwrap();
        let physical = taken.physical.as_ref().unwrap();
        let segment = Segment::holding(Timeline::FIRST, physical.start, SIZE);
        let key = archive().key(WalName::Segment(segment), ".zst.age");
        assert!(world.stores[0].locked_until(&key).await.unwrap() >= extended.until, "{key}");
    }
    assert_eq!(world.apply_locking(locks).await.extended, [], "it is long enough");
}

#[tokio::test]
async fn a_hold_is_also_on_what_a_backup_builds_on_and_stays_where_another_one_needs_it() {
    let world = World::new(SystemClock.now()).await;
    let store = &world.stores[0];
    // A store that locks.
    store.lock(layout::MARKER, world.now + TimeDelta::days(1));
    let repositories = Repositories::new(world.repositories(None)).for_reading(&system(), None).await;
    let catalog = Catalog::open(&CatalogLocation::Memory, &system()).await.unwrap();
    let catalog = catalog.of_repository(repositories.id());
    refresh(&catalog, &system(), &repositories, Depth::New, world.now).await.unwrap();
    let entries = catalog.backups(&Filter::default()).await.unwrap();
    let parent = |id: &BackupId| {
        let entry = entries.iter().find(|entry| entry.id() == id)?;
        entry.manifest.physical.as_ref()?.parent.clone()
    };
    let child = entries.iter().find(|entry| parent(entry.id()).is_some_and(|id| parent(&id).is_some()));
    let child = child.unwrap().id().clone();
    let middle = parent(&child).unwrap();
    let chain = [child.clone(), middle.clone(), parent(&middle).unwrap()];
    let held = async || {
        let mut held = Vec::new();
        for id in &chain {
            let key = layout::manifest(&system(), id);
            held.push(store.locked_until(&key).await.unwrap() == Some(DateTime::<Utc>::MAX_UTC));
            assert_eq!(store.retained_until(&key).await.unwrap(), None, "a hold is no lock");
        }
        held
    };
    let set = async |is_held, keeps_on: Option<&BackupId>| {
        let writable = repositories.writable();
        let keeps_on = |id: &BackupId| Some(id) == keeps_on;
        let outcomes =
            hold_objects(writable, &system(), &entries, is_held, |id| *id == child, keeps_on).await;
        assert!(outcomes.iter().all(|one| one.failed.is_none() && one.objects > 0), "{outcomes:?}");
    };
    set(true, None).await;
    assert_eq!(held().await, [true, true, true]);
    set(false, Some(&middle)).await;
    assert_eq!(held().await, [false, true, true]);
    set(false, None).await;
    assert_eq!(held().await, [false, false, false]);
}

#[tokio::test]
async fn a_hold_that_is_over_and_that_the_store_still_has_is_named() {
    let world = World::new(SystemClock.now()).await;
    let store = &world.stores[0];
    store.lock(layout::MARKER, world.now + TimeDelta::days(1));
    let old = world.manifest(24 * 8 + 2, BackupKind::Logical, None).id;
    let repositories = Repositories::new(world.repositories(None)).for_reading(&system(), None).await;
    let hold = Hold {
        id: RunId::new(world.now - TimeDelta::days(9), 5).to_string(),
        on: HeldScope::Backup(old.clone()),
        reason: "audit".to_owned(),
        by: "ann".to_owned(),
        placed: world.now - TimeDelta::days(7),
        until: Some(world.now - TimeDelta::days(1)),
    };
    hold_store::add(&repositories, &system(), &hold).await.unwrap();
    store.set_legal_hold(&layout::manifest(&system(), &old), true).await.unwrap();
    let report = world.apply(None).await.unwrap();
    let ended: Vec<_> =
        report.ended_holds.iter().map(|one| (one.location.as_str(), one.hold.clone())).collect();
    assert_eq!(ended, [("primary", hold.id)], "{report:?}");
}
