use std::time::Duration;

use aws_sdk_s3::config::Builder;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ObjectLockMode, ServerSideEncryption};
use aws_smithy_types::DateTime;
use bytes::Bytes;

use super::super::fault::{StoreFault, check_key};
use super::super::{Lock, Precondition, PutOptions, StoreErrorKind, Written};
use super::bucket::S3Store;
use super::checksum;
use super::checksum::PartChecksum;
use super::error::S3Error;
use super::payload_hash::PayloadHash;
use crate::policy::{self, Checksum, LockMode};

/// The metadata key of a writer's nonce. Not shown to callers.
pub(super) const NONCE: &str = "drctl-write";
/// How often a small object is sent again because of a conflicting concurrent write.
const CONFLICTS: u32 = 5;

/// Generates a value that is unique to a write.
pub(super) fn nonce() -> String {
    (0..4).map(|_| format!("{:08x}", crate::platform::seed())).collect()
}

/// Returns the two conditions of S3: `(If-None-Match, If-Match)`.
pub(super) fn conditions(precondition: &Precondition) -> (Option<String>, Option<String>) {
    match precondition {
        Precondition::None => (None, None),
        Precondition::Absent => (Some("*".to_owned()), None),
        Precondition::Unchanged(etag) => (None, Some(etag.clone())),
    }
}

/// Converts a rejection of a write with this precondition.
pub(super) fn judge(refusal: S3Error, precondition: &Precondition) -> StoreFault {
    let kind = match (refusal.kind, precondition) {
        (StoreErrorKind::Changed, Precondition::Absent) => StoreErrorKind::Exists,
        // The object with the expected etag is gone.
        (StoreErrorKind::NotFound, Precondition::Unchanged(_)) => StoreErrorKind::Changed,
        (kind, _) => kind,
    };
    match kind {
        // Redundant with the kind.
        StoreErrorKind::Exists | StoreErrorKind::Changed => kind.into(),
        kind => StoreFault { kind, detail: refusal.detail },
    }
}

/// Converts an object lock into headers. The store requires a checksum with them.
pub(super) fn lock(
    lock: Option<Lock>,
    checksum: Checksum,
) -> Result<(Option<ObjectLockMode>, Option<DateTime>), StoreFault> {
    match lock {
        Some(_) if checksum == Checksum::None => Err(StoreFault::new(
            StoreErrorKind::Unsupported,
            "object lock needs a checksum, and the policy asks for none",
        )),
        Some(Lock { mode, until }) => {
            let mode = match mode {
                LockMode::Governance => ObjectLockMode::Governance,
                LockMode::Compliance => ObjectLockMode::Compliance,
            };
            Ok((Some(mode), Some(DateTime::from_millis(until.timestamp_millis()))))
        }
        None => Ok((None, None)),
    }
}

impl S3Store {
    /// Returns whether the body of the request may go unsigned: to AWS itself, with the checksum in a signed
    /// header and TLS against tampering. Saves hashing every part a second time. Some other stores reject it.
    pub(super) fn leaves_body_unsigned(&self) -> bool {
        self.place.endpoint.is_none() && self.place.checksum != Checksum::None
    }

    /// Computes the checksum that the store compares `body` with.
    pub(super) fn sum(&self, body: &[u8]) -> PartChecksum {
        let sum = PartChecksum::compute(self.place.checksum, body);
        if self.wrong_sums { sum.wrong() } else { sum }
    }

    /// Returns the client settings of a request that transfers `bytes`.
    pub(super) fn settings(&self, bytes: usize) -> Builder {
        let settings = aws_sdk_s3::Config::builder().timeout_config(self.patience.timeouts(bytes));
        // A rejection is expected, so it is not retried.
        if self.wrong_sums { settings.retry_config(self.patience.retries(1)) } else { settings }
    }

    pub(super) fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.place.server_side_encryption {
            None => (None, None),
            Some(policy::ServerSideEncryption::S3) => (Some(ServerSideEncryption::Aes256), None),
            Some(policy::ServerSideEncryption::Kms { key }) => {
                (Some(ServerSideEncryption::AwsKms), key.clone())
            }
        }
    }

    /// Writes an object in one request. Sets no storage class: such objects are small, and other classes cost
    /// more for small objects or cannot be read immediately.
    pub(super) async fn write(
        &self,
        key: &str,
        body: Bytes,
        options: &PutOptions,
    ) -> Result<Written, StoreFault> {
        check_key(key)?;
        let nonce = nonce();
        let sum = self.sum(&body);
        let (lock_mode, lock_until) = lock(options.lock, self.place.checksum)?;
        let (none_match, match_) = conditions(&options.precondition);
        let (encryption, kms_key) = self.encryption();
        let mut metadata: std::collections::HashMap<_, _> = options.metadata.clone().into_iter().collect();
        metadata.insert(NONCE.to_owned(), nonce.clone());
        let mut conflicts = 0;
        loop {
            let request = self
                .client
                .put_object()
                .bucket(&self.place.bucket)
                .key(self.full(key))
                .body(ByteStream::from(body.clone()))
                .set_metadata(Some(metadata.clone()))
                .set_if_none_match(none_match.clone())
                .set_if_match(match_.clone())
                .set_checksum_algorithm(checksum::algorithm(self.place.checksum))
                .set_checksum_crc64_nvme(sum.crc64_nvme())
                .set_checksum_crc32_c(sum.crc32c())
                .set_checksum_sha256(sum.sha256())
                .set_object_lock_mode(lock_mode.clone())
                .set_object_lock_retain_until_date(lock_until)
                .set_server_side_encryption(encryption.clone())
                .set_ssekms_key_id(kms_key.clone())
                .customize()
                .config_override(self.settings(body.len()));
            let request = match options.sha256 {
                Some(sha256) => request.interceptor(PayloadHash(sha256)),
                None if self.leaves_body_unsigned() => request.disable_payload_signing(),
                None => request,
            };
            let refusal = match request.send().await.map_err(S3Error::from) {
                Ok(answer) => {
                    return written(answer.e_tag(), answer.version_id());
                }
                Err(refusal) => refusal,
            };
            if refusal.is_conflict() && conflicts < CONFLICTS {
                conflicts += 1;
                tokio::time::sleep(Duration::from_millis(50) * 2_u32.pow(conflicts)).await;
                continue;
            }
            // An attempt whose response was lost may have succeeded.
            let own = match options.precondition {
                Precondition::None => None,
                _ => self.written_by(key, &nonce).await,
            };
            return match own {
                Some(head) => written(head.e_tag(), head.version_id()),
                None => Err(judge(refusal, &options.precondition)),
            };
        }
    }

    /// Returns the object if this write made it. Also `None` if the store does not report it.
    pub(super) async fn written_by(&self, key: &str, nonce: &str) -> Option<HeadObjectOutput> {
        let head = self.head_output(key, self.place.checksum != Checksum::None).await.ok()??;
        let is_own =
            head.metadata()?.iter().any(|(name, value)| name.eq_ignore_ascii_case(NONCE) && value == nonce);
        is_own.then_some(head)
    }
}

pub(super) fn written(etag: Option<&str>, version: Option<&str>) -> Result<Written, StoreFault> {
    match etag {
        Some(etag) => Ok(Written { etag: etag.to_owned(), version: version.map(str::to_owned) }),
        None => Err(StoreFault::new(StoreErrorKind::Unsupported, "its answer has no etag")),
    }
}
