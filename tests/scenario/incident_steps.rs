//! A backup that meets with a mishap at each of its steps, one after the other.
//!
//! Every operation on a store is counted; the backup is taken again and again, and each time the next
//! operation goes wrong. Whatever happens, only whole backups are listed, the one before stays readable,
//! and the next run works without a hand.
//!
//! Every step is met with in memory, by a source that needs no server; a few of them by a dump of a real server
//! into directories.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use drctl::backup::{self, BackupContext, BackupReport, SourceOutcome};
use drctl::catalog::{Catalog, CatalogLocation, Filter};
use drctl::event::Events;
use drctl::model::{BackupId, Manifest, Outcome as RunOutcome};
use drctl::pipeline::{Identities, unseal};
use drctl::platform::{CancellationToken, Clock as _, SystemClock, seed};
use drctl::policy::{self, Policy};
use drctl::repository::reader;
use drctl::repository::reader::ReadWindow;
use drctl::repository::{Repositories, Repository, layout, manifest};
use drctl::store::directory::DirectoryStore;
use drctl::store::testing::faulty::{Fate, Faulty, Mishap};
use drctl::store::testing::memory::MemoryStore;
use drctl::store::{Store, StoreErrorKind, list_all, require_admin};

use crate::support::Outcome;
use crate::support::fake_source::{FakeFault, FakeSource};
use crate::support::postgres::Cluster;
use crate::support::stores::{Order, Ordered, missing_objects};
use crate::support::system::{Place, System};

const NAMES: [&str; 2] = ["primary", "west"];
/// So many operations a dump of a small database has, into two repositories. A backup that has fewer was none: the
/// count would prove nothing.
const STEPS_AT_LEAST: usize = 47;
/// Of the operations on one of the repositories.
const STEPS_OF_ONE_AT_LEAST: usize = 24;
const STEPS_AT_MOST: usize = 200;
const RUN_WITHIN: Duration = Duration::from_secs(60);

/// Cut into objects of three parts, and of one.
const ARTIFACTS: [(&str, usize); 2] = [("database.dump", 20_000), ("globals.sql", 300)];

/// Where the data of a bench comes from and goes to.
enum Ground {
    /// Nothing but memory.
    Memory(Vec<MemoryStore>, FakeSource),
    /// A real server, and directories.
    Server { _cluster: Cluster },
}

struct Bench {
    ground: Ground,
    files: System,
    policy: Policy,
    stores: Vec<Arc<dyn Store>>,
    order: Arc<Order>,
    catalog: Catalog,
    identities: Identities,
}

impl Bench {
    async fn in_memory() -> Outcome<Self> {
        let files = System::new("postgres://nobody@127.0.0.1:1/shop", &[Place::Directory, Place::Directory])?;
        let stores: Vec<_> = NAMES.map(MemoryStore::new).into();
        let order = Arc::<Order>::default();
        let ordered = stores
            .iter()
            .map(|store| -> Arc<dyn Store> { Ordered::new(Arc::new(store.clone()), Arc::clone(&order)) });
        let ordered = ordered.collect();
        Self::new(Ground::Memory(stores, FakeSource::new(&ARTIFACTS)), files, ordered, order).await
    }

    async fn on_a_server() -> Outcome<Self> {
        let cluster = Cluster::start(15).await?;
        cluster.execute("postgres", &["CREATE DATABASE shop"]).await?;
        // Bytes that do not compress, so that the dump is cut into parts and objects.
        cluster
            .execute(
                "shop",
                &[
                    "CREATE TABLE noise (id int PRIMARY KEY, bytes bytea)",
                    "INSERT INTO noise SELECT n, sha512(n::text::bytea) FROM generate_series(1, 200) n",
                ],
            )
            .await?;
        let files = System::new(&cluster.url("shop"), &[Place::Directory, Place::Directory])?;
        let order = Arc::<Order>::default();
        let ordered = NAMES.map(|name| -> Arc<dyn Store> {
            let store = Arc::new(DirectoryStore::open(files.repository(name)));
            Ordered::new(store, Arc::clone(&order))
        });
        Self::new(Ground::Server { _cluster: cluster }, files, ordered.into(), order).await
    }

    async fn new(
        ground: Ground,
        files: System,
        stores: Vec<Arc<dyn Store>>,
        order: Arc<Order>,
    ) -> Outcome<Self> {
        let mut policy = policy::load(&files.policy()).map_err(|faults| format!("{faults:?}"))?;
        policy.transfer.part_size = 4096;
        policy.transfer.object_size = 4096 * 3;
        policy.transfer.parallel = 2;
        let location = CatalogLocation::resolve(None, None, &files.path().join("state"))?;
        let catalog = Catalog::open(&location, &policy.system).await?;
        let identities = Identities::read(std::slice::from_ref(&files.operational))?;
        Ok(Self { ground, files, policy, stores, order, catalog, identities })
    }

    /// Takes a backup; `None` where `fate` stopped it.
    async fn back_up(&self, fate: &Arc<Fate>) -> Outcome<Option<Result<BackupReport, backup::BackupError>>> {
        match &self.ground {
            Ground::Memory(_, source) => self.back_up_of(Some(source), fate).await,
            Ground::Server { .. } => self.back_up_of(None, fate).await,
        }
    }

    /// `source`: in the place of the policy's.
    async fn back_up_of(
        &self,
        source: Option<&FakeSource>,
        fate: &Arc<Fate>,
    ) -> Outcome<Option<Result<BackupReport, backup::BackupError>>> {
        let mut plan = backup::plan(&self.policy, &[], &[], SystemClock.now(), seed())?;
        if let Some(source) = source {
            plan.sources[0].opened = Arc::new(source.clone());
        }
        let list = NAMES.iter().zip(&self.stores).map(|(name, store)| {
            let store = Faulty::new(Arc::clone(store), Arc::clone(fate));
            Ok(Repository { name: name.parse()?, store })
        });
        let context = BackupContext {
            policy: &self.policy,
            repositories: Repositories::new(list.collect::<Outcome<_>>()?),
            catalog: Some(&self.catalog),
            state: self.files.path().join("state"),
            clock: Arc::new(SystemClock),
            events: &Events::default(),
            cancel: &fate.interrupted,
        };
        tokio::select! {
            report = tokio::time::timeout(RUN_WITHIN, backup::execute(plan, context)) => Ok(Some(report?)),
            () = fate.stopped.cancelled() => Ok(None),
        }
    }

    /// A backup nothing happens to.
    async fn back_up_well(&self) -> Outcome<BackupId> {
        let report = self.back_up(&Fate::new(usize::MAX, Mishap::Fails)).await?.ok_or("stopped")??;
        match &report.sources[0].outcome {
            SourceOutcome::Stored { backup, .. } if report.outcome == RunOutcome::Succeeded => {
                Ok(backup.clone())
            }
            _ => Err(format!("the next run did not work: {report:#?}").into()),
        }
    }

    /// An hour later, as far as the leases go.
    fn let_leases_expire(&self) -> Outcome<()> {
        match &self.ground {
            Ground::Memory(stores, _) => {
                stores.iter().for_each(|store| store.backdate("/leases/", TimeDelta::hours(1)));
                Ok(())
            }
            Ground::Server { .. } => {
                NAMES.iter().try_for_each(|name| System::expire_leases(&self.files.repository(name)))
            }
        }
    }

    /// The manifests of one repository but those that are known; each must be whole.
    async fn manifests(&self, repository: usize, known: &[BackupId]) -> Outcome<Vec<Manifest>> {
        let store = &*self.stores[repository];
        let mut manifests = vec![];
        for object in list_all(store, &layout::system(&self.policy.system)).await? {
            let Some(id) = layout::parse_manifest(&object.key).filter(|id| !known.contains(id)) else {
                continue;
            };
            let (manifest, _) = manifest::read(store, &self.policy.system, &id).await?;
            let faults = missing_objects(store, &manifest).await?;
            assert!(faults.is_empty(), "half a backup is listed: {faults:?}");
            manifests.push(manifest);
        }
        Ok(manifests)
    }

    /// Decrypts and decompresses every artifact of a backup in one repository.
    async fn read_back(&self, repository: usize, id: &BackupId) -> Outcome<()> {
        let store = &self.stores[repository];
        let (manifest, _) = manifest::read(&**store, &self.policy.system, id).await?;
        let folder = layout::backup(&self.policy.system, id);
        for artifact in manifest.artifacts {
            let window = ReadWindow { chunk: 5000, parallel: 2 };
            let stream =
                reader::stream(Arc::clone(store), &folder, &artifact, window, CancellationToken::new());
            let identities = self.identities.clone();
            let plain = tokio::task::spawn_blocking(move || -> Outcome<u64> {
                let mut plain =
                    unseal(stream.into_reader(), &artifact.encoding, &identities, Some(artifact.plain))?;
                let mut bytes = vec![];
                plain.read_to_end(&mut bytes)?;
                Ok(bytes.len() as u64)
            });
            assert!(plain.await?? > 0);
        }
        Ok(())
    }

    /// What is there of backups that were not committed.
    async fn leftovers(&self) -> Outcome<Vec<String>> {
        let mut left = vec![];
        for (name, store) in NAMES.iter().zip(&self.stores) {
            let prefix = layout::backups(&self.policy.system, &self.policy.sources[0].name);
            let keys: Vec<_> = list_all(&**store, &prefix).await?.into_iter().map(|info| info.key).collect();
            let folders: Vec<_> = keys.iter().filter_map(|key| key.strip_suffix(layout::MANIFEST)).collect();
            let is_left = |key: &&String| !folders.iter().any(|folder| key.starts_with(folder));
            left.extend(keys.iter().filter(is_left).map(|key| format!("{name}: {key}")));
            let uploads = require_admin(&**store)?.pending_uploads("").await?;
            left.extend(uploads.into_iter().map(|upload| format!("{name}: upload of {}", upload.key)));
        }
        Ok(left)
    }

    async fn check_report(&self, report: &BackupReport, manifests: &[Vec<Manifest>]) -> Outcome<()> {
        let holds =
            |n: usize, id: &BackupId| manifests[n].iter().any(|manifest: &Manifest| manifest.id == *id);
        if let SourceOutcome::Stored { backup, repositories, missing, .. } = &report.sources[0].outcome {
            for name in repositories {
                let n = NAMES.iter().position(|known| *known == name.as_str()).ok_or("name")?;
                assert!(holds(n, backup), "{name} is said to hold {backup} and does not");
            }
            assert_eq!(repositories.len() + missing.len(), NAMES.len(), "{report:#?}");
            assert_eq!(report.outcome == RunOutcome::Succeeded, missing.is_empty(), "{report:#?}");
        } else {
            assert!(matches!(report.outcome, RunOutcome::Failed | RunOutcome::Interrupted), "{report:#?}");
        }
        for entry in self.catalog.backups(&Filter::default()).await? {
            let key = layout::manifest(&self.policy.system, entry.id());
            let mut held = 0;
            for store in &self.stores {
                held += usize::from(store.head(&key).await?.is_some());
            }
            assert!(held > 0, "the catalog lists {}, which no repository has", entry.id());
        }
        Ok(())
    }

    /// Takes a backup whose operation number `step` meets with a mishap, and looks at what is there afterwards.
    /// `None` where it had no such operation.
    async fn step(&self, state: &mut Progress, step: usize, fate: &Arc<Fate>) -> Outcome<Option<()>> {
        let mishap = state.mishap;
        let left_before = self.leftovers().await?;
        let report = self.back_up(fate).await?;
        if !fate.came_up() {
            assert_eq!(report.ok_or("stopped")??.outcome, RunOutcome::Succeeded);
            return Ok(None);
        }
        let told = format!("{mishap:?} at step {step}, {}", fate.operation());
        tell(&format!("{told}: {}", outcome_of(&report)));
        let mut manifests = vec![];
        for repository in 0..NAMES.len() {
            manifests.push(self.manifests(repository, &state.known).await?);
            self.read_back(repository, &state.before).await.map_err(|error| format!("{told}: {error}"))?;
        }
        match &report {
            Some(Ok(report)) => self.check_report(report, &manifests).await?,
            Some(Err(error)) => {
                let new = manifests.iter().flatten().filter(|manifest| manifest.id != state.before).count();
                assert_eq!(new, 0, "{told}: refused ({error}), and yet there is a backup");
            }
            None => {}
        }
        if mishap == Mishap::Interrupted {
            assert_eq!(self.leftovers().await?, left_before, "{told}");
        }
        state.known.extend(manifests.iter().flatten().map(|manifest| manifest.id.clone()));
        assert_eq!(self.order.violations(), Vec::<String>::new(), "{told}");
        self.let_leases_expire()?;
        // After a mishap that was noticed, the run of the next step is the next run.
        let noticed = report.is_some();
        if noticed && !step.is_multiple_of(8) {
            return Ok(Some(()));
        }
        state.before = self.back_up_well().await.map_err(|error| format!("{told}: {error}"))?;
        for (name, store) in NAMES.iter().zip(&self.stores) {
            let left = require_admin(&**store)?.pending_uploads("").await?;
            assert!(left.is_empty(), "{told}: uploads are left in {name}: {left:?}");
        }
        Ok(Some(()))
    }
}

/// What is known of the runs so far.
struct Progress {
    mishap: Mishap,
    /// The last backup that nothing happened to.
    before: BackupId,
    known: Vec<BackupId>,
}

#[expect(clippy::print_stdout, reason = "cargo shows it when the test fails")]
fn tell(text: &str) {
    println!("{text}");
}

/// Repeats a backup until every one of its operations met with `mishap`. Returns how many there were.
async fn at_every_step(mishap: Mishap) -> Outcome<usize> {
    let bench = Bench::in_memory().await?;
    let mut state = Progress { mishap, before: bench.back_up_well().await?, known: vec![] };
    for step in 0..STEPS_AT_MOST {
        if bench.step(&mut state, step, &Fate::new(step, mishap)).await?.is_none() {
            assert!(step >= STEPS_AT_LEAST, "a backup of {step} operations?");
            tell(&format!("{mishap:?} at {step} steps"));
            return Ok(step);
        }
    }
    Err(format!("a backup of more than {STEPS_AT_MOST} operations").into())
}

/// The same of the operations of one repository. Whatever becomes of it, the other gets the backup.
async fn at_every_step_of(repository: usize, mishap: Mishap) -> Outcome<usize> {
    let bench = Bench::in_memory().await?;
    let (own, other) = (bench.stores[repository].location(), NAMES[1 - repository]);
    let mut before = bench.back_up_well().await?;
    let mut known = vec![];
    for step in 0..STEPS_AT_MOST {
        let fate = Fate::of_store(step, mishap, own.clone());
        let report = bench.back_up(&fate).await?.ok_or("stopped")??;
        if !fate.came_up() {
            assert!(step >= STEPS_OF_ONE_AT_LEAST, "a backup of {step} operations?");
            assert_eq!(report.outcome, RunOutcome::Succeeded);
            return Ok(step);
        }
        let told = format!("{mishap:?} at step {step}, {}", fate.operation());
        let manifests = [bench.manifests(0, &known).await?, bench.manifests(1, &known).await?];
        bench.check_report(&report, &manifests).await?;
        let SourceOutcome::Stored { backup, repositories, .. } = &report.sources[0].outcome else {
            return Err(format!("{told}: {report:#?}").into());
        };
        assert!(repositories.iter().any(|name| name.as_str() == other), "{told}: {report:#?}");
        bench.read_back(1 - repository, backup).await.map_err(|error| format!("{told}: {error}"))?;
        bench.read_back(repository, &before).await.map_err(|error| format!("{told}: {error}"))?;
        known.extend(manifests.iter().flatten().map(|manifest| manifest.id.clone()));
        assert_eq!(bench.order.violations(), Vec::<String>::new(), "{told}");
        bench.let_leases_expire()?;
        if step % 8 == 0 {
            before = bench.back_up_well().await.map_err(|error| format!("{told}: {error}"))?;
        }
    }
    Err(format!("a backup of more than {STEPS_AT_MOST} operations").into())
}

fn outcome_of(report: &Option<Result<BackupReport, backup::BackupError>>) -> String {
    match report {
        None => "stopped".to_owned(),
        Some(Err(error)) => drctl::text::error_chain(error),
        Some(Ok(report)) => {
            let reasons: Vec<_> = report.sources.iter().flat_map(|source| source.outcome.reasons()).collect();
            format!("{:?} {}", report.outcome, reasons.join("; "))
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_whose_every_step_fails_once() -> Outcome<()> {
    at_every_step(Mishap::Fails).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_whose_every_answer_is_lost_once() -> Outcome<()> {
    at_every_step(Mishap::AnswerLost).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_whose_stores_are_gone_from_every_step_on() -> Outcome<()> {
    at_every_step(Mishap::DownFromHere).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_killed_after_every_step() -> Outcome<()> {
    at_every_step(Mishap::StopsAfter).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_interrupted_at_every_step() -> Outcome<()> {
    at_every_step(Mishap::Interrupted).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_whose_stores_are_full_from_every_step_on() -> Outcome<()> {
    at_every_step(Mishap::FullFromHere).await.map(drop)
}

/// What a store answers that is gone, closed, emptied or broken.
const FAILURES: [Mishap; 5] = [
    Mishap::FailsFromHere(StoreErrorKind::Unreachable),
    Mishap::FailsFromHere(StoreErrorKind::Forbidden),
    Mishap::FailsFromHere(StoreErrorKind::NoBucket),
    Mishap::FailsFromHere(StoreErrorKind::Other),
    Mishap::FullFromHere,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_whose_primary_fails_from_every_step_on() -> Outcome<()> {
    let mut steps = 0;
    for mishap in FAILURES {
        steps += at_every_step_of(0, mishap).await?;
    }
    tell(&format!("the primary failed at {steps} steps"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_whose_copy_fails_from_every_step_on() -> Outcome<()> {
    let mut steps = 0;
    for mishap in FAILURES {
        steps += at_every_step_of(1, mishap).await?;
    }
    tell(&format!("the copy failed at {steps} steps"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_fails_at_every_artifact() -> Outcome<()> {
    let bench = Bench::in_memory().await?;
    let before = bench.back_up_well().await?;
    let source = FakeSource::new(&ARTIFACTS);
    let numbers = 0..source.artifacts();
    let faults = [FakeFault::Rejects, FakeFault::EndsBadly].into_iter();
    let faults = faults.chain(numbers.clone().map(FakeFault::Breaks));
    let faults = faults.chain(numbers.map(FakeFault::ExitsBadly));
    for fault in faults {
        let failing = source.clone().failing(fault);
        let fate = Fate::new(usize::MAX, Mishap::Fails);
        let report = bench.back_up_of(Some(&failing), &fate).await?.ok_or("stopped")??;
        let SourceOutcome::Failed { reason } = &report.sources[0].outcome else {
            return Err(format!("{fault:?}: {report:#?}").into());
        };
        assert!(reason.contains(&format!("the fake source failed: {fault:?}")), "{fault:?}: {reason}");
        assert_eq!(bench.leftovers().await?, Vec::<String>::new(), "{fault:?}");
        for repository in 0..NAMES.len() {
            assert_eq!(
                bench.manifests(repository, std::slice::from_ref(&before)).await?.len(),
                0,
                "{fault:?}"
            );
        }
    }
    bench.back_up_well().await?;
    Ok(())
}

/// Some of the steps of a dump of a real server into directories, the lease, a part and the manifest among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_a_server_that_meets_with_each_mishap() -> Outcome<()> {
    let bench = Bench::on_a_server().await?;
    let mut before = bench.back_up_well().await?;
    let mut known = vec![];
    for mishap in [
        Mishap::Fails,
        Mishap::AnswerLost,
        Mishap::DownFromHere,
        Mishap::StopsAfter,
        Mishap::Interrupted,
        Mishap::FullFromHere,
    ] {
        let mut state = Progress { mishap, before, known };
        for step in [8, 24, 40] {
            let met = bench.step(&mut state, step, &Fate::new(step, mishap)).await?;
            met.ok_or_else(|| format!("a dump has fewer steps than {step}"))?;
        }
        (before, known) = (state.before, state.known);
    }
    Ok(())
}
