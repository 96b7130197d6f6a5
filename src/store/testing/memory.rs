use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, TimeDelta, Utc};

use crate::model::Sha256Hex;
use crate::platform::{Clock, SystemClock};
use crate::store::{
    Lock, ObjectInfo, ObjectVersion, Page, Precondition, PutOptions, Store, StoreAdmin, StoreError,
    StoreErrorKind, StoreProtection, Upload, UploadInfo, Written,
};

/// Small, so that listings have several pages.
const PAGE: usize = 100;

/// A store in memory. It keeps the guarantees of every store, except that writes do not outlive the process;
/// it has no versions, and locks only what a test locks. Clones share their objects.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    name: String,
    clock: Arc<dyn Clock>,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    objects: BTreeMap<String, StoredObject>,
    uploads: BTreeMap<u64, OpenUpload>,
    /// Numbers etags and uploads; never reused.
    counter: u64,
}

#[derive(Clone, Debug)]
struct StoredObject {
    body: Bytes,
    etag: String,
    modified: DateTime<Utc>,
    metadata: BTreeMap<String, String>,
    locked_until: Option<DateTime<Utc>>,
    is_held: bool,
}

#[derive(Debug)]
struct OpenUpload {
    key: String,
    options: PutOptions,
    begun: DateTime<Utc>,
    parts: BTreeMap<u32, Bytes>,
}

impl MemoryStore {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), clock: Arc::new(SystemClock), shelf: Arc::default() }
    }

    /// Gives the store another clock than the host's, so that a test may take as long as it takes.
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Makes the objects whose keys contain `part` older by `by`.
    pub fn backdate(&self, part: &str, by: TimeDelta) {
        let mut shelf = self.shelf();
        let chosen = shelf.objects.iter_mut().filter(|(key, _)| key.contains(part));
        chosen.for_each(|(_, object)| object.modified -= by);
    }

    /// Locks the objects whose keys contain `part`.
    pub fn lock(&self, part: &str, until: DateTime<Utc>) {
        let mut shelf = self.shelf();
        let chosen = shelf.objects.iter_mut().filter(|(key, _)| key.contains(part));
        chosen.for_each(|(_, object)| object.locked_until = Some(until));
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, operation: &'static str, key: &str, kind: StoreErrorKind) -> StoreError {
        StoreError { operation, key: key.to_owned(), location: self.location(), kind, detail: None }
    }

    fn check_key(&self, operation: &'static str, key: &str) -> Result<(), StoreError> {
        let is_word = |word: &str| !matches!(word, "" | "." | ".." | ".drctl") && !word.contains('\0');
        if key.split('/').all(is_word) {
            Ok(())
        } else {
            Err(self.error(operation, key, StoreErrorKind::Unsupported))
        }
    }

    fn check_options(
        &self,
        operation: &'static str,
        key: &str,
        options: &PutOptions,
    ) -> Result<(), StoreError> {
        self.check_key(operation, key)?;
        match options.lock {
            Some(_) => Err(self.error(operation, key, StoreErrorKind::Unsupported)),
            None => Ok(()),
        }
    }

    fn write(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<Written, StoreError> {
        let mut shelf = self.shelf();
        let current = shelf.objects.get(key).map(|object| object.etag.as_str());
        let refused = match (&options.precondition, current) {
            (Precondition::Absent, Some(_)) => Some(StoreErrorKind::Exists),
            (Precondition::Unchanged(_), None) => Some(StoreErrorKind::Changed),
            (Precondition::Unchanged(etag), Some(now)) if etag != now => Some(StoreErrorKind::Changed),
            _ => None,
        };
        if let Some(kind) = refused {
            return Err(self.error("write", key, kind));
        }
        shelf.counter += 1;
        let etag = format!("{:x}", shelf.counter);
        let object = StoredObject {
            body,
            etag: etag.clone(),
            modified: self.clock.now(),
            metadata: options.metadata.clone(),
            locked_until: None,
            is_held: false,
        };
        shelf.objects.insert(key.to_owned(), object);
        Ok(Written { etag, version: None })
    }

    fn find(&self, key: &str) -> Result<StoredObject, StoreError> {
        self.check_key("read", key)?;
        let found = self.shelf().objects.get(key).cloned();
        found.ok_or_else(|| self.error("read", key, StoreErrorKind::NotFound))
    }
}

impl StoredObject {
    /// Returns until when it cannot be deleted; `None`: it can be now.
    fn lock(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let until = if self.is_held { Some(DateTime::<Utc>::MAX_UTC) } else { self.locked_until };
        until.filter(|until| *until > now)
    }

    fn info(&self, key: &str) -> ObjectInfo {
        ObjectInfo {
            key: key.to_owned(),
            size: self.body.len() as u64,
            etag: self.etag.clone(),
            modified: self.modified,
            metadata: self.metadata.clone(),
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn location(&self) -> String {
        format!("memory:{}", self.name)
    }

    async fn put(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<Written, StoreError> {
        self.check_options("write", key, options)?;
        if options.sha256.is_some_and(|sha256| sha256 != Sha256Hex::digest(&body)) {
            return Err(self.error("write", key, StoreErrorKind::Corrupt));
        }
        self.write(key, body, options)
    }

    async fn begin_upload(&self, key: &str, options: &PutOptions) -> Result<Box<dyn Upload>, StoreError> {
        self.check_options("begin", key, options)?;
        let mut shelf = self.shelf();
        shelf.counter += 1;
        let id = shelf.counter;
        let (key, options) = (key.to_owned(), options.clone());
        let upload =
            OpenUpload { key: key.clone(), options, begun: self.clock.now(), parts: BTreeMap::new() };
        shelf.uploads.insert(id, upload);
        Ok(Box::new(MemoryUpload { store: self.clone(), id, key }))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        self.check_key("look at", key)?;
        Ok(self.shelf().objects.get(key).map(|object| object.info(key)))
    }

    async fn get(&self, key: &str, limit: u64) -> Result<(Bytes, ObjectInfo), StoreError> {
        let object = self.find(key)?;
        let info = object.info(key);
        if info.size > limit {
            return Err(self.error("read", key, StoreErrorKind::TooLarge));
        }
        Ok((object.body, info))
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let object = self.find(key)?;
        let short = || self.error("read", key, StoreErrorKind::Corrupt);
        let bound = |at: u64| usize::try_from(at).map_err(|_| short());
        let (from, to) = (bound(range.start)?, bound(range.end)?);
        if from > to || to > object.body.len() {
            return Err(short());
        }
        Ok(object.body.slice(from..to))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let shelf = self.shelf();
        let below = shelf.objects.iter().filter(|(key, _)| key.starts_with(prefix));
        let mut rest = below.filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        let bare = |(key, object): (&String, &StoredObject)| ObjectInfo {
            metadata: BTreeMap::new(),
            ..object.info(key)
        };
        let objects: Vec<_> = rest.by_ref().take(PAGE).map(bare).collect();
        let next = objects.last().filter(|_| rest.next().is_some()).map(|last| last.key.clone());
        Ok(Page { objects, next })
    }

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let delete = |key: &String| {
            self.check_key("delete", key)?;
            let mut shelf = self.shelf();
            if shelf.objects.get(key).and_then(|object| object.lock(self.clock.now())).is_some() {
                return Err(self.error("delete", key, StoreErrorKind::Forbidden));
            }
            shelf.objects.remove(key);
            Ok(())
        };
        keys.iter().map(delete).collect()
    }

    fn admin(&self) -> Option<&dyn StoreAdmin> {
        Some(self)
    }
}

#[async_trait]
impl StoreAdmin for MemoryStore {
    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<UploadInfo>, StoreError> {
        let shelf = self.shelf();
        let below = shelf.uploads.iter().filter(|(_, upload)| upload.key.starts_with(prefix));
        let info = |(id, upload): (&u64, &OpenUpload)| UploadInfo {
            key: upload.key.clone(),
            id: id.to_string(),
            begun: upload.begun,
        };
        Ok(below.map(info).collect())
    }

    async fn abort_upload(&self, upload: &UploadInfo) -> Result<(), StoreError> {
        if let Ok(id) = upload.id.parse::<u64>() {
            self.shelf().uploads.remove(&id);
        }
        Ok(())
    }

    async fn server_time(&self) -> Result<DateTime<Utc>, StoreError> {
        Ok(self.clock.now())
    }

    async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreError> {
        let version = |info: ObjectInfo| ObjectVersion {
            id: None,
            modified: info.modified,
            size: Some(info.size),
            is_latest: true,
            etag: info.etag,
        };
        Ok(self.head(key).await?.map(version).into_iter().collect())
    }

    async fn purge(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        self.delete(keys).await
    }

    async fn locked_until(&self, key: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        Ok(self.shelf().objects.get(key).and_then(|object| object.lock(self.clock.now())))
    }

    async fn retained_until(&self, key: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        let locked = self.shelf().objects.get(key).and_then(|object| object.locked_until);
        Ok(locked.filter(|until| *until > self.clock.now()))
    }

    async fn protection(&self) -> Result<StoreProtection, StoreError> {
        let locks = self.shelf().objects.values().any(|object| object.locked_until.is_some());
        Ok(StoreProtection { keeps_versions: Some(false), locks_objects: Some(locks) })
    }

    async fn place_lock(&self, key: &str, lock: Lock) -> Result<(), StoreError> {
        let mut shelf = self.shelf();
        let missing = || self.error("lock", key, StoreErrorKind::NotFound);
        let object = shelf.objects.get_mut(key).ok_or_else(missing)?;
        object.locked_until = object.locked_until.max(Some(lock.until));
        Ok(())
    }

    async fn extend_lock(&self, key: &str, _until: DateTime<Utc>) -> Result<(), StoreError> {
        Err(self.error("extend the lock of", key, StoreErrorKind::Unsupported))
    }

    async fn set_legal_hold(&self, key: &str, is_held: bool) -> Result<(), StoreError> {
        let mut shelf = self.shelf();
        if !shelf.objects.values().any(|object| object.locked_until.is_some()) {
            return Err(self.error("hold", key, StoreErrorKind::Unsupported));
        }
        let missing = || self.error("hold", key, StoreErrorKind::NotFound);
        shelf.objects.get_mut(key).ok_or_else(missing)?.is_held = is_held;
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryUpload {
    store: MemoryStore,
    id: u64,
    key: String,
}

impl MemoryUpload {
    fn error(&self, operation: &'static str) -> StoreError {
        self.store.error(operation, &self.key, StoreErrorKind::Other)
    }
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn part(&self, number: u32, body: Bytes) -> Result<(), StoreError> {
        let mut shelf = self.store.shelf();
        let upload = shelf.uploads.get_mut(&self.id).ok_or_else(|| self.error("write a part of"))?;
        upload.parts.insert(number, body);
        Ok(())
    }

    async fn complete(&self) -> Result<Written, StoreError> {
        let upload = self.store.shelf().uploads.remove(&self.id).ok_or_else(|| self.error("complete"))?;
        let size = upload.parts.values().next().map_or(0, Bytes::len);
        let is_in_order = upload.parts.keys().zip(1..).all(|(number, expected)| *number == expected);
        let are_even = upload.parts.values().rev().skip(1).all(|part| part.len() == size);
        let last_fits = upload.parts.values().next_back().is_none_or(|last| last.len() <= size);
        if !(is_in_order && are_even && last_fits) {
            return Err(self.error("complete"));
        }
        let mut body = BytesMut::new();
        upload.parts.values().for_each(|part| body.extend_from_slice(part));
        self.store.write(&self.key, body.freeze(), &upload.options)
    }

    async fn abort(&self) -> Result<(), StoreError> {
        self.store.shelf().uploads.remove(&self.id);
        Ok(())
    }
}
