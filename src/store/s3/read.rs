use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Duration;

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ChecksumMode;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};

use super::super::fault::{StoreFault, check_key};
use super::super::{ObjectInfo, Page, StoreErrorKind, UploadInfo};
use super::bucket::S3Store;
use super::error::{S3Error, words};
use super::write::NONCE;
use crate::policy::Checksum;

/// How often to request a body that is cut off or arrives altered: the SDK retries requests without a
/// response, not a response that breaks off.
const BODY_ATTEMPTS: u32 = 4;
/// Consecutive pages without objects.
const EMPTY_PAGES: usize = 1000;

/// How reading failed.
enum RetryableRead {
    /// No response, or an error response.
    Refused(StoreFault),
    /// The response broke off or is not the expected one.
    Broken(StoreFault),
}

impl S3Store {
    pub(super) async fn look(&self, key: &str) -> Result<Option<ObjectInfo>, StoreFault> {
        check_key(key)?;
        match self.head_output(key, false).await? {
            Some(output) => Ok(Some(info(
                key,
                output.content_length(),
                output.e_tag(),
                output.last_modified(),
                output.metadata(),
            )?)),
            None => Ok(None),
        }
    }

    pub(super) async fn look_at_version(&self, key: &str, version: &str) -> Result<ObjectInfo, StoreFault> {
        check_key(key)?;
        let request = self.client.head_object().bucket(&self.place.bucket).key(self.full(key));
        let output = request.version_id(version).send().await.map_err(S3Error::from)?;
        info(key, output.content_length(), output.e_tag(), output.last_modified(), output.metadata())
    }

    pub(super) async fn head_output(
        &self,
        key: &str,
        checksum: bool,
    ) -> Result<Option<HeadObjectOutput>, StoreFault> {
        let request = self
            .client
            .head_object()
            .bucket(&self.place.bucket)
            .key(self.full(key))
            .set_checksum_mode(checksum.then_some(ChecksumMode::Enabled));
        match request.clone().send().await.map_err(S3Error::from) {
            Ok(output) => Ok(Some(output)),
            Err(refusal) if matches!(refusal.status, Some(300..=499)) => {
                if self.is_absent(key).await? {
                    return Ok(None);
                }
                // It was written in the meantime.
                Ok(Some(request.send().await.map_err(S3Error::from)?))
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Returns whether the object does not exist. A HEAD response has no body to tell why: a missing bucket
    /// looks like a missing object, clock skew like missing permission. A GET of one byte of the object tells
    /// them apart.
    async fn is_absent(&self, key: &str) -> Result<bool, StoreFault> {
        let request =
            self.client.get_object().bucket(&self.place.bucket).key(self.full(key)).range("bytes=0-0");
        match request.send().await.map_err(S3Error::from) {
            Ok(_) => Ok(false),
            Err(reason) if reason.kind == StoreErrorKind::NotFound => Ok(true),
            // An empty object has no first byte.
            Err(reason) if reason.kind == StoreErrorKind::Corrupt => Ok(false),
            Err(reason) if reason.kind == StoreErrorKind::Forbidden => {
                let words = reason.detail.unwrap_or_else(|| "AccessDenied".to_owned());
                Err(StoreFault::new(
                    reason.kind,
                    format!("{words}; without s3:ListBucket a missing object looks like this too"),
                ))
            }
            Err(reason) => Err(reason.into()),
        }
    }

    pub(super) async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreFault> {
        if range.start > range.end {
            return Err(StoreFault::new(StoreErrorKind::Unsupported, "the range ends before it begins"));
        }
        if range.is_empty() {
            // HTTP cannot express an empty range.
            return match self.look(key).await? {
                Some(info) if range.end <= info.size => Ok(Bytes::new()),
                Some(_) => Err(StoreErrorKind::Corrupt.into()),
                None => Err(StoreErrorKind::NotFound.into()),
            };
        }
        let limit = range.end - range.start;
        Ok(self.read(key, None, Some(&range), limit).await?.0)
    }

    /// Reads an object, or one version of it.
    pub(super) async fn read(
        &self,
        key: &str,
        version: Option<&str>,
        range: Option<&Range<u64>>,
        limit: u64,
    ) -> Result<(Bytes, ObjectInfo), StoreFault> {
        check_key(key)?;
        let attempts = self.patience.attempts.clamp(1, BODY_ATTEMPTS);
        let mut attempt = 1;
        loop {
            match self.read_once(key, version, range, limit).await {
                Ok(read) => return Ok(read),
                Err(RetryableRead::Broken(_)) if attempt < attempts => {
                    tokio::time::sleep(Duration::from_millis(50) * 2_u32.pow(attempt)).await;
                    attempt += 1;
                }
                Err(RetryableRead::Broken(fault) | RetryableRead::Refused(fault)) => return Err(fault),
            }
        }
    }

    async fn read_once(
        &self,
        key: &str,
        version: Option<&str>,
        range: Option<&Range<u64>>,
        limit: u64,
    ) -> Result<(Bytes, ObjectInfo), RetryableRead> {
        let mut request = self.client.get_object().bucket(&self.place.bucket).key(self.full(key));
        request = request.set_version_id(version.map(str::to_owned));
        match range {
            Some(range) => request = request.range(format!("bytes={}-{}", range.start, range.end - 1)),
            // For a range some stores return the checksum of the whole object.
            None if self.place.checksum != Checksum::None => {
                request = request.checksum_mode(ChecksumMode::Enabled);
            }
            None => {}
        }
        let answer =
            request.send().await.map_err(|error| RetryableRead::Refused(S3Error::from(error).into()))?;
        let refused = RetryableRead::Refused;
        let size = answer.content_length().and_then(|size| u64::try_from(size).ok());
        if range.is_none() && size.is_some_and(|size| size > limit) {
            return Err(refused(StoreErrorKind::TooLarge.into()));
        }
        if range.is_some() && size.is_some_and(|size| size != limit) {
            let words = format!("asked for {limit} bytes, the store has {}", size.unwrap_or_default());
            return Err(refused(StoreFault::new(StoreErrorKind::Corrupt, words)));
        }
        let info =
            info(key, answer.content_length(), answer.e_tag(), answer.last_modified(), answer.metadata())
                .map_err(refused)?;
        let expected = usize::try_from(size.unwrap_or(limit)).unwrap_or(usize::MAX);
        let mut stream = answer.body;
        let receive = async {
            let mut body = BytesMut::with_capacity(expected.min(64 << 20));
            while let Some(bytes) = stream.next().await {
                body.extend_from_slice(
                    &bytes.map_err(|error| StoreFault::new(StoreErrorKind::Corrupt, words(&error)))?,
                );
                if body.len() as u64 > limit {
                    return Err(StoreErrorKind::TooLarge.into());
                }
            }
            Ok(body.freeze())
        };
        let deadline = self.patience.body(expected.min(u32::MAX as usize));
        let body = tokio::time::timeout(deadline, receive)
            .await
            .unwrap_or_else(|_| {
                Err(StoreFault::new(StoreErrorKind::Unreachable, "the body did not arrive in time"))
            })
            .map_err(RetryableRead::Broken)?;
        let arrived = body.len() as u64;
        let whole = if range.is_some() { arrived == limit } else { size.is_none_or(|size| arrived == size) };
        if !whole {
            let words = format!("{arrived} bytes arrived of {}", size.unwrap_or(limit));
            return Err(RetryableRead::Broken(StoreFault::new(StoreErrorKind::Corrupt, words)));
        }
        Ok((body, info))
    }

    pub(super) async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreFault> {
        let mut token: Option<String> = None;
        // A page may be empty without being the last, and then has no key to continue from.
        for _ in 0..EMPTY_PAGES {
            let answer = self
                .client
                .list_objects_v2()
                .bucket(&self.place.bucket)
                .prefix(self.full(prefix))
                .set_start_after(after.map(|after| self.full(after)))
                .set_continuation_token(token.take())
                .send()
                .await
                .map_err(S3Error::from)?;
            let mut objects = Vec::new();
            for object in answer.contents() {
                // A key that ends with `/` is a folder created by other tools.
                if let Some(key) =
                    object.key().and_then(|key| self.relative(key)).filter(|key| !key.ends_with('/'))
                {
                    objects.push(info(key, object.size(), object.e_tag(), object.last_modified(), None)?);
                }
            }
            let more = answer.is_truncated().unwrap_or_default();
            match (more, objects.last()) {
                (false, _) => return Ok(Page { objects, next: None }),
                (true, Some(last)) => {
                    let next = Some(last.key.clone());
                    return Ok(Page { objects, next });
                }
                (true, None) => token = answer.next_continuation_token().map(str::to_owned),
            }
            if token.is_none() {
                break;
            }
        }
        Err(StoreFault::new(StoreErrorKind::Other, "its listing does not go on"))
    }

    pub(super) async fn pending(&self, prefix: &str) -> Result<Vec<UploadInfo>, StoreFault> {
        let mut uploads = Vec::new();
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let answer = self
                .client
                .list_multipart_uploads()
                .bucket(&self.place.bucket)
                .prefix(self.full(prefix))
                .set_key_marker(key_marker.take())
                .set_upload_id_marker(id_marker.take())
                .send()
                .await
                .map_err(S3Error::from)?;
            for upload in answer.uploads() {
                let (Some(key), Some(id)) =
                    (upload.key().and_then(|key| self.relative(key)), upload.upload_id())
                else {
                    continue;
                };
                uploads.push(UploadInfo {
                    key: key.to_owned(),
                    id: id.to_owned(),
                    begun: time(upload.initiated()),
                });
            }
            if !answer.is_truncated().unwrap_or_default() {
                return Ok(uploads);
            }
            key_marker = answer.next_key_marker().map(str::to_owned);
            id_marker = answer.next_upload_id_marker().map(str::to_owned);
            if key_marker.is_none() {
                return Err(StoreFault::new(StoreErrorKind::Other, "its listing does not go on"));
            }
        }
    }
}

pub(super) fn time(time: Option<&aws_smithy_types::DateTime>) -> DateTime<Utc> {
    time.and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos())).unwrap_or_default()
}

fn info(
    key: &str,
    size: Option<i64>,
    etag: Option<&str>,
    modified: Option<&aws_smithy_types::DateTime>,
    metadata: Option<&HashMap<String, String>>,
) -> Result<ObjectInfo, StoreFault> {
    let missing = |what: &str| StoreFault::new(StoreErrorKind::Corrupt, format!("the answer has no {what}"));
    let mut metadata: BTreeMap<String, String> =
        metadata.into_iter().flatten().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
    metadata.remove(NONCE);
    Ok(ObjectInfo {
        key: key.to_owned(),
        size: size.and_then(|size| u64::try_from(size).ok()).ok_or_else(|| missing("size"))?,
        // Some stores omit it from listings; callers that compare etags query the object.
        etag: etag.unwrap_or_default().to_owned(),
        modified: time(modified),
        metadata,
    })
}
