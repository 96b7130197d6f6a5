use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write as _};
use std::marker::PhantomData;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pipeline::Produce;

/// Lines of JSON in a file that has no name and is gone with this process.
#[derive(Debug)]
pub struct Spool<T> {
    file: BufWriter<File>,
    pub count: u64,
    of: PhantomData<T>,
}

impl<T: Serialize + DeserializeOwned> Spool<T> {
    pub fn new(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let file = BufWriter::new(tempfile::tempfile_in(folder)?);
        Ok(Self { file, count: 0, of: PhantomData })
    }

    pub fn push(&mut self, item: &T) -> io::Result<()> {
        serde_json::to_writer(&mut self.file, item)?;
        self.count += 1;
        self.file.write_all(b"\n")
    }

    /// Returns them in order, from the beginning.
    pub fn read(&mut self) -> io::Result<SpoolReader<T>> {
        self.file.flush()?;
        let mut file = self.file.get_ref().try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(SpoolReader { lines: BufReader::new(file), line: String::new(), of: PhantomData })
    }

    /// Returns the lines as they are.
    pub fn into_lines(mut self) -> io::Result<SpoolLines> {
        self.file.flush()?;
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(SpoolLines(file))
    }
}

/// Reads a spool. It shares its position with others of the same spool: one reads at a time.
#[derive(Debug)]
pub struct SpoolReader<T> {
    lines: BufReader<File>,
    line: String,
    of: PhantomData<T>,
}

impl<T: DeserializeOwned> Iterator for SpoolReader<T> {
    type Item = io::Result<T>;

    fn next(&mut self) -> Option<io::Result<T>> {
        self.line.clear();
        match self.lines.read_line(&mut self.line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&self.line).map_err(io::Error::from)),
            Err(error) => Some(Err(error)),
        }
    }
}

/// The bytes of a spool.
#[derive(Debug)]
pub struct SpoolLines(File);

impl Read for SpoolLines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Produce for SpoolLines {
    fn finish(self: Box<Self>) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(vec![])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_read_in_order_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::<String>::new(&folder.path().join("deep")).unwrap();
        for n in 0..5000 {
            spool.push(&format!("line\n{n}")).unwrap();
        }
        for _ in 0..2 {
            let read: Vec<_> = spool.read().unwrap().collect::<Result<_, _>>().unwrap();
            assert_eq!((read.len(), read[4999].as_str()), (5000, "line\n4999"));
        }
        let mut text = String::new();
        spool.into_lines().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 5000);
    }
}
