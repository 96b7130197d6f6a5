//! Fetches artifacts from a repository: small ones into memory, the others decoded on a thread of their own
//! ahead of the writer.

use std::io::{self, BufRead};
use std::sync::Arc;

use super::PhysicalRestoreError;
use crate::model::{Artifact, Manifest, RepositoryName};
use crate::pipeline::{OpenError, unseal_ahead};
use crate::repository::reader::{ReadWindow, stream_to_open};
use crate::repository::{Repository, SmallError, SmallReader, layout};
use crate::run::RunContext;

/// Reads the plain bytes of a small artifact from the first repository whose copy is intact.
pub(super) async fn read_small(
    run: &RunContext,
    manifest: &Manifest,
    artifact: &Artifact,
    repositories: &[RepositoryName],
) -> Result<Vec<u8>, PhysicalRestoreError> {
    let reader = SmallReader {
        repositories: &run.repositories,
        identities: &run.identities,
        events: &run.events,
        cancel: &run.cancel,
    };
    reader.read(manifest, artifact, repositories).await.map_err(|error| match error {
        SmallError::CannotDecrypt { source, .. } => {
            PhysicalRestoreError::CannotDecrypt { backup: manifest.id.clone(), source }
        }
        SmallError::Fetch { artifact, tries } => PhysicalRestoreError::Fetch { artifact, tries },
        SmallError::Interrupted => PhysicalRestoreError::Interrupted,
    })
}

/// Returns a reader of the plain bytes of an artifact, decoded and hashed ahead of the consumer. Only the end
/// of the stream confirms that they were the right ones. Blocks.
pub(super) fn ahead(
    run: &RunContext,
    manifest: &Manifest,
    artifact: &Artifact,
    repository: &Repository,
) -> impl FnOnce() -> io::Result<Box<dyn BufRead + Send>> + Send + use<> {
    let folder = layout::backup(&manifest.system, &manifest.id);
    let store = Arc::clone(&repository.store);
    let stream = stream_to_open(store, &folder, artifact, ReadWindow::default(), run.cancel.clone());
    let (identities, artifact) = (run.identities.clone(), artifact.clone());
    move || {
        unseal_ahead(stream.into_reader(), &artifact.encoding, &identities, artifact.plain).map_err(|error| {
            match error {
                // The cause is looked up inside of it.
                OpenError::Read(source) => source,
                error => io::Error::other(error),
            }
        })
    }
}
