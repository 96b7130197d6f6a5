//! Copying stored objects from one repository to another, as they are and without keys.

use std::sync::Arc;

use thiserror::Error;

use super::reader::{self, ReadError, Window};
use super::target::{Target, Throttle};
use super::{PutOptions, Repository, StoreError, StoreErrorKind};
use crate::model::ObjectPart;
use crate::pipeline::{Budget, Piece};
use crate::platform::CancellationToken;
use crate::policy::Transfer;

/// Ranges that are read ahead. With `Transfer::parallel` parts on their way, at most
/// `(parallel + 4) × part size` bytes are in memory.
const READ_AHEAD: usize = 2;
/// The most parts an upload may have.
const PARTS: u64 = 10_000;

#[derive(Debug, Error)]
pub enum CopyError {
    /// Of where it is copied from.
    #[error(transparent)]
    Source(ReadError),
    /// Of where it is copied to.
    #[error(transparent)]
    Destination(StoreError),
    #[error("failed to read what stands there already")]
    ReadBack(#[source] ReadError),
    #[error("something else stands there already, and nothing is overwritten")]
    Different(#[source] ReadError),
    #[error("failed to go on: the run was interrupted")]
    Interrupted,
}

/// What was done for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It was not there.
    Copied,
    /// The same bytes stood there already: they were read and compared.
    Stood,
}

/// Copies to one repository.
#[derive(Debug)]
pub struct Copier {
    to: Repository,
    transfer: Transfer,
    options: PutOptions,
    throttle: Arc<Throttle>,
    budget: Budget,
    cancel: CancellationToken,
}

impl Copier {
    /// `options`: the lock that the repository asks for; the precondition is always "absent".
    pub fn new(to: Repository, transfer: Transfer, options: PutOptions, cancel: CancellationToken) -> Self {
        Self {
            to,
            transfer,
            options: PutOptions { precondition: super::Precondition::Absent, ..options },
            throttle: Arc::new(Throttle::new(transfer.bandwidth)),
            budget: Budget::of_parts(transfer.parallel + 1),
            cancel,
        }
    }

    pub fn repository(&self) -> &Repository {
        &self.to
    }

    pub fn options(&self) -> &PutOptions {
        &self.options
    }

    /// Copies one object of the backup in `folder` (with the `/` at its end). It appears only after its
    /// digest has been proven. `progress` is told how many bytes went by.
    pub async fn copy(
        &self,
        from: &Repository,
        folder: &str,
        object: &ObjectPart,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Kept, CopyError> {
        let key = format!("{folder}{}", object.name);
        let standing = self.to.store.head(&key).await.map_err(CopyError::Destination)?;
        if standing.is_some() {
            return self.compare(folder, object, progress).await.map(|()| Kept::Stood);
        }
        // A size that allows for the object's parts although it was written with larger ones.
        let part_size = self.transfer.part_size.max(object.stored.size.div_ceil(PARTS));
        let window = Window { chunk: part_size, parallel: READ_AHEAD };
        let mut stream =
            reader::stream_object(Arc::clone(&from.store), folder, object, window, self.cancel.clone());
        let target = Target::begin(
            &self.to,
            key,
            self.options.clone(),
            self.transfer,
            Arc::clone(&self.throttle),
            self.cancel.clone(),
        );
        let mut number = 0;
        loop {
            let piece = match stream.next().await {
                Some(Ok(bytes)) => {
                    number += 1;
                    progress(bytes.len() as u64);
                    match self.budget.part(number, bytes).await {
                        Some(part) => Piece::Part(part),
                        None => return Err(CopyError::Interrupted),
                    }
                }
                // The stream ends without an error only where the digest was the one recorded.
                None => Piece::ObjectEnd(object.stored),
                Some(Err(source)) => {
                    target.abort().await;
                    return Err(match source {
                        ReadError::Interrupted => CopyError::Interrupted,
                        source => CopyError::Source(source),
                    });
                }
            };
            let is_end = matches!(piece, Piece::ObjectEnd(_));
            if !target.send(piece).await || is_end {
                break;
            }
        }
        let ended = target.end().await;
        if self.cancel.is_cancelled() && ended.is_err() {
            return Err(CopyError::Interrupted);
        }
        match ended {
            Ok(()) => Ok(Kept::Copied),
            // Another host was faster.
            Err(error) if error.kind == StoreErrorKind::Exists => {
                self.compare(folder, object, progress).await.map(|()| Kept::Stood)
            }
            Err(error) => Err(CopyError::Destination(error)),
        }
    }

    async fn compare(
        &self,
        folder: &str,
        object: &ObjectPart,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), CopyError> {
        let mut stream = reader::stream_object(
            Arc::clone(&self.to.store),
            folder,
            object,
            Window::default(),
            self.cancel.clone(),
        );
        while let Some(read) = stream.next().await {
            match read {
                Ok(bytes) => progress(bytes.len() as u64),
                Err(ReadError::Interrupted) => return Err(CopyError::Interrupted),
                Err(source @ (ReadError::Altered { .. } | ReadError::Size { .. })) => {
                    return Err(CopyError::Different(source));
                }
                Err(source) => return Err(CopyError::ReadBack(source)),
            }
        }
        Ok(())
    }
}
