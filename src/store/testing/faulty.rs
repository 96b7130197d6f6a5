//! A store that counts its operations and injects a [`Mishap`] into one of them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::platform::CancellationToken;
use crate::store::{
    LifecycleRule, Lock, ObjectInfo, ObjectVersion, Page, PutOptions, Store, StoreAdmin, StoreError,
    StoreErrorKind, StoreProtection, Upload, UploadInfo, Written, delete_object, require_admin,
};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The fault to inject into the operation with the chosen number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// It fails without effect; later operations work again.
    Fails,
    /// It takes effect but is reported as failed.
    AnswerLost,
    /// It fails, and so does everything after it.
    DownFromHere,
    /// It takes effect and nothing after it does: the process was killed.
    StopsAfter,
    /// It fails with this kind, and so does everything after it.
    FailsFromHere(StoreErrorKind),
    /// No space is left from here on: writes fail, reads and deletions still work.
    FullFromHere,
    /// The run is interrupted during the operation.
    Interrupted,
}

/// The operations of all stores of a run, in the order in which they began, and which of them fails.
#[derive(Debug)]
pub struct Fate {
    count: AtomicUsize,
    at: usize,
    mishap: Mishap,
    /// The only store whose operations count; all stores if `None`.
    store: Option<String>,
    told: Mutex<BTreeMap<usize, String>>,
    /// Cancelled when the process counts as dead.
    pub stopped: CancellationToken,
    /// Cancelled when the run is interrupted: the token that stops a run.
    pub interrupted: CancellationToken,
}

/// Operations that need space.
const WRITES: [&str; 4] = ["put", "begin", "part", "complete"];

/// What [`Faulty`] does with one operation.
enum Verdict {
    Go,
    GoAndFail,
    GoAndStop,
    Fail(StoreErrorKind),
}

impl Fate {
    /// Injects `mishap` into operation number `at`, counted from 0.
    pub fn new(at: usize, mishap: Mishap) -> Arc<Self> {
        Arc::new(Self::with(at, mishap, None))
    }

    /// Injects `mishap` into an operation of one store, given by its location.
    pub fn of_store(at: usize, mishap: Mishap, location: String) -> Arc<Self> {
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

    /// Returns whether the operation was reached.
    pub fn came_up(&self) -> bool {
        self.count.load(Ordering::SeqCst) > self.at
    }

    /// Returns a description of the operation: `put shop/leases/database.json in /…`.
    pub fn operation(&self) -> String {
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

/// A store whose operations are counted and may fail.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Store>,
    fate: Arc<Fate>,
}

impl Faulty {
    pub fn new(inner: Arc<dyn Store>, fate: Arc<Fate>) -> Arc<Self> {
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

    /// Deletes each object as an operation of its own: a store may fail after any of them.
    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let mut outcomes = Vec::with_capacity(keys.len());
        for key in keys {
            let deleted = delete_object(&*self.inner, key);
            outcomes.push(self.fate.pass("delete", key, self.location(), deleted).await);
        }
        outcomes
    }

    fn admin(&self) -> Option<&dyn StoreAdmin> {
        self.inner.admin().map(|_| self as &dyn StoreAdmin)
    }
}

#[async_trait]
impl StoreAdmin for Faulty {
    async fn server_time(&self) -> Result<DateTime<Utc>, StoreError> {
        self.fate.pass("now", "", self.location(), require_admin(&*self.inner)?.server_time()).await
    }

    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<UploadInfo>, StoreError> {
        let listed = require_admin(&*self.inner)?.pending_uploads(prefix);
        self.fate.pass("list uploads", prefix, self.location(), listed).await
    }

    async fn abort_upload(&self, upload: &UploadInfo) -> Result<(), StoreError> {
        let aborted = require_admin(&*self.inner)?.abort_upload(upload);
        self.fate.pass("abort", &upload.key, self.location(), aborted).await
    }

    async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreError> {
        self.fate
            .pass("list versions", key, self.location(), require_admin(&*self.inner)?.versions(key))
            .await
    }

    async fn purge(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let mut outcomes = Vec::with_capacity(keys.len());
        for key in keys {
            let one = [key.clone()];
            let purged = async { require_admin(&*self.inner)?.purge(&one).await.into_iter().collect() };
            outcomes.push(self.fate.pass("purge", key, self.location(), purged).await);
        }
        outcomes
    }

    async fn locked_until(&self, key: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        let locked = require_admin(&*self.inner)?.locked_until(key);
        self.fate.pass("read the lock of", key, self.location(), locked).await
    }

    async fn retained_until(&self, key: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        let retained = require_admin(&*self.inner)?.retained_until(key);
        self.fate.pass("read the lock of", key, self.location(), retained).await
    }

    async fn protection(&self) -> Result<StoreProtection, StoreError> {
        require_admin(&*self.inner)?.protection().await
    }

    async fn extend_lock(&self, key: &str, until: DateTime<Utc>) -> Result<(), StoreError> {
        let extended = require_admin(&*self.inner)?.extend_lock(key, until);
        self.fate.pass("extend lock", key, self.location(), extended).await
    }

    async fn place_lock(&self, key: &str, lock: Lock) -> Result<(), StoreError> {
        let placed = require_admin(&*self.inner)?.place_lock(key, lock);
        self.fate.pass("lock", key, self.location(), placed).await
    }

    async fn lifecycle(&self) -> Result<Vec<LifecycleRule>, StoreError> {
        self.fate.pass("lifecycle", "", self.location(), require_admin(&*self.inner)?.lifecycle()).await
    }

    async fn set_legal_hold(&self, key: &str, is_held: bool) -> Result<(), StoreError> {
        let held = require_admin(&*self.inner)?.set_legal_hold(key, is_held);
        self.fate.pass("hold", key, self.location(), held).await
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
