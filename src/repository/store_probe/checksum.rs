//! Probes which checksums a store verifies on arrival, by sending right and wrong ones.

use bytes::Bytes;
use serde::Serialize;

use super::answer::Capability;
use crate::policy::Checksum;
use crate::store::{ChecksumSupport, PutOptions, Store, StoreError, StoreErrorKind};

/// The result for one checksum.
#[derive(Clone, Debug, Serialize)]
pub struct ChecksumProbe {
    /// The name in the policy.
    pub checksum: &'static str,
    /// The store accepts objects with it, in one request and in parts.
    pub taken: Capability,
    /// The store rejects bytes that do not match it.
    pub compared: Capability,
}

/// Tries each checksum of the store, with one object below `folder` that is overwritten each time.
pub(crate) async fn checksums(store: &dyn Store, folder: &str) -> Vec<ChecksumProbe> {
    let mut found = Vec::new();
    for proof in store.admin().map(|admin| admin.checksums()).unwrap_or_default() {
        let name = proof.checksum.as_str();
        let taken = match write(&*proof.right, folder).await {
            Ok(()) => Capability::Yes,
            Err(error) => refusal(&error),
        };
        let compared = match (&proof, &taken) {
            (ChecksumSupport { checksum: Checksum::None, .. }, _) => {
                Capability::No("there is nothing to compare".to_owned())
            }
            (_, Capability::Yes) => compares(&*proof.wrong, folder).await,
            _ => Capability::Unknown("it is not taken at all".to_owned()),
        };
        found.push(ChecksumProbe { checksum: name, taken, compared });
    }
    found
}

async fn write(store: &dyn Store, folder: &str) -> Result<(), StoreError> {
    let body = Bytes::from_static(b"some bytes");
    let key = format!("{folder}sum");
    store.put(&key, body.clone(), &PutOptions::default()).await?;
    let upload = store.begin_upload(&key, &PutOptions::default()).await?;
    let sent = async {
        upload.part(1, body).await?;
        upload.complete().await.map(drop)
    };
    let sent = sent.await;
    if sent.is_err() {
        let _left = upload.abort().await;
    }
    sent
}

async fn compares(store: &dyn Store, folder: &str) -> Capability {
    let key = format!("{folder}sum");
    match store.put(&key, Bytes::from_static(b"other bytes"), &PutOptions::default()).await {
        Ok(_) => Capability::No("it took bytes whose checksum is another".to_owned()),
        Err(error) if is_about_the_store(&error) => Capability::Unknown(error.to_string()),
        Err(_) => Capability::Yes,
    }
}

fn refusal(error: &StoreError) -> Capability {
    if is_about_the_store(error) {
        Capability::Unknown(error.to_string())
    } else {
        Capability::No(error.to_string())
    }
}

/// Returns whether a request failed for a reason unrelated to its contents.
pub(super) fn is_about_the_store(error: &StoreError) -> bool {
    use StoreErrorKind as Kind;
    matches!(
        error.kind,
        Kind::Unreachable
            | Kind::Unavailable
            | Kind::Forbidden
            | Kind::Credentials
            | Kind::ClockSkew
            | Kind::Full
    )
}
