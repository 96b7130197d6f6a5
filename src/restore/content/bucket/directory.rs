use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use super::apply::Placed;
use super::{ObjectSink, ObjectTarget};
use crate::restore::content::ContentRestoreError;
use crate::restore::content::fetch::ConsumeError;
use crate::restore::content::target::copy;
use crate::source::bucket::ObjectRecord;

/// The longest name of a file.
const NAME: usize = 255;

/// A new directory, in which a key is the path of a file.
pub(super) struct DirectoryTarget {
    pub(super) directory: PathBuf,
}

impl ObjectTarget for DirectoryTarget {
    /// Nothing that could be outside of the directory, or something else than the file of that key.
    fn takes(&self, key: &str) -> bool {
        let is_name =
            |name: &str| !matches!(name, "" | "." | "..") && name.len() <= NAME && !name.contains('\0');
        key.split('/').all(is_name)
    }

    fn begin(&self) -> Box<dyn ObjectSink + '_> {
        Box::new(self)
    }
}

impl ObjectSink for &DirectoryTarget {
    fn take(&mut self, record: &ObjectRecord, bytes: &mut dyn Read) -> Result<Placed, ConsumeError> {
        let path = self.directory.join(&record.object.key);
        let failed = |source| ConsumeError::Target(ContentRestoreError::Write { path: path.clone(), source });
        let opened = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)
        });
        let mut file = match opened {
            Ok(file) => file,
            // One key is the beginning of another: one of them is a file, and the other is below it.
            Err(error) if is_name_taken(&error) => {
                return Ok(Placed { unfit: vec![record.object.key.clone()], ..Placed::default() });
            }
            Err(error) => return Err(failed(error)),
        };
        let bytes = copy(bytes, &mut file, &path)?;
        File::set_modified(&file, record.object.modified.into()).map_err(failed)?;
        Ok(Placed { objects: 1, bytes, unfit: vec![] })
    }

    fn end(&mut self) -> Result<(), ConsumeError> {
        Ok(())
    }
}

fn is_name_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, InvalidFilename, IsADirectory, NotADirectory};
    matches!(error.kind(), AlreadyExists | InvalidFilename | IsADirectory | NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_are_paths_of_files_below_it_are_taken() {
        let target = DirectoryTarget { directory: PathBuf::from("/x") };
        for key in ["a", "a/b.txt", "ü/\n", "...", "a b"] {
            assert!(target.takes(key), "{key}");
        }
        let long = "x".repeat(256);
        for key in ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.", "a\0b", &long] {
            assert!(!target.takes(key), "{key}");
        }
    }
}
