use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::upload_worker::{UploadWorker, for_uploads};
use super::{Repositories, Repository, Unavailable, layout, manifest};
use crate::event::{Event, Events};
use crate::model::{Artifact, BackupId, Manifest, ObjectPart, RepositoryName, SystemName};
use crate::pipeline::{Budget, PartLayout, Piece, PipelineError, Produce, Recipe, SealProgress, seal};
use crate::platform::CancellationToken;
use crate::policy::Transfer;
use crate::store::{PutOptions, StoreErrorKind};

/// Parts in memory besides those in flight: the one being filled.
const PARTS_IN_HAND: usize = 1;
const TICK: Duration = Duration::from_millis(250);

/// Why a backup could not be written.
#[derive(Debug, Error)]
pub enum WriteError {
    #[error("failed to store `{artifact}`")]
    Producer { artifact: String, source: PipelineError },
    #[error("failed to store `{artifact}` in any repository{}", Unavailable::reasons(.lost))]
    NoneLeft { artifact: String, lost: Vec<Unavailable> },
    #[error("failed to go on: the run was interrupted")]
    Interrupted,
    #[error("failed to make the manifest")]
    Manifest(#[source] manifest::ManifestError),
    #[error("failed to go on: a worker ended without a result")]
    Worker(#[source] tokio::task::JoinError),
}

/// Writes one backup into every repository at once.
///
/// A repository that fails is given up without affecting the others; what it already has remains without a
/// manifest and is not a backup. End with [`BackupWriter::commit`] or [`BackupWriter::discard`].
pub struct BackupWriter {
    repositories: Repositories,
    system: SystemName,
    backup: BackupId,
    recipe: Recipe,
    transfer: Transfer,
    options: Vec<(RepositoryName, PutOptions)>,
    /// The same repositories, wrapped for uploads.
    uploads: Vec<Repository>,
    budget: Budget,
    written: Vec<String>,
    events: Events,
    cancel: CancellationToken,
}

impl BackupWriter {
    /// Creates a writer. `locks`: the [`PutOptions`] for the objects of each repository; repositories without
    /// an entry get [`PutOptions::absent`].
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a different thing, given once, by name at the one caller"
    )]
    pub fn new(
        repositories: Repositories,
        system: SystemName,
        backup: BackupId,
        recipe: Recipe,
        transfer: Transfer,
        locks: Vec<(RepositoryName, PutOptions)>,
        events: Events,
        cancel: CancellationToken,
    ) -> Self {
        let uploads = repositories.iter().map(|repository| for_uploads(repository, &transfer)).collect();
        Self {
            repositories,
            system,
            backup,
            recipe,
            transfer,
            options: locks,
            uploads,
            budget: Budget::of_parts(transfer.parallel + PARTS_IN_HAND),
            written: vec![],
            events,
            cancel,
        }
    }

    /// Stores the output of `producer` under `name` with the recipe's suffix. `estimate`: the expected plain
    /// bytes, for progress only.
    pub async fn store(
        &mut self,
        name: &str,
        producer: Box<dyn Produce>,
        estimate: Option<u64>,
    ) -> Result<Artifact, WriteError> {
        let artifact = format!("{name}{}", self.recipe.suffix());
        let shape = PartLayout {
            part_size: usize::try_from(self.transfer.part_size).unwrap_or(usize::MAX),
            parts_per_object: u32::try_from(self.transfer.object_size / self.transfer.part_size)
                .unwrap_or(u32::MAX)
                .max(1),
        };
        let (pieces, received) = mpsc::channel(1);
        let progress = Arc::<SealProgress>::default();
        let sealing = {
            let (recipe, budget, progress) =
                (self.recipe.clone(), self.budget.clone(), Arc::clone(&progress));
            tokio::task::spawn_blocking(move || seal(producer, &recipe, shape, budget, pieces, progress))
        };
        self.written.push(artifact.clone());
        let ticker = self.tick(name.to_owned(), Arc::clone(&progress), estimate);
        let targets = self.begin_targets(&artifact);
        let targets = self.deal(received, targets).await;
        ticker.abort();

        // The producer's result comes first: nothing is completed from an incomplete stream.
        let sealed = sealing.await.map_err(WriteError::Worker)?;
        if self.cancel.is_cancelled() {
            abort(targets).await;
            return Err(WriteError::Interrupted);
        }
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(PipelineError::Stopped) => return Err(self.none_left(artifact)),
            Err(source) => {
                abort(targets).await;
                return Err(WriteError::Producer { artifact, source });
            }
        };
        for target in targets {
            self.conclude(target).await;
        }
        if self.cancel.is_cancelled() {
            return Err(WriteError::Interrupted);
        }
        if self.repositories.is_empty() {
            return Err(self.none_left(artifact));
        }
        let artifact = Artifact {
            objects: sealed
                .objects
                .iter()
                .enumerate()
                .map(|(n, stored)| ObjectPart { name: layout::object_name(&artifact, n), stored: *stored })
                .collect(),
            name: artifact,
            plain: sealed.plain,
            encoding: self.recipe.encoding(),
        };
        self.events.emit(&Event::ArtifactStored {
            backup: self.backup.clone(),
            artifact: artifact.name.clone(),
            plain_bytes: artifact.plain.size,
            stored_bytes: artifact.stored_size(),
        });
        Ok(artifact)
    }

    /// Sends each piece to every target until the stream ends or no target is left. Returns the live targets.
    async fn deal(
        &mut self,
        mut pieces: mpsc::Receiver<Piece>,
        mut targets: Vec<UploadWorker>,
    ) -> Vec<UploadWorker> {
        loop {
            let piece = tokio::select! {
                piece = pieces.recv() => piece,
                () = self.cancel.cancelled() => None,
            };
            let Some(piece) = piece else { return targets };
            let mut alive = Vec::with_capacity(targets.len());
            for target in targets {
                if target.send(piece.clone()).await {
                    alive.push(target);
                } else {
                    self.conclude(target).await;
                }
            }
            targets = alive;
            if targets.is_empty() {
                return targets;
            }
        }
    }

    fn begin_targets(&self, artifact: &str) -> Vec<UploadWorker> {
        let folder = layout::backup(&self.system, &self.backup);
        let is_usable = |name: &RepositoryName| self.repositories.iter().any(|usable| usable.name == *name);
        let uploads = self.uploads.iter().filter(|repository| is_usable(&repository.name));
        let begin = |repository: &Repository| {
            UploadWorker::begin(
                repository,
                format!("{folder}{artifact}"),
                self.options_for(&repository.name),
                self.transfer.parallel,
                self.cancel.clone(),
            )
        };
        uploads.map(begin).collect()
    }

    fn options_for(&self, name: &RepositoryName) -> PutOptions {
        let own = self.options.iter().find(|(known, _)| known == name);
        own.map_or_else(PutOptions::absent, |(_, options)| options.clone())
    }

    /// Waits for the end of a target and gives up its repository if it failed. Keeps one that ended because
    /// the run was stopped: its objects still have to be removed.
    async fn conclude(&mut self, target: UploadWorker) {
        let name = target.name.clone();
        if let Err(error) = target.end().await
            && !self.cancel.is_cancelled()
        {
            self.lose(&name, error);
        }
    }

    fn lose(&mut self, name: &RepositoryName, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) {
        let Some(repository) = self.repositories.find(name) else { return };
        let lost = Unavailable::new(repository, error);
        self.events.emit(&Event::RepositoryLost { repository: name.clone(), reason: lost.reason() });
        self.repositories.lose(lost);
    }

    fn none_left(&self, artifact: String) -> WriteError {
        if self.cancel.is_cancelled() {
            return WriteError::Interrupted;
        }
        WriteError::NoneLeft { artifact, lost: self.repositories.lost().to_vec() }
    }

    fn tick(&self, subject: String, progress: Arc<SealProgress>, total: Option<u64>) -> JoinHandle<()> {
        let events = self.events.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            loop {
                ticks.tick().await;
                let bytes = progress.plain();
                events.emit(&Event::Progress { subject: subject.clone(), bytes, total, estimated: true });
            }
        })
    }

    /// Commits the backup: writes the manifest into every repository that has all of its artifacts. Returns
    /// the repositories that hold the backup and those that became unavailable.
    pub async fn commit(mut self, manifest: &Manifest) -> Result<Repositories, WriteError> {
        if self.cancel.is_cancelled() {
            self.discard().await;
            return Err(WriteError::Interrupted);
        }
        let bytes = match manifest::serialise(manifest) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.discard().await;
                return Err(WriteError::Manifest(error));
            }
        };
        for repository in self.repositories.iter().cloned().collect::<Vec<_>>() {
            let options = self.options_for(&repository.name);
            let (store, id) = (&*repository.store, &self.backup);
            if let Err(error) = manifest::commit(store, &self.system, id, bytes.clone(), &options).await {
                self.lose(&repository.name, error);
            }
        }
        if self.repositories.is_empty() {
            return Err(self.none_left(layout::MANIFEST.to_owned()));
        }
        Ok(self.repositories)
    }

    /// Removes what was stored so far, best effort: a store that refuses to delete keeps objects that no
    /// manifest names. Returns those repositories.
    pub async fn discard(self) -> Vec<Unavailable> {
        self.clear().await
    }

    /// Removes the leftovers of an earlier, uncommitted run of this backup. Returns the repositories that
    /// keep some of them.
    pub async fn clear(&self) -> Vec<Unavailable> {
        let folder = layout::backup(&self.system, &self.backup);
        let mut kept = Vec::new();
        for repository in self.repositories.iter() {
            let cleared = tokio::time::timeout(self.transfer.stall, clear(&*repository.store, &folder)).await;
            let error = match cleared {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(_) => crate::store::StoreError {
                    operation: "delete",
                    key: folder.clone(),
                    location: repository.store.location(),
                    kind: StoreErrorKind::Unreachable,
                    detail: None,
                },
            };
            kept.push(Unavailable::new(repository, error));
        }
        kept
    }
}

async fn clear(store: &dyn crate::store::Store, folder: &str) -> Result<(), crate::store::StoreError> {
    let objects = crate::store::list_all(store, folder).await?;
    let keys: Vec<String> = objects.into_iter().map(|object| object.key).collect();
    store.delete(&keys).await.into_iter().collect::<Result<(), _>>()?;
    let Some(admin) = store.admin() else { return Ok(()) };
    match admin.pending_uploads(folder).await {
        Err(error) if error.kind == StoreErrorKind::Unsupported => Ok(()),
        Err(error) => Err(error),
        Ok(uploads) => {
            for upload in uploads {
                admin.abort_upload(&upload).await?;
            }
            Ok(())
        }
    }
}

async fn abort(targets: Vec<UploadWorker>) {
    for target in targets {
        target.abort().await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::model::{BackupKind, Digest, Protection, RunId, ToolFacts};
    use crate::pipeline::{MemoryProducer, NewIdentity, unseal};
    use crate::policy::{Compression, Encryption, Recipient};
    use crate::repository::reader;
    use crate::repository::reader::ReadWindow;
    use crate::repository::{FormatVersion, Repository};
    use crate::store::directory::DirectoryStore;
    use crate::store::list_all;

    struct Bench {
        roots: Vec<tempfile::TempDir>,
        repositories: Repositories,
        identity: NewIdentity,
        system: SystemName,
        backup: BackupId,
    }

    impl Bench {
        async fn new() -> Self {
            let roots: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
            let mut repositories = vec![];
            for (name, root) in ["primary", "west"].iter().zip(&roots) {
                let store = Arc::new(DirectoryStore::create(root.path().join("store")).await.unwrap());
                repositories.push(Repository { name: name.parse().unwrap(), store });
            }
            let begun = "2026-11-20T22:02:51Z".parse().unwrap();
            Self {
                roots,
                repositories: Repositories::new(repositories),
                identity: NewIdentity::generate(),
                system: "shop".parse().unwrap(),
                backup: BackupId::new(begun, &"database".parse().unwrap(), BackupKind::Logical, 7),
            }
        }

        fn writer(&self, cancel: CancellationToken) -> BackupWriter {
            self.slow_writer(None, cancel)
        }

        fn slow_writer(&self, bandwidth: Option<u64>, cancel: CancellationToken) -> BackupWriter {
            let recipients = vec![Recipient { holder: None, key: self.identity.recipient() }];
            let recipe =
                Recipe::new(Compression { level: 1, threads: 1 }, &Encryption::Age { recipients }).unwrap();
            let transfer = Transfer {
                part_size: 10_000,
                parallel: 2,
                bandwidth,
                stall: Duration::from_secs(20),
                object_size: 50_000,
            };
            BackupWriter::new(
                self.repositories.clone(),
                self.system.clone(),
                self.backup.clone(),
                recipe,
                transfer,
                vec![],
                Events::default(),
                cancel,
            )
        }

        fn manifest(&self, artifacts: Vec<Artifact>) -> Manifest {
            let begun = self.backup.begun();
            Manifest {
                format: FormatVersion::CURRENT.to_string(),
                repository_id: "0".repeat(32),
                system: self.system.clone(),
                source: self.backup.source().clone(),
                id: self.backup.clone(),
                kind: self.backup.kind(),
                run: RunId::new(begun, 7),
                recovery_point: begun,
                begun,
                ended: begun,
                host: "host".into(),
                tool: ToolFacts { drctl: "0".into(), producer: "test".into() },
                server: None,
                physical: None,
                parent: None,
                point: None,
                managed: None,
                protection: Protection::None,
                artifacts,
                by_hand: vec![],
            }
        }

        async fn keys(&self, n: usize) -> Vec<String> {
            let repository = self.repositories.iter().nth(n).unwrap();
            list_all(&*repository.store, "").await.unwrap().into_iter().map(|object| object.key).collect()
        }

        async fn read_back(&self, n: usize, artifact: &Artifact) -> std::io::Result<Vec<u8>> {
            let store = Arc::clone(&self.repositories.iter().nth(n).unwrap().store);
            let folder = layout::backup(&self.system, &self.backup);
            let window = ReadWindow { chunk: 7_000, parallel: 3 };
            let stream = reader::stream(store, &folder, artifact, window, CancellationToken::new());
            let (identities, artifact) = (self.identity.identities(), artifact.clone());
            tokio::task::spawn_blocking(move || {
                let mut bytes = vec![];
                unseal(stream.into_reader(), &artifact.encoding, &identities, Some(artifact.plain))
                    .map_err(std::io::Error::other)?
                    .read_to_end(&mut bytes)?;
                Ok(bytes)
            })
            .await
            .unwrap()
        }
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(1);
        (0..len).map(|_| random.u8(..)).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_artifact_larger_than_an_object_is_whole_in_every_repository() {
        let bench = Bench::new().await;
        let bytes = noise(170_000);
        let mut writer = bench.writer(CancellationToken::new());
        let artifact =
            writer.store("data", Box::new(MemoryProducer::new(bytes.clone())), None).await.unwrap();
        assert_eq!(artifact.plain, Digest::compute(&bytes));
        assert!(artifact.objects.len() > 3, "{artifact:?}");
        let held = writer.commit(&bench.manifest(vec![artifact.clone()])).await.unwrap();
        assert_eq!(held.iter().count(), 2);
        for n in 0..2 {
            assert_eq!(bench.read_back(n, &artifact).await.unwrap(), bytes);
        }
        assert_eq!(bench.keys(0).await, bench.keys(1).await);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_repository_that_fails_does_not_get_the_manifest() {
        let bench = Bench::new().await;
        let mut writer = bench.writer(CancellationToken::new());
        let first = writer.store("first", Box::new(MemoryProducer::new(noise(5_000))), None).await.unwrap();
        std::fs::remove_dir_all(bench.roots[1].path().join("store")).unwrap();
        let second =
            writer.store("second", Box::new(MemoryProducer::new(noise(90_000))), None).await.unwrap();
        let held = writer.commit(&bench.manifest(vec![first, second])).await.unwrap();
        let names: Vec<_> = held.iter().map(|repository| repository.name.as_str()).collect();
        assert_eq!(names, ["primary"]);
        assert_eq!(held.lost().len(), 1);
        assert!(!bench.roots[1].path().join("store").exists(), "a lost root is not made again");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_left_of_a_backup_that_was_interrupted() {
        let bench = Bench::new().await;
        let cancel = CancellationToken::new();
        let mut writer = bench.writer(cancel.clone());
        writer.store("first", Box::new(MemoryProducer::new(noise(60_000))), None).await.unwrap();
        let child = crate::platform::Program::new("/bin/sh")
            .arg("-c")
            .arg("head -c 200000 /dev/urandom; sleep 60")
            .pipe(&cancel)
            .unwrap();
        let stopper = cancel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            stopper.cancel();
        });
        let error = writer.store("second", Box::new(child), None).await.unwrap_err();
        assert!(matches!(error, WriteError::Interrupted), "{error}");
        assert!(writer.discard().await.is_empty());
        for n in 0..2 {
            assert_eq!(bench.keys(n).await, Vec::<String>::new());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_interruption_while_the_stores_are_slow_leaves_nothing_either() {
        let bench = Bench::new().await;
        let cancel = CancellationToken::new();
        let mut writer = bench.slow_writer(Some(50_000), cancel.clone());
        writer.store("first", Box::new(MemoryProducer::new(noise(5_000))), None).await.unwrap();
        let stopper = cancel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            stopper.cancel();
        });
        // The stream is ahead of the stores, so it is stopped while sending a piece.
        let stream = Box::new(MemoryProducer::new(noise(600_000)));
        let error = writer.store("second", stream, None).await.unwrap_err();
        assert!(matches!(error, WriteError::Interrupted), "{error}");
        assert!(writer.discard().await.is_empty());
        for n in 0..2 {
            assert_eq!(bench.keys(n).await, Vec::<String>::new());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_child_that_dies_completes_nothing() {
        let bench = Bench::new().await;
        let cancel = CancellationToken::new();
        let mut writer = bench.writer(cancel.clone());
        let child = crate::platform::Program::new("/bin/sh")
            .arg("-c")
            .arg("head -c 120000 /dev/urandom; echo no more >&2; kill -9 $$")
            .pipe(&cancel)
            .unwrap();
        let error = writer.store("data", Box::new(child), None).await.unwrap_err();
        assert!(matches!(error, WriteError::Producer { source: PipelineError::Producer(_), .. }), "{error}");
        writer.discard().await;
        assert_eq!(bench.keys(0).await, Vec::<String>::new());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_flipped_or_missing_byte_is_found() {
        let bench = Bench::new().await;
        let mut writer = bench.writer(CancellationToken::new());
        let artifact =
            writer.store("data", Box::new(MemoryProducer::new(noise(70_000))), None).await.unwrap();
        let path = bench.roots[0].path().join("store").join(layout::object(
            &bench.system,
            &bench.backup,
            &artifact.objects[1].name,
        ));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = bench.read_back(0, &artifact).await.unwrap_err();
        assert!(
            error.to_string().contains("not what was stored") || error.to_string().contains("decrypt"),
            "{error}"
        );
        bytes.pop();
        std::fs::write(&path, &bytes).unwrap();
        let error = bench.read_back(0, &artifact).await.unwrap_err();
        assert!(error.to_string().contains("were stored"), "{error}");
        assert_eq!(bench.read_back(1, &artifact).await.unwrap(), noise(70_000));
    }
}
