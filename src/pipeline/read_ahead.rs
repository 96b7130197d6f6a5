use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

const CHUNK: usize = 256 << 10;
/// Chunks to read ahead.
const CHUNKS: usize = 6;
/// Of these, chunks that were inspected but not yet read.
const SHOWN: usize = 2;

/// Reads on a thread of its own, up to 2 MiB ahead, so that producer and consumer of the bytes work
/// concurrently.
///
/// If it is dropped before its end, the thread ends by itself once its current read returns. A thread that
/// stops before the end is an error, never an end.
pub(super) struct ReadAhead<R> {
    chunks: Receiver<io::Result<Vec<u8>>>,
    /// Used chunks, to be filled again.
    used: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    ended: bool,
    reader: JoinHandle<R>,
}

impl<R: Read + Send + 'static> ReadAhead<R> {
    pub(super) fn new(reader: R) -> io::Result<Self> {
        let (filled, chunks) = sync_channel(CHUNKS);
        let (used, empty) = channel();
        let reader =
            Builder::new().name("read-ahead".to_owned()).spawn(move || read(reader, &filled, &empty))?;
        Ok(Self { chunks, used, chunk: Vec::new(), at: 0, ended: false, reader })
    }

    /// Passes each chunk to `look` on another thread before it is read: nothing is copied, and the reader
    /// need not wait for `look`. An empty chunk is the end, for which the result of `look` is final.
    pub(super) fn shown_to(
        self,
        mut look: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    ) -> io::Result<ReadAhead<io::Result<R>>> {
        let (filled, chunks) = sync_channel(SHOWN);
        let used = self.used.clone();
        let reader = Builder::new().name("look-ahead".to_owned()).spawn(move || {
            let mut shown = false;
            while !shown {
                let chunk = self.chunks.recv();
                let chunk =
                    chunk.unwrap_or_else(|_| Err(io::Error::other("the read-ahead thread has stopped")));
                let chunk = chunk.and_then(|chunk| look(&chunk).map(|()| chunk));
                shown = chunk.as_ref().map_or(true, Vec::is_empty);
                shown |= filled.send(chunk).is_err();
            }
            self.into_inner()
        })?;
        Ok(ReadAhead { chunks, used, chunk: Vec::new(), at: 0, ended: false, reader })
    }
}

impl<R> ReadAhead<R> {
    /// Returns the reader, once its end was read.
    pub(super) fn into_inner(self) -> io::Result<R> {
        drop(self.chunks);
        self.reader.join().map_err(|_| io::Error::other("the thread that read has panicked"))
    }
}

impl<R> Read for ReadAhead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = self.fill_buf()?;
        let count = buffer.len().min(chunk.len());
        buffer[..count].copy_from_slice(&chunk[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// Returns whole chunks, so that a caller that takes them need not copy.
impl<R> BufRead for ReadAhead<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.chunk.len() && !self.ended {
            let next = self.chunks.recv();
            let next = next.unwrap_or_else(|_| Err(io::Error::other("the read-ahead thread has stopped")))?;
            self.ended = next.is_empty();
            let used = std::mem::replace(&mut self.chunk, next);
            self.at = 0;
            if used.capacity() > 0 {
                let _ended = self.used.send(used);
            }
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at = self.chunk.len().min(self.at + count);
    }
}

/// Reads to the end, to an error, or until the receiver is gone. An empty chunk is the end.
fn read<R: Read>(mut reader: R, filled: &SyncSender<io::Result<Vec<u8>>>, empty: &Receiver<Vec<u8>>) -> R {
    loop {
        let mut chunk = empty.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        let mut count = 0;
        let mut outcome = Ok(());
        let mut is_end = false;
        while count < CHUNK && !is_end && outcome.is_ok() {
            match reader.read(&mut chunk[count..]) {
                Ok(0) => is_end = true,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => outcome = Err(error),
            }
        }
        chunk.truncate(count);
        let gone = count > 0 && filled.send(Ok(chunk)).is_err();
        match outcome {
            Err(error) => {
                let _gone = filled.send(Err(error));
                return reader;
            }
            Ok(()) if is_end => {
                let _gone = filled.send(Ok(Vec::new()));
                return reader;
            }
            Ok(()) if gone => return reader,
            Ok(()) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `left` bytes in uneven reads, then an error or an end.
    struct Uneven {
        left: usize,
        fails: bool,
    }

    impl Read for Uneven {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.left == 0 && self.fails {
                return Err(io::Error::other("torn"));
            }
            let count = buffer.len().min(self.left).min(1 + self.left % 70_001);
            for (at, byte) in buffer[..count].iter_mut().enumerate() {
                *byte = ((self.left - at) % 251) as u8;
            }
            self.left -= count;
            Ok(count)
        }
    }

    fn bytes(count: usize) -> Vec<u8> {
        (1..=count).rev().map(|left| (left % 251) as u8).collect()
    }

    #[test]
    fn the_bytes_are_those_of_the_reader_and_it_comes_back() {
        for size in [0, 1, CHUNK, 3 * CHUNK, 20 * CHUNK + 17] {
            let mut ahead = ReadAhead::new(Uneven { left: size, fails: false }).unwrap();
            let mut read = Vec::new();
            ahead.read_to_end(&mut read).unwrap();
            assert!(read == bytes(size), "{size}");
            assert_eq!(ahead.into_inner().unwrap().left, 0);
        }
    }

    #[test]
    fn an_error_comes_after_the_bytes_before_it() {
        let mut ahead = ReadAhead::new(Uneven { left: 2 * CHUNK + 5, fails: true }).unwrap();
        let mut read = Vec::new();
        assert_eq!(ahead.read_to_end(&mut read).unwrap_err().to_string(), "torn");
        assert!(read == bytes(2 * CHUNK + 5));
    }

    #[test]
    fn a_thread_that_stops_is_not_an_end() {
        struct Panics;
        impl Read for Panics {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                panic!("a fault in what decodes")
            }
        }
        let mut ahead = ReadAhead::new(Panics).unwrap();
        assert!(ahead.read(&mut [0; 10]).is_err());
    }

    #[test]
    fn who_looks_sees_all_in_order_and_has_the_last_word() {
        for size in [0, 1, CHUNK, 20 * CHUNK + 17] {
            let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
            let look = {
                let seen = std::sync::Arc::clone(&seen);
                move |chunk: &[u8]| {
                    seen.lock().unwrap().extend_from_slice(chunk);
                    if chunk.is_empty() && size == 1 { Err(io::Error::other("not those")) } else { Ok(()) }
                }
            };
            let mut shown =
                ReadAhead::new(Uneven { left: size, fails: false }).unwrap().shown_to(look).unwrap();
            let mut read = Vec::new();
            let outcome = shown.read_to_end(&mut read);
            assert_eq!(outcome.is_err(), size == 1);
            assert!(read == bytes(size) && *seen.lock().unwrap() == read, "{size}");
            assert_eq!(shown.into_inner().unwrap().unwrap().left, 0);
        }
    }

    #[test]
    fn who_looks_is_not_in_the_way_of_an_error_or_of_who_stops_asking() {
        let torn = ReadAhead::new(Uneven { left: 2 * CHUNK + 5, fails: true }).unwrap();
        let mut read = Vec::new();
        let error = torn.shown_to(|_| Ok(())).unwrap().read_to_end(&mut read).unwrap_err();
        assert_eq!(error.to_string(), "torn");
        assert!(read == bytes(2 * CHUNK + 5));
        let mut endless = ReadAhead::new(io::repeat(7)).unwrap().shown_to(|_| Ok(())).unwrap();
        endless.read_exact(&mut [0; 100]).unwrap();
        endless.into_inner().unwrap().unwrap();
    }

    #[test]
    fn who_stops_asking_is_not_held_up() {
        let mut ahead = ReadAhead::new(io::repeat(7)).unwrap();
        ahead.read_exact(&mut [0; 100]).unwrap();
        ahead.into_inner().unwrap();
    }
}
