//! Verifies that an identity opens a backup, using its smallest artifact.

use std::io;
use std::sync::Arc;

use thiserror::Error;

use crate::model::{Manifest, SystemName};
use crate::pipeline::{Identities, OpenError, unseal};
use crate::platform::CancellationToken;
use crate::repository::layout;
use crate::repository::reader;
use crate::repository::reader::ReadWindow;
use crate::store::Store;

/// Why that was not verified.
#[derive(Debug, Error)]
pub enum IdentityCheckError {
    #[error("failed to open `{artifact}`")]
    Open { artifact: String, source: OpenError },
    #[error("failed to read `{artifact}` to its end")]
    Read { artifact: String, source: io::Error },
    #[error("the backup has no artifact")]
    Nothing,
    #[error("failed to go on: a worker ended without a result")]
    Worker(#[source] tokio::task::JoinError),
}

impl IdentityCheckError {
    /// Returns whether the key does not match, as opposed to unavailable bytes.
    pub fn is_wrong_key(&self) -> bool {
        matches!(self, Self::Open { source: OpenError::WrongIdentity | OpenError::NoIdentity, .. })
    }
}

/// Decrypts and decompresses the backup's smallest artifact completely, and compares its digest.
pub async fn opens(
    store: Arc<dyn Store>,
    system: &SystemName,
    manifest: &Manifest,
    identities: &Identities,
    cancel: CancellationToken,
) -> Result<(), IdentityCheckError> {
    let smallest = manifest.artifacts.iter().min_by_key(|artifact| artifact.stored_size());
    let artifact = smallest.ok_or(IdentityCheckError::Nothing)?.clone();
    let folder = layout::backup(system, &manifest.id);
    let stream = reader::stream(store, &folder, &artifact, ReadWindow::default(), cancel);
    let identities = identities.clone();
    let work = tokio::task::spawn_blocking(move || {
        let name = artifact.name.clone();
        let mut plain = unseal(stream.into_reader(), &artifact.encoding, &identities, Some(artifact.plain))
            .map_err(|source| IdentityCheckError::Open { artifact: name.clone(), source })?;
        io::copy(&mut plain, &mut io::sink())
            .map(|_| ())
            .map_err(|source| IdentityCheckError::Read { artifact: name, source })
    });
    work.await.map_err(IdentityCheckError::Worker)?
}
