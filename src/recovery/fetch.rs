//! Brings artifacts from a repository: small ones into memory, the others decoded on a thread of their own
//! ahead of whoever writes them.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use super::{RecoveryError, Run};
use crate::event::told;
use crate::model::{Artifact, Manifest, RepositoryName};
use crate::pipeline::{OpenError, open, open_ahead};
use crate::repository::reader::{ReadError, Window, stream, stream_to_open};
use crate::repository::{Repository, layout};

/// Small artifacts are read into memory; more than this is not one.
const SMALL: u64 = 256 << 20;
const SMALL_WINDOW: Window = Window { chunk: 1 << 20, parallel: 2 };

/// An artifact by the name it has without the endings of its encoding.
pub(super) fn artifact<'m>(manifest: &'m Manifest, name: &str) -> Option<&'m Artifact> {
    let is_it = |artifact: &&Artifact| {
        artifact.name.strip_prefix(name).is_some_and(|rest| ["", ".zst", ".zst.age", ".age"].contains(&rest))
    };
    manifest.artifacts.iter().find(is_it)
}

/// The plain bytes of a small artifact, from the first repository that has them right.
pub(super) async fn read_small(
    run: &Run,
    manifest: &Manifest,
    artifact: &Artifact,
    repositories: &[RepositoryName],
) -> Result<Vec<u8>, RecoveryError> {
    let mut tries = Vec::new();
    let mut closed = None;
    for name in repositories {
        let Some(repository) = run.repositories.find(name) else { continue };
        let folder = layout::backup(&manifest.system, &manifest.id);
        let store = Arc::clone(&repository.store);
        let stream = stream(store, &folder, artifact, SMALL_WINDOW, run.cancel.clone());
        let (identities, wanted) = (run.identities.clone(), artifact.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let size = wanted.plain.size;
            let plain = open(stream.into_reader(), &wanted.encoding, &identities, Some(wanted.plain))?;
            let mut bytes = Vec::new();
            plain.take(SMALL).read_to_end(&mut bytes).map_err(OpenError::Read)?;
            let whole = bytes.len() as u64 == size;
            if whole {
                Ok(bytes)
            } else {
                Err(OpenError::Read(io::Error::other("it is larger than it can be")))
            }
        });
        match reading.await.map_err(RecoveryError::Worker)? {
            Ok(bytes) => return Ok(bytes),
            // A damaged header looks like another key; the next copy tells.
            Err(source @ (OpenError::NoIdentity | OpenError::WrongIdentity)) => {
                closed.get_or_insert(source);
            }
            Err(error) if is_interruption(&error) => return Err(RecoveryError::Interrupted),
            Err(error) => {
                let reason = told(&error);
                run.events.warning(format!("{} cannot be read from {name}: {reason}", artifact.name));
                tries.push((name.clone(), reason));
            }
        }
    }
    match closed {
        Some(source) => Err(RecoveryError::CannotDecrypt { backup: manifest.id.clone(), source }),
        None => Err(RecoveryError::Fetch { artifact: artifact.name.clone(), tries }),
    }
}

/// Whether reading ended because the run was interrupted.
pub(super) fn is_interruption(error: &OpenError) -> bool {
    let (OpenError::Read(source) | OpenError::Header(source)) = error else { return false };
    is_interrupted_read(source)
}

pub(super) fn is_interrupted_read(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ReadError>());
    matches!(inner, Some(ReadError::Interrupted))
}

/// The plain bytes of an artifact, decoded and hashed ahead of whoever reads them. Only the end that [`Read`]
/// gives says that they were the right ones. Blocks.
pub(super) fn ahead(
    run: &Run,
    manifest: &Manifest,
    artifact: &Artifact,
    repository: &Repository,
) -> impl FnOnce() -> io::Result<Box<dyn BufRead + Send>> + Send + use<> {
    let folder = layout::backup(&manifest.system, &manifest.id);
    let store = Arc::clone(&repository.store);
    let stream = stream_to_open(store, &folder, artifact, Window::default(), run.cancel.clone());
    let (identities, artifact) = (run.identities.clone(), artifact.clone());
    move || {
        open_ahead(stream.into_reader(), &artifact.encoding, &identities, artifact.plain).map_err(|error| {
            match error {
                // What ended it is looked for in there.
                OpenError::Read(source) => source,
                error => io::Error::other(error),
            }
        })
    }
}
