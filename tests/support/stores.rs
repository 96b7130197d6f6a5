//! A store that says when its user breaks a rule.
//!
//! [`Ordered`] looks at every write that is really done and remembers what must never happen: an object
//! that is overwritten, a manifest that names what is not there, the deletion of what a manifest names.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use drctl::model::{Digest, Manifest};
use drctl::repository::layout;
use drctl::store::{
    ObjectInfo, Page, Precondition, PutOptions, Store, StoreAdmin, StoreError, Upload, Written, list_all,
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
                if Digest::compute(&bytes) != object.stored {
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

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        for key in keys {
            if key == layout::MARKER || key.contains("/journal/") {
                self.order.violated(format!("`{key}` was deleted"));
            }
            let Some((folder, _)) = key.rsplit_once('/') else { continue };
            let manifest = format!("{folder}/{}", layout::MANIFEST);
            if !matches!(self.inner.head(&manifest).await, Ok(None)) {
                self.order.violated(format!("`{key}` was deleted while `{manifest}` stands"));
            }
        }
        self.inner.delete(keys).await
    }

    fn admin(&self) -> Option<&dyn StoreAdmin> {
        self.inner.admin()
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

/// The keys of a store, sorted.
pub(crate) async fn keys(store: &dyn Store) -> Result<Vec<String>, StoreError> {
    Ok(list_all(store, "").await?.into_iter().map(|object| object.key).collect())
}
