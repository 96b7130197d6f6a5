//! A backup that meets with a mishap at each of its steps, one after the other.
//!
//! Every operation on a store is counted; the backup is taken again and again, and each time the next
//! operation goes wrong. Whatever happens, only whole backups are listed, the one before stays readable,
//! and the next run works without a hand.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use drctl::backup::{self, BackupReport, SourceOutcome};
use drctl::catalog::{Catalog, CatalogLocation, Filter};
use drctl::event::Events;
use drctl::model::{BackupId, Manifest, Outcome as RunOutcome};
use drctl::pipeline::{Identities, unseal};
use drctl::platform::{CancellationToken, SystemClock, seed};
use drctl::policy::{self, Policy, SourceConfig};
use drctl::repository::reader;
use drctl::repository::reader::ReadWindow;
use drctl::repository::{Repositories, Repository, layout, manifest};
use drctl::store::directory::DirectoryStore;
use drctl::store::{Store, list_all};

use crate::support::Outcome;
use crate::support::postgres::Cluster;
use crate::support::stores::{Fate, Faulty, Mishap, Order, Ordered, missing_objects};
use crate::support::system::{Place, System};

const NAMES: [&str; 2] = ["primary", "west"];
/// A backup that does fewer things than this was not one: the count would prove nothing.
const STEPS_AT_LEAST: usize = 30;
const STEPS_AT_MOST: usize = 200;
const RUN_WITHIN: Duration = Duration::from_secs(60);

struct Bench {
    _cluster: Cluster,
    files: System,
    policy: Policy,
    stores: Vec<Arc<dyn Store>>,
    order: Arc<Order>,
    catalog: Catalog,
    identities: Identities,
}

impl Bench {
    async fn new() -> Outcome<Self> {
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
        let mut policy = policy::load(&files.policy()).map_err(|faults| format!("{faults:?}"))?;
        policy.transfer.part_size = 4096;
        policy.transfer.object_size = 4096 * 3;
        policy.transfer.parallel = 2;
        // Another artifact like the others.
        if let SourceConfig::Postgres(source) = &mut policy.sources[0].config {
            source.logical.as_mut().ok_or("no dump")?.globals = false;
        }
        let order = Arc::<Order>::default();
        let mut stores: Vec<Arc<dyn Store>> = vec![];
        for name in NAMES {
            let store = Arc::new(DirectoryStore::open(files.repository(name)));
            stores.push(Ordered::new(store, Arc::clone(&order)));
        }
        let location = CatalogLocation::of(None, None, &files.path().join("state"))?;
        let catalog = Catalog::open(&location, &policy.system).await?;
        let identities = Identities::read(std::slice::from_ref(&files.operational))?;
        Ok(Self { _cluster: cluster, files, policy, stores, order, catalog, identities })
    }

    /// Takes a backup; `None` where `fate` stopped it.
    async fn back_up(&self, fate: &Arc<Fate>) -> Outcome<Option<Result<BackupReport, backup::BackupError>>> {
        let clock = Arc::new(SystemClock);
        let plan = backup::plan(&self.policy, &[], None, drctl::platform::Clock::now(&*clock), seed())?;
        let list = NAMES.iter().zip(&self.stores).map(|(name, store)| {
            let store = Faulty::new(Arc::clone(store), Arc::clone(fate));
            Ok(Repository { name: name.parse()?, store })
        });
        let repositories = Repositories::of(list.collect::<Outcome<_>>()?);
        let (events, cancel) = (Events::default(), CancellationToken::new());
        let run =
            backup::execute(plan, &self.policy, repositories, Some(&self.catalog), clock, &events, &cancel);
        tokio::select! {
            report = tokio::time::timeout(RUN_WITHIN, run) => Ok(Some(report?)),
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
        for name in NAMES {
            let lease = self.files.repository(name).join("shop/leases/database.json");
            if let Ok(file) = std::fs::File::open(&lease) {
                file.set_modified(file.metadata()?.modified()? - Duration::from_secs(3600))?;
            }
        }
        Ok(())
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
            assert_eq!(report.outcome, RunOutcome::Failed, "{report:#?}");
        }
        for entry in self.catalog.backups(&Filter::default()).await? {
            let id = entry.id();
            let gone = |n: usize| {
                let key = layout::manifest(&self.policy.system, id);
                !self.files.repository(NAMES[n]).join(key).exists()
            };
            assert!(!(gone(0) && gone(1)), "the catalog lists {id}, which no repository has");
        }
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "cargo shows it when the test fails")]
fn tell(text: &str) {
    println!("{text}");
}

/// Repeats a backup until every one of its operations met with `mishap`.
async fn at_every_step(mishap: Mishap) -> Outcome<()> {
    let bench = Bench::new().await?;
    let mut before = bench.back_up_well().await?;
    let mut known = vec![];
    for step in 0..STEPS_AT_MOST {
        let fate = Fate::new(step, mishap);
        let report = bench.back_up(&fate).await?;
        if !fate.came_up() {
            assert!(step >= STEPS_AT_LEAST, "a backup of {step} operations?");
            assert_eq!(report.ok_or("stopped")??.outcome, RunOutcome::Succeeded);
            return Ok(());
        }
        let told = format!("{mishap:?} at step {step}, {}", fate.operation());
        tell(&format!("{told}: {}", outcome_of(&report)));
        let mut manifests = vec![];
        for repository in 0..NAMES.len() {
            manifests.push(bench.manifests(repository, &known).await?);
            bench.read_back(repository, &before).await.map_err(|error| format!("{told}: {error}"))?;
        }
        match &report {
            Some(Ok(report)) => bench.check_report(report, &manifests).await?,
            Some(Err(error)) => {
                let new = manifests.iter().flatten().filter(|manifest| manifest.id != before).count();
                assert_eq!(new, 0, "{told}: refused ({error}), and yet there is a backup");
            }
            None => {}
        }
        known.extend(manifests.iter().flatten().map(|manifest| manifest.id.clone()));
        assert_eq!(bench.order.violations(), Vec::<String>::new(), "{told}");
        bench.let_leases_expire()?;
        // After a mishap that was noticed, the run of the next step is the next run.
        let noticed = report.is_some();
        if noticed && step % 8 != 0 {
            continue;
        }
        before = bench.back_up_well().await.map_err(|error| format!("{told}: {error}"))?;
        for (name, store) in NAMES.iter().zip(&bench.stores) {
            let left = store.pending_uploads("").await?;
            assert!(left.is_empty(), "{told}: uploads are left in {name}: {left:?}");
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
    at_every_step(Mishap::Fails).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_whose_every_answer_is_lost_once() -> Outcome<()> {
    at_every_step(Mishap::AnswerLost).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_whose_stores_are_gone_from_every_step_on() -> Outcome<()> {
    at_every_step(Mishap::DownFromHere).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_killed_after_every_step() -> Outcome<()> {
    at_every_step(Mishap::StopsAfter).await
}
