//! The files beside ChromaDB's SQLite database.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::CHROMA_DATABASE;
use crate::model::ChromaFile;
use crate::platform::CancellationToken;
use crate::sqlite::COMPANIONS;

/// What tells whether a file was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The files and directories beside the database, by their path in the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Beside {
    pub(super) files: BTreeMap<PathBuf, Stamp>,
    pub(super) directories: Vec<PathBuf>,
    /// Links, sockets and the like, which no index has.
    pub(super) left_out: Vec<PathBuf>,
}

impl Beside {
    pub(super) fn list(root: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        found.add(root, Path::new(""))?;
        found.directories.sort();
        found.left_out.sort();
        Ok(found)
    }

    fn add(&mut self, root: &Path, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(root.join(folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if folder.as_os_str().is_empty() && is_database(&entry.file_name().to_string_lossy()) {
                continue;
            }
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if metadata.is_dir() {
                self.add(root, &path)?;
                self.directories.push(path);
            } else if metadata.is_file() {
                self.files.insert(path, Stamp::of(&metadata));
            } else {
                self.left_out.push(path);
            }
        }
        Ok(())
    }

    /// Returns whether the indexes are as they were: files of the directories, which are named by their segments.
    pub(super) fn has_same_indexes(&self, other: &Self) -> bool {
        let of_indexes = |one: &Self| -> Vec<(PathBuf, Stamp)> {
            let inside = one.files.iter().filter(|(path, _)| path.components().count() > 1);
            inside.map(|(path, stamp)| (path.clone(), *stamp)).collect()
        };
        self.directories == other.directories && of_indexes(self) == of_indexes(other)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.values().map(|stamp| stamp.size).sum()
    }

    pub(super) fn facts(&self) -> Vec<ChromaFile> {
        let file = |(path, stamp): (&PathBuf, &Stamp)| ChromaFile {
            path: path.to_string_lossy().into_owned(),
            size: stamp.size,
        };
        self.files.iter().map(file).collect()
    }
}

fn is_database(name: &str) -> bool {
    name.strip_prefix(CHROMA_DATABASE).is_some_and(|rest| rest.is_empty() || COMPANIONS.contains(&rest))
}

/// Writes the files into a new archive. One that is gone, or shorter than it was, is an error.
pub(super) fn archive(root: &Path, beside: &Beside, to: &Path, cancel: &CancellationToken) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut archive = tar::Builder::new(io::BufWriter::with_capacity(256 << 10, file));
    archive.mode(tar::HeaderMode::Complete);
    for directory in &beside.directories {
        archive.append_dir(directory, root.join(directory))?;
    }
    for (path, stamp) in &beside.files {
        if cancel.is_cancelled() {
            return Err(io::Error::other("interrupted"));
        }
        let source = File::open(root.join(path))?;
        let metadata = source.metadata()?;
        let mut header = tar::Header::new_gnu();
        header.set_metadata(&metadata);
        header.set_size(stamp.size);
        // A file that grew is cut, and has another stamp afterwards; one that shrank fails here.
        archive.append_data(&mut header, path, Exactly { source, left: stamp.size })?;
    }
    archive.into_inner()?.into_inner().map_err(|error| error.into_error()).map(drop)
}

/// So many bytes of a file, or an error.
struct Exactly {
    source: File,
    left: u64,
}

impl io::Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.source.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_to_an_index_shows_and_one_to_the_database_or_beside_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        fs::create_dir(folder.path().join("index")).unwrap();
        write("chroma.sqlite3", "a");
        write("chroma.sqlite3-wal", "a");
        write("chroma.log", "a");
        write("index/header.bin", "abc");
        let before = Beside::list(folder.path()).unwrap();
        assert_eq!(
            before.files.keys().collect::<Vec<_>>(),
            [Path::new("chroma.log"), Path::new("index/header.bin")]
        );
        write("chroma.sqlite3", "abcdef");
        write("chroma.log", "abcdef");
        assert!(before.has_same_indexes(&Beside::list(folder.path()).unwrap()));
        std::thread::sleep(std::time::Duration::from_millis(20));
        write("index/header.bin", "xyz");
        assert!(!before.has_same_indexes(&Beside::list(folder.path()).unwrap()));
        let now = Beside::list(folder.path()).unwrap();
        fs::create_dir(folder.path().join("new")).unwrap();
        assert!(!now.has_same_indexes(&Beside::list(folder.path()).unwrap()));
    }

    #[test]
    fn a_file_that_shrank_fails_its_archive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data_level0.bin");
        fs::write(&path, vec![7; 5000]).unwrap();
        let beside = Beside::list(folder.path()).unwrap();
        fs::write(&path, vec![7; 4000]).unwrap();
        let to = folder.path().join("x.tar");
        assert!(archive(folder.path(), &beside, &to, &CancellationToken::new()).is_err());
    }
}
