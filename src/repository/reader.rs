//! Reading artifacts back: ranges fetched ahead and in parallel, handed on in order, each object's digest
//! proven as it goes by.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Store, StoreError, StoreErrorKind};
use crate::model::{Artifact, Digest, Hasher, ObjectPart};
use crate::platform::CancellationToken;

/// How far ahead to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Bytes of one request.
    pub chunk: u64,
    /// Requests at a time. `chunk × (parallel + 2)` bytes are in memory at most.
    pub parallel: usize,
}

impl Default for Window {
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
    /// Whether the stored bytes themselves are bad, as opposed to not having been reached.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Altered { .. } | Self::Size { .. } => true,
            Self::Store(error) => matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::Corrupt),
            Self::Interrupted => false,
        }
    }
}

/// Stored bytes in order. An error is the last thing that comes; without one, every object was proven.
#[derive(Debug)]
pub struct Stream {
    chunks: mpsc::Receiver<Result<Chunk, ReadError>>,
    worker: JoinHandle<()>,
    ended: bool,
}

/// That the channel closed says nothing: only `End` says that every object was read and proven.
#[derive(Debug)]
enum Chunk {
    Bytes(Bytes),
    End,
}

/// Begins to read an artifact whose objects stand in `folder` (with the `/` at its end).
pub fn stream(
    store: Arc<dyn Store>,
    folder: &str,
    artifact: &Artifact,
    window: Window,
    cancel: CancellationToken,
) -> Stream {
    let objects = artifact.objects.iter().map(|object| located(folder, object)).collect();
    begin(store, objects, window, cancel)
}

/// Begins to read one object.
pub fn stream_object(
    store: Arc<dyn Store>,
    folder: &str,
    object: &ObjectPart,
    window: Window,
    cancel: CancellationToken,
) -> Stream {
    begin(store, vec![located(folder, object)], window, cancel)
}

fn located(folder: &str, object: &ObjectPart) -> (String, Digest) {
    (format!("{folder}{}", object.name), object.stored)
}

fn begin(
    store: Arc<dyn Store>,
    objects: Vec<(String, Digest)>,
    window: Window,
    cancel: CancellationToken,
) -> Stream {
    let (sender, chunks) = mpsc::channel(1);
    let worker = tokio::spawn(async move {
        for (key, expected) in objects {
            let outcome = tokio::select! {
                outcome = read_object(&store, &key, expected, window, &sender) => outcome,
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
    Stream { chunks, worker, ended: false }
}

/// Whether anyone still listens.
async fn read_object(
    store: &Arc<dyn Store>,
    key: &str,
    expected: Digest,
    window: Window,
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
        let bytes = fetch.end(store, key).await.map_err(ReadError::Store)?;
        // Hashing eight megabytes takes milliseconds: too long for a thread that serves every connection.
        let (hashed, bytes) = tokio::task::spawn_blocking(move || {
            hasher.update(&bytes);
            (hasher, bytes)
        })
        .await
        .map_err(|_| ReadError::Interrupted)?;
        hasher = hashed;
        if sender.send(Ok(Chunk::Bytes(bytes))).await.is_err() {
            return Ok(false);
        }
    }
    let found = hasher.digest();
    if found == expected {
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

/// A range on its way; dropping it stops it.
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

impl Stream {
    /// The next bytes; `None` after the last.
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

    /// For code that blocks, on a thread of its own. An error of the store comes out as an
    /// [`io::Error`] whose source is the [`ReadError`].
    pub fn into_reader(self) -> BlockingReader {
        BlockingReader { stream: self, current: Bytes::new() }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

/// A [`Stream`] as [`Read`].
#[derive(Debug)]
pub struct BlockingReader {
    stream: Stream,
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
