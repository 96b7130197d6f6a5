use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::pipeline::Produce;

pub(super) const CHUNK: usize = 1 << 20;
/// Chunks in flight, so that reading continues while they are encoded.
const CHUNKS: usize = 4;

type ChunkFault = Box<dyn std::error::Error + Send + Sync>;

/// The output of a reading thread.
pub(super) struct Chunks {
    chunk: Vec<u8>,
    full: SyncSender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
}

/// The consumer has ended; it reports why.
fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the reader of the bytes has ended")
}

impl Chunks {
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(CHUNK / 4) {
            self.room(piece.len())?.copy_from_slice(piece);
        }
        Ok(())
    }

    pub(super) fn zeros(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let piece = usize::try_from(count).unwrap_or(usize::MAX).min(CHUNK / 4);
            self.room(piece)?.fill(0);
            count -= piece as u64;
        }
        Ok(())
    }

    /// Returns the next `count` bytes to fill; at most a chunk.
    pub(super) fn room(&mut self, count: usize) -> io::Result<&mut [u8]> {
        if self.chunk.len() + count > CHUNK {
            self.flush()?;
        }
        let begin = self.chunk.len();
        self.chunk.resize(begin + count, 0);
        Ok(&mut self.chunk[begin..])
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut next = self.spare.recv().map_err(|_| gone())?;
        next.clear();
        let full = std::mem::replace(&mut self.chunk, next);
        if full.is_empty() { Ok(()) } else { self.full.send(full).map_err(|_| gone()) }
    }
}

/// A producer that reads on a thread. Dropping it makes the thread end at its next chunk.
pub(super) struct ThreadProducer {
    full: Receiver<Vec<u8>>,
    spare: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    thread: JoinHandle<Result<(), ChunkFault>>,
}

impl ThreadProducer {
    pub(super) fn start(work: impl FnOnce(&mut Chunks) -> Result<(), ChunkFault> + Send + 'static) -> Self {
        let (full, taken) = sync_channel(CHUNKS);
        let (give_back, spare) = sync_channel(CHUNKS + 1);
        for _ in 0..CHUNKS - 1 {
            let _room = give_back.send(Vec::with_capacity(CHUNK));
        }
        let thread = std::thread::spawn(move || {
            let mut chunks = Chunks { chunk: Vec::with_capacity(CHUNK), full, spare };
            work(&mut chunks)?;
            Ok(chunks.flush()?)
        });
        Self { full: taken, spare: give_back, chunk: Vec::new(), at: 0, thread }
    }
}

impl Read for ThreadProducer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            // The end, or a failure: the thread reports which.
            let Ok(next) = self.full.recv() else { return Ok(0) };
            let used = std::mem::replace(&mut self.chunk, next);
            self.at = 0;
            if used.capacity() > 0 {
                let _gone = self.spare.send(used);
            }
        }
        let count = buffer.len().min(self.chunk.len() - self.at);
        buffer[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl Produce for ThreadProducer {
    fn finish(self: Box<Self>) -> Result<Vec<String>, ChunkFault> {
        drop((self.full, self.spare));
        match self.thread.join() {
            Ok(ended) => ended.map(|()| vec![]),
            Err(_) => Err("the thread that read the files ended in an unknown way".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_writes_is_read_in_order() {
        let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 253) as u8).collect();
        let expected = bytes.clone();
        let mut produced = Box::new(ThreadProducer::start(move |chunks| {
            chunks.write(&bytes)?;
            Ok(chunks.zeros(1000)?)
        }));
        let mut read = Vec::new();
        produced.read_to_end(&mut read).unwrap();
        produced.finish().unwrap();
        assert!(read[..expected.len()] == expected && read.len() == expected.len() + 1000);
    }

    #[test]
    fn a_thread_that_fails_is_no_end() {
        let mut produced = Box::new(ThreadProducer::start(|chunks| {
            chunks.write(b"some")?;
            Err("the disk".into())
        }));
        produced.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(produced.finish().unwrap_err().to_string(), "the disk");
        // And one that nobody listens to ends.
        let idle = ThreadProducer::start(|chunks| Ok(chunks.zeros(1 << 40)?));
        let ThreadProducer { full, spare, thread, .. } = idle;
        drop((full, spare));
        assert!(thread.join().unwrap().is_err());
    }
}
