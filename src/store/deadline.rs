use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::fault::StoreFault;
use super::{ObjectInfo, Page, PutOptions, Store, StoreAdmin, StoreError, StoreErrorKind, Upload, Written};
use crate::text::format_duration;

/// A store with a deadline on every call, so that a stalled store is given up. Exempt are the calls that
/// complete or abort an upload, which report no progress.
#[derive(Debug)]
pub struct Deadline {
    store: Arc<dyn Store>,
    within: Duration,
}

impl Deadline {
    pub fn new(store: Arc<dyn Store>, within: Duration) -> Self {
        Self { store, within }
    }

    async fn bound<T>(
        &self,
        operation: &'static str,
        key: &str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let ended = tokio::time::timeout(self.within, call).await;
        ended.unwrap_or_else(|_| Err(late(self.within, operation, key, self.location())))
    }
}

fn late(within: Duration, operation: &'static str, key: &str, location: String) -> StoreError {
    let words = format!("it took nothing for {}", format_duration(within));
    StoreFault::new(StoreErrorKind::Unreachable, words).at(operation, key, location)
}

#[async_trait]
impl Store for Deadline {
    fn location(&self) -> String {
        self.store.location()
    }

    async fn put(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<Written, StoreError> {
        self.bound("write", key, self.store.put(key, body, options)).await
    }

    async fn begin_upload(&self, key: &str, options: &PutOptions) -> Result<Box<dyn Upload>, StoreError> {
        let upload = self.bound("write", key, self.store.begin_upload(key, options)).await?;
        let (within, location) = (self.within, self.location());
        Ok(Box::new(DeadlineUpload { upload, within, key: key.to_owned(), location }))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        self.bound("look at", key, self.store.head(key)).await
    }

    async fn get(&self, key: &str, limit: u64) -> Result<(Bytes, ObjectInfo), StoreError> {
        self.bound("read", key, self.store.get(key, limit)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.bound("read", key, self.store.get_range(key, range)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.bound("list", prefix, self.store.list(prefix, after)).await
    }

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let deleted = tokio::time::timeout(self.within, self.store.delete(keys)).await;
        let late = |key: &String| Err(late(self.within, "delete", key, self.location()));
        deleted.unwrap_or_else(|_| keys.iter().map(late).collect())
    }

    fn admin(&self) -> Option<&dyn StoreAdmin> {
        self.store.admin()
    }
}

#[derive(Debug)]
struct DeadlineUpload {
    upload: Box<dyn Upload>,
    within: Duration,
    key: String,
    location: String,
}

#[async_trait]
impl Upload for DeadlineUpload {
    async fn part(&self, number: u32, body: Bytes) -> Result<(), StoreError> {
        let sent = tokio::time::timeout(self.within, self.upload.part(number, body)).await;
        sent.unwrap_or_else(|_| Err(late(self.within, "write", &self.key, self.location.clone())))
    }

    async fn complete(&self) -> Result<Written, StoreError> {
        self.upload.complete().await
    }

    async fn abort(&self) -> Result<(), StoreError> {
        self.upload.abort().await
    }
}
