//! Brings artifacts from a repository: small ones into memory, the others decoded on a thread of their own
//! ahead of whoever writes them.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use super::{RecoveryError, Run};
use crate::event::told;
use crate::model::{Artifact, Manifest, RepositoryName};
use crate::pipeline::{OpenError, open, open_ahead};
use crate::repository::reader::{ReadError, Window, stream};
use crate::repository::{Repository, layout};

/// Small artifacts are read into memory; more than this is not one.
const SMALL: u64 = 256 << 20;
const SMALL_WINDOW: Window = Window { chunk: 1 << 20, parallel: 2 };
/// Bytes handed over at a time, and how many of those may wait.
const CHUNK: usize = 1 << 20;
const AHEAD: usize = 8;

/// An artifact by the name it has without the endings of its encoding.
pub(super) fn artifact<'m>(manifest: &'m Manifest, name: &str) -> Option<&'m Artifact> {
    let is_it = |artifact: &&Artifact| {
        artifact.name.strip_prefix(name).is_some_and(|rest| ["", ".zst", ".zst.age", ".age"].contains(&rest))
    };
    manifest.artifacts.iter().find(is_it)
}

/// The plain bytes of an artifact; an error at their end says that they were not the right ones.
fn plain(
    run: &Run,
    manifest: &Manifest,
    artifact: &Artifact,
    repository: &Repository,
    is_small: bool,
) -> impl FnOnce() -> Result<Box<dyn Read + Send>, OpenError> + Send + use<> {
    let folder = layout::backup(&manifest.system, &manifest.id);
    let window = if is_small { SMALL_WINDOW } else { Window::default() };
    let stream = stream(Arc::clone(&repository.store), &folder, artifact, window, run.cancel.clone());
    let (identities, artifact) = (run.identities.clone(), artifact.clone());
    move || {
        let (stored, plain) = (stream.into_reader(), Some(artifact.plain));
        if is_small {
            open(stored, &artifact.encoding, &identities, plain)
        } else {
            open_ahead(stored, &artifact.encoding, &identities, plain)
        }
    }
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
        let begin = plain(run, manifest, artifact, repository, true);
        let size = artifact.plain.size;
        let reading = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            begin()?.take(SMALL).read_to_end(&mut bytes).map_err(OpenError::Read)?;
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

/// The plain bytes of an artifact, decoded ahead of whoever reads them. Only the end that [`Read`] gives says
/// that they were the right ones: a stream that stops without one was broken.
pub(super) fn ahead(
    run: &Run,
    manifest: &Manifest,
    artifact: &Artifact,
    repository: &Repository,
    count: Arc<AtomicU64>,
) -> Ahead {
    let begin = plain(run, manifest, artifact, repository, false);
    let (sender, chunks) = sync_channel(AHEAD);
    // Ends by itself when nobody takes its chunks any more.
    tokio::task::spawn_blocking(move || {
        let mut plain = match begin() {
            Ok(plain) => plain,
            Err(error) => {
                let _gone = sender.send(Err(io::Error::other(error)));
                return;
            }
        };
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            let read = plain.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
            let is_last = chunk.is_empty() || read.is_err();
            count.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if sender.send(read.map(|_| chunk)).is_err() || is_last {
                return;
            }
        }
    });
    Ahead { chunks, current: Vec::new(), at: 0, ended: false }
}

/// Bytes that another thread decodes.
pub(super) struct Ahead {
    chunks: Receiver<io::Result<Vec<u8>>>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.current.len() {
            if self.ended {
                return Ok(0);
            }
            let chunk = self.chunks.recv();
            let chunk = chunk.unwrap_or_else(|_| Err(io::Error::other("what decodes it has stopped")))?;
            self.ended = chunk.is_empty();
            (self.current, self.at) = (chunk, 0);
        }
        let count = buffer.len().min(self.current.len() - self.at);
        buffer[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
