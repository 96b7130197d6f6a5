use std::io::{Cursor, Read};

use crate::platform::Piped;

/// A stream that must be asked for its result: its end alone does not prove that all bytes came.
pub trait Produce: Read + Send {
    /// Returns an error unless the stream was complete. Called once, after its end was read. Returns the
    /// stderr of a child.
    fn finish(self: Box<Self>) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>>;
}

impl Produce for Piped {
    fn finish(self: Box<Self>) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Piped::finish(*self)?)
    }
}

/// Bytes in memory.
#[derive(Debug)]
pub struct MemoryProducer(Cursor<Vec<u8>>);

impl MemoryProducer {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Cursor::new(bytes))
    }
}

impl Read for MemoryProducer {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Produce for MemoryProducer {
    fn finish(self: Box<Self>) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(vec![])
    }
}
