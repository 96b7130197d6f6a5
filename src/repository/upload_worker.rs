use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use super::{Repository, layout};
use crate::model::{Digest, RepositoryName};
use crate::pipeline::{Piece, SealedPart};
use crate::platform::CancellationToken;
use crate::policy::Transfer;
use crate::store::{Deadline, PutOptions, Store, StoreError, StoreErrorKind, Throttled, Upload};

/// How long aborting an upload may take before it is left to the store's own clean-up.
const ABORT_DEADLINE: Duration = Duration::from_secs(20);

/// The upload of one artifact to one repository.
pub(super) struct UploadWorker {
    pub(super) name: RepositoryName,
    pieces: mpsc::Sender<Piece>,
    give_up: CancellationToken,
    worker: JoinHandle<Result<(), StoreError>>,
    location: String,
}

/// Wraps a repository for uploads: limited to the policy's bandwidth over all uploads together, and given up
/// when it stalls.
pub(super) fn for_uploads(repository: &Repository, transfer: &Transfer) -> Repository {
    let bounded = Deadline::new(Arc::clone(&repository.store), transfer.stall);
    let store = Throttled::new(Arc::new(bounded), transfer.bandwidth.unwrap_or_default());
    Repository { name: repository.name.clone(), store: Arc::new(store) }
}

impl UploadWorker {
    /// Starts an upload to `repository`, which comes from [`for_uploads`].
    pub(super) fn begin(
        repository: &Repository,
        key: String,
        options: PutOptions,
        parallel: usize,
        cancel: CancellationToken,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        let give_up = cancel.child_token();
        let worker =
            Worker { store: Arc::clone(&repository.store), key, options, parallel, give_up: give_up.clone() };
        Self {
            name: repository.name.clone(),
            pieces: sender,
            give_up,
            location: repository.store.location(),
            worker: tokio::spawn(worker.run(receiver)),
        }
    }

    /// Returns `false` once the worker has ended: [`UploadWorker::end`] says why.
    pub(super) async fn send(&self, piece: Piece) -> bool {
        self.pieces.send(piece).await.is_ok()
    }

    /// Waits until every object is confirmed.
    pub(super) async fn end(self) -> Result<(), StoreError> {
        drop(self.pieces);
        self.worker.await.unwrap_or_else(|error| {
            Err(StoreError {
                operation: "write to",
                key: String::new(),
                location: self.location,
                kind: StoreErrorKind::Other,
                detail: Some(error.to_string()),
            })
        })
    }

    /// Stops the worker and aborts the current object.
    pub(super) async fn abort(self) {
        self.give_up.cancel();
        drop(self.pieces);
        let _ended = self.worker.await;
    }
}

struct Worker {
    store: Arc<dyn Store>,
    key: String,
    options: PutOptions,
    parallel: usize,
    give_up: CancellationToken,
}

/// The current object: nothing yet, one part in hand (possibly the only one), or an upload.
enum OpenUpload {
    Nothing,
    First(SealedPart),
    Upload(Arc<dyn Upload>, JoinSet<Result<(), StoreError>>),
}

impl Worker {
    async fn run(self, mut pieces: mpsc::Receiver<Piece>) -> Result<(), StoreError> {
        let mut open = OpenUpload::Nothing;
        let outcome = self.receive(&mut pieces, &mut open).await;
        // An object without an end is never completed: the stream was incomplete, or the run was stopped.
        if let OpenUpload::Upload(upload, mut parts) = open {
            parts.shutdown().await;
            let aborted = tokio::time::timeout(ABORT_DEADLINE, upload.abort()).await;
            if !matches!(aborted, Ok(Ok(()))) {
                tracing::info!("an unfinished upload of {} remains in {}", self.key, self.store.location());
            }
        }
        outcome
    }

    async fn receive(
        &self,
        pieces: &mut mpsc::Receiver<Piece>,
        open: &mut OpenUpload,
    ) -> Result<(), StoreError> {
        let mut object = 0;
        loop {
            let piece = tokio::select! {
                piece = pieces.recv() => piece,
                () = self.give_up.cancelled() => return Err(self.stopped()),
            };
            let Some(piece) = piece else { return Ok(()) };
            let key = layout::object_name(&self.key, object);
            tokio::select! {
                done = self.take(piece, &key, open) => {
                    if done? {
                        object += 1;
                    }
                }
                () = self.give_up.cancelled() => return Err(self.stopped()),
            }
        }
    }

    /// Returns `true` if the piece ended its object.
    async fn take(&self, piece: Piece, key: &str, open: &mut OpenUpload) -> Result<bool, StoreError> {
        match piece {
            Piece::Part(part) => {
                match std::mem::replace(open, OpenUpload::Nothing) {
                    OpenUpload::Nothing => *open = OpenUpload::First(part),
                    OpenUpload::First(first) => {
                        let begun = self.store.begin_upload(key, &self.options).await?;
                        *open = OpenUpload::Upload(Arc::from(begun), JoinSet::new());
                        self.upload(open, first).await?;
                        self.upload(open, part).await?;
                    }
                    upload @ OpenUpload::Upload(..) => {
                        *open = upload;
                        self.upload(open, part).await?;
                    }
                }
                Ok(false)
            }
            Piece::ObjectEnd(digest) => {
                self.complete(key, open, digest).await?;
                *open = OpenUpload::Nothing;
                Ok(true)
            }
        }
    }

    async fn upload(&self, open: &mut OpenUpload, part: SealedPart) -> Result<(), StoreError> {
        let OpenUpload::Upload(upload, parts) = open else { return Ok(()) };
        while parts.len() >= self.parallel {
            joined(parts.join_next().await, || self.stopped())?;
        }
        let upload = Arc::clone(upload);
        parts.spawn(async move {
            let permit = part.permit();
            let sent = upload.part(part.number, part.bytes).await;
            drop(permit);
            sent
        });
        Ok(())
    }

    async fn complete(&self, key: &str, open: &mut OpenUpload, digest: Digest) -> Result<(), StoreError> {
        match open {
            OpenUpload::Nothing => {
                self.store.put(key, bytes::Bytes::new(), &self.options).await?;
            }
            OpenUpload::First(part) => {
                self.store.put(key, part.bytes.clone(), &self.options).await?;
            }
            OpenUpload::Upload(upload, parts) => {
                while !parts.is_empty() {
                    joined(parts.join_next().await, || self.stopped())?;
                }
                upload.complete().await?;
            }
        }
        let found = match self.store.head(key).await {
            Ok(found) => found.map(|info| info.size),
            // A write-only role relies on the store's response, which its checksum backs.
            Err(error) if error.kind == StoreErrorKind::Forbidden => return Ok(()),
            Err(error) => return Err(error),
        };
        if found == Some(digest.size) {
            return Ok(());
        }
        let detail = match found {
            Some(found) => format!("{found} bytes stand there, {} were sent", digest.size),
            None => "nothing stands there after the write succeeded".to_owned(),
        };
        Err(self.error("confirm", key, StoreErrorKind::Corrupt, detail))
    }

    fn error(&self, operation: &'static str, key: &str, kind: StoreErrorKind, detail: String) -> StoreError {
        let location = self.store.location();
        StoreError { operation, key: key.to_owned(), location, kind, detail: Some(detail) }
    }

    fn stopped(&self) -> StoreError {
        self.error("write", &self.key, StoreErrorKind::Other, "the run was stopped".to_owned())
    }
}

fn joined(
    result: Option<Result<Result<(), StoreError>, tokio::task::JoinError>>,
    stopped: impl FnOnce() -> StoreError,
) -> Result<(), StoreError> {
    match result {
        None => Ok(()),
        Some(Ok(result)) => result,
        Some(Err(_)) => Err(stopped()),
    }
}
