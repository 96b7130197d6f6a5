use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::super::object_store::{
    ChecksumSupport, ObjectInfo, Page, PutOptions, Store, StoreError, StoreErrorKind, StoreProtection,
    Upload, UploadInfo, Written,
};
use super::super::testing::faulty::{InjectedFault, check_key};
use super::error::S3ErrorKind;
use super::server_date::AnswerDate;
use super::upload::S3Upload;
use super::write::NONCE;
use crate::aws::{AwsError, LastAttempt, S3Client, S3Timeouts, s3_client};
use crate::policy::{Checksum, S3Location};

/// A bucket, or the part of one below a prefix.
#[derive(Clone, Debug)]
pub struct S3Store {
    pub(super) client: S3Client,
    pub(super) place: Arc<S3Location>,
    pub(super) patience: S3Timeouts,
    pub(super) trouble: LastAttempt,
    /// Sends wrong checksums, to find out whether anyone compares them.
    pub(super) wrong_sums: bool,
}

impl S3Store {
    /// Asks nothing of the store yet: keys given by reference are read, other credentials are not.
    pub async fn open(place: &S3Location) -> Result<Self, AwsError> {
        Self::open_with(place, S3Timeouts::default()).await
    }

    pub async fn open_with(place: &S3Location, patience: S3Timeouts) -> Result<Self, AwsError> {
        let trouble = LastAttempt::default();
        let client = s3_client(place, &patience, trouble.clone()).await?;
        Ok(Self { client, place: Arc::new(place.clone()), patience, trouble, wrong_sums: false })
    }

    /// The same place, asked to prove what arrives in another way.
    pub fn with_checksum(&self, checksum: Checksum) -> Self {
        Self { place: Arc::new(S3Location { checksum, ..(*self.place).clone() }), ..self.clone() }
    }

    /// The whole key in the bucket.
    pub(super) fn full(&self, key: &str) -> String {
        match self.place.prefix.as_str() {
            "" => key.to_owned(),
            prefix => format!("{prefix}/{key}"),
        }
    }

    /// The key below the root; `None` for what is not below it.
    pub(super) fn relative<'a>(&self, full: &'a str) -> Option<&'a str> {
        match self.place.prefix.as_str() {
            "" => Some(full),
            prefix => full.strip_prefix(prefix)?.strip_prefix('/'),
        }
    }

    /// Says what failed on what; of credentials also which they were.
    pub(super) fn fault(
        &self,
        operation: &'static str,
        key: &str,
    ) -> impl Fn(InjectedFault) -> StoreError + use<> {
        let (key, location, credentials) =
            (key.to_owned(), self.location(), self.place.credentials.to_string());
        let trouble = self.trouble.clone();
        move |mut fault| {
            if fault.kind == StoreErrorKind::Unreachable {
                fault.detail = told_with(fault.detail, trouble.last());
            }
            if fault.kind == StoreErrorKind::Credentials {
                let words = fault.detail.map(|words| format!("; {words}")).unwrap_or_default();
                fault.detail = Some(format!("{credentials}{words}"));
            }
            fault.of(operation, &key, location.clone())
        }
    }

    /// Whether the bucket keeps versions; `None` where the store does not tell.
    pub async fn keeps_versions(&self) -> Result<Option<bool>, StoreError> {
        let answer = self.client.get_bucket_versioning().bucket(&self.place.bucket).send().await;
        match answer.map_err(S3ErrorKind::from) {
            Ok(answer) => Ok(Some(answer.status().is_some_and(|status| status.as_str() == "Enabled"))),
            Err(refusal) if refusal.kind == StoreErrorKind::Unsupported => Ok(None),
            Err(refusal) => Err(self.fault("ask for the versioning of", "")(refusal.into())),
        }
    }

    /// Whether the bucket can lock objects; `None` where the store does not tell.
    pub async fn locks_objects(&self) -> Result<Option<bool>, StoreError> {
        let answer = self.client.get_object_lock_configuration().bucket(&self.place.bucket).send().await;
        match answer.map_err(S3ErrorKind::from) {
            Ok(answer) => Ok(Some(
                answer
                    .object_lock_configuration()
                    .and_then(|configuration| configuration.object_lock_enabled())
                    .is_some_and(|enabled| enabled.as_str() == "Enabled"),
            )),
            Err(refusal) if refusal.is("ObjectLockConfigurationNotFoundError") => Ok(Some(false)),
            Err(refusal) if refusal.kind == StoreErrorKind::Unsupported => Ok(None),
            Err(refusal) => Err(self.fault("ask for the object lock of", "")(refusal.into())),
        }
    }
}

/// A deadline says only that it is over; why attempts failed until then is known beside it.
fn told_with(detail: Option<String>, trouble: Option<String>) -> Option<String> {
    match (detail, trouble) {
        (Some(detail), Some(trouble)) if detail.contains("timeout") && !detail.contains(&trouble) => {
            Some(format!("{trouble}; {detail}"))
        }
        (detail, trouble) => detail.or(trouble),
    }
}

#[async_trait]
impl Store for S3Store {
    fn trouble(&self) -> Option<String> {
        self.trouble.last()
    }

    fn proofs(&self) -> Vec<ChecksumSupport> {
        [Checksum::Crc64Nvme, Checksum::Crc32c, Checksum::Sha256, Checksum::None]
            .map(|checksum| {
                let right = self.with_checksum(checksum);
                let wrong = Arc::new(Self { wrong_sums: true, ..right.clone() });
                ChecksumSupport { checksum, right: Arc::new(right), wrong }
            })
            .into()
    }

    async fn guard(&self) -> Result<StoreProtection, StoreError> {
        Ok(StoreProtection {
            keeps_versions: self.keeps_versions().await?,
            locks_objects: self.locks_objects().await?,
        })
    }

    fn location(&self) -> String {
        let S3Location { bucket, prefix, region, endpoint, .. } = &*self.place;
        let slash = if prefix.is_empty() { "" } else { "/" };
        let at =
            endpoint.as_ref().map_or(region.as_str(), |endpoint| endpoint.as_str().trim_end_matches('/'));
        format!("s3://{bucket}{slash}{prefix} ({at})")
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

    /// The word of its writer and its time. A copy of the bucket has the same word, and another time or the mark of
    /// a replica.
    async fn print(&self, key: &str) -> Result<Option<String>, StoreError> {
        let fault = self.fault("look at", key);
        let Some(head) = self.head_output(key, false).await.map_err(fault)? else { return Ok(None) };
        let nonce = head.metadata().into_iter().flatten();
        let nonce = nonce.filter(|(name, _)| name.eq_ignore_ascii_case(NONCE)).map(|(_, value)| value).next();
        let modified = head.last_modified().map(|time| (time.secs(), time.subsec_nanos()));
        let is_replica = head.replication_status().is_some_and(|status| status.as_str() == "REPLICA");
        Ok(nonce.map(|nonce| format!("object {nonce} {modified:?} {is_replica}")))
    }

    async fn get(&self, key: &str, limit: u64) -> Result<(Bytes, ObjectInfo), StoreError> {
        self.read(key, None, limit).await.map_err(self.fault("read", key))
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.read_range(key, range).await.map_err(self.fault("read", key))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.page(prefix, after).await.map_err(self.fault("list", prefix))
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let fault = self.fault("delete", key);
        check_key(key).map_err(&fault)?;
        let request = self.client.delete_object().bucket(&self.place.bucket).key(self.full(key));
        match request.send().await.map_err(S3ErrorKind::from) {
            Err(refusal) if refusal.kind != StoreErrorKind::NotFound => Err(fault(refusal.into())),
            _ => Ok(()),
        }
    }

    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<UploadInfo>, StoreError> {
        self.pending(prefix).await.map_err(self.fault("list the uploads below", prefix))
    }

    async fn abort_pending(&self, upload: &UploadInfo) -> Result<(), StoreError> {
        self.abort(&upload.key, &upload.id).await.map_err(self.fault("abort the upload of", &upload.key))
    }

    /// Any answer has the time in it, also a refusal.
    async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        let date = AnswerDate::default();
        let key = crate::repository::layout::MARKER;
        let request = self.client.head_object().bucket(&self.place.bucket).key(self.full(key));
        let answer = request.customize().interceptor(date.clone()).send().await;
        let fault = self.fault("ask the time of", "");
        match (date.seen(), answer.map_err(S3ErrorKind::from)) {
            (Some(date), _) => Ok(date),
            (None, Err(refusal)) => Err(fault(refusal.into())),
            (None, Ok(_)) => {
                Err(fault(InjectedFault::new(StoreErrorKind::Unsupported, "its answers have no date")))
            }
        }
    }
}
