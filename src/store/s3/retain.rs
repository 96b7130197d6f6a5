//! Protects objects from loss after they are written: versions, locks and legal holds.

use aws_sdk_s3::types::{
    ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode,
};
use aws_smithy_types::DateTime as SmithyDateTime;
use chrono::{DateTime, Utc};

use super::super::fault::{StoreFault, check_key};
use super::super::{ObjectVersion, StoreErrorKind};
use super::bucket::S3Store;
use super::error::S3Error;
use super::read::time;
use super::versions::{marker, version};
use crate::policy::LockMode;

impl S3Store {
    pub(super) async fn versions_of(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreFault> {
        check_key(key)?;
        let full = self.full(key);
        let mut versions = Vec::new();
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let answer = self
                .client
                .list_object_versions()
                .bucket(&self.place.bucket)
                .prefix(&full)
                .set_key_marker(key_marker.take())
                .set_version_id_marker(id_marker.take())
                .send()
                .await
                .map_err(S3Error::from)?;
            let objects = answer.versions().iter().filter(|one| one.key() == Some(&full));
            versions.extend(objects.map(version));
            let markers = answer.delete_markers().iter().filter(|one| one.key() == Some(&full));
            versions.extend(markers.map(marker));
            key_marker = answer.next_key_marker().map(str::to_owned);
            // The listing is sorted by key: longer keys with this prefix follow.
            let goes_on = key_marker.as_ref().is_some_and(|next| *next <= full);
            if !answer.is_truncated().unwrap_or_default() || !goes_on {
                break;
            }
            id_marker = answer.next_version_id_marker().map(str::to_owned);
        }
        versions.sort_by_key(|version| std::cmp::Reverse((version.is_latest, version.modified)));
        Ok(versions)
    }

    /// `mode`: of an object that is not locked yet; `None`: then it is an error.
    pub(super) async fn extend_retention(
        &self,
        key: &str,
        until: DateTime<Utc>,
        mode: Option<LockMode>,
    ) -> Result<(), StoreFault> {
        check_key(key)?;
        let (bucket, full) = (&self.place.bucket, self.full(key));
        let answer = self.client.get_object_retention().bucket(bucket).key(&full).send().await;
        let retention = match answer.map_err(S3Error::from) {
            Ok(answer) => answer.retention,
            // The codes of AWS and Ceph.
            Err(refusal)
                if refusal.is("NoSuchObjectLockConfiguration")
                    || refusal.is("ObjectLockConfigurationNotFoundError") =>
            {
                None
            }
            Err(refusal) => return Err(refusal.into()),
        };
        let mode = match (&retention, mode) {
            (Some(retention), _) if time(retention.retain_until_date()) >= until => return Ok(()),
            (Some(retention), _) => retention.mode().cloned().unwrap_or(ObjectLockRetentionMode::Governance),
            (None, Some(LockMode::Governance)) => ObjectLockRetentionMode::Governance,
            (None, Some(LockMode::Compliance)) => ObjectLockRetentionMode::Compliance,
            (None, None) => {
                return Err(StoreFault::new(StoreErrorKind::Unsupported, "the object is not locked"));
            }
        };
        let retention = ObjectLockRetention::builder()
            .mode(mode)
            .retain_until_date(SmithyDateTime::from_millis(until.timestamp_millis()))
            .build();
        let request = self.client.put_object_retention().bucket(bucket).key(full).retention(retention);
        request.send().await.map_err(S3Error::from)?;
        Ok(())
    }

    /// Until when the newest version of an object cannot be deleted.
    pub(super) async fn lock_of(&self, key: &str) -> Result<Option<DateTime<Utc>>, StoreFault> {
        check_key(key)?;
        let (bucket, full) = (&self.place.bucket, self.full(key));
        let held = self.client.get_object_legal_hold().bucket(bucket).key(&full).send().await;
        match held.map_err(S3Error::from) {
            Ok(answer) => {
                let status = answer.legal_hold.and_then(|hold| hold.status);
                if status == Some(ObjectLockLegalHoldStatus::On) {
                    return Ok(Some(DateTime::<Utc>::MAX_UTC));
                }
            }
            Err(refusal) if is_unlocked(&refusal) => {}
            Err(refusal) => return Err(refusal.into()),
        }
        self.retention_of(key).await
    }

    /// The same of its retention alone.
    pub(super) async fn retention_of(&self, key: &str) -> Result<Option<DateTime<Utc>>, StoreFault> {
        check_key(key)?;
        let (bucket, full) = (&self.place.bucket, self.full(key));
        let answer = self.client.get_object_retention().bucket(bucket).key(&full).send().await;
        match answer.map_err(S3Error::from) {
            Ok(answer) => {
                let retention = answer.retention.filter(|retention| retention.retain_until_date().is_some());
                Ok(retention.map(|retention| time(retention.retain_until_date())))
            }
            Err(refusal) if is_unlocked(&refusal) => Ok(None),
            Err(refusal) => Err(refusal.into()),
        }
    }

    pub(super) async fn put_legal_hold(&self, key: &str, is_held: bool) -> Result<(), StoreFault> {
        check_key(key)?;
        let status = if is_held { ObjectLockLegalHoldStatus::On } else { ObjectLockLegalHoldStatus::Off };
        let hold = ObjectLockLegalHold::builder().status(status).build();
        let request = self.client.put_object_legal_hold().bucket(&self.place.bucket).key(self.full(key));
        request.legal_hold(hold).send().await.map_err(S3Error::from)?;
        Ok(())
    }
}

/// Whether the store says so that an object has no lock.
fn is_unlocked(refusal: &S3Error) -> bool {
    let words = ["NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "InvalidRequest"];
    refusal.kind == StoreErrorKind::NotFound || words.iter().any(|word| refusal.is(word))
}
