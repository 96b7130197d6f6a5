//! A file in scratch that is read once.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::pipeline::Produce;

/// The bytes of a file that no longer has a name: its room is free again when it was read.
#[derive(Debug)]
pub(super) struct ScratchFile {
    file: File,
    size: u64,
    read: u64,
}

impl ScratchFile {
    /// Opens a file and removes its name.
    pub(super) fn take(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        std::fs::remove_file(path)?;
        Ok(Self { file, size, read: 0 })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

impl Read for ScratchFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read += count as u64;
        Ok(count)
    }
}

impl Produce for ScratchFile {
    fn finish(self: Box<Self>) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
        if self.read == self.size {
            return Ok(vec![]);
        }
        Err(format!("{} of the copy's {} bytes were read", self.read, self.size).into())
    }
}
