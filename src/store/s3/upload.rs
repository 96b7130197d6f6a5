use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, StorageClass};
use bytes::Bytes;

use super::super::fault::{StoreFault, check_key};
use super::super::{Precondition, PutOptions, StoreError, StoreErrorKind, Upload, Written};
use super::bucket::S3Store;
use super::checksum;
use super::checksum::PartChecksum;
use super::error::S3Error;
use super::write::{NONCE, conditions, judge, lock, nonce, written};

/// The limit of S3 per multipart upload.
const MOST_PARTS: u32 = 10_000;
/// Attempts to complete the upload before checking whether one of them succeeded.
const JOIN_ATTEMPTS: u32 = 3;

/// A multipart upload.
#[derive(Debug)]
pub(super) struct S3Upload {
    store: S3Store,
    key: String,
    id: String,
    nonce: String,
    precondition: Precondition,
    parts: Mutex<BTreeMap<u32, UploadedPart>>,
    /// Aborted: some servers reject a second abort.
    aborted: AtomicBool,
}

/// A part that the store has received.
#[derive(Clone, Debug)]
struct UploadedPart {
    size: u64,
    etag: String,
    sum: PartChecksum,
}

impl S3Upload {
    pub(super) async fn begin(store: &S3Store, key: &str, options: &PutOptions) -> Result<Self, StoreFault> {
        check_key(key)?;
        let place = &store.place;
        let nonce = nonce();
        let (lock_mode, lock_until) = lock(options.lock, place.checksum)?;
        let (encryption, kms_key) = store.encryption();
        let mut metadata: std::collections::HashMap<_, _> = options.metadata.clone().into_iter().collect();
        metadata.insert(NONCE.to_owned(), nonce.clone());
        let answer = store
            .client
            .create_multipart_upload()
            .bucket(&place.bucket)
            .key(store.full(key))
            .set_metadata(Some(metadata))
            .set_storage_class(place.storage_class.as_deref().map(StorageClass::from))
            .set_checksum_algorithm(checksum::algorithm(place.checksum))
            .set_checksum_type(checksum::kept(place.checksum))
            .set_object_lock_mode(lock_mode)
            .set_object_lock_retain_until_date(lock_until)
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(kms_key)
            .send()
            .await
            .map_err(S3Error::from)?;
        let id = answer
            .upload_id()
            .ok_or_else(|| StoreFault::new(StoreErrorKind::Unsupported, "its answer names no upload"))?;
        Ok(Self {
            store: store.clone(),
            key: key.to_owned(),
            id: id.to_owned(),
            nonce,
            precondition: options.precondition.clone(),
            parts: Mutex::default(),
            aborted: AtomicBool::new(false),
        })
    }

    /// Fails once the upload is aborted: some servers wait for an upload that is gone.
    fn go_on(&self) -> Result<(), StoreFault> {
        if self.aborted.load(Ordering::SeqCst) {
            return Err(StoreFault::new(StoreErrorKind::Other, "the upload was aborted"));
        }
        Ok(())
    }

    async fn send(&self, number: u32, body: Bytes) -> Result<(), StoreFault> {
        self.go_on()?;
        if !(1..=MOST_PARTS).contains(&number) {
            let words = format!("part {number}; an object has parts 1 to {MOST_PARTS}");
            return Err(StoreFault::new(StoreErrorKind::Unsupported, words));
        }
        let place = &self.store.place;
        let size = body.len();
        let sum = self.store.sum(&body);
        let request = self
            .store
            .client
            .upload_part()
            .bucket(&place.bucket)
            .key(self.store.full(&self.key))
            .upload_id(&self.id)
            .part_number(i32::try_from(number).unwrap_or(i32::MAX))
            .body(ByteStream::from(body))
            .set_checksum_algorithm(checksum::algorithm(place.checksum))
            .set_checksum_crc64_nvme(sum.crc64_nvme())
            .set_checksum_crc32_c(sum.crc32c())
            .set_checksum_sha256(sum.sha256())
            .customize()
            .config_override(self.store.settings(size));
        let request =
            if self.store.leaves_body_unsigned() { request.disable_payload_signing() } else { request };
        let answer = request.send().await.map_err(S3Error::from)?;
        let etag = answer
            .e_tag()
            .ok_or_else(|| StoreFault::new(StoreErrorKind::Unsupported, "its answer has no etag"))?
            .to_owned();
        let part = UploadedPart { size: size as u64, etag, sum };
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(number, part);
        Ok(())
    }

    async fn finish(&self) -> Result<Written, StoreFault> {
        self.go_on()?;
        let sent = || self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if sent().is_empty() {
            // An empty object is one empty part.
            self.send(1, Bytes::new()).await?;
        }
        let parts = sent();
        if !parts.keys().copied().eq(1..=parts.len() as u32) {
            return Err(StoreFault::new(StoreErrorKind::Other, "a part is missing"));
        }
        let size = parts.values().map(|part| part.size).sum();
        let whole = checksum::whole(parts.values().map(|part| (&part.sum, part.size)));
        let whole = whole.and_then(|sum| sum.crc64_nvme());
        let completed = CompletedMultipartUpload::builder()
            .set_parts(Some(parts.iter().map(|(number, part)| part.completed(*number)).collect()))
            .build();
        let mut round = 0;
        loop {
            let refusal = match self.join(completed.clone(), whole.as_deref()).await {
                Ok(answer) => return self.prove(&answer, size, whole.as_deref()).await,
                Err(refusal) => refusal,
            };
            // Whatever the final response: an attempt whose response was lost may have succeeded, and stores
            // respond differently to the next.
            if let Some(head) = self.store.written_by(&self.key, &self.nonce).await {
                return confirm(&head, size, whole.as_deref());
            }
            let may_pass = matches!(refusal.kind, StoreErrorKind::Unavailable | StoreErrorKind::Unreachable);
            round += 1;
            if !may_pass || round >= self.store.patience.attempts.div_ceil(JOIN_ATTEMPTS) {
                return Err(judge(refusal, &self.precondition));
            }
            tokio::time::sleep(self.store.patience.backoff * round).await;
        }
    }

    async fn join(
        &self,
        completed: CompletedMultipartUpload,
        whole: Option<&str>,
    ) -> Result<CompleteMultipartUploadOutput, S3Error> {
        let (none_match, match_) = conditions(&self.precondition);
        let patience = self.store.patience;
        let request = self
            .store
            .client
            .complete_multipart_upload()
            .bucket(&self.store.place.bucket)
            .key(self.store.full(&self.key))
            .upload_id(&self.id)
            .multipart_upload(completed)
            .set_if_none_match(none_match)
            .set_if_match(match_)
            .set_checksum_type(checksum::kept(self.store.place.checksum))
            .set_checksum_crc64_nvme(whole.map(str::to_owned))
            .customize()
            .config_override(
                aws_sdk_s3::Config::builder()
                    .timeout_config(patience.finish_timeouts())
                    .retry_config(patience.retries(JOIN_ATTEMPTS)),
            );
        Ok(request.send().await?)
    }

    /// Verifies that the object is what was sent.
    async fn prove(
        &self,
        answer: &CompleteMultipartUploadOutput,
        size: u64,
        whole: Option<&str>,
    ) -> Result<Written, StoreFault> {
        match self.store.head_output(&self.key, whole.is_some()).await {
            Ok(Some(head)) => confirm(&head, size, whole),
            Ok(None) => {
                Err(StoreFault::new(StoreErrorKind::Corrupt, "the store completed it, and does not have it"))
            }
            // A write-only role has only the checksum in the response, if any.
            Err(fault)
                if fault.kind == StoreErrorKind::Forbidden
                    && whole.is_some()
                    && answer.checksum_crc64_nvme() == whole =>
            {
                written(answer.e_tag(), answer.version_id())
            }
            Err(fault) => Err(fault),
        }
    }
}

impl UploadedPart {
    fn completed(&self, number: u32) -> CompletedPart {
        CompletedPart::builder()
            .part_number(i32::try_from(number).unwrap_or(i32::MAX))
            .e_tag(&self.etag)
            .set_checksum_crc64_nvme(self.sum.crc64_nvme())
            .set_checksum_crc32_c(self.sum.crc32c())
            .set_checksum_sha256(self.sum.sha256())
            .build()
    }
}

/// Compares size and checksum reported by the store with what was sent.
fn confirm(head: &HeadObjectOutput, size: u64, whole: Option<&str>) -> Result<Written, StoreFault> {
    let has = head.content_length().and_then(|size| u64::try_from(size).ok());
    if has != Some(size) {
        let words = format!("{size} bytes were sent, the store has {}", has.unwrap_or_default());
        return Err(StoreFault::new(StoreErrorKind::Corrupt, words));
    }
    // A `-` and a number at its end mark a checksum of checksums, which some stores return instead.
    match (head.checksum_crc64_nvme().filter(|sum| !sum.contains('-')), whole) {
        (Some(has), Some(sent)) if has != sent => Err(StoreFault::new(
            StoreErrorKind::Corrupt,
            format!("its CRC64NVME is {has}, that of what was sent {sent}"),
        )),
        _ => written(head.e_tag(), head.version_id()),
    }
}

impl S3Store {
    pub(super) async fn abort(&self, key: &str, id: &str) -> Result<(), StoreFault> {
        let request =
            self.client.abort_multipart_upload().bucket(&self.place.bucket).key(self.full(key)).upload_id(id);
        match request.send().await.map_err(S3Error::from) {
            Err(refusal) if refusal.kind != StoreErrorKind::NotFound => Err(refusal.into()),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Upload for S3Upload {
    async fn part(&self, number: u32, body: Bytes) -> Result<(), StoreError> {
        self.send(number, body).await.map_err(self.store.fault("write", &self.key))
    }

    async fn complete(&self) -> Result<Written, StoreError> {
        self.finish().await.map_err(self.store.fault("complete", &self.key))
    }

    async fn abort(&self) -> Result<(), StoreError> {
        if !self.aborted.load(Ordering::SeqCst) {
            self.store.abort(&self.key, &self.id).await.map_err(self.store.fault("abort", &self.key))?;
            self.aborted.store(true, Ordering::SeqCst);
        }
        Ok(())
    }
}
