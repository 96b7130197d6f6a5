//! A new directory on this host, that gets its name when it is complete.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::ContentRestoreError;
use super::target::rename_new;
use crate::model::RunId;
use crate::restore::CreatedObject;
use crate::restore::teardown::not_of_this_method;

/// A directory that only its owner may enter, under a name that says that it is not complete.
#[derive(Debug)]
pub(super) struct NewDirectory {
    path: PathBuf,
    part: PathBuf,
    is_published: bool,
}

impl NewDirectory {
    /// Creates it beside its later name.
    pub(super) fn create(path: &Path) -> Result<Self, ContentRestoreError> {
        let mut part = path.as_os_str().to_owned();
        part.push(format!(".drctl-partial-{}", std::process::id()));
        let part = PathBuf::from(part);
        let created = DirBuilder::new().mode(0o700).create(&part);
        created.map_err(|source| ContentRestoreError::Write { path: part.clone(), source })?;
        Ok(Self { path: path.to_owned(), part, is_published: false })
    }

    /// Its path until it is published.
    pub(super) fn part(&self) -> &Path {
        &self.part
    }

    /// Gives it its name; never that of something that exists.
    pub(super) fn publish(mut self, run: &RunId) -> Result<CreatedObject, ContentRestoreError> {
        let failed = |source| ContentRestoreError::Write { path: self.path.clone(), source };
        let file = File::open(&self.part).map_err(failed)?;
        // What programs wrote into it, too.
        rustix::fs::syncfs(&file).map_err(|error| failed(error.into()))?;
        rename_new(&self.part, &self.path).map_err(failed)?;
        self.is_published = true;
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        Ok(CreatedObject::Directory { path: self.path.clone(), beside: vec![], run: run.clone() })
    }
}

impl Drop for NewDirectory {
    fn drop(&mut self) {
        if !self.is_published {
            let _gone = fs::remove_dir_all(&self.part);
        }
    }
}

/// Removes a directory that this run created.
pub(super) fn remove_directory(object: &CreatedObject, run: &RunId) -> Result<(), String> {
    match object {
        CreatedObject::Directory { path, run: by, .. } if by == run => {
            fs::remove_dir_all(path).map_err(|error| error.to_string())
        }
        _ => Err(not_of_this_method()),
    }
}
