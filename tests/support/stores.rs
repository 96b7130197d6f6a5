//! Stores that break on purpose, and a store that says when its user does.
//!
//! [`Ordered`] looks at every write that is really done and remembers what must never happen: an object
//! that is overwritten, a manifest that names what is not there, the deletion of what a manifest names.
//! [`Faulty`] counts operations, and lets one of them meet with a [`Mishap`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use drctl::model::{Digest, Manifest};
use drctl::platform::CancellationToken;
use drctl::repository::layout;
use drctl::store::{
    ObjectInfo, Page, Precondition, PutOptions, Store, StoreError, StoreErrorKind, Upload, UploadInfo,
    Written, list_all,
};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of the order of writing, in all the stores of a test.
#[derive(Debug, Default)]
pub(crate) struct Order {
    violations: Mutex<Vec<String>>,
}

impl Order {
    fn violated(&self, what: String) {
        lock(&self.violations).push(what);
    }

    /// What was done that must never be.
    pub(crate) fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }
}

/// Whether a key is written more than once by design.
fn is_lease(key: &str) -> bool {
    key.contains("/leases/")
}

/// A store that watches the order of what is done to it.
#[derive(Debug)]
pub(crate) struct Ordered {
    inner: Arc<dyn Store>,
    order: Arc<Order>,
}

impl Ordered {
    pub(crate) fn new(inner: Arc<dyn Store>, order: Arc<Order>) -> Arc<Self> {
        Arc::new(Self { inner, order })
    }

    async fn before_write(&self, key: &str, options: &PutOptions) -> Result<bool, StoreError> {
        if !is_lease(key) && options.precondition != Precondition::Absent {
            self.order.violated(format!("`{key}` is written without \"if absent\""));
        }
        Ok(self.inner.head(key).await?.is_some())
    }

    fn after_write(&self, key: &str, stood: bool) {
        if stood && !is_lease(key) {
            self.order.violated(format!("`{key}` was overwritten"));
        }
    }

    /// Every object a manifest names stands, and is what the manifest says.
    async fn check_manifest(&self, key: &str, body: &[u8]) -> Result<(), StoreError> {
        let Some(id) = layout::parse_manifest(key) else {
            self.order.violated(format!("a manifest was written to `{key}`, where no reader looks"));
            return Ok(());
        };
        let manifest: Manifest = match serde_json::from_slice(body) {
            Ok(manifest) => manifest,
            Err(error) => {
                self.order.violated(format!("`{key}` is not a manifest: {error}"));
                return Ok(());
            }
        };
        for fault in missing_objects(&*self.inner, &manifest).await? {
            self.order.violated(format!("the manifest of {id} was written first: {fault}"));
        }
        Ok(())
    }
}

/// What a manifest names and the store does not have, or has with other bytes.
pub(crate) async fn missing_objects(
    store: &dyn Store,
    manifest: &Manifest,
) -> Result<Vec<String>, StoreError> {
    let mut faults = Vec::new();
    for object in manifest.artifacts.iter().flat_map(|artifact| &artifact.objects) {
        let key = layout::object(&manifest.system, &manifest.id, &object.name);
        match store.head(&key).await? {
            None => faults.push(format!("`{key}` is not there")),
            Some(info) => {
                let bytes = store.get_range(&key, 0..info.size).await?;
                if Digest::of(&bytes) != object.stored {
                    faults.push(format!("`{key}` is not what the manifest says"));
                }
            }
        }
    }
    Ok(faults)
}

#[async_trait]
impl Store for Ordered {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn put(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<Written, StoreError> {
        let stood = self.before_write(key, options).await?;
        if key.ends_with(layout::MANIFEST) {
            self.check_manifest(key, &body).await?;
        }
        let written = self.inner.put(key, body, options).await?;
        self.after_write(key, stood);
        Ok(written)
    }

    async fn begin_upload(&self, key: &str, options: &PutOptions) -> Result<Box<dyn Upload>, StoreError> {
        self.before_write(key, options).await?;
        let inner = self.inner.begin_upload(key, options).await?;
        let (store, order) = (Arc::clone(&self.inner), Arc::clone(&self.order));
        Ok(Box::new(OrderedUpload { inner, store, order, key: key.to_owned() }))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        self.inner.head(key).await
    }

    async fn get(&self, key: &str, limit: u64) -> Result<(Bytes, ObjectInfo), StoreError> {
        self.inner.get(key, limit).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.inner.get_range(key, range).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.inner.list(prefix, after).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        if key == layout::MARKER || key.contains("/journal/") {
            self.order.violated(format!("`{key}` was deleted"));
        }
        if let Some((folder, _)) = key.rsplit_once('/') {
            let manifest = format!("{folder}/{}", layout::MANIFEST);
            if self.inner.head(&manifest).await?.is_some() {
                self.order.violated(format!("`{key}` was deleted while `{manifest}` stands"));
            }
        }
        self.inner.delete(key).await
    }

    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<UploadInfo>, StoreError> {
        self.inner.pending_uploads(prefix).await
    }

    async fn abort_pending(&self, upload: &UploadInfo) -> Result<(), StoreError> {
        self.inner.abort_pending(upload).await
    }

    async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        self.inner.now().await
    }
}

#[derive(Debug)]
struct OrderedUpload {
    inner: Box<dyn Upload>,
    store: Arc<dyn Store>,
    order: Arc<Order>,
    key: String,
}

#[async_trait]
impl Upload for OrderedUpload {
    async fn part(&self, number: u32, body: Bytes) -> Result<(), StoreError> {
        self.inner.part(number, body).await
    }

    async fn complete(&self) -> Result<Written, StoreError> {
        let stood = self.store.head(&self.key).await?.is_some();
        let written = self.inner.complete().await?;
        if stood {
            self.order.violated(format!("`{}` was overwritten", self.key));
        }
        Ok(written)
    }

    async fn abort(&self) -> Result<(), StoreError> {
        self.inner.abort().await
    }
}

/// What happens to the operation whose number comes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// It fails, and nothing was done; the next ones work again.
    Fails,
    /// It is done, and reported as failed.
    AnswerLost,
    /// It fails and so does everything after it.
    DownFromHere,
    /// It is done, and then nothing more: the process was killed after it.
    StopsAfter,
    /// It fails for this reason, and so does everything after it.
    FailsFromHere(StoreErrorKind),
    /// No space is left from here on: what writes fails, and reading and deleting go on.
    FullFromHere,
    /// Somebody stops the run while it is under way.
    Interrupted,
}

/// The operations of all the stores of a run, in the order they began, and which of them goes wrong.
#[derive(Debug)]
pub(crate) struct Fate {
    count: AtomicUsize,
    at: usize,
    mishap: Mishap,
    /// The only store whose operations count; all where there is none.
    store: Option<String>,
    told: Mutex<BTreeMap<usize, String>>,
    /// Cancelled where the process is to be taken for dead.
    pub(crate) stopped: CancellationToken,
    /// Cancelled where the run is interrupted: what a run is given to stop it.
    pub(crate) interrupted: CancellationToken,
}

/// What needs space.
const WRITES: [&str; 4] = ["put", "begin", "part", "complete"];

/// What [`Faulty`] does with one operation.
enum Verdict {
    Go,
    GoAndFail,
    GoAndStop,
    Fail(StoreErrorKind),
}

impl Fate {
    /// Operation number `at`, from 0, meets with `mishap`.
    pub(crate) fn new(at: usize, mishap: Mishap) -> Arc<Self> {
        Arc::new(Self::with(at, mishap, None))
    }

    /// The same of the operations of one store, by its location.
    pub(crate) fn of_store(at: usize, mishap: Mishap, location: String) -> Arc<Self> {
        Arc::new(Self::with(at, mishap, Some(location)))
    }

    fn with(at: usize, mishap: Mishap, store: Option<String>) -> Self {
        Self {
            count: AtomicUsize::new(0),
            at,
            mishap,
            store,
            told: Mutex::default(),
            stopped: CancellationToken::new(),
            interrupted: CancellationToken::new(),
        }
    }

    /// Whether the operation came up at all.
    pub(crate) fn came_up(&self) -> bool {
        self.count.load(Ordering::SeqCst) > self.at
    }

    /// What the operation was: `put shop/leases/database.json in /…`.
    pub(crate) fn operation(&self) -> String {
        lock(&self.told).get(&self.at).cloned().unwrap_or_default()
    }

    async fn decide(&self, operation: &str, key: &str, location: &str) -> Verdict {
        if self.stopped.is_cancelled() {
            return std::future::pending().await;
        }
        if self.store.as_ref().is_some_and(|store| store != location) {
            return Verdict::Go;
        }
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        if number == self.at {
            lock(&self.told).insert(number, format!("{operation} `{key}` in {location}"));
        }
        match self.mishap {
            _ if number < self.at => Verdict::Go,
            Mishap::DownFromHere => Verdict::Fail(StoreErrorKind::Unavailable),
            Mishap::FailsFromHere(kind) => Verdict::Fail(kind),
            Mishap::FullFromHere if WRITES.contains(&operation) => Verdict::Fail(StoreErrorKind::Full),
            Mishap::FullFromHere => Verdict::Go,
            _ if number > self.at => Verdict::Go,
            Mishap::Fails => Verdict::Fail(StoreErrorKind::Unavailable),
            Mishap::Interrupted => {
                self.interrupted.cancel();
                Verdict::Go
            }
            Mishap::AnswerLost => Verdict::GoAndFail,
            Mishap::StopsAfter => Verdict::GoAndStop,
        }
    }

    async fn pass<T>(
        &self,
        operation: &'static str,
        key: &str,
        location: String,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let verdict = self.decide(operation, key, &location).await;
        let detail = Some("as told".to_owned());
        let failed = |kind| StoreError { operation, key: key.to_owned(), location, kind, detail };
        match verdict {
            Verdict::Go => call.await,
            Verdict::Fail(kind) => Err(failed(kind)),
            Verdict::GoAndFail => {
                let _lost = call.await;
                Err(failed(StoreErrorKind::Unreachable))
            }
            Verdict::GoAndStop => {
                let _unseen = call.await;
                self.stopped.cancel();
                std::future::pending().await
            }
        }
    }
}

/// A store whose operations are counted and may go wrong.
#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn Store>,
    fate: Arc<Fate>,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn Store>, fate: Arc<Fate>) -> Arc<Self> {
        Arc::new(Self { inner, fate })
    }
}

#[async_trait]
impl Store for Faulty {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn put(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<Written, StoreError> {
        self.fate.pass("put", key, self.location(), self.inner.put(key, body, options)).await
    }

    async fn begin_upload(&self, key: &str, options: &PutOptions) -> Result<Box<dyn Upload>, StoreError> {
        let begun = self.inner.begin_upload(key, options);
        let inner = self.fate.pass("begin", key, self.location(), begun).await?;
        let (fate, location) = (Arc::clone(&self.fate), self.location());
        Ok(Box::new(FaultyUpload { inner, fate, location, key: key.to_owned() }))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        self.fate.pass("head", key, self.location(), self.inner.head(key)).await
    }

    async fn get(&self, key: &str, limit: u64) -> Result<(Bytes, ObjectInfo), StoreError> {
        self.fate.pass("get", key, self.location(), self.inner.get(key, limit)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.fate.pass("get", key, self.location(), self.inner.get_range(key, range)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.fate.pass("list", prefix, self.location(), self.inner.list(prefix, after)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.fate.pass("delete", key, self.location(), self.inner.delete(key)).await
    }

    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<UploadInfo>, StoreError> {
        self.fate.pass("list uploads", prefix, self.location(), self.inner.pending_uploads(prefix)).await
    }

    async fn abort_pending(&self, upload: &UploadInfo) -> Result<(), StoreError> {
        self.fate.pass("abort", &upload.key, self.location(), self.inner.abort_pending(upload)).await
    }

    async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        self.fate.pass("now", "", self.location(), self.inner.now()).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn Upload>,
    fate: Arc<Fate>,
    location: String,
    key: String,
}

#[async_trait]
impl Upload for FaultyUpload {
    async fn part(&self, number: u32, body: Bytes) -> Result<(), StoreError> {
        self.fate.pass("part", &self.key, self.location.clone(), self.inner.part(number, body)).await
    }

    async fn complete(&self) -> Result<Written, StoreError> {
        self.fate.pass("complete", &self.key, self.location.clone(), self.inner.complete()).await
    }

    async fn abort(&self) -> Result<(), StoreError> {
        self.fate.pass("abort", &self.key, self.location.clone(), self.inner.abort()).await
    }
}

/// The keys of a store, sorted.
pub(crate) async fn keys(store: &dyn Store) -> Result<Vec<String>, StoreError> {
    Ok(list_all(store, "").await?.into_iter().map(|object| object.key).collect())
}
