//! Tries whether a store refuses to delete what is locked: some accept the lock and delete anyway.

use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use serde::Serialize;

use super::super::layout;
use super::answer::Capability;
use crate::platform::CancellationToken;
use crate::policy::LockMode;
use crate::store::{
    Lock, PutOptions, Store, StoreAdmin, StoreError, StoreErrorKind, delete_object, require_admin,
};

/// Long enough for the attempts, and waited for: then nothing is left.
const LOCKED: TimeDelta = TimeDelta::seconds(12);
const DEADLINE: Duration = Duration::from_secs(60);

/// What trying a lock showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LockProbe {
    /// A locked version was not deleted, by a role that may delete versions.
    pub refuses: Capability,
    /// What a delete marker hides comes back when the marker is removed.
    pub reveals: Capability,
}

impl LockProbe {
    fn unknown(why: impl Into<String>) -> Self {
        let why = why.into();
        Self { refuses: Capability::Unknown(why.clone()), reveals: Capability::Unknown(why) }
    }
}

/// Tries a lock of some seconds on an object of its own, and removes that when the lock is over.
pub async fn probe_lock(store: &dyn Store, mode: LockMode, cancel: &CancellationToken) -> LockProbe {
    let folder = layout::lock_probe(crate::platform::seed());
    let trying = tokio::time::timeout(DEADLINE, attempt(store, &folder, mode));
    let tried = tokio::select! {
        tried = trying => tried.unwrap_or_else(|_| Ok(LockProbe::unknown("the store did not answer in time"))),
        () = cancel.cancelled() => Ok(LockProbe::unknown("interrupted")),
    };
    tried.unwrap_or_else(|error| LockProbe::unknown(error.to_string()))
}

async fn attempt(store: &dyn Store, folder: &str, mode: LockMode) -> Result<LockProbe, StoreError> {
    let admin = require_admin(store)?;
    // Without this every refusal might be that of a missing permission.
    if let Some(why) = may_not_delete(store, admin, &format!("{folder}open")).await? {
        return Ok(LockProbe::unknown(why));
    }
    let key = format!("{folder}locked");
    let until = admin.server_time().await? + LOCKED;
    let options = PutOptions { lock: Some(Lock { mode, until }), ..PutOptions::absent() };
    let written = match store.put(&key, Bytes::from_static(b"locked"), &options).await {
        Ok(written) => written,
        Err(error) if matches!(error.kind, StoreErrorKind::Unsupported | StoreErrorKind::Forbidden) => {
            let why = format!("a locked object cannot be written: {error}");
            return Ok(LockProbe { refuses: Capability::No(why.clone()), reveals: Capability::Unknown(why) });
        }
        Err(error) => return Err(error),
    };
    let Some(version) = written.version else {
        let why = "the bucket keeps no versions".to_owned();
        return Ok(LockProbe { refuses: Capability::No(why.clone()), reveals: Capability::Unknown(why) });
    };
    let refuses = refuses(admin, &key, &version).await;
    let refuses = match admin.server_time().await? < until {
        true => refuses,
        false => Capability::Unknown("it took longer than the lock lasted".to_owned()),
    };
    let reveals = reveals(store, admin, &key).await;
    // A second more: the store may round.
    let left = (until - admin.server_time().await?).to_std().unwrap_or_default() + Duration::from_secs(1);
    tokio::time::sleep(left).await;
    let removed = admin.purge(&[key]).await.into_iter().collect::<Result<(), _>>();
    if let Err(error) = removed {
        tracing::info!("{error}");
    }
    Ok(LockProbe { refuses, reveals })
}

/// Returns why a refusal would prove nothing: this role may not delete a version that is not locked either.
async fn may_not_delete(
    store: &dyn Store,
    admin: &dyn StoreAdmin,
    key: &str,
) -> Result<Option<String>, StoreError> {
    let written = store.put(key, Bytes::from_static(b"open"), &PutOptions::absent()).await?;
    let Some(version) = written.version else { return Ok(Some("the bucket keeps no versions".to_owned())) };
    match admin.delete_version(key, &version).await {
        Ok(()) => Ok(None),
        Err(error) if error.kind == StoreErrorKind::Forbidden => Ok(Some(
            "this host may not delete versions (s3:DeleteObjectVersion), so that a refusal proves nothing"
                .to_owned(),
        )),
        Err(error) => Err(error),
    }
}

async fn refuses(admin: &dyn StoreAdmin, key: &str, version: &str) -> Capability {
    let deleted = admin.delete_version(key, version).await;
    let is_left = match admin.versions(key).await {
        Ok(left) => left.iter().any(|one| one.id.as_deref() == Some(version)),
        Err(error) => return Capability::Unknown(error.to_string()),
    };
    match deleted {
        _ if !is_left => Capability::No("it deleted a version that was locked".to_owned()),
        Ok(()) => Capability::No("it answered that it deleted a version that was locked".to_owned()),
        Err(error) if error.kind == StoreErrorKind::Forbidden => Capability::Yes,
        // Some name it otherwise; what counts is that it was not deleted.
        Err(error) if error.kind == StoreErrorKind::Other || error.kind == StoreErrorKind::Unsupported => {
            Capability::Yes
        }
        Err(error) => Capability::Unknown(error.to_string()),
    }
}

async fn reveals(store: &dyn Store, admin: &dyn StoreAdmin, key: &str) -> Capability {
    let tried: Result<Option<String>, StoreError> = async {
        delete_object(store, key).await?;
        let versions = admin.versions(key).await?;
        let marker = versions.iter().find(|one| one.is_marker()).and_then(|marker| marker.id.clone());
        let Some(marker) = marker else { return Ok(Some("a deletion lays no delete marker".to_owned())) };
        admin.delete_version(key, &marker).await?;
        let is_back = store.head(key).await?.is_some();
        Ok((!is_back).then(|| "the object did not come back".to_owned()))
    }
    .await;
    match tried {
        Ok(None) => Capability::Yes,
        Ok(Some(why)) => Capability::No(why),
        Err(error) if error.kind == StoreErrorKind::Forbidden => {
            Capability::No(format!("a delete marker cannot be removed: {error}"))
        }
        Err(error) => Capability::Unknown(error.to_string()),
    }
}
