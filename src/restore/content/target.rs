//! A new file on this host, that gets its name when it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ContentRestoreError;
use super::fetch::ConsumeError;
use crate::platform::free_space;
use crate::restore::Refusal;
use crate::text::format_size;

const BUFFER: usize = 256 << 10;

/// Room that is left beside what a restore writes.
const MARGIN: u64 = 16 << 20;

/// Returns the absolute path of a target that is not to exist yet, and every reason against it. `bytes`: what it will take.
pub(super) fn new_path(to: &Path, bytes: u64) -> (PathBuf, Vec<Refusal>) {
    let path = std::path::absolute(to).unwrap_or_else(|_| to.to_owned());
    let mut refusals = vec![];
    if fs::symlink_metadata(&path).is_ok() {
        let message = format!("`{}` exists, and is not overwritten", path.display());
        refusals.push(Refusal::usage("target-exists", message));
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    if !parent.is_dir() {
        let message = format!("there is no directory `{}`", parent.display());
        refusals.push(Refusal::usage("no-parent-directory", message));
    } else {
        refusals.extend(lacks_room(parent, bytes));
    }
    (path, refusals)
}

/// Returns why what is restored does not fit.
pub(super) fn lacks_room(directory: &Path, bytes: u64) -> Option<Refusal> {
    match free_space(directory) {
        Ok(free) if free < bytes.saturating_add(MARGIN) => Some(Refusal::not_ready(
            "no-space",
            format!(
                "`{}` has {} free, and {} are restored",
                directory.display(),
                format_size(free),
                format_size(bytes)
            ),
        )),
        Ok(_) => None,
        Err(error) => Some(Refusal::not_ready(
            "no-space",
            format!("how much is free in `{}` is not known: {error}", directory.display()),
        )),
    }
}

/// A file that only its owner may read, under a name that says that it is not complete.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    part: PathBuf,
    file: Arc<File>,
    is_published: bool,
}

impl NewFile {
    /// Creates it beside its later name.
    pub(super) fn create(path: &Path) -> Result<Self, ContentRestoreError> {
        let mut part = path.as_os_str().to_owned();
        part.push(format!(".drctl-partial-{}", std::process::id()));
        let part = PathBuf::from(part);
        let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&part);
        let file = opened.map_err(|source| ContentRestoreError::Write { path: part.clone(), source })?;
        Ok(Self { path: path.to_owned(), part, file: Arc::new(file), is_published: false })
    }

    /// Its path until it is published.
    pub(super) fn part(&self) -> &Path {
        &self.part
    }

    pub(super) fn writer(&self) -> Result<NewFileWriter, ContentRestoreError> {
        Ok(NewFileWriter { file: Arc::clone(&self.file), path: self.part.clone() })
    }

    /// Makes it durable, and gives it its name; never that of something that exists.
    pub(super) fn publish(mut self) -> Result<(), ContentRestoreError> {
        let failed = |source| ContentRestoreError::Write { path: self.path.clone(), source };
        self.file.sync_all().map_err(failed)?;
        rename_new(&self.part, &self.path).map_err(failed)?;
        self.is_published = true;
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_published {
            let _gone = fs::remove_file(&self.part);
        }
    }
}

/// Renames, unless the new name is taken.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// Writes a [`NewFile`], from its beginning each time.
#[derive(Debug)]
pub(super) struct NewFileWriter {
    file: Arc<File>,
    path: PathBuf,
}

impl NewFileWriter {
    pub(super) fn write(&self, plain: &mut dyn Read) -> Result<u64, ConsumeError> {
        let failed =
            |source| ConsumeError::Target(ContentRestoreError::Write { path: self.path.clone(), source });
        let mut file = &*self.file;
        file.set_len(0).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        copy(plain, &mut file, &self.path)
    }
}

/// Copies to the end. Returns the number of bytes.
pub(super) fn copy(plain: &mut dyn Read, to: &mut dyn Write, path: &Path) -> Result<u64, ConsumeError> {
    let mut buffer = vec![0; BUFFER];
    let mut copied = 0;
    loop {
        let count = match plain.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ConsumeError::Read(error)),
        };
        to.write_all(&buffer[..count]).map_err(|source| {
            ConsumeError::Target(ContentRestoreError::Write { path: path.to_owned(), source })
        })?;
        copied += count as u64;
    }
}
