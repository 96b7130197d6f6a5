//! Reads artifacts back: fetches ranges ahead and in parallel, returns them in order, and verifies each
//! object's digest on the way, unless the caller verifies the plain bytes.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::model::{Artifact, Digest, Hasher, ObjectPart};
use crate::platform::CancellationToken;
use crate::store::{Store, StoreError, StoreErrorKind};

/// Up to this size a damaged object is distinguished from one sealed for another key, by its stored digest.
const TOLD_WITHIN: u64 = 64 << 20;

/// How far to read ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadWindow {
    /// Bytes per request.
    pub chunk: u64,
    /// Concurrent requests. Memory holds at most `chunk × (parallel + 2)` bytes.
    pub parallel: usize,
}

impl Default for ReadWindow {
    fn default() -> Self {
        Self { chunk: 4 << 20, parallel: 4 }
    }
}

/// Why an object could not be read as it was stored.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("failed to read a stored object")]
    Store(#[source] StoreError),
    #[error(
        "`{key}` in {location} is not what was stored: {found_size} bytes with SHA-256 {found}, expected {expected_size} with {expected}"
    )]
    Altered {
        key: String,
        location: String,
        found: crate::model::Sha256Hex,
        found_size: u64,
        expected: crate::model::Sha256Hex,
        expected_size: u64,
    },
    #[error("`{key}` in {location} has {found} bytes, {expected} were stored")]
    Size { key: String, location: String, found: u64, expected: u64 },
    #[error("failed to go on: the run was interrupted")]
    Interrupted,
}

impl ReadError {
    /// Returns whether the stored bytes are damaged, as opposed to unreachable.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Altered { .. } | Self::Size { .. } => true,
            Self::Store(error) => matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::Corrupt),
            Self::Interrupted => false,
        }
    }
}

/// Stored bytes in order. An error ends the stream; without one, every object was read completely, and
/// verified if that was requested.
#[derive(Debug)]
pub struct ArtifactStream {
    chunks: mpsc::Receiver<Result<Chunk, ReadError>>,
    worker: JoinHandle<()>,
    ended: bool,
}

/// A closed channel proves nothing: only `End` means that every object was read and verified.
#[derive(Debug)]
enum Chunk {
    Bytes(Bytes),
    End,
}

/// Starts reading an artifact whose objects are in `folder` (with a trailing `/`).
pub fn stream(
    store: Arc<dyn Store>,
    folder: &str,
    artifact: &Artifact,
    window: ReadWindow,
    cancel: CancellationToken,
) -> ArtifactStream {
    begin(store, located_all(folder, artifact), ArtifactDigest::Stored, window, cancel)
}

/// Starts reading an artifact for a caller that decodes it and verifies the plain bytes, as a restore does:
/// stored bytes that decode to the right plain bytes are right. Hashing them too takes as long as decrypting
/// them, so it is omitted for large objects.
pub fn stream_to_open(
    store: Arc<dyn Store>,
    folder: &str,
    artifact: &Artifact,
    window: ReadWindow,
    cancel: CancellationToken,
) -> ArtifactStream {
    let proof = ArtifactDigest::to_open(artifact, TOLD_WITHIN);
    begin(store, located_all(folder, artifact), proof, window, cancel)
}

/// Starts reading one object.
pub fn stream_object(
    store: Arc<dyn Store>,
    folder: &str,
    object: &ObjectPart,
    window: ReadWindow,
    cancel: CancellationToken,
) -> ArtifactStream {
    begin(store, vec![located(folder, object)], ArtifactDigest::Stored, window, cancel)
}

/// What is verified of each object before the stream ends without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ArtifactDigest {
    /// Its size and digest.
    Stored,
    /// Its size; the caller verifies the rest.
    Size,
}

impl ArtifactDigest {
    fn to_open(artifact: &Artifact, told_within: u64) -> Self {
        let stored: u64 = artifact.objects.iter().map(|object| object.stored.size).sum();
        if stored > told_within { Self::Size } else { Self::Stored }
    }
}

fn located_all(folder: &str, artifact: &Artifact) -> Vec<(String, Digest)> {
    artifact.objects.iter().map(|object| located(folder, object)).collect()
}

fn located(folder: &str, object: &ObjectPart) -> (String, Digest) {
    (format!("{folder}{}", object.name), object.stored)
}

fn begin(
    store: Arc<dyn Store>,
    objects: Vec<(String, Digest)>,
    proof: ArtifactDigest,
    window: ReadWindow,
    cancel: CancellationToken,
) -> ArtifactStream {
    let (sender, chunks) = mpsc::channel(1);
    let worker = tokio::spawn(async move {
        for (key, expected) in objects {
            let outcome = tokio::select! {
                outcome = read_object(&store, &key, expected, proof, window, &sender) => outcome,
                () = cancel.cancelled() => Err(ReadError::Interrupted),
            };
            match outcome {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    let _gone = sender.send(Err(error)).await;
                    return;
                }
            }
        }
        let _gone = sender.send(Ok(Chunk::End)).await;
    });
    ArtifactStream { chunks, worker, ended: false }
}

/// Reads one object. Returns `false` if the receiver is gone.
async fn read_object(
    store: &Arc<dyn Store>,
    key: &str,
    expected: Digest,
    proof: ArtifactDigest,
    window: ReadWindow,
    sender: &mpsc::Sender<Result<Chunk, ReadError>>,
) -> Result<bool, ReadError> {
    let info = store.head(key).await.map_err(ReadError::Store)?.ok_or_else(|| {
        ReadError::Store(StoreError {
            operation: "read",
            key: key.to_owned(),
            location: store.location(),
            kind: StoreErrorKind::NotFound,
            detail: None,
        })
    })?;
    if info.size != expected.size {
        let (key, location) = (key.to_owned(), store.location());
        return Err(ReadError::Size { key, location, found: info.size, expected: expected.size });
    }
    let mut ahead: VecDeque<Fetch> = VecDeque::new();
    let mut next = 0;
    let mut hasher = Hasher::default();
    loop {
        while next < expected.size && ahead.len() < window.parallel.max(1) {
            let end = (next + window.chunk.max(1)).min(expected.size);
            ahead.push_back(Fetch::begin(Arc::clone(store), key.to_owned(), next..end));
            next = end;
        }
        let Some(fetch) = ahead.pop_front() else { break };
        let mut bytes = fetch.end(store, key).await.map_err(ReadError::Store)?;
        if proof == ArtifactDigest::Stored {
            // Hashing eight megabytes takes milliseconds: too long for a thread that serves every connection.
            (hasher, bytes) = tokio::task::spawn_blocking(move || {
                hasher.update(&bytes);
                (hasher, bytes)
            })
            .await
            .map_err(|_| ReadError::Interrupted)?;
        }
        if sender.send(Ok(Chunk::Bytes(bytes))).await.is_err() {
            return Ok(false);
        }
    }
    let found = hasher.digest();
    // A range is complete or an error, so the size is that of the object.
    if proof == ArtifactDigest::Size || found == expected {
        return Ok(true);
    }
    Err(ReadError::Altered {
        key: key.to_owned(),
        location: store.location(),
        found: found.sha256,
        found_size: found.size,
        expected: expected.sha256,
        expected_size: expected.size,
    })
}

/// A range being fetched; dropping it cancels the request.
struct Fetch(JoinHandle<Result<Bytes, StoreError>>);

impl Fetch {
    fn begin(store: Arc<dyn Store>, key: String, range: std::ops::Range<u64>) -> Self {
        Self(tokio::spawn(async move { store.get_range(&key, range).await }))
    }

    async fn end(mut self, store: &Arc<dyn Store>, key: &str) -> Result<Bytes, StoreError> {
        (&mut self.0).await.unwrap_or_else(|error| {
            Err(StoreError {
                operation: "read",
                key: key.to_owned(),
                location: store.location(),
                kind: StoreErrorKind::Other,
                detail: Some(error.to_string()),
            })
        })
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ArtifactStream {
    /// Returns the next bytes; `None` after the last.
    pub async fn next(&mut self) -> Option<Result<Bytes, ReadError>> {
        if self.ended {
            return None;
        }
        let received = self.chunks.recv().await;
        self.judge(received)
    }

    fn next_blocking(&mut self) -> Option<Result<Bytes, ReadError>> {
        if self.ended {
            return None;
        }
        let received = self.chunks.blocking_recv();
        self.judge(received)
    }

    fn judge(&mut self, received: Option<Result<Chunk, ReadError>>) -> Option<Result<Bytes, ReadError>> {
        match received {
            Some(Ok(Chunk::Bytes(bytes))) => Some(Ok(bytes)),
            Some(Ok(Chunk::End)) => {
                self.ended = true;
                None
            }
            Some(Err(error)) => {
                self.ended = true;
                Some(Err(error))
            }
            None => {
                self.ended = true;
                Some(Err(ReadError::Interrupted))
            }
        }
    }

    /// Converts the stream for blocking code on a thread of its own. An error of the store becomes an
    /// [`io::Error`] whose source is the [`ReadError`].
    pub fn into_reader(self) -> BlockingReader {
        BlockingReader { stream: self, current: Bytes::new() }
    }
}

impl Drop for ArtifactStream {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

/// A [`ArtifactStream`] as [`Read`].
#[derive(Debug)]
pub struct BlockingReader {
    stream: ArtifactStream,
    current: Bytes,
}

impl Read for BlockingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = buffer.len().min(bytes.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for BlockingReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() {
            match self.stream.next_blocking() {
                None => break,
                Some(Ok(bytes)) => self.current = bytes,
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, count: usize) {
        self.current.advance(count.min(self.current.len()));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::Encoding;
    use crate::pipeline::{MemoryProducer, NewIdentity, PartLayout, Piece, Recipe, seal, unseal_ahead};
    use crate::policy::{Compression, Encryption, Recipient};
    use crate::store::PutOptions;
    use crate::store::directory::DirectoryStore;

    const PLAIN: usize = 300_000;

    fn noise() -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(1);
        (0..PLAIN).map(|_| random.u8(..)).collect()
    }

    /// Seals noise into one object, encrypted if a key is given.
    async fn sealed(key: Option<&NewIdentity>) -> (Artifact, Vec<u8>) {
        let encryption = match key {
            None => Encryption::None,
            Some(key) => {
                Encryption::Age { recipients: vec![Recipient { holder: None, key: key.recipient() }] }
            }
        };
        let recipe = Recipe::new(Compression { level: 1, threads: 1 }, &encryption).unwrap();
        let encoding = recipe.encoding();
        let (sender, mut pieces) = mpsc::channel(1);
        let sealing = tokio::task::spawn_blocking(move || {
            let shape = PartLayout { part_size: 100_000, parts_per_object: 1000 };
            let budget = crate::pipeline::Budget::of_parts(3);
            let noise = Box::new(MemoryProducer::new(noise()));
            seal(noise, &recipe, shape, budget, sender, Arc::default())
        });
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.recv().await {
            if let Piece::Part(part) = piece {
                bytes.extend_from_slice(&part.bytes);
            }
        }
        let plain = sealing.await.unwrap().unwrap().plain;
        let objects = vec![ObjectPart { name: "object".to_owned(), stored: Digest::compute(&bytes) }];
        (Artifact { name: "object".to_owned(), plain, encoding, objects }, bytes)
    }

    /// Stores these bytes in place of the artifact's and decodes them, verifying only its stored size.
    async fn opened(
        root: &Path,
        artifact: &Artifact,
        bytes: Vec<u8>,
        key: Option<&NewIdentity>,
    ) -> Result<Vec<u8>, String> {
        let folder = tempfile::tempdir_in(root).unwrap();
        let store: Arc<dyn Store> = Arc::new(DirectoryStore::create(folder.path().join("s")).await.unwrap());
        store.put("object", bytes.into(), &PutOptions::absent()).await.unwrap();
        let window = ReadWindow { chunk: 10_000, parallel: 3 };
        let objects = located_all("", artifact);
        let stream = begin(store, objects, ArtifactDigest::Size, window, CancellationToken::new());
        let identities = key.map(NewIdentity::identities).unwrap_or_default();
        let (encoding, plain) = (artifact.encoding.clone(), artifact.plain);
        let reading = tokio::task::spawn_blocking(move || {
            let mut opened = unseal_ahead(stream.into_reader(), &encoding, &identities, plain)
                .map_err(|error| error.to_string())?;
            let mut bytes = Vec::new();
            opened.read_to_end(&mut bytes).map(|_| bytes).map_err(|error| error.to_string())
        });
        reading.await.unwrap()
    }

    #[tokio::test]
    async fn what_is_opened_is_proven_whatever_was_changed_in_what_is_stored() {
        let root = tempfile::tempdir().unwrap();
        let identity = NewIdentity::generate();
        for key in [None, Some(&identity)] {
            let (artifact, bytes) = sealed(key).await;
            assert_eq!(artifact.encoding.contains(&Encoding::Age), key.is_some());
            assert!(opened(root.path(), &artifact, bytes.clone(), key).await.unwrap() == noise());
            let last = bytes.len() - 1;
            for at in [0, 1000, bytes.len() / 3, bytes.len() / 2, last - 20, last] {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                let outcome = opened(root.path(), &artifact, changed, key).await;
                // The result may be right all the same, but never wrong.
                assert!(outcome.is_err() || outcome.unwrap() == noise(), "byte {at} of {last}");
            }
            let longer = [&bytes[..], b"more"].concat();
            assert!(opened(root.path(), &artifact, longer, key).await.is_err());
            assert!(opened(root.path(), &artifact, bytes[..last].to_vec(), key).await.is_err());
        }
        // Another backup of the same size, sealed for the same key.
        let (artifact, bytes) = sealed(Some(&identity)).await;
        let other = Artifact { plain: Digest::compute(b"other"), ..artifact };
        let error = opened(root.path(), &other, bytes, Some(&identity)).await.unwrap_err();
        assert!(error.contains("the plain bytes are not those that were recorded"), "{error}");
    }

    #[tokio::test]
    async fn only_what_is_large_is_left_to_whoever_opens_it() {
        let (artifact, bytes) = sealed(None).await;
        let size = bytes.len() as u64;
        assert_eq!(ArtifactDigest::to_open(&artifact, size), ArtifactDigest::Stored);
        assert_eq!(ArtifactDigest::to_open(&artifact, size - 1), ArtifactDigest::Size);
    }
}
