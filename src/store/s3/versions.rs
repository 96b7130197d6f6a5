//! Versions of objects: what was overwritten, and what delete markers hide.

use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, DeleteMarkerEntry, ObjectLockMode, ObjectVersion as SdkVersion,
    StorageClass,
};
use aws_smithy_types::DateTime as SmithyDateTime;

use super::super::fault::{StoreFault, check_key};
use super::super::{Lock, ObjectVersion, StoreErrorKind, VersionPage};
use super::bucket::S3Store;
use super::error::S3Error;
use super::read::time;
use super::write::lock as lock_headers;
use crate::policy::Checksum;

/// The most that S3 copies in one request.
const MOST_AT_ONCE: u64 = 5 << 30;
/// Of one part of a copy of more.
const PART: u64 = 1 << 30;

/// An object among its versions.
pub(super) fn version(one: &SdkVersion) -> ObjectVersion {
    ObjectVersion {
        id: one.version_id().map(str::to_owned),
        modified: time(one.last_modified()),
        size: one.size().and_then(|size| u64::try_from(size).ok()),
        is_latest: one.is_latest().unwrap_or_default(),
        etag: one.e_tag().unwrap_or_default().to_owned(),
    }
}

/// A delete marker among its versions.
pub(super) fn marker(one: &DeleteMarkerEntry) -> ObjectVersion {
    ObjectVersion {
        id: one.version_id().map(str::to_owned),
        modified: time(one.last_modified()),
        size: None,
        is_latest: one.is_latest().unwrap_or_default(),
        etag: String::new(),
    }
}

impl S3Store {
    pub(super) async fn version_page(
        &self,
        prefix: &str,
        after: Option<(String, String)>,
    ) -> Result<VersionPage, StoreFault> {
        let (key_marker, id_marker) = after.unzip();
        let answer = self
            .client
            .list_object_versions()
            .bucket(&self.place.bucket)
            .prefix(self.full(prefix))
            .set_key_marker(key_marker)
            .set_version_id_marker(id_marker.filter(|id| !id.is_empty()))
            .send()
            .await
            .map_err(S3Error::from)?;
        let objects = answer.versions().iter().map(|one| (one.key(), version(one)));
        let markers = answer.delete_markers().iter().map(|one| (one.key(), marker(one)));
        let mut versions: Vec<(String, ObjectVersion)> = objects
            .chain(markers)
            .filter_map(|(key, version)| Some((self.relative(key?)?.to_owned(), version)))
            .filter(|(key, _)| !key.ends_with('/'))
            .collect();
        // Objects and markers come apart, and the order within a second is not known but for the latest.
        versions.sort_by(|(a, one), (b, other)| {
            let newest_first = (other.is_latest, other.modified).cmp(&(one.is_latest, one.modified));
            a.cmp(b).then(newest_first)
        });
        let next = match (answer.is_truncated(), answer.next_key_marker()) {
            (Some(true), Some(key)) => {
                Some((key.to_owned(), answer.next_version_id_marker().unwrap_or_default().to_owned()))
            }
            (Some(true), None) => {
                return Err(StoreFault::new(StoreErrorKind::Other, "its listing does not go on"));
            }
            _ => None,
        };
        Ok(VersionPage { versions, next })
    }

    pub(super) async fn remove_version(&self, key: &str, version: &str) -> Result<(), StoreFault> {
        check_key(key)?;
        let request = self.client.delete_object().bucket(&self.place.bucket).key(self.full(key));
        match request.version_id(version).send().await.map_err(S3Error::from) {
            Err(refusal) if refusal.kind != StoreErrorKind::NotFound => Err(refusal.into()),
            _ => Ok(()),
        }
    }

    /// A lock needs no checksum here: the store has the bytes already.
    pub(super) async fn renew_version(
        &self,
        key: &str,
        version: &str,
        size: u64,
        lock: Option<Lock>,
    ) -> Result<(), StoreFault> {
        check_key(key)?;
        let (mode, until) = lock_headers(lock, Checksum::Crc32c)?;
        if size > MOST_AT_ONCE {
            return self.renew_in_parts(key, version, size, (mode, until)).await;
        }
        let (encryption, kms_key) = self.encryption();
        let request = self
            .client
            .copy_object()
            .bucket(&self.place.bucket)
            .key(self.full(key))
            .copy_source(self.source(key, version))
            .set_storage_class(self.class_of(key))
            .set_object_lock_mode(mode)
            .set_object_lock_retain_until_date(until)
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(kms_key)
            .customize()
            .config_override(aws_sdk_s3::Config::builder().timeout_config(self.patience.finish_timeouts()));
        request.send().await.map_err(S3Error::from)?;
        Ok(())
    }

    async fn renew_in_parts(
        &self,
        key: &str,
        version: &str,
        size: u64,
        (mode, until): (Option<ObjectLockMode>, Option<SmithyDateTime>),
    ) -> Result<(), StoreFault> {
        let (bucket, full) = (&self.place.bucket, self.full(key));
        let head = self.client.head_object().bucket(bucket).key(&full).version_id(version);
        let head = head.send().await.map_err(S3Error::from)?;
        let (encryption, kms_key) = self.encryption();
        let begun = self
            .client
            .create_multipart_upload()
            .bucket(bucket)
            .key(&full)
            .set_metadata(head.metadata)
            .set_storage_class(self.class_of(key))
            .set_object_lock_mode(mode)
            .set_object_lock_retain_until_date(until)
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(kms_key)
            .send()
            .await
            .map_err(S3Error::from)?;
        let unnamed = || StoreFault::new(StoreErrorKind::Unsupported, "its answer names no upload");
        let id = begun.upload_id().ok_or_else(unnamed)?;
        let copied = async {
            let mut parts = Vec::new();
            let mut from = 0;
            while from < size {
                let to = (from + PART).min(size);
                let number = i32::try_from(parts.len() + 1).unwrap_or(i32::MAX);
                let request = self
                    .client
                    .upload_part_copy()
                    .bucket(bucket)
                    .key(&full)
                    .upload_id(id)
                    .part_number(number)
                    .copy_source(self.source(key, version))
                    .copy_source_range(format!("bytes={from}-{}", to - 1))
                    .customize()
                    .config_override(
                        aws_sdk_s3::Config::builder().timeout_config(self.patience.finish_timeouts()),
                    );
                let answer = request.send().await.map_err(S3Error::from)?;
                let etag = answer.copy_part_result().and_then(|part| part.e_tag()).map(str::to_owned);
                parts.push(CompletedPart::builder().part_number(number).set_e_tag(etag).build());
                from = to;
            }
            let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
            let request = self
                .client
                .complete_multipart_upload()
                .bucket(bucket)
                .key(&full)
                .upload_id(id)
                .multipart_upload(parts)
                .customize()
                .config_override(
                    aws_sdk_s3::Config::builder().timeout_config(self.patience.finish_timeouts()),
                );
            request.send().await.map_err(S3Error::from)?;
            Ok(())
        };
        let copied: Result<(), StoreFault> = copied.await;
        if copied.is_err() {
            let _left_for_the_sweep = self.abort(key, id).await;
        }
        copied
    }

    /// Small objects get none, as when they are written.
    fn class_of(&self, key: &str) -> Option<StorageClass> {
        let is_clear = key.ends_with(".json");
        self.place.storage_class.as_deref().filter(|_| !is_clear).map(StorageClass::from)
    }

    /// Returns what is copied, as the header takes it.
    fn source(&self, key: &str, version: &str) -> String {
        let encoded = |text: &str| -> String {
            url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
        };
        let full = self.full(key);
        let path: Vec<String> = full.split('/').map(encoded).collect();
        format!("{}/{}?versionId={}", self.place.bucket, path.join("/"), encoded(version))
    }
}
