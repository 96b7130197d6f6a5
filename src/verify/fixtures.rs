//! Encrypted backups in directories, for unit tests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::{BackupEntry, Catalog, CatalogLocation, Depth, Filter, refresh};
use crate::event::Events;
use crate::model::{Manifest, RunId};
use crate::pipeline::{Identities, MemoryProducer, NewIdentity, Recipe};
use crate::platform::{CancellationToken, FixedClock};
use crate::policy::{Compression, Encryption, Recipient, Transfer};
use crate::repository::fixtures;
use crate::repository::fixtures::{noon, repositories, system};
use crate::repository::{BackupWriter, Repositories, layout};
use crate::run::RunContext;
use crate::verify::plan::{VerifyPlan, plan};

pub(crate) struct TestBench {
    pub(crate) root: tempfile::TempDir,
    pub(crate) run: RunContext,
    pub(crate) identity: NewIdentity,
}

pub(crate) fn transfer() -> Transfer {
    Transfer {
        part_size: 10_000,
        parallel: 2,
        bandwidth: None,
        stall: Duration::from_secs(20),
        object_size: 50_000,
    }
}

/// Returns bytes that do not compress.
pub(crate) fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(size).collect()
}

impl TestBench {
    pub(crate) async fn new(names: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let location = CatalogLocation::Sqlite(root.path().join("state/catalog.db"));
        let set = repositories(root.path(), names).await;
        let set = set.for_writing(&system(), Some(fixtures::REPOSITORY_ID), noon()).await.unwrap();
        let run = RunContext {
            begun: noon(),
            identities: Identities::default(),
            id: RunId::new(noon(), 77),
            system: system(),
            host: "host".to_owned(),
            clock: Arc::new(FixedClock::at(noon())),
            repositories: set,
            catalog: Some(Catalog::open(&location, &system()).await.unwrap()),
            events: Events::default(),
            cancel: CancellationToken::new(),
        };
        Self { root, run, identity: NewIdentity::generate() }
    }

    /// Stores a backup of two artifacts, one of them in several objects, in the named repositories.
    pub(crate) async fn store(&self, minutes: i64, names: &[&str]) -> Manifest {
        let chosen = self.run.repositories.iter().filter(|known| names.contains(&known.name.as_str()));
        let recipients = vec![Recipient { holder: None, key: self.identity.recipient() }];
        let recipe =
            Recipe::new(Compression { level: 1, threads: 1 }, &Encryption::Age { recipients }).unwrap();
        let (mut manifest, _) = fixtures::backup(minutes);
        let mut writer = BackupWriter::new(
            Repositories::new(chosen.cloned().collect()),
            system(),
            manifest.id.clone(),
            recipe,
            transfer(),
            vec![],
            Events::default(),
            CancellationToken::new(),
        );
        let seed = u64::try_from(minutes).unwrap();
        let large = Box::new(MemoryProducer::new(noise(120_000, seed)));
        let small = Box::new(MemoryProducer::new(noise(500, seed)));
        manifest.artifacts = vec![
            writer.store("database.dump", large, None).await.unwrap(),
            writer.store("details.json", small, None).await.unwrap(),
        ];
        assert!(manifest.artifacts[0].objects.len() > 1);
        writer.commit(&manifest).await.unwrap();
        manifest
    }

    pub(crate) async fn entries(&self) -> Vec<BackupEntry> {
        let (catalog, set) = (self.run.catalog.as_ref().unwrap(), &self.run.repositories);
        refresh(catalog, &system(), set, Depth::New, noon()).await.unwrap();
        catalog.backups(&Filter::default()).await.unwrap()
    }

    /// Returns a plan to verify everything.
    pub(crate) async fn verify_plan(&self) -> VerifyPlan {
        let entries = self.entries().await;
        plan(&entries.iter().collect::<Vec<_>>(), &entries, vec![], None)
    }

    pub(crate) fn path(&self, repository: &str, manifest: &Manifest, object: &str) -> PathBuf {
        self.root.path().join(repository).join(layout::object(&system(), &manifest.id, object))
    }
}
