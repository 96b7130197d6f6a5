//! `copies sync` that meets with a mishap at each of its steps, one after the other.
//!
//! Whatever happens: no manifest stands without its objects, the source is as it was, nothing is
//! overwritten, and the next run completes the copy without a hand.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drctl::catalog::{BackupHistory, Catalog, CatalogLocation, Depth, Filter, refresh};
use drctl::copies::backups;
use drctl::event::Events;
use drctl::model::{
    Artifact, BackupId, BackupKind, Digest, Encoding, Manifest, ObjectPart, Protection, RunId, SourceName,
    SystemName, ToolFacts,
};
use drctl::platform::{CancellationToken, Clock as _, SystemClock, seed};
use drctl::policy::Transfer;
use drctl::repository::{Repositories, Repository, layout, manifest};
use drctl::run::RunContext;
use drctl::store::testing::memory::MemoryStore;
use drctl::store::{PutOptions, Store, list_all};

use crate::support::Outcome;
use crate::support::stores::{Order, Ordered, missing_objects};
use drctl::store::testing::faulty::{Fate, Faulty, Mishap};

const NAMES: [&str; 2] = ["primary", "west"];
/// A run that does fewer things than this did not copy: the count would prove nothing.
const STEPS_AT_LEAST: usize = 25;
const STEPS_AT_MOST: usize = 150;
const RUN_WITHIN: Duration = Duration::from_secs(60);

struct Bench {
    /// For the catalog.
    root: tempfile::TempDir,
    system: SystemName,
    stores: Vec<Arc<dyn Store>>,
    order: Arc<Order>,
    backup: Manifest,
}

impl Bench {
    /// A backup in the primary: an object of several parts, a small one, and the rest of a longer artifact.
    async fn new() -> Outcome<Self> {
        let root = crate::support::scratch::folder()?;
        let order = Arc::<Order>::default();
        let mut stores: Vec<Arc<dyn Store>> = Vec::new();
        let mut list = Vec::new();
        for name in NAMES {
            let store = Arc::new(MemoryStore::new(name));
            list.push(Repository { name: name.parse()?, store: store.clone() });
            stores.push(Ordered::new(store, Arc::clone(&order)));
        }
        let system: SystemName = "shop".parse()?;
        let begun = SystemClock.now();
        // Only the primary was ever used.
        list.truncate(1);
        let set = Repositories::new(list).for_writing(&system, None, begun).await?;
        let repository_id = set.id().ok_or("id")?.to_owned();
        let source: SourceName = "database".parse()?;
        let id = BackupId::new(begun, &source, BackupKind::Logical, seed());
        let mut artifacts = Vec::new();
        for (name, sizes) in
            [("database.dump.zst.age", &[10_000, 5_000][..]), ("details.json.zst.age", &[300])]
        {
            let mut objects = Vec::new();
            for (n, size) in sizes.iter().enumerate() {
                let name = layout::object_name(name, n);
                let bytes = Bytes::from(name.as_bytes().repeat(*size)).slice(..*size);
                objects.push(ObjectPart { name: name.clone(), stored: Digest::compute(&bytes) });
                stores[0].put(&layout::object(&system, &id, &name), bytes, &PutOptions::absent()).await?;
            }
            let encoding = vec![Encoding::Zstd, Encoding::Age];
            artifacts.push(Artifact {
                name: name.to_owned(),
                plain: Digest::compute(b"plain"),
                encoding,
                objects,
            });
        }
        let backup = Manifest {
            format: "1.0".to_owned(),
            repository_id,
            system: system.clone(),
            source,
            kind: id.kind(),
            run: RunId::new(begun, seed()),
            recovery_point: begun,
            begun,
            ended: begun,
            host: "a".to_owned(),
            tool: ToolFacts { drctl: "0.1.0".to_owned(), producer: "pg_dump".to_owned() },
            server: None,
            physical: None,
            parent: None,
            point: None,
            managed: None,
            protection: Protection::Age { recipients: vec![] },
            artifacts,
            by_hand: vec![],
            id,
        };
        let bytes = manifest::serialise(&backup)?;
        manifest::commit(&*stores[0], &system, &backup.id, bytes, &PutOptions::default()).await?;
        Ok(Self { root, system, stores, order, backup })
    }

    /// All that the verb does; `None` where `fate` stopped it, else whether everything is complete.
    async fn sync(&self, fate: &Arc<Fate>) -> Outcome<Option<bool>> {
        let list = NAMES.iter().zip(&self.stores).map(|(name, store)| {
            let store = Faulty::new(Arc::clone(store), Arc::clone(fate));
            Ok(Repository { name: name.parse()?, store })
        });
        let list = list.collect::<Outcome<Vec<_>>>()?;
        tokio::select! {
            complete = tokio::time::timeout(RUN_WITHIN, self.sync_with(list)) => Ok(Some(complete??)),
            () = fate.stopped.cancelled() => Ok(None),
        }
    }

    async fn sync_with(&self, list: Vec<Repository>) -> Outcome<bool> {
        let location = CatalogLocation::resolve(None, None, &self.root.path().join("state"))?;
        let catalog = Catalog::open(&location, &self.system).await?;
        let now = SystemClock.now();
        let id = catalog.repository_id().await?;
        let repositories = Repositories::new(list).for_writing(&self.system, id.as_deref(), now).await;
        let Ok(repositories) = repositories else { return Ok(false) };
        let refreshed = refresh(&catalog, &self.system, &repositories, Depth::New, now).await?;
        let entries = catalog.backups(&Filter::default()).await?;
        let plan = backups::plan(&entries, &backups::names(&repositories), &BackupHistory::default());
        let (clock, cancel) = (Arc::new(SystemClock), CancellationToken::new());
        let run = RunContext::begin(
            self.system.clone(),
            repositories,
            Some(catalog),
            clock,
            Events::default(),
            cancel,
        );
        let transfer = Transfer {
            part_size: 4_096,
            parallel: 2,
            bandwidth: None,
            stall: Duration::from_secs(20),
            object_size: 1 << 30,
        };
        let report = backups::execute(&run, plan, transfer, &[]).await;
        run.close().await;
        Ok(report.is_complete() && refreshed.is_complete() && report.unrecorded.is_empty())
    }

    /// The keys of the backup's folder.
    async fn keys(&self, repository: usize) -> Outcome<Vec<String>> {
        let folder = layout::backup(&self.system, &self.backup.id);
        Ok(list_all(&*self.stores[repository], &folder).await?.into_iter().map(|object| object.key).collect())
    }

    async fn check_nothing_is_half(&self, when: &str) -> Outcome<()> {
        for (name, store) in NAMES.iter().zip(&self.stores) {
            if store.head(&layout::manifest(&self.system, &self.backup.id)).await?.is_some() {
                let missing = missing_objects(&**store, &self.backup).await?;
                assert!(missing.is_empty(), "{when}: {name}: {missing:?}");
            }
        }
        assert_eq!(self.order.violations(), Vec::<String>::new(), "{when}");
        assert_eq!(self.keys(0).await?.len(), 4, "{when}: the source is as it was");
        Ok(())
    }
}

async fn each_step(mishap: Mishap) -> Outcome<()> {
    for at in 0..STEPS_AT_MOST {
        let bench = Bench::new().await?;
        let fate = Fate::new(at, mishap);
        let complete = bench.sync(&fate).await?;
        let when = format!("{mishap:?} at {at}: {}", fate.operation());
        bench.check_nothing_is_half(&when).await?;
        if complete == Some(true) {
            assert_eq!(bench.keys(0).await?, bench.keys(1).await?, "{when}: a success that is none");
        }
        if !fate.came_up() {
            assert_eq!(complete, Some(true), "{when}");
            assert!(at >= STEPS_AT_LEAST, "only {at} steps");
            return Ok(());
        }
        let again = bench.sync(&Fate::new(usize::MAX, Mishap::Fails)).await?;
        assert_eq!(again, Some(true), "the run after {when}");
        bench.check_nothing_is_half(&format!("the run after {when}")).await?;
        assert_eq!(bench.keys(0).await?, bench.keys(1).await?, "the run after {when}");
    }
    Err(format!("more than {STEPS_AT_MOST} steps").into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_which_any_one_operation_fails() -> Outcome<()> {
    each_step(Mishap::Fails).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_which_any_one_answer_is_lost() -> Outcome<()> {
    each_step(Mishap::AnswerLost).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_stores_go_down_at_any_moment() -> Outcome<()> {
    each_step(Mishap::DownFromHere).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_killed_at_any_moment() -> Outcome<()> {
    each_step(Mishap::StopsAfter).await
}
