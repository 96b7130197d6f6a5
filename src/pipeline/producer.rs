use std::io::{Cursor, Read};

use crate::platform::Piped;

/// A stream whose end must be asked about: that no more bytes come says nothing about whether they are
/// all the bytes.
pub trait Produce: Read + Send {
    /// Whether the stream was whole. Called once, after its end was read. What it wrote on stderr, if it
    /// is a child.
    fn finish(self: Box<Self>) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>>;
}

impl Produce for Piped {
    fn finish(self: Box<Self>) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Piped::finish(*self)?)
    }
}

/// Bytes that are already there.
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
