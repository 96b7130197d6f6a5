use std::collections::BTreeMap;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures_util::future::join_all;

use super::super::StoreErrorKind;
use super::super::fault::{StoreFault, check_key};
use super::bucket::S3Store;
use super::error::S3Error;

/// The limit of S3 per request.
const BATCH: usize = 1000;
/// Concurrent requests if a store deletes only one object per request.
const AT_ONCE: usize = 8;

impl S3Store {
    /// Deletes these objects and returns the outcome of each.
    pub(super) async fn delete_all(&self, keys: &[String]) -> Vec<Result<(), StoreFault>> {
        let mut outcomes: Vec<_> = keys.iter().map(|key| check_key(key)).collect();
        let valid: Vec<usize> = (0..keys.len()).filter(|n| outcomes[*n].is_ok()).collect();
        for batch in valid.chunks(BATCH) {
            let names: Vec<&str> = batch.iter().map(|n| keys[*n].as_str()).collect();
            for (n, outcome) in batch.iter().zip(self.delete_batch(&names).await) {
                outcomes[*n] = outcome;
            }
        }
        outcomes
    }

    async fn delete_batch(&self, keys: &[&str]) -> Vec<Result<(), StoreFault>> {
        if let [key] = keys {
            return vec![self.delete_object(key).await];
        }
        let mut failed = match self.delete_objects(keys).await {
            Ok(failed) => failed,
            // Some servers lack the call, or require Content-MD5 and support no other checksum.
            Err(refusal)
                if refusal.kind == StoreErrorKind::Unsupported || refusal.is("MissingContentMD5") =>
            {
                let mut outcomes = Vec::with_capacity(keys.len());
                for some in keys.chunks(AT_ONCE) {
                    let mut calls = Vec::with_capacity(AT_ONCE);
                    for key in some {
                        calls.push(self.delete_object(key));
                    }
                    outcomes.extend(join_all(calls).await);
                }
                return outcomes;
            }
            Err(refusal) => {
                let fault = || StoreFault { kind: refusal.kind, detail: refusal.detail.clone() };
                return keys.iter().map(|_| Err(fault())).collect();
            }
        };
        keys.iter().map(|key| failed.remove(&self.full(key)).map_or(Ok(()), Err)).collect()
    }

    /// Deletes objects in one request. Returns the failures by their full keys.
    async fn delete_objects(&self, keys: &[&str]) -> Result<BTreeMap<String, StoreFault>, S3Error> {
        let objects =
            keys.iter().filter_map(|key| ObjectIdentifier::builder().key(self.full(key)).build().ok());
        let mut delete = Delete::builder().quiet(true);
        for object in objects {
            delete = delete.objects(object);
        }
        let delete = delete.build().map_err(|error| S3Error::other(error.to_string()))?;
        let request = self.client.delete_objects().bucket(&self.place.bucket).delete(delete);
        let answer = request.send().await?;
        let failed = answer.errors().iter().filter_map(|error| {
            let refusal = S3Error::from_code(error.code(), error.message());
            let is_gone = refusal.kind == StoreErrorKind::NotFound;
            (!is_gone).then(|| (error.key().unwrap_or_default().to_owned(), refusal.into()))
        });
        Ok(failed.collect())
    }

    /// Deletes every version of these objects, and says of each whether nothing of it is left.
    pub(super) async fn purge_all(&self, keys: &[String]) -> Vec<Result<(), StoreFault>> {
        let mut outcomes: Vec<_> = keys.iter().map(|key| check_key(key)).collect();
        // One listing shows the versions of all that stand in one folder.
        let mut folders: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
        for (n, key) in keys.iter().enumerate().filter(|(n, _)| outcomes[*n].is_ok()) {
            let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
            folders.entry(folder).or_default().insert(self.full(key), n);
        }
        for (folder, wanted) in folders {
            let versions = match self.versions_below(folder, &wanted).await {
                Ok(versions) => versions,
                Err(refusal) => {
                    for n in wanted.values() {
                        outcomes[*n] = Err(StoreFault { kind: refusal.kind, detail: refusal.detail.clone() });
                    }
                    continue;
                }
            };
            for batch in versions.chunks(BATCH) {
                for (key, fault) in self.delete_versions(batch).await {
                    if let Some(n) = wanted.get(&key) {
                        outcomes[*n] = Err(fault);
                    }
                }
            }
        }
        outcomes
    }

    /// The versions and marks of what is wanted, by whole key and name of the version.
    async fn versions_below(
        &self,
        folder: &str,
        wanted: &BTreeMap<String, usize>,
    ) -> Result<Vec<(String, String)>, S3Error> {
        let prefix = if folder.is_empty() { self.full("") } else { format!("{}/", self.full(folder)) };
        let last = wanted.last_key_value().map(|(key, _)| key.clone()).unwrap_or_default();
        let mut found = Vec::new();
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let request = self.client.list_object_versions().bucket(&self.place.bucket).prefix(&prefix);
            let request = request.set_key_marker(key_marker.take()).set_version_id_marker(id_marker.take());
            let answer = request.send().await?;
            let objects = answer.versions().iter().map(|one| (one.key(), one.version_id()));
            let marks = answer.delete_markers().iter().map(|one| (one.key(), one.version_id()));
            for (key, version) in objects.chain(marks) {
                if let Some(key) = key.filter(|key| wanted.contains_key(*key)) {
                    found.push((key.to_owned(), version.unwrap_or("null").to_owned()));
                }
            }
            key_marker = answer.next_key_marker().map(str::to_owned);
            id_marker = answer.next_version_id_marker().map(str::to_owned);
            let goes_on = key_marker.as_ref().is_some_and(|next| *next <= last);
            if !answer.is_truncated().unwrap_or_default() || !goes_on {
                return Ok(found);
            }
        }
    }

    /// Deletes versions in one request. Gives those that were not, by their whole keys.
    async fn delete_versions(&self, versions: &[(String, String)]) -> Vec<(String, StoreFault)> {
        let all_failed = |refusal: &S3Error| {
            let fault = || StoreFault { kind: refusal.kind, detail: refusal.detail.clone() };
            versions.iter().map(|(key, _)| (key.clone(), fault())).collect()
        };
        let mut delete = Delete::builder().quiet(true);
        for (key, version) in versions {
            if let Ok(object) = ObjectIdentifier::builder().key(key).version_id(version).build() {
                delete = delete.objects(object);
            }
        }
        let delete = match delete.build() {
            Ok(delete) => delete,
            Err(error) => return all_failed(&S3Error::other(error.to_string())),
        };
        let request = self.client.delete_objects().bucket(&self.place.bucket).delete(delete);
        match request.send().await.map_err(S3Error::from) {
            Ok(answer) => {
                let failed = answer.errors().iter().filter_map(|error| {
                    let refusal = S3Error::from_code(error.code(), error.message());
                    let is_gone = refusal.kind == StoreErrorKind::NotFound;
                    (!is_gone).then(|| (error.key().unwrap_or_default().to_owned(), refusal.into()))
                });
                failed.collect()
            }
            Err(refusal) => all_failed(&refusal),
        }
    }

    async fn delete_object(&self, key: &str) -> Result<(), StoreFault> {
        let request = self.client.delete_object().bucket(&self.place.bucket).key(self.full(key));
        match request.send().await.map_err(S3Error::from) {
            Err(refusal) if refusal.kind != StoreErrorKind::NotFound => Err(refusal.into()),
            _ => Ok(()),
        }
    }
}
