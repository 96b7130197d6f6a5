//! Copies stored objects from one repository to another unchanged and without keys.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::Repository;
use super::reader;
use super::reader::{ReadError, ReadWindow};
use super::upload_worker::{UploadWorker, for_uploads};
use crate::model::ObjectPart;
use crate::pipeline::{Budget, Piece};
use crate::platform::CancellationToken;
use crate::policy::Transfer;
use crate::store::{Precondition, PutOptions, StoreError, StoreErrorKind};

/// Reads in smaller chunks than it sends, since read-ahead adds to the parts: memory holds at most
/// `Transfer::parallel` parts in flight, the one being filled, and 10 MiB of read-ahead.
const READ: ReadWindow = ReadWindow { chunk: 2 << 20, parallel: 3 };
/// The maximum number of parts of an upload.
const PARTS: u64 = 10_000;

#[derive(Debug, Error)]
pub enum ObjectCopyError {
    /// An error of the repository to copy from.
    #[error(transparent)]
    Source(ReadError),
    /// An error of the repository to copy to.
    #[error(transparent)]
    Destination(StoreError),
    #[error("failed to read what stands there already")]
    ReadBack(#[source] ReadError),
    #[error("something else stands there already, and nothing is overwritten")]
    Different(#[source] ReadError),
    #[error("failed to go on: the run was interrupted")]
    Interrupted,
}

/// The outcome of copying an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyOutcome {
    /// It did not exist.
    Copied,
    /// A different object existed, which is not what was stored: it was replaced.
    Replaced,
    /// The same bytes existed already: they were read and compared.
    Stood,
}

/// Copies objects to one repository.
#[derive(Debug)]
pub struct Copier {
    to: Repository,
    transfer: Transfer,
    options: PutOptions,
    /// The same repository, wrapped for uploads.
    upload: Repository,
    budget: Budget,
    cancel: CancellationToken,
}

impl Copier {
    /// Creates a copier. `options`: the lock that the repository requires; the precondition is always
    /// "absent".
    pub fn new(to: Repository, transfer: Transfer, options: PutOptions, cancel: CancellationToken) -> Self {
        Self {
            upload: for_uploads(&to, &transfer),
            to,
            transfer,
            options: PutOptions { precondition: Precondition::Absent, ..options },
            // An object's first part waits for its second, which decides how it is sent.
            budget: Budget::of_parts(transfer.parallel.max(2)),
            cancel,
        }
    }

    pub fn repository(&self) -> &Repository {
        &self.to
    }

    pub fn options(&self) -> &PutOptions {
        &self.options
    }

    /// Copies one object of the backup in `folder` (with a trailing `/`). It appears only after its digest
    /// has been verified. `progress` is called with the number of bytes processed.
    pub async fn copy(
        &self,
        from: &Repository,
        folder: &str,
        object: &ObjectPart,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<CopyOutcome, ObjectCopyError> {
        let key = format!("{folder}{}", object.name);
        let standing = self.to.store.head(&key).await.map_err(ObjectCopyError::Destination)?;
        if standing.is_some() {
            return self.compare(folder, object, progress).await.map(|()| CopyOutcome::Stood);
        }
        self.send_whole(from, folder, object, &self.options, progress).await
    }

    /// Copies an object like [`Self::copy`], where the existing one is known to be damaged: that is read, and
    /// replaced if it differs from what was stored, unless another writer changes it meanwhile.
    pub async fn repair(
        &self,
        from: &Repository,
        folder: &str,
        object: &ObjectPart,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<CopyOutcome, ObjectCopyError> {
        let key = format!("{folder}{}", object.name);
        let standing = self.to.store.head(&key).await.map_err(ObjectCopyError::Destination)?;
        let Some(standing) = standing else { return self.copy(from, folder, object, progress).await };
        match self.compare(folder, object, progress).await {
            Ok(()) => Ok(CopyOutcome::Stood),
            Err(ObjectCopyError::Different(_)) => {
                let precondition = Precondition::Unchanged(standing.etag);
                let options = PutOptions { precondition, ..self.options.clone() };
                let sent = self.send_whole(from, folder, object, &options, progress).await;
                sent.map(
                    |outcome| if outcome == CopyOutcome::Copied { CopyOutcome::Replaced } else { outcome },
                )
            }
            Err(error) => Err(error),
        }
    }

    async fn send_whole(
        &self,
        from: &Repository,
        folder: &str,
        object: &ObjectPart,
        options: &PutOptions,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<CopyOutcome, ObjectCopyError> {
        let key = format!("{folder}{}", object.name);
        // A size that allows for the object's parts although it was written with larger ones.
        let part_size = self.transfer.part_size.max(object.stored.size.div_ceil(PARTS));
        let part_size = usize::try_from(part_size).unwrap_or(usize::MAX);
        let mut stream =
            reader::stream_object(Arc::clone(&from.store), folder, object, READ, self.cancel.clone());
        let target = UploadWorker::begin(
            &self.upload,
            key,
            options.clone(),
            self.transfer.parallel,
            self.cancel.clone(),
        );
        let mut parts = CopyParts { size: part_size, buffer: BytesMut::new(), number: 0 };
        let (mut open, mut whole) = (true, false);
        while open {
            match stream.next().await {
                Some(Ok(mut bytes)) => {
                    progress(bytes.len() as u64);
                    while open && !bytes.is_empty() {
                        if let Some((number, part)) = parts.fill(&mut bytes) {
                            open = self.send(&target, number, part).await;
                        }
                    }
                }
                // The stream ends without an error only if the digest is the recorded one.
                None => {
                    if let Some((number, rest)) = parts.rest() {
                        open = self.send(&target, number, rest).await;
                    }
                    whole = open && target.send(Piece::ObjectEnd(object.stored)).await;
                    break;
                }
                Some(Err(source)) => {
                    target.abort().await;
                    return Err(match source {
                        ReadError::Interrupted => ObjectCopyError::Interrupted,
                        source => ObjectCopyError::Source(source),
                    });
                }
            }
        }
        drop(stream);
        let ended = target.end().await;
        if self.cancel.is_cancelled() && ended.is_err() {
            return Err(ObjectCopyError::Interrupted);
        }
        match ended {
            Ok(()) if whole => Ok(CopyOutcome::Copied),
            Ok(()) => Err(ObjectCopyError::Interrupted),
            // Another host was faster.
            Err(error) if error.kind == StoreErrorKind::Exists => {
                self.compare(folder, object, progress).await.map(|()| CopyOutcome::Stood)
            }
            Err(error) => Err(ObjectCopyError::Destination(error)),
        }
    }

    /// Returns `false` once the worker has ended, whose result says why.
    async fn send(&self, target: &UploadWorker, number: u32, bytes: Bytes) -> bool {
        match self.budget.part(number, bytes).await {
            Some(part) => target.send(Piece::Part(part)).await,
            None => false,
        }
    }

    async fn compare(
        &self,
        folder: &str,
        object: &ObjectPart,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), ObjectCopyError> {
        let mut stream =
            reader::stream_object(Arc::clone(&self.to.store), folder, object, READ, self.cancel.clone());
        while let Some(read) = stream.next().await {
            match read {
                Ok(bytes) => progress(bytes.len() as u64),
                Err(ReadError::Interrupted) => return Err(ObjectCopyError::Interrupted),
                Err(source) if source.is_damage() => {
                    return Err(ObjectCopyError::Different(source));
                }
                Err(source) => return Err(ObjectCopyError::ReadBack(source)),
            }
        }
        Ok(())
    }
}

/// Splits the stream into parts of one size, numbered from 1.
struct CopyParts {
    size: usize,
    buffer: BytesMut,
    number: u32,
}

impl CopyParts {
    /// Takes the bytes that still fit; returns the part once it is full.
    fn fill(&mut self, bytes: &mut Bytes) -> Option<(u32, Bytes)> {
        if self.buffer.capacity() == 0 {
            self.buffer = BytesMut::with_capacity(self.size);
        }
        let taken = bytes.split_to(bytes.len().min(self.size - self.buffer.len()));
        self.buffer.extend_from_slice(&taken);
        if self.buffer.len() == self.size { self.rest() } else { None }
    }

    fn rest(&mut self) -> Option<(u32, Bytes)> {
        if self.buffer.is_empty() {
            return None;
        }
        self.number += 1;
        Some((self.number, std::mem::take(&mut self.buffer).freeze()))
    }
}
