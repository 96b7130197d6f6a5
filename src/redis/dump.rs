//! The dump that a server sends to a new replica.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError, mpsc as blocking};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::rdb_keys::{RdbContents, count_keys};
use super::{RdbCheck, RdbFooter, RedisConnection, RedisError};
use crate::pipeline::Produce;
use crate::platform::CancellationToken;

const CHUNK: usize = 256 << 10;
const CHUNKS: usize = 6;
/// Of the mark that ends a dump whose length the server did not know.
const MARK: usize = 40;

/// What is known of a dump once it was read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpReport {
    pub footer: RdbFooter,
    /// `None` where it has something that is not known here.
    pub contents: Option<RdbContents>,
}

/// Asks the server for a dump, as `redis-cli --rdb` does. Its bytes come while the producer is read; what is known of
/// it is in the second value once the producer was finished.
pub async fn transfer_dump(
    mut connection: RedisConnection,
    deadline: Duration,
    cancel: CancellationToken,
) -> Result<(DumpProducer, Arc<Mutex<Option<DumpReport>>>), RedisError> {
    let ends = Instant::now() + deadline;
    // Neither is known to every server: the dump comes all the same.
    for option in [["REPLCONF", "capa", "eof"], ["REPLCONF", "rdb-only", "1"]] {
        match connection.call(&option).await {
            Ok(_) | Err(RedisError::Refused { .. } | RedisError::Unknown { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    connection.queue(&[b"SYNC"]);
    connection.flush().await?;
    let begun = tokio::select! {
        begun = begin(&mut connection) => begun?,
        () = cancel.cancelled() => return Err(RedisError::Interrupted),
        () = tokio::time::sleep_until(ends) => return Err(RedisError::Deadline(deadline)),
    };
    let mut transfer = Transfer { connection, end: begun, read: 0, held: BytesMut::new() };
    let (sender, receiver) = mpsc::channel(CHUNKS);
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                next = transfer.next() => next,
                () = cancel.cancelled() => Err(RedisError::Interrupted),
                () = tokio::time::sleep_until(ends) => Err(RedisError::Deadline(deadline)),
            };
            let is_last = !matches!(next, Ok(Some(_)));
            if sender.send(next).await.is_err() || is_last {
                return;
            }
        }
    });
    let report = Arc::new(Mutex::new(None));
    let producer = DumpProducer {
        receiver,
        chunk: Bytes::new(),
        is_ended: false,
        check: RdbCheck::default(),
        counter: Counter::start(),
        report: Arc::clone(&report),
    };
    Ok((producer, report))
}

/// How the end of a dump is known.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Length(u64),
    Mark(Vec<u8>),
}

/// Waits for the dump to begin. The server sends empty lines until it has made it.
async fn begin(connection: &mut RedisConnection) -> Result<End, RedisError> {
    loop {
        let line = connection.receive_line().await?;
        if line.is_empty() {
            continue;
        }
        if let Some(text) = line.strip_prefix('-') {
            return Err(RedisError::of_answer(connection.address(), "SYNC", text));
        }
        let address = connection.address().to_owned();
        return end_of(&line).ok_or(RedisError::Protocol { address, what: "`SYNC` does not begin a dump" });
    }
}

fn end_of(line: &str) -> Option<End> {
    let rest = line.strip_prefix('$')?;
    match rest.strip_prefix("EOF:") {
        Some(mark) if mark.len() == MARK => Some(End::Mark(mark.as_bytes().to_vec())),
        Some(_) => None,
        None => rest.parse().ok().map(End::Length),
    }
}

struct Transfer {
    connection: RedisConnection,
    end: End,
    read: u64,
    /// Read, and maybe the beginning of the mark.
    held: BytesMut,
}

impl Transfer {
    /// Returns the next bytes of the dump; `None` when it is complete.
    async fn next(&mut self) -> Result<Option<Bytes>, RedisError> {
        loop {
            match &self.end {
                End::Length(length) if self.read == *length => return Ok(None),
                End::Mark(mark) if self.held == mark.as_slice() => return Ok(None),
                _ => {}
            }
            let mut bytes = match &self.end {
                End::Length(length) => {
                    let rest = length - self.read;
                    self.receive(CHUNK.min(usize::try_from(rest).unwrap_or(CHUNK))).await?
                }
                End::Mark(_) => self.receive(CHUNK).await?,
            };
            let End::Mark(mark) = &self.end else {
                self.read += bytes.len() as u64;
                return Ok(Some(bytes.freeze()));
            };
            if !self.held.is_empty() {
                let mut all = std::mem::take(&mut self.held);
                all.unsplit(bytes);
                bytes = all;
            }
            let keeps = match find(&bytes, mark) {
                Some(at) => {
                    bytes.truncate(at + MARK);
                    at
                }
                None => bytes.len().saturating_sub(MARK - 1),
            };
            self.held = bytes.split_off(keeps);
            self.read += bytes.len() as u64;
            if !bytes.is_empty() {
                return Ok(Some(bytes.freeze()));
            }
        }
    }

    async fn receive(&mut self, most: usize) -> Result<BytesMut, RedisError> {
        let mut bytes = BytesMut::with_capacity(most);
        let address = self.connection.address().to_owned();
        let limited = &mut (&mut self.connection.stream).take(most as u64);
        let received = tokio::time::timeout(super::connection::WITHIN, limited.read_buf(&mut bytes)).await;
        match received {
            Ok(Ok(0)) => Err(RedisError::Truncated {
                address,
                read: self.read,
                expected: if let End::Length(length) = self.end { Some(length) } else { None },
            }),
            Ok(Ok(_)) => Ok(bytes),
            Ok(Err(source)) => Err(RedisError::Read { address, source }),
            Err(_) => Err(self.connection.silent()),
        }
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    let (first, mut from) = (*mark.first()?, 0);
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(mark) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// The bytes of a dump, which are checked as they are read.
#[derive(Debug)]
pub struct DumpProducer {
    receiver: mpsc::Receiver<Result<Option<Bytes>, RedisError>>,
    chunk: Bytes,
    is_ended: bool,
    check: RdbCheck,
    counter: Counter,
    report: Arc<Mutex<Option<DumpReport>>>,
}

impl Read for DumpProducer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !self.is_ended {
            match self.receiver.blocking_recv() {
                Some(Ok(Some(chunk))) => {
                    let damaged = |fault| io::Error::other(RedisError::Damaged(fault));
                    self.check.update(&chunk).map_err(damaged)?;
                    self.counter.take(&chunk);
                    self.chunk = chunk;
                }
                Some(Ok(None)) => self.is_ended = true,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Err(io::Error::other("the transfer has stopped")),
            }
        }
        let count = buffer.len().min(self.chunk.len());
        buffer[..count].copy_from_slice(&self.chunk[..count]);
        self.chunk.advance(count);
        Ok(count)
    }
}

impl Produce for DumpProducer {
    fn finish(self: Box<Self>) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
        if !self.is_ended {
            return Err("the dump was not read to its end".into());
        }
        let footer = self.check.finish().map_err(RedisError::Damaged)?;
        let contents = self.counter.finish();
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(DumpReport { footer, contents });
        Ok(vec![])
    }
}

/// Counts on a thread of its own, so that the transfer need not wait.
#[derive(Debug)]
struct Counter {
    chunks: Option<blocking::SyncSender<Bytes>>,
    thread: Option<std::thread::JoinHandle<Option<RdbContents>>>,
}

impl Counter {
    fn start() -> Self {
        let (chunks, receiver) = blocking::sync_channel(CHUNKS);
        let counting = move || count_keys(Received { receiver, chunk: Bytes::new() });
        let thread = std::thread::Builder::new().name("count-keys".to_owned()).spawn(counting).ok();
        Self { chunks: Some(chunks), thread }
    }

    /// One that has stopped counting takes nothing any more.
    fn take(&mut self, chunk: &Bytes) {
        if self.chunks.as_ref().is_some_and(|chunks| chunks.send(chunk.clone()).is_err()) {
            self.chunks = None;
        }
    }

    fn finish(mut self) -> Option<RdbContents> {
        self.chunks = None;
        self.thread.take()?.join().ok()?
    }
}

struct Received {
    receiver: blocking::Receiver<Bytes>,
    chunk: Bytes,
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            let Ok(chunk) = self.receiver.recv() else { return Ok(0) };
            self.chunk = chunk;
        }
        let count = buffer.len().min(self.chunk.len());
        buffer[..count].copy_from_slice(&self.chunk[..count]);
        self.chunk.advance(count);
        Ok(count)
    }
}

#[cfg(test)]
#[path = "dump_tests.rs"]
mod tests;
