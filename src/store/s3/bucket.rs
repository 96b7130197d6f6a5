use std::sync::Arc;

use super::super::fault::StoreFault;
use super::super::{StoreError, StoreErrorKind};
use super::error::S3Error;
use crate::aws::{AwsError, LastAttempt, S3Client, S3Timeouts, s3_client};
use crate::policy::{Checksum, S3Location};

/// An S3 bucket, or the part of one below a prefix.
#[derive(Clone, Debug)]
pub struct S3Store {
    pub(super) client: S3Client,
    pub(super) place: Arc<S3Location>,
    pub(super) patience: S3Timeouts,
    pub(super) trouble: LastAttempt,
    /// Sends wrong checksums, to find out whether the store verifies them.
    pub(super) wrong_sums: bool,
}

impl S3Store {
    /// Opens the store without a request to it. Reads keys that the policy gives by reference, but no other
    /// credentials.
    pub async fn open(place: &S3Location) -> Result<Self, AwsError> {
        Self::open_with(place, S3Timeouts::default()).await
    }

    pub async fn open_with(place: &S3Location, patience: S3Timeouts) -> Result<Self, AwsError> {
        let trouble = LastAttempt::default();
        let client = s3_client(place, &patience, trouble.clone()).await?;
        Ok(Self { client, place: Arc::new(place.clone()), patience, trouble, wrong_sums: false })
    }

    /// Returns a store of the same location with another checksum method.
    pub fn with_checksum(&self, checksum: Checksum) -> Self {
        Self { place: Arc::new(S3Location { checksum, ..(*self.place).clone() }), ..self.clone() }
    }

    /// Returns the full key in the bucket.
    pub(super) fn full(&self, key: &str) -> String {
        match self.place.prefix.as_str() {
            "" => key.to_owned(),
            prefix => format!("{prefix}/{key}"),
        }
    }

    /// Returns the key relative to the prefix; `None` if it is not below it.
    pub(super) fn relative<'a>(&self, full: &'a str) -> Option<&'a str> {
        match self.place.prefix.as_str() {
            "" => Some(full),
            prefix => full.strip_prefix(prefix)?.strip_prefix('/'),
        }
    }

    /// Returns the location, for display.
    pub(super) fn place_name(&self) -> String {
        self.place.location()
    }

    /// Adds operation, key and location to a fault; if credentials failed, also which they were.
    pub(super) fn fault(
        &self,
        operation: &'static str,
        key: &str,
    ) -> impl Fn(StoreFault) -> StoreError + use<> {
        let (key, location, credentials) =
            (key.to_owned(), self.place_name(), self.place.credentials.to_string());
        let trouble = self.trouble.clone();
        move |mut fault| {
            if fault.kind == StoreErrorKind::Unreachable {
                fault.detail = told_with(fault.detail, trouble.last());
            }
            if fault.kind == StoreErrorKind::Credentials {
                let words = fault.detail.map(|words| format!("; {words}")).unwrap_or_default();
                fault.detail = Some(format!("{credentials}{words}"));
            }
            fault.at(operation, &key, location.clone())
        }
    }

    /// Returns whether the bucket keeps versions; `None` if the store does not report it.
    pub async fn keeps_versions(&self) -> Result<Option<bool>, StoreError> {
        let answer = self.client.get_bucket_versioning().bucket(&self.place.bucket).send().await;
        match answer.map_err(S3Error::from) {
            Ok(answer) => Ok(Some(answer.status().is_some_and(|status| status.as_str() == "Enabled"))),
            Err(refusal) if refusal.kind == StoreErrorKind::Unsupported => Ok(None),
            Err(refusal) => Err(self.fault("ask for the versioning of", "")(refusal.into())),
        }
    }

    /// Returns whether object lock is enabled for the bucket; `None` if the store does not report it.
    pub async fn locks_objects(&self) -> Result<Option<bool>, StoreError> {
        let answer = self.client.get_object_lock_configuration().bucket(&self.place.bucket).send().await;
        match answer.map_err(S3Error::from) {
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

/// Adds the last failure to a timeout, which does not say why the attempts failed.
fn told_with(detail: Option<String>, trouble: Option<String>) -> Option<String> {
    match (detail, trouble) {
        (Some(detail), Some(trouble)) if detail.contains("timeout") && !detail.contains(&trouble) => {
            Some(format!("{trouble}; {detail}"))
        }
        (detail, trouble) => detail.or(trouble),
    }
}
