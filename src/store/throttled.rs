use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{ObjectInfo, Page, PutOptions, Store, StoreAdmin, StoreError, Upload, Written};

/// A store with a limit on the bytes written per second, shared by all uploads. Reads are not limited.
#[derive(Debug)]
pub struct Throttled {
    store: Arc<dyn Store>,
    gate: Arc<Gate>,
}

impl Throttled {
    /// Creates a limit of `rate` bytes per second; zero is no limit.
    pub fn new(store: Arc<dyn Store>, rate: u64) -> Self {
        Self { store, gate: Arc::new(Gate { rate, free_at: Mutex::default() }) }
    }
}

/// A rate limiter for bytes.
#[derive(Debug)]
struct Gate {
    rate: u64,
    free_at: Mutex<Option<Instant>>,
}

impl Gate {
    /// Waits until `bytes` more may be sent.
    async fn wait(&self, bytes: usize) {
        if self.rate == 0 {
            return;
        }
        let mut free_at = self.free_at.lock().await;
        let begin = free_at.unwrap_or_else(Instant::now).max(Instant::now());
        *free_at = Some(begin + Duration::from_secs_f64(bytes as f64 / self.rate as f64));
        drop(free_at);
        tokio::time::sleep_until(begin).await;
    }
}

#[async_trait]
impl Store for Throttled {
    fn location(&self) -> String {
        self.store.location()
    }

    async fn put(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<Written, StoreError> {
        self.gate.wait(body.len()).await;
        self.store.put(key, body, options).await
    }

    async fn begin_upload(&self, key: &str, options: &PutOptions) -> Result<Box<dyn Upload>, StoreError> {
        let upload = self.store.begin_upload(key, options).await?;
        Ok(Box::new(ThrottledUpload { upload, gate: Arc::clone(&self.gate) }))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        self.store.head(key).await
    }

    async fn get(&self, key: &str, limit: u64) -> Result<(Bytes, ObjectInfo), StoreError> {
        self.store.get(key, limit).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.store.get_range(key, range).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.store.list(prefix, after).await
    }

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        self.store.delete(keys).await
    }

    fn admin(&self) -> Option<&dyn StoreAdmin> {
        self.store.admin()
    }
}

#[derive(Debug)]
struct ThrottledUpload {
    upload: Box<dyn Upload>,
    gate: Arc<Gate>,
}

#[async_trait]
impl Upload for ThrottledUpload {
    async fn part(&self, number: u32, body: Bytes) -> Result<(), StoreError> {
        self.gate.wait(body.len()).await;
        self.upload.part(number, body).await
    }

    async fn complete(&self) -> Result<Written, StoreError> {
        self.upload.complete().await
    }

    async fn abort(&self) -> Result<(), StoreError> {
        self.upload.abort().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::directory::DirectoryStore;

    #[tokio::test]
    async fn all_that_is_written_goes_through_one_gate_and_reading_through_none() {
        let root = tempfile::tempdir().unwrap();
        let store = Throttled::new(Arc::new(DirectoryStore::open(root.path())), 10_000);
        let begun = Instant::now();
        let body = || Bytes::from(vec![0; 1000]);
        store.put("s/a", body(), &PutOptions::absent()).await.unwrap();
        let upload = store.begin_upload("s/b", &PutOptions::absent()).await.unwrap();
        upload.part(1, body()).await.unwrap();
        upload.part(2, body()).await.unwrap();
        upload.complete().await.unwrap();
        // The first is sent at once; each later one waits until the time of those before it has passed.
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(200), "{took:?}");
        let free_at = *store.gate.free_at.lock().await;
        store.get("s/b", 9999).await.unwrap();
        assert_eq!(*store.gate.free_at.lock().await, free_at);
    }
}
