use std::io::{self, Read as _};
use std::sync::Arc;

use thiserror::Error;

use super::reader::{ReadError, ReadWindow, stream};
use super::{Repositories, Repository, layout};
use crate::event::Events;
use crate::model::{Artifact, Manifest, RepositoryName};
use crate::pipeline::{Identities, OpenError, unseal};
use crate::platform::CancellationToken;
use crate::text::error_chain;

/// Small artifacts are read into memory; a larger one is not small.
const MOST: u64 = 256 << 20;
/// Small read-ahead is enough for them.
const WINDOW: ReadWindow = ReadWindow { chunk: 1 << 20, parallel: 2 };

/// Why a small artifact was not read.
#[derive(Debug, Error)]
pub enum SmallError {
    #[error("no identity that was given opens `{artifact}`")]
    CannotDecrypt { artifact: String, source: OpenError },
    #[error("`{artifact}` cannot be read{}", told_tries(.tries))]
    Fetch { artifact: String, tries: Vec<(RepositoryName, String)> },
    #[error("interrupted")]
    Interrupted,
}

fn told_tries(tries: &[(RepositoryName, String)]) -> String {
    tries.iter().map(|(name, reason)| format!("; from `{name}`: {reason}")).collect()
}

/// Reads small artifacts into memory.
#[derive(Clone, Copy, Debug)]
pub struct SmallReader<'a> {
    pub repositories: &'a Repositories,
    pub identities: &'a Identities,
    pub events: &'a Events,
    pub cancel: &'a CancellationToken,
}

impl SmallReader<'_> {
    /// Returns the plain bytes, from the first of `holders` with an intact copy.
    pub async fn read(
        &self,
        manifest: &Manifest,
        artifact: &Artifact,
        holders: &[RepositoryName],
    ) -> Result<Vec<u8>, SmallError> {
        let (mut failed, mut closed) = (Vec::new(), None);
        for name in holders {
            let Some(repository) = self.repositories.find(name) else { continue };
            match self.read_from(repository, manifest, artifact).await {
                Ok(bytes) => return Ok(bytes),
                // A damaged header looks like another key; the next copy tells.
                Err(source @ (OpenError::NoIdentity | OpenError::WrongIdentity)) => {
                    closed.get_or_insert(source);
                }
                Err(error) if is_interruption(&error) => return Err(SmallError::Interrupted),
                Err(error) => {
                    let reason = error_chain(&error);
                    self.events.warning(format!("{} cannot be read from {name}: {reason}", artifact.name));
                    failed.push((name.clone(), reason));
                }
            }
        }
        let artifact = artifact.name.clone();
        match closed {
            Some(source) => Err(SmallError::CannotDecrypt { artifact, source }),
            None => Err(SmallError::Fetch { artifact, tries: failed }),
        }
    }

    async fn read_from(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        artifact: &Artifact,
    ) -> Result<Vec<u8>, OpenError> {
        let folder = layout::backup(&manifest.system, &manifest.id);
        let stream = stream(Arc::clone(&repository.store), &folder, artifact, WINDOW, self.cancel.clone());
        let (identities, artifact) = (self.identities.clone(), artifact.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let plain = unseal(stream.into_reader(), &artifact.encoding, &identities, Some(artifact.plain))?;
            let mut bytes = Vec::new();
            plain.take(MOST).read_to_end(&mut bytes).map_err(OpenError::Read)?;
            if bytes.len() as u64 == artifact.plain.size {
                return Ok(bytes);
            }
            Err(OpenError::Read(io::Error::other("it is larger than it can be")))
        });
        reading.await.unwrap_or_else(|error| Err(OpenError::Read(io::Error::other(error))))
    }
}

/// Returns whether decoding ended because the run was interrupted.
pub fn is_interruption(error: &OpenError) -> bool {
    let (OpenError::Read(source) | OpenError::Header(source)) = error else { return false };
    is_interrupted_read(source)
}

/// Returns whether reading ended because the run was interrupted.
pub fn is_interrupted_read(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ReadError>());
    matches!(inner, Some(ReadError::Interrupted))
}
