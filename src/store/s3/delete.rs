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

    async fn delete_object(&self, key: &str) -> Result<(), StoreFault> {
        let request = self.client.delete_object().bucket(&self.place.bucket).key(self.full(key));
        match request.send().await.map_err(S3Error::from) {
            Err(refusal) if refusal.kind != StoreErrorKind::NotFound => Err(refusal.into()),
            _ => Ok(()),
        }
    }
}
