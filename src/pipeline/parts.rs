use std::io::{self, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::SealProgress;
use crate::model::{Digest, Hasher};

/// How a stream is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartLayout {
    /// Bytes of every part of an object except the last one.
    pub part_size: usize,
    /// Parts after which the artifact continues in another object.
    pub parts_per_object: u32,
}

/// The maximum number of parts in memory at a time, over all holders.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Semaphore>);

impl Budget {
    pub fn of_parts(parts: usize) -> Self {
        Self(Arc::new(Semaphore::new(parts.max(1))))
    }

    /// Creates a part from existing bytes, once the budget allows it.
    pub async fn part(&self, number: u32, bytes: Bytes) -> Option<SealedPart> {
        let permit = Arc::clone(&self.0).acquire_owned().await.ok()?;
        Some(SealedPart { number, bytes, permit: Arc::new(permit) })
    }
}

/// Some bytes of an object. They count against the budget until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct SealedPart {
    /// From 1, within its object.
    pub number: u32,
    pub bytes: Bytes,
    permit: Arc<OwnedSemaphorePermit>,
}

impl SealedPart {
    /// Returns the permit of the budget, to be kept as long as the bytes.
    pub fn permit(&self) -> Arc<OwnedSemaphorePermit> {
        Arc::clone(&self.permit)
    }
}

/// A message on the channel.
#[derive(Clone, Debug)]
pub enum Piece {
    Part(SealedPart),
    /// The object is complete with the parts since the previous one. For the last object this also confirms
    /// that the producer succeeded.
    ObjectEnd(Digest),
}

/// Splits the written bytes into parts and sends them; waits for the budget and for the channel.
pub(super) struct PartWriter {
    shape: PartLayout,
    budget: Budget,
    runtime: Handle,
    pieces: Sender<Piece>,
    buffer: BytesMut,
    permit: Option<OwnedSemaphorePermit>,
    number: u32,
    hasher: Hasher,
    ended: Vec<Digest>,
    progress: Arc<SealProgress>,
}

impl PartWriter {
    pub(super) fn new(
        shape: PartLayout,
        budget: Budget,
        runtime: Handle,
        pieces: Sender<Piece>,
        progress: Arc<SealProgress>,
    ) -> Self {
        Self {
            shape,
            budget,
            runtime,
            pieces,
            buffer: BytesMut::new(),
            permit: None,
            number: 1,
            hasher: Hasher::default(),
            ended: vec![],
            progress,
        }
    }

    fn send(&self, piece: Piece) -> io::Result<()> {
        self.pieces.blocking_send(piece).map_err(|_| stopped())
    }

    fn send_part(&mut self) -> io::Result<()> {
        let Some(permit) = self.permit.take() else { return Ok(()) };
        let bytes = std::mem::take(&mut self.buffer).freeze();
        self.progress.add_stored(bytes.len() as u64);
        let part = SealedPart { number: self.number, bytes, permit: Arc::new(permit) };
        self.number += 1;
        self.send(Piece::Part(part))
    }

    fn end_object(&mut self) -> io::Result<()> {
        let digest = std::mem::take(&mut self.hasher).digest();
        self.number = 1;
        self.ended.push(digest);
        self.send(Piece::ObjectEnd(digest))
    }

    /// Sends the rest. Returns each object's digest, in order.
    pub(super) fn finish(mut self) -> io::Result<Vec<Digest>> {
        self.send_part()?;
        if self.number > 1 || self.ended.is_empty() {
            self.end_object()?;
        }
        Ok(self.ended)
    }
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the consumer of the parts has stopped")
}

impl Write for PartWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.permit.is_none() {
            // An object is ended only when more bytes follow, so that an artifact never ends with an empty
            // object.
            if self.number > self.shape.parts_per_object {
                self.end_object()?;
            }
            let permit = self.runtime.block_on(Arc::clone(&self.budget.0).acquire_owned());
            self.permit = Some(permit.map_err(|_| stopped())?);
            self.buffer = BytesMut::with_capacity(self.shape.part_size);
        }
        let taken = bytes.len().min(self.shape.part_size - self.buffer.len());
        self.hasher.update(&bytes[..taken]);
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == self.shape.part_size {
            self.send_part()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
