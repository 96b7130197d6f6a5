use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::super::fault::StoreFault;
use super::super::{
    ChecksumSupport, LifecycleRule, Lock, MARKER, ObjectInfo, ObjectVersion, Page, PutOptions, Store,
    StoreAdmin, StoreError, StoreErrorKind, StoreProtection, Upload, UploadInfo, VersionPage, Written,
};
use super::bucket::S3Store;
use super::error::S3Error;
use super::server_date::AnswerDate;
use super::upload::S3Upload;
use super::write::NONCE;
use crate::policy::Checksum;

#[async_trait]
impl Store for S3Store {
    fn location(&self) -> String {
        self.place_name()
    }

    async fn put(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<Written, StoreError> {
        self.write(key, body, options).await.map_err(self.fault("write", key))
    }

    async fn begin_upload(&self, key: &str, options: &PutOptions) -> Result<Box<dyn Upload>, StoreError> {
        let upload = S3Upload::begin(self, key, options).await.map_err(self.fault("begin", key))?;
        Ok(Box::new(upload))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        self.look(key).await.map_err(self.fault("look at", key))
    }

    async fn get(&self, key: &str, limit: u64) -> Result<(Bytes, ObjectInfo), StoreError> {
        self.read(key, None, None, limit).await.map_err(self.fault("read", key))
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.read_range(key, range).await.map_err(self.fault("read", key))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.page(prefix, after).await.map_err(self.fault("list", prefix))
    }

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let outcomes = keys.iter().zip(self.delete_all(keys).await);
        outcomes.map(|(key, outcome)| outcome.map_err(self.fault("delete", key))).collect()
    }

    fn admin(&self) -> Option<&dyn StoreAdmin> {
        Some(self)
    }
}

#[async_trait]
impl StoreAdmin for S3Store {
    fn last_failure(&self) -> Option<String> {
        self.trouble.last()
    }

    fn checksums(&self) -> Vec<ChecksumSupport> {
        [Checksum::Crc64Nvme, Checksum::Crc32c, Checksum::Sha256, Checksum::None]
            .map(|checksum| {
                let right = self.with_checksum(checksum);
                let wrong = Arc::new(Self { wrong_sums: true, ..right.clone() });
                ChecksumSupport { checksum, right: Arc::new(right), wrong }
            })
            .into()
    }

    async fn protection(&self) -> Result<StoreProtection, StoreError> {
        Ok(StoreProtection {
            keeps_versions: self.keeps_versions().await?,
            locks_objects: self.locks_objects().await?,
        })
    }

    /// Returns the writer's nonce and the modification time. A copy of the bucket has the same nonce, but
    /// another time or the status of a replica.
    async fn write_id(&self, key: &str) -> Result<Option<String>, StoreError> {
        let fault = self.fault("look at", key);
        let Some(head) = self.head_output(key, false).await.map_err(fault)? else { return Ok(None) };
        let nonce = head.metadata().into_iter().flatten();
        let nonce = nonce.filter(|(name, _)| name.eq_ignore_ascii_case(NONCE)).map(|(_, value)| value).next();
        let modified = head.last_modified().map(|time| (time.secs(), time.subsec_nanos()));
        let is_replica = head.replication_status().is_some_and(|status| status.as_str() == "REPLICA");
        Ok(nonce.map(|nonce| format!("object {nonce} {modified:?} {is_replica}")))
    }

    async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreError> {
        self.versions_of(key).await.map_err(self.fault("list the versions of", key))
    }

    async fn head_version(&self, key: &str, version: &str) -> Result<ObjectInfo, StoreError> {
        self.look_at_version(key, version).await.map_err(self.fault("look at a version of", key))
    }

    async fn get_version(
        &self,
        key: &str,
        version: &str,
        range: Option<Range<u64>>,
        limit: u64,
    ) -> Result<(Bytes, ObjectInfo), StoreError> {
        let read = self.read(key, Some(version), range.as_ref().filter(|range| !range.is_empty()), limit);
        let (bytes, info) = read.await.map_err(self.fault("read a version of", key))?;
        match range.is_some_and(|range| range.is_empty()) {
            true => Ok((Bytes::new(), info)),
            false => Ok((bytes, info)),
        }
    }

    async fn purge(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let outcomes = self.purge_all(keys).await;
        keys.iter().zip(outcomes).map(|(key, outcome)| outcome.map_err(self.fault("delete", key))).collect()
    }

    async fn locked_until(&self, key: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.lock_of(key).await.map_err(self.fault("read the lock of", key))
    }

    async fn retained_until(&self, key: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.retention_of(key).await.map_err(self.fault("read the lock of", key))
    }

    async fn extend_lock(&self, key: &str, until: DateTime<Utc>) -> Result<(), StoreError> {
        self.extend_retention(key, until, None).await.map_err(self.fault("extend the lock of", key))
    }

    async fn place_lock(&self, key: &str, lock: Lock) -> Result<(), StoreError> {
        self.extend_retention(key, lock.until, Some(lock.mode)).await.map_err(self.fault("lock", key))
    }

    async fn versions_below(
        &self,
        prefix: &str,
        after: Option<(String, String)>,
    ) -> Result<VersionPage, StoreError> {
        self.version_page(prefix, after).await.map_err(self.fault("list the versions below", prefix))
    }

    async fn delete_version(&self, key: &str, version: &str) -> Result<(), StoreError> {
        self.remove_version(key, version).await.map_err(self.fault("delete a version of", key))
    }

    async fn copy_version(
        &self,
        key: &str,
        version: &str,
        size: u64,
        lock: Option<Lock>,
    ) -> Result<(), StoreError> {
        self.renew_version(key, version, size, lock).await.map_err(self.fault("copy a version of", key))
    }

    async fn lifecycle(&self) -> Result<Vec<LifecycleRule>, StoreError> {
        self.lifecycle_rules().await.map_err(self.fault("read the lifecycle rules of", ""))
    }

    async fn set_legal_hold(&self, key: &str, is_held: bool) -> Result<(), StoreError> {
        self.put_legal_hold(key, is_held).await.map_err(self.fault("hold", key))
    }

    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<UploadInfo>, StoreError> {
        self.pending(prefix).await.map_err(self.fault("list the uploads below", prefix))
    }

    async fn abort_upload(&self, upload: &UploadInfo) -> Result<(), StoreError> {
        self.abort(&upload.key, &upload.id).await.map_err(self.fault("abort the upload of", &upload.key))
    }

    /// Any response has a date, also a rejection.
    async fn server_time(&self) -> Result<DateTime<Utc>, StoreError> {
        let date = AnswerDate::default();
        let key = MARKER;
        let request = self.client.head_object().bucket(&self.place.bucket).key(self.full(key));
        let answer = request.customize().interceptor(date.clone()).send().await;
        let fault = self.fault("read the time of", "");
        match (date.seen(), answer.map_err(S3Error::from)) {
            (Some(date), _) => Ok(date),
            (None, Err(refusal)) => Err(fault(refusal.into())),
            (None, Ok(_)) => {
                Err(fault(StoreFault::new(StoreErrorKind::Unsupported, "its answers have no date")))
            }
        }
    }
}
